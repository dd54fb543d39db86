"""Threads for passwords: what they compute waits behind everything else that this machine does."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

from twisted.python.threadpool import ThreadPool

_NICE = 5  # a third of the weight of the others


class _Polite(threading.Thread):
    """bcrypt lets other Python threads run, but not other work on its core: a thousand binds would make traffic wait."""

    def run(self) -> None:
        if sys.platform == "linux":  # elsewhere a process has one priority
            with contextlib.suppress(OSError):
                me = threading.get_native_id()
                os.setpriority(os.PRIO_PROCESS, me, min(19, os.getpriority(os.PRIO_PROCESS, me) + _NICE))
        super().run()


def password_threads() -> ThreadPool:
    """Two, started."""
    pool = ThreadPool(1, 2, "bcrypt")
    pool.threadFactory = _Polite
    pool.start()
    return pool
