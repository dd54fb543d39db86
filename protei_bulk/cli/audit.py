"""`audit`: what was done and tried, and every HTTP request."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import click
from attrs import asdict

from protei_bulk.cli.node import Node, refuse
from protei_bulk.cli.output import json_option, show_list
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.audit_reads import AuditReads
from protei_bulk.store.pool import Database

_SPAN = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class When(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A time, or how long ago: `2h`, `7d`."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        span = _SPAN.fullmatch(value)
        try:
            if span:
                return datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail("expected a time such as 2025-01-20T10:00:00, or 30m, 2h, 7d for so long ago", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Address(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """An address or a network."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(ip_network(value, strict=False))
        except ValueError:
            self.fail("expected an address, or a network such as 10.0.0.0/8", param, ctx)


def _common(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        json_option,
        click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many rows."),
        click.option("--before", help="Go on where a list ended: TIME/NUMBER of its last row, as --json has them."),
        click.option("--until", type=When(), help="Up to a time, not including it."),
        click.option("--since", type=When(), help="From a time on; UTC where it has no offset."),
        click.option("--ip", "ip_address", type=Address(), help="From an address, or a network."),
        click.option("--user", "username", help="About this user."),
    ):
        command = option(command)
    return command


@click.group()
def audit() -> None:
    """Who did what, from where, and how it ended. Newest first."""


@audit.command("events")
@click.option("--action", help="Such as LOGIN_WEB, BIND_SMPP, USER_SET.")
@click.option("--result", type=click.Choice(("SUCCESS", "FAILURE"), case_sensitive=False))
@click.option("--actor", help="Done by this user.")
@_common
@click.pass_obj
def events(node: Node, /, actor: str | None, as_json: bool, limit: int, **asked: Any) -> None:
    """Logins and other attempts, changes of accounts and permissions, sessions, callbacks."""

    async def work(db: Database) -> list[dict[str, Any]]:
        asked["actor_id"] = await _number(db, actor)
        return [asdict(row) for row in await AuditReads(db).events(limit=limit, **await _resolved(db, asked))]

    columns = ("created_at", "action", "result", "username", "actor_id", "ip_address", "details")
    show_list(_run(node, work), columns, as_json)


@audit.command("requests")
@click.option("--endpoint", help="Such as /api/sendBulk.")
@click.option("--method")
@click.option("--status", type=click.IntRange(100, 599))
@click.option("--errors", is_flag=True, help="Those answered with 400 or more only.")
@_common
@click.pass_obj
def requests(node: Node, /, as_json: bool, limit: int, **asked: Any) -> None:
    """Every request to the HTTP API."""

    async def work(db: Database) -> list[dict[str, Any]]:
        return [asdict(row) for row in await AuditReads(db).requests(limit=limit, **await _resolved(db, asked))]

    columns = (
        "created_at", "username", "method", "endpoint", "response_status", "response_time_ms", "auth_type", "ip_address",
        "error_message",
    )  # fmt: skip
    show_list(_run(node, work), columns, as_json)


class _NoSuchUser(Exception):
    pass


def _run(node: Node, work: Callable[[Database], Awaitable[list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    try:
        return node.run(work)
    except _NoSuchUser as error:
        refuse(f"there is no user {error}")


async def _resolved(db: Database, asked: dict[str, Any]) -> dict[str, Any]:
    asked["user_id"] = await _number(db, asked.pop("username"))
    before = asked.pop("before")
    if before is not None:
        moment, slash, number = before.rpartition("/")
        if not slash or not number.isdecimal():
            raise click.UsageError("--before: expected TIME/NUMBER")
        asked["before"] = (When().convert(moment, None, None), int(number))
    return asked


async def _number(db: Database, username: str | None) -> int | None:
    if username is None:
        return None
    found = await Accounts(db).by_username(username)
    if found is None:
        raise _NoSuchUser(username)
    return found.account.user_id
