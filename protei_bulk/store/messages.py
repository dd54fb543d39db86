"""Messages in PostgreSQL: stored, moved on, queued, claimed and recovered, always in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import orjson
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from protei_bulk.model import ids
from protei_bulk.model.faults import Unstorable
from protei_bulk.model.long import LongMessage, LongPart
from protei_bulk.model.message import Message
from protei_bulk.store.claims import Claims
from protei_bulk.store.faults import rows_at_fault
from protei_bulk.text import alphabets

Row = dict[str, Any]


class Runs(Protocol):
    """A Database, or one connection of it."""

    def query(self, sql: str, params: Sequence[Any] = ()) -> Deferred[list[tuple[Any, ...]]]: ...

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Deferred[int]: ...


_COLUMNS = """m.message_id, m.user_id, m.campaign_id, m.from_addr, m.to_addr, m.message_text, m.payload, m.udh, m.data_coding,
    m.esm_class, m.protocol_id, m.registered_delivery, m.addr_types, m.priority, m.segments, m.price, m.tlvs, m.dlr_url,
    extract(epoch FROM m.valid_until)::float8, extract(epoch FROM m.submitted_at)::float8, m.submission_channel, m.smsc_id,
    m.status, COALESCE(m.smpp_msg_id, ''), COALESCE(extract(epoch FROM m.sent_at)::float8, 0), COALESCE(m.service_type, ''),
    COALESCE(m.shown_id, ''), COALESCE(m.parts, 0), m.long_id, m.long_part, m.long_total, COALESCE(m.long_merged, FALSE),
    COALESCE(m.route, ''), COALESCE(m.tried, '')"""
WIDTH = 34  # of them: what a statement selects beside them begins here
SUMMARIZE_EVERY = 5.0  # seconds between two calls of Messages.summarize: what came since is read by searches
FENCED = "PB001"  # SQLSTATE: see fence() in the schema
_MERGED = '"lm":true'  # in the rows of a batch: no text can hold it, for there its quotes are escaped


def _json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise Unstorable(str(error)) from None  # a text of half a surrogate pair, say: it names types only


def message_from_row(row: tuple[Any, ...]) -> Message:
    """The message that a row of `_COLUMNS` holds."""
    m = Message()
    (
        m.id, m.user_id, campaign, m.source, m.dest, m.text, payload, udh, m.data_coding, m.esm_class, m.protocol_id, m.registered, types,
        m.priority, m.segments, m.price, tlvs, m.dlr_url, valid, m.created, m.channel, smsc, _, m.smsc_message_id, m.sent_at,
        m.service_type, m.shown_id, m.parts, long_id, number, total, merged,
        m.route, m.tried,
    ) = row[:WIDTH]  # fmt: skip
    m.campaign_id = campaign or 0
    m.source_ton, m.source_npi, m.dest_ton, m.dest_npi = (types >> 24) & 255, (types >> 16) & 255, (types >> 8) & 255, types & 255
    m.smsc = smsc or ""
    m.candidates = (m.smsc,)
    m.valid_until = valid or 0.0
    m.udh = bytes(udh) if udh is not None else b""
    m.binary = payload is not None
    m.body = bytes(payload) if payload is not None else alphabets.encode_body(m.text, m.data_coding)
    m.tlvs = {int(k): bytes.fromhex(v) for k, v in tlvs.items()} if tlvs else None
    if long_id is not None:
        m.long = LongPart(LongMessage(long_id, m.smsc), number, total, merged)
    return m


def row_of(m: Message, day: str) -> Row:
    """What accept_messages() takes for one message."""
    row: Row = {
        "i": m.id, "k": m.campaign_id, "u": m.user_id, "f": m.source, "t": m.dest, "x": m.text, "h": m.channel,
        "z": "SCHEDULED" if m.not_before else "QUEUED", "q": m.smsc, "s": m.segments,
        "o": _signed(m.source_ton << 24 | m.source_npi << 16 | m.dest_ton << 8 | m.dest_npi),
    }  # fmt: skip
    if m.registered:
        row["r"] = m.registered
    if m.route:
        row["rt"] = m.route
    more = _more(m)
    if more:
        row["m"] = more
        if m.price:  # what money and the queue read
            row["p"], row["d8"] = more["p"], day
            if m.charge:
                row["ch"] = m.charge
    if m.queued:
        row["w"] = m.not_before
        if m.priority != 1:
            row["y"] = m.priority
        if m.valid_until:
            row["v"] = m.valid_until
    return row


def _more(m: Message) -> Row | None:
    """What most messages do not have."""
    if not (
        m.data_coding or m.esm_class or m.protocol_id or m.priority != 1 or m.price or m.binary or m.udh or m.tlvs or m.dlr_url
        or m.valid_until or m.service_type or m.shown_id or m.long is not None
    ):  # fmt: skip
        return None
    more: Row = {}
    if m.data_coding:
        more["d"] = m.data_coding
    if m.esm_class:
        more["e"] = m.esm_class
    if m.protocol_id:
        more["pi"] = m.protocol_id
    if m.priority != 1:
        more["y"] = m.priority
    if m.price:
        more["p"] = str(m.price)
        if m.charge:
            more["ch"] = m.charge
    if m.binary:
        more["b"] = m.body.hex()
    if m.udh:
        more["l"] = m.udh.hex()
    if m.tlvs:
        more["tl"] = {str(k): v.hex() for k, v in m.tlvs.items()}
    if m.dlr_url:
        more["du"] = m.dlr_url
    if m.valid_until:
        more["v"] = m.valid_until
    if m.service_type:
        more["st"] = m.service_type
    if m.shown_id:
        more["si"] = m.shown_id
    if m.long is not None:
        more["li"], more["ln"], more["lt"] = m.long.of.id, m.long.number, m.long.total
        if m.long.merged:
            more["lm"] = True
    return more


def _signed(n: int) -> int:
    return n - (1 << 32) if n >> 31 else n


class Messages:
    """`intake`, `outcomes` and `life` are connections of their own: none waits behind the others or behind a page.

    With an `epoch`, what is stored, queued and claimed is refused once another process has taken over what this node
    held, and `over()` is called: see fence() in the schema.
    """

    def __init__(self, db: Runs, intake: Runs, outcomes: Runs, node: int, epoch: int = 0, life: Runs | None = None) -> None:
        self._db, self._intake, self._outcomes, self._node = db, intake, outcomes, node
        self._epoch, self._life = epoch, life or db
        self._fence = f"SELECT fence({node:d}, {epoch:d}); " if epoch else ""
        self.over: Callable[[], None] = lambda: None
        self._summarized: dict[str, int] = {}  # up to which page, by partition
        self._claims = Claims(db, node, self._fence, _COLUMNS, WIDTH, message_from_row)

    # --- acceptance

    def accept(self, charges: list[Row], rows: list[Row], queued: bool, campaigns: Sequence[Row] = ()) -> Deferred[dict[str, str] | None]:
        """Stores a batch with its quota and money, and campaigns that are new; the refused ids with "Q" or "B". Unstorable: one row is."""
        stored = _json(rows)
        merged = [{"i": r["i"], "u": r["u"], "g": r["m"]["li"]} for r in rows if "lm" in r.get("m", ())] if _MERGED in stored else ()
        d = self._intake.query(
            self._fence + "SELECT accept_messages(%s::json, %s::json, %s, %s::json)" + (", expect_merged(%s::json)" if merged else ""),
            (_json(charges), stored, queued, _json(campaigns) if campaigns else None, *((_json(merged),) if merged else ())),
        )
        return d.addErrback(self._fenced).addCallbacks(lambda result: result[0][0], rows_at_fault)

    def _fenced(self, failure: Failure) -> Failure:
        if getattr(failure.value, "pgcode", None) == FENCED:
            self.over()
        return failure

    def disown(self, ids: list[str]) -> Deferred[int]:
        """Takes back what is stored of these, with its quota and money, and says how many were."""
        return self._intake.query("SELECT disown_messages(%s::json)", (_json(ids),)).addCallback(lambda rows: int(rows[0][0]))

    def stored(self, ids: list[str]) -> Deferred[set[str]]:
        """Which of these ids are stored: asked after a COMMIT whose answer was lost."""
        d = self._intake.query(
            "SELECT message_id FROM messages WHERE message_id BETWEEN %s AND %s AND message_id = ANY (%s)", (min(ids), max(ids), ids)
        )
        return d.addCallback(lambda rows: {r[0] for r in rows})

    def day_campaign(self, user_id: int, customer_id: int, day: str, public_id: str, system_id: str) -> Deferred[int]:
        """The campaign under which an account's SMPP traffic of a day runs, made where it is missing."""
        d = self._db.query(
            "INSERT INTO campaigns (campaign_id, user_id, customer_id, name, submission_channel, status, day)"
            " VALUES (%s, %s, %s, %s, 'SMPP', 'RUNNING', %s)"
            " ON CONFLICT (user_id, day) WHERE day IS NOT NULL DO UPDATE SET day = EXCLUDED.day RETURNING id",
            (public_id, user_id, customer_id, f"SMPP {system_id} {day}", day),
        )
        return d.addCallback(lambda rows: int(rows[0][0]))

    def campaign_numbers(self, count: int) -> Deferred[list[int]]:
        """Reserves so many values of campaigns.id."""
        d = self._db.query("SELECT nextval(pg_get_serial_sequence('campaigns', 'id')) FROM generate_series(1, %s)", (count,))
        return d.addCallback(lambda rows: [r[0] for r in rows])

    # --- progress

    def advance(self, rows: list[Row] | None, journal_id: int, journal: str | None, outbox: list[Row], callbacks: list[Row],
                dequeue: list[str], parts: list[Row], merges: Sequence[str] = (), again: Sequence[Row] = ()) -> Deferred[Any]:  # fmt: skip
        """Moves messages on; see advance_messages() in the schema. A part with "t" tells of how many it is; number 0 tells that alone.

        `again` are messages that an SMSC took in vain: see route_again().
        `merges` are long messages of which a part becomes final. With them, the last column of the row that it fires with holds the
        users who have a receipt in the outbox by that, or None.
        """
        noted = [{"i": p["i"], "n": p["t"]} for p in parts if "t" in p]
        if noted:
            parts = [p for p in parts if p["n"]]
        d = self._outcomes.query(
            "SELECT advance_messages(%s::json, %s, %s, %s, %s::json, %s::json, %s::json, %s::json)"
            + (", note_parts(%s::json)" if noted else "")
            + (", route_again(%s::json)" if again else "")
            + (", merge_receipts(%s::json)" if merges else ""),
            (
                _json(rows) if rows else None, self._node, journal_id, journal,
                _json(outbox) if outbox else None, _json(callbacks) if callbacks else None,
                _json(dequeue) if dequeue else None, _json(parts) if parts else None, *([_json(noted)] if noted else ()),
                *([_json(again)] if again else ()), *([_json(merges)] if merges else ()),
            ),
        )  # fmt: skip
        return d.addErrback(rows_at_fault)

    def merge_overdue(self) -> Deferred[list[int]]:
        """Long messages of which parts never came get their one receipt; the users who have one more in the outbox."""
        return self._db.query("SELECT merge_overdue()").addCallback(lambda rows: rows[0][0] or [])

    def long_parts(self, since: str) -> Deferred[list[Message]]:
        """This node's parts of long messages from an id on, oldest first."""
        d = self._db.query(
            f"SELECT {_COLUMNS} FROM messages m WHERE m.long_id >= %s AND m.message_id >= %s AND substr(m.message_id, 13, 2) = %s"
            " ORDER BY m.message_id",
            (since, since, ids.mark(self._node)),
        )
        return d.addCallback(lambda rows: [message_from_row(row) for row in rows])

    def find_by_smsc_ids(self, wanted: list[tuple[str, str]], since: str) -> Deferred[list[tuple[str, str, Message, str, int]]]:
        """Messages behind SMSC ids: (smsc, id as asked, message, status, part; 0 of a single-part message), not older than an id."""
        asked = _json([{"q": q, "x": x} for q, x in wanted])

        def read(rows: list[tuple[Any, ...]]) -> list[tuple[str, str, Message, str, int]]:
            return [(r[WIDTH], r[WIDTH + 1], message_from_row(r), r[22], r[WIDTH + 2]) for r in rows]

        d = self._db.query(
            f"SELECT {_COLUMNS}, w.q, w.x, 0 FROM json_to_recordset(%s::json) AS w (q TEXT, x TEXT)"
            " JOIN messages m ON m.smpp_msg_id = w.x AND m.smsc_id = w.q AND m.message_id >= %s"
            " WHERE COALESCE(m.parts, m.segments) = 1 OR m.udh IS NOT NULL"
            f" UNION ALL SELECT {_COLUMNS}, w.q, w.x, p.part FROM json_to_recordset(%s::json) AS w (q TEXT, x TEXT)"
            " JOIN message_parts p ON p.smpp_msg_id = w.x AND p.smsc_id = w.q AND p.message_id >= %s"
            " JOIN messages m ON m.message_id = p.message_id WHERE COALESCE(m.parts, m.segments) > 1",
            (asked, since, asked, since),
        )
        return d.addCallback(read)

    def part_states(self, message_id: str) -> Deferred[list[tuple[int, str, str, str]]]:
        """(part, status, SMSC's id, error) of a message of several segments."""
        return self._db.query(
            "SELECT part, status, COALESCE(smpp_msg_id, ''), COALESCE(error_code, '') FROM message_parts"
            " WHERE message_id = %s ORDER BY part",
            (message_id,),
        )

    # --- what no memory holds

    def enqueue(self, rows: list[Row]) -> Deferred[int]:
        """Puts messages into the queue table, or moves those that are there.

        Rows are {i id, q smsc, y priority, w due, a attempts, h held, b whether an SMSC may have it, c when that was decided}. The same
        rows may come again after an answer that was lost: one that has been claimed meanwhile stays as it is.
        k is the campaign for which a row is held. Some have n how often an SMSC refused it, e when its validity ends, t the SMSCs that
        had it in vain.
        """
        tried = [{"i": row["i"], "t": row["t"]} for row in rows if row.get("t")]
        if tried:
            noted = self._outcomes.execute(
                "UPDATE messages m SET tried = x.t FROM json_to_recordset(%s::json) AS x (i TEXT, t TEXT) WHERE m.message_id = x.i",
                (_json(tried),),
            )
            return noted.addCallback(lambda _: self._enqueue(rows))
        return self._enqueue(rows)

    def _enqueue(self, rows: list[Row]) -> Deferred[int]:
        d = self._outcomes.execute(
            self._fence + "INSERT INTO tbl_message_queue"
            " (message_id, smsc_id, priority, due_at, attempts, in_doubt, created_at, refusals, expires_at, held_for)"
            " SELECT x.i, x.q, x.y, CASE WHEN x.h THEN 'infinity'::timestamptz WHEN x.w > 0 THEN to_timestamp(x.w) ELSE now() END, x.a,"
            " COALESCE(x.b, FALSE), COALESCE(to_timestamp(x.c), now()), COALESCE(x.n, 0), to_timestamp(x.e), x.k"
            " FROM json_to_recordset(%s::json) AS x (i TEXT, q TEXT, y SMALLINT, w DOUBLE PRECISION, a SMALLINT, h BOOLEAN, b BOOLEAN,"
            " c DOUBLE PRECISION, n SMALLINT, e DOUBLE PRECISION, k BIGINT)"
            " ON CONFLICT (message_id) DO UPDATE SET smsc_id = EXCLUDED.smsc_id, due_at = EXCLUDED.due_at, attempts = EXCLUDED.attempts,"
            " in_doubt = EXCLUDED.in_doubt OR tbl_message_queue.in_doubt, claimed_by = NULL, claimed_at = NULL,"
            " held_for = EXCLUDED.held_for,"
            " refusals = GREATEST(EXCLUDED.refusals, tbl_message_queue.refusals),"
            " expires_at = COALESCE(tbl_message_queue.expires_at, EXCLUDED.expires_at)"
            " WHERE tbl_message_queue.claimed_by IS NULL"
            " OR (tbl_message_queue.claimed_by = %s AND tbl_message_queue.claimed_at <= EXCLUDED.created_at)",
            (_json(rows), self._node),
        )

        def done(count: int) -> int:
            self._claims.put_back(rows)
            return count

        return d.addCallbacks(done, self._fenced)

    def claim(self, smsc_id: str, most: int) -> Deferred[list[Message]]:
        """Takes due messages of an SMSC out of the queue for this node, urgent and old ones first.

        `claimed_at` tells the claims apart: rows of one whose answer was lost are given back before the next.
        A row that was written again after its message had been cancelled is no message any more.
        """
        return self._claims.claim(smsc_id, most).addErrback(self._fenced)

    # --- start and end

    def wholly_taken(self, ids: list[str]) -> Deferred[list[tuple[str, str, str]]]:
        """Of messages of several segments, those whose every part an SMSC has: (message, smsc, SMSC's id of the first part)."""
        return self._db.query(
            "SELECT m.message_id, p.smsc_id, p.smpp_msg_id FROM messages m"
            " JOIN message_parts p ON p.message_id = m.message_id AND p.part = 1 WHERE m.message_id = ANY (%s)"
            " AND (SELECT count(*) FROM message_parts x WHERE x.message_id = m.message_id) >= COALESCE(m.parts, m.segments)",
            (ids,),
        )

    def doubt(self) -> Deferred[Any]:
        """After a crash, before `recover`: what this node held may have gone out, and is never to be called cancelled."""
        return self._db.query("SELECT doubt_node(%s)", (self._node,))

    def recover(self, hold: Sequence[str] = ()) -> Deferred[list[tuple[Any, ...]]]:
        """What this node held goes to the queue, receipts not passed on to the outbox: (queued, receipts).

        `hold` names the SMSCs whose messages wait there until somebody releases them: they may have been sent.
        """
        self._claims.forget()
        return self._db.query("SELECT * FROM recover_node(%s, %s::text[])", (self._node, list(hold)))

    def heartbeat(self, low_water: str | None = None) -> Deferred[int]:
        """This node lives, and no older message than that waits in its memory (None: as before)."""
        d = self._life.execute(
            "UPDATE tbl_nodes SET low_water = COALESCE(%s, low_water), heartbeat_at = now() WHERE node_id = %s AND (%s = 0 OR epoch = %s)",
            (low_water, self._node, self._epoch, self._epoch),
        )

        def written(count: int) -> int:
            if not count:
                self.over()
            return count

        return d.addCallback(written)

    def roll_up(self) -> Deferred[Any]:
        return self._db.query("SELECT roll_up_counters()")

    def summarize(self) -> Deferred[Any]:
        """Takes what is new into the indexes that searches go by: see summarize_messages() in the schema."""

        def done(rows: list[tuple[Any, ...]]) -> None:
            self._summarized = rows[0][0]

        return self._db.query("SELECT summarize_messages(%s::jsonb)", (_json(self._summarized),)).addCallback(done)

    def partitions(self, messages_days: int, audit_days: int) -> Deferred[Any]:
        """Makes the next days' partitions and drops those that are too old."""
        return self._db.query(
            "SELECT ensure_partitions(3, 1), drop_partitions(%s, %s), rotate_queue(), keep_traffic()", (messages_days, audit_days)
        )
