"""How many PDUs a second the codecs decode and encode, on one core."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from protei_bulk.bench.esme import SENDER, TEXT, number
from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.codec import decode, encode
from protei_bulk.smpp.framer import Framer

_SECONDS = 0.5  # at least so long for each figure


def _rate(work: Callable[[], object], pdus: int = 1) -> int:
    """PDUs a second: the best of three, since other processes only ever make it slower."""
    best = 0.0
    rounds = 1
    for _ in range(3):
        while True:
            started = time.perf_counter()
            for _ in range(rounds):
                work()
            took = time.perf_counter() - started
            if took >= _SECONDS / 3:
                break
            rounds *= 2
        best = max(best, rounds * pdus / took)
    return round(best)


def measure() -> dict[str, int]:
    """Each name is the codec and what it did with submit_sm."""

    def fast_encode() -> bytes:
        return fast.encode_sm(
            commands.SUBMIT_SM, 7, b"", 5, 0, SENDER, 1, 1, number(1), 0, 0, 0, b"", b"", 1, 0, 0, 0, TEXT
        )

    frame = fast_encode()
    pdu = decode(frame)
    stream = frame * 100

    def cut() -> Any:
        buf, frames = Framer().feed(stream)
        return [fast.decode_sm(buf, start, end) for _, _, _, start, end in frames]

    return {
        "fast decode": _rate(lambda: fast.decode_sm(frame, 16, len(frame))),
        "fast encode": _rate(fast_encode),
        "framer and fast decode": _rate(cut, 100),
        "generic decode": _rate(lambda: decode(frame)),
        "generic encode": _rate(lambda: encode(pdu)),
    }
