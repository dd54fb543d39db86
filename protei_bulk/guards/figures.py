"""What the guards count, for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from protei_bulk.guards.checker import Checker
from protei_bulk.guards.desk import GuardDesk

Figure = tuple[str, str, tuple[str, ...], Callable[[], Iterable[tuple[tuple[str, ...], float]]]]


class Intake(Protocol):
    @property
    def refusals(self) -> Mapping[str, int]: ...

    @property
    def checker(self) -> Checker: ...


def counters(guards: Callable[[], GuardDesk], intake: Intake) -> list[Figure]:
    def kinds(*names: str) -> Callable[[], Iterable[tuple[tuple[str, ...], float]]]:
        return lambda: [((name,), guards().counts[name]) for name in names]

    return [
        ("protei_refusals", "Messages refused, by the code of the refusal.", ("code",),
         lambda: [((k,), v) for k, v in intake.refusals.items()]),
        ("protei_velocity_found", "Bursts and unusual hours.", ("mode",), kinds("alert", "pause")),
        ("protei_opt_out_keywords", "Messages from mobiles that are keywords.", ("keyword",), kinds("stop", "start")),
        ("protei_duplicates_forgotten", "Generations of messages forgotten before their time.", (),
         lambda: [((), intake.checker.duplicates.early)]),
    ]  # fmt: skip


def gauges(guards: Callable[[], GuardDesk], intake: Intake) -> list[Figure]:
    return [
        ("protei_blacklisted", "Numbers and prefixes of the blacklists.", (), lambda: [((), intake.checker.lists.numbers)]),
        ("protei_opted_out", "Numbers that are opted out.", (), lambda: [((), intake.checker.lists.opt_outs)]),
        ("protei_velocity_paused", "Pauses in force.", (), lambda: [((), guards().paused)]),
        ("protei_duplicates_remembered", "Messages remembered against duplicates.", (), lambda: [((), len(intake.checker.duplicates))]),
    ]
