"""Users and customers by number, a page at a time: what the HTTP API administers.

`customer_id`, where it is given, is a wall: what is behind it is not there. Every change leaves its row in
tbl_permission_audit, in the same statement.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import frozen
from psycopg2 import errors
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from protei_bulk.access.accounts import Credentials
from protei_bulk.access.ports import Actor
from protei_bulk.store.account_rows import (
    CREDENTIALS,
    CUSTOMER_COLUMNS,
    USER_COLUMNS,
    assignments,
    credentials,
    insertion,
    taken,
)
from protei_bulk.store.changes import AUDIT, BEFORE, BOOKED, TOP_UP, audited, shown_before

if TYPE_CHECKING:
    from datetime import datetime

    from protei_bulk.store.pool import Database


class StillInUse(Exception):
    """The customer has users."""


class TooMuch(Exception):
    """More money than the column holds (10^12)."""


@frozen
class UserRow:
    """A user as administrators see it. Times are aware, but for api_key_created_at, which is UTC."""

    found: Credentials
    created_at: datetime
    last_login_at: datetime | None
    api_key_created_at: datetime | None


@frozen
class CustomerRow:
    """Amounts in its currency; users that are not deleted."""

    customer_id: int
    name: str
    status: str
    balance: Decimal
    credit_limit: Decimal
    currency: str
    timezone: str
    created_at: datetime
    users: int
    charge_on: str
    allowed_countries: tuple[str, ...]
    blocked_countries: tuple[str, ...]
    weight: Decimal
    campaign_approval: bool
    default_country: str


_USER = f"""SELECT u.created_at, u.last_login_at, u.api_key_created_at, {CREDENTIALS}
    FROM users u JOIN customers c ON c.id = u.customer_id WHERE u.status <> 'DELETED'"""
_CUSTOMER = """SELECT c.id, c.name, c.status, c.balance, c.credit_limit, c.currency, c.timezone, c.created_at,
        (SELECT count(*) FROM users u WHERE u.customer_id = c.id AND u.status <> 'DELETED')::int, c.charge_on,
        c.allowed_countries, c.blocked_countries, c.weight, c.campaign_approval, c.default_country
    FROM customers c WHERE c.status <> 'DELETED'"""
_OLD_USER = """SELECT * FROM users
    WHERE id = %s AND status <> 'DELETED' AND (%s::bigint IS NULL OR customer_id = %s) FOR UPDATE"""
#: whether a user has ever sent anything, or used anything
_HAS_TRAFFIC = """(EXISTS (SELECT 1 FROM campaigns k WHERE k.user_id = u.id)
    OR EXISTS (SELECT 1 FROM tbl_quota_usage q WHERE q.user_id = u.id))"""


class Administration:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error where nothing else is said."""

    def __init__(self, db: Database, *, source: str = "") -> None:
        """source: what the audit says of where changes come from, beside who made them."""
        self._db = db
        self._source = {"source": source} if source else {}

    def _audited(self, actor: Actor, action: str, values: Mapping[str, Any]) -> list[Any]:
        return audited(actor, action, {**self._source, **values})

    # --- users

    def users(
        self,
        *,
        customer_id: int | None,
        user_id: int | None = None,
        role: str | None = None,
        status: str | None = None,
        search: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> Deferred[list[UserRow]]:
        """By id, those above `after`. search: in the name, whatever its case."""
        sql = f"""{_USER} AND u.id > %s AND (%s::bigint IS NULL OR u.customer_id = %s) AND (%s::bigint IS NULL OR u.id = %s)
            AND (%s::text IS NULL OR u.role = %s) AND (%s::text IS NULL OR u.status = %s)
            AND (%s::text IS NULL OR position(lower(%s) IN lower(u.username)) > 0) ORDER BY u.id LIMIT %s"""
        values = (after, customer_id, customer_id, user_id, user_id, role, role, status, status, search, search, limit)
        return self._db.query(sql, values).addCallback(lambda rows: [_user(row) for row in rows])

    def user(self, user_id: int, customer_id: int | None = None) -> Deferred[UserRow | None]:
        rows = self.users(customer_id=customer_id, user_id=user_id, limit=1)
        return rows.addCallback(lambda found: found[0] if found else None)

    def create_user(
        self, username: str, customer_id: int, values: Mapping[str, Any], *, actor: Actor
    ) -> Deferred[int | None]:
        """values: of USER_COLUMNS, password_hash among them; the time zone is the customer's where none is given.

        Fires with its id, None where there is no such customer; fails with NameTaken.
        """
        fields = {"username": username, **values}
        columns, marks, params = insertion(fields, {"username": "text", **USER_COLUMNS})
        if "timezone" not in fields:
            columns, marks = f"{columns}, timezone", f"{marks}, c.timezone"
        sql = f"""WITH changed AS (INSERT INTO users ({columns}, customer_id)
                SELECT {marks}, c.id FROM customers c WHERE c.id = %s AND c.status <> 'DELETED' RETURNING id),
            audit AS ({AUDIT.format(user="id", more="")}) SELECT id FROM changed"""  # noqa: S608
        params += [customer_id, *self._audited(actor, "USER_ADD", {"customer_id": customer_id, **fields})]
        return self._db.query(sql, params).addCallbacks(lambda rows: int(rows[0][0]) if rows else None, taken(username))

    def change_user(self, user_id: int, values: Mapping[str, Any], *, actor: Actor, customer_id: int | None) -> Deferred[bool]:
        """values: of USER_COLUMNS. False where there is no such user."""
        sets, params = assignments(values, USER_COLUMNS)
        sql = f"""WITH changed AS (
                UPDATE users u SET {sets}, updated_at = now() FROM ({_OLD_USER}) AS old
                WHERE u.id = old.id RETURNING u.id, to_jsonb(old) AS before),
            audit AS ({AUDIT.format(user="id", more=BEFORE)}) SELECT id FROM changed"""  # noqa: S608
        params += [user_id, customer_id, customer_id, *self._audited(actor, "USER_SET", values), shown_before(values)]
        return self._db.query(sql, params).addCallback(bool)

    def delete_user(self, user_id: int, *, actor: Actor, customer_id: int | None) -> Deferred[bool | None]:
        """True: the row is gone. False: it stays for the books, without anything that lets in; its name stays taken.

        None where there is no such user.
        """
        soft = f"""WITH changed AS (
                UPDATE users u SET status = 'DELETED', password_hash = '!', smpp_password_hash = NULL, api_key = NULL,
                    api_key_created_at = NULL, two_factor_secret = NULL, two_factor_enabled = FALSE, updated_at = now()
                FROM ({_OLD_USER}) AS old WHERE u.id = old.id AND {_HAS_TRAFFIC} RETURNING u.id, u.username),
            codes AS (DELETE FROM tbl_recovery_codes WHERE user_id IN (SELECT id FROM changed)),
            audit AS ({AUDIT.format(user="id", more="|| jsonb_build_object('username', username)")}) SELECT id FROM changed"""  # noqa: S608
        hard = f"""WITH changed AS (
                DELETE FROM users u USING ({_OLD_USER}) AS old
                WHERE u.id = old.id AND NOT {_HAS_TRAFFIC} RETURNING u.id, u.username),
            audit AS ({AUDIT.format(user="id", more="|| jsonb_build_object('username', username)")})
            SELECT pg_notify('protei_accounts', 'user:' || id) FROM changed"""  # noqa: S608
        return Deferred.fromCoroutine(self._delete(soft, hard, [user_id, customer_id, customer_id], "USER_DELETE", actor))

    # --- customers

    def customers(
        self,
        *,
        customer_id: int | None,
        status: str | None = None,
        search: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> Deferred[list[CustomerRow]]:
        """By id, those above `after`. search: in the name, whatever its case."""
        sql = f"""{_CUSTOMER} AND c.id > %s AND (%s::bigint IS NULL OR c.id = %s) AND (%s::text IS NULL OR c.status = %s)
            AND (%s::text IS NULL OR position(lower(%s) IN lower(c.name)) > 0) ORDER BY c.id LIMIT %s"""
        values = (after, customer_id, customer_id, status, status, search, search, limit)
        return self._db.query(sql, values).addCallback(lambda rows: [CustomerRow(*row) for row in rows])

    def customer(self, customer_id: int) -> Deferred[CustomerRow | None]:
        rows = self.customers(customer_id=customer_id, limit=1)
        return rows.addCallback(lambda found: found[0] if found else None)

    def create_customer(self, name: str, values: Mapping[str, Any], *, actor: Actor) -> Deferred[int]:
        """values: of CUSTOMER_COLUMNS. Fails with NameTaken."""
        fields = {**values, "name": name}
        columns, marks, params = insertion(fields, CUSTOMER_COLUMNS)
        sql = f"""WITH changed AS (INSERT INTO customers ({columns}) VALUES ({marks}) RETURNING id, balance AS difference),
            booked AS ({BOOKED.format(kind="'TOPUP'", reference="'opening balance'")}),
            audit AS ({AUDIT.format(user="NULL::bigint", more="|| jsonb_build_object('customer_id', id)")})
            SELECT id FROM changed"""  # noqa: S608
        params += self._audited(actor, "CUSTOMER_ADD", fields)
        return self._db.query(sql, params).addCallbacks(lambda rows: int(rows[0][0]), taken(name))

    def change_customer(self, customer_id: int, values: Mapping[str, Any], *, actor: Actor) -> Deferred[bool]:
        """False where there is no such customer; fails with NameTaken."""
        sets, params = assignments(values, CUSTOMER_COLUMNS)
        sql = f"""WITH changed AS (
                UPDATE customers c SET {sets}, updated_at = now()
                FROM (SELECT * FROM customers WHERE id = %s AND status <> 'DELETED' FOR UPDATE) AS old
                WHERE c.id = old.id RETURNING c.id, c.balance - old.balance AS difference, to_jsonb(old) AS before),
            booked AS ({BOOKED.format(kind="'ADJUST'", reference="'set'")}),
            audit AS ({AUDIT.format(user="NULL::bigint", more=BEFORE)}) SELECT id FROM changed"""  # noqa: S608
        details = {"customer_id": customer_id, **values}
        params += [customer_id, *self._audited(actor, "CUSTOMER_SET", details), shown_before(values)]
        return self._db.query(sql, params).addCallbacks(bool, taken(str(values.get("name", ""))))

    def top_up(self, customer_id: int, amount: Decimal, reference: str = "", *, actor: Actor) -> Deferred[Decimal | None]:
        """Add to the balance; fires with the new one, None where there is no such customer. Fails with TooMuch.

        reference: what the ledger says of it, at most 64 characters.
        """
        sql = f"""WITH changed AS (
                UPDATE customers SET balance = balance + %s WHERE id = %s AND status <> 'DELETED'
                RETURNING id, balance, %s::numeric AS difference),
            booked AS ({BOOKED.format(kind=TOP_UP, reference="%s")}),
            audit AS ({AUDIT.format(user="NULL::bigint", more="")}) SELECT balance FROM changed"""  # noqa: S608
        details = {"customer_id": customer_id, "amount": amount, **({"reference": reference} if reference else {})}
        values = (amount, customer_id, amount, reference, *self._audited(actor, "CUSTOMER_TOP_UP", details))

        def failed(failure: Failure) -> Failure:
            if isinstance(failure.value, errors.NumericValueOutOfRange):
                raise TooMuch(customer_id)
            return failure

        return self._db.query(sql, values).addCallbacks(lambda rows: rows[0][0] if rows else None, failed)

    def delete_customer(self, customer_id: int, *, actor: Actor) -> Deferred[bool | None]:
        """True: the row is gone. False: it stays for the books. None: there is no such customer. Fails with StillInUse."""
        old = "SELECT * FROM customers WHERE id = %s AND status <> 'DELETED' FOR UPDATE"
        had = """(EXISTS (SELECT 1 FROM users u WHERE u.customer_id = c.id)
            OR EXISTS (SELECT 1 FROM tbl_ledger l WHERE l.customer_id = c.id))"""
        has = "EXISTS (SELECT 1 FROM users u WHERE u.customer_id = c.id AND u.status <> 'DELETED')"
        more = "|| jsonb_build_object('customer_id', id, 'name', name)"
        soft = f"""WITH changed AS (
                UPDATE customers c SET status = 'DELETED', updated_at = now() FROM ({old}) AS old
                WHERE c.id = old.id AND {had} AND NOT {has} RETURNING c.id, c.name),
            audit AS ({AUDIT.format(user="NULL::bigint", more=more)}) SELECT id FROM changed"""  # noqa: S608
        hard = f"""WITH changed AS (
                DELETE FROM customers c USING ({old}) AS old WHERE c.id = old.id AND NOT {had} RETURNING c.id, c.name),
            audit AS ({AUDIT.format(user="NULL::bigint", more=more)}) SELECT id FROM changed"""  # noqa: S608

        async def work() -> bool | None:
            gone = await self._delete(soft, hard, [customer_id], "CUSTOMER_DELETE", actor)
            if gone is None and await self.customer(customer_id) is not None:
                raise StillInUse(customer_id)
            return gone

        return Deferred.fromCoroutine(work())

    async def _delete(self, soft: str, hard: str, key: list[Any], action: str, actor: Actor) -> bool | None:
        """Traffic may come between the two: then neither finds the row, and the second look at the first does."""
        for _ in range(2):
            if await self._db.query(soft, [*key, *self._audited(actor, action, {})]):
                return False
            try:
                if await self._db.query(hard, [*key, *self._audited(actor, action, {})]):
                    return True
            except errors.ForeignKeyViolation:
                continue
        return None


def _user(row: tuple[Any, ...]) -> UserRow:
    return UserRow(credentials(row[3:]), row[0], row[1], row[2])

