"""`trace`: PDUs of one account or connector, in the nodes' logs."""

from __future__ import annotations

from typing import Any

import click
from attrs import asdict

from protei_bulk.cli.node import Node, refuse
from protei_bulk.cli.output import json_option, show_list
from protei_bulk.store.pool import Database
from protei_bulk.store.traces import TraceTable

_user = click.option("--user", help="The account.")
_smsc = click.option("--smsc", help="The connector's id.")


@click.group()
def trace() -> None:
    """PDUs of an account or a connector, as lines in the nodes' logs: bodies and passwords by their length only."""


@trace.command("on")
@_user
@_smsc
@click.option("--minutes", type=click.IntRange(1, 1440), default=10, show_default=True, help="It ends by itself.")
@click.pass_obj
def trace_on(node: Node, user: str | None, smsc: str | None, minutes: int) -> None:
    """Begin, on every node of this database."""
    kind, name = _which(user, smsc)
    if smsc is not None and smsc not in [c.id for c in node.settings.smsc]:
        refuse(f"there is no [[smsc]] {smsc}")

    async def work(db: Database) -> bool:
        return await TraceTable(db).on(kind, name, minutes)

    if not node.run(work):
        refuse(f"there is no user {name}")
    click.echo(f"{name} is traced for {minutes} minutes: see the nodes' logs.")


@trace.command("off")
@_user
@_smsc
@click.pass_obj
def trace_off(node: Node, user: str | None, smsc: str | None) -> None:
    """End one, or all of them."""
    kind, name = (None, None) if user is None and smsc is None else _which(user, smsc)

    async def work(db: Database) -> int:
        return await TraceTable(db).off(kind, name)

    count = node.run(work)
    if name is not None and not count:
        refuse(f"{name} is not traced")
    click.echo(f"{count} ended.")


@trace.command("list")
@json_option
@click.pass_obj
def trace_list(node: Node, as_json: bool) -> None:
    """What is traced now."""

    async def work(db: Database) -> list[dict[str, Any]]:
        return [{**asdict(row), "seconds": round(row.seconds)} for row in await TraceTable(db).active()]

    show_list(node.run(work), ("kind", "name", "until", "seconds"), as_json)


def _which(user: str | None, smsc: str | None) -> tuple[str, str]:
    if (user is None) == (smsc is None):
        raise click.UsageError("give --user NAME or --smsc ID")
    name = user if smsc is None else smsc
    assert name is not None
    if "\0" in name or len(name) > 100:
        raise click.UsageError("a name has at most 100 characters")
    return ("USER", name) if smsc is None else ("SMSC", name)
