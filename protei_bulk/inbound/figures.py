"""What /metrics says of messages from mobiles."""

from __future__ import annotations

from collections.abc import Callable

from protei_bulk.inbound.inbox import Inbox
from protei_bulk.observe.metrics import Figure, one

_COUNTS = {
    "routed": "Messages from mobiles with an ESME or a URL to go to.",
    "unrouted": "Messages from mobiles for nobody.",
    "duplicates": "Messages from mobiles that an SMSC sent again.",
    "refused": "Messages from mobiles that were not taken.",
    "incomplete": "Messages from mobiles of which parts never came.",
}


def counters(inbox: Callable[[], Inbox], delivered: Callable[[], int]) -> list[Figure]:
    """`delivered`: how many ESMEs have acknowledged."""

    def count(name: str) -> Callable[[], float]:
        return lambda: inbox().counts[name]

    return [
        ("protei_mo_received", "Messages from mobiles, a part of one counts.", ("smsc",),
         lambda: [((smsc,), n) for smsc, n in inbox().received.items()]),
        *((f"protei_mo_{name}", text, (), one(count(name))) for name, text in _COUNTS.items()),
        ("protei_mo_delivered", "Messages from mobiles acknowledged by ESMEs.", (), one(delivered)),
    ]  # fmt: skip


def gauges(inbox: Callable[[], Inbox]) -> list[Figure]:
    return [
        ("protei_mo_pending", "Messages from mobiles that wait for the database.", (), one(lambda: inbox().waiting)),
        ("protei_mo_pending_parts", "Parts that wait for the rest of their message.", (), one(lambda: inbox().pending_parts)),
    ]
