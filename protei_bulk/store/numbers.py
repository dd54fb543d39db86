"""Networks and ported numbers: read as a whole, in a thread; imported by COPY.

A million ported numbers come as octets that PostgreSQL has put together, some hundred thousand to a row: no Python
object is made for any of them.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg2
from attrs import asdict, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from protei_bulk.routing.numbering import NumberPlan, PortedNumbers

_CHUNK = 200_000
_BATCH = 20_000  # lines to a COPY


class NumberTables:
    """`pool` is a thread pool that runs. Reads wait for nobody and keep nobody waiting."""

    def __init__(self, dsn: str, reactor: Any, pool: Any) -> None:
        self._dsn, self._reactor, self._pool = dsn, reactor, pool
        self._ported: PortedNumbers | None = None

    def load(self, ported: bool = True) -> Deferred[NumberPlan]:
        """The plan as the tables have it now; without `ported`, those numbers are the ones of the last time.

        Fails with psycopg2.Error.
        """
        return deferToThreadPool(self._reactor, self._pool, self._load, ported)

    def _load(self, ported: bool) -> NumberPlan:
        with closing(psycopg2.connect(self._dsn, connect_timeout=10, application_name="protei-bulk numbers")) as connection:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with connection.cursor() as cursor:
                if ported or self._ported is None:
                    self._ported = read_ported(cursor)
                cursor.execute("SELECT prefix, mccmnc FROM tbl_networks")
                return NumberPlan(dict(cursor.fetchall()), self._ported)


def read_ported(cursor: Any) -> PortedNumbers:
    cursor.execute("SELECT DISTINCT mccmnc FROM tbl_ported_numbers ORDER BY mccmnc")
    networks = [row[0] for row in cursor.fetchall()]
    numbers, which = array("Q"), array("I")
    after = 0
    while networks:
        cursor.execute(
            "SELECT count(*), max(number), string_agg(int8send(number), ''::bytea ORDER BY number),"
            " string_agg(int4send(place::int - 1), ''::bytea ORDER BY number)"
            " FROM (SELECT number, mccmnc FROM tbl_ported_numbers WHERE number > %s ORDER BY number LIMIT %s) p"
            " JOIN unnest(%s::text[]) WITH ORDINALITY AS n (name, place) ON n.name = p.mccmnc",
            (after, _CHUNK, networks),
        )
        count, last, some_numbers, some_places = cursor.fetchone()
        if not count:
            break
        for target, code, octets in ((numbers, "Q", some_numbers), (which, "I", some_places)):
            part = array(code)
            part.frombytes(bytes(octets))
            if sys.byteorder == "little":
                part.byteswap()
            target.extend(part)
        after = last
    return PortedNumbers.from_arrays(networks, numbers, which)


# --- import

NETWORKS, PORTED, COSTS = "networks", "ported", "costs"
_PREFIX, _NUMBER, _NETWORK, _EITHER = r"[0-9]{1,20}", r"[0-9]{3,18}", r"[0-9]{5,6}", r"([0-9]{3}|[0-9]{5,6})?"


@frozen
class _Kind:
    """`columns` -> the pattern that a value must match, with what it should be; `key`: what an entry goes by."""

    table: str
    columns: Mapping[str, tuple[str, str]]
    key: tuple[str, ...]
    optional: Mapping[str, str] = field(factory=dict)


KINDS: Mapping[str, _Kind] = {
    NETWORKS: _Kind(
        "tbl_networks",
        {
            "prefix": (_PREFIX, "digits"), "mccmnc": (_NETWORK, "an MCC-MNC of 5 or 6 digits"),
            "name": (r"[^\x00-\x1f]{0,100}", "up to 100 characters"), "country": (r"[^\x00-\x1f]{0,100}", "up to 100 characters"),
        },
        ("prefix",), {"name": "", "country": ""},
    ),
    PORTED: _Kind(
        "tbl_ported_numbers",
        {"number": (_NUMBER, "an international number"), "mccmnc": (_NETWORK, "an MCC-MNC of 5 or 6 digits")}, ("number",),
    ),
    COSTS: _Kind(
        "tbl_smsc_costs",
        {
            "smsc_id": (r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "the id of an SMSC"), "mccmnc": (_EITHER, "an MCC-MNC, an MCC or nothing"),
            "prefix": (r"[0-9]{0,20}", "digits or nothing"), "cost": (r"[0-9]{1,12}(\.[0-9]{1,6})?", "an amount with up to 6 decimals"),
            "currency": (r"[A-Z]{3}", "a currency such as USD"),
            "valid_from": (r"-infinity|\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:?\d\d)?)?", "a time such as 2025-01-31"),
        },
        ("smsc_id", "mccmnc", "prefix", "valid_from"), {"mccmnc": "", "prefix": "", "valid_from": "-infinity"},
    ),
}  # fmt: skip


class ImportRefused(Exception):
    """The file is none of these, or nothing of it can be used."""


@frozen
class Imported:
    kind: str
    read: int  # lines with an entry
    stored: int  # that were new, or others than before
    removed: int  # that were not in the file, where it replaces all
    bad: int


def kind_of(header: Sequence[str]) -> str:
    """Which table a file with these columns is for. Raises ImportRefused."""
    given = set(header)
    found = [name for name, kind in KINDS.items() if kind.columns.keys() - kind.optional.keys() <= given <= kind.columns.keys()]
    if len(found) != 1 or len(given) != len(header):
        wanted = "; ".join(f"{name}: {', '.join(kind.columns)}" for name, kind in KINDS.items())
        raise ImportRefused(f"the first line must name the columns ({wanted}), got {', '.join(header)[:200] or 'nothing'}")
    return found[0]


def entries(lines: Iterable[str], bad: Callable[[int, str], None]) -> Iterator[tuple[str, list[str] | None]]:
    """(kind, None) first, then (kind, values) of each line; `bad(line, why)` is told of those that are not right.

    Separated by commas, semicolons or tabs, as the first line has them. Raises ImportRefused.
    """
    stream = iter(lines)
    first = next(stream, "").lstrip("\ufeff").rstrip("\r\n")
    separator = max(",;\t", key=first.count)
    header = [name.strip().strip('"').lower() for name in first.split(separator)]
    name = kind_of(header)
    kind = KINDS[name]
    yield name, None
    columns = {c: (header.index(c) if c in header else -1, re.compile(p), about) for c, (p, about) in kind.columns.items()}
    reader = csv.reader((line.replace("\0", "\ufffd") for line in stream), delimiter=separator)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            bad(reader.line_num + 1, str(error))
            continue
        if row is None:
            return
        if not row or row == [""]:
            continue
        if len(row) != len(header):
            bad(reader.line_num + 1, f"has {len(row)} fields, not {len(header)}")
            continue
        values = []
        for column, (place, pattern, about) in columns.items():
            value = row[place].strip() if place >= 0 else ""
            if column in ("number", "prefix"):
                value = value.removeprefix("+")
            elif column == "mccmnc":
                value = value.replace("-", "")
            value = value or kind.optional.get(column, "")
            if not pattern.fullmatch(value):
                bad(reader.line_num + 1, f"{column}: expected {about}, got {value[:40]!r}")
                break
            values.append(value)
        else:
            if name == COSTS and values[1] and values[2]:
                bad(reader.line_num + 1, "names both a network and a prefix")
            else:
                yield name, values


def import_file(dsn: str, lines: Iterable[str], bad: Callable[[int, str], None], *, replace: bool = False,
                strict: bool = False) -> Imported:  # fmt: skip
    """Stores what is right in one transaction, in batches; `replace`: what the file does not have goes. `strict`: all or nothing.

    Raises ImportRefused, psycopg2.Error.
    """
    faults = [0]

    def note(line: int, why: str) -> None:
        faults[0] += 1
        bad(line, why)

    found = entries(lines, note)
    name, _ = next(found)
    kind = KINDS[name]
    columns = ", ".join(kind.columns)
    connection = psycopg2.connect(
        dsn, connect_timeout=10, client_encoding="utf8", application_name="protei-bulk import", options="-c timezone=UTC"
    )
    with closing(connection), connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {columns}, 0 AS line FROM {kind.table} WITH NO DATA")
        read = 0
        batch = io.StringIO()
        writer = csv.writer(batch)
        for _, values in found:
            assert values is not None
            read += 1
            writer.writerow((*values, read))
            if read % _BATCH == 0:
                _copy(cursor, batch, columns)
        _copy(cursor, batch, columns)
        if strict and faults[0]:
            raise ImportRefused(f"{faults[0]} lines are wrong, and nothing was changed")
        if replace and not read:
            raise ImportRefused("there is no entry that is right: nothing was changed")
        stored, removed = _merge(cursor, kind, columns, replace)
        result = Imported(name, read, stored, removed, faults[0])
        cursor.execute(
            "INSERT INTO tbl_permission_audit (action, result, details) VALUES ('NUMBERS_IMPORT', 'SUCCESS', %s::jsonb)",
            (json.dumps(asdict(result)),),
        )
    return result


def _copy(cursor: Any, batch: io.StringIO, columns: str) -> None:
    batch.seek(0)
    cursor.copy_expert(f"COPY incoming ({columns}, line) FROM STDIN (FORMAT csv, FORCE_NOT_NULL ({columns}))", batch)
    batch.seek(0)
    batch.truncate()


def _merge(cursor: Any, kind: _Kind, columns: str, replace: bool) -> tuple[int, int]:
    """Of several lines for one entry the last counts."""
    key = ", ".join(kind.key)
    others = [c for c in kind.columns if c not in kind.key]
    removed = 0
    if replace:
        same = " AND ".join(f"i.{c} = t.{c}" for c in kind.key)
        cursor.execute(f"DELETE FROM {kind.table} t WHERE NOT EXISTS (SELECT 1 FROM incoming i WHERE {same})")
        removed = cursor.rowcount
    changes = ", ".join(f"{c} = EXCLUDED.{c}" for c in others)
    differs = " OR ".join(f"t.{c} IS DISTINCT FROM EXCLUDED.{c}" for c in others)
    cursor.execute(
        f"INSERT INTO {kind.table} AS t ({columns}) SELECT DISTINCT ON ({key}) {columns} FROM incoming ORDER BY {key}, line DESC"
        f" ON CONFLICT ({key}) DO UPDATE SET {changes} WHERE {differs}"
    )
    return cursor.rowcount, removed
