"""`bin/bench`: load client, gateway with its PostgreSQL, and SMSC simulator, each a process of its own."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from attrs import evolve, frozen

from protei_bulk.bench import (
    backlog,
    binds,
    campaign,
    failover,
    idle,
    micro,
    pages,
    parts,
    parts_store,
    processes,
    routing,
    web,
)
from protei_bulk.bench.esme import SENDER, LoadError
from protei_bulk.bench.report import (
    show_backlog,
    show_binds,
    show_campaign,
    show_codec,
    show_failover,
    show_idle,
    show_pages,
    show_parts,
    show_routing,
    show_run,
    show_urgent,
)
from protei_bulk.bench.stack import USER, Stack, environment

QUIET_SECONDS = 20.0  # without a message at the simulator: what is not there now is lost
PASSWORD_VARIABLE = "PROTEI_BENCH_PASSWORD"
_FAULTS = ("lost", "duplicates", "unanswered", "broken", "receipts_missing", "receipts_repeated")


@frozen
class Plan:
    """What the load client does; `window` is of one session."""

    messages: int
    sessions: int
    window: int
    receipts: bool


@frozen
class Target:
    """Whom the load client speaks to."""

    host: str
    port: int
    user: str
    password: str
    sender: str = SENDER


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0; 1 where a message, answer or receipt is missing or came twice, or there is no result; 2 usage."""
    parser = argparse.ArgumentParser(
        prog="bin/bench",
        description="Measure the gateway on this machine. Starts all it needs, in a temporary folder, and ends it.",
    )
    parser.add_argument("--messages", type=_count, default=50_000, help="by SMPP (default: %(default)s)")
    parser.add_argument("--sessions", type=_count, default=10, help="SMPP binds (default: %(default)s)")
    parser.add_argument("--window", type=_count, default=100, help="submit_sm without answer, of a bind (default: %(default)s)")
    parser.add_argument(
        "--receipts", action=argparse.BooleanOptionalAction, default=True, help="ask for delivery receipts (default: yes)"
    )
    parser.add_argument(
        "--http", type=_count, default=0, metavar="N", help=f"then N sendBulk requests of {web.RECIPIENTS} recipients"
    )
    parser.add_argument(
        "--gateway", type=_address, metavar="HOST:PORT", help="send real messages through one that runs (default: self)"
    )
    parser.add_argument("--user", help=f"with --gateway: system_id; its password is asked for, or in {PASSWORD_VARIABLE}")
    parser.add_argument("--sender", default=SENDER, help="with --gateway: source_addr (default: %(default)s)")
    parser.add_argument("--idle", type=_count, default=0, metavar="N", help="only hold N idle HTTP connections, and ask beside them")
    parser.add_argument(
        "--backlog", type=_count, default=0, metavar="N",
        help=f"only make a backlog of N messages for an SMSC that takes {backlog.TPS} a second, and send urgent ones beside it",
    )  # fmt: skip
    parser.add_argument("--routing", action="store_true", help="only measure what a message costs the router")
    parser.add_argument(
        "--failover", type=_count, default=0, metavar="N", help="only kill one of two SMSCs while N messages are being sent"
    )
    parser.add_argument(
        "--campaign", type=_count, default=0, metavar="N", help="only send a campaign to N recipients, from the upload of their file on"
    )
    parser.add_argument("--urgent", action="store_true", help="with --campaign: only send urgent messages beside it, while it runs")
    parser.add_argument("--kill", action="store_true", help="with --campaign: kill -9 the gateway in the middle, and start it anew")
    parser.add_argument("--pages", type=_count, default=0, metavar="N", help="only ask for each page of the portal with N messages stored")
    parser.add_argument("--parts", action="store_true", help="only measure what each part of a message's way costs, in CPU")
    parser.add_argument("--codec", action="store_true", help="only measure how fast PDUs are decoded and encoded")
    parser.add_argument(
        "--binds", type=_count, metavar="N", help="only measure N binds at once: of one account, and of N accounts beside traffic"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    if options.messages > 10_000_000 or options.http * web.RECIPIENTS > 10_000_000:
        parser.error("at most 10,000,000 messages: each has a recipient of its own")
    if options.codec:
        rates = micro.measure()
        print(json.dumps(rates, indent=2) if options.json else show_codec(rates))
        return 0
    if options.routing:
        costs = routing.measure()
        print(json.dumps(costs, indent=2) if options.json else show_routing(costs))
        return 0
    signal.signal(signal.SIGTERM, _terminated)
    if options.failover:
        return _failover(options.failover, Plan(0, options.sessions, options.window, False), options.json)
    if options.campaign:
        if options.urgent:
            return _urgent(options.campaign, options.json)
        return _campaign(options.campaign, options.kill, options.json)
    if options.pages:
        return _pages(options.pages, options.json)
    if options.parts:
        return _parts(options.json)
    if options.idle:
        return _idle(options.idle, options.json)
    if options.backlog:
        return _backlog(options.backlog, Plan(0, options.sessions, options.window, False), options.json)
    if options.binds:
        return _binds(options.binds, options.json)
    plan = Plan(options.messages, options.sessions, options.window, options.receipts)
    try:
        if options.gateway is None:
            result = measure(plan, options.http)
        elif options.http or not options.user:
            parser.error("--gateway needs --user, and takes no --http")
        else:
            password = os.environ.get(PASSWORD_VARIABLE) or getpass.getpass(f"Password of {options.user}: ")
            host, port = options.gateway
            result = measure_other(plan, Target(host, port, options.user, password, options.sender))
    except (LoadError, OSError, EOFError, subprocess.SubprocessError) as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(result, indent=2) if options.json else show_run(result))
    return 1 if not result["accepted"] or any(result[name] for name in _FAULTS) else 0


