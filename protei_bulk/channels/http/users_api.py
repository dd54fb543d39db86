"""Administration of users: list, make, change, suspend, delete, and what helps somebody who has locked himself out.

A customer's administrator has the users of that customer, but none who administers the platform. He makes users with at
most what he has himself, and cannot lift what the platform limits.
"""

from __future__ import annotations

from typing import Any

from protei_bulk.access import fields
from protei_bulk.access.password_policy import fault
from protei_bulk.access.ports import NoSuchUser
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.callbacks.payload import iso_time
from protei_bulk.channels.http.account_api import PASSWORD, AccountApi, Read
from protei_bulk.channels.http.exchange import Exchange
from protei_bulk.channels.http.fields import invalid
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.channels.http.query import LIMIT, PAGE, make_cursor, path_id, read_cursor, read_query
from protei_bulk.channels.http.shapes import Body, Choice, Flag, Items, Shape, Text, Whole
from protei_bulk.model.permissions import ROLES, Scope
from protei_bulk.store.account_rows import NameTaken
from protei_bulk.store.administration import Administration, UserRow

_INTEGER = 2**31 - 1
NEW_PASSWORD = Text(128, 8, pattern=r"[^\x00]*", secret=True, about="at least 8 characters, and none that everybody uses")
NETWORK = Text(64, 1, about="an address, or a network such as 192.168.1.0/24")
TIMEZONE = Text(64, 1, r"[A-Za-z0-9_+/-]+", about="such as Asia/Amman")

#: what a customer's administrator may set too
OWN_FIELDS: dict[str, Shape] = {
    "password": NEW_PASSWORD,
    "email": Text(255, 3, r"[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+"),
    "role": Choice(ROLES),
    "status": Choice(fields.STATUSES),
    "allowed_ips": Items(NETWORK, 1000, about="none: from anywhere"),
    "timezone": TIMEZONE,
    "duplicate_seconds": Whole(0, 86_400, about="in which the same text to the same number is refused; 0: never"),
    "dlr_callback_url": Text(500, 8, r"https?://[^\s/?#\x00-\x1f]+[^\s#\x00-\x1f]*"),
}
#: what the platform limits
PLATFORM_FIELDS: dict[str, Shape] = {
    "bind_type": Choice(fields.BIND_TYPES),
    "can_use_smpp": Flag(),
    "can_use_http": Flag(),
    "can_use_api_bulk": Flag(),
    "max_msg_per_day": Whole(0, _INTEGER, about="segments; 0: no limit"),
    "max_tps": Whole(0, _INTEGER, about="segments a second; 0: no limit"),
    "max_binds": Whole(0, _INTEGER, about="0: as the node's setting"),
    "smpp_require_tls": Flag(),
    "smpp_tls_identity": Text(255, about="a name on the client certificate of its binds"),
    "smpp_alphabet": Choice(fields.ALPHABETS),
    "smart_encoding": Flag(),
    "max_parts": Whole(0, 255, about="0: as the node's setting"),
    "mo_form": Choice(fields.MO_FORMS, about="how its ESMEs want long messages from mobiles"),
    "receipts": Choice(fields.RECEIPTS, about="what its ESMEs are told of long messages that they split: each part, or the message"),
    "transactional": Flag(about="its messages go to those who opted out, too"),
    "velocity": Choice(fields.VELOCITY, about="what is done about unusual traffic; node: as the node's setting"),
    "outbind_host": Text(255, about="where to call for an ESME that has messages waiting"),
    "outbind_port": Whole(1, 65_535),
    "outbind_password": Text(8, secret=True),
    "tags": Items(Text(64, 1), 100, about="rules of routing may ask for them"),
    "allowed_smsc": Items(Text(64, 1), 1000, about="none: all"),
    "allowed_sender_ids": Items(Text(21, 1), 10_000, about="none: all; an entry ending in * is a prefix"),
}
FIELDS = {**OWN_FIELDS, **PLATFORM_FIELDS}
_NULLABLE = ("email", "dlr_callback_url")
CREATE = Body(
    {"username": Text(100, 1, r"[^:\s\x00-\x1f\x7f-\x9f]+"), "customer_id": Whole(1), **FIELDS},
    ("username", "password"), nullable=_NULLABLE,
)  # fmt: skip
CHANGE = Body(FIELDS, least=1, nullable=_NULLABLE)
CHANGE_PASSWORD = Body({"password": PASSWORD, "new_password": NEW_PASSWORD}, ("password", "new_password"))
LIST: dict[str, Shape] = {
    **PAGE,
    "customer_id": Whole(1),
    "role": Choice(ROLES),
    "status": Choice(fields.STATUSES),
    "search": Text(100, 1, about="a part of the name"),
}
#: what a user gets of the customer's administrator who makes it
INHERITED = (
    "bind_type", "can_use_smpp", "can_use_http", "can_use_api_bulk", "max_msg_per_day", "max_tps", "max_binds",
    "transactional", "velocity", "duplicate_seconds",
    "smpp_require_tls", "smpp_alphabet", "smart_encoding", "max_parts", "mo_form", "receipts", "tags", "allowed_smsc", "allowed_sender_ids",
)  # fmt: skip


