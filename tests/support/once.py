"""What several tests share and only the first of them makes, since trial knows no setUpModule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from unittest import SkipTest

T = TypeVar("T")


class Once(Generic[T]):
    """Calls `make` with the first call; what hinders it, or why it is skipped, is told to every further one at once."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._hindrance: Exception | None = None

    def __call__(self) -> T:
        if self._hindrance is not None:
            kind = SkipTest if isinstance(self._hindrance, SkipTest) else AssertionError
            raise kind(str(self._hindrance)) from self._hindrance
        if not self._made:
            try:
                self._made.append(self._make())
            except Exception as error:
                self._hindrance = error
                raise
        return self._made[0]