def _pages(count: int, as_json: bool) -> int:
    """The exit code: 1 where a page takes longer than it may, or nothing could be measured."""
    try:
        result = pages.measure(count)
    except (LoadError, OSError, subprocess.SubprocessError) as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(result, indent=2) if as_json else show_pages(result))
    return 1 if any(row["cpu"] > 50 for row in result["pages"]) else 0


def _parts(as_json: bool) -> int:
    """The exit code: 1 where nothing could be measured."""
    try:
        result = {"gateway": parts.measure(), "postgresql": parts_store.measure()}
    except (LoadError, OSError, subprocess.SubprocessError) as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if as_json else show_parts(result))
    return 0


def _idle(count: int, as_json: bool) -> int:
    """The exit code: 1 where connections were closed, or nothing could be measured."""
    try:
        with Stack(1000) as stack:
            result = idle.hold(stack.http, stack.administer("api-key", "new", USER), count, stack.pid("gateway"))
    except (LoadError, OSError, subprocess.SubprocessError) as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if as_json else show_idle(result))
    return 1 if result["lost"] else 0


def _binds(count: int, as_json: bool) -> int:
    """The exit code: 1 where one was refused or lost."""
    try:
        result = binds.measure(count)
    except (LoadError, OSError, subprocess.SubprocessError) as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if as_json else show_binds(result))
    return 1 if any(result[kind][fault] for kind in ("one_account", "accounts") for fault in ("refused", "lost")) else 0


def _backlog(count: int, plan: Plan, as_json: bool) -> int:
    """The exit code: 1 where an urgent message was not told."""

    def load(stack: Stack, messages: int) -> dict[str, Any]:
        target = Target("127.0.0.1", stack.smpp, USER, stack.password)
        return _figures(plan, _load_client(evolve(plan, messages=messages), target, stack.folder / "client.ledger"))

    try:
        result = backlog.measure(count, load)
    except (LoadError, OSError, subprocess.SubprocessError) as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if as_json else show_backlog(result))
    return 1 if result["urgent"]["told"] < result["urgent"]["sent"] else 0


def _campaign(recipients: int, kill: bool, as_json: bool) -> int:
    """The exit code: 1 where somebody got no message, or nothing could be measured."""
    try:
        result = campaign.measure(recipients, kill=kill)
    except (LoadError, OSError, subprocess.SubprocessError) as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if as_json else show_campaign(result))
    return 1 if result["missing"] or result["status"] != "COMPLETED" or (result["twice"] and not kill) else 0


def _urgent(recipients: int, as_json: bool) -> int:
    """The exit code: 1 where an urgent message did not come, or nothing could be measured."""
    try:
        result = campaign.urgent(recipients)
    except (LoadError, OSError, subprocess.SubprocessError) as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if as_json else show_urgent(result))
    return 1 if result["urgent"]["told"] < result["urgent"]["sent"] or result["status"] != "RUNNING" else 0


