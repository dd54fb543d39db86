"""`rate`, `money`, and what `customer` says of money: ledger and statement."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import click
from attrs import asdict

from protei_bulk.access.ports import NOBODY
from protei_bulk.cli.audit import When
from protei_bulk.cli.node import Node, refuse
from protei_bulk.cli.output import json_option, show_list
from protei_bulk.routing.rate_sheet import SheetError, moment, read_sheet
from protei_bulk.store.accounts import Accounts, Customer
from protei_bulk.store.decks import RateRows
from protei_bulk.store.money import KINDS, Difference, Entry, Ledger, Margin
from protei_bulk.store.pool import Database

_UNTIL = click.option("--until", type=When(), help="Up to a time, not including it.")
_SINCE = click.option("--since", type=When(), help="From a time on; UTC where it has no offset.")
_DAY = click.DateTime(["%Y-%m-%d"])


async def _customer(db: Database, name: str) -> Customer:
    for found in await Accounts(db).customers():
        if found.name == name:
            return found
    raise click.ClickException(f"there is no customer {name}")


# --- rate decks


@click.group()
def rate() -> None:
    """What customers pay for a segment: a deck of each, and a default one for each currency."""


@rate.command("import")
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--customer", "name", help="Whose deck; without it, the default deck of a currency.")
@click.option("--currency", help="Of the default deck.")
@click.option("--valid-from", "begin", help="Of entries that do not say: a day, in the customer's time zone, or a time.")
@click.option("--whole", is_flag=True, help="The file is all that the deck has then: what else it has ends.")
@click.pass_obj
def rate_import(node: Node, file: Any, name: str | None, currency: str | None, begin: str | None, whole: bool) -> None:
    """Set prices from a CSV file ('-': standard input) with the headings prefix or mccmnc, price, and perhaps valid_from.

    An entry without both prefix and network is for all numbers; one without a price takes its prefix out of the deck.
    Entries of the same prefix and time are replaced, all in one transaction.
    """
    if (name is None) == (currency is None):
        raise click.UsageError("give --customer NAME, or --currency CUR for the default deck")
    if currency is not None and not (len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
        raise click.UsageError("--currency: expected three capital letters")
    try:
        text = file.read()
    except UnicodeDecodeError:
        refuse("the file is not UTF-8")

    async def work(db: Database) -> int:
        of = None if name is None else await _customer(db, name)
        zone = of.timezone if of is not None else "UTC"
        since = moment(begin or "", zone)
        rows = read_sheet(text, since, zone)
        return int(await RateRows(db).put(of.customer_id if of else None, currency or "", rows, whole=whole, since=since, actor=NOBODY))

    try:
        count = node.run(work)
    except SheetError as error:
        refuse("nothing was imported:\n  " + "\n  ".join(error.problems))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"{count} entries set.")


@rate.command("list")
@click.option("--customer", "name", help="Whose deck; without it, the default decks.")
@json_option
@click.pass_obj
def rate_list(node: Node, name: str | None, as_json: bool) -> None:
    """The entries of a deck; without a price: not in the deck from then on."""

    async def work(db: Database) -> list[dict[str, Any]]:
        of = None if name is None else (await _customer(db, name)).customer_id
        return [asdict(row) for row in await RateRows(db).list(of)]

    show_list(node.run(work), ("rate_id", "currency", "mccmnc", "prefix", "price", "valid_from"), as_json)


@rate.command("remove")
@click.argument("rate_id", type=click.IntRange(1, 2**63 - 1))
@click.pass_obj
def rate_remove(node: Node, rate_id: int) -> None:
    """As if the entry had never been, from now on."""

    async def work(db: Database) -> bool:
        return bool(await RateRows(db).remove(rate_id, actor=NOBODY))

    if not node.run(work):
        refuse(f"there is no rate {rate_id}")
    click.echo(f"Rate {rate_id} removed.")


# --- the ledger


@click.command("ledger")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS, case_sensitive=False))
@_SINCE
@_UNTIL
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many rows.")
@json_option
@click.pass_obj
def customer_ledger(
    node: Node, name: str, kind: str | None, since: datetime | None, until: datetime | None, limit: int, as_json: bool
) -> None:
    """What changed the balance of a customer, newest first, and what is reserved of it."""

    async def work(db: Database) -> list[Entry]:
        number = (await _customer(db, name)).customer_id
        found: list[Entry] = await Ledger(db).entries(number, kind=kind, since=since, until=until, limit=limit)
        return found

    columns = ("created_at", "kind", "amount", "held", "messages", "reference", "balance", "reserved")
    show_list([asdict(e) for e in node.run(work)], columns, as_json)


@click.command("statement")
@click.argument("name")
@_SINCE
@_UNTIL
@click.option("--output", "-o", type=click.File("w", encoding="utf-8", lazy=False), default="-", help="A file instead of standard output.")
@click.pass_obj
def customer_statement(node: Node, name: str, since: datetime | None, until: datetime | None, output: Any) -> None:
    """The same as CSV, oldest first, in the customer's time zone."""
    from protei_bulk.channels.statements import statement_csv  # what it imports is not for every command

    async def work(db: Database) -> tuple[str, list[Entry]]:
        of = await _customer(db, name)
        return of.timezone, await Ledger(db).statement(of.customer_id, since, until)

    zone, entries = node.run(work)
    output.write(statement_csv(entries, zone))


@click.group()
def money() -> None:
    """Whether the books are right, and what is earned."""


@money.command("check")
@click.option("--messages", is_flag=True, help="Compare what is reserved with the messages, too: reads them all.")
@json_option
@click.pass_obj
def money_check(node: Node, messages: bool, as_json: bool) -> None:
    """Whether each balance is the sum of its ledger. Exit code 1 where one is not."""

    async def work(db: Database) -> list[Difference]:
        found: list[Difference] = await Ledger(db).check(messages=messages)
        return found

    wrong = node.run(work)
    if wrong or as_json:
        show_list([asdict(d) for d in wrong], ("customer_id", "name", "balance", "ledger", "reserved", "messages"), as_json)
    if wrong:
        refuse(f"{len(wrong)} customers whose ledger does not add up")
    if not as_json:
        click.echo("Every balance is the sum of its ledger.")


@money.command("margin")
@click.option("--since", type=_DAY, help="The first day (UTC); default: a week ago.")
@click.option("--until", type=_DAY, help="The last day, itself among them; default: today.")
@json_option
@click.pass_obj
def money_margin(node: Node, since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """Revenue and cost by day, customer, rule and SMSC; the margin where both are in a currency that [routing] knows."""
    today = datetime.now(UTC).date()
    first: date = since.date() if since else today - timedelta(days=7)
    last: date = until.date() if until else today

    async def work(db: Database) -> list[Margin]:
        found: list[Margin] = await Ledger(db).margin(first, last)
        return found

    routing = node.settings.routing
    worth = {**{r.currency: r.value for r in routing.rate}, routing.currency: Decimal(1)}
    rows = []
    for m in node.run(work):
        row = {**asdict(m), "cost_currency": routing.currency, "margin": None}
        if m.currency in worth:
            row["margin"] = m.revenue * worth[m.currency] - m.cost
        rows.append(row)
    columns = ("day", "customer", "route", "smsc_id", "segments", "revenue", "currency", "cost", "cost_currency", "margin")
    show_list(rows, columns, as_json)
