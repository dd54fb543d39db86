"""Contact lists of customers and who is in them. Changes leave their row in tbl_permission_audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import psycopg2.errors
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from protei_bulk.access.ports import Actor
from protei_bulk.store.changes import AUDIT, audited
from protei_bulk.store.messages import Runs

MOST_LISTS = 1000  # of a customer

Contact = tuple[str, str, Mapping[str, str]]  # number, name, variables


class NameTaken(Exception):
    """The customer has a list of this name."""


class TooMany(Exception):
    """The customer has MOST_LISTS."""


@frozen
class ContactList:
    """`importing` says how far the last import is: see Recipients.import_into."""

    id: int
    customer_id: int
    name: str
    groups: tuple[str, ...]
    size: int
    importing: Mapping[str, Any] | None
    created_at: datetime
    changed_at: datetime
    customer: str


def _list(row: tuple[Any, ...]) -> ContactList:
    return ContactList(row[0], row[1], row[2], tuple(row[3]), *row[4:])


_LIST = "l.list_id, l.customer_id, l.name, l.groups, l.size, l.importing, l.created_at, l.changed_at, k.name"
_FROM = "FROM contact_lists l JOIN customers k ON k.id = l.customer_id WHERE l.removed_at IS NULL"
_HERE = "EXISTS (SELECT 1 FROM contact_lists l WHERE l.list_id = %s AND l.customer_id = %s AND l.removed_at IS NULL)"
_ALIKE = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


def _like(text: str) -> str:
    return text.translate(_ALIKE)


class Contacts:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error. A list is always named with the customer it must be of."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def _changed(self, sql: str, params: Sequence[Any], actor: Actor, action: str, details: Mapping[str, Any]) -> Deferred[list[Any]]:
        """`sql` changes rows and returns them as `changed`: one row in the audit where there is any."""
        audit = AUDIT.format(user="NULL::bigint", more="").replace("FROM changed", "FROM (SELECT 1 FROM changed LIMIT 1) c")
        whole = f"WITH changed AS ({sql}), audit AS ({audit}) SELECT * FROM changed"  # noqa: S608
        return self._db.query(whole, [*params, *audited(actor, action, details)])

    # --- lists

    def some(self, customer_id: int, *, search: str = "", group: str = "", after: int = 0, most: int = 50) -> Deferred[list[ContactList]]:
        """The youngest first, one more than asked for where there are more."""
        sql = (
            f"SELECT {_LIST} {_FROM} AND l.customer_id = %s AND (%s = '' OR l.name ILIKE %s) AND (%s = '' OR l.groups ? %s)"  # noqa: S608
            " AND (%s = 0 OR l.list_id < %s) ORDER BY l.list_id DESC LIMIT %s"
        )
        params = (customer_id, search, f"%{_like(search)}%", group, group, after, after, most + 1)
        return self._db.query(sql, params).addCallback(lambda rows: [_list(r) for r in rows])

    def groups(self, customer_id: int) -> Deferred[list[str]]:
        """Names of all groups."""
        sql = (
            "SELECT DISTINCT g FROM contact_lists, jsonb_array_elements_text(groups) AS g"
            " WHERE customer_id = %s AND removed_at IS NULL ORDER BY 1"
        )
        return self._db.query(sql, (customer_id,)).addCallback(lambda rows: [str(r[0]) for r in rows])

    def get(self, customer_id: int, list_id: int) -> Deferred[ContactList | None]:
        sql = f"SELECT {_LIST} {_FROM} AND l.customer_id = %s AND l.list_id = %s"  # noqa: S608
        return self._db.query(sql, (customer_id, list_id)).addCallback(lambda rows: _list(rows[0]) if rows else None)

    def make(self, customer_id: int, name: str, groups: Sequence[str], *, actor: Actor) -> Deferred[int]:
        """Its number. Raises NameTaken, TooMany."""
        sql = """INSERT INTO contact_lists (customer_id, name, groups, created_by) SELECT %s, %s, %s::jsonb, %s
            WHERE (SELECT count(*) FROM contact_lists WHERE customer_id = %s AND removed_at IS NULL) < %s RETURNING list_id"""
        params = (customer_id, name, orjson.dumps(list(groups)).decode(), actor.user_id, customer_id, MOST_LISTS)
        d = self._changed(sql, params, actor, "CONTACT_LIST_ADD", {"customer_id": customer_id, "name": name})
        return d.addCallbacks(_number, _taken)

    def rename(self, customer_id: int, list_id: int, name: str, groups: Sequence[str], *, actor: Actor) -> Deferred[bool]:
        """Raises NameTaken."""
        sql = """UPDATE contact_lists SET name = %s, groups = %s::jsonb, changed_at = now()
            WHERE list_id = %s AND customer_id = %s AND removed_at IS NULL RETURNING list_id"""
        params = (name, orjson.dumps(list(groups)).decode(), list_id, customer_id)
        d = self._changed(sql, params, actor, "CONTACT_LIST_CHANGE", {"list_id": list_id, "name": name, "groups": list(groups)})
        return d.addCallbacks(bool, _taken)

    def remove(self, customer_id: int, list_id: int, *, actor: Actor) -> Deferred[bool]:
        """It can be put back for a day."""
        sql = "UPDATE contact_lists SET removed_at = now() WHERE list_id = %s AND customer_id = %s AND removed_at IS NULL RETURNING list_id"
        return self._changed(sql, (list_id, customer_id), actor, "CONTACT_LIST_REMOVE", {"list_id": list_id}).addCallback(bool)

    def restore(self, customer_id: int, list_id: int, *, actor: Actor) -> Deferred[bool]:
        """Raises NameTaken where another has its name now."""
        sql = """UPDATE contact_lists SET removed_at = NULL
            WHERE list_id = %s AND customer_id = %s AND removed_at IS NOT NULL RETURNING list_id"""
        d = self._changed(sql, (list_id, customer_id), actor, "CONTACT_LIST_RESTORE", {"list_id": list_id})
        return d.addCallbacks(bool, _taken)

    # --- who is in one

    def contacts(self, list_id: int, *, number: str = "", name: str = "", after: tuple[str, str] | None = None, most: int = 50
                 ) -> Deferred[list[Contact]]:  # fmt: skip
        """By number, or by name where one is looked for: what begins with it. `after`: (name, number) of the last one seen."""
        if name:
            sql = (
                "SELECT msisdn, name, variables FROM contacts WHERE list_id = %s AND lower(name) COLLATE \"C\" LIKE %s COLLATE \"C\""
                " AND (lower(name) COLLATE \"C\", msisdn) > (%s, %s) ORDER BY lower(name) COLLATE \"C\", msisdn LIMIT %s"
            )
            # The row is the bound at which the index is entered: none below the first that can match.
            seen = (after[0].lower(), after[1]) if after else (name.lower(), "")
            return self._db.query(sql, (list_id, _like(name.lower()) + "%", *seen, most + 1))
        sql = "SELECT msisdn, name, variables FROM contacts WHERE list_id = %s AND msisdn LIKE %s AND msisdn > %s ORDER BY msisdn LIMIT %s"
        return self._db.query(sql, (list_id, number + "%", after[1] if after else "", most + 1))

    def contact(self, list_id: int, number: str) -> Deferred[Contact | None]:
        d = self._db.query("SELECT msisdn, name, variables FROM contacts WHERE list_id = %s AND msisdn = %s", (list_id, number))
        return d.addCallback(lambda rows: rows[0] if rows else None)

    def put(self, customer_id: int, list_id: int, contact: Contact, old: str = "", *, actor: Actor) -> Deferred[bool | None]:
        """Adds one, or changes the one with the number `old`. False: the number is in the list already; None: there is no such list."""
        number, name, variables = contact
        values = (list_id, number, name, orjson.dumps(dict(variables)).decode())
        if old:
            sql = f"""UPDATE contacts SET msisdn = %s, name = %s, variables = %s::jsonb
                WHERE list_id = %s AND msisdn = %s AND {_HERE} RETURNING msisdn"""  # noqa: S608
            params: tuple[Any, ...] = (*values[1:], list_id, old, list_id, customer_id)
        else:
            sql = f"""INSERT INTO contacts (list_id, msisdn, name, variables) SELECT %s, %s, %s, %s::jsonb WHERE {_HERE}
                ON CONFLICT DO NOTHING RETURNING msisdn"""  # noqa: S608
            params = (*values, list_id, customer_id)
        action = "CONTACT_CHANGE" if old else "CONTACT_ADD"
        d: Deferred[Any] = self._changed(sql, params, actor, action, {"list_id": list_id, "number": number})
        return d.addCallbacks(bool, _there)

    def note_import(self, customer_id: int, list_id: int, file: str, *, actor: Actor) -> Deferred[Any]:
        """The audit's row about a file that is put into a list."""
        sql = f"SELECT 1 WHERE {_HERE}"  # noqa: S608
        return self._changed(sql, (list_id, customer_id), actor, "CONTACT_IMPORT", {"list_id": list_id, "file": file})

    def take_out(self, customer_id: int, list_id: int, numbers: Sequence[str], *, actor: Actor) -> Deferred[tuple[int, int]]:
        """(removal, how many): for a day they can be put back."""
        sql = """INSERT INTO contacts_removed (removal, list_id, msisdn, name, variables)
            SELECT n.removal, g.* FROM (SELECT nextval('contact_removals') AS removal) n,
                (SELECT list_id, msisdn, name, variables FROM gone) g RETURNING removal"""
        whole = f"""WITH gone AS (DELETE FROM contacts WHERE list_id = %s AND msisdn = ANY(%s::text[]) AND {_HERE}
                RETURNING list_id, msisdn, name, variables), changed AS ({sql}),
            audit AS ({AUDIT.format(user="NULL::bigint", more="").replace("FROM changed", "FROM (SELECT 1 FROM changed LIMIT 1) c")})
            SELECT max(removal), count(*) FROM changed"""  # noqa: S608
        details = {"list_id": list_id, "numbers": list(numbers)[:100]}
        params = [list_id, list(numbers), list_id, customer_id, *audited(actor, "CONTACT_REMOVE", details)]
        return self._db.query(whole, params).addCallback(lambda rows: (int(rows[0][0] or 0), int(rows[0][1])))

    def put_back(self, customer_id: int, list_id: int, removal: int, *, actor: Actor) -> Deferred[int]:
        """How many of a removal are back: one that is there again stays as it is now."""
        sql = """INSERT INTO contacts (list_id, msisdn, name, variables)
            SELECT list_id, msisdn, name, variables FROM back ON CONFLICT DO NOTHING RETURNING msisdn"""
        whole = f"""WITH back AS (DELETE FROM contacts_removed WHERE removal = %s AND list_id = %s AND {_HERE}
                RETURNING list_id, msisdn, name, variables), changed AS ({sql}),
            audit AS ({AUDIT.format(user="NULL::bigint", more="").replace("FROM changed", "FROM (SELECT 1 FROM changed LIMIT 1) c")})
            SELECT count(*) FROM changed"""  # noqa: S608
        params = [removal, list_id, list_id, customer_id, *audited(actor, "CONTACT_RESTORE", {"list_id": list_id, "removal": removal})]
        return self._db.query(whole, params).addCallback(lambda rows: int(rows[0][0]))


def _number(rows: list[tuple[Any, ...]]) -> int:
    if not rows:
        raise TooMany
    return int(rows[0][0])


def _taken(failure: Failure) -> Any:
    failure.trap(psycopg2.errors.UniqueViolation)
    raise NameTaken


def _there(failure: Failure) -> bool:
    failure.trap(psycopg2.errors.UniqueViolation)
    return False
