"""What a command works on: a configuration file and the database of the node behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import psycopg2
from psycopg2 import errors
from twisted.internet.defer import Deferred

from protei_bulk.settings import Settings, SettingsError, load
from protei_bulk.store.embedded import running_dsn
from protei_bulk.store.pool import Database, DatabaseUnavailable

T = TypeVar("T")
Runner = Callable[[str, Callable[[Database], Awaitable[Any]]], Any]


def refuse(text: str) -> NoReturn:
    """End with exit code 1."""
    raise click.ClickException(text)


class Node:
    """`runner(dsn, work)` runs a coroutine against a database; tests bring their own."""

    def __init__(self, config: Path, runner: Runner | None = None) -> None:
        self.config = config
        self._runner = runner or run_in_reactor

    @cached_property
    def settings(self) -> Settings:
        try:
            return load(self.config)
        except SettingsError as error:
            refuse(str(error))

    def dsn(self) -> str:
        """Where the database is. Refuses where it is embedded and its node does not run."""
        settings = self.settings
        if settings.database.dsn:
            return settings.database.dsn
        try:
            dsn = running_dsn(settings.node.state_dir)
        except PermissionError as error:
            refuse(f"{error.filename} cannot be read: use the user that the node runs as, or root")
        except OSError as error:
            refuse(f"{error.filename}: {error.strerror}")
        if dsn is None:
            refuse(f"the node is not running (state_dir {settings.node.state_dir})")
        return dsn

    def run(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """The result of a coroutine that gets the database; its errors become refusals."""
        try:
            result: T = self._runner(self.dsn(), work)
        except DatabaseUnavailable as error:
            refuse(f"the database cannot be reached: {_line(error)}")
        except (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction):
            refuse("the database has not the schema of this version: run `db migrate`")
        except psycopg2.Error as error:
            refuse(f"the database refused: {_line(error)}")
        return result


def run_in_reactor(dsn: str, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run the reactor for this one piece of work. Once a process: a reactor does not start again."""
    from twisted.internet import task

    outcome: list[T] = []
    problem: list[BaseException] = []

    async def main(reactor: Any) -> None:
        db = Database(reactor, dsn, 1)
        try:
            await db.start()
            try:
                outcome.append(await work(db))
            finally:
                await db.close()
        except Exception as error:
            # task.react would print a traceback.
            problem.append(error)

    with suppress(SystemExit):
        task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    if problem:
        raise problem[0]
    if not outcome:
        refuse("interrupted")
    return outcome[0]


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].removeprefix("ERROR:").strip() if lines else type(error).__name__
