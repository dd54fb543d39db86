from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import evolve
from treq.testing import StringStubbingResource, StubTreq
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived

from protei_bulk.callbacks.addresses import AddressRefused
from protei_bulk.callbacks.payload import dlr_payload
from protei_bulk.callbacks.worker import BATCH, LEASE, CallbackWorker
from protei_bulk.settings import Callbacks
from protei_bulk.store.callbacks import CallbackRow, Retry
from protei_bulk.store.pool_connection import DatabaseUnavailable

NOW = 1_800_000_000.0


class MemoryOutbox:
    """tbl_callback_outbox as far as the worker sees it: callback_id -> (row, due)."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.rows: dict[int, tuple[CallbackRow, float]] = {}
        self.parked: dict[int, Retry] = {}
        self.retries: list[Retry] = []
        self.claims: list[int] = []
        self.expired: list[tuple[int, int]] = []
        self.gone = 0
        self.kept: list[bool] = []
        self.broken = False

    def add(self, url: str = "https://shop.example/dlr", count: int = 1) -> None:
        for _ in range(count):
            id = len(self.rows) + 1000 * len(self.claims) + 1
            while id in self.rows:
                id += 1
            payload = dlr_payload(f"MSG-{id}", "962788123456", "MyCompany", "DELIVRD", None, NOW, NOW)
            self.rows[id] = (CallbackRow(id, 7, f"MSG-{id}", url, payload, 0), self.clock.seconds())

    def _answer(self, value: Any) -> Deferred[Any]:
        return fail(DatabaseUnavailable("gone")) if self.broken else succeed(value)

    def claim(self, limit: int, lease: float = LEASE) -> Deferred[list[CallbackRow]]:
        self.claims.append(limit)
        if self.broken:
            return self._answer(None)
        now = self.clock.seconds()
        found = [row for row, due in self.rows.values() if due <= now][:limit]
        for row in found:
            self.rows[row.callback_id] = (row, now + lease)
        return self._answer(found)

    def done(self, ids: Sequence[int], keep: bool = False) -> Deferred[int]:
        self.kept.append(keep)
        if not self.broken:
            for id in ids:
                del self.rows[id]
        return self._answer(len(ids))

    def retry(self, rows: Sequence[Retry]) -> Deferred[int]:
        if not self.broken:
            for r in rows:
                row, _ = self.rows[r.callback_id]
                self.retries.append(r)
                if r.parked:
                    self.parked[r.callback_id] = r
                    del self.rows[r.callback_id]
                else:
                    new = CallbackRow(row.callback_id, row.user_id, row.message_id, row.url, row.payload, r.attempts)
                    self.rows[r.callback_id] = (new, self.clock.seconds() + r.delay)
        return self._answer(len(rows))

    def defer(self, rows: Sequence[tuple[int, float]]) -> Deferred[int]:
        for id, delay in rows:
            self.rows[id] = (self.rows[id][0], self.clock.seconds() + delay)
        return self._answer(len(rows))

    def expire(self, days: int, delivered_hours: int = 0, most: int = 10_000) -> Deferred[int]:
        self.expired.append((days, delivered_hours))
        found, self.gone = min(most, self.gone), max(0, self.gone - most)
        return self._answer(found)


class WorkerCase(SynchronousTestCase):
    settings = Callbacks()

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.outbox = MemoryOutbox(self.clock)
        self.posted: list[tuple[str, bytes, dict[str, str]]] = []
        self.waiting: list[tuple[str, Deferred[Any]]] = []
        self.worker = CallbackWorker(
            self.clock, self.outbox, self.post, self.settings, random=lambda: 0.5,
            sign=lambda row, id, when, body: {"webhook-signature": f"{row.user_id} {id} {when}"},
        )  # fmt: skip

    def post(self, url: str, *, data: bytes, headers: dict[str, str], allow_redirects: bool, unbuffered: bool) -> Deferred[Any]:  # noqa: E501
        self.assertFalse(allow_redirects)
        self.posted.append((url, data, headers))
        d: Deferred[Any] = Deferred()
        self.waiting.append((url, d))
        return d

    def answer(self, outcome: int | Exception, most: int = 1_000_000, host: str = "") -> int:
        """Answers what waits (for a host), and what starts meanwhile not."""
        chosen = [w for w in self.waiting if host in (urlsplit(w[0]).hostname or "")][:most]
        self.waiting = [w for w in self.waiting if w not in chosen]
        for _, d in chosen:
            if isinstance(outcome, Exception):
                d.errback(outcome)
            else:
                d.callback(Response(outcome))
        self.turn()
        return len(chosen)

    def turn(self) -> None:
        for _ in range(5):
            self.clock.advance(0)


class Response:
    def __init__(self, code: int, body: list[bytes] | None = None) -> None:
        self.code = code
        self.body = body

    def deliverBody(self, protocol: Any) -> None:  # noqa: N802
        protocol.makeConnection(self)
        for data in self.body or []:
            protocol.dataReceived(data)
        if self.body is None:
            protocol.connectionLost()

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True


class SendingTest(WorkerCase):
    def test_one(self) -> None:
        self.outbox.add()
        self.worker.start()
        [(url, body, headers)] = self.posted
        self.assertEqual(url, "https://shop.example/dlr")
        self.assertIn(b'"timestamp":"2027-01-15T08:00:00Z"', body)
        self.assertEqual(headers["content-type"], "application/json")
        self.assertEqual(headers["webhook-id"], "dlr_1")
        self.assertEqual(headers["webhook-signature"], "7 dlr_1 1800000000")
        self.answer(204)
        self.assertEqual(self.outbox.rows, {})
        self.assertEqual(self.worker.counts["sent"], 1)

    def test_woken(self) -> None:
        self.worker.start()
        self.worker.wake()
        self.turn()
        claims = len(self.outbox.claims)
        self.outbox.add()
        self.worker.wake()
        self.assertEqual(len(self.outbox.claims), claims + 1)
        self.assertEqual(len(self.posted), 1)

    def test_polling(self) -> None:
        self.worker.start()
        self.outbox.add()
        self.clock.advance(1)
        self.assertEqual(len(self.posted), 1)

    def test_not_started(self) -> None:
        self.outbox.add()
        self.worker.wake()
        self.assertEqual(self.posted, [])

    def test_full_batches_follow_one_another(self) -> None:
        for n in range(60):
            self.outbox.add(f"https://h{n}.example/", 20)
        self.worker.start()
        self.turn()
        self.assertEqual(self.outbox.claims, [BATCH] * 3)
        total = 0
        while self.waiting:
            self.assertLessEqual(len(self.waiting), 50)
            total += self.answer(200)
        self.assertEqual((total, self.outbox.rows), (1200, {}))

    def test_expiry_every_ten_minutes_and_to_the_end(self) -> None:
        self.worker.start()
        for _ in range(1250):
            self.clock.advance(1)
        self.assertEqual(self.outbox.expired, [(30, 24)] * 3)
        self.outbox.gone = 25_000
        for _ in range(610):
            self.clock.advance(1)
        self.assertEqual((len(self.outbox.expired), self.outbox.gone), (6, 0))

    def test_what_was_delivered_is_kept_where_anybody_may_look(self) -> None:
        self.outbox.add()
        self.worker.start()
        self.turn()
        self.answer(200)
        self.worker.change(evolve(self.settings, history_hours=0))
        self.outbox.add()
        self.worker.wake()
        self.turn()
        self.answer(200)
        self.assertEqual(self.outbox.kept, [True, False])

    def test_a_url_that_should_not_be_there(self) -> None:
        for url in ("http://user@shop.example/", "http://shop.example:25/", "ftp://shop.example/"):
            self.outbox.add(url)
        self.worker.start()
        self.turn()
        self.assertEqual((self.posted, len(self.outbox.parked)), ([], 3))

    def test_through_treq(self) -> None:
        seen: list[bytes] = []

        def respond(method: bytes, url: str, params: Any, headers: Any, data: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
            seen.append(data)
            return 302, {b"location": b"https://elsewhere.example/"}, b"x" * 1000

        self.worker._send = StubTreq(StringStubbingResource(respond)).post
        self.outbox.add()
        self.worker.start()
        self.turn()
        self.assertEqual(len(seen), 1)
        self.assertEqual(self.outbox.retries[0].error, "HTTP 302: redirects are not followed")


class FailureTest(WorkerCase):
    def test_four_attempts_then_parked(self) -> None:
        self.outbox.add()
        self.worker.start()
        for wait in (5, 25, 125):
            sent = len(self.posted)
            self.answer(500)
            self.clock.pump([1] * (wait - 1))
            self.assertEqual(len(self.posted), sent)
            self.clock.pump([1, 1])
            self.assertEqual(len(self.posted), sent + 1)
        self.answer(ConnectionRefusedError("no"))
        self.assertEqual(self.outbox.rows, {})
        self.assertEqual(self.outbox.parked[1].error, "ConnectionRefusedError: no")
        self.assertEqual(self.outbox.parked[1].attempts, 4)
        self.assertEqual(self.worker.counts, {"sent": 0, "failed": 3, "parked": 1})
        self.assertEqual({headers["webhook-id"] for _, _, headers in self.posted}, {"dlr_1"})

    def test_no_answer_in_time(self) -> None:
        self.outbox.add()
        self.worker.start()
        self.clock.advance(9.9)
        self.assertEqual(self.outbox.retries, [])
        self.clock.advance(0.1)
        self.turn()
        self.assertEqual(self.outbox.retries[0].error, "TimeoutError: no answer within 10 s")

    def test_an_endless_body_costs_the_connection_only(self) -> None:
        self.outbox.add(count=2)
        self.worker.start()
        slow, long = Response(200, [b"x"]), Response(200, [b"x" * 70_000])
        for (_, d), response in zip(self.waiting, (slow, long), strict=True):
            d.callback(response)
        self.turn()
        self.assertTrue(long.aborted)
        self.assertEqual(len(self.outbox.rows), 1)
        self.clock.advance(10)
        self.turn()
        self.assertTrue(slow.aborted)
        self.assertEqual((self.outbox.rows, self.outbox.retries), ({}, []))

    def test_hopeless_ones_are_parked_at_once(self) -> None:
        for error in (AddressRefused("private"), ValueError("bad URL")):
            self.outbox.add()
            self.worker.wake() if self.outbox.claims else self.worker.start()
            self.answer(error)
        self.assertEqual(len(self.outbox.parked), 2)

    def test_a_kept_connection_that_was_closed(self) -> None:
        self.outbox.add()
        self.worker.start()
        self.answer(ResponseNeverReceived([Failure(ConnectionError("closed"))]))
        self.assertEqual(len(self.posted), 2)
        self.answer(ResponseNeverReceived([Failure(ConnectionError("closed"))]))
        self.assertEqual(self.outbox.retries[0].error, "ConnectionError: closed")

    def test_the_database_goes_away(self) -> None:
        self.outbox.add()
        self.worker.start()
        self.outbox.broken = True
        self.answer(200)
        self.clock.advance(1)
        self.outbox.broken = False
        self.clock.pump([1] * 5)
        self.assertEqual(self.outbox.rows, {})
        self.assertEqual(len(self.posted), 1)


class FairnessTest(WorkerCase):
    def test_a_slow_host_blocks_nobody(self) -> None:
        self.outbox.add("https://slow.example/", 3000)
        self.outbox.add("https://fast.example/", 30)
        self.worker.start()
        for _ in range(40):
            self.turn()
            self.answer(200, host="fast")
        left = [row for row, _ in self.outbox.rows.values() if "fast" in row.url]
        self.assertEqual(left, [])
        self.assertEqual(len(self.waiting), 10)
        self.assertLessEqual(self.worker.waiting, 210)

    def test_all_of_a_backlog_is_sent_in_the_end(self) -> None:
        self.outbox.add("https://slow.example/", 1500)
        self.worker.start()
        for _ in range(2000):
            self.answer(200)
            self.clock.advance(0.5)
            if not self.outbox.rows:
                break
        self.assertEqual(self.outbox.rows, {})
        self.assertEqual(len({h["webhook-id"] for _, _, h in self.posted}), len(self.posted))


class StopTest(WorkerCase):
    def test_gives_back_what_is_not_sent(self) -> None:
        self.outbox.add(count=15)
        self.worker.start()
        d = self.worker.stop()
        self.answer(200, most=4)
        self.assertNoResult(d)
        self.clock.advance(2)
        self.turn()
        self.successResultOf(d)
        self.assertEqual(len(self.outbox.rows), 11)
        self.assertTrue(all(due <= self.clock.seconds() for _, due in self.outbox.rows.values()))
        self.assertTrue(all(row.attempts == 0 for row, _ in self.outbox.rows.values()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle(self) -> None:
        self.worker.start()
        self.successResultOf(self.worker.stop())
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])
