"""`route`: rules of routing in the database, beside those of the configuration file; `cost`: what SMSCs charge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import attrs
import click

from protei_bulk.access.ports import NOBODY
from protei_bulk.cli.node import Node, refuse
from protei_bulk.cli.output import json_option, show_json, show_list
from protei_bulk.model.message import PRIORITIES, Message
from protei_bulk.settings import Match, Rewrite, Route
from protei_bulk.settings.routes import read_route, shown_route
from protei_bulk.settings.rules import Currency, Money, Refused
from protei_bulk.settings.schema import CHANNELS
from protei_bulk.store.account_rows import NameTaken
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.explaining import Explaining
from protei_bulk.store.pool import Database
from protei_bulk.store.routes import CostRows, RouteRows, StoredRoute
from protei_bulk.text.segments import encode_text

_LISTS = {"to", "weights"} | {f"match.{a.name}" for a in attrs.fields(Match) if a.default == ()}
_NUMBERS = {"order", "weights", "match.min_segments", "match.max_segments"} | {
    f"rewrite.{a.name}" for a in attrs.fields(Rewrite) if a.default == -1
}
_FLAGS = {"next_after_receipt", "enabled"}
_TEXTS = {"strategy", "price", "reject", "match.pattern", "match.time", "rewrite.sender", "rewrite.dest_strip", "rewrite.dest_add"}
_FIELDS = sorted(_LISTS | _NUMBERS | _FLAGS | _TEXTS)
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@click.group()
def route() -> None:
    """Rules of routing. Those of the configuration file are changed there; both kinds stand in one order."""


@route.command("list")
@json_option
@click.pass_obj
def route_list(node: Node, as_json: bool) -> None:
    """All rules, in the order in which they are tried."""

    async def work(db: Database) -> list[StoredRoute]:
        return list(await RouteRows(db).all())

    ids = [c.id for c in node.settings.smsc]
    named = {r.name for r in node.settings.route}
    rows = [{**_row(r), "source": "file", "enabled": True, "problems": []} for r in node.settings.route]
    for stored in node.run(work):
        found, problems = read_route(stored.table, ids)
        if stored.name in named:
            problems = [*problems, "name: the configuration file has a rule of this name, which holds"]
        found = found or read_route(stored.table, None)[0] or Route(stored.name)
        rows.append({**_row(found), "source": "database", "enabled": stored.enabled, "problems": problems})
    rows.sort(key=lambda row: row["order"])
    show_list(rows, ("order", "name", "source", "enabled", "to", "strategy", "reject", "conditions", "problems"), as_json)


def _row(found: Route) -> dict[str, Any]:
    table = shown_route(found, everything=True)
    conditions = [f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}" for k, v in shown_route(found).get("match", {}).items()]
    return {**table, "conditions": " ".join(conditions)}


@route.command("add", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("assignments", metavar="FIELD=VALUE...", nargs=-1, required=True)
@click.pass_obj
def route_add(node: Node, name: str, assignments: Sequence[str]) -> None:
    """Make a rule, as `route add zain order=10 to=Zain,SMSC1 match.prefix=96279 price=0.025`.

    Fields are those of [[route]] in etc/protei-bulk.toml; lists are separated by commas.
    """
    table, enabled = _changed({"name": name}, True, assignments)
    _check(node, table)
    if any(r.name == name for r in node.settings.route):
        refuse(f"the configuration file has a rule {name}")

    async def work(db: Database) -> None:
        await RouteRows(db).add(table, enabled=enabled, actor=NOBODY)

    try:
        node.run(work)
    except NameTaken:
        refuse(f"there is a rule {name} already")
    click.echo(f"Rule {name} added.")


@route.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("assignments", metavar="FIELD=VALUE...", nargs=-1, required=True)
@click.pass_obj
def route_set(node: Node, name: str, assignments: Sequence[str]) -> None:
    """Change fields of a rule; `FIELD=` takes what it had. `enabled=no` lets it rest."""
    _changed({"name": name}, True, assignments)  # what can be seen in the command alone

    async def work(db: Database) -> dict[str, Any] | None:
        """The table that cannot be stored."""
        row = await RouteRows(db).get(name)
        if row is None:
            return {}
        read = read_route(row.table, None)[0]
        table, enabled = _changed(shown_route(read) if read is not None else dict(row.table), row.enabled, assignments)
        if read_route(table, [c.id for c in node.settings.smsc])[0] is None:
            return table
        await RouteRows(db).replace(name, table, enabled=enabled, actor=NOBODY)
        return None

    table = node.run(work)
    if table is not None:
        if not table:
            _no_such_rule(node, name)
        _check(node, table)
    click.echo(f"Rule {name} changed.")


@route.command("remove")
@click.argument("name")
@click.pass_obj
def route_remove(node: Node, name: str) -> None:
    """Take a rule away. What has been routed by it stays so."""

    async def work(db: Database) -> bool:
        return await RouteRows(db).remove(name, actor=NOBODY)

    if not node.run(work):
        _no_such_rule(node, name)
    click.echo(f"Rule {name} removed.")


@route.command("explain")
@click.option("--user", required=True, help="Who sends.")
@click.option("--to", "dest", required=True, help="The recipient.")
@click.option("--sender", default="", help="As the recipient sees it.")
@click.option("--channel", type=click.Choice(CHANNELS), default="SMPP", show_default=True)
@click.option("--priority", type=click.Choice(PRIORITIES), default="NORMAL", show_default=True)
@click.option("--text", default="", help="The message: its length counts, and patterns see it.")
@click.option("--segments", type=click.IntRange(1, 255), help="Instead of counting the text.")
@click.option("--tag", "tags", multiple=True, help="Of the message; may be repeated.")
@click.option("--at", type=click.DateTime(("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")), help="In UTC; now, where it is left out.")
@json_option
@click.pass_obj
def route_explain(node: Node, user: str, dest: str, sender: str, channel: str, priority: str, text: str, segments: int | None,
                  tags: Sequence[str], at: datetime | None, as_json: bool) -> None:  # fmt: skip
    """Say where a message would go now, and what kept each rule from matching."""
    m = Message()
    m.dest, m.source, m.channel, m.priority, m.text = dest.removeprefix("+"), sender, channel, PRIORITIES.index(priority), text
    if not (m.dest.isascii() and m.dest.isdigit() and 3 <= len(m.dest) <= 20):
        raise click.UsageError("--to: expected an international number")
    m.segments = segments or (encode_text(text, "AUTO").segments if text else 1)
    m.tags = tuple(tags)
    now = time.time() if at is None else at.replace(tzinfo=UTC).timestamp()

    async def work(db: Database) -> dict[str, Any] | None:
        known = await Accounts(db).by_username(user)
        return None if known is None else await Explaining(db).explain(node.settings, known.account, m, now)

    found = node.run(work)
    if found is None:
        refuse(f"there is no user {user}")
    if as_json:
        show_json(found)
    else:
        _tell(m, found)


def _tell(m: Message, found: dict[str, Any]) -> None:
    click.echo(f"Recipient  {m.dest}, network {found['network'] or 'unknown'}")
    if found["refused"] is not None:
        by = f" by rule {found['rule']}" if found["rule"] else ""
        click.echo(f"Refused    {found['refused']['code']}{by}: {found['refused']['text']}")
    else:
        click.echo(f"Rule       {found['rule']}, {found['strategy']}")
        for n, s in enumerate(found["smscs"]):
            facts = [s["state"] or "state unknown"]
            if s["cost"] is not None:
                facts.append(f"cost {s['cost']:g}")
            if s["delivered_share"] is not None:
                facts.append(f"{100 * s['delivered_share']:.1f} % delivered")
            click.echo(f"{'Candidates' if n == 0 else '':10} {n + 1}. {s['smsc_id']} ({', '.join(facts)})")
        if found["price"] is not None:
            click.echo(f"Price      {found['price']:g} a segment, {m.segments} segments")
        if found["rewrite"]:
            click.echo("Goes out   with " + ", ".join(f"{k} {v}" for k, v in found["rewrite"].items()))
        if found["next_after_receipt"]:
            click.echo("Then       a negative receipt tries the next candidate")
    click.echo()
    show_list(found["rules"], ("order", "rule", "source", "matched", "why"), False)


def _changed(table: dict[str, Any], enabled: bool, assignments: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """The rule with these fields, and whether it is enabled. Raises UsageError for what is no field."""
    table = {k: dict(v) if isinstance(v, dict) else v for k, v in table.items()}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or name not in _FIELDS:
            raise click.UsageError(f"{assignment}: expected FIELD=VALUE, of {', '.join(_FIELDS)}")
        read = _read(name, value)
        if name == "enabled":
            enabled = True if read is None else bool(read)
            continue
        section, dot, key = name.partition(".")
        where = table.setdefault(section, {}) if dot else table
        if read is None:
            where.pop(key or section, None)
        else:
            where[key or section] = read
    return table, enabled


def _read(name: str, text: str) -> Any:
    """None for nothing: as by default."""
    if text == "":
        return None
    if name in _FLAGS:
        if text.lower() not in _WORDS:
            raise click.UsageError(f"{name}: expected yes or no, got {text}")
        return _WORDS[text.lower()]
    parts = [part.strip() for part in text.split(",")] if name in _LISTS else [text]
    if name in _NUMBERS:
        try:
            numbers = [int(part) for part in parts]
        except ValueError:
            raise click.UsageError(f"{name}: expected a whole number, got {text}") from None
        return numbers if name in _LISTS else numbers[0]
    return parts if name in _LISTS else text


def _check(node: Node, table: dict[str, Any]) -> None:
    found, problems = read_route(table, [c.id for c in node.settings.smsc])
    if found is not None and -(2**31) <= found.order < 2**31:
        return
    wrong_here = [p for p in problems if "no [[smsc]] has the id" in p]
    if problems and problems == wrong_here:
        refuse("\n".join(problems))
    raise click.UsageError("\n".join(problems) or "order: expected a whole number of 32 bits")


def _no_such_rule(node: Node, name: str) -> NoReturn:
    if any(r.name == name for r in node.settings.route):
        refuse(f"rule {name} is in the configuration file {node.config}: change it there, then SIGHUP")
    refuse(f"there is no rule {name}")


# --- costs


@click.group()
def cost() -> None:
    """What SMSCs charge for a segment: what least-cost goes by. Lists come by `numbers import`."""


@cost.command("list")
@click.option("--smsc", help="Only of this one.")
@json_option
@click.pass_obj
def cost_list(node: Node, smsc: str | None, as_json: bool) -> None:
    """By SMSC, then by network and prefix."""

    async def work(db: Database) -> list[dict[str, Any]]:
        return [attrs.asdict(row) for row in await CostRows(db).all(smsc)]

    show_list(node.run(work), ("cost_id", "smsc_id", "mccmnc", "prefix", "cost", "currency", "valid_from"), as_json)


@cost.command("set")
@click.argument("smsc")
@click.argument("amount")
@click.option("--currency", help="As routing.currency, where it is left out.")
@click.option("--network", default="", help="MCC-MNC, or the MCC alone.")
@click.option("--prefix", default="", help="Of the recipient's number. Neither this nor --network: of everybody.")
@click.option("--from", "valid_from", type=click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M")), help="In UTC; from ever, where it is left out.")
@click.pass_obj
def cost_set(node: Node, smsc: str, amount: str, currency: str | None, network: str, prefix: str, valid_from: datetime | None) -> None:
    """Say what SMSC charges for a segment."""
    currency = currency or node.settings.routing.currency
    network = network.replace("-", "")
    try:
        money = Decimal(str(Money().read(amount, Path())))
        Currency().read(currency, Path())
    except Refused as error:
        raise click.UsageError(f"expected {error}") from None
    if (network and not (network.isascii() and network.isdigit() and len(network) in (3, 5, 6))) or (network and prefix):
        raise click.UsageError("--network: expected an MCC-MNC of 5 or 6 digits, or an MCC of 3, and no --prefix beside it")
    if prefix and not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 20):
        raise click.UsageError("--prefix: expected digits")
    if smsc not in [c.id for c in node.settings.smsc]:
        refuse(f"there is no [[smsc]] {smsc}")

    async def work(db: Database) -> int:
        begin = None if valid_from is None else valid_from.replace(tzinfo=UTC)
        return await CostRows(db).set(smsc, network, prefix, money, str(currency), begin, actor=NOBODY)

    click.echo(f"Cost {node.run(work)} set.")


@cost.command("remove")
@click.argument("cost_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.pass_obj
def cost_remove(node: Node, cost_id: int) -> None:
    """Take a cost away."""

    async def work(db: Database) -> bool:
        return await CostRows(db).remove(cost_id, actor=NOBODY)

    if not node.run(work):
        refuse(f"there is no cost {cost_id}")
    click.echo(f"Cost {cost_id} removed.")
