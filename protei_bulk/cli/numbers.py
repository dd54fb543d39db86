"""`numbers`: which network a number belongs to, as lists say."""

from __future__ import annotations

from pathlib import Path

import click
import psycopg2
from psycopg2 import errors

from protei_bulk.cli.node import Node, refuse
from protei_bulk.store.explaining import Explaining
from protei_bulk.store.numbers import ImportRefused, import_file
from protei_bulk.store.pool import Database

_SHOWN = 20  # wrong lines; the others are counted


@click.group()
def numbers() -> None:
    """Prefixes of networks, numbers that were ported, and what SMSCs charge for them."""


@numbers.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="What the file does not have goes.")
@click.option("--strict", is_flag=True, help="A wrong line, and nothing is changed.")
@click.pass_obj
def numbers_import(node: Node, file: Path, replace: bool, strict: bool) -> None:
    """Take in a CSV file, of any size; its first line names the columns, and by these it is known what it is.

    \b
    prefix,mccmnc,name,country                             networks
    number,mccmnc                                          ported numbers
    smsc_id,mccmnc,prefix,cost,currency,valid_from         costs

    All in one transaction; running nodes have it a moment later. Exit code 1 where a line was wrong.
    """
    shown = [0]

    def bad(line: int, why: str) -> None:
        shown[0] += 1
        if shown[0] <= _SHOWN:
            click.echo(f"{file}:{line}: {why}", err=True)

    try:
        with file.open(encoding="utf-8", errors="replace", newline="") as lines:
            done = import_file(node.dsn(), lines, bad, replace=replace, strict=strict)
    except ImportRefused as error:
        refuse(str(error))
    except errors.UndefinedTable:
        refuse("the database has not the schema of this version: run `db migrate`")
    except psycopg2.Error as error:
        refuse(f"the database refused: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}")
    except OSError as error:
        refuse(f"{file}: {error.strerror}")
    if shown[0] > _SHOWN:
        click.echo(f"... and {shown[0] - _SHOWN} more", err=True)
    removed = f", {done.removed} removed" if replace else ""
    click.echo(f"{done.kind}: {done.read} read, {done.stored} new or changed{removed}, {done.bad} wrong.")
    if done.bad:
        raise SystemExit(1)


@numbers.command("network")
@click.argument("number")
@click.pass_obj
def numbers_network(node: Node, number: str) -> None:
    """Print the MCC-MNC of a number."""

    async def work(db: Database) -> str:
        return await Explaining(db).network(number.removeprefix("+"))

    found = node.run(work)
    if not found:
        refuse(f"the network of {number} is not known")
    click.echo(found)
