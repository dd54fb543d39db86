"""What a campaign will cost, which way it will go and when it will be done, before any of it is sent. Pure.

Recipients come as a histogram over the first digits of their numbers: prices and ways that need more
digits than that, and numbers that were ported, make the estimate one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from attrs import frozen

from protei_bulk.campaigns.windows import SendingWindow
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message

DIGITS = 12  # of the number that stands for a prefix
_STEP, _LONG_STEP = 900, 3600  # seconds from one look at the windows to the next; the long one after two days
_LONGEST = 15 * 86_400.0
_COUNTRIES = 10  # that are looked at one by one; the rest counts with the largest


class Way(Protocol):
    """routing.rules.Decision."""

    @property
    def smscs(self) -> tuple[str, ...]: ...

    @property
    def strategy(self) -> str: ...

    @property
    def price(self) -> Decimal | None: ...

    @property
    def refusal(self) -> object | None: ...

    @property
    def weights(self) -> Mapping[str, int]: ...


@frozen
class Share:
    """What one SMSC takes, as long as all of them work."""

    smsc: str
    segments: int
    share: float  # of all segments, 0 to 1


@frozen
class Estimate:
    """`cost` in the customer's currency; `unpriced`: segments without a price, which cost nothing. `refused`: recipients by code."""

    recipients: int
    segments: int
    cost: Decimal
    unpriced: int
    ways: tuple[Share, ...]
    refused: Mapping[str, int]

    @property
    def taken(self) -> int:
        return self.recipients - sum(self.refused.values())


def estimate(
    account: Account,
    histogram: Iterable[Sequence[object]],
    message: Callable[[str, int], Message],
    route: Callable[[Account, Message], Way],
    price: Callable[[Account, str], Decimal | None],
    order: Callable[[Way, str], tuple[str, ...]],
) -> Estimate:
    """`histogram`: [first digits, segments of one message, recipients]. `message` makes one for a number and so many segments.

    `price`: of a segment by the rate decks, None where they do not say. `order`: an SMSC for a way, the first choice first.
    """
    recipients = segments = unpriced = 0
    cost = Decimal(0)
    ways: dict[str, float] = {}
    refused: dict[str, int] = {}
    for prefix, parts, count in _rows(histogram):
        number = prefix.ljust(DIGITS, "0")
        recipients += count
        way = route(account, message(number, parts))
        if way.refusal is not None:
            code = str(getattr(way.refusal, "code", "NO_ROUTE"))
            refused[code] = refused.get(code, 0) + count
            continue
        together = parts * count
        segments += together
        each = way.price if way.price is not None else price(account, number)
        if each is None:
            unpriced += together
        else:
            cost += each * together
        for smsc, share in _shares(way, number, order).items():
            ways[smsc] = ways.get(smsc, 0.0) + share * together
    ordered = sorted(ways.items(), key=lambda item: (-item[1], item[0]))
    shares = tuple(Share(smsc, round(n), n / segments if segments else 0.0) for smsc, n in ordered)
    return Estimate(recipients, segments, cost, unpriced, shares, refused)


def _rows(histogram: Iterable[Sequence[object]]) -> Iterable[tuple[str, int, int]]:
    for row in histogram:
        prefix, parts, count = str(row[0]), row[1], row[2]
        if isinstance(parts, int) and isinstance(count, int):
            yield prefix, parts, count


def _shares(way: Way, number: str, order: Callable[[Way, str], tuple[str, ...]]) -> dict[str, float]:
    smscs = way.smscs
    if len(smscs) > 1 and way.strategy == "round-robin":
        return dict.fromkeys(smscs, 1 / len(smscs))
    if len(smscs) > 1 and way.strategy == "weighted":
        weights = {s: way.weights.get(s, 1) for s in smscs}
        total = sum(weights.values())
        if total:
            return {s: w / total for s, w in weights.items() if w}
    return {order(way, number)[0]: 1.0} if smscs else {}


# --- how long


def speed(ways: Iterable[Share], limits: Mapping[str, int], *others: int) -> float:
    """Segments a second: what the slowest way lets through for its share, and no more than `others`. 0.0: nothing limits it."""
    found = [limits[w.smsc] / w.share for w in ways if limits.get(w.smsc) and w.share > 0]
    found += [float(n) for n in others if n > 0]
    return min(found, default=0.0)


def end(start: float, segments: Mapping[str, int], rate: float, window: SendingWindow | None,
        zones: Callable[[str], Sequence[ZoneInfo]]) -> float | None:  # fmt: skip
    """When the last segment goes out, in Unix seconds; None: not within 15 days.

    `segments` by country; `rate` a second for all together; `zones` of a country, in which `window` must be open.
    """
    if rate <= 0:
        rate = 1000.0
    if sum(segments.values()) / rate > _LONGEST:
        return None
    if window is None:
        return start + sum(segments.values()) / rate
    groups: dict[tuple[str, ...], float] = {}
    places: dict[tuple[str, ...], Sequence[ZoneInfo]] = {}
    many = sorted(segments.items(), key=lambda s: -s[1])
    if many[_COUNTRIES:]:
        many[0] = (many[0][0], many[0][1] + sum(n for _, n in many[_COUNTRIES:]))
    for country, n in many[:_COUNTRIES]:
        there = zones(country)
        key = tuple(z.key for z in there)
        groups[key] = groups.get(key, 0.0) + n
        places[key] = there
    now = start
    while groups:
        if now - start > _LONGEST:
            return None
        open_now = [key for key in groups if window.holds(now, places[key])]
        if not open_now:
            now = max(now + 1.0, min(window.next_open(now, places[key]) for key in groups))
            if not any(window.holds(now, places[key]) for key in groups):
                return None  # it never opens
            continue
        until = _next_look(now, _STEP if now - start < 2 * 86_400 else _LONG_STEP)
        room = rate * (until - now)
        together = sum(groups[key] for key in open_now)
        if together <= room and len(open_now) == len(groups):
            return now + together / rate
        left = min(1.0, room / together)
        for key in open_now:
            groups[key] *= 1.0 - left
            if groups[key] < 0.5:
                del groups[key]
        now = until
    return now


def _next_look(now: float, step: int) -> float:
    """The next whole step of Unix time: zones differ by quarters of an hour."""
    return float((int(now) // step + 1) * step)
