"""A callback to try an address with: signed and sent as every other one, once, and never kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.python.failure import Failure

from protei_bulk.callbacks.payload import body_at, dlr_payload
from protei_bulk.callbacks.worker import Post, Sign, deliver, describe
from protei_bulk.model.urls import url_fault
from protei_bulk.settings import Callbacks
from protei_bulk.store.callbacks import CallbackRow, SecretVersion

_EVERY = 3.0  # seconds between two trials of one account
_MOST = 10_000  # accounts remembered


@frozen
class Outcome:
    """`status` of the answer, 0 without one; then `error` says why. `seconds` until it was there. What was sent stands beside."""

    status: int
    error: str
    seconds: float
    headers: dict[str, str]
    body: bytes

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


class TooSoon(Exception):
    """The account has just tried."""


class Trials:
    """`reactor.seconds()` is Unix time. `sign` as the worker's; `random(n)` gives octets."""

    def __init__(self, reactor: Any, post: Post, sign: Sign, settings: Callable[[], Callbacks], random: Callable[[int], bytes]) -> None:
        self._reactor, self._post, self._sign, self._settings, self._random = reactor, post, sign, settings, random
        self._last: dict[int, float] = {}

    async def call(self, user_id: int, secret: SecretVersion, url: str) -> Outcome:
        """Raises TooSoon. What goes wrong at the other end is in the outcome."""
        now = self._reactor.seconds()
        if now - self._last.get(user_id, 0.0) < _EVERY:
            raise TooSoon(user_id)
        if len(self._last) >= _MOST:
            self._last.clear()
        self._last[user_id] = now
        id = f"test_{self._random(8).hex()}"
        payload = dlr_payload("MSG-000000000000", "962790000000", "TEST", "DELIVRD", None, now - 2, now) | {"test": True}
        body = body_at(payload, now)
        headers = {"content-type": "application/json", "user-agent": "protei-bulk", "webhook-id": id, "webhook-timestamp": str(int(now))}
        row = CallbackRow(0, user_id, "", url, payload, 0, secret.version, secret.previous_until is not None)
        headers.update(self._sign(row, id, int(now), body))
        status, error = 0, ""
        fault = url_fault(url)
        if fault is not None:
            return Outcome(0, f"the URL {fault}", 0.0, headers, body)
        try:
            status = await deliver(self._reactor, self._post, url, body, headers, self._settings().timeout)
            if not 200 <= status < 300:
                error = f"HTTP {status}" + (": redirects are not followed" if 300 <= status < 400 else "")
        except Exception:
            error = describe(Failure())
        return Outcome(status, error, self._reactor.seconds() - now, headers, body)
