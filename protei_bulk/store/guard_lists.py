"""Blacklists and opt-outs as a whole, in a thread: read as octets that PostgreSQL has put together, imported by COPY."""

from __future__ import annotations

import io
import json
import re
import sys
from array import array
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

import psycopg2
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from protei_bulk.guards.checker import Lists
from protei_bulk.guards.numbers import Barred, NumberSet, PrefixSet
from protei_bulk.store.guards import GuardRows
from protei_bulk.store.messages import Runs

_CHUNK = 200_000
_BATCH = 20_000  # lines to a COPY


class GuardStore(GuardRows):
    """All that a node needs; `close` it at the end."""

    def __init__(self, db: Runs, dsn: str, reactor: Any) -> None:
        super().__init__(db)
        self._dsn, self._reactor = dsn, reactor
        self._pool = ThreadPool(0, 1, "guards")
        self._pool.start()

    def load(self) -> Deferred[tuple[Lists, int]]:
        """The lists, and the highest version among them. Fails with psycopg2.Error."""
        return deferToThreadPool(self._reactor, self._pool, read_lists, self._dsn)

    def close(self) -> None:
        self._pool.stop()


def read_lists(dsn: str) -> tuple[Lists, int]:
    with closing(psycopg2.connect(dsn, connect_timeout=10, application_name="protei-bulk guards")) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            lists = Lists()
            cursor.execute("SELECT GREATEST((SELECT max(version) FROM tbl_blacklist), (SELECT max(version) FROM tbl_opt_out_state), 0)")
            version = max((int(row[0]) for row in cursor.fetchall()), default=0)
            cursor.execute("SELECT DISTINCT customer_id FROM tbl_blacklist WHERE active")
            for (customer,) in cursor.fetchall():
                numbers = _numbers(cursor, "tbl_blacklist", "active AND NOT is_prefix AND customer_id = %s", (customer,))
                cursor.execute("SELECT number FROM tbl_blacklist WHERE active AND is_prefix AND customer_id = %s", (customer,))
                lists.barred[customer] = Barred(numbers, PrefixSet(row[0] for row in cursor.fetchall()))
            cursor.execute("SELECT DISTINCT customer_id, sender FROM tbl_opt_out_state WHERE opted_out")
            for customer, sender in cursor.fetchall():
                where = "opted_out AND customer_id = %s AND sender = %s"
                lists.opted_out.setdefault(customer, {})[sender] = _numbers(cursor, "tbl_opt_out_state", where, (customer, sender))
            return lists, version


def _numbers(cursor: Any, table: str, where: str, params: tuple[Any, ...]) -> NumberSet:
    numbers, after = array("Q"), 0
    while True:
        cursor.execute(
            "SELECT count(*), max(number), string_agg(int8send(number), ''::bytea ORDER BY number)"
            f" FROM (SELECT number FROM {table} WHERE {where} AND number > %s ORDER BY number LIMIT %s) p",  # noqa: S608
            (*params, after, _CHUNK),
        )
        count, last, octets = cursor.fetchone()
        if not count:
            return NumberSet(numbers)
        part = array("Q")
        part.frombytes(bytes(octets))
        if sys.byteorder == "little":
            part.byteswap()
        numbers.extend(part)
        after = last


# --- import

_LINE = re.compile(r"\+?0*([1-9][0-9]{0,17})(\*?)")


@frozen
class Imported:
    read: int  # lines with an entry
    stored: int  # that were new
    removed: int  # that were not in the file, where it replaces all
    bad: int


def import_numbers(dsn: str, lines: Iterable[str], bad: Callable[[int, str], None], *, customer_id: int, reason: str = "",
                   opt_out: bool = False, sender: str = "", replace: bool = False) -> Imported:  # fmt: skip
    """A number a line (digits, ``*`` after a prefix; what follows a comma, semicolon or tab is left out), in one transaction.

    Into the blacklist, or into the ledger of opt-outs. `replace`: of the blacklist, what the file does not have goes.
    Raises psycopg2.Error.
    """
    connection = psycopg2.connect(dsn, connect_timeout=10, application_name="protei-bulk import")
    with closing(connection), connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE incoming (number BIGINT, is_prefix BOOLEAN) ON COMMIT DROP")
        read = faults = 0
        batch: list[str] = []
        for n, line in enumerate(lines, 1):
            word = re.split(r"[,;\t]", line.strip().lstrip("\ufeff"), maxsplit=1)[0].strip().strip('"').replace(" ", "")
            if not word or word.startswith("#"):
                continue
            match = _LINE.fullmatch(word)
            if match is None or (not match[2] and len(match[1]) < 3) or (match[2] and opt_out):
                faults += 1
                bad(n, f"expected the digits of a number, got {word[:40]!r}")
                continue
            read += 1
            batch.append(f"{match[1]}\t{'t' if match[2] else 'f'}\n")
            if len(batch) >= _BATCH:
                _copy(cursor, batch)
        _copy(cursor, batch)
        stored, removed = (
            (_opted_out(cursor, customer_id, sender, reason), 0) if opt_out else _merge(cursor, customer_id, reason, replace and read > 0)
        )
        result = Imported(read, stored, removed, faults)
        details = {"customer_id": customer_id, "read": read, "stored": stored, "removed": removed, "bad": faults}
        cursor.execute(
            "INSERT INTO tbl_permission_audit (action, result, details) VALUES (%s, 'SUCCESS', %s::jsonb)",
            ("OPT_OUT_IMPORT" if opt_out else "BLACKLIST_IMPORT", json.dumps(details)),
        )
    return result


def _copy(cursor: Any, batch: list[str]) -> None:
    if batch:
        cursor.copy_expert("COPY incoming FROM STDIN", io.StringIO("".join(batch)))
        batch.clear()


def _merge(cursor: Any, customer_id: int, reason: str, replace: bool) -> tuple[int, int]:
    removed = 0
    if replace:
        cursor.execute(
            "UPDATE tbl_blacklist b SET active = FALSE, changed_at = now() WHERE active AND customer_id = %s"
            " AND NOT EXISTS (SELECT 1 FROM incoming i WHERE i.number = b.number AND i.is_prefix = b.is_prefix)",
            (customer_id,),
        )
        removed = cursor.rowcount
    cursor.execute(
        "INSERT INTO tbl_blacklist AS b (customer_id, number, is_prefix, reason) SELECT DISTINCT %s, number, is_prefix, %s FROM incoming"
        " ON CONFLICT (customer_id, is_prefix, number) DO UPDATE SET active = TRUE, reason = EXCLUDED.reason, created_at = now(),"
        " changed_at = now() WHERE NOT b.active",
        (customer_id, reason),
    )
    return cursor.rowcount, removed


def _opted_out(cursor: Any, customer_id: int, sender: str, note: str) -> int:
    cursor.execute(
        "SELECT record_opt_outs(json_agg(json_build_object('c', %s, 'n', number, 's', %s, 'o', TRUE, 'r', 'IMPORT', 't', %s)))"
        " FROM (SELECT DISTINCT number FROM incoming) i HAVING count(*) > 0",
        (customer_id, sender, note),
    )
    row = cursor.fetchone()
    return int(row[0]) if row is not None else 0
