"""query, cancel, replace and replace_if_present over a real PostgreSQL, with lanes that a test can look into."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.task import deferLater

from protei_bulk.intake.operations import Cancel, Operations, Replace
from protei_bulk.intake.recall import CHANNEL, Recall
from protei_bulk.model import ids
from protei_bulk.model.account import Account
from protei_bulk.model.long import OWN_RECEIPT, LongMessage, LongPart
from protei_bulk.model.message import QUOTA_EXCEEDED, Message
from protei_bulk.model.standing import Standing
from protei_bulk.smpp import statuses
from protei_bulk.smpp.errors import RejectPdu
from protei_bulk.store.batcher import Batcher
from protei_bulk.store.leases import enter_node
from protei_bulk.store.messages import Messages
from protei_bulk.store.operations import OperationStore
from tests.store.test_messages import DAY, MessagesCase

FAR = 10**10


class Lanes:
    """The memory of one node's connectors."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.homeless = False
        self.walks = 0

    @property
    def waiting(self) -> int:
        return len(self.messages)

    def withdraw(self, ids: set[str]) -> list[Message]:
        self.walks += 1
        found = [m for m in self.messages if m.id in ids]
        self.messages = [m for m in self.messages if m.id not in ids]
        return found

    def matching(self, keys: set[tuple[int, str, str]]) -> list[Message]:
        return [m for m in self.messages if (m.user_id, m.source, m.dest) in keys]

    def give_back(self, messages: list[Message]) -> list[Message]:
        if self.homeless:
            return messages
        self.messages += messages
        return []


class Forwards:
    def __init__(self) -> None:
        self.may = False
        self.answer = True
        self.asked: list[Standing] = []

    def may_cancel(self, smsc: str) -> bool:
        return self.may

    def cancel(self, user_id: int, standing: Standing) -> Deferred[bool]:
        self.asked.append(standing)
        return succeed(self.answer)


class Broken(Exception):
    """No database."""


class Store(OperationStore):
    """`broken` names what fails so many times more; notifications go to `nodes` at once."""

    def __init__(self, db: Any, node: int, nodes: dict[int, Node]) -> None:
        super().__init__(db, node)
        self.broken: dict[str, int] = {}
        self.nodes = nodes

    def _fails(self, what: str) -> bool:
        left = self.broken.get(what, 0)
        self.broken[what] = max(0, left - 1)
        return left > 0

    def standings(self, wanted: Any) -> Deferred[list[list[Standing]]]:
        return fail(Broken()) if self._fails("standings") else super().standings(wanted)

    def end(self, rows: list[Any]) -> Deferred[dict[str, str]]:
        """One that fails has happened all the same."""
        d = super().end(rows)
        return d.addCallback(lambda _: fail(Broken())) if self._fails("end") else d

    def tell(self, channel: str, payload: str) -> Deferred[Any]:
        assert channel == CHANNEL
        for node in list(self.nodes.values()):
            node.recall.heard(payload)
        return succeed(None)


class Intake:
    """Stores what comes as a node of its own would, but for the lanes."""

    def __init__(self, case: OperationsCase, node: Node) -> None:
        self._case, self._node = case, node
        self.refuse = False

    def submit(self, account: Account, m: Message) -> None:
        m.id, m.user_id, m.customer_id, m.campaign_id = self._case.maker.message(), self._case.user, self._case.customer, 1
        if self.refuse:
            m.refusal = QUOTA_EXCEEDED
        d = succeed(None) if self.refuse else self._case.accept([m], m.queued)
        d = Deferred.fromCoroutine(d) if not isinstance(d, Deferred) else d
        d.addCallback(lambda _: m.origin and m.origin.answered([m]))
        if not m.queued and not self.refuse:
            d.addCallback(lambda _: self._node.lanes.messages.append(m))


class Node:
    def __init__(self, case: OperationsCase, number: int, nodes: dict[int, Node]) -> None:
        nodes[number] = self
        self.number = number
        self.store = Store(case.db, number, nodes)
        self.messages = Messages(case.db, case.db.dedicated(), case.db.dedicated(), number)
        self.lanes = Lanes()
        self.told: list[tuple[set[int], bool]] = []
        self.expired: list[str] = []
        self.recall = Recall(
            self.store, self.messages, self.lanes, number, reactor, lambda *a: {"a": list(a[:4])},  # type: ignore[arg-type]
            lambda users, callbacks: self.told.append((users, callbacks)), lambda m: self.expired.append(m.id),
        )  # fmt: skip
        self.forwards = Forwards()
        self.intake = Intake(case, self)
        self.operations = Operations(
            self.store, self.recall, self.intake, self.forwards, lambda account: DAY,
            lambda run, n: Batcher(run, reactor=reactor, concurrency=n),  # type: ignore[arg-type]
        )  # fmt: skip


