"""A process that reads recipients: `python -m protei_bulk.campaigns.child`, started by recipients.py.

Standard input is the job, lines on standard output say how far it is. When the parent dies, the kernel ends it.
What it reads comes from strangers, so memory, time, files and processes of it have limits; what a file holds is only ever text.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import orjson

from protei_bulk.campaigns.gathering import EVERY, JOBS, Ended, Superseded, Task
from protei_bulk.store.gathering import Connection
from protei_bulk.store.recipient_jobs import Job

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
NICE = 10
CPU = 900  # seconds
OUT_OF_MEMORY = 3  # exit code


def confine(parent: int, memory: int, disk: int) -> None:
    """Limits of this process; `memory` and `disk` in octets."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    with contextlib.suppress(OSError):
        os.nice(NICE)
    for what, most in (
        (resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, CPU), (resource.RLIMIT_FSIZE, disk), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        hard = resource.getrlimit(what)[1]
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(what, (most, most))


class Progress:
    """Says on standard output how far it is, about twice a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, report: Any) -> None:
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            os.write(1, orjson.dumps(report()) + b"\n")


def main() -> int:
    given: Mapping[str, Any] = orjson.loads(sys.stdin.buffer.readline())
    confine(given["parent"], given["memory"], 2 * 1024**3)
    job = Job(given["kind"], given["subject"], given["token"], given["given"])
    db = Connection(given["dsn"])
    try:
        report = JOBS[job.kind](Task(job, db, given["rows"], given["unpacked"], Progress()))
    except Superseded:
        return 0
    except Ended as end:
        db.undo()
        report = end.report
    db.finish(job, report)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
