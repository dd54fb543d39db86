"""Campaigns while they are made: their drafts, the first of their recipients, tests.

A draft belongs to whoever made it: nobody else finds it here.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Actor
from protei_bulk.campaigns.draft import Draft, columns, read_draft, write_draft
from protei_bulk.store.changes import AUDIT, audited
from protei_bulk.store.pages import Reach
from protei_bulk.store.pool import Database

TESTS_AN_HOUR, TESTS_A_DAY = 10, 50

_CAMPAIGN = """name = x.name, sender_id = x.sender_id, message_content = x.message_content, encoding = x.encoding, priority = x.priority,
    schedule_time = x.schedule_time, max_tps = x.max_tps, dlr_callback_url = x.dlr_callback_url,
    submission_channel = x.submission_channel"""
_PLAN = """smart = x.smart, defaults = x.defaults, tags = x.tags, window_from = x.window_from, window_to = x.window_to,
    window_days = x.window_days, window_zone = x.window_zone, valid_minutes = x.valid_minutes"""
_COLUMNS = """json_to_record(%s::json) AS x (name TEXT, sender_id TEXT, message_content TEXT, encoding TEXT, priority TEXT,
    schedule_time TIMESTAMPTZ, max_tps INTEGER, dlr_callback_url TEXT, submission_channel TEXT, smart BOOLEAN, defaults JSONB, tags JSONB,
    window_from TIME, window_to TIME, window_days SMALLINT[], window_zone TEXT, valid_minutes INTEGER)"""


@frozen
class Stored:
    """A campaign of the wizard as it is stored. `gathering` and `measured` as campaigns/gather and measure write them."""

    pk: int
    id: str
    user_id: int
    customer_id: int
    status: str
    reason: str
    draft: Draft
    version: int
    gathering: dict[str, Any]
    gathered: int
    measured: dict[str, Any]
    updated_at: Any
    approval: bool  # somebody else must approve it
    submitted_by: int | None = None

    @property
    def recipients_ready(self) -> bool:
        """What was gathered is what the draft says now."""
        return bool(self.gathered) and self.gathered >= self.draft.changed.get("recipients", 0)

    @property
    def recipients_wanted(self) -> bool:
        """They are there, or are being gathered, as the draft says now."""
        g, since = self.gathering, self.draft.changed.get("recipients", 0)
        return self.recipients_ready or (g.get("state") in ("waiting", "running") and g.get("version", 0) >= since)

    @property
    def measure_ready(self) -> bool:
        m = self.measured
        done = m.get("state") == "done" and self.recipients_ready
        return bool(done and m.get("version", 0) >= max(self.gathered, self.draft.changed.get("message", 0)))


class Drafts:
    def __init__(self, db: Database) -> None:
        self._db = db

    def make(self, pk: int, public_id: str, user_id: int, customer_id: int, draft: Draft, actor: Actor) -> Deferred[Any]:
        """A new one, under numbers that the intake has reserved; it has version 1."""
        c = columns(draft)
        sql = f"""WITH x AS (SELECT * FROM {_COLUMNS}), made AS (
                INSERT INTO campaigns (id, campaign_id, user_id, customer_id, planned, status, submission_channel, name, sender_id,
                    message_content, encoding, priority, schedule_time, max_tps, dlr_callback_url)
                SELECT %s, %s, %s, %s, TRUE, 'DRAFT', x.submission_channel, x.name, x.sender_id, x.message_content, x.encoding, x.priority,
                    x.schedule_time, x.max_tps, x.dlr_callback_url FROM x RETURNING id
            ), plan AS (
                INSERT INTO campaign_plans (campaign_id, draft, version, smart, defaults, tags, window_from, window_to, window_days,
                    window_zone, valid_minutes)
                SELECT made.id, %s::jsonb, 1, x.smart, x.defaults, x.tags, x.window_from, x.window_to, x.window_days, x.window_zone,
                    x.valid_minutes FROM made, x
            ), changed AS (SELECT %s::bigint AS id FROM made)
            {AUDIT.format(user="changed.id", more="")}"""  # noqa: S608
        details = {"campaign_id": public_id, "name": draft.name}
        return self._db.execute(
            sql, [json.dumps(c), pk, public_id, user_id, customer_id, json.dumps(write_draft(draft)), user_id,
                  *audited(actor, "CAMPAIGN_CREATE", details)],
        )  # fmt: skip

    def get(self, reach: Reach, public_id: str) -> Deferred[Stored | None]:
        where, params = reach.where("c.user_id")
        sql = f"""SELECT c.id, c.campaign_id, c.user_id, c.customer_id, c.status, c.status_reason, p.draft, p.version, p.gathering,
                p.gathered, p.measured, p.updated_at, k.campaign_approval, p.submitted_by
            FROM campaigns c JOIN campaign_plans p ON p.campaign_id = c.id JOIN customers k ON k.id = c.customer_id
            WHERE c.campaign_id = %s AND c.planned AND {where}"""  # noqa: S608

        def read(rows: list[tuple[Any, ...]]) -> Stored | None:
            if not rows:
                return None
            pk, id, user, customer, status, reason, draft, version, gathering, gathered, measured, at, approval, by = rows[0]
            return Stored(
                pk, id, user, customer, status, reason, read_draft(_json(draft)), version, _json(gathering), gathered, _json(measured), at,
                approval, by,
            )

        return self._db.query(sql, [public_id, *params]).addCallback(read)

    def save(self, pk: int, version: int, draft: Draft) -> Deferred[int | None]:
        """The new version; None where the draft has another one than `version` by now, or is none any more."""
        sql = f"""WITH x AS (SELECT * FROM {_COLUMNS}),
            mine AS (SELECT id FROM campaigns WHERE id = %s AND status = 'DRAFT' AND planned FOR UPDATE),
            plan AS (
                UPDATE campaign_plans p SET draft = %s::jsonb, version = p.version + 1, updated_at = now(), {_PLAN}
                FROM mine, x WHERE p.campaign_id = mine.id AND p.version = %s RETURNING p.campaign_id, p.version
            ), kept AS (UPDATE campaigns c SET {_CAMPAIGN} FROM plan, x WHERE c.id = plan.campaign_id)
            SELECT version FROM plan"""  # noqa: S608
        params = [json.dumps(columns(draft)), pk, json.dumps(write_draft(draft)), version]
        return self._db.query(sql, params).addCallback(lambda rows: int(rows[0][0]) if rows else None)

    def first_recipients(self, pk: int, most: int = 3) -> Deferred[list[tuple[str, dict[str, str]]]]:
        """(number, variables) of the first ones that were gathered."""
        sql = """SELECT e.value FROM (SELECT recipients FROM campaign_blocks WHERE campaign_id = %s ORDER BY block LIMIT 1) b,
            json_array_elements(b.recipients::json) WITH ORDINALITY AS e (value, n) WHERE e.n <= %s ORDER BY e.n"""

        def read(rows: list[tuple[Any, ...]]) -> list[tuple[str, dict[str, str]]]:
            found = [json.loads(r[0]) if isinstance(r[0], str) else r[0] for r in rows]
            return [(str(f[0]), {k: str(v) for k, v in f[1].items()} if len(f) > 1 else {}) for f in found]

        return self._db.query(sql, (pk, most)).addCallback(read)

    def take_test(self, user_id: int) -> Deferred[bool]:
        """Whether the account may send one more test now."""
        d = self._db.query("SELECT take_campaign_test(%s, %s, %s)", (user_id, TESTS_AN_HOUR, TESTS_A_DAY))
        return d.addCallback(lambda rows: bool(rows[0][0]))

    def tested(self, user_id: int, public_id: str, number: str, result: str, actor: Actor) -> Deferred[Any]:
        """The audit's row about a test."""
        sql = f"WITH changed AS (SELECT %s::bigint AS id) {AUDIT.format(user='changed.id', more='')}"  # noqa: S608
        details = {"campaign_id": public_id, "number": number, "outcome": result}
        return self._db.execute(sql, [user_id, *audited(actor, "CAMPAIGN_TEST", details)])

    def choices(self, user_id: int) -> Deferred[list[str]]:
        """Senders that the account used in its youngest campaigns."""
        sql = """SELECT sender_id FROM (SELECT sender_id, max(id) AS last FROM (SELECT sender_id, id FROM campaigns WHERE user_id = %s
            AND sender_id IS NOT NULL ORDER BY id DESC LIMIT 100) c GROUP BY 1) s ORDER BY last DESC LIMIT 8"""
        return self._db.query(sql, (user_id,)).addCallback(lambda rows: [str(r[0]) for r in rows])

    def default_country(self, customer_id: int) -> Deferred[str]:
        d = self._db.query("SELECT default_country FROM customers WHERE id = %s", (customer_id,))
        return d.addCallback(lambda rows: str(rows[0][0]) if rows else "")


def _json(value: Any) -> dict[str, Any]:
    found = json.loads(value) if isinstance(value, str | bytes) else value
    return found if isinstance(found, dict) else {}
