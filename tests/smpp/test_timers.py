from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp.timers import Action, SessionTimers


def timers(
    enquire: float = 30, response: float = 10, inactivity: float = 0, bind: float = 10
) -> SessionTimers:
    return SessionTimers(enquire, response, inactivity, bind, now=1000.0)


class Timers(SynchronousTestCase):
    def test_never_bound(self) -> None:
        t = timers()
        self.assertIs(t.tick(1009.9), Action.OK)
        t.seen(1009.9)  # talk does not help, only a bind does
        self.assertIs(t.tick(1010), Action.NO_BIND)

    def test_a_silent_peer_is_asked_once_and_then_dead(self) -> None:
        t = timers()
        t.bound(1001)
        self.assertIs(t.tick(1030.9), Action.OK)
        self.assertIs(t.tick(1031), Action.ENQUIRE)
        self.assertIs(t.tick(1032), Action.OK)
        self.assertIs(t.tick(1041), Action.DEAD)

    def test_anything_received_is_an_answer(self) -> None:
        t = timers()
        t.bound(1001)
        self.assertIs(t.tick(1031), Action.ENQUIRE)
        t.seen(1040)
        self.assertIs(t.tick(1041), Action.OK)
        self.assertIs(t.tick(1069.9), Action.OK)
        self.assertIs(t.tick(1070), Action.ENQUIRE)

    def test_enquire_link_alone_is_no_activity(self) -> None:
        t = timers(inactivity=100)
        t.bound(1000)
        for now in range(1000, 1099):
            t.seen(now)
            self.assertIs(t.tick(now), Action.OK)
        self.assertIs(t.tick(1100), Action.IDLE)
        t.worked(1100)
        t.seen(1100)
        self.assertIs(t.tick(1101), Action.OK)

    def test_an_interval_of_nought_is_off(self) -> None:
        t = timers(enquire=0, bind=0)
        self.assertIs(t.tick(9e9), Action.OK)
        t.bound(9e9)
        self.assertIs(t.tick(9e10), Action.OK)
