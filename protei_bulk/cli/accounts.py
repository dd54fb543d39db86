"""`customer`, `user` and `api-key`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from attrs import asdict

from protei_bulk.access import fields
from protei_bulk.access.accounts import Credentials
from protei_bulk.access.password_policy import fault
from protei_bulk.access.passwords import password_hashes
from protei_bulk.access.ports import NOBODY
from protei_bulk.access.proof import api_key_hash
from protei_bulk.access.service import new_api_key
from protei_bulk.cli.node import Node, refuse
from protei_bulk.cli.output import json_option, show_json, show_list, show_record
from protei_bulk.model.charging import POLICIES
from protei_bulk.model.permissions import ROLES
from protei_bulk.store.accounts import Accounts, NameTaken, NoSuchCustomer
from protei_bulk.store.administration import Administration, StillInUse
from protei_bulk.store.pool import Database

NO_LIMIT = "0: no limit"


@click.group()
def customer() -> None:
    """Those who pay: each has a balance and users."""


@customer.command("add")
@click.argument("name")
@click.option("--balance", default="0", help="Prepaid amount, e.g. 25000.50.")
@click.option("--credit-limit", default="0", help="How far the balance may fall below zero.")
@click.option("--currency", default="USD", show_default=True)
@click.option(
    "--timezone", default="UTC", show_default=True, help="Of its users, unless they have their own."
)
@click.option("--charge-on", type=click.Choice(POLICIES, case_sensitive=False), default="ACCEPT", show_default=True,
              help="When a message's price is reserved no more, but spent.")  # fmt: skip
@click.pass_obj
def customer_add(
    node: Node, name: str, balance: str, credit_limit: str, currency: str, timezone: str, charge_on: str
) -> None:
    """Add a customer."""
    given = {
        "name": name, "balance": balance, "credit_limit": credit_limit, "currency": currency,
        "timezone": timezone, "charge_on": charge_on,
    }  # fmt: skip
    values = _customer_fields(given)
    name = values.pop("name")

    async def work(db: Database) -> int:
        return await _accounts(db).create_customer(name, values)

    try:
        number = node.run(work)
    except NameTaken:
        refuse(f"there is a customer {name} already")
    click.echo(f"Customer {name} added (id {number}).")


@customer.command("set")
@click.argument("name")
@click.argument("assignments", metavar="FIELD=VALUE...", nargs=-1, required=True)
@click.pass_obj
def customer_set(node: Node, name: str, assignments: Sequence[str]) -> None:
    """Change name, status, balance, credit_limit, currency, timezone or charge_on."""
    values = _customer_fields(_pairs(assignments))

    async def work(db: Database) -> bool:
        return await _accounts(db).set_customer(name, values)

    try:
        found = node.run(work)
    except NameTaken:
        refuse(f"there is a customer {values['name']} already")
    if not found:
        refuse(f"there is no customer {name}")
    click.echo(f"Customer {name} changed.")


@customer.command("top-up", context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("amount")
@click.pass_obj
def customer_top_up(node: Node, name: str, amount: str) -> None:
    """Add AMOUNT to the balance; a negative one takes from it."""
    try:
        money = fields.money(amount)
    except fields.FieldError as error:
        raise click.UsageError(f"AMOUNT: {error}") from None

    async def work(db: Database) -> Any:
        return await _accounts(db).top_up(name, money)

    balance = node.run(work)
    if balance is None:
        refuse(f"there is no customer {name}")
    click.echo(f"Customer {name} has a balance of {balance:f} now.")


@customer.command("delete")
@click.argument("name")
@click.pass_obj
def customer_delete(node: Node, name: str) -> None:
    """One without users. If it had some, it stays in the books, and its name stays taken."""

    async def work(db: Database) -> bool | None:
        ids = [c.customer_id for c in await _accounts(db).customers() if c.name == name]
        return await Administration(db).delete_customer(ids[0], actor=NOBODY) if ids else None

    try:
        gone = node.run(work)
    except StillInUse:
        refuse(f"customer {name} has users: delete them first")
    _deleted(gone, f"customer {name}")


@customer.command("list")
@json_option
@click.pass_obj
def customer_list(node: Node, as_json: bool) -> None:
    """All customers."""

    async def work(db: Database) -> list[dict[str, Any]]:
        return [asdict(c) for c in await _accounts(db).customers()]

    columns = ("customer_id", "name", "status", "balance", "credit_limit", "currency", "timezone")
    show_list(node.run(work), columns, as_json)


@click.group()
def user() -> None:
    """Those who send: one account for SMPP, HTTP API and portal."""


@user.command("add")
@click.argument("name")
@click.option("--password", help="'-' reads it from standard input; without the option it is asked for.")
@click.option("--customer", "customer_name", required=True, help="Whose user it is.")
@click.option(
    "--role", type=click.Choice(ROLES, case_sensitive=False), default="SENDER", show_default=True
)
@click.option("--sender", "senders", multiple=True, help="An allowed sender ID; repeat for more; none: all.")
@click.option("--smsc", "smscs", multiple=True, help="An allowed SMSC; repeat for more; none: all.")
@click.option("--max-tps", type=click.IntRange(0), help=f"Messages a second ({NO_LIMIT}).")
@click.option("--max-per-day", type=click.IntRange(0), help=f"Messages a day ({NO_LIMIT}); default 500000.")
@click.option(
    "--max-binds", type=click.IntRange(0), help="SMPP sessions at a time (0: as the node's setting)."
)
@click.option(
    "--bind-type",
    type=click.Choice(fields.BIND_TYPES, case_sensitive=False),
    default="BOTH",
    show_default=True,
)
@click.option(
    "--allowed-ip", "allowed_ips", multiple=True, help="Address or network; repeat for more; none: all."
)
@click.option("--timezone", help="Default: the customer's.")
@click.option("--email")
@click.pass_obj
def user_add(
    node: Node,
    name: str,
    password: str | None,
    customer_name: str,
    role: str,
    senders: Sequence[str],
    smscs: Sequence[str],
    max_tps: int | None,
    max_per_day: int | None,
    max_binds: int | None,
    bind_type: str,
    allowed_ips: Sequence[str],
    timezone: str | None,
    email: str | None,
) -> None:
    """Add a user of a customer."""
    given: dict[str, object] = {
        "role": role, "bind_type": bind_type, "allowed_sender_ids": list(senders), "allowed_smsc": list(smscs),
        "allowed_ips": list(allowed_ips),
    }  # fmt: skip
    optional = {
        "max_tps": max_tps, "max_msg_per_day": max_per_day, "max_binds": max_binds, "timezone": timezone,
        "email": email,
    }  # fmt: skip
    given.update({field: value for field, value in optional.items() if value is not None})
    try:
        name = fields.username(name)
    except fields.FieldError as error:
        raise click.UsageError(f"NAME: {error}") from None
    values = _user_fields({**given, "password": _password(password)}, name)
    hashes = password_hashes(values.pop("password"), node.settings.access.bcrypt_cost)
    hashed = str(hashes.pop("password_hash"))
    values.update(hashes)

    async def work(db: Database) -> int:
        return await _accounts(db).create_user(name, customer_name, hashed, values)

    try:
        number = node.run(work)
    except NameTaken:
        refuse(f"there is a user {name} already")
    except NoSuchCustomer:
        refuse(f"there is no customer {customer_name}")
    click.echo(f"User {name} added (id {number}).")


@user.command("set")
@click.argument("name")
@click.argument("assignments", metavar="FIELD=VALUE...", nargs=-1, required=True)
@click.pass_obj
def user_set(node: Node, name: str, assignments: Sequence[str]) -> None:
    """Change a user: password, role, status, bind_type, can_use_smpp, max_tps, allowed_ips and more.

    Lists are written with commas (allowed_sender_ids=MyCompany,MyBrand), an empty one restricts
    nothing. password=- reads it from standard input.
    """
    pairs = _pairs(assignments)
    if pairs.get("password") == "-":
        pairs["password"] = _password("-")
    values = _user_fields(pairs, name)
    if "password" in values:
        values.update(password_hashes(values.pop("password"), node.settings.access.bcrypt_cost))

    async def work(db: Database) -> bool:
        return await _accounts(db).set_user(name, values)

    if not node.run(work):
        refuse(f"there is no user {name}")
    click.echo(f"User {name} changed.")


@user.command("delete")
@click.argument("name")
@click.pass_obj
def user_delete(node: Node, name: str) -> None:
    """Nobody gets in with it any more. One with traffic stays in the books, and its name stays taken."""

    async def work(db: Database) -> bool | None:
        found = await _accounts(db).by_username(name)
        if found is None:
            return None
        return await Administration(db).delete_user(found.account.user_id, actor=NOBODY, customer_id=None)

    _deleted(node.run(work), f"user {name}")


@user.command("disable-2fa")
@click.argument("name")
@click.pass_obj
def user_disable_2fa(node: Node, name: str) -> None:
    """For somebody who has lost authenticator and recovery codes."""

    async def work(db: Database) -> bool:
        accounts = _accounts(db)
        found = await accounts.by_username(name)
        return found is not None and await accounts.set_two_factor(found.account.user_id, None, False)

    if not node.run(work):
        refuse(f"there is no user {name}")
    click.echo(f"User {name} logs in with the password alone now.")


@user.command("show")
@click.argument("name")
@json_option
@click.pass_obj
def user_show(node: Node, name: str, as_json: bool) -> None:
    """Everything about a user but its secrets."""

    async def work(db: Database) -> Credentials | None:
        return await _accounts(db).by_username(name)

    found = node.run(work)
    if found is None:
        refuse(f"there is no user {name}")
    (show_json if as_json else show_record)(_shown(found))


@user.command("list")
@click.option("--customer", "customer_name", help="Of this customer only.")
@json_option
@click.pass_obj
def user_list(node: Node, customer_name: str | None, as_json: bool) -> None:
    """All users."""

    async def work(db: Database) -> list[dict[str, Any]]:
        return [_shown(found) for found in await _accounts(db).users(customer_name)]

    columns = ("user_id", "username", "customer", "role", "status", "bind_type", "max_tps", "max_msg_per_day")
    show_list(node.run(work), (*columns, "allowed_sender_ids", "api_key"), as_json)


@click.group("api-key")
def api_key() -> None:
    """Keys for the HTTP API: one a user, shown once."""


@api_key.command("new")
@click.argument("name")
@click.pass_obj
def api_key_new(node: Node, name: str) -> None:
    """Make a new key, in place of any other, and print it alone."""
    key = new_api_key()
    _set_key(node, name, api_key_hash(key))
    click.echo(key)


@api_key.command("revoke")
@click.argument("name")
@click.pass_obj
def api_key_revoke(node: Node, name: str) -> None:
    """Make the user's key worthless."""
    _set_key(node, name, None)
    click.echo(f"User {name} has no API key now.")


