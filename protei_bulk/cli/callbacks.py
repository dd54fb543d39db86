"""`callback`: what is told to customers over HTTP; sending again, and the secrets it is signed with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
from attrs import asdict

from protei_bulk.access import secrets
from protei_bulk.callbacks.signing import account_secret, shown_secret
from protei_bulk.cli.node import Node, refuse
from protei_bulk.cli.output import json_option, show_json, show_list
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.callbacks import CallbackOutbox, CallbackSecrets, SecretVersion
from protei_bulk.store.pool import Database

STATUSES = ("PENDING", "PARKED", "DELIVERED")
COLUMNS = ("callback_id", "user_id", "message_id", "status", "attempts", "created_at", "last_error", "url")


@click.group()
def callback() -> None:
    """Delivery reports and messages from mobiles that go to customers' addresses."""


async def _user_id(db: Database, name: str | None) -> int | None:
    if name is None:
        return None
    found = await Accounts(db).by_username(name)
    if found is None:
        refuse(f"there is no user {name}")
    return found.account.user_id


@callback.command("list")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="Only these.")
@click.option("--user", metavar="NAME", help="Only this user's.")
@click.option("--message", metavar="ID", help="Only those of one message.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@json_option
@click.pass_obj
def callback_list(node: Node, status: str | None, user: str | None, message: str | None, limit: int, as_json: bool) -> None:
    """The newest ones: delivered (for callbacks.history_hours), waiting, or given up (PARKED)."""

    async def work(db: Database) -> list[dict[str, Any]]:
        wanted = (message or "").replace("\0", "") or None
        found = await CallbackOutbox(db).listed(limit, user_id=await _user_id(db, user), status=status, message_id=wanted)
        return [asdict(row) for row in found]

    rows = node.run(work)
    for row in rows:
        for name in ("created_at", "next_attempt_at", "delivered_at"):
            row[name] = None if row[name] is None else datetime.fromtimestamp(row[name], UTC).isoformat(timespec="seconds")
    show_list(rows, COLUMNS, as_json)


@callback.command("replay")
@click.argument("callback_ids", metavar="[ID]...", nargs=-1, type=click.IntRange(1, 2**63 - 1))
@click.option("--user", metavar="NAME", help="All of this user that are given up.")
@click.option("--all", "everything", is_flag=True, help="All that are given up.")
@click.pass_obj
def callback_replay(node: Node, callback_ids: tuple[int, ...], user: str | None, everything: bool) -> None:
    """Send again: these (given up or delivered), or all that are given up."""
    if not callback_ids and not user and not everything:
        raise click.UsageError("name callbacks, or --user, or --all")

    async def work(db: Database) -> list[int]:
        user_id = await _user_id(db, user)
        return await CallbackOutbox(db).replay(callback_ids or None, user_id=user_id, delivered=bool(callback_ids))

    sent = node.run(work)
    missing = sorted(set(callback_ids) - set(sent))
    if missing:
        refuse(f"{len(sent)} are sent again; not there, or waiting already: {', '.join(map(str, missing))}")
    click.echo(f"{len(sent)} callbacks are sent again.")


@callback.command("secret")
@click.argument("user", metavar="[NAME]", required=False)
@click.option("--rotate", is_flag=True, help="Make a new one.")
@click.option("--overlap-hours", type=click.IntRange(0, 720), default=24, show_default=True, help="How long the old one counts too.")
@json_option
@click.pass_obj
def callback_secret(node: Node, user: str | None, rotate: bool, overlap_hours: int, as_json: bool) -> None:
    """What an account's callbacks are signed with (Standard Webhooks).

    Without a name: that of messages from mobiles which belong to no user.
    """
    path = node.settings.node.state_dir / secrets.FILE_NAME
    try:
        if not path.is_file():
            refuse(f"{path} is not there: run this on the node itself")
        secret = secrets.load_or_create(node.settings.node.state_dir)
    except (secrets.SecretError, OSError) as error:
        refuse(str(error))

    async def work(db: Database) -> tuple[int, SecretVersion]:
        user_id = await _user_id(db, user) or 0
        rows = CallbackSecrets(db)
        return user_id, await (rows.rotate(user_id, overlap_hours * 3600.0) if rotate else rows.current(user_id))

    user_id, found = node.run(work)
    if not as_json:
        click.echo(shown_secret(account_secret(secret, user_id, found.version)))
        return
    until = found.previous_until
    show_json(
        {
            "secret": shown_secret(account_secret(secret, user_id, found.version)),
            "version": found.version,
            "previous_secret": None if until is None else shown_secret(account_secret(secret, user_id, found.version - 1)),
            "previous_until": None if until is None else datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds"),
        }
    )