class UsersApi:
    def __init__(self, auth: UnifiedAuthService, store: Administration, account: AccountApi, body: Read) -> None:
        self._auth, self._store, self._account, self._body = auth, store, account, body

    async def list(self, x: Exchange) -> Reply:
        asked = read_query(x, LIST)
        limit = asked.get("limit", LIMIT)
        after = (read_cursor(asked.get("cursor"), int) or (0,))[0]
        own = x.who.user_id if x.scope is Scope.OWN else None
        customer = wall(x)
        if customer is not None and asked.get("customer_id", customer) != customer:
            return reply({"status": "SUCCESS", "users": []})
        rows = await self._store.users(
            customer_id=customer or asked.get("customer_id"), user_id=own, role=asked.get("role"), status=asked.get("status"),
            search=asked.get("search"), after=after, limit=limit + 1,
        )  # fmt: skip
        document: dict[str, Any] = {"status": "SUCCESS", "users": [shown(row) for row in rows[:limit]]}
        if len(rows) > limit:
            document["next_cursor"] = make_cursor(rows[limit - 1].found.account.user_id)
        return reply(document)

    async def get(self, x: Exchange) -> Reply:
        return reply({"status": "SUCCESS", "user": shown(await self._row(x))})

    async def create(self, x: Exchange) -> Reply:
        given = CREATE.read(self._body(x))
        name, customer = given.pop("username"), given.pop("customer_id", x.who.customer_id)
        if wall(x) not in (None, customer):
            raise invalid("$.customer_id", "must be your own")
        if x.scope is not Scope.ALL:
            inherited = {field: getattr(x.who, field) for field in INHERITED}
            given = {**{k: list(v) if isinstance(v, tuple) else v for k, v in inherited.items()}, **self._allowed(x, given)}
        values = await self._columns(_username(name), given)
        try:
            user_id = await self._store.create_user(name, customer, values, actor=x.actor)
        except NameTaken:
            raise Problem(409, "NAME_TAKEN", f"There is, or was, a user {name}") from None
        if user_id is None:
            raise invalid("$.customer_id", "there is no such customer")
        row = await self._store.user(user_id)
        if row is None:
            raise _no_such_user()
        return reply({"status": "SUCCESS", "user": shown(row)}, 201)

    async def change(self, x: Exchange) -> Reply:
        given = CHANGE.read(self._body(x))
        row = await self._row(x, to_change=True)
        account = row.found.account
        if account.user_id == x.who.user_id:
            for field in ("role", "status", "password"):
                if field in given:
                    how = "POST /api/v1/users/change-password" if field == "password" else "another administrator"
                    raise Problem(403, "NOT_PERMITTED", f"Your own {field} is not yours to change here, but through {how}")
        values = await self._columns(account.username, self._allowed(x, given))
        if not await self._store.change_user(account.user_id, values, actor=x.actor, customer_id=wall(x)):
            raise _no_such_user()
        return await self.get(x)

    async def delete(self, x: Exchange) -> Reply:
        row = await self._row(x, to_change=True)
        if row.found.account.user_id == x.who.user_id:
            raise Problem(403, "NOT_PERMITTED", "You cannot delete yourself")
        gone = await self._store.delete_user(row.found.account.user_id, actor=x.actor, customer_id=wall(x))
        if gone is None:
            raise _no_such_user()
        return reply({"status": "SUCCESS", "kept": not gone, "message": _DELETED[gone]})

    async def generate_api_key(self, x: Exchange) -> Reply:
        row = await self._row(x, to_change=True)
        try:
            key = await self._auth.generate_api_key(None, row.found.account.user_id, actor=x.actor)
        except NoSuchUser:
            raise _no_such_user() from None
        return reply({"status": "SUCCESS", "api_key": key, "message": "This is shown once. The key before it no longer works."})

    async def revoke_api_key(self, x: Exchange) -> Reply:
        row = await self._row(x, to_change=True)
        await self._auth.revoke_api_key(None, row.found.account.user_id, actor=x.actor)
        return reply({"status": "SUCCESS", "message": "There is no API key now."})

    async def disable_2fa(self, x: Exchange) -> Reply:
        """For somebody who has lost authenticator and recovery codes. Not for oneself: there it asks for both."""
        row = await self._row(x, to_change=True)
        if row.found.account.user_id == x.who.user_id:
            raise Problem(403, "NOT_PERMITTED", "Your own is switched off with password and code: /api/v1/users/disable-2fa")
        try:
            await self._auth.disable_2fa(None, row.found.account.user_id, actor=x.actor)
        except NoSuchUser:
            raise _no_such_user() from None
        return reply({"status": "SUCCESS", "two_factor_enabled": False})

    async def change_password(self, x: Exchange) -> Reply:
        """One's own. Ends all logins, this one too."""
        given = CHANGE_PASSWORD.read(self._body(x))
        await self._account.password_is_right(x, given["password"])
        values = await self._columns(x.who.username, {"password": given["new_password"]}, "new_password")
        if not await self._store.change_user(x.who.user_id, values, actor=x.actor, customer_id=None):
            raise _no_such_user()
        return reply({"status": "SUCCESS", "message": "Changed. Log in again."})

    async def _row(self, x: Exchange, to_change: bool = False) -> UserRow:
        """The user in the path, where the role reaches it. Raises Problem 404, or 403 for one that is above."""
        user_id = path_id(x, "user_id", "user")
        if x.scope is Scope.OWN and user_id != x.who.user_id:
            raise _no_such_user()
        row = await self._store.user(user_id, wall(x))
        if row is None:
            raise _no_such_user()
        if to_change and row.found.account.role == "ADMIN" and x.scope is not Scope.ALL:
            raise Problem(403, "NOT_PERMITTED", "This user administers the platform")
        return row

    def _allowed(self, x: Exchange, given: dict[str, Any]) -> dict[str, Any]:
        if x.scope is Scope.ALL:
            return given
        for field in given:
            if field in PLATFORM_FIELDS:
                raise Problem(403, "NOT_PERMITTED", f"$.{field}: the platform's administrators set this", path=f"$.{field}")
        if given.get("role") == "ADMIN":
            raise Problem(403, "NOT_PERMITTED", "$.role: only they make others who administer the platform", path="$.role")
        return given

    async def _columns(self, username: str, given: dict[str, Any], called: str = "password") -> dict[str, Any]:
        """As the table has them; a password as its hashes."""
        try:
            values = fields.user_fields(given)
        except fields.FieldError as error:
            name, _, why = str(error).partition(": ")
            raise invalid(f"$.{called if name == 'password' else name}", why) from None
        if "password" in values:
            password = values.pop("password")
            why = fault(password, username) or ""
            if why:
                raise invalid(f"$.{called}", why)
            values.update(await self._auth.password_hashes(password))
        return values


