"""Live pages: what is read for whom, what is sent, and how streams end."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.results import AuthResult
from protei_bulk.channels.portal.events import BEAT, HEARTBEAT, SLOW, Events, Parts, Watch
from protei_bulk.channels.portal.i18n import ENGLISH
from protei_bulk.channels.portal.shell import Fault
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model.account import Account
from protei_bulk.settings import Http
from protei_bulk.settings.schema import HttpLimits


def account(user_id: int = 1, role: str = "SENDER") -> Account:
    return Account(user_id=user_id, customer_id=user_id, username=f"u{user_id}", role=role)


class FakeTransport:
    aborted = False

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True


class FakeChannel:
    def __init__(self) -> None:
        self.transport = FakeTransport()


class FakeRequest:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.producer: Any = None
        self.gone: Deferred[None] = Deferred()
        self.channel: FakeChannel | None = FakeChannel()
        self.transport = self.channel.transport

    def finish(self) -> None:
        """As Twisted's: it forgets its connection."""
        self.channel = None

    def write(self, octets: bytes) -> None:
        self.written.append(octets)

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802
        self.producer = producer

    def unregisterProducer(self) -> None:  # noqa: N802
        self.producer = None

    def notifyFinish(self) -> Deferred[None]:  # noqa: N802
        return self.gone

    @property
    def events(self) -> list[dict[str, str]]:
        text = b"".join(self.written).decode()
        return [json.loads(e.partition("data: ")[2]) for e in text.split("\n\n") if e.startswith("event: part")]


class FakeRenderer:
    rendered = 0

    def part(self, visit: Visit, template: str, **values: Any) -> str:
        self.rendered += 1
        return f"{template} {values['x']} {visit.csrf}"


class FakeAuth:
    def __init__(self) -> None:
        self.result: dict[str, AuthResult] = {}

    def authenticate_portal(self, db: object = None, token: str = "") -> Deferred[AuthResult]:
        return succeed(self.result[token])


class Streams(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.auth, self.renderer = Clock(), FakeAuth(), FakeRenderer()
        self.limits = HttpLimits(streams=5, per_user_streams=2)
        self.events = Events(self.clock, self.auth, self.renderer, lambda: Http(limits=self.limits))
        self.value: Any = 1
        self.reads = 0

    def tearDown(self) -> None:
        self.events.close()
        self.go(10)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def read(self) -> Any:
        self.reads += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    def show(self, visit: Visit, data: Any) -> Parts:
        return {"a": ("a.html", {"x": data}), "b": ("b.html", {"x": "same"})}

    def open(self, user_id: int = 1, **watch: Any) -> FakeRequest:
        request = FakeRequest()
        visit = Visit(request, "/x", "", "", ENGLISH, account=account(user_id), session_id=f"s{user_id}", csrf=f"secret{user_id}",
                      token=f"t{user_id}")  # type: ignore[arg-type]  # fmt: skip
        self.auth.result.setdefault(visit.token, AuthResult(True, visit.account))
        answer = self.events.stream(visit, Watch("k", self.read, self.show, **watch))
        assert answer.then is not None
        request.ended = []  # type: ignore[attr-defined]
        answer.then.addCallback(request.ended.append)  # type: ignore[attr-defined]
        answer.then.addCallback(lambda _: request.finish())
        return request

    def go(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    def test_one_read_a_second_for_all_and_none_for_nobody(self) -> None:
        self.go(3)
        self.assertEqual(self.reads, 0)
        one, two = self.open(1), self.open(2)
        self.go(10)
        self.assertIn(self.reads, range(8, 13))
        self.assertEqual([e["id"] for e in one.events], ["a", "b"])
        self.assertEqual(one.events[0]["html"], "a.html 1 secret1")
        self.assertEqual(two.events[0]["html"], "a.html 1 secret2")
        for r in (one, two):
            r.gone.callback(None)
        self.go(2)
        before = self.reads
        self.go(5)
        self.assertEqual((self.reads, self.events.count), (before, 0))

    def test_only_what_changed_is_sent(self) -> None:
        request = self.open()
        self.go(3)
        self.value = 2
        self.go(3)
        self.assertEqual([(e["id"], e["html"].split()[1]) for e in request.events], [("a", "1"), ("b", "same"), ("a", "2")])

    def test_an_audience_shares_markup_without_anybodys_token(self) -> None:
        requests = [self.open(n, audience="all") for n in (1, 2, 3)]
        self.go(1)
        self.assertEqual(self.renderer.rendered, 2)
        for r in requests:
            self.assertEqual(r.events[0]["html"], "a.html 1 ")

    def test_a_browser_that_does_not_read_gets_nothing_and_is_dropped(self) -> None:
        slow, quick = self.open(1), self.open(2)
        self.go(1)
        slow.producer.pauseProducing()
        before = len(slow.written)
        self.value = 2
        self.go(2)
        self.assertEqual((len(slow.written), quick.events[-1]["html"].split()[1]), (before, "2"))
        slow.producer.resumeProducing()
        self.go(2)
        self.assertEqual(slow.events[-1]["html"].split()[1], "2")
        slow.producer.pauseProducing()
        self.go(SLOW + BEAT + 1)
        self.assertTrue(slow.transport.aborted)
        self.assertEqual(self.events.count, 1)

    def test_the_oldest_of_a_user_makes_room_and_a_node_has_a_limit(self) -> None:
        own = [self.open(1) for _ in range(3)]
        self.assertEqual(self.events.count, 2)
        self.assertIn(b"event: over", own[0].written[-1])
        self.assertEqual([len(r.ended) for r in own], [1, 0, 0])  # type: ignore[attr-defined]
        for n in (2, 3, 4):
            self.open(n)
        with self.assertRaises(Fault) as caught:
            self.open(5)
        self.assertEqual(caught.exception.status, 503)

    def test_a_login_that_ends_and_a_role_that_changes_end_the_stream(self) -> None:
        one, two, three = self.open(1), self.open(2), self.open(3)
        self.auth.result["t1"] = AuthResult(False)
        self.auth.result["t2"] = AuthResult(True, account(2, "VIEWER"))
        self.go(BEAT + 1)
        self.assertEqual([len(r.ended) for r in (one, two, three)], [1, 1, 0])  # type: ignore[attr-defined]
        self.value = 9
        self.go(3)
        self.assertNotIn("9", b"".join(one.written).decode())

    def test_heartbeats_keep_a_silent_stream_open(self) -> None:
        request = self.open()
        self.go(2 * (HEARTBEAT + BEAT))
        self.assertGreaterEqual(request.written.count(b":\n\n"), 2)

    def test_what_cannot_be_read_is_told_once_and_tried_again(self) -> None:
        self.value = RuntimeError("away")
        request = self.open()
        self.go(3)
        self.value = 7
        self.go(2)
        self.assertEqual(request.events[0]["html"].split()[1], "7")

    def test_what_cannot_be_shown_ends_the_stream(self) -> None:
        self.renderer.part = lambda *_, **__: 1 / 0  # type: ignore[method-assign, assignment, misc, return-value]
        request = self.open()
        self.go(2)
        self.assertIn(b"event: over", request.written[-1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_at_a_stop_all_end_and_none_begins(self) -> None:
        request = self.open()
        self.events.close()
        self.assertEqual(len(request.ended), 1)  # type: ignore[attr-defined]
        self.assertRaises(Fault, self.open, 1)
