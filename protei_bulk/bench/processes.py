"""What processes have used, from /proc (Linux)."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_CPUCLOCK_SCHED = 2  # clock_getcpuclockid(3): the clock of a process is ~pid << 3 | 2


def _stat(pid: int) -> list[str]:
    """The fields after the command's name, which may hold anything: state is the first."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def cpu(pid: int, *, children: bool = False) -> float:
    """Seconds of CPU of a process; with `children`, also of those below it, ended ones included. Raises OSError."""
    # Its CPU-time clock: /proc counts in ticks, which are longer than a short run takes in each of many processes.
    own = time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    if not children:
        return own
    fields = _stat(pid)
    total = own + (int(fields[13]) + int(fields[14])) / _TICKS
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended meanwhile: then its parent has its seconds
                if int(_stat(int(entry.name))[1]) == pid:
                    total += cpu(int(entry.name), children=True)
    return total


def peak_memory(pid: int) -> float:
    """The most memory that a process had resident, in MiB."""
    return _status(pid, "VmHWM:")


def memory(pid: int) -> float:
    """What a process has resident now, in MiB."""
    return _status(pid, "VmRSS:")


def _status(pid: int, name: str) -> float:
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith(name):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0
