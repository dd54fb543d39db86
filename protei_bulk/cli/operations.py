"""`db`, `session`, `smsc`, `queue`, `message` and `config`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import click
import psycopg2
from attrs import asdict

from protei_bulk.access.ports import NOBODY
from protei_bulk.cli.node import Node, refuse
from protei_bulk.cli.output import json_option, show_json, show_list, show_record
from protei_bulk.routing.quality import Quality
from protei_bulk.settings import Settings, SettingsError, load
from protei_bulk.store.inspect import Inspection, QueueDepth
from protei_bulk.store.leases import holders
from protei_bulk.store.migrate import MigrationError, migrate
from protei_bulk.store.pool import Database
from protei_bulk.store.rehoming import RehomingStore, SmscState, best_state
from protei_bulk.store.sessions import SmppSessions
from protei_bulk.store.smscs import MOST_TPS, SmscRows


@click.group()
def db() -> None:
    """The database."""


@db.command("migrate")
@click.pass_obj
def db_migrate(node: Node) -> None:
    """Bring the database to the schema of this version."""
    try:
        applied = migrate(node.dsn())
    except MigrationError as error:
        refuse(str(error))
    except psycopg2.OperationalError as error:
        refuse(f"the database cannot be reached: {str(error).strip().splitlines()[0]}")
    except psycopg2.Error as error:
        refuse(f"the database refused: {str(error).strip()}")
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("The schema is up to date.")


@click.group()
def session() -> None:
    """SMPP sessions of customers."""


@session.command("list")
@json_option
@click.pass_obj
def session_list(node: Node, as_json: bool) -> None:
    """Who is bound, on all nodes of this database."""

    async def work(db: Database) -> list[dict[str, Any]]:
        rows = [asdict(row) for row in await SmppSessions(db).bound()]
        for row in rows:
            del row["session_token"]
        return rows

    columns = ("session_id", "system_id", "bind_type", "remote_ip", "status", "current_tps", "messages_sent")
    show_list(node.run(work), (*columns, "bound_at"), as_json)


@session.command("disconnect")
@click.argument("session_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.pass_obj
def session_disconnect(node: Node, session_id: int) -> None:
    """End a session, whichever node holds it."""

    async def work(db: Database) -> bool:
        return await SmppSessions(db).request_disconnect_id(session_id)

    if not node.run(work):
        refuse(f"no session {session_id} is bound")
    click.echo(f"Session {session_id} is being disconnected.")


@click.group()
def smsc() -> None:
    """Connectors to SMSCs."""


@smsc.command("list")
@json_option
@click.pass_obj
def smsc_list(node: Node, as_json: bool) -> None:
    """The connectors of the configuration: how they do, what waits for each in the database, and the node that runs it.

    BOUND, DOWN, DEGRADED (it fails too often, and is left alone for a while), PROBING (it is being tried with a few messages), PAUSED.
    """

    async def work(db: Database) -> tuple[list[QueueDepth], dict[str, str], list[SmscState]]:
        nodes = {holder.smsc: holder.node for holder in await holders(db)}
        return await Inspection(db).queue(), nodes, await RehomingStore(db, -1).states()

    found, nodes, states = node.run(work)
    quality = Quality(node.settings.routing.delivery_half_life, node.settings.routing.delivery_least)
    quality.hear((s.smsc, s.delivered, s.finished, s.age) for s in states)
    quality.fold(1.0)
    depths = {depth.smsc_id: depth for depth in found}
    rows = []
    for connector in node.settings.smsc:
        depth = depths.get(connector.id)
        state = best_state(states, connector.id)
        share = quality.share(connector.id)
        rows.append(
            {
                "id": connector.id, "state": state.state if state is not None else None,
                "since": datetime.fromtimestamp(state.since, UTC) if state is not None else None,
                "address": f"{connector.host}:{connector.port}", "tls": connector.tls,
                "system_id": connector.system_id, "bind": connector.bind, "binds": connector.binds,
                "window": connector.window, "max_tps": connector.max_tps,
                "queued": depth.depth if depth else 0, "node": nodes.get(connector.id, ""),
                "delivered_percent": None if share is None else round(100 * share, 1),
            }
        )  # fmt: skip
    show_list(rows, list(rows[0]) if rows else ("id", "address"), as_json)


@smsc.command("pause")
@click.argument("id")
@click.option("--reason", default="", help="What others are told.")
@click.pass_obj
def smsc_pause(node: Node, id: str, reason: str) -> None:
    """Send nothing more to an SMSC, on whichever node runs it, until `smsc resume`. Its binds stay."""
    if not _order(node, id, lambda rows: rows.pause(id, reason, actor=NOBODY)):
        refuse(f"{id} is paused already")
    click.echo(f"{id} is paused.")


@smsc.command("resume")
@click.argument("id")
@click.pass_obj
def smsc_resume(node: Node, id: str) -> None:
    """Let an SMSC that is paused go on."""
    if not _order(node, id, lambda rows: rows.resume(id, actor=NOBODY)):
        refuse(f"{id} is not paused")
    click.echo(f"{id} goes on.")


@smsc.command("rate")
@click.argument("id")
@click.argument("max_tps", type=click.IntRange(0, MOST_TPS), required=False)
@click.pass_obj
def smsc_rate(node: Node, id: str, max_tps: int | None) -> None:
    """Another max_tps than the configuration's, 0 for no limit; without a number that one again."""
    _order(node, id, lambda rows: rows.rate(id, max_tps, actor=NOBODY))
    click.echo(f"{id}: {'as configured' if max_tps is None else max_tps or 'no limit'}.")


