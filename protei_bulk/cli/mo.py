"""`mo`: messages from mobiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from attrs import asdict

from protei_bulk.callbacks.payload import mo_payload
from protei_bulk.cli.node import Node, refuse
from protei_bulk.cli.output import json_option, show_json, show_list, show_record
from protei_bulk.inbound.message import Mo
from protei_bulk.settings.rules import Refused, WebAddress
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.inbound import InboundStore
from protei_bulk.store.pool import Database

STATUSES = ("ROUTED", "DELIVERED", "REFUSED", "PARKED", "UNROUTED")


@click.group()
def mo() -> None:
    """Messages from mobiles."""


@mo.command("list")
@click.option("--unrouted", is_flag=True, help="Only those for nobody: the same as --status UNROUTED.")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="Only those of this status.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
@click.pass_obj
def mo_list(node: Node, unrouted: bool, status: str | None, limit: int, as_json: bool) -> None:
    """The newest ones."""

    async def work(db: Database) -> list[dict[str, Any]]:
        found = await InboundStore(db, db).listed(limit, "UNROUTED" if unrouted else status)
        return [asdict(row) for row in found]

    columns = ("message_id", "status", "smsc_id", "from_addr", "to_addr", "username", "rule", "received_at", "text")
    show_list(node.run(work), columns, as_json)


@mo.command("show")
@click.argument("message_id", metavar="ID")
@json_option
@click.pass_obj
def mo_show(node: Node, message_id: str, as_json: bool) -> None:
    """Everything that is known of one."""

    async def work(db: Database) -> dict[str, Any] | None:
        return await InboundStore(db, db).show(message_id.replace("\0", ""))

    found = node.run(work)
    if found is None:
        refuse(f"there is no message {message_id}")
    (show_json if as_json else show_record)(found)


@mo.command("route")
@click.argument("message_id", metavar="ID")
@click.option("--user", help="Whose ESME gets it; with --url, whose key signs it.")
@click.option("--url", help="Where it is posted.")
@click.pass_obj
def mo_route(node: Node, message_id: str, user: str | None, url: str | None) -> None:
    """Send one to a user's ESME or to a URL, whatever became of it before.

    What still waits for its former receiver is taken back. A node whose ESME is bound takes it within five seconds.
    """
    if user is None and url is None:
        raise click.UsageError("expected --user, --url, or both")
    if url is not None:
        try:
            url = WebAddress().read(url, Path()) or None
        except Refused as error:
            raise click.UsageError(f"--url: expected {error}") from None

    async def work(db: Database) -> str | None:
        """Why not, or None."""
        store = InboundStore(db, db)
        user_id = None
        if user is not None:
            known = await Accounts(db).by_username(user)
            if known is None:
                return f"there is no user {user}"
            if url is None and not known.account.may_smpp:
                return f"user {user} may not use SMPP"
            user_id = known.account.user_id
        found = await store.show(message_id.replace("\0", ""))
        if found is None or not await store.reroute(found["message_id"], user_id, url, mo_payload(_message(found)) if url else None):
            return f"there is no message {message_id}"
        return None

    problem = node.run(work)
    if problem is not None:
        refuse(problem)
    click.echo(f"{message_id} goes to {url or user}.")


def _message(row: dict[str, Any]) -> Mo:
    m = Mo()
    m.id, m.smsc, m.source, m.dest, m.text = row["message_id"], row["smsc_id"], row["from_addr"], row["to_addr"], row["message_text"]
    m.body, m.udh = bytes.fromhex(row["payload"]), bytes.fromhex(row["udh"] or "")
    m.data_coding, m.esm_class = row["data_coding"], row["esm_class"]
    m.parts, m.missing, m.received = row["parts"], row["missing"], row["received"]
    return m
