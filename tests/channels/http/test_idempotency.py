from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any
from unittest import TestCase

import orjson
from twisted.internet.defer import Deferred, fail, succeed

from protei_bulk.channels.http.api import make_resource
from protei_bulk.channels.http.idempotency import FENCE, LEASE, RENEW, IdempotencyKeys, read_key
from protei_bulk.channels.http.problems import Problem
from protei_bulk.model import message as refusals
from protei_bulk.store.idempotency import Claim, Stored
from protei_bulk.store.pool_connection import DatabaseUnavailable
from tests.channels.http.support import NOW, HttpCase
from tests.channels.http.test_whole import WholeCase

KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}
ORDER: dict[str, Any] = {
    "sender": "MyCompany", "message": "Hello %N%",
    "recipients": [{"msisdn": f"96278812345{n}", "variables": {"N": n % 2}} for n in range(6)],
}  # fmt: skip


class KeyTest(TestCase):
    def test_forms(self) -> None:
        self.assertEqual(read_key(['"abc def"']), "abc def")
        self.assertEqual(read_key(["8e03978e-40d5"]), "8e03978e-40d5")
        for bad in ([""], ['""'], ['"'], ["a b"], ["ä"], ["x" * 256], ['"x', "a,b"], ["a", "a"], ['"a";p=1'], ["\x7f"], ['a"b']):
            with self.assertRaises(Problem) as raised:
                read_key(bad)
            self.assertEqual(raised.exception.status, 400)


class Rows:
    """One table for all, in memory."""

    def __init__(self, seconds: Any) -> None:
        self.seconds = seconds
        self.rows: dict[tuple[int, str], dict[str, Any]] = {}
        self.found = Stored("", Counter())
        self.broken: dict[str, Exception] = {}
        self.asked: list[str] = []

    def _fails(self, what: str) -> Deferred[Any] | None:
        self.asked.append(what)
        return fail(self.broken[what]) if what in self.broken else None

    def claim(self, user_id: int, key: str, body_hash: str, owner: str, lease: float) -> Deferred[Claim]:
        failed = self._fails("claim")
        if failed:
            return failed
        row = self.rows.get((user_id, key))
        now = self.seconds()
        if row is None:
            self.rows[user_id, key] = {"hash": body_hash, "owner": owner, "touched": now, "status": 0, "type": "", "body": ""}
            return succeed(Claim("NEW", 77, 0, "", "", 0.0, now, now))
        if row["hash"] != body_hash:
            state = "OTHER"
        elif row["status"]:
            state = "DONE"
        elif row["touched"] > now - lease:
            state = "BUSY"
        else:
            state = "RESUMED"
            row.update(owner=owner)
        found = succeed(Claim(state, 77, row["status"], row["type"], row["body"], row["touched"] + lease - now, NOW, row["touched"]))
        if state == "RESUMED":
            row["touched"] = now
        return found

    def stored(self, user_id: int, number: int, first: str, last: str) -> Deferred[Stored]:
        assert first < last
        return succeed(self.found)

    def renew(self, user_id: int, key: str, owner: str) -> Deferred[bool]:
        failed = self._fails("renew")
        if failed:
            return failed
        row = self.rows.get((user_id, key))
        if row is None or row["owner"] != owner:
            return succeed(False)
        row["touched"] = self.seconds()
        return succeed(True)

    def finish(self, user_id: int, key: str, owner: str, status: int, content_type: str, body: str) -> Deferred[bool]:
        failed = self._fails("finish")
        if failed:
            return failed
        self.rows[user_id, key].update(status=status, type=content_type, body=body)
        return succeed(True)

    def release(self, user_id: int, key: str, owner: str) -> Deferred[bool]:
        failed = self._fails("release")
        if failed:
            return failed
        del self.rows[user_id, key]
        return succeed(True)

    def expire(self) -> Deferred[int]:
        self.asked.append("expire")
        return succeed(0)


