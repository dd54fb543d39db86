"""The timers of a session (SMPP 3.4 section 7.2): told the time, they say what is due. No clock inside."""

from __future__ import annotations

from enum import Enum


class Action(Enum):
    """What a session has to do now."""

    OK = 0
    ENQUIRE = 1  # send enquire_link
    DEAD = 2  # no answer to enquire_link
    IDLE = 3  # nothing but enquire_link for too long
    NO_BIND = 4  # connected, never bound


class SessionTimers:
    """Times in seconds; an interval of 0 switches its timer off."""

    __slots__ = (
        "_asked_at",
        "_bind_timeout",
        "_bound",
        "_enquire",
        "_inactivity",
        "_response",
        "_seen",
        "_since",
        "_working",
    )

    def __init__(
        self,
        enquire_interval: float,
        response_timeout: float,
        inactivity_timeout: float,
        bind_timeout: float,
        now: float,
    ) -> None:
        self._enquire, self._response, self._inactivity, self._bind_timeout = (
            enquire_interval,
            response_timeout,
            inactivity_timeout,
            bind_timeout,
        )
        self._since = self._seen = self._working = now
        self._asked_at = 0.0
        self._bound = False

    def seen(self, now: float) -> None:
        """Something was received."""
        self._seen = now
        self._asked_at = 0.0

    def worked(self, now: float) -> None:
        """A PDU other than enquire_link went either way."""
        self._working = now

    def bound(self, now: float) -> None:
        self._bound = True
        self._seen = self._working = now

    def tick(self, now: float) -> Action:
        if not self._bound:
            return (
                Action.NO_BIND
                if self._bind_timeout and now - self._since >= self._bind_timeout
                else Action.OK
            )
        if self._inactivity and now - self._working >= self._inactivity:
            return Action.IDLE
        if self._asked_at:
            return Action.DEAD if now - self._asked_at >= self._response else Action.OK
        if self._enquire and now - self._seen >= self._enquire:
            self._asked_at = now
            return Action.ENQUIRE
        return Action.OK
