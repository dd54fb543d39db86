"""`bin/bench`: load client, gateway with its PostgreSQL, and SMSC simulator, each a process of its own."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from protei_bulk.bench import micro, processes, web
from protei_bulk.bench.esme import LoadError
from protei_bulk.bench.report import show_codec, show_run
from protei_bulk.bench.stack import USER, Stack

QUIET_SECONDS = 20.0  # without a message at the simulator: what is not there now is lost
_FAULTS = ("lost", "duplicates", "unanswered", "broken", "receipts_missing", "receipts_repeated")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0; 1 where a message, answer or receipt is missing or came twice, or there is no result; 2 usage."""
    parser = argparse.ArgumentParser(
        prog="bin/bench",
        description="Measure the gateway on this machine. Starts all it needs, in a temporary folder, and ends it.",
    )
    parser.add_argument("--messages", type=_count, default=50_000, help="by SMPP (default: %(default)s)")
    parser.add_argument("--sessions", type=_count, default=10, help="SMPP binds (default: %(default)s)")
    parser.add_argument("--window", type=_count, default=100, help="submit_sm without answer, of a bind (default: %(default)s)")
    parser.add_argument("--no-receipts", action="store_true", help="ask for no delivery receipts")
    parser.add_argument(
        "--http", type=_count, default=0, metavar="N", help=f"then N sendBulk requests of {web.RECIPIENTS} recipients"
    )
    parser.add_argument("--codec", action="store_true", help="only measure how fast PDUs are decoded and encoded")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    if options.messages > 10_000_000 or options.http * web.RECIPIENTS > 10_000_000:
        parser.error("at most 10,000,000 messages: each has a recipient of its own")
    if options.codec:
        rates = micro.measure()
        print(json.dumps(rates, indent=2) if options.json else show_codec(rates))
        return 0
    signal.signal(signal.SIGTERM, _terminated)
    try:
        result = measure(
            options.messages, options.sessions, options.window, receipts=not options.no_receipts, requests=options.http
        )
    except (LoadError, OSError, subprocess.SubprocessError) as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(result, indent=2) if options.json else show_run(result))
    return 1 if any(result[name] for name in _FAULTS) else 0


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected a whole number from 1")
    return value


def _terminated(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)  # through the context of the stack, which ends its processes


def measure(messages: int, sessions: int, window: int, *, receipts: bool, requests: int) -> dict[str, Any]:
    """One run; rates are messages a second, times milliseconds. Raises LoadError, OSError, SubprocessError."""
    with Stack(window) as stack:
        gateway, database = stack.pid("gateway"), stack.pid("postgresql")
        before = processes.cpu(gateway), processes.cpu(database, children=True)
        client_ledger = stack.folder / "client.ledger"
        client = _load_client(stack, messages, sessions, window, receipts, client_ledger)
        arrived = _wait_for(stack.ledger, client["accepted"])
        after = processes.cpu(gateway), processes.cpu(database, children=True)
        accepted = {line.split()[2] for line in client_ledger.open() if line.startswith("A ")}
        http: dict[str, Any] | None = None
        if requests:
            key = stack.administer("api-key", "new", USER)
            http, by_http = web.send(stack.http, key, requests)
            accepted |= by_http
            _wait_for(stack.ledger, len(accepted))
        memory = processes.peak_memory(gateway)
        stack.stop()
        sent = Counter(line.split()[2] for line in stack.ledger.open())
    done = max(1, client["accepted"])
    accept_seconds = client["last_accepted"] - client["started"]
    # Without receipts the end is when the SMSC had the last message, seen within a tenth of a second.
    whole_seconds = (client["last_receipt"] if receipts else arrived) - client["started"]
    return {
        "messages": messages,
        "sessions": sessions,
        "window": window,
        "receipts_asked": receipts,
        "accepted": client["accepted"],
        "refused": client["refused"],
        "unanswered": client["unanswered"],
        "accept_rate": _rate(client["accepted"], accept_seconds),
        "end_to_end_rate": _rate(client["receipts"] if receipts else client["accepted"], whole_seconds),
        "accept_latency_ms": client["latency"],
        "receipt_latency_ms": client["receipt_latency"],
        "receipts": client["receipts"],
        "receipt_stats": client["receipt_stats"],
        "receipts_missing": client["receipts_missing"],
        "receipts_repeated": client["receipts_repeated"],
        "gateway_peak_mib": memory,
        "gateway_cpu_per_1000": round((after[0] - before[0]) * 1000 / done, 3),
        "postgresql_cpu_per_1000": round((after[1] - before[1]) * 1000 / done, 3),
        "http": http,
        "lost": len(accepted - sent.keys()),
        "duplicates": sent.total() - len(sent),
        "broken": client["broken"],
    }


def _rate(count: int, seconds: float) -> int:
    return round(count / seconds) if seconds > 0 else 0


def _load_client(stack: Stack, messages: int, sessions: int, window: int, receipts: bool, ledger: Path) -> dict[str, Any]:
    """What the client printed. Raises LoadError."""
    command = [
        sys.executable, "-m", "protei_bulk.bench.esme", "--port", str(stack.smpp), "--system-id", USER,
        "--messages", str(messages), "--sessions", str(sessions), "--window", str(window),
        "--ledger", str(ledger), *([] if receipts else ["--no-receipts"]),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=stack.environment
    ) as process:
        try:
            output, errors = process.communicate(stack.password + "\n")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise LoadError(f"{errors.strip()}\n{stack.log('gateway')}")
    result: dict[str, Any] = json.loads(output)
    return result


def _wait_for(ledger: Path, lines: int) -> float:
    """Until the simulator has so many messages or gets no more: when (monotonic) the last was seen."""
    seen = 0
    last = time.monotonic()
    with ledger.open("rb") as file:
        while True:
            new = file.read().count(b"\n")
            now = time.monotonic()
            if new:
                seen, last = seen + new, now
            if seen >= lines or now - last > QUIET_SECONDS:
                return last
            time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