class IdempotencyTest(HttpCase):
    def setUp(self) -> None:
        super().setUp()
        self.rows = Rows(self.clock.seconds)
        self.keys = self.process()

    def process(self) -> IdempotencyKeys:
        """A process that knows only what is in the table."""
        tokens = iter(range(100))
        keys = IdempotencyKeys(self.rows, self.clock, self.clock.seconds, lambda: f"{id(keys)}-{next(tokens)}"[-32:])
        self.use(keys)
        return keys

    def use(self, keys: IdempotencyKeys) -> None:
        object.__setattr__(self.api, "keys", keys)
        self.resource = make_resource(self.api)
        self.http.__init__(self.resource)  # type: ignore[misc]

    def bulk(self, order: Any = ORDER, headers: dict[str, str] = KEY) -> Any:
        return self.call("POST", "/api/sendBulk", order, headers=headers)

    def begin(self, order: Any = ORDER) -> Deferred[Any]:
        """A request whose messages stay unanswered."""
        self.intake.held = []
        d = self.start("POST", "/api/sendBulk", order, headers=KEY)
        self.turn()
        return d

    def turn(self) -> None:
        for _ in range(5):
            self.http.flush()
            self.clock.advance(0)

    def test_the_first_answer_again(self) -> None:
        first = self.bulk()
        self.assertEqual((first.status, first.json["accepted"], first.header("idempotent-replayed")), (200, 6, None))
        for keys in (self.keys, self.process()):
            self.use(keys)
            again = self.bulk()
            self.assertEqual((again.status, again.body, again.header("idempotent-replayed")), (200, first.body, "true"))
            self.assertEqual(again.header("content-type"), "application/json")
        self.assertEqual(len(self.intake.messages), 6)

    def test_another_body(self) -> None:
        self.bulk()
        for keys in (self.keys, self.process()):
            self.use(keys)
            self.problem(self.bulk({**ORDER, "message": "Good bye"}), 422, "IDEMPOTENCY_KEY_REUSED")
        self.assertEqual(len(self.intake.messages), 6)

    def test_no_cost_without_it(self) -> None:
        self.assertEqual(self.bulk(headers={}).status, 200)
        self.assertEqual(self.rows.asked, [])

    def test_a_key_that_is_none(self) -> None:
        self.problem(self.bulk(headers={"Idempotency-Key": "a b"}), 400, "INVALID_IDEMPOTENCY_KEY")
        self.assertEqual(self.intake.messages, [])

    def test_while_the_first_is_running(self) -> None:
        first = self.begin()
        second = self.start("POST", "/api/sendBulk", ORDER, headers=KEY)
        self.turn()
        self.problem(self.bulk({**ORDER, "message": "x"}), 422, "IDEMPOTENCY_KEY_REUSED")
        held, self.intake.held = self.intake.held, None
        assert held is not None and held[0].origin is not None
        self.assertEqual(len(held), 6)
        held[0].origin.answered(held)
        self.turn()
        bodies = [self.successResultOf(self.successResultOf(d).content()) for d in (first, second)]
        self.assertEqual(bodies[0], bodies[1])

    def test_while_the_first_is_running_elsewhere(self) -> None:
        self.begin()
        self.process()
        answer = self.bulk()
        self.problem(answer, 409, "REQUEST_IN_PROGRESS")
        self.assertEqual(answer.header("retry-after"), "2")
        self.clock.pump([RENEW] * 20)
        self.process()
        self.problem(self.bulk(), 409, "REQUEST_IN_PROGRESS")

    def test_nothing_was_stored(self) -> None:
        """The key is free again: what was wrong may be right by then."""
        self.intake.refuse_all = refusals.QUEUE_FULL
        self.problem(self.bulk(), 503, "QUEUE_FULL")
        self.problem(self.bulk({**ORDER, "sender": ""}), 422, "INVALID_FIELD")
        self.assertEqual(self.rows.rows, {})
        self.intake.refuse_all = None
        self.assertEqual(self.bulk().json["accepted"], 6)

    def test_whoever_waits_hears_of_a_failure_too(self) -> None:
        first = self.begin()
        second = self.start("POST", "/api/sendBulk", ORDER, headers=KEY)
        self.turn()
        held, self.intake.held = self.intake.held, None
        assert held is not None and held[0].origin is not None
        for m in held:
            m.refusal = refusals.QUEUE_FULL
        held[0].origin.answered(held)
        self.turn()
        self.assertEqual([self.successResultOf(d).code for d in (first, second)], [503, 503])

    def test_no_recipient_was_right(self) -> None:
        order = {**ORDER, "recipients": [{"msisdn": "12"}]}
        first, again = self.bulk(order), self.bulk(order)
        self.assertEqual((first.status, again.status, again.body), (422, 422, first.body))

    def test_one_that_died_with_half_of_it_stored(self) -> None:
        self.begin()
        dead = self.intake.messages[:]
        texts = [(m.dest, hashlib.md5(m.text.encode()).hexdigest()) for m in dead[:4]]
        self.rows.found = Stored("CAMP-FIRST0000000", Counter(texts))
        self.keys.close()
        self.intake.held = None
        self.process()
        answer = self.bulk()
        self.problem(answer, 409, "REQUEST_IN_PROGRESS")
        self.clock.advance(LEASE / 2)
        self.assertEqual(self.bulk().header("retry-after"), "38")
        self.clock.advance(LEASE / 2)
        self.intake.messages.clear()
        answer = self.bulk()
        self.assertEqual((answer.status, answer.json["accepted"], answer.json["campaign_id"]), (200, 6, "CAMP-FIRST0000000"))
        self.assertEqual([m.dest for m in self.intake.messages], [m.dest for m in dead[4:]])
        self.assertEqual({m.campaign_id for m in self.intake.messages}, {77})
        self.assertEqual(self.bulk().body, answer.body)

    def test_one_that_died_with_all_of_it_stored(self) -> None:
        self.begin()
        texts = [(m.dest, hashlib.md5(m.text.encode()).hexdigest()) for m in self.intake.messages]
        self.rows.found = Stored("CAMP-FIRST0000000", Counter(texts))
        self.keys.close()
        self.intake.held = None
        self.clock.advance(LEASE)
        self.process()
        self.intake.messages.clear()
        answer = self.bulk()
        self.assertEqual((answer.status, answer.json["accepted"], answer.json["campaign_id"]), (200, 6, "CAMP-FIRST0000000"))
        self.assertEqual(self.intake.messages, [])

    def test_one_recipient_twice_with_the_same_text(self) -> None:
        order = {**ORDER, "recipients": [{"msisdn": "962788123450", "message": "x"}] * 3}
        self.begin(order)
        self.rows.found = Stored("CAMP-1", Counter({("962788123450", hashlib.md5(b"x").hexdigest()): 2}))
        self.keys.close()
        self.intake.held = None
        self.clock.advance(LEASE)
        self.process()
        self.intake.messages.clear()
        self.assertEqual(self.bulk(order).json["accepted"], 3)
        self.assertEqual(len(self.intake.messages), 1)

    def test_one_that_is_not_heard_stores_no_more(self) -> None:
        """A process that was stopped for a while must not go on beside the one that took over."""
        order = {**ORDER, "recipients": [{"msisdn": f"9627{n:08}", "message": "x"} for n in range(6000)]}
        self.rows.broken["renew"] = DatabaseUnavailable("gone")
        d = self.begin(order)
        for _ in range(30):
            self.turn()
        taken = len(self.intake.messages)
        self.assertLess(taken, 6000)
        self.clock.pump([RENEW] * int(FENCE / RENEW + 1))
        held, self.intake.held = self.intake.held, None
        assert held is not None and held[0].origin is not None
        held[0].origin.answered(held)
        self.turn()
        self.assertEqual(self.successResultOf(d).code, 503)
        self.assertEqual(len(self.intake.messages), taken)
        self.assertEqual(len(self.rows.rows), 1)  # what was stored counts when somebody goes on

    def test_the_database_is_away_at_the_end(self) -> None:
        self.rows.broken["finish"] = DatabaseUnavailable("gone")
        first = self.bulk()
        self.assertEqual(first.status, 200)
        self.assertEqual(self.bulk().body, first.body)
        del self.rows.broken["finish"]
        self.clock.advance(2.0)
        self.process()
        self.assertEqual(self.bulk().body, first.body)

    def test_and_never_comes_back(self) -> None:
        self.rows.broken["finish"] = DatabaseUnavailable("gone")
        self.bulk()
        self.clock.pump([2.0] * 6)
        self.assertEqual(self.keys._running, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_database_is_away_at_first(self) -> None:
        self.rows.broken["claim"] = DatabaseUnavailable("gone")
        self.problem(self.bulk(), 503, "DATABASE_UNAVAILABLE")
        self.assertEqual((self.intake.messages, self.keys._running), ([], {}))

    def test_old_ones_are_forgotten(self) -> None:
        self.keys.start()
        self.clock.pump([3600.0] * 2)
        self.assertEqual(self.rows.asked, ["expire"] * 2)
        self.keys.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class WholeIdempotencyTest(WholeCase):
    async def keyed(self, body: Any, key: str = "k-1") -> tuple[int, Any]:
        return await self.call("POST", "/api/sendBulk", body, headers={"Idempotency-Key": key})

    async def messages(self) -> int:
        [(n,)] = await self.db.query("SELECT count(*) FROM messages")
        return int(n)

    async def test_once(self) -> None:
        body = self.bulk(20)
        answers = [self.keyed(body) for _ in range(5)]
        found = [await Deferred.fromCoroutine(a) for a in answers]
        self.assertEqual({(status, orjson.dumps(sent)) for status, sent in found}, {(200, orjson.dumps(found[0][1]))})
        self.assertEqual(await self.messages(), 20)
        [(campaigns,)] = await self.db.query("SELECT count(*) FROM campaigns")
        self.assertEqual(campaigns, 1)
        status, problem = await self.keyed(self.bulk(21))
        self.assertEqual((status, problem["code"]), (422, "IDEMPOTENCY_KEY_REUSED"))
        status, sent = await self.keyed(body, "k-2")
        self.assertEqual((status, await self.messages()), (200, 40))

    async def test_after_a_crash_the_rest_follows(self) -> None:
        body = self.bulk(20)
        status, first = await self.keyed(body)
        # As a crash would have left it: 7 not stored, no answer, nobody at it.
        gone = [m.id for m in self.fleet.gone[13:]]
        await self.db.execute("DELETE FROM messages WHERE message_id = ANY (%s)", (gone,))
        await self.db.execute(
            "UPDATE tbl_idempotency_keys SET response_status = NULL, response_body = NULL, touched_at = now() - interval '80 seconds',"
            " created_at = now() - interval '90 seconds'"
        )
        self.fleet.gone.clear()
        status, again = await self.keyed(body)
        self.assertEqual((status, again["accepted"], again["campaign_id"]), (200, 20, first["campaign_id"]))
        self.assertEqual(len(self.fleet.gone), 7)
        rows = await self.db.query("SELECT to_addr FROM messages ORDER BY to_addr")
        self.assertEqual([to for (to,) in rows], [f"9627{n:08}" for n in range(20)])
        self.assertEqual(await self.keyed(body), (200, again))

    async def test_one_day_later(self) -> None:
        await self.keyed(self.bulk(1))
        await self.db.execute("UPDATE tbl_idempotency_keys SET created_at = now() - interval '25 hours'")
        status, _ = await self.keyed(self.bulk(2))
        self.assertEqual((status, await self.messages()), (200, 3))
