"""How the simulated SMSC misbehaves: pure decisions, chance and time passed in."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from protei_bulk.pacing.buckets import TokenBucket
from protei_bulk.smpp import statuses


@frozen
class Faults:
    """Shares are percentages of 0 to 100; times are seconds; 0 switches a fault off."""

    delay: float = 0.5  # until the receipt
    fail: float = 0.0  # receipts UNDELIV
    throttle: int = 0  # submit_sm a second; more get ESME_RTHROTTLED
    lose: float = 0.0  # submit_sm that are taken and never answered
    late: float = 0.0  # until the answer
    drop_after: int = 0  # the connection is dropped each so many submit_sm
    hex_ids: bool = False  # receipts write in hexadecimal what the answer wrote in decimal
    receipt_first: float = 0.0  # receipts that come before the answer
    duplicate: float = 0.0  # receipts that come twice
    intermediate: bool = False  # an ENROUTE notification before the receipt
    error_status: int = 0  # of the submit_sm refused
    error: float = 0.0  # share of submit_sm refused with it
    acknowledge: int = 0  # esm_class of an SME's answer behind each receipt; 0 is none


class Behaviour:
    """Decides for each submit_sm. `chance()` gives 0 <= x < 1; ids are the numbers after `last_id`."""

    def __init__(self, faults: Faults, chance: Callable[[], float], last_id: int = 1_000_000_000) -> None:
        self.faults = faults
        self.chance = chance
        self._bucket = TokenBucket(faults.throttle, max(1, faults.throttle))
        self.first_id = self._number = last_id
        self._drops = False
        self.submits = self.throttled = 0

    def happens(self, percent: float) -> bool:
        return percent > 0 and self.chance() * 100 < percent

    def status(self, now: float) -> int:
        """command_status of the answer to one submit_sm."""
        if self._bucket.take(1, now) > 0:
            self.throttled += 1
            return statuses.ESME_RTHROTTLED
        if self.happens(self.faults.error):
            return self.faults.error_status
        return 0

    def next_id(self) -> int:
        """The id of a submit_sm that is taken."""
        self.submits += 1
        self._number += 1
        every = self.faults.drop_after
        self._drops = every > 0 and self.submits % every == 0
        return self._number

    @property
    def last_id(self) -> int:
        """Ids given are above `first_id`, and up to this one."""
        return self._number

    def drops(self) -> bool:
        """Whether the connection ends after the submit_sm taken last; said once."""
        drops, self._drops = self._drops, False
        return drops

    def receipt_state(self) -> tuple[str, str]:
        """(stat, err)"""
        return ("UNDELIV", "005") if self.happens(self.faults.fail) else ("DELIVRD", "000")

    def receipt_id(self, number: int) -> str:
        return format(number, "x") if self.faults.hex_ids else str(number)
