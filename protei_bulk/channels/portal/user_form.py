"""A user's account as the fields of a form, and back; and what its role and channels come to. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from protei_bulk.access import fields
from protei_bulk.channels.http.users_api import OWN_FIELDS, PLATFORM_FIELDS
from protei_bulk.model.account import Account
from protei_bulk.model.permissions import MATRIX, Permission, Scope, scope_of

CHOICES = ("role", "bind_type", "smpp_alphabet", "mo_form", "receipts", "velocity")
FLAGS = ("can_use_smpp", "can_use_http", "can_use_api_bulk", "smpp_require_tls", "smart_encoding", "transactional")
NUMBERS = ("max_msg_per_day", "max_tps", "max_binds", "max_parts", "duplicate_seconds")
LISTS = ("allowed_ips", "tags", "allowed_smsc", "allowed_sender_ids")
TEXTS = ("email", "timezone", "dlr_callback_url", "smpp_tls_identity", "outbind_host", "outbind_port", "outbind_password")
EVERY = (*CHOICES, *FLAGS, *NUMBERS, *LISTS, *TEXTS)
_OWN = frozenset(OWN_FIELDS) - {"password", "status"}
_EMPTY = ("email", "dlr_callback_url", "outbind_host", "outbind_port")  # nothing is NULL
_MOST_WORDS = 10_000


def may_set(name: str, scope: Scope) -> bool:
    """Whether an administrator who reaches so far sets this field: the platform's limits are the platform's."""
    return scope is Scope.ALL or (scope is Scope.CUSTOMER and name in _OWN)


assert frozenset(EVERY) == (_OWN | frozenset(PLATFORM_FIELDS))  # what the API sets, the form sets


def fields_of(account: Account, more: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows. `more`: email, outbind_host, outbind_port; a password is never shown."""
    found: dict[str, Any] = {name: getattr(account, name) for name in (*CHOICES, *FLAGS)}
    found |= {name: str(getattr(account, name)) for name in NUMBERS}
    found |= {name: "\n".join(getattr(account, name)) for name in ("tags", "allowed_smsc", "allowed_sender_ids")}
    found["allowed_ips"] = "\n".join(str(n) if n.num_addresses > 1 else str(n.network_address) for n in account.allowed_ips)
    found |= {name: getattr(account, name) for name in ("timezone", "dlr_callback_url", "smpp_tls_identity")}
    found |= {name: "" if more.get(name) is None else str(more[name]) for name in ("email", "outbind_host", "outbind_port")}
    found["outbind_password"] = ""
    return found


def fields_given(text: Callable[[str, int], str], before: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """What was filled in, of what the reader may set; the rest as it was."""
    found = dict(before)
    for name in EVERY:
        if not may_set(name, scope):
            continue
        if name in FLAGS:
            found[name] = bool(text(name, 10))
        else:
            found[name] = text(name, 60_000 if name in LISTS else 1000)
    return found


def read_fields(given: Mapping[str, Any], before: Mapping[str, Any], scope: Scope) -> tuple[dict[str, Any], set[str]]:
    """Columns of what has changed, and the names of fields that are wrong."""
    values: dict[str, Any] = {}
    wrong: set[str] = set()
    for name in EVERY:
        if not may_set(name, scope) or given[name] == before.get(name) or (name == "outbind_password" and not given[name]):
            continue
        value: Any = given[name]
        if name in LISTS:
            value = words(value)
        if name in NUMBERS and value == "":
            value = 0
        if name in _EMPTY and value == "":
            values[name] = None
            continue
        try:
            values |= fields.user_fields({name: value})
        except fields.FieldError:
            wrong.add(name)
        if name in LISTS and len(value) > _MOST_WORDS:
            wrong.add(name)
    return values, wrong


def words(text: str) -> list[str]:
    """One a line, or with commas."""
    return [word.strip() for word in re.split(r"[,\n]", text) if word.strip()]


def permissions_of(account: Account) -> list[tuple[str, list[tuple[Permission, Scope, bool]]]]:
    """By group, each permission with how far it reaches, and whether the account's channels keep it from being used."""
    named = {p for _, group in _GROUPS for p in group}
    rest = tuple(p for p in MATRIX if p not in named)
    groups = [*_GROUPS, *([("other", rest)] if rest else [])]
    closed = account.bind_type == "WEB_ONLY" or not (account.may_smpp or account.may_http)
    return [
        (name, [(p, scope_of(account.role, p), p is Permission.SEND and closed) for p in group])
        for name, group in groups
    ]  # fmt: skip


_P = Permission
_GROUPS: tuple[tuple[str, tuple[Permission, ...]], ...] = (
    ("traffic", (_P.SEND, _P.REPORTS, _P.ANALYTICS, _P.CAMPAIGNS, _P.APPROVE, _P.BALANCE)),
    ("account", (_P.ACCOUNT, _P.CALLBACK_SECRET, _P.CALLBACKS, _P.CALLBACKS_REPLAY, _P.SESSIONS, _P.DISCONNECT)),
    ("people", (_P.USERS_READ, _P.USERS_WRITE, _P.CUSTOMERS_READ, _P.CUSTOMERS_WRITE, _P.AUDIT)),
    ("platform", (_P.GUARDS_READ, _P.GUARDS_WRITE, _P.GUARDS_RELEASE, _P.ROUTES_READ, _P.ROUTES_WRITE)),
)
