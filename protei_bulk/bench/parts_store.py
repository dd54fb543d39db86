"""What each statement of a message's way costs PostgreSQL: microseconds of a backend's CPU a message, and octets of WAL."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg2

from protei_bulk.bench.esme import SENDER, TEXT, LoadError, number
from protei_bulk.bench.stack import Stack
from protei_bulk.model.ids import MAX_NODE, IdMaker
from protei_bulk.model.message import Message
from protei_bulk.store.messages import row_of

BATCH, BATCHES = 500, 60
_INDEXES = {
    "more with a B-tree (user_id, message_id)": "CREATE INDEX parts_index ON messages (user_id, message_id)",
    "more with a B-tree (to_addr)": "CREATE INDEX parts_index ON messages (to_addr)",
}


class _Backend:
    """A connection as the gateway has it, and what its server process uses."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg2.connect(dsn, options="-c enable_seqscan=off -c jit=off -c timezone=UTC")
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        self._stat = Path(f"/proc/{self._connection.info.backend_pid}/schedstat")

    def run(self, sql: str, *params: Any) -> float:
        """Microseconds of CPU."""
        before = self._used()
        self._cursor.execute(sql, params or None)
        return self._used() - before

    def value(self, sql: str, *params: Any) -> Any:
        self._cursor.execute(sql, params or None)
        row = self._cursor.fetchone()
        return row[0] if row else None

    def close(self) -> None:
        self._connection.close()

    def _used(self) -> float:
        return int(self._stat.read_text().split()[0]) / 1000


@contextlib.contextmanager
def _backend(stack: Stack) -> Iterator[_Backend]:
    try:
        with contextlib.closing(_Backend(stack.dsn())) as backend:
            yield backend
    except psycopg2.Error as error:
        raise LoadError(str(error).strip()) from error


def measure(batches: int = BATCHES) -> dict[str, float]:
    """By the name of a part; "octets of WAL" beside them. Raises LoadError, OSError."""
    with Stack(1000) as stack, _backend(stack) as backend:
        maker = IdMaker(time.time, MAX_NODE)
        user, customer = backend.value("SELECT id FROM users LIMIT 1"), backend.value("SELECT customer_id FROM users LIMIT 1")
        _way(backend, maker, user, customer, batches)  # the partition is no longer empty
        backend.run("ANALYZE messages")
        costs = _way(backend, maker, user, customer, batches)
        costs["indexes for searches, later"] = backend.run("SELECT summarize_messages('{}')") / (2 * batches * BATCH)
        whole = sum(costs[name] for name in ("accept_messages: store a batch", "advance_messages: sent", "advance_messages: delivered"))
        for name, statement in _INDEXES.items():
            backend.run(statement)
            more = _way(backend, maker, user, customer, batches)
            backend.run("DROP INDEX parts_index")
            costs[f"{name} (*)"] = sum(v for k, v in more.items() if k != "octets of WAL") - whole
        return costs


def _way(backend: _Backend, maker: IdMaker, user: int, customer: int, batches: int) -> dict[str, float]:
    """Messages stored, sent and delivered."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    accept = sent = delivered = 0.0
    wal = backend.value("SELECT pg_current_wal_insert_lsn()")
    for n in range(batches):
        maker.refresh()
        rows = [row_of(_message(maker.message(), user, customer, number(n * BATCH + k)), day) for k in range(BATCH)]
        ids = [row["i"] for row in rows]
        charge = {"u": user, "c": customer, "d": day, "n": BATCH, "a": "0", "k": 1, "m": BATCH}
        accept += backend.run("SELECT accept_messages(%s::json, %s::json, FALSE)", _json([charge]), _json(rows))
        sent += _advance(backend, [{"i": id, "z": "SENT", "q": "SMSC1", "x": id[4:]} for id in ids], None)
        done = [{"i": id, "z": "DELIVERED", "d": "DELIVRD", "e": "000"} for id in ids]
        delivered += _advance(backend, done, _json([[id, user, "DELIVRD", "000"] for id in ids]))
    octets = backend.value("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::float8", wal)
    messages = batches * BATCH
    return {
        "accept_messages: store a batch": accept / messages, "advance_messages: sent": sent / messages,
        "advance_messages: delivered": delivered / messages, "octets of WAL": octets / messages,
    }  # fmt: skip


def _advance(backend: _Backend, rows: list[dict[str, str]], journal: str | None) -> float:
    number = time.time_ns()
    cost = backend.run("SELECT advance_messages(%s::json, %s, %s, %s, NULL, NULL, NULL, NULL)", _json(rows), MAX_NODE, number, journal)
    backend.value("DELETE FROM tbl_forward_journal WHERE node_id = %s AND journal_id = %s RETURNING 1", MAX_NODE, number)
    return cost


def _message(id: str, user: int, customer: int, dest: str) -> Message:
    m = Message()
    m.id, m.user_id, m.customer_id, m.campaign_id = id, user, customer, 1
    m.source, m.source_ton, m.dest, m.text, m.smsc, m.registered = SENDER, 5, dest, TEXT.decode("ascii"), "SMSC1", 1
    return m


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
