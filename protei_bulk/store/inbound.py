"""Messages from mobiles in PostgreSQL: received in batches, put together, routed, listed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs

Row = dict[str, Any]
PartRow = tuple[str, str, str, str, int, int, int, int, int, int, int, int, int, bytes | None, bytes, dict[str, str] | None, float]


@frozen
class Listed:
    """A message as the command line lists it."""

    message_id: str
    status: str
    smsc_id: str
    from_addr: str
    to_addr: str
    text: str | None
    username: str | None
    url: str | None
    rule: str | None
    received_at: datetime


class InboundStore:
    """`lane` is a connection of its own: what SMSCs send waits behind no report."""

    def __init__(self, db: Runs, lane: Runs) -> None:
        self._db, self._lane = db, lane

    # --- coming in

    def receive(self, rows: list[Row], parts: bool, seconds: float) -> Deferred[Row]:
        """Stores a batch of mo_row in the schema: see mo_receive() there. `parts`: whether there are parts among them."""
        d = self._lane.query("SELECT mo_receive(%s::json, %s, %s)", (_json(rows), parts, seconds))
        return d.addCallback(_answer)

    def sets(self, ids: list[str]) -> Deferred[list[PartRow]]:
        """Every part of these sets, by set and number: (set_id, smsc, from, to, kind, reference, total, have, number, addr_types,
        data_coding, esm_class, protocol_id, udh, body, tlvs, received in Unix seconds)."""

        def read(rows: list[tuple[Any, ...]]) -> list[Any]:
            return [(*r[:13], bytes(r[13]) if r[13] is not None else None, bytes(r[14]), *r[15:]) for r in rows]

        d = self._lane.query(
            "SELECT s.set_id, s.smsc_id, s.from_addr, s.to_addr, s.kind, s.reference, s.total, s.have, p.number, p.addr_types,"
            " p.data_coding, p.esm_class, p.protocol_id, p.udh, p.body, p.tlvs, extract(epoch FROM p.received_at)::float8"
            " FROM tbl_mo_sets s JOIN tbl_mo_parts p ON p.set_id = s.set_id WHERE s.set_id = ANY (%s) ORDER BY s.set_id, p.number",
            (ids,),
        )
        return d.addCallback(read)

    def finish(self, rows: list[Row]) -> Deferred[Row]:
        """Stores what became of sets: see mo_finish()."""
        return self._lane.query("SELECT mo_finish(%s::json)", (_json(rows),)).addCallback(_answer)

    def due(self, seconds: float, parts: int, most: int) -> Deferred[list[str]]:
        """Sets to finish now: see mo_due()."""
        d = self._db.query("SELECT set_id FROM mo_due(%s, %s, %s)", (seconds, parts, most))
        return d.addCallback(lambda rows: [r[0] for r in rows])

    def pending(self) -> Deferred[int]:
        """Parts that wait for the rest of their message."""
        d = self._db.query("SELECT COALESCE(sum(have), 0)::bigint FROM tbl_mo_sets")
        return d.addCallback(lambda rows: int(rows[0][0]))

    def acknowledged(self, digests: list[str]) -> Deferred[int]:
        """The SMSC has our answer to these (digests in hex): equal octets are another message from now on."""
        sql = "DELETE FROM tbl_mo_seen WHERE digest IN (SELECT decode(x, 'hex') FROM unnest(%s::text[]) AS x)"
        return self._db.execute(sql, (digests,))

    def forget(self) -> Deferred[int]:
        """What an SMSC would have sent again by now."""
        return self._db.execute("DELETE FROM tbl_mo_seen WHERE seen_at < now() - interval '5 minutes'")

    def answers(self) -> Deferred[bool]:
        """Fires where the database is there, fails where it is not."""
        return self._lane.query("SELECT TRUE").addCallback(lambda rows: bool(rows[0][0]))

    def partitions(self, days: int) -> Deferred[Any]:
        """Makes the next days' partitions and drops those older than `days`."""
        return self._db.query("SELECT ensure_mo_partitions(3, 1), drop_mo_partitions(%s)", (days,))

    # --- acknowledgements of SMEs

    def senders_by_reference(self, wanted: list[tuple[str, str]], since: str) -> Deferred[list[tuple[str, str, str, int, str]]]:
        """(recipient, user_message_reference in hex) of messages sent: those two, its sender's id of it, user_id, channel."""
        return self._db.query(
            "SELECT w.t, w.r, COALESCE(m.shown_id, m.message_id), m.user_id, m.submission_channel"
            " FROM json_to_recordset(%s::json) AS w (t TEXT, r TEXT)"
            " JOIN messages m ON m.to_addr = w.t AND m.tlvs ->> '516' = w.r AND m.tlvs ->> '516' IS NOT NULL AND m.message_id >= %s"
            " ORDER BY m.message_id",
            (_json([{"t": t, "r": r} for t, r in wanted]), since),
        )

    # --- for people

    def listed(self, most: int, status: str | None = None) -> Deferred[list[Listed]]:
        """The newest, of one status where given."""
        d = self._db.query(
            "SELECT m.message_id, m.status, m.smsc_id, m.from_addr, m.to_addr, m.message_text, u.username, m.url, m.rule, m.received_at"
            " FROM tbl_mo_messages m LEFT JOIN users u ON u.id = m.user_id WHERE %s::text IS NULL OR m.status = %s"
            " ORDER BY m.message_id DESC LIMIT %s",
            (status, status, most),
        )
        return d.addCallback(lambda rows: [Listed(*r) for r in rows])

    def show(self, message_id: str) -> Deferred[Row | None]:
        """Every column, and the user's name."""
        d = self._db.query(
            "SELECT to_jsonb(m) || jsonb_build_object('username', u.username, 'payload', encode(m.payload, 'hex'),"
            " 'udh', encode(m.udh, 'hex'), 'received', extract(epoch FROM m.received_at)::float8)"
            " FROM tbl_mo_messages m LEFT JOIN users u ON u.id = m.user_id WHERE m.message_id = %s",
            (message_id,),
        )
        return d.addCallback(lambda rows: rows[0][0] if rows else None)

    def reroute(self, message_id: str, user_id: int | None, url: str | None, call: Row | None) -> Deferred[bool]:
        """To an ESME (no url) or to a URL, whatever became of it before. False where there is no such message."""
        d = self._db.query("SELECT mo_route(%s, %s, %s, %s::jsonb)", (message_id, user_id, url, _json(call) if call else None))
        return d.addCallback(lambda rows: rows[0][0] is not None)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _answer(rows: list[tuple[Any, ...]]) -> Row:
    found: Row = rows[0][0]
    return found
