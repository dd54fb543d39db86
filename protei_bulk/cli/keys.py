"""`key`: what the tokens of logins are signed with."""

from __future__ import annotations

import os
from typing import Any

import click
from attrs import asdict

from protei_bulk.access.keys import new_key
from protei_bulk.access.secrets import Seal, SecretError, derive, load
from protei_bulk.access.service import KEYS_PURPOSE
from protei_bulk.cli.node import Node, refuse
from protei_bulk.cli.output import json_option, show_list
from protei_bulk.store.keys import SigningKeys
from protei_bulk.store.pool import Database


@click.group()
def key() -> None:
    """Keys that tokens are signed with, for all nodes that share the database."""


@key.command("list")
@json_option
@click.pass_obj
def key_list(node: Node, as_json: bool) -> None:
    """Those in use and those that were."""

    async def work(db: Database) -> list[dict[str, Any]]:
        return [asdict(row) for row in await SigningKeys(db).rows()]

    show_list(node.run(work), ("kid", "created_at", "expires_at"), as_json)


@key.command("rotate")
@click.option("--now", is_flag=True, help="The old ones are worth nothing from now on: everybody logs in anew.")
@click.pass_obj
def key_rotate(node: Node, now: bool) -> None:
    """Sign with a new key. Old ones verify until the last login that they signed is over."""
    try:
        secret = load(node.settings.node.state_dir)
    except SecretError as error:
        refuse(str(error))
    kid, sealed = new_key(Seal(derive(secret, KEYS_PURPOSE)), os.urandom)

    async def work(db: Database) -> None:
        await SigningKeys(db).rotate(kid, sealed, 0.0 if now else node.settings.access.session_seconds)

    node.run(work)
    click.echo(f"Tokens are signed with {kid} now.")