class OperationsCase(MessagesCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.nodes: dict[int, Node] = {}
        self.here = Node(self, self.node, self.nodes)
        await self.limits(quota=100, balance="10")
        self.account = Account(user_id=self.user, username="ahmad", customer_id=self.customer)

    async def another_node(self) -> Node:
        number = (await enter_node(self.db, "two"))[0]
        node = Node(self, number, self.nodes)
        await node.messages.heartbeat("")
        return node

    async def stored(self, n: int = 1, *, node: Node | None = None, queued: bool = False, due: float = 0.0, **values: Any) -> list[Message]:
        """Messages in a node's lanes, or in the queue table."""
        node = node or self.here
        maker = self.maker if node is self.here else ids.IdMaker(time.time, node.number)
        batch = []
        for _ in range(n):
            m = self.message(price="0.5")
            m.id, m.queued, m.not_before, m.registered = maker.message(), queued or due > 0, due, 1
            for name, value in values.items():
                setattr(m, name, value)
            batch.append(m)
        self.assertEqual({}, await self.accept(batch, queued or due > 0))
        if not queued and not due:
            node.lanes.messages += batch
        return batch

    async def cancel(self, id: str = "", *, node: Node | None = None, source: str = "", dest: str = "", service_type: str = "") -> int:
        return await (node or self.here).operations.cancel(Cancel(self.user, id, source, dest, service_type))

    async def state(self, m: Message) -> tuple[Any, ...]:
        rows = await self.db.query("SELECT status, dlr_status, price, ended_at IS NOT NULL FROM messages WHERE message_id = %s", (m.id,))
        return rows[0]

    async def queue(self) -> list[tuple[Any, ...]]:
        return await self.db.query("SELECT message_id, claimed_by FROM tbl_message_queue ORDER BY message_id")

    DELETED = ("DELETED", "DELETED", 0, True)


class CancelTest(OperationsCase):
    async def test_out_of_a_lane(self) -> None:
        campaign = await self.messages.day_campaign(self.user, self.customer, DAY, "CAMP-1", "ahmad")
        m, other = await self.stored(2, campaign_id=campaign, dlr_url="https://shop/dlr")
        self.assertEqual(0, await self.cancel(m.id))
        self.assertEqual([other], self.here.lanes.messages)
        self.assertEqual(self.DELETED, await self.state(m))
        self.assertEqual((Decimal("9.5"), 2), (await self.balance(), await self.used()))
        self.assertEqual((2, 0, 1, 0, 0, 1), (await self.stats(campaign))[:6])
        self.assertEqual([(m.id, "DELETED")], await self.db.query("SELECT message_id, stat FROM tbl_deliver_outbox"))
        self.assertEqual(
            [(m.id, "https://shop/dlr", {"a": [m.id, m.dest, m.source, "DELETED"]})],
            await self.db.query("SELECT message_id, url, payload FROM tbl_callback_outbox"),
        )
        self.assertEqual([({self.user}, True)], self.here.told)
        self.assertIsNone(self.here.recall.oldest())

    async def test_receipts_are_for_those_who_want_them(self) -> None:
        batch = [(await self.stored(registered=registered))[0] for registered in (0, 1, 2, 3, 0x10)]
        batch += await self.stored(channel="HTTP_API")
        for m in batch:
            self.assertEqual(0, await self.cancel(m.id))
        told = [r[0] for r in await self.db.query("SELECT message_id FROM tbl_deliver_outbox ORDER BY message_id")]
        self.assertEqual([batch[1].id, batch[2].id], told)

    async def test_a_part_of_a_message_that_has_one_receipt(self) -> None:
        of = LongMessage("MSG-0")
        parts = [(await self.stored(long=LongPart(of, n, 2, True), registered=1 | OWN_RECEIPT))[0] for n in (1, 2)]
        for m in parts:
            self.assertEqual(0, await self.cancel(m.id))
        told = await self.db.query("SELECT message_id, stat, payload ->> 'n' FROM tbl_deliver_outbox")
        self.assertEqual([(parts[1].id, "DELETED", "2")], told)
        self.assertEqual([({self.user}, False)] * 2, self.here.told)

    async def test_out_of_the_queue_table(self) -> None:
        [m] = await self.stored(queued=True)
        [later] = await self.stored(due=FAR)
        for id in (m.id, later.id):
            self.assertEqual(0, await self.cancel(id))
        self.assertEqual([], await self.queue())
        self.assertEqual((self.DELETED, Decimal(10)), (await self.state(later), await self.balance()))

    async def test_many_cancels_are_one_walk(self) -> None:
        batch = await self.stored(15)
        self.here.lanes.messages += [self.message()] * 100_000
        answers: list[Any] = [Deferred.fromCoroutine(self.cancel(m.id)) for m in batch[:5]]
        for m in batch[5:]:
            await deferLater(reactor, 0.001)  # type: ignore[arg-type]
            answers.append(Deferred.fromCoroutine(self.cancel(m.id)))
        self.assertEqual([0] * 15, await gatherResults(answers))
        self.assertLess(self.here.lanes.walks, 5)

    async def test_what_may_have_gone_out(self) -> None:
        [m] = await self.stored(in_doubt=True)
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(m.id))
        self.assertEqual([m], self.here.lanes.messages)
        await self.messages.enqueue([{"i": m.id, "q": "a", "y": 1, "w": 0, "a": 1, "h": False, "b": True}])
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(m.id))
        [held] = await self.stored(queued=True)
        await self.messages.enqueue([{"i": held.id, "q": "a", "y": 1, "w": 0, "a": 1, "h": True}])
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(held.id))
        self.assertEqual(["QUEUED"] * 2, await self.statuses())

    async def test_one_that_an_smsc_had_in_vain(self) -> None:
        [m] = await self.stored()
        [standing] = (await self.here.store.standings([(self.user, m.id)]))[0]
        await self.db.execute("UPDATE messages SET sent_at = now() WHERE message_id = %s", (m.id,))
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(m.id))
        held = await self.here.recall.hold([(self.user, standing)])  # the look was older
        self.assertEqual({m.id: "QUEUED"}, await self.here.recall.end(held.values()))
        self.assertEqual(([m], None), (self.here.lanes.messages, self.here.recall.oldest()))

    async def test_parts_that_go_out_as_one(self) -> None:
        [m] = await self.stored()
        m.joined = (m, self.message())
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(m.id))
        self.assertEqual([m], self.here.lanes.messages)

    async def test_after_a_crash_what_was_in_memory_is_in_doubt(self) -> None:
        lost, claimed, waiting = [*(await self.stored()), *(await self.stored(queued=True)), *(await self.stored(due=FAR))]
        await self.messages.claim("a", 10)
        self.here.lanes.messages.clear()
        await self.messages.doubt()
        await self.messages.recover()
        self.assertEqual(
            [statuses.ESME_RCANCELFAIL, statuses.ESME_RCANCELFAIL, 0], [await self.cancel(m.id) for m in (lost, claimed, waiting)]
        )
        self.assertEqual([True, True], [m.in_doubt for m in await self.messages.claim("a", 10)])

    async def test_what_is_with_an_smsc(self) -> None:
        [m] = await self.stored()
        self.here.lanes.messages.clear()  # in a window
        begin = time.monotonic()
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(m.id))
        self.assertGreater(time.monotonic() - begin, 1.0)  # it might have come back
        await self.advance([{"i": m.id, "z": "SENT", "q": "a", "x": "1"}])
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(m.id))
        self.here.forwards.may = True
        self.assertEqual((0, [m.id]), (await self.cancel(m.id), [s.id for s in self.here.forwards.asked]))
        self.here.forwards.answer = False
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(m.id))

    async def test_one_that_comes_back_meanwhile(self) -> None:
        [m] = await self.stored()
        self.here.lanes.messages.clear()
        d = Deferred.fromCoroutine(self.cancel(m.id))
        await deferLater(reactor, 0.1)  # type: ignore[arg-type]
        self.here.lanes.messages.append(m)  # throttled
        self.assertEqual(0, await d)

    async def test_a_claim_and_a_cancel_at_once(self) -> None:
        await self.limits(balance="100")
        batch = await self.stored(60, queued=True)
        other = await self.another_node()
        work: list[Any] = [Deferred.fromCoroutine(self.cancel(m.id)) for m in batch]
        claims = [n.messages.claim("a", 5) for n in (self.here, other) * 6]
        claimed = {m.id for found in await gatherResults(claims) for m in found}
        answers = await gatherResults(work)
        cancelled = {m.id for m, status in zip(batch, answers, strict=True) if status == 0}
        self.assertEqual(set(), cancelled & claimed)
        self.assertEqual({m.id for m in batch}, cancelled | claimed)

    async def test_written_again_after_it_was_cancelled(self) -> None:
        """A node that spilled it did not hear that its row had been stored."""
        [m] = await self.stored()
        self.here.lanes.messages.clear()
        row = {"i": m.id, "q": "a", "y": 1, "w": 0, "a": 0, "h": False, "c": time.time()}
        await self.messages.enqueue([row])
        self.assertEqual(0, await self.cancel(m.id))
        await self.messages.enqueue([row])
        self.assertEqual([], await self.messages.claim("a", 10))
        self.assertEqual([], await self.queue())

    async def test_written_again_after_another_node_has_it(self) -> None:
        [m] = await self.stored()
        other = await self.another_node()
        row = {"i": m.id, "q": "a", "y": 1, "w": 0, "a": 0, "h": False, "c": time.time()}
        await self.messages.enqueue([row])
        self.assertEqual([m.id], [c.id for c in await other.messages.claim("a", 10)])
        await self.messages.enqueue([row])
        self.assertEqual([(m.id, other.number)], await self.queue())
        self.assertEqual([], await self.messages.claim("a", 10))

    async def test_who_is_meant(self) -> None:
        first, wap, else_ = [
            *(await self.stored(dest="962790000001")), *(await self.stored(dest="962790000001", service_type="WAP", queued=True)),
            *(await self.stored(dest="962790000002", due=FAR)),
        ]  # fmt: skip
        for wrong in ({"id": first.id, "source": "Else"}, {"id": first.id, "dest": else_.dest}, {"id": "x"}, {"id": ""}):
            self.assertNotEqual(0, await self.cancel(**wrong), wrong)
        self.assertEqual(statuses.ESME_RINVMSGID, await self.here.operations.cancel(Cancel(self.user + 1, first.id, "", "", "")))
        self.assertEqual(0, await self.cancel(source="Shop", dest="962790000001", service_type="WAP"))
        self.assertEqual(["QUEUED", "DELETED", "SCHEDULED"], [(await self.state(m))[0] for m in (first, wap, else_)])
        self.assertEqual(0, await self.cancel(source="Shop", dest="962790000001"))
        self.assertEqual("DELETED", (await self.state(first))[0])
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(source="Shop", dest="962790000001"))

    async def test_several_under_one_id(self) -> None:
        shown = self.maker.message()
        a, b = [(await self.stored(dest=d, shown_id=shown))[0] for d in ("962790000001", "962790000002")]
        self.assertEqual([[a.id, b.id]], [[s.id for s in f] for f in await self.here.store.standings([(self.user, shown)])])
        self.assertEqual(0, await self.cancel(shown, dest=b.dest))
        self.assertEqual(["QUEUED", "DELETED"], await self.statuses())
        self.here.lanes.messages.clear()
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(shown))

    async def test_the_database_goes_away_in_between(self) -> None:
        [m] = await self.stored()
        self.here.store.broken["standings"] = 1
        self.assertEqual(statuses.ESME_RSYSERR, await self.cancel(m.id))
        self.assertEqual([m], self.here.lanes.messages)
        self.here.store.broken["end"] = 2  # done, but the answer was lost
        d = Deferred.fromCoroutine(self.cancel(m.id))
        await deferLater(reactor, 0.3)  # type: ignore[arg-type]
        self.assertEqual(m.id, self.here.recall.oldest())  # a crash now would bring it back, if it were not ended
        self.assertEqual((0, Decimal(10)), (await d, await self.balance()))
        self.assertEqual(1, len(await self.db.query("SELECT 1 FROM tbl_deliver_outbox")))

    async def test_given_back_when_the_look_fails(self) -> None:
        [m] = await self.stored()
        [waiting] = await self.stored(queued=True)
        [gone] = await self.stored()
        self.here.lanes.withdraw({gone.id})
        wanted = [(self.user, s) for f in await self.here.store.standings([(self.user, x.id) for x in (m, waiting, gone)]) for s in f]
        self.here.store.broken["standings"] = 1
        d = Deferred.fromCoroutine(self.here.recall.hold(wanted))
        with self.assertRaises(Broken):
            await d
        self.assertEqual(([m], [(waiting.id, None)]), (self.here.lanes.messages, await self.queue()))


class OtherNodeTest(OperationsCase):
    async def test_its_memory(self) -> None:
        other = await self.another_node()
        [m] = await self.stored(node=other)
        [kept] = await self.stored(node=other)
        self.assertEqual(0, await self.cancel(m.id))
        self.assertEqual(([kept], self.DELETED), (other.lanes.messages, await self.state(m)))
        self.assertEqual([], await self.queue())

    async def test_what_it_has_claimed(self) -> None:
        other = await self.another_node()
        [m] = await self.stored(queued=True)
        other.lanes.messages += await other.messages.claim("a", 10)
        self.assertEqual(0, await self.cancel(m.id))
        self.assertEqual(([], self.DELETED), (other.lanes.messages, await self.state(m)))

    async def test_all_of_a_kind(self) -> None:
        other = await self.another_node()
        batch = [*(await self.stored(2, node=other)), *(await self.stored(2)), *(await self.stored(2, queued=True))]
        self.assertEqual(0, await self.cancel(source="Shop", dest=batch[0].dest))
        self.assertEqual(["DELETED"] * 6, await self.statuses())

    async def test_it_does_not_give_what_may_have_gone_out(self) -> None:
        other = await self.another_node()
        [m] = await self.stored(node=other, in_doubt=True)
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(m.id))
        self.assertEqual([m], other.lanes.messages)

    async def test_it_is_dead(self) -> None:
        other = await self.another_node()
        [m] = await self.stored(node=other)
        del self.nodes[other.number]
        self.assertEqual(statuses.ESME_RCANCELFAIL, await self.cancel(m.id))
        self.assertEqual([m], other.lanes.messages)

    async def test_what_was_asked_for_and_not_taken_goes_on_later(self) -> None:
        other = await self.another_node()
        [m] = await self.stored(node=other)
        other.recall.heard(f'{{"t": {other.number}, "f": {self.node}, "r": 1, "i": ["{m.id}"]}}')
        await deferLater(reactor, 0.1)  # type: ignore[arg-type]
        [(id, claimed)] = await self.queue()
        self.assertEqual((m.id, None, []), (id, claimed, await self.messages.claim("a", 10)))
        [(seconds,)] = await self.db.query("SELECT extract(epoch FROM due_at - now())::float8 FROM tbl_message_queue")
        self.assertTrue(5 < seconds < 11)

    async def test_notifications_that_say_nothing(self) -> None:
        for payload in ("", "{}", "[]", "null", '{"t": 0}', f'{{"t": {self.node}, "a": 99}}', f'{{"t": {self.node}, "f": 1}}'):
            self.here.recall.heard(payload)
        await deferLater(reactor, 0.05)  # type: ignore[arg-type]


