"""customers and users. Every change leaves its row in tbl_permission_audit, in the same statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

import orjson
from attrs import frozen
from psycopg2 import errors
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from protei_bulk.access.accounts import Credentials
from protei_bulk.access.ports import NOBODY, Actor
from protei_bulk.model.account import Account
from protei_bulk.store.changes import AUDIT, BEFORE, audited, shown_before

if TYPE_CHECKING:
    from protei_bulk.store.pool import Database


class NameTaken(Exception):
    """A customer or user of this name exists already."""


class NoSuchCustomer(LookupError):
    """There is no customer of this name."""


@frozen
class Customer:
    """Whose money it is. Amounts in its currency."""

    customer_id: int
    name: str
    status: str
    balance: Decimal
    credit_limit: Decimal
    currency: str
    timezone: str


_SELECT = """SELECT u.id, u.username, u.customer_id, u.status, c.status, u.role, u.bind_type, u.can_use_smpp,
    u.can_use_http, u.can_use_api_bulk, u.max_msg_per_day, u.max_tps, u.max_binds, u.allowed_smsc,
    u.allowed_sender_ids, u.allowed_ips, u.timezone, c.currency, u.two_factor_enabled, c.credit_limit,
    u.password_hash, u.api_key, u.two_factor_secret, u.dlr_callback_url, u.email, c.name, u.smpp_password_hash,
    u.smpp_require_tls, u.smpp_tls_identity, u.smpp_alphabet, u.smart_encoding, u.max_parts, u.mo_form
    FROM users u JOIN customers c ON c.id = u.customer_id WHERE """

#: columns that may be set, with the SQL type that a parameter needs
USER_COLUMNS: Mapping[str, str] = {
    "email": "text", "password_hash": "text", "smpp_password_hash": "text", "role": "text", "status": "text", "bind_type": "text",
    "can_use_smpp": "boolean", "can_use_http": "boolean", "can_use_api_bulk": "boolean",
    "max_msg_per_day": "integer", "max_tps": "integer", "max_binds": "integer",
    "smpp_require_tls": "boolean", "smpp_tls_identity": "text", "allowed_smsc": "jsonb",
    "smpp_alphabet": "text", "smart_encoding": "boolean", "max_parts": "integer", "mo_form": "text",
    "allowed_sender_ids": "jsonb", "allowed_ips": "jsonb", "timezone": "text", "dlr_callback_url": "text",
}  # fmt: skip
CUSTOMER_COLUMNS: Mapping[str, str] = {
    "name": "text", "status": "text", "balance": "numeric", "credit_limit": "numeric", "currency": "text",
    "timezone": "text",
}  # fmt: skip
#: the recovery codes of whom `changed` names
_RECOVERY = """old_codes AS (DELETE FROM tbl_recovery_codes
        WHERE user_id IN (SELECT id FROM changed) AND code_hash <> ALL (%s::text[])),
    new_codes AS (INSERT INTO tbl_recovery_codes (user_id, code_hash)
        SELECT changed.id, code FROM changed, unnest(%s::text[]) AS code ON CONFLICT DO NOTHING),"""


class Accounts:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error where nothing else is said."""

    def __init__(self, db: Database, *, source: str = "") -> None:
        """source: what the audit says of where changes come from, beside who made them."""
        self._db = db
        self._source = {"source": source} if source else {}

    def by_username(self, username: str) -> Deferred[Credentials | None]:
        if "\0" in username or not _is_unicode(username):  # what no column holds, nobody is called
            username = ""
        return self._one("u.status <> 'DELETED' AND u.username = %s", username)

    def by_user_id(self, user_id: int) -> Deferred[Credentials | None]:
        return self._one("u.id = %s", user_id)

    def by_api_key_hash(self, key_hash: str) -> Deferred[Credentials | None]:
        """key_hash: SHA-256 of the key in hex."""
        return self._one("u.status <> 'DELETED' AND u.api_key = %s", key_hash)

    def by_user_ids(self, user_ids: list[int]) -> Deferred[list[Credentials]]:
        """Those that exist, in no order."""
        rows = self._db.query(_SELECT + "u.id = ANY (%s::bigint[])", (user_ids,))
        return rows.addCallback(lambda found: [_credentials(row) for row in found])

    def users(self, customer: str | None = None) -> Deferred[list[Credentials]]:
        """All, or those of one customer, by name."""
        sql = _SELECT + "(%s::text IS NULL OR c.name = %s) ORDER BY u.username"
        rows = self._db.query(sql, (customer, customer))
        return rows.addCallback(lambda found: [_credentials(row) for row in found])

    def customers(self) -> Deferred[list[Customer]]:
        """By name."""
        sql = """SELECT id, name, status, balance, credit_limit, currency, timezone
            FROM customers ORDER BY name"""
        return self._db.query(sql).addCallback(lambda rows: [Customer(*row) for row in rows])

    def create_customer(
        self, name: str, values: Mapping[str, Any] | None = None, *, actor: Actor = NOBODY
    ) -> Deferred[int]:
        """values: of CUSTOMER_COLUMNS. Fires with its id; fails with NameTaken."""
        fields = {"name": name, **(values or {})}
        columns, marks, params = _insertion(fields, CUSTOMER_COLUMNS)
        sql = f"""WITH changed AS (INSERT INTO customers ({columns}) VALUES ({marks}) RETURNING id),
            audit AS ({AUDIT.format(user="NULL::bigint", more="")}) SELECT id FROM changed"""  # noqa: S608
        params += self._audited(actor, "CUSTOMER_ADD", fields)
        return self._db.query(sql, params).addCallbacks(lambda rows: int(rows[0][0]), _taken(name))

    def set_customer(
        self, name: str, values: Mapping[str, Any], *, actor: Actor = NOBODY
    ) -> Deferred[bool]:
        """False where there is no such customer; fails with NameTaken for a new name in use."""
        sets, params = _assignments(values, CUSTOMER_COLUMNS)
        sql = f"""WITH changed AS (
                UPDATE customers c SET {sets} FROM (SELECT * FROM customers WHERE name = %s FOR UPDATE) AS old
                WHERE c.id = old.id RETURNING c.id, to_jsonb(old) AS before),
            audit AS ({AUDIT.format(user="NULL::bigint", more=BEFORE)}) SELECT id FROM changed"""  # noqa: S608
        params += [name, *self._audited(actor, "CUSTOMER_SET", {"customer": name, **values}), shown_before(values)]
        return self._db.query(sql, params).addCallbacks(bool, _taken(str(values.get("name", name))))

    def top_up(self, name: str, amount: Decimal, *, actor: Actor = NOBODY) -> Deferred[Decimal | None]:
        """Add to a customer's balance; fires with the new one, None where there is no such customer."""
        sql = f"""WITH changed AS (
                UPDATE customers SET balance = balance + %s WHERE name = %s RETURNING id, balance),
            audit AS ({AUDIT.format(user="NULL::bigint", more="")}) SELECT balance FROM changed"""  # noqa: S608
        params = (amount, name, *self._audited(actor, "CUSTOMER_TOP_UP", {"customer": name, "amount": amount}))
        return self._db.query(sql, params).addCallback(lambda rows: rows[0][0] if rows else None)

    def create_user(
        self,
        username: str,
        customer: str,
        password_hash: str,
        values: Mapping[str, Any] | None = None,
        *,
        actor: Actor = NOBODY,
    ) -> Deferred[int]:
        """values: of USER_COLUMNS; the time zone is the customer's where none is given.

        Fires with the user's id; fails with NoSuchCustomer or NameTaken.
        """
        fields = {"username": username, "password_hash": password_hash, **(values or {})}
        columns, marks, params = _insertion(fields, {"username": "text", **USER_COLUMNS})
        if "timezone" not in fields:
            columns, marks = f"{columns}, timezone", f"{marks}, c.timezone"
        sql = f"""WITH changed AS (INSERT INTO users ({columns}, customer_id)
                SELECT {marks}, c.id FROM customers c WHERE c.name = %s RETURNING id),
            audit AS ({AUDIT.format(user="id", more="")}) SELECT id FROM changed"""  # noqa: S608
        params += [customer, *self._audited(actor, "USER_ADD", {"customer": customer, **fields})]

        def made(rows: list[tuple[Any, ...]]) -> int:
            if not rows:
                raise NoSuchCustomer(customer)
            return int(rows[0][0])

        return self._db.query(sql, params).addCallbacks(made, _taken(username))

    def set_user(
        self, username: str, values: Mapping[str, Any], *, actor: Actor = NOBODY
    ) -> Deferred[bool]:
        """values: of USER_COLUMNS. False where there is no such user."""
        sets, params = _assignments(values, USER_COLUMNS)
        sql = f"""WITH changed AS (
                UPDATE users u SET {sets}, updated_at = now()
                FROM (SELECT * FROM users WHERE username = %s AND status <> 'DELETED' FOR UPDATE) AS old
                WHERE u.id = old.id RETURNING u.id, to_jsonb(old) AS before),
            audit AS ({AUDIT.format(user="id", more=BEFORE)}) SELECT id FROM changed"""  # noqa: S608
        params += [username, *self._audited(actor, "USER_SET", {"username": username, **values}), shown_before(values)]
        return self._db.query(sql, params).addCallback(bool)

    def set_api_key_hash(
        self, user_id: int, key_hash: str | None, *, actor: Actor = NOBODY
    ) -> Deferred[bool]:
        """None revokes. False where there is no such user."""
        action = "API_KEY_NEW" if key_hash else "API_KEY_REVOKE"
        sets = """api_key = %s, api_key_created_at =
            CASE WHEN %s::text IS NULL THEN NULL ELSE now() AT TIME ZONE 'UTC' END"""
        return self._change(
            sets, "id = %s", [key_hash, key_hash, user_id, *self._audited(actor, action, {})]
        )

    def set_two_factor(
        self,
        user_id: int,
        sealed: str | None,
        enabled: bool,
        *,
        recovery: Sequence[str] = (),
        actor: Actor = NOBODY,
    ) -> Deferred[bool]:
        """sealed: see access/secrets.py; recovery: hashes of the recovery codes, in place of any others.

        A new secret, or none, has no used codes. False where there is no such user.
        """
        action = "TWO_FACTOR_ON" if enabled else "TWO_FACTOR_NEW" if sealed else "TWO_FACTOR_OFF"
        sets = "two_factor_secret = %s, two_factor_enabled = %s"
        also = f"""unused AS (DELETE FROM tbl_totp_used WHERE NOT %s AND user_id IN (SELECT id FROM changed)),
            {_RECOVERY}"""
        codes = list(recovery)
        params = [sealed, enabled, user_id, enabled, codes, codes, *self._audited(actor, action, {})]
        return self._change(sets, "id = %s", params, also)

    def set_recovery_codes(
        self, user_id: int, hashes: Sequence[str], *, actor: Actor = NOBODY
    ) -> Deferred[bool]:
        """In place of any others. False where there is no such user, or nothing is switched on."""
        params = [user_id, list(hashes), list(hashes), *self._audited(actor, "RECOVERY_CODES_NEW", {})]
        return self._change("two_factor_enabled = TRUE", "id = %s AND two_factor_enabled", params, _RECOVERY)

    def use_recovery_code(self, user_id: int, hashed: str) -> Deferred[bool]:
        """Use it up. False where it is none, or was used already."""
        sql = """UPDATE tbl_recovery_codes SET used_at = now()
            WHERE user_id = %s AND code_hash = %s AND used_at IS NULL"""
        return self._db.execute(sql, (user_id, hashed)).addCallback(bool)

    def rehash(self, user_id: int, old: str, hashes: Mapping[str, str | None]) -> Deferred[bool]:
        """The same password under another cost. False where it was changed meanwhile."""
        values = (user_id, old, hashes["password_hash"], hashes["smpp_password_hash"])
        rows = self._db.query("SELECT rehash_password(%s, %s, %s, %s)", values)
        return rows.addCallback(lambda found: bool(found[0][0]))

    def use_totp_step(self, user_id: int, step: int) -> Deferred[bool]:
        """Use up a code. False where it, or a later one, was used already."""
        sql = """INSERT INTO tbl_totp_used (user_id, last_step) VALUES (%s, %s)
            ON CONFLICT (user_id) DO UPDATE SET last_step = EXCLUDED.last_step
            WHERE tbl_totp_used.last_step < EXCLUDED.last_step RETURNING 1"""
        return self._db.query(sql, (user_id, step)).addCallback(bool)

    def logged_in(self, user_id: int) -> Deferred[None]:
        sql = "UPDATE users SET last_login_at = now() WHERE id = %s"
        return self._db.execute(sql, (user_id,)).addCallback(lambda _: None)

    def _audited(self, actor: Actor, action: str, values: Mapping[str, Any]) -> list[Any]:
        return audited(actor, action, {**self._source, **values})

    def _one(self, where: str, value: object) -> Deferred[Credentials | None]:
        rows = self._db.query(_SELECT + where, (value,))
        return rows.addCallback(lambda found: _credentials(found[0]) if found else None)

    def _change(self, sets: str, where: str, params: list[Any], also: str = "") -> Deferred[bool]:
        sql = f"""WITH changed AS (UPDATE users SET {sets}, updated_at = now() WHERE {where} RETURNING id),
            {also} audit AS ({AUDIT.format(user="id", more="")}) SELECT id FROM changed"""  # noqa: S608
        return self._db.query(sql, params).addCallback(bool)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _taken(name: str) -> Any:
    def translate(failure: Failure) -> Failure:
        if isinstance(failure.value, errors.UniqueViolation):
            raise NameTaken(name)
        return failure

    return translate


def _insertion(values: Mapping[str, Any], types: Mapping[str, str]) -> tuple[str, str, list[Any]]:
    """Columns, marks and parameters. Raises KeyError for a column that may not be set."""
    marks = ", ".join(f"%s::{types[name]}" for name in values)
    return ", ".join(values), marks, [_parameter(types[n], v) for n, v in values.items()]


def _assignments(values: Mapping[str, Any], types: Mapping[str, str]) -> tuple[str, list[Any]]:
    sets = ", ".join(f"{name} = %s::{types[name]}" for name in values)
    return sets, [_parameter(types[n], v) for n, v in values.items()]


def _parameter(kind: str, value: Any) -> Any:
    return orjson.dumps(value).decode() if kind == "jsonb" else value


def _credentials(row: Sequence[Any]) -> Credentials:
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
        smpp_require_tls=row[27],
        smpp_tls_identity=row[28],
        smpp_alphabet=row[29],
        smart_encoding=row[30],
        max_parts=row[31],
        mo_form=row[32],
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
            networks.append(ip_network(text, strict=False))
        except ValueError:
            networks.append(_NOWHERE)
    return tuple(networks)