def _deleted(gone: bool | None, what: str) -> None:
    if gone is None:
        refuse(f"there is no {what}")
    click.echo(f"{what.capitalize()} is gone." if gone else f"{what.capitalize()} is deleted; it stays in the books.")


def _set_key(node: Node, name: str, key_hash: str | None) -> None:
    async def work(db: Database) -> bool:
        accounts = _accounts(db)
        found = await accounts.by_username(name)
        return found is not None and await accounts.set_api_key_hash(found.account.user_id, key_hash)

    if not node.run(work):
        refuse(f"there is no user {name}")


def _accounts(db: Database) -> Accounts:
    return Accounts(db, source="cli")


def _shown(found: Credentials) -> dict[str, Any]:
    account = found.account
    shown = asdict(account, recurse=False)
    shown["allowed_ips"] = [
        str(n) if n.num_addresses > 1 else str(n.network_address) for n in account.allowed_ips
    ]
    shown["tags"] = list(account.tags)
    shown["allowed_smsc"], shown["allowed_sender_ids"] = (
        list(account.allowed_smsc),
        list(account.allowed_sender_ids),
    )
    shown["customer"] = found.customer_name
    shown["api_key"] = found.api_key_hash is not None
    shown["email"], shown["dlr_callback_url"] = found.email, found.dlr_callback_url
    return shown


def _pairs(assignments: Sequence[str]) -> dict[str, object]:
    pairs: dict[str, object] = {}
    for text in assignments:
        field, sign, value = text.partition("=")
        if not sign:
            raise click.UsageError(f"{text}: expected FIELD=VALUE")
        if field in pairs:
            raise click.UsageError(f"{field}: given twice")
        pairs[field] = value
    return pairs


def _user_fields(values: Mapping[str, object], username: str) -> dict[str, Any]:
    try:
        found = fields.user_fields(values)
    except fields.FieldError as error:
        raise click.UsageError(str(error)) from None
    why = fault(found["password"], username) if "password" in found else None
    if why:
        raise click.UsageError(f"password: {why}")
    return found


def _customer_fields(values: Mapping[str, object]) -> dict[str, Any]:
    try:
        return fields.customer_fields(values)
    except fields.FieldError as error:
        raise click.UsageError(str(error)) from None


def _password(given: str | None) -> str:
    if given == "-":
        return sys.stdin.readline().rstrip("\r\n")
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise click.UsageError("give --password P, or --password - to read it from standard input")
    asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked
