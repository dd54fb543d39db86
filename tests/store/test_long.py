"""Parts of ESMEs' long messages in PostgreSQL, and the one receipt of those that have one."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import gatherResults

from protei_bulk.channels.smpp.submission import message_of
from protei_bulk.model import ids, lifecycle
from protei_bulk.model.long import OWN_RECEIPT, LongMessage, LongPart
from protei_bulk.model.message import Message
from protei_bulk.receipts import outcomes
from protei_bulk.smpp import fast
from protei_bulk.store.messages import Messages, Row, row_of
from protei_bulk.store.operations import OperationStore
from protei_bulk.store.receipts import Receipts
from tests.channels.smpp.fakes import submit
from tests.store.test_messages import DAY, MessagesCase

_FINAL = outcomes._WORST


class LongCase(MessagesCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.receipts = Receipts(self.db, self.node)

    def parts(self, total: int, *, registered: Iterable[int] = (), merged: bool = True, come: Iterable[int] = ()) -> list[Message]:
        """Parts in the order of `come` (all, where it is empty)."""
        of = LongMessage()
        asked = list(registered) or [1] * total
        made = []
        for number in list(come) or range(1, total + 1):
            m = self.message()
            of.id = of.id or m.id
            m.long = LongPart(of, number, total, merged)
            m.text, m.registered = f"Part {number} of a message that is long", asked[number - 1] | (OWN_RECEIPT if merged else 0)
            made.append(m)
        return made

    async def finish(self, m: Message, status: str = "DELIVERED", err: str = "000") -> Any:
        """As Outcomes does: [users told] or None."""
        assert m.long is not None
        rows = [{"i": m.id, "z": status, "d": lifecycle.TO_RECEIPT[status], "e": err}]
        result = await self.messages.advance(rows, 0, None, [], [], [], [], [m.long.of.id])
        return result[0][-1]

    async def told(self) -> list[tuple[Any, ...]]:
        """(message, stat, err, parts, delivered, first words) of each receipt in the outbox; it is empty then."""
        found = []
        for outbox_id, _, stat, err, m, payload, _, id in await self.receipts.outbox(self.user, 100):
            assert m is not None and m.id == id and payload is not None
            found.append((id, stat, err, payload["n"], payload["k"], payload["x"]))
            await self.receipts.delivered([outbox_id])
        return found

    async def waiting(self) -> list[tuple[Any, ...]]:
        return await self.db.query("SELECT long_id, due_at IS NULL FROM tbl_long_receipts ORDER BY long_id")

    async def overdue(self) -> list[int]:
        await self.db.execute("UPDATE tbl_long_receipts SET due_at = due_at - interval '16 minutes'")
        return await self.messages.merge_overdue()


class StoringTest(LongCase):
    async def test_their_place_is_kept(self) -> None:
        parts = self.parts(3, merged=False, come=(2, 1))
        await self.accept([*parts, self.message()])
        rows = await self.db.query("SELECT message_id, long_id, long_part, long_total, long_merged FROM messages ORDER BY 1")
        first = parts[0].id
        self.assertEqual([(*r[1:],) for r in rows], [(first, 2, 3, None), (first, 1, 3, None), (None, None, None, None)])
        self.assertEqual(await self.waiting(), [])
        back = await self.messages.long_parts(ids.first_at(0))
        self.assertEqual([(m.id, m.long and (m.long.of.id, m.long.number, m.long.total, m.long.merged)) for m in back],
                         [(parts[0].id, (first, 2, 3, False)), (parts[1].id, (first, 1, 3, False))])  # fmt: skip

    async def test_another_nodes_are_not_ours(self) -> None:
        self.maker = ids.IdMaker(time.time, self.node + 1)
        await self.accept(self.parts(2))
        self.assertEqual(await self.messages.long_parts(ids.first_at(0)), [])

    async def test_one_receipt_is_expected(self) -> None:
        parts = self.parts(3)
        for m in parts:
            self.assertEqual(await self.accept([m]), {})
        self.assertEqual(await self.waiting(), [(parts[0].id, False)])

    async def test_not_for_what_was_refused(self) -> None:
        await self.limits(quota=1)
        first, second = self.parts(2), self.parts(2)
        self.assertEqual(await self.accept([first[0], *second]), {m.id: "Q" for m in second})
        self.assertEqual(await self.waiting(), [(first[0].id, False)])

    async def test_a_text_that_looks_like_it(self) -> None:
        m = message_of(fast.decode_sm(p := submit(1, b'"lm":true'), 16, len(p)), 1.0)
        m.id, m.user_id, m.customer_id, m.campaign_id, m.smsc = self.maker.message(), self.user, self.customer, 1, "a"
        self.assertEqual(await self.messages.accept(self.charges([m]), [row_of(m, DAY)], False), None)
        self.assertEqual(await self.waiting(), [])


class MergingTest(LongCase):
    async def stored(self, total: int, **values: Any) -> list[Message]:
        parts = self.parts(total, **values)
        await self.accept(parts)
        return parts

    async def test_the_last_part_tells_of_all(self) -> None:
        parts = await self.stored(3)
        self.assertIsNone(await self.finish(parts[1]))
        self.assertIsNone(await self.finish(parts[0]))
        self.assertEqual(await self.told(), [])
        self.assertEqual(await self.finish(parts[2]), [self.user])
        self.assertEqual(await self.told(), [(parts[2].id, "DELIVRD", "000", 3, 3, "Part 1 of a message ")])
        self.assertEqual(await self.waiting(), [])

    async def test_the_worst_counts_and_has_its_error(self) -> None:
        parts = await self.stored(3)
        for m, status, err in zip(parts, ("DELIVERED", "EXPIRED", "FAILED"), ("000", "009", "005"), strict=True):
            await self.finish(m, status, err)
        self.assertEqual(await self.told(), [(parts[2].id, "UNDELIV", "005", 3, 1, "Part 1 of a message ")])

    async def test_the_ranking_is_that_of_messages_that_we_split(self) -> None:
        for n, status in enumerate(_FINAL):
            for better in _FINAL[n:]:
                parts = await self.stored(2)
                await self.finish(parts[0], better)
                await self.finish(parts[1], status)
                self.assertEqual([t[1] for t in await self.told()], [lifecycle.TO_RECEIPT[status]], (status, better))

    async def test_who_wants_to_know(self) -> None:
        for asked, delivered, failed in (
            ((0, 0), 0, 0), ((1, 0), 1, 1), ((0, 1), 1, 1), ((2, 0), 0, 1), ((0, 3), 1, 0), ((2, 3), 1, 1), ((0x10, 4), 0, 0),
        ):  # fmt: skip
            for status, expected in (("DELIVERED", delivered), ("FAILED", failed)):
                parts = await self.stored(2, registered=asked)
                await self.finish(parts[0])
                await self.finish(parts[1], status)
                self.assertEqual((len(await self.told()), await self.waiting()), (expected, []), (asked, status))

    async def test_the_id_is_that_of_the_last_part_in_any_order(self) -> None:
        for come in ((3, 1, 2), (2, 3, 1)):
            parts = await self.stored(3, come=come)
            for m in parts:
                await self.finish(m)
            last = next(m for m in parts if m.long and m.long.number == 3)
            self.assertEqual(await self.told(), [(last.id, "DELIVRD", "000", 3, 3, "Part 1 of a message ")])

    async def test_a_receipt_that_comes_twice(self) -> None:
        parts = await self.stored(2)
        for m in (parts[0], parts[0], parts[1], parts[1], parts[0]):
            await self.finish(m)
        self.assertEqual(len(await self.told()), 1)

    async def test_a_part_that_came_twice(self) -> None:
        """Its ESME had lost our answer: two messages, one part."""
        parts = await self.stored(2)
        again = self.message()
        again.long, again.registered = LongPart(LongMessage(parts[0].id), 2, 2, True), 1 | OWN_RECEIPT
        await self.accept([again])
        for m in parts:
            await self.finish(m)
        self.assertEqual(await self.told(), [])
        await self.finish(again, "FAILED", "005")
        self.assertEqual([t[:5] for t in await self.told()], [(again.id, "UNDELIV", "005", 2, 2)])

    async def test_parts_that_never_come(self) -> None:
        parts = await self.stored(3, come=(1, 3))
        for m in parts:
            await self.finish(m)
        self.assertEqual(await self.messages.merge_overdue(), [])
        self.assertEqual(await self.told(), [])
        self.assertEqual(await self.overdue(), [self.user])
        self.assertEqual(await self.told(), [(parts[1].id, "DELIVRD", "000", 2, 2, "Part 1 of a message ")])
        self.assertEqual(await self.waiting(), [])

    async def test_parts_that_never_come_and_others_that_are_not_done(self) -> None:
        parts = await self.stored(3, come=(1, 2))
        await self.finish(parts[0])
        self.assertEqual(await self.overdue(), [])
        self.assertEqual(await self.waiting(), [(parts[0].id, True)])
        self.assertEqual(await self.overdue(), [])  # not looked at again
        self.assertEqual(await self.finish(parts[1], "EXPIRED", "EXPIRED"), [self.user])
        self.assertEqual(await self.told(), [(parts[1].id, "EXPIRED", "EXPIRED", 2, 1, "Part 1 of a message ")])

    async def test_taken_back(self) -> None:
        store = OperationStore(self.db, self.node)
        parts = await self.stored(2)
        await self.finish(parts[0])
        long = parts[0].long
        assert long is not None
        await store.end([{"i": parts[1].id, "z": "DELETED", "d": "DELETED", "g": long.of.id}])
        self.assertEqual([t[:5] for t in await self.told()], [(parts[1].id, "DELETED", "", 2, 1)])

    async def test_disowned_ones_never_were(self) -> None:
        parts = await self.stored(2)
        self.assertEqual(await self.messages.disown([parts[1].id]), 1)
        await self.finish(parts[0])
        self.assertEqual(await self.told(), [])
        self.assertEqual(await self.overdue(), [self.user])
        self.assertEqual([t[3:5] for t in await self.told()], [(1, 1)])

    async def test_two_nodes_at_once(self) -> None:
        """Each makes one part final, and neither has seen the other's."""
        nodes = [self.messages, Messages(self.db, self.db.dedicated(), self.db.dedicated(), self.node + 1)]
        longs = [await self.stored(2) for _ in range(40)]
        rows = [[{"i": parts[n].id, "z": "DELIVERED", "d": "DELIVRD", "e": "000"} for parts in longs] for n in (0, 1)]
        names = [parts[0].id for parts in longs]
        for i in range(0, 40, 5):
            await gatherResults(
                [nodes[n].advance(rows[n][i : i + 5], 0, None, [], [], [], [], names[i : i + 5][:: 1 - 2 * n]) for n in (0, 1)]
            )
        self.assertEqual(sorted(t[0] for t in await self.told()), [parts[1].id for parts in longs])
        self.assertEqual(await self.waiting(), [])

    async def test_any_order_in_any_batches(self) -> None:
        """Receipts in any order, together or apart, some twice, some batches again: one receipt a message, with the worst outcome."""
        chance = random.Random(7)
        for _ in range(25):
            longs = [await self.stored(chance.randint(2, 5), registered=[1] * 5) for _ in range(chance.randint(1, 4))]
            outcome = {m.id: chance.choice(_FINAL) for parts in longs for m in parts}
            coming = [m for parts in longs for m in parts]
            coming += chance.sample(coming, len(coming) // 3)
            chance.shuffle(coming)
            while coming:
                n = chance.randint(1, 4)
                batch, coming = coming[:n], coming[n:]
                rows: dict[str, Row] = {}
                for m in batch:
                    rows[m.id] = {"i": m.id, "z": outcome[m.id], "d": lifecycle.TO_RECEIPT[outcome[m.id]], "e": "000"}
                merges = [m.long.of.id for m in batch if m.long]
                for _ in range(chance.choice((1, 1, 1, 2))):  # after a COMMIT whose answer was lost
                    await self.messages.advance(list(rows.values()), 0, None, [], [], [], [], merges)
            expected = []
            for parts in longs:
                states = [outcome[m.id] for m in parts]
                worst = next(w for w in _FINAL if w in states)
                expected.append((parts[-1].id, lifecycle.TO_RECEIPT[worst], len(parts), states.count("DELIVERED")))
            self.assertEqual(sorted((t[0], t[1], t[3], t[4]) for t in await self.told()), sorted(expected))


class DetailsTest(LongCase):
    """What a receipt says beside state and error."""

    async def test_over_the_journal(self) -> None:
        m = self.message()
        await self.accept([m])
        journal = f'[["{m.id}", {self.user}, "UNDELIV", "034", {{"t": {{"1059": "030022"}}}}], ["{m.id}", {self.user}, "DELIVRD", "000"]]'
        await self.advance([], 5, journal)
        await self.messages.recover()
        found = await self.receipts.outbox(self.user, 10)
        self.assertEqual([(r[2], r[3], r[5]) for r in found], [("UNDELIV", "034", {"t": {"1059": "030022"}}), ("DELIVRD", "000", None)])

    async def test_kept(self) -> None:
        m = self.message()
        await self.accept([m])
        await self.receipts.keep([{"u": self.user, "i": m.id, "s": "DELIVRD", "e": "000", "p": {"n": 3, "k": 3}},
                                  {"u": self.user, "i": m.id, "s": "DELIVRD", "e": "000"}])  # fmt: skip
        self.assertEqual([r[5] for r in await self.receipts.outbox(self.user, 10)], [{"n": 3, "k": 3}, None])

    async def test_parked(self) -> None:
        await self.receipts.park([("a", "x", "UNDELIV", "034", {"1059": "030022"}), ("a", "y", "DELIVRD", "000")])
        found = [tuple(r[1:]) for r in await self.receipts.parked(0, 10)]
        self.assertEqual(found, [("a", "x", "UNDELIV", "034", {"1059": "030022"}), ("a", "y", "DELIVRD", "000", None)])

    async def test_old_ones_go(self) -> None:
        parts = self.parts(2)
        await self.accept(parts)
        await self.db.execute("UPDATE tbl_long_receipts SET due_at = NULL, long_id = 'MSG-000000000000'")
        await self.receipts.expire_outbox(30)
        self.assertEqual(await self.waiting(), [])