class ReplaceTest(OperationsCase):
    async def replace(self, id: str, text: str = "New", **values: Any) -> int:
        def rewrite(old: Message) -> Message:
            new = Message()
            new.text, new.body, new.registered = text, text.encode(), 1
            for name, value in values.items():
                setattr(new, name, value)
            return new

        return await self.here.operations.replace(Replace(self.account, id, "Shop", rewrite))

    async def content(self, m: Message) -> tuple[Any, ...]:
        rows = await self.db.query("SELECT message_text, segments, price, status FROM messages WHERE message_id = %s", (m.id,))
        return rows[0]

    async def test_in_a_lane(self) -> None:
        [m] = await self.stored()
        self.assertEqual(0, await self.replace(m.id, "Longer", segments=3, valid_until=float(FAR)))
        self.assertEqual(("Longer", 3, Decimal("1.5"), "QUEUED"), await self.content(m))
        self.assertEqual((Decimal("8.5"), 3), (await self.balance(), await self.used()))
        [again] = self.here.lanes.messages
        self.assertEqual((m, "Longer", b"Longer", 3, FAR), (again, m.text, m.body, m.segments, m.valid_until))
        m.registered |= OWN_RECEIPT
        self.assertEqual(0, await self.replace(m.id, "S"))
        self.assertEqual(m.registered, 1 | OWN_RECEIPT)
        self.assertEqual((Decimal("9.5"), 3), (await self.balance(), await self.used()))  # quota counts what was submitted

    async def test_in_the_queue_table(self) -> None:
        [m] = await self.stored(due=FAR)
        self.assertEqual(0, await self.replace(m.id))
        self.assertEqual([(m.id, None)], await self.queue())
        self.assertEqual(("New", 1, Decimal("0.5"), "SCHEDULED"), await self.content(m))
        self.assertEqual([], await self.messages.claim("a", 10))
        self.assertEqual(0, await self.replace(m.id, "Now", not_before=time.time() - 1))
        self.assertEqual(["Now"], [c.text for c in await self.messages.claim("a", 10)])

    async def test_out_of_a_lane_into_the_future(self) -> None:
        [m] = await self.stored()
        self.assertEqual(0, await self.replace(m.id, not_before=float(FAR)))
        self.assertEqual(([], [(m.id, None)], "SCHEDULED"), (self.here.lanes.messages, await self.queue(), (await self.content(m))[3]))
        self.assertIsNone(self.here.recall.oldest())

    async def test_neither_quota_nor_money(self) -> None:
        [m] = await self.stored()
        await self.limits(quota=2, balance="10")
        self.assertEqual(statuses.ESME_RSUBMITFAIL, await self.replace(m.id, segments=3))
        await self.limits(quota=100, balance="0.5")
        self.assertEqual(statuses.ESME_RSUBMITFAIL, await self.replace(m.id, segments=3))
        self.assertEqual((("Hello", 1, Decimal("0.5"), "QUEUED"), 1), (await self.content(m), await self.used()))
        self.assertEqual([m], self.here.lanes.messages)

    async def test_what_cannot_be(self) -> None:
        [m] = await self.stored()
        self.assertEqual(statuses.ESME_RINVMSGID, await self.replace("x"))

        def rewrite(old: Message) -> Message:
            raise RejectPdu(statuses.ESME_RINVEXPIRY)

        self.assertEqual(statuses.ESME_RINVEXPIRY, await self.here.operations.replace(Replace(self.account, m.id, "", rewrite)))
        self.assertEqual([m], self.here.lanes.messages)
        await self.advance([{"i": m.id, "z": "SENT", "q": "a", "x": "1"}])
        self.assertEqual(statuses.ESME_RREPLACEFAIL, await self.replace(m.id))
        shown = self.maker.message()
        await self.stored(2, shown_id=shown)
        self.assertEqual(statuses.ESME_RREPLACEFAIL, await self.replace(shown))

    async def test_both_at_once(self) -> None:
        [m] = await self.stored()
        d = Deferred.fromCoroutine(self.replace(m.id))
        answers = (await self.cancel(m.id), await d)
        self.assertEqual("DELETED", (await self.state(m))[0])
        self.assertEqual(([], Decimal(10)), (self.here.lanes.messages, await self.balance()))
        self.assertIn(answers, ((0, 0), (0, statuses.ESME_RREPLACEFAIL)))


class Origin:
    def __init__(self) -> None:
        self.answers: list[Message] = []

    def answered(self, messages: list[Message]) -> None:
        self.answers += messages


class ReplaceIfPresentTest(OperationsCase):
    async def submit(self, *texts: str, **values: Any) -> list[Message]:
        origin, batch = Origin(), []
        for text in texts:
            m = self.message(price="0.5")
            m.text, m.replaces, m.registered, m.origin = text, True, 1, origin
            for name, value in values.items():
                setattr(m, name, value)
            batch.append(m)
            self.here.operations.submit(self.account, m)
        await self.here.operations.drained()
        self.assertEqual(len(batch), len(origin.answers))
        return batch

    async def test_none_is_there(self) -> None:
        [m] = await self.submit("first")
        self.assertEqual([m], self.here.lanes.messages)

    async def test_the_latest_of_its_kind(self) -> None:
        older, wap, latest = await self.stored(3)
        await self.db.execute("UPDATE messages SET service_type = 'WAP' WHERE message_id = %s", (wap.id,))
        [m] = await self.submit("new")
        self.assertEqual({older.id, wap.id, m.id}, {x.id for x in self.here.lanes.messages})
        self.assertEqual(self.DELETED, await self.state(latest))
        self.assertEqual(Decimal("8.5"), await self.balance())

    async def test_one_replaces_the_other(self) -> None:
        first, second, third = await self.submit("1", "2", "3")
        self.assertEqual(["DELETED", "DELETED", "QUEUED"], [(await self.state(m))[0] for m in (first, second, third)])
        self.assertEqual([third], self.here.lanes.messages)

    async def test_one_that_is_refused_replaces_nothing(self) -> None:
        [old] = await self.stored()
        [waiting] = await self.stored(due=FAR, dest="962790000009")
        self.here.intake.refuse = True
        await self.submit("new")
        await self.submit("new", dest=waiting.dest)
        self.assertEqual([old], self.here.lanes.messages)
        self.assertEqual([(waiting.id, None)], await self.queue())
        self.assertEqual(["QUEUED", "SCHEDULED"], await self.statuses())

    async def test_in_the_queue_table_and_on_another_node(self) -> None:
        other = await self.another_node()
        for node, queued in ((self.here, True), (other, False)):
            [old] = await self.stored(node=node, queued=queued)
            [new] = await self.submit("new")
            self.assertEqual(["DELETED", "QUEUED"], [(await self.state(m))[0] for m in (old, new)])
            await self.cancel(new.id)

    async def test_without_a_database_it_is_a_submission_like_any_other(self) -> None:
        await self.stored()
        self.here.store.broken["standings"] = 1
        [m] = await self.submit("new")
        self.assertIn(m, self.here.lanes.messages)


