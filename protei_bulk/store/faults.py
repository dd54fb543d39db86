"""Which of the database's errors are the fault of the rows that it was given."""

from __future__ import annotations

from typing import NoReturn

import psycopg2
from twisted.python.failure import Failure

from protei_bulk.model.faults import Unstorable

#: classes of SQLSTATE: cardinality violation, data exception, integrity constraint violation, program limit exceeded
_ROWS = frozenset({"21", "22", "23", "54"})


def rows_at_fault(failure: Failure) -> NoReturn:
    """An errback: raises Unstorable where a row is at fault, else the error as it is (a time-out, a lock, a full disk)."""
    problem = failure.value
    if isinstance(problem, psycopg2.Error) and (problem.pgcode or "")[:2] in _ROWS:
        column = f", column {problem.diag.column_name}" if problem.diag.column_name else ""
        raise Unstorable(f"{type(problem).__name__} {problem.pgcode}{column}") from None
    failure.raiseException()
    raise AssertionError("not reached")
