"""Rows of users and customers: which columns there are, how they are written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import orjson
from psycopg2 import errors
from twisted.python.failure import Failure

from protei_bulk.access.accounts import Credentials
from protei_bulk.model.account import Account, network_of


class NameTaken(Exception):
    """A customer or user of this name exists already, or was deleted and stays in the books."""


#: of users u and customers c: what credentials() reads
CREDENTIALS = """u.id, u.username, u.customer_id, u.status, c.status, u.role, u.bind_type, u.can_use_smpp,
    u.can_use_http, u.can_use_api_bulk, u.max_msg_per_day, u.max_tps, u.max_binds, u.allowed_smsc,
    u.allowed_sender_ids, u.allowed_ips, u.timezone, c.currency, u.two_factor_enabled, c.credit_limit,
    u.password_hash, u.api_key, u.two_factor_secret, u.dlr_callback_url, u.email, c.name, u.smpp_password_hash,
    u.smpp_require_tls, u.smpp_tls_identity, u.smpp_alphabet, u.smart_encoding, u.max_parts, u.mo_form,
    u.receipts, c.charge_on, u.duplicate_seconds, u.transactional, u.velocity, c.allowed_countries, c.blocked_countries,
    c.weight, u.tags"""

#: columns that may be set, with the SQL type that a parameter needs
USER_COLUMNS: Mapping[str, str] = {
    "email": "text", "password_hash": "text", "smpp_password_hash": "text", "role": "text", "status": "text", "bind_type": "text",
    "can_use_smpp": "boolean", "can_use_http": "boolean", "can_use_api_bulk": "boolean",
    "max_msg_per_day": "integer", "max_tps": "integer", "max_binds": "integer",
    "smpp_require_tls": "boolean", "smpp_tls_identity": "text", "allowed_smsc": "jsonb",
    "smpp_alphabet": "text", "smart_encoding": "boolean", "max_parts": "integer", "mo_form": "text", "receipts": "text",
    "duplicate_seconds": "integer", "transactional": "boolean", "velocity": "text",
    "tags": "jsonb", "allowed_sender_ids": "jsonb", "allowed_ips": "jsonb", "timezone": "text", "dlr_callback_url": "text",
    "outbind_host": "text", "outbind_port": "integer", "outbind_password": "text",
}  # fmt: skip
CUSTOMER_COLUMNS: Mapping[str, str] = {
    "name": "text", "status": "text", "balance": "numeric", "credit_limit": "numeric", "currency": "text",
    "timezone": "text", "weight": "numeric", "charge_on": "text", "allowed_countries": "jsonb", "blocked_countries": "jsonb",
    "campaign_approval": "boolean", "default_country": "text",
}  # fmt: skip


def taken(name: str) -> Any:
    def translate(failure: Failure) -> Failure:
        if isinstance(failure.value, errors.UniqueViolation):
            raise NameTaken(name)
        return failure

    return translate


def insertion(values: Mapping[str, Any], types: Mapping[str, str]) -> tuple[str, str, list[Any]]:
    """Columns, marks and parameters. Raises KeyError for a column that may not be set."""
    marks = ", ".join(f"%s::{types[name]}" for name in values)
    return ", ".join(values), marks, [_parameter(types[n], v) for n, v in values.items()]


def assignments(values: Mapping[str, Any], types: Mapping[str, str]) -> tuple[str, list[Any]]:
    sets = ", ".join(f"{name} = %s::{types[name]}" for name in values)
    return sets, [_parameter(types[n], v) for n, v in values.items()]


def _parameter(kind: str, value: Any) -> Any:
    return orjson.dumps(value).decode() if kind == "jsonb" else value


def credentials(row: Sequence[Any]) -> Credentials:
    account = Account(
        user_id=row[0],
        username=row[1],
        customer_id=row[2],
        status=row[3],
        customer_status=row[4],
        role=row[5],
        bind_type=row[6] or "BOTH",
        # A NULL in these columns is their default, as the schema has it.
        can_use_smpp=row[7] is not False,
        can_use_http=row[8] is not False,
        can_use_api_bulk=row[9] is not False,
        max_msg_per_day=500_000 if row[10] is None else row[10],
        max_tps=row[11] or 0,
        max_binds=row[12],
        allowed_smsc=_texts(row[13]),
        allowed_sender_ids=_texts(row[14]),
        allowed_ips=_networks(row[15]),
        timezone=row[16],
        currency=row[17],
        two_factor_enabled=row[18],
        credit_limit=row[19],
        dlr_callback_url=row[23] or "",
        smpp_require_tls=row[27],
        smpp_tls_identity=row[28],
        smpp_alphabet=row[29],
        smart_encoding=row[30],
        max_parts=row[31],
        mo_form=row[32],
        receipts=row[33],
        duplicate_seconds=row[35],
        transactional=row[36],
        velocity=row[37],
        allowed_countries=_texts(row[38]),
        blocked_countries=_texts(row[39]),
        charge_on=row[34],
        weight=float(row[40]),
        tags=_texts(row[41]),
    )
    return Credentials(
        account=account,
        password_hash=row[20],
        api_key_hash=row[21],
        two_factor_secret=row[22],
        dlr_callback_url=row[23],
        email=row[24],
        customer_name=row[25],
        smpp_password_hash=row[26],
    )


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):  # a driver without JSON decoding
        value = orjson.loads(value)
    return tuple(str(v) for v in value) if isinstance(value, list) else ()


_NOWHERE = ip_network("0.0.0.0/32")


def _networks(value: Any) -> tuple[IPv4Network | IPv6Network, ...]:
    """An entry that is no network, written by hand into the table, admits nobody rather than everybody."""
    networks: list[IPv4Network | IPv6Network] = []
    for text in _texts(value):
        try:
            networks.append(network_of(text))
        except ValueError:
            networks.append(_NOWHERE)
    return tuple(networks)
