"""Becomes a program of PostgreSQL. Run as a script, in a process of its own, by embedded.py.

It takes a session of its own (Ctrl-C in the terminal must not stop the database before the gateway),
becomes the unprivileged user, and asks the kernel for SIGINT (PostgreSQL's fast shutdown) when its parent dies.
Arguments: parent's pid, uid and gid (-1: stay), program, its arguments.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, uid: int, gid: int, command: list[str]) -> None:
    os.setsid()
    os.umask(0o077)
    os.chdir("/")  # the folder where the gateway was started may be closed to the user
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After setuid, which clears it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
