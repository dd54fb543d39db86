"""The figures as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def show_codec(rates: Mapping[str, int]) -> str:
    return _table("submit_sm, one core", [(name, f"{rate:,} PDU/s") for name, rate in rates.items()])


def show_routing(r: Mapping[str, Any]) -> str:
    def cost(name: str) -> str:
        return f"{r[name]:.2f} µs"

    title = f"The router, {r['prefixes']:,} prefixes in {r['rules']:,} rules, one core"
    return _table(
        title,
        [
            ("a message, the first of its kind", cost("first")),
            ("a message", cost("again")),
            (f"by network, {r['ported']:,} ported", cost("networks")),
            *((name, cost(name)) for name in ("round-robin", "weighted", "least-cost", "best-delivery")),
        ],
    )


def show_failover(r: Mapping[str, Any]) -> str:
    def seconds(name: str) -> str:
        return "-" if r.get(name) is None else f"{r[name]:.3f} s"

    return _table(
        "One of two SMSCs killed under load",
        [
            ("accepted", f"{r['accepted']:,}"),
            ("waiting for it then", f"{r.get('waiting') or 0:,}"),
            ("the first of them at the other", seconds("first_moved")),
            ("all of them at the other", seconds("all_moved")),
            ("a message that came later, at most", seconds("longest_new")),
            ("lost", f"{r['lost']:,}"),
            ("duplicates", f"{r['duplicates']:,}"),
        ],
    )


def show_campaign(r: Mapping[str, Any]) -> str:
    return _table(
        f"A campaign to {r['recipients']:,} recipients, from the upload on",
        [
            *((name, f"{seconds:,.1f} s") for name, seconds in r["stages"].items()),
            ("all of it", f"{r['seconds']:,.1f} s"),
            ("from upload to completed", f"{r['rate']:,.0f} /s"),
            ("while it was sent", f"{r['sending_rate']:,.0f} /s"),
            ("gateway, peak memory", f"{r['peak_mib']:,.0f} MiB"),
            ("its page, meanwhile", f"median {r['page_ms']['median']:,.0f} ms, at most {r['page_ms']['max']:,.0f} ms"),
            *([] if r["killed"] is None else [("killed after", f"{r['killed']:,.1f} s")]),
            ("state", r["status"]),
            ("delivered, failed, refused", f"{r['delivered']:,}, {r['failed']:,}, {r['refused']:,}"),
            ("without a message", f"{r['missing']:,}"),
            ("twice", f"{r['twice']:,}"),
        ],
    )


def show_urgent(r: Mapping[str, Any]) -> str:
    return _table(
        f"Urgent messages beside a campaign to {r['recipients']:,}, over an SMSC that takes {r['smsc_tps']:,} a second",
        [
            ("of the campaign, stored by the end", f"{r['accepted']:,}"),
            ("urgent messages", f"{r['urgent']['sent']:,}, {r['urgent']['told']:,} with a receipt"),
            ("to the SMSC and back", _latency(r["urgent"]["latency"])),
        ],
    )


def show_idle(r: Mapping[str, Any]) -> str:
    return _table(
        f"{r['connections']:,} idle HTTP connections",
        [
            ("opened in", f"{r['opened_in']:,.1f} s"),
            ("closed by the gateway", f"{r['lost']:,}"),
            ("gateway, memory before", f"{r['memory_before_mib']:,.0f} MiB"),
            ("gateway, memory", f"{r['memory_held_mib']:,.0f} MiB"),
            ("a connection", f"{r['kib_a_connection']:,.1f} KiB"),
            ("a request beside them", _latency(r["latency"])),
        ],
    )


def show_binds(r: Mapping[str, Any]) -> str:
    one, many = r["one_account"], r["accounts"]

    def faults(of: Mapping[str, Any]) -> list[tuple[str, str]]:
        found = [("refused", ", ".join(f"{count:,} with {status}" for status, count in of["refused"].items()))] if of["refused"] else []
        return [*found, ("connections lost", f"{of['lost']:,}")] if of["lost"] else found

    first = _table(
        f"{r['count']:,} sessions of one account, after a restart",
        [("all bound after", f"{one['seconds']:,.2f} s"), ("a bind", _latency(one)), *faults(one)],
    )
    second = _table(
        f"{r['count']:,} accounts, one session each, beside traffic",
        [
            ("all bound after", f"{many['seconds']:,.2f} s"),
            ("submit_sm before", f"{_latency(many['traffic_alone_ms'])}, longest {many['traffic_alone_ms']['max']:,.1f} ms"),
            ("submit_sm meanwhile", f"{_latency(many['traffic_beside_ms'])}, longest {many['traffic_beside_ms']['max']:,.1f} ms"),
            ("messages meanwhile", f"{many['messages']:,}"),
            *faults(many),
        ],
    )
    return f"{first}\n\n{second}"


def show_backlog(r: Mapping[str, Any]) -> str:
    rows = []
    total = 0
    for step in r["steps"]:
        total += step["accepted"]
        rows.append((f"{total:,} accepted", f"{step['rate']:,} /s, gateway {step['memory']:,.0f} MiB"))
    urgent = r["urgent"]
    rows += [
        ("gateway, peak memory", f"{r['peak_mib']:,.0f} MiB"),
        (f"{urgent['told']} urgent, to the receipt", _latency(urgent["latency"])),
    ]
    return _table(f"Backlog of {r['messages']:,} messages for an SMSC that takes {r['smsc_tps']:,} a second", rows)


def show_run(r: Mapping[str, Any]) -> str:
    receipts = "with receipts" if r["receipts_asked"] else "without receipts"
    title = f"{r['messages']:,} messages, {r['sessions']} sessions, window {r['window']}, {receipts}"
    rows = [
        ("accepted", f"{r['accepted']:,}"),
        ("accept rate", f"{r['accept_rate']:,} /s"),
        *([] if r["end_to_end_rate"] is None else [("end-to-end rate", f"{r['end_to_end_rate']:,} /s")]),
        ("accept latency", _latency(r["accept_latency_ms"])),
    ]
    if r["receipts_asked"]:
        rows += [
            ("receipt latency", _latency(r["receipt_latency_ms"])),
            ("receipts", f"{r['receipts']:,}"),
            ("receipts missing", f"{r['receipts_missing']:,}"),
            ("receipts repeated", f"{r['receipts_repeated']:,}"),
        ]
    ours = r["lost"] is not None  # a gateway that somebody else runs lets us see less
    if ours:
        rows += [
            ("gateway, peak memory", f"{r['gateway_peak_mib']:,.0f} MiB"),
            ("gateway, CPU per 1,000", f"{r['gateway_cpu_per_1000']:.3f} s"),
            ("PostgreSQL, CPU per 1,000", f"{r['postgresql_cpu_per_1000']:.3f} s"),
        ]
    if r["http"]:
        rows += [
            ("HTTP messages", f"{r['http']['messages']:,} in {r['http']['requests']:,} requests"),
            ("HTTP accept rate", f"{r['http']['messages_per_second']:,} /s"),
            ("HTTP request", _latency(r["http"]["latency"])),
        ]
    if ours:
        rows += [("lost", f"{r['lost']:,}"), ("duplicates", f"{r['duplicates']:,}")]
    if r["refused"]:
        rows.append(("refused", ", ".join(f"{count:,} with {status}" for status, count in r["refused"].items())))
    if r["unanswered"]:
        rows.append(("unanswered", f"{r['unanswered']:,}"))
    if r["broken"]:
        rows.append(("connection lost", r["broken"]))
    return _table(title, rows)


def _latency(ms: Mapping[str, float]) -> str:
    return f"p50 {ms['p50']:,.1f} ms, p99 {ms['p99']:,.1f} ms"


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join([title, "-" * len(title), *(f"{name:<{width}}  {value}" for name, value in rows)])


def show_parts(r: Mapping[str, Mapping[str, float]]) -> str:
    def rows(costs: Mapping[str, float]) -> list[tuple[str, str]]:
        shown = [(name, f"{cost:,.0f}" if "WAL" in name else f"{cost:.2f} µs") for name, cost in costs.items()]
        return [*shown, ("together", f"{sum(c for name, c in costs.items() if '(*)' not in name and 'WAL' not in name):.2f} µs")]

    return "\n\n".join([
        _table("The gateway, CPU a message; (*) only where it is used, and not in the sum", rows(r["gateway"])),
        _table("PostgreSQL, CPU a message, in batches; (*) indexes that are not there", rows(r["postgresql"])),
    ])  # fmt: skip


def show_pages(r: Mapping[str, Any]) -> str:
    lines = [
        (f"{row['page']} ({row['who']})", f"{row['cpu']:.1f} ms of CPU, {row['best']:.1f} ms at best, {row['median']:.1f} ms")
        for row in r["pages"]
    ]
    return _table(f"Pages with {r['messages']:,} messages stored (made in {r['filled']:.0f} s)", lines)
