"""`protei-bulk -c FILE COMMAND`: administration of a running node.

Exit codes: 0 done, 1 refused (the reason is on standard error), 2 wrong usage.
"""

from __future__ import annotations

from pathlib import Path

import click

from protei_bulk import __version__
from protei_bulk.cli import (
    accounts,
    audit,
    callbacks,
    guards,
    keys,
    mo,
    money,
    numbers,
    operations,
    routes,
    trace,
)
from protei_bulk.cli.node import Node

DEFAULT_CONFIG = Path("/etc/protei-bulk/protei-bulk.toml")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    show_default=True,
    help="The node's configuration file.",
)
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context, config: Path) -> None:
    """Administer a protei-bulk node: its customers, users, sessions and queues."""
    if context.obj is None:
        context.obj = Node(config)


for command in (
    accounts.customer,
    accounts.user,
    accounts.api_key,
    operations.db,
    operations.session,
    operations.smsc,
    operations.queue,
    operations.message,
    callbacks.callback,
    mo.mo,
    routes.route,
    routes.cost,
    numbers.numbers,
    operations.configuration,
    trace.trace,
    audit.audit,
    keys.key,
    guards.guard,
    guards.blacklist,
    guards.optout,
    money.rate,
    money.money,
):
    cli.add_command(command)
for command in (money.customer_ledger, money.customer_statement):
    accounts.customer.add_command(command)


def main() -> None:
    """The console script."""
    cli(prog_name="protei-bulk")


if __name__ == "__main__":
    main()
