"""`bin/fuzz`: a running gateway, broken PDUs from both sides, and a well-behaved ESME beside them.

The exit code is 0 where the gateway logged no exception, kept its memory, answered the good ESME every time,
and hung up on nobody who had done no wrong.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from protei_bulk.smpp import statuses
from tests.fuzz.fire import Fire
from tests.fuzz.smsc import HostileSmsc
from tests.support.esme import Esme
from tests.support.gateway import PASSWORD, Gateway

_GROWTH = 1.1  # of the resident memory, from a fifth of the PDUs to the end
_WRONG = re.compile(r"Traceback|Unhandled|#critical|Failure:")


class Neighbour(threading.Thread):
    """One message after the other, each answered before the next."""

    def __init__(self, port: int, user: str = "good", pause: float = 0.005) -> None:
        super().__init__(daemon=True)
        self.esme, self.pause = Esme(port), pause
        assert self.esme.bind(user, PASSWORD) == 0
        self.sent = self.accepted = 0
        self.times: list[float] = []
        self.broken = ""
        self.running = True

    def run(self) -> None:
        try:
            while self.running:
                began = time.monotonic()
                self.sent += 1
                status, _ = self.esme.submitted(f"96279{self.sent:07d}")
                self.accepted += status == 0
                self.times.append(time.monotonic() - began)
                time.sleep(self.pause)
        except Exception as error:
            self.broken = repr(error)


class Drip(threading.Thread):
    """Connections that send an octet now and then, some of them bound."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.running = True

    def run(self) -> None:
        data = b"\0\0\1\0" + b"\0\0\0\4" + bytes(200)
        live: list[tuple[Esme, int]] = []
        n = 0
        while self.running:
            while len(live) < 10:
                esme = Esme(self.port)
                if len(live) % 2:
                    esme.bind("fuzz", PASSWORD)
                live.append((esme, 0))
            n += 1
            esme, at = live.pop(0)
            try:
                esme.send(data[at % len(data) : at % len(data) + 1])
                live.append((esme, at + 1))
            except OSError:
                esme.socket.close()
            time.sleep(0.1)
        for esme, _ in live:
            esme.socket.close()


def resident(pid: int) -> float:
    """MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def run(pdus: int, seed: int) -> dict[str, Any]:
    """So many to the server's side, and a fifth of them from SMSCs."""
    hostile = HostileSmsc(seed + 7)
    hostile.start()
    gateway = Gateway(smpp="max_binds_per_user = 0\nwindow = 1000\nenquire_link_interval = 5.0", settings=f"""
[[smsc]]
id = "HOSTILE"
host = "127.0.0.1"
port = {hostile.port}
binds = 4
reconnect_min = 0.1
reconnect_max = 0.2
enquire_link_interval = 1.0
response_timeout = 2.0
[[route]]
name = "hostile"
order = 1
to = ["HOSTILE"]
[route.match]
user = ["victim"]
""")  # fmt: skip
    try:
        gateway.simulate("SMSC1")
        # What is taken by chance is remembered until its receipt comes, as it should be: soon no more of it is taken.
        users = {"good": ("--smsc", "SMSC1"), "victim": (), "fuzz": ("--max-tps", "0", "--max-per-day", "5000")}
        gateway.accounts(users)
        gateway.start()
        assert gateway.process.child is not None
        pid = gateway.process.child.pid
        neighbour, drip = Neighbour(gateway.smpp_port), Drip(gateway.smpp_port)
        victim = Neighbour(gateway.smpp_port, "victim", 0.1)  # its messages go to the hostile SMSC
        fire = Fire(gateway.smpp_port, "fuzz", PASSWORD, seed)
        neighbour.start()
        drip.start()
        victim.start()
        began = time.monotonic()
        memory: list[float] = []
        for step in range(1, 11):
            fire.until(pdus * step // 10)
            memory.append(resident(pid))
            print(f"{fire.counted:,} PDUs to the server, {hostile.counted:,} from SMSCs, {memory[-1]} MiB", file=sys.stderr)
        while hostile.counted < pdus // 5:
            time.sleep(0.5)
        took = time.monotonic() - began
        neighbour.running = victim.running = drip.running = False
        neighbour.join(30)
        victim.join(30)
        fire.close()
        hostile.stop()
        after = resident(pid)
        drip.join(10)
        alive = gateway.process.running
        gateway.terminate()
        log = gateway.process.log.read_text(errors="replace")
        times = sorted(neighbour.times)
        return {
            "pdus_to_server": fire.counted,
            "pdus_from_smscs": hostile.counted,
            "binds_of_smscs": hostile.binds,
            "seconds": round(took, 1),
            "answers": {statuses.name(s): n for s, n in fire.answers.most_common()},
            "faults": dict(fire.faults),
            "exceptions": [line for line in log.splitlines() if _WRONG.search(line)],
            "alive": alive,
            "memory_mib": {"after_a_fifth": memory[1], "each_tenth": memory, "after": after},
            "victim": {"sent": victim.sent, "accepted": victim.accepted, "broken": victim.broken},
            "neighbour": {
                "sent": neighbour.sent, "accepted": neighbour.accepted, "broken": neighbour.broken,
                "p50_ms": round(times[len(times) // 2] * 1000, 1), "p99_ms": round(times[len(times) * 99 // 100] * 1000, 1),
                "max_ms": round(times[-1] * 1000, 1),
            },
        }  # fmt: skip
    finally:
        hostile.stop()
        gateway.stop()


def wrong(result: dict[str, Any]) -> list[str]:
    """What should not have been."""
    found = [f"{n} times: {what}" for what, n in result["faults"].items()]
    found += [f"in the log: {line}" for line in result["exceptions"][:10]]
    if not result["alive"]:
        found.append("the gateway has ended")
    if result["neighbour"]["accepted"] != result["neighbour"]["sent"] or result["neighbour"]["broken"]:
        found.append(f"the good ESME was disturbed: {result['neighbour']}")
    if result["victim"]["accepted"] != result["victim"]["sent"] or result["victim"]["broken"]:
        found.append(f"the ESME whose SMSC is hostile was disturbed: {result['victim']}")
    memory = result["memory_mib"]
    if memory["after"] > memory["after_a_fifth"] * _GROWTH:
        found.append(f"memory grew: {memory}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bin/fuzz", description="Broken PDUs against a running gateway, on both of its sides.")
    parser.add_argument("--pdus", type=int, default=1_000_000, help="to the server; a fifth as many come from SMSCs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    result = run(options.pdus, options.seed)
    print(json.dumps(result, indent=2))
    for line in wrong(result):
        print(line, file=sys.stderr)
    return 1 if wrong(result) else 0


if __name__ == "__main__":
    sys.exit(main())
