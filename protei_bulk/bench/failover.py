"""One of two SMSCs is killed under load: what is lost, and how long until its traffic is with the other."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from threading import Thread
from typing import Any

import psycopg2

from protei_bulk.bench.stack import Stack, free_ports

SECOND = "SMSC2"
_QUIET = 30.0  # seconds until what has not moved does not move


def measure(messages: int, load: Callable[[Stack, int], Mapping[str, Any]]) -> dict[str, Any]:
    """Seconds, from the moment of the kill. `load(stack, messages)` is a run of the load client. Raises LoadError, OSError."""
    (port,) = free_ports(1)
    more = f'\n[[smsc]]\nid = "{SECOND}"\nhost = "127.0.0.1"\nport = {port}\nsystem_id = "gateway"\npassword = "secret"\nwindow = 1000\n'
    with Stack(1000, smsc=more, second=port) as stack:
        stack.administer("route", "add", "failover", "order=1", f"to=SMSC1,{SECOND}")
        time.sleep(1.0)  # until the node has heard of it
        killed: list[float] = []
        killer = Thread(target=_kill, args=(stack, messages // 3, killed), daemon=True)
        killer.start()
        client = load(stack, messages)
        killer.join(_QUIET)
        _settle(stack)
        found = _look(stack, killed[0]) if killed else {}
        stack.stop()
        taken = [line.split()[2] for ledger in (stack.ledger, stack.second_ledger) for line in ledger.open()]
        client_ledger = stack.folder / "client.ledger"
        accepted = {line.split()[2] for line in client_ledger.open() if line.startswith("A ")}
    lost = accepted - set(taken) - found.pop("recorded", set())
    return {"accepted": client["accepted"], "refused": client["refused"], "killed": bool(killed), **found,
            "lost": len(lost), "duplicates": len(taken) - len(set(taken))}  # fmt: skip


def _kill(stack: Stack, after: int, killed: list[float]) -> None:
    """Ends the first SMSC once it has taken so many."""
    with stack.ledger.open("rb") as file:
        seen = 0
        end = time.monotonic() + _QUIET
        while seen < after and time.monotonic() < end:
            seen += file.read().count(b"\n")
            time.sleep(0.005)
    if seen >= after:
        os.kill(stack.pid("simulator"), signal.SIGKILL)
        killed.append(time.time())


def _settle(stack: Stack) -> None:
    """Until nothing waits any more."""
    end = time.monotonic() + _QUIET
    with closing(psycopg2.connect(stack.dsn())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            while time.monotonic() < end:
                cursor.execute("SELECT (SELECT count(*) FROM messages WHERE status = 'QUEUED') + (SELECT count(*) FROM tbl_message_queue)")
                if cursor.fetchone() == (0,):
                    return
                time.sleep(0.1)


def _look(stack: Stack, killed: float) -> dict[str, Any]:
    """The clock of the database is this machine's."""
    with closing(psycopg2.connect(stack.dsn())) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_addr FROM messages WHERE smsc_id = 'SMSC1' AND status <> 'QUEUED'")
        recorded = {row[0] for row in cursor.fetchall()}  # its ledger ends up to a tenth of a second before it did
        cursor.execute(
            "SELECT count(*) FILTER (WHERE submitted_at <= t), min(sent_at) - min(t),"
            " max(sent_at) FILTER (WHERE submitted_at <= t) - min(t),"
            " max(sent_at - submitted_at) FILTER (WHERE submitted_at > t)"
            " FROM messages, to_timestamp(%s) t WHERE smsc_id = %s AND sent_at > t",
            (killed, SECOND),
        )
        waiting, first, last, longest = cursor.fetchone() or (0, None, None, None)
    seconds = [None if span is None else round(span.total_seconds(), 3) for span in (first, last, longest)]
    return {"recorded": recorded, "waiting": waiting, "first_moved": seconds[0], "all_moved": seconds[1], "longest_new": seconds[2]}