_DELETED = {
    True: "Gone: there was no traffic.",
    False: "Deleted. It stays in the books for its traffic; its name stays taken.",
}


def wall(x: Exchange) -> int | None:
    """The customer whose things alone are there; None where all are."""
    return None if x.scope is Scope.ALL else x.who.customer_id


def shown(row: UserRow) -> dict[str, Any]:
    """Everything but secrets."""
    account = row.found.account
    document: dict[str, Any] = {"user_id": account.user_id, "username": account.username}
    document["customer_id"], document["customer"] = account.customer_id, row.found.customer_name
    for field in FIELDS:
        if hasattr(account, field):
            document[field] = getattr(account, field)
    document["allowed_ips"] = [str(n) if n.num_addresses > 1 else str(n.network_address) for n in account.allowed_ips]
    for field in ("tags", "allowed_smsc", "allowed_sender_ids"):
        document[field] = list(document[field])
    document["email"], document["dlr_callback_url"] = row.found.email, row.found.dlr_callback_url
    document["two_factor_enabled"] = account.two_factor_enabled
    document["has_api_key"] = row.found.api_key_hash is not None
    document["created_at"] = iso_time(row.created_at.timestamp())
    document["last_login_at"] = iso_time(row.last_login_at.timestamp()) if row.last_login_at else None
    return document


def _username(name: str) -> str:
    try:
        return fields.username(name)
    except fields.FieldError as error:
        raise invalid("$.username", str(error)) from None


def _no_such_user() -> Problem:
    return Problem(404, "NOT_FOUND", "There is no such user")