@smsc.command("reconnect")
@click.argument("id")
@click.pass_obj
def smsc_reconnect(node: Node, id: str) -> None:
    """End the binds of an SMSC once their answers are there, and make new ones."""
    _order(node, id, lambda rows: rows.reconnect(id, actor=NOBODY))
    click.echo(f"{id} binds anew.")


def _order(node: Node, id: str, give: Callable[[SmscRows], Awaitable[bool]]) -> bool:
    if id not in [c.id for c in node.settings.smsc]:
        refuse(f"there is no [[smsc]] {id}")

    async def work(db: Database) -> bool:
        return await give(SmscRows(db))

    return node.run(work)


@click.command()
@json_option
@click.pass_obj
def queue(node: Node, as_json: bool) -> None:
    """What waits in the database, by SMSC: overflow, retries, schedules."""
    columns = ("smsc_id", "depth", "scheduled", "claimed", "oldest_seconds")
    show_list([asdict(depth) for depth in _queue(node)], columns, as_json)


#: of a message, what somebody in a hurry looks for; the rest comes as the database has it
_FIRST = (
    "message_id", "status", "error_code", "username", "customer", "from_addr", "to_addr", "message_text", "segments", "price", "charge",
    "route", "smsc_id", "smpp_msg_id", "attempts", "submitted_at", "sent_at", "delivered_at", "ended_at", "valid_until", "dlr_status",
)  # fmt: skip


@click.group()
def message() -> None:
    """Single messages."""


@message.command("show")
@click.argument("message_id", metavar="ID")
@json_option
@click.pass_obj
def message_show(node: Node, message_id: str, as_json: bool) -> None:
    """Everything that is known of one message."""

    async def work(db: Database) -> dict[str, Any] | None:
        return await Inspection(db).message(message_id.replace("\0", ""))

    found = node.run(work)
    if found is None:
        refuse(f"there is no message {message_id}")
    if as_json:
        show_json(found)
    else:
        show_record(found, _FIRST)


@click.group("config")
def configuration() -> None:
    """The configuration file."""


@configuration.command("check")
@click.pass_obj
def config_check(node: Node) -> None:
    """Say OK, or everything that is wrong with it."""
    try:
        problems = _missing_files(load(node.config))
    except SettingsError as error:
        problems = error.problems
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise SystemExit(1)
    click.echo("OK")


def _missing_files(settings: Settings) -> list[str]:
    """What the daemon would only find out when it starts."""
    problems = []
    files = {
        "smpp.tls.certificate": settings.smpp.tls.certificate,
        "smpp.tls.private_key": settings.smpp.tls.private_key,
        "smpp.tls.client_ca": settings.smpp.tls.client_ca,
        "http.tls.certificate": settings.http.tls.certificate,
        "http.tls.private_key": settings.http.tls.private_key,
    }
    for number, smsc in enumerate(settings.smsc, 1):
        for key in ("tls_ca", "tls_certificate", "tls_private_key"):
            files[f"smsc.{number}.{key}"] = getattr(smsc, key)
    for name, path in files.items():
        if path is not None and not path.is_file():
            problems.append(f"{name}: {path} is not a file")
    return problems


def _queue(node: Node) -> list[QueueDepth]:
    async def work(db: Database) -> list[QueueDepth]:
        return await Inspection(db).queue()

    return node.run(work)
