"""twistd's side: `twistd -n protei-bulk --config FILE`."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from typing import Any

from twisted.application.service import Service
from twisted.python import usage

from protei_bulk.settings import SettingsError, load


class Options(usage.Options):
    synopsis = "[--config FILE]"
    optParameters = [["config", "c", "/etc/protei-bulk/protei-bulk.toml", "The configuration file."]]  # noqa: N815, RUF012


def makeService(options: Any) -> Service:  # noqa: N802
    """The gateway as a service; a configuration that cannot be used ends the process with its errors."""
    from twisted.internet import reactor

    from protei_bulk.assembly import build

    try:
        settings = load(options["config"])
    except SettingsError as error:
        sys.exit(str(error))
    # Every connection is an open file, and the usual limit of 1024 is for people at a terminal.
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    failed: list[str] = []

    def fatal(why: str) -> None:
        if failed:
            return
        failed.append(why)
        # After everything has stopped in order: a supervisor must see that this was a failure.
        reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        print(f"protei-bulk: {why}", file=sys.stderr, flush=True)
        if reactor.running:
            reactor.stop()
        else:
            reactor.callWhenRunning(reactor.stop)

    gateway = build(settings, reactor, fatal=fatal)

    def reread() -> None:
        try:
            gateway.reload(load(options["config"]))
        except SettingsError as error:
            print(f"protei-bulk: {error}\nprotei-bulk: the running configuration stays", file=sys.stderr, flush=True)

    def on_hangup(*_: object) -> None:
        reactor.callFromThread(reread)  # type: ignore[attr-defined]

    def settle() -> None:
        """What is loaded now stays: the garbage collector need not look at it again for each ten thousand messages."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)

    reactor.callWhenRunning(settle)
    # By default SIGHUP ends a process; twistd leaves it alone.
    reactor.callWhenRunning(signal.signal, signal.SIGHUP, on_hangup)
    return gateway
