"""`guard`, `blacklist` and `optout`: what stops messages, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TextIO

import click
import psycopg2
from attrs import asdict

from protei_bulk.access.ports import NOBODY
from protei_bulk.cli.node import Node, refuse
from protei_bulk.cli.output import json_option, show_json, show_list
from protei_bulk.guards.checker import Checker
from protei_bulk.guards.countries import region_of
from protei_bulk.guards.numbers import number_of
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.guard_lists import Imported, import_numbers, read_lists
from protei_bulk.store.guards import GuardRows
from protei_bulk.store.pool import Database

EVENTS = ("event_id", "mode", "username", "kind", "target", "messages", "most", "created_at", "ends_at", "released_at")
SWITCHES = ("customer", "allowed_countries", "blocked_countries", "blacklisted", "opted_out", "accounts")
customer_option = click.option("--customer", metavar="NAME", help="Whose; default: everybody's.")
whose_option = click.option("--customer", metavar="NAME", required=True, help="From whom they want nothing.")
reason_option = click.option("--reason", default="", metavar="TEXT", help="What is shown beside it.")


def parse(word: str, *, prefix: bool = True) -> tuple[int, bool]:
    """(number, whether it is a prefix). Raises UsageError."""
    match = re.fullmatch(r"\+?([0-9]{1,18})(\*?)", word.replace(" ", ""))
    number = number_of(match[1]) if match else 0
    if match is None or not number or (match[2] and not prefix) or (not match[2] and number < 100):
        raise click.UsageError(f"expected the digits of a number{', with * after those of a prefix' if prefix else ''}, got {word[:40]!r}")
    return number, bool(match[2])


async def _customer_id(db: Database, name: str | None) -> int:
    if name is None:
        return 0
    ids = [c.customer_id for c in await Accounts(db).customers() if c.name == name]
    if not ids:
        refuse(f"there is no customer {name}")
    return ids[0]


def _short(text: str) -> str:
    if len(text) > 200 or not text.isprintable():
        raise click.UsageError("expected a text of at most 200 printable characters")
    return text


# --- guard


@click.group()
def guard() -> None:
    """What stops messages: countries, lists, duplicates, pauses."""


@guard.command("list")
@json_option
@click.pass_obj
def guard_list(node: Node, as_json: bool) -> None:
    """What is switched on, for whom; pauses in force, and the newest alerts."""
    settings = node.settings.guards

    async def work(db: Database) -> dict[str, Any]:
        rows = GuardRows(db)
        names = {0: "(all)"}
        switches = await rows.switches()
        for row in switches:
            row["customer"] = row["customer"] or names[0]
        everybody = switches[0]
        everybody["allowed_countries"], everybody["blocked_countries"] = [*settings.allowed_countries], [*settings.blocked_countries]
        return {
            "velocity": settings.velocity.mode,
            "switches": switches,
            "pauses": [asdict(e) for e in await rows.events(paused=True, limit=1000)],
            "events": [asdict(e) for e in await rows.events(limit=20)],
        }

    found = node.run(work)
    if as_json:
        show_json(found)
        return
    for row in found["switches"]:
        row["accounts"] = [
            f"{a['username']}({' '.join(str(v) for v in _account_words(a))})" for a in row["accounts"]
        ]  # fmt: skip
    kept = ("allowed_countries", "blocked_countries", "blacklisted", "opted_out", "accounts")
    show_list([r for r in found["switches"] if any(r[k] for k in kept) or not r["customer_id"]], SWITCHES, False)
    click.echo(f"\nVelocity guard: {found['velocity']}. Pauses in force:")
    show_list(found["pauses"], EVENTS, False)
    click.echo("\nFound lately:")
    show_list(found["events"], EVENTS, False)


def _account_words(a: dict[str, Any]) -> list[str]:
    words = [f"duplicates {a['duplicate_seconds']}s"] if a["duplicate_seconds"] else []
    words += ["transactional"] if a["transactional"] else []
    return words + ([f"velocity {a['velocity']}"] if a["velocity"] != "node" else [])


@guard.command("release")
@click.argument("event_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.pass_obj
def guard_release(node: Node, event_id: int) -> None:
    """End a pause of the velocity guard."""
    if not node.run(lambda db: GuardRows(db).release(event_id, actor=NOBODY)):
        refuse(f"there is no pause {event_id} in force")
    click.echo(f"Pause {event_id} is released.")


@guard.command("check")
@click.option("--user", required=True, metavar="NAME")
@click.option("--to", "dest", required=True, metavar="NUMBER")
@click.option("--sender", default="", metavar="ID")
@json_option
@click.pass_obj
def guard_check(node: Node, user: str, dest: str, sender: str, as_json: bool) -> None:
    """Whether a message of this user would be stopped, and by what (but for duplicates)."""
    number, _ = parse(dest, prefix=False)
    dsn, settings = node.dsn(), node.settings.guards

    async def work(db: Database) -> tuple[Account, list[Any]]:
        found = await Accounts(db).by_username(user)
        if found is None:
            refuse(f"there is no user {user}")
        return found.account, await GuardRows(db).events(user_id=found.account.user_id, paused=True, limit=1000)

    account, events = node.run(work)
    try:
        checker = Checker(read_lists(dsn)[0])
    except psycopg2.Error as error:
        refuse(f"the database refused: {str(error).strip().splitlines()[0]}")
    checker.allowed, checker.blocked = frozenset(settings.allowed_countries), frozenset(settings.blocked_countries)
    checker.pause(e.pause for e in events)
    m = Message()
    m.dest, m.source = str(number), sender
    refusal = checker.check(account, m)
    result = {
        "number": m.dest, "country": region_of(m.dest) or None, "code": refusal.code if refusal else None,
        "why": refusal.text if refusal else None, "detail": m.refusal_detail or None,
    }  # fmt: skip
    if as_json:
        show_json(result)
    elif refusal is None:
        click.echo(f"{m.dest} ({result['country'] or 'no country'}): nothing stops it.")
    else:
        click.echo(f"{m.dest} ({result['country'] or 'no country'}): {refusal.code}, {refusal.text}{_detail(m)}.")


def _detail(m: Message) -> str:
    return f" ({m.refusal_detail})" if m.refusal_detail else ""


# --- blacklist


@click.group()
def blacklist() -> None:
    """Numbers that get no message: everybody's list, and each customer's own."""


@blacklist.command("add")
@click.argument("numbers", metavar="NUMBER[*]...", nargs=-1, required=True)
@customer_option
@reason_option
@click.pass_obj
def blacklist_add(node: Node, numbers: Sequence[str], customer: str | None, reason: str) -> None:
    """Numbers, or with * all that begin so."""
    entries, reason = [parse(n) for n in numbers], _short(reason)

    async def work(db: Database) -> None:
        number, rows = await _customer_id(db, customer), GuardRows(db)
        for is_prefix in (False, True):
            those = [n for n, p in entries if p is is_prefix]
            if those:
                await rows.bar(number, those, is_prefix, reason, actor=NOBODY)

    node.run(work)
    click.echo(f"{len(entries)} entries are on the blacklist{f' of {customer}' if customer else ''}.")


@blacklist.command("remove")
@click.argument("numbers", metavar="NUMBER[*]...", nargs=-1, required=True)
@customer_option
@click.pass_obj
def blacklist_remove(node: Node, numbers: Sequence[str], customer: str | None) -> None:
    """Written as they are listed."""
    entries = [parse(n) for n in numbers]

    async def work(db: Database) -> list[str]:
        number, rows = await _customer_id(db, customer), GuardRows(db)
        return [w for w, (n, p) in zip(numbers, entries, strict=True) if not await rows.unbar(number, n, p, actor=NOBODY)]

    missing = node.run(work)
    if missing:
        refuse(f"not on the blacklist: {', '.join(missing)}")
    click.echo(f"{len(entries)} entries are taken away.")


@blacklist.command("list")
@customer_option
@click.option("--number", metavar="NUMBER", help="Only entries that this number falls under.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@json_option
@click.pass_obj
def blacklist_list(node: Node, customer: str | None, number: str | None, limit: int, as_json: bool) -> None:
    """Everybody's, or a customer's entries; with --number those of all."""
    wanted = parse(number, prefix=False)[0] if number else None

    async def work(db: Database) -> list[dict[str, Any]]:
        whose = None if customer is None and wanted is not None else await _customer_id(db, customer)
        found = await GuardRows(db).barred(whose, number=wanted, limit=limit)
        return [{**asdict(e), "number": e.number + "*" * e.is_prefix} for e in found]

    show_list(node.run(work), ("entry_id", "customer_id", "number", "reason", "created_at"), as_json)


@blacklist.command("import")
@click.argument("file", type=click.File(encoding="utf-8", errors="replace"))
@customer_option
@reason_option
@click.option("--replace", is_flag=True, help="What the file does not have is taken away.")
@click.pass_obj
def blacklist_import(node: Node, file: TextIO, customer: str | None, reason: str, replace: bool) -> None:
    """A number a line, with * after a prefix; what follows a comma is left out. '-' reads standard input."""
    whose = node.run(lambda db: _customer_id(db, customer))
    _imported(node, file, customer_id=whose, reason=_short(reason), replace=replace)


def _imported(node: Node, file: TextIO, **options: Any) -> None:
    shown = 0

    def bad(line: int, why: str) -> None:
        nonlocal shown
        shown += 1
        if shown <= 20:
            click.echo(f"line {line}: {why}", err=True)

    try:
        found: Imported = import_numbers(node.dsn(), file, bad, **options)
    except psycopg2.Error as error:
        refuse(f"the database refused: {str(error).strip().splitlines()[0]}")
    click.echo(f"{found.read} numbers read, {found.stored} stored, {found.removed} taken away, {found.bad} lines left out.")
    if found.bad and not found.read:
        raise click.exceptions.Exit(1)


# --- opt-outs


@click.group()
def optout() -> None:
    """Who wants no messages from a customer: a ledger that is only appended to."""


@optout.command("add")
@click.argument("numbers", metavar="NUMBER...", nargs=-1, required=True)
@whose_option
@click.option("--sender", default="", metavar="ID", help="From this sender only.")
@click.option("--note", default="", metavar="TEXT")
@click.pass_obj
def optout_add(node: Node, numbers: Sequence[str], customer: str, sender: str, note: str) -> None:
    """They are left alone."""
    _record(node, numbers, customer, sender, note, True)


@optout.command("remove")
@click.argument("numbers", metavar="NUMBER...", nargs=-1, required=True)
@whose_option
@click.option("--sender", default="", metavar="ID", help="From this sender only.")
@click.option("--note", default="", metavar="TEXT")
@click.pass_obj
def optout_remove(node: Node, numbers: Sequence[str], customer: str, sender: str, note: str) -> None:
    """They want to hear again: a row more in the ledger."""
    _record(node, numbers, customer, sender, note, False)


def _record(node: Node, numbers: Sequence[str], customer: str, sender: str, note: str, out: bool) -> None:
    those, note = [parse(n, prefix=False)[0] for n in numbers], _short(note)
    if len(sender) > 21:
        raise click.UsageError("--sender: at most 21 characters")

    async def work(db: Database) -> int:
        whose = await _customer_id(db, customer)
        rows = [{"c": whose, "n": n, "s": sender, "o": out, "r": "CLI", "t": note} for n in those]
        return await GuardRows(db).record(rows, actor=NOBODY)

    click.echo(f"{node.run(work)} rows recorded.")


@optout.command("list")
@click.option("--customer", metavar="NAME", help="Only this one's.")
@click.option("--number", metavar="NUMBER")
@click.option("--history", is_flag=True, help="All that the ledger says of --number.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True)
@json_option
@click.pass_obj
def optout_list(node: Node, customer: str | None, number: str | None, history: bool, limit: int, as_json: bool) -> None:
    """Who is opted out now."""
    wanted = parse(number, prefix=False)[0] if number else None
    if history and wanted is None:
        raise click.UsageError("--history: of which --number?")

    async def work(db: Database) -> list[dict[str, Any]]:
        whose = None if customer is None else await _customer_id(db, customer)
        rows = GuardRows(db)
        if history and wanted is not None:
            return [asdict(o) for o in await rows.history(whose, wanted, limit)]
        return [asdict(o) for o in await rows.opt_outs(whose, number=wanted, limit=limit)]

    show_list(node.run(work), ("customer_id", "number", "sender", "opted_out", "source", "message_id", "at", "note"), as_json)


@optout.command("import")
@click.argument("file", type=click.File(encoding="utf-8", errors="replace"))
@whose_option
@click.option("--sender", default="", metavar="ID", help="From this sender only.")
@click.option("--note", default="", metavar="TEXT")
@click.pass_obj
def optout_import(node: Node, file: TextIO, customer: str, sender: str, note: str) -> None:
    """A number a line; who is opted out already stays so without a row. '-' reads standard input."""
    whose = node.run(lambda db: _customer_id(db, customer))
    _imported(node, file, customer_id=whose, reason=_short(note), opt_out=True, sender=sender)