def _failover(count: int, plan: Plan, as_json: bool) -> int:
    """The exit code: 1 where something was lost, or nothing could be measured."""

    def load(stack: Stack, messages: int) -> dict[str, Any]:
        target = Target("127.0.0.1", stack.smpp, USER, stack.password)
        return _figures(plan, _load_client(evolve(plan, messages=messages), target, stack.folder / "client.ledger"))

    try:
        result = failover.measure(count, load)
    except (LoadError, OSError, subprocess.SubprocessError) as error:
        print(f"bin/bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2) if as_json else show_failover(result))
    return 1 if result["lost"] or result["refused"] or not result["killed"] else 0


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected a whole number from 1")
    return value


def _address(text: str) -> tuple[str, int] | None:
    """None for a gateway of its own."""
    if text == "self":
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT or self, got {text!r}")
    return host.strip("[]"), int(port)


def _terminated(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)  # through the context of the stack, which ends its processes


def measure(plan: Plan, requests: int) -> dict[str, Any]:
    """One run; rates are messages a second, times milliseconds. Raises LoadError, OSError, SubprocessError."""
    with Stack(plan.window) as stack:
        gateway, database = stack.pid("gateway"), stack.pid("postgresql")
        before = processes.cpu(gateway), processes.cpu(database, children=True)
        client_ledger = stack.folder / "client.ledger"
        try:
            target = Target("127.0.0.1", stack.smpp, USER, stack.password)
            client = _load_client(plan, target, client_ledger)
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
        except (LoadError, OSError) as error:
            raise LoadError(f"{error}\n{stack.log('gateway')}") from None
        stack.stop()
        sent = Counter(line.split()[2] for line in stack.ledger.open())
    done = max(1, client["accepted"])
    result = _figures(plan, client)
    if not plan.receipts:
        # The end is when the SMSC had the last message, seen within a tenth of a second.
        result["end_to_end_rate"] = _rate(client["accepted"], arrived - client["started"])
    return {
        **result,
        "gateway_peak_mib": memory,
        "gateway_cpu_per_1000": round((after[0] - before[0]) * 1000 / done, 3),
        "postgresql_cpu_per_1000": round((after[1] - before[1]) * 1000 / done, 3),
        "http": http,
        "lost": len(accepted - sent.keys()),
        "duplicates": sent.total() - len(sent),
    }


def measure_other(plan: Plan, target: Target) -> dict[str, Any]:
    """A run against a gateway that somebody else has started: None is what only its owner can see.

    Raises LoadError, OSError.
    """
    with tempfile.TemporaryDirectory(prefix="protei-bench-") as folder:
        client = _load_client(plan, target, Path(folder) / "client.ledger")
    unseen = ("gateway_peak_mib", "gateway_cpu_per_1000", "postgresql_cpu_per_1000", "http", "lost", "duplicates")
    return {**_figures(plan, client), **dict.fromkeys(unseen)}


def _figures(plan: Plan, client: Mapping[str, Any]) -> dict[str, Any]:
    """What the load client saw."""
    started = client["started"]
    whole = _rate(client["receipts"], client["last_receipt"] - started) if plan.receipts else None
    return {
        "messages": plan.messages,
        "sessions": plan.sessions,
        "window": plan.window,
        "receipts_asked": plan.receipts,
        "accepted": client["accepted"],
        "refused": client["refused"],
        "unanswered": client["unanswered"],
        "accept_rate": _rate(client["accepted"], client["last_accepted"] - started),
        "end_to_end_rate": whole,
        "accept_latency_ms": client["latency"],
        "receipt_latency_ms": client["receipt_latency"],
        "receipts": client["receipts"],
        "receipt_stats": client["receipt_stats"],
        "receipts_missing": client["receipts_missing"],
        "receipts_repeated": client["receipts_repeated"],
        "broken": client["broken"],
    }


def _rate(count: int, seconds: float) -> int:
    return round(count / seconds) if seconds > 0 else 0


def _load_client(plan: Plan, target: Target, ledger: Path) -> dict[str, Any]:
    """What the client printed. Raises LoadError."""
    command = [
        sys.executable, "-m", "protei_bulk.bench.esme", "--host", target.host, "--port", str(target.port),
        "--system-id", target.user, "--sender", target.sender,
        "--messages", str(plan.messages), "--sessions", str(plan.sessions), "--window", str(plan.window),
        "--ledger", str(ledger), *([] if plan.receipts else ["--no-receipts"]),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            output, errors = process.communicate(target.password + "\n")
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise LoadError(errors.strip())
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
