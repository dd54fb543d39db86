"""customers and users. Every change leaves its row in tbl_permission_audit, in the same statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.accounts import Credentials
from protei_bulk.access.ports import NOBODY, Actor
from protei_bulk.store.account_rows import (
    CREDENTIALS,
    CUSTOMER_COLUMNS,
    USER_COLUMNS,
    NameTaken,
    assignments,
    credentials,
    insertion,
    taken,
)
from protei_bulk.store.changes import AUDIT, BEFORE, BOOKED, TOP_UP, audited, shown_before

if TYPE_CHECKING:
    from protei_bulk.store.pool import Database

__all__ = ["Accounts", "Customer", "NameTaken", "NoSuchCustomer"]


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


_SELECT = f"SELECT {CREDENTIALS} FROM users u JOIN customers c ON c.id = u.customer_id WHERE "
_CUSTOMER = "SELECT * FROM customers WHERE name = %s AND status <> 'DELETED' FOR UPDATE"
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
        return rows.addCallback(lambda found: [credentials(row) for row in found])

    def users(self, customer: str | None = None) -> Deferred[list[Credentials]]:
        """All, or those of one customer, by name."""
        sql = _SELECT + "u.status <> 'DELETED' AND (%s::text IS NULL OR c.name = %s) ORDER BY u.username"
        rows = self._db.query(sql, (customer, customer))
        return rows.addCallback(lambda found: [credentials(row) for row in found])

    def customers(self) -> Deferred[list[Customer]]:
        """By name."""
        sql = """SELECT id, name, status, balance, credit_limit, currency, timezone
            FROM customers WHERE status <> 'DELETED' ORDER BY name"""
        return self._db.query(sql).addCallback(lambda rows: [Customer(*row) for row in rows])

    def create_customer(
        self, name: str, values: Mapping[str, Any] | None = None, *, actor: Actor = NOBODY
    ) -> Deferred[int]:
        """values: of CUSTOMER_COLUMNS. Fires with its id; fails with NameTaken."""
        fields = {"name": name, **(values or {})}
        columns, marks, params = insertion(fields, CUSTOMER_COLUMNS)
        sql = f"""WITH changed AS (INSERT INTO customers ({columns}) VALUES ({marks}) RETURNING id, balance AS difference),
            booked AS ({BOOKED.format(kind="'TOPUP'", reference="'opening balance'")}),
            audit AS ({AUDIT.format(user="NULL::bigint", more="")}) SELECT id FROM changed"""  # noqa: S608
        params += self._audited(actor, "CUSTOMER_ADD", fields)
        return self._db.query(sql, params).addCallbacks(lambda rows: int(rows[0][0]), taken(name))

    def set_customer(
        self, name: str, values: Mapping[str, Any], *, actor: Actor = NOBODY
    ) -> Deferred[bool]:
        """False where there is no such customer; fails with NameTaken for a new name in use."""
        sets, params = assignments(values, CUSTOMER_COLUMNS)
        sql = f"""WITH changed AS (
                UPDATE customers c SET {sets} FROM ({_CUSTOMER}) AS old
                WHERE c.id = old.id RETURNING c.id, c.balance - old.balance AS difference, to_jsonb(old) AS before),
            booked AS ({BOOKED.format(kind="'ADJUST'", reference="'set'")}),
            audit AS ({AUDIT.format(user="NULL::bigint", more=BEFORE)}) SELECT id FROM changed"""  # noqa: S608
        params += [name, *self._audited(actor, "CUSTOMER_SET", {"customer": name, **values}), shown_before(values)]
        return self._db.query(sql, params).addCallbacks(bool, taken(str(values.get("name", name))))

    def top_up(self, name: str, amount: Decimal, *, actor: Actor = NOBODY) -> Deferred[Decimal | None]:
        """Add to a customer's balance; fires with the new one, None where there is no such customer."""
        sql = f"""WITH changed AS (
                UPDATE customers c SET balance = c.balance + %s FROM ({_CUSTOMER}) AS old
                WHERE c.id = old.id RETURNING c.id, c.balance, c.balance - old.balance AS difference),
            booked AS ({BOOKED.format(kind=TOP_UP, reference="''")}),
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
        columns, marks, params = insertion(fields, {"username": "text", **USER_COLUMNS})
        if "timezone" not in fields:
            columns, marks = f"{columns}, timezone", f"{marks}, c.timezone"
        sql = f"""WITH changed AS (INSERT INTO users ({columns}, customer_id)
                SELECT {marks}, c.id FROM customers c WHERE c.name = %s AND c.status <> 'DELETED' RETURNING id),
            audit AS ({AUDIT.format(user="id", more="")}) SELECT id FROM changed"""  # noqa: S608
        params += [customer, *self._audited(actor, "USER_ADD", {"customer": customer, **fields})]

        def made(rows: list[tuple[Any, ...]]) -> int:
            if not rows:
                raise NoSuchCustomer(customer)
            return int(rows[0][0])

        return self._db.query(sql, params).addCallbacks(made, taken(username))

    def set_user(
        self, username: str, values: Mapping[str, Any], *, actor: Actor = NOBODY
    ) -> Deferred[bool]:
        """values: of USER_COLUMNS. False where there is no such user."""
        sets, params = assignments(values, USER_COLUMNS)
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

        A new secret, or none, has no used codes. False where there is no such user; and where, meanwhile, it was switched on
        (for a new secret) or has got another secret (for the one to be switched on).
        """
        action = "TWO_FACTOR_ON" if enabled else "TWO_FACTOR_NEW" if sealed else "TWO_FACTOR_OFF"
        sets = "two_factor_secret = %s, two_factor_enabled = %s"
        also = f"""unused AS (DELETE FROM tbl_totp_used WHERE NOT %s AND user_id IN (SELECT id FROM changed)),
            {_RECOVERY}"""
        codes = list(recovery)
        where, proven = "id = %s", []
        if sealed:
            where += " AND two_factor_enabled IS NOT TRUE AND two_factor_secret = %s" if enabled else " AND two_factor_enabled IS NOT TRUE"
            proven = [sealed] if enabled else []
        params = [sealed, enabled, user_id, *proven, enabled, codes, codes, *self._audited(actor, action, {})]
        return self._change(sets, where, params, also)

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
        return rows.addCallback(lambda found: credentials(found[0]) if found else None)

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
