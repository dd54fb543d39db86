"""Texts that a customer keeps to use again: message_templates. A deleted one can be brought back for thirty days."""

from __future__ import annotations

from typing import Any

import psycopg2
from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Actor
from protei_bulk.store.changes import AUDIT, audited
from protei_bulk.store.pool import Database
from protei_bulk.text.variables import Wording

MAX_TEMPLATES = 1000  # of a customer
_COLUMNS = "t.template_id, t.name, t.text, t.encoding, t.smart, t.updated_at, u.username"


class NameTaken(Exception):
    """Another template of the customer has the name."""


class TooMany(Exception):
    """The customer has MAX_TEMPLATES."""


@frozen
class MessageTemplate:
    id: int
    name: str
    text: str
    encoding: str
    smart: bool
    updated_at: Any
    updated_by: str | None

    @property
    def variables(self) -> tuple[str, ...]:
        return Wording(self.text).names


class MessageTemplates:
    def __init__(self, db: Database) -> None:
        self._db = db

    def some(self, customer_id: int, *, search: str = "", after: int = 0, most: int = 50) -> Deferred[list[MessageTemplate]]:
        """The youngest first, one more than asked for where there are more."""
        values: list[Any] = [customer_id]
        conditions = ["t.customer_id = %s", "t.deleted_at IS NULL"]
        if search:
            like = "%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
            conditions.append("(t.name ILIKE %s OR t.text ILIKE %s)")
            values += [like, like]
        if after:
            conditions.append("t.template_id < %s")
            values.append(after)
        sql = (
            f"SELECT {_COLUMNS} FROM message_templates t LEFT JOIN users u ON u.id = t.updated_by"
            f" WHERE {' AND '.join(conditions)} ORDER BY t.template_id DESC LIMIT %s"
        )
        return self._db.query(sql, [*values, most + 1]).addCallback(lambda rows: [MessageTemplate(*r) for r in rows])

    def get(self, customer_id: int, id: int) -> Deferred[MessageTemplate | None]:
        sql = f"""SELECT {_COLUMNS} FROM message_templates t LEFT JOIN users u ON u.id = t.updated_by
            WHERE t.template_id = %s AND t.customer_id = %s AND t.deleted_at IS NULL"""  # noqa: S608
        return self._db.query(sql, (id, customer_id)).addCallback(lambda rows: MessageTemplate(*rows[0]) if rows else None)

    async def make(self, customer_id: int, name: str, text: str, encoding: str, smart: bool, actor: Actor) -> int:
        """The new one's id. Raises NameTaken, TooMany."""
        sql = f"""WITH made AS (
                INSERT INTO message_templates (customer_id, name, text, encoding, smart, updated_by)
                SELECT %s, %s, %s, %s, %s, %s WHERE (SELECT count(*) FROM message_templates
                    WHERE customer_id = %s AND deleted_at IS NULL) < %s RETURNING template_id
            ), changed AS (SELECT %s::bigint AS id FROM made),
            noted AS ({AUDIT.format(user="changed.id", more="")})
            SELECT template_id FROM made"""  # noqa: S608
        rows = await self._named(
            sql, [customer_id, name, text, encoding, smart, actor.user_id, customer_id, MAX_TEMPLATES, actor.user_id,
                  *audited(actor, "TEMPLATE_CREATE", {"name": name})],
        )  # fmt: skip
        if not rows:
            raise TooMany
        return int(rows[0][0])

    async def change(self, customer_id: int, id: int, name: str, text: str, encoding: str, smart: bool, actor: Actor) -> bool:
        """False where it is not there. Raises NameTaken."""
        sql = f"""WITH made AS (
                UPDATE message_templates SET name = %s, text = %s, encoding = %s, smart = %s, updated_by = %s, updated_at = now()
                WHERE template_id = %s AND customer_id = %s AND deleted_at IS NULL RETURNING template_id
            ), changed AS (SELECT %s::bigint AS id FROM made),
            noted AS ({AUDIT.format(user="changed.id", more="")})
            SELECT template_id FROM made"""  # noqa: S608
        return bool(
            await self._named(
                sql, [name, text, encoding, smart, actor.user_id, id, customer_id, actor.user_id,
                      *audited(actor, "TEMPLATE_UPDATE", {"template_id": id, "name": name})],
            )
        )  # fmt: skip

    async def delete(self, customer_id: int, id: int, actor: Actor) -> str | None:
        """Its name; None where it is not there. Those that were deleted thirty days ago go for good."""
        await self._db.execute(
            "DELETE FROM message_templates WHERE customer_id = %s AND deleted_at < now() - interval '30 days'", (customer_id,)
        )
        return await self._mark(customer_id, id, actor, "now()", "t.deleted_at IS NULL", "TEMPLATE_DELETE")

    async def restore(self, customer_id: int, id: int, actor: Actor) -> str | None:
        """Its name; None where it is not there any more. Raises NameTaken."""
        return await self._mark(customer_id, id, actor, "NULL", "t.deleted_at IS NOT NULL", "TEMPLATE_RESTORE")

    async def _mark(self, customer_id: int, id: int, actor: Actor, at: str, where: str, action: str) -> str | None:
        sql = f"""WITH made AS (
                UPDATE message_templates t SET deleted_at = {at} WHERE t.template_id = %s AND t.customer_id = %s AND {where}
                RETURNING t.name
            ), changed AS (SELECT %s::bigint AS id FROM made),
            noted AS ({AUDIT.format(user="changed.id", more="")})
            SELECT name FROM made"""  # noqa: S608
        rows = await self._named(sql, [id, customer_id, actor.user_id, *audited(actor, action, {"template_id": id})])
        return str(rows[0][0]) if rows else None

    async def _named(self, sql: str, params: Any) -> Any:
        try:
            return await self._db.query(sql, params)
        except psycopg2.errors.UniqueViolation:
            raise NameTaken from None