class ElseTest(OperationsCase):
    async def test_expiry_in_the_queue_table(self) -> None:
        late = await self.stored(2, queued=True, valid_until=time.time() - 1)
        await self.stored(queued=True, valid_until=float(FAR))
        await self.stored(due=FAR)
        await self.here.recall.expire()
        self.assertEqual([m.id for m in late], sorted(self.here.expired))
        await self.here.recall.expire()
        self.assertEqual(2, len(self.here.expired))

    async def test_a_connector_that_is_gone(self) -> None:
        [m] = await self.stored()
        self.here.lanes.homeless = True
        [found] = await self.here.store.standings([(self.user, m.id)])
        held = await self.here.recall.hold([(self.user, found[0])])
        await self.here.recall.give_back(held.values())
        self.assertEqual([(m.id, None)], await self.queue())

    async def test_claims_pass_over_what_is_not_due(self) -> None:
        await self.limits(quota=0, balance="1000")
        await self.stored(300, due=FAR)
        [soon] = await self.stored(due=time.time() + 0.2)
        self.assertEqual([], await self.messages.claim("a", 10))
        await deferLater(reactor, 0.3)  # type: ignore[arg-type]
        self.assertEqual([soon.id], [m.id for m in await self.messages.claim("a", 10)])
        self.assertEqual([(301, False)], await self.db.query("SELECT count(*), ready FROM tbl_message_queue GROUP BY 2"))

    async def test_blocks_of_short_ids(self) -> None:
        first, second = await self.here.store.short_ids(), await self.here.store.short_ids()
        self.assertEqual(16_384, second - first)
        await self.db.query("SELECT setval('short_message_ids', 4294934529, false)")
        last = await self.here.store.short_ids()
        self.assertLess(last + 16_384, 2**32)
        self.assertEqual(1, await self.here.store.short_ids())

    async def test_who_is_to_be_asked_to_bind(self) -> None:
        await self.accounts.set_user("ahmad", {"outbind_host": "esme.example", "outbind_port": 2778, "outbind_password": "pw"})
        self.assertEqual([], await self.here.store.away())
        await self.db.execute("INSERT INTO tbl_deliver_outbox (user_id, message_id) VALUES (%s, 'MSG-1')", (self.user,))
        wanted = [(self.user, "ahmad", "esme.example", 2778, "pw")]
        self.assertEqual(wanted, await self.here.store.away())
        other = await self.another_node()
        await self.here.messages.heartbeat("")
        self.assertEqual([], await other.store.away())
        bound = "INSERT INTO tbl_smpp_sessions (user_id, system_id, bind_type, session_token) VALUES (%s, 'ahmad', %s, %s)"
        await self.db.execute(bound, (self.user, "TRANSMITTER", "t"))
        self.assertEqual(wanted, await self.here.store.away())
        await self.db.execute(bound, (self.user, "RECEIVER", "r"))
        self.assertEqual([], await self.here.store.away())
        self.assertNotIn("pw", str(await self.audit()))
