from __future__ import annotations

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import psycopg2
from twisted.internet.defer import gatherResults

from protei_bulk.channels.smpp.submission import message_of
from protei_bulk.model import ids, lifecycle
from protei_bulk.model.faults import Unstorable
from protei_bulk.model.message import Message
from protei_bulk.smpp import fast, tags
from protei_bulk.store.leases import enter_node
from protei_bulk.store.messages import Messages, Row, row_of
from protei_bulk.store.receipts import Receipts
from tests.channels.smpp.fakes import submit
from tests.store.database import DatabaseCase

DAY = "2027-01-15"


class MessagesCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.maker = ids.IdMaker(time.time)
        self.node = (await enter_node(self.db, "one"))[0]
        self.messages = Messages(self.db, self.db.dedicated(), self.db.dedicated(), self.node)
        self.user = await self.ahmad()
        ((self.customer,),) = await self.db.query("SELECT customer_id FROM users")

    async def limits(self, quota: int = 0, balance: str = "0", credit: str = "0") -> None:
        await self.db.execute("UPDATE users SET max_msg_per_day = %s", (quota,))
        await self.db.execute("UPDATE customers SET balance = %s, credit_limit = %s", (Decimal(balance), Decimal(credit)))

    def message(self, *, segments: int = 1, price: str = "0", campaign: int = 1) -> Message:
        m = Message()
        m.id, m.user_id, m.customer_id, m.campaign_id = self.maker.message(), self.user, self.customer, campaign
        m.source, m.dest, m.text, m.smsc, m.segments, m.price = "Shop", "962788123456", "Hello", "a", segments, Decimal(price)
        m.charge = "A" if m.price else None
        return m

    def charges(self, batch: list[Message]) -> list[Row]:
        return [
            {
                "u": self.user, "c": self.customer, "d": DAY, "n": sum(m.segments for m in batch), "k": batch[0].campaign_id,
                "a": str(sum(Decimal(m.price) for m in batch)), "m": len(batch), "h": str(sum(Decimal(m.price) for m in batch)),
                "b": sum(bool(m.price) for m in batch),
            }
        ]  # fmt: skip

    async def accept(self, batch: list[Message], queued: bool = False, campaigns: Sequence[Row] = ()) -> dict[str, str]:
        return await self.messages.accept(self.charges(batch), [row_of(m, DAY) for m in batch], queued, campaigns) or {}

    async def new_campaign(self, **values: Any) -> tuple[int, Row]:
        [number] = await self.messages.campaign_numbers(1)
        row = {"k": number, "i": "CAMP-1", "u": self.user, "c": self.customer, "h": "HTTP_API", "n": "n", "f": "Shop", "x": "Hi"}
        return number, row | {"e": "AUTO", "y": "NORMAL", "w": "http://x/", "s": None, "z": "RUNNING"} | values

    async def used(self) -> int:
        rows = await self.db.query("SELECT messages_sent FROM tbl_quota_usage WHERE period_date = %s", (DAY,))
        return sum(r[0] for r in rows)

    async def balance(self) -> Decimal:
        return Decimal((await self.db.query("SELECT balance FROM customers"))[0][0])

    async def ids(self) -> list[str]:
        return [r[0] for r in await self.db.query("SELECT message_id FROM messages ORDER BY message_id")]

    async def statuses(self) -> list[str]:
        return [r[0] for r in await self.db.query("SELECT status FROM messages ORDER BY message_id")]

    async def stats(self, campaign: int) -> tuple[Any, ...]:
        return (await self.db.query("SELECT * FROM get_campaign_stats(%s)", (campaign,)))[0]

    async def advance(self, rows: list[Row], journal_id: int = 0, journal: str | None = None, outbox: Sequence[Row] = (),
                      callbacks: Sequence[Row] = (), dequeue: Sequence[str] = (), parts: Sequence[Row] = ()) -> int:  # fmt: skip
        result = await self.messages.advance(rows, journal_id, journal, list(outbox), list(callbacks), list(dequeue), list(parts))
        return int(result[0][0])


class QuotaTest(MessagesCase):
    async def test_exactly_at_the_limit(self) -> None:
        await self.limits(quota=5)
        self.assertEqual({}, await self.accept([self.message() for _ in range(3)]))
        self.assertEqual({}, await self.accept([self.message(segments=2)]))
        late = self.message()
        self.assertEqual({late.id: "Q"}, await self.accept([late]))
        self.assertEqual((5, 4), (await self.used(), len(await self.ids())))

    async def test_part_of_a_batch(self) -> None:
        await self.limits(quota=5)
        for first in (True, False):
            await self.db.execute("UPDATE tbl_quota_usage SET messages_sent = 0")
            batch = [self.message(segments=2) for _ in range(4)]
            self.assertEqual({m.id: "Q" for m in batch[2:]}, await self.accept(batch), first)
            self.assertEqual(4, await self.used())

    async def test_refused_ones_are_not_counted(self) -> None:
        await self.limits(quota=1)
        campaign = await self.messages.day_campaign(self.user, self.customer, DAY, "CAMP-1", "ahmad")
        await self.accept([self.message(campaign=campaign), self.message(campaign=campaign)])
        self.assertEqual(1, (await self.stats(campaign))[0])

    async def test_two_lanes_share_what_is_left(self) -> None:
        await self.limits(quota=50)
        lanes = [self.messages, Messages(self.db, self.db.dedicated(), self.db.dedicated(), self.node)]
        batches = [[self.message(segments=1 + n % 2) for n in range(8)] for _ in range(12)]
        refused = await gatherResults(
            [lanes[i % 2].accept(self.charges(b), [row_of(m, DAY) for m in b], False) for i, b in enumerate(batches)]
        )
        stored = await self.db.query("SELECT sum(segments), count(*) FROM messages")
        self.assertEqual((await self.used(), 96 - sum(len(r or {}) for r in refused)), stored[0])
        self.assertLessEqual(stored[0][0], 50)
        self.assertGreaterEqual(stored[0][0], 49)

    async def test_null_is_the_default_and_not_no_limit(self) -> None:
        await self.db.execute("UPDATE users SET max_msg_per_day = NULL")
        self.assertEqual({}, await self.accept([self.message()]))
        await self.db.execute("UPDATE tbl_quota_usage SET messages_sent = 499999, period_date = %s", (DAY,))
        first, second = self.message(), self.message()
        self.assertEqual({second.id: "Q"}, await self.accept([first, second]))
        await self.db.execute("UPDATE tbl_quota_usage SET period_date = account_today(user_id)")
        self.assertEqual([(False,)], await self.db.query("SELECT check_daily_quota(%s)", (self.user,)))

    async def test_each_day_has_its_own_limit(self) -> None:
        """A batch of two days, one of which is short."""
        await self.limits(quota=3)
        before = [self.message(campaign=1) for _ in range(3)]
        after = [self.message(campaign=2) for _ in range(2)]
        await self.accept([self.message(campaign=1)])
        charges = self.charges(before) + [{**self.charges(after)[0], "d": "2027-01-16"}]
        rows = [row_of(m, DAY) for m in before] + [row_of(m, "2027-01-16") for m in after]
        self.assertEqual({before[2].id: "Q"}, await self.messages.accept(charges, rows, False))
        used = await self.db.query("SELECT period_date::text, messages_sent FROM tbl_quota_usage ORDER BY 1")
        self.assertEqual([(DAY, 3), ("2027-01-16", 2)], used)

    async def test_no_limit(self) -> None:
        await self.limits(quota=0)
        self.assertEqual({}, await self.accept([self.message(segments=200) for _ in range(3)]))
        self.assertEqual(600, await self.used())


class BalanceTest(MessagesCase):
    async def test_down_to_the_credit_limit_and_no_further(self) -> None:
        await self.limits(balance="0.5", credit="0.5")
        batch = [self.message(segments=2, price="0.3") for _ in range(5)]
        self.assertEqual({m.id: "B" for m in batch[3:]}, await self.accept(batch))
        self.assertEqual((Decimal("-0.4"), 6), (await self.balance(), await self.used()))
        self.assertEqual({}, await self.accept([self.message(price="0.1")]))
        late = self.message(price="0.000001")
        self.assertEqual({late.id: "B"}, await self.accept([late]))
        self.assertEqual((Decimal("-0.5"), 7), (await self.balance(), await self.used()))

    async def test_what_costs_nothing_goes_without_money(self) -> None:
        await self.limits()
        free, dear = self.message(), self.message(price="1")
        self.assertEqual({dear.id: "B"}, await self.accept([free, dear]))
        self.assertEqual(([free.id], 1), (await self.ids(), await self.used()))

    async def test_quota_and_money_are_short(self) -> None:
        await self.limits(quota=3, balance="2")
        batch = [self.message(price="1") for _ in range(5)]
        self.assertEqual({batch[2].id: "B", batch[3].id: "Q", batch[4].id: "Q"}, await self.accept(batch))
        self.assertEqual((Decimal(0), 2), (await self.balance(), await self.used()))

    async def test_two_lanes_never_overdraw(self) -> None:
        await self.limits(balance="10", credit="5")
        second = Messages(self.db, self.db.dedicated(), self.db.dedicated(), self.node)
        batches = [[self.message(price="1") for _ in range(4)] for _ in range(8)]
        await gatherResults(
            [(self.messages, second)[i % 2].accept(self.charges(b), [row_of(m, DAY) for m in b], False) for i, b in enumerate(batches)]
        )
        self.assertEqual((Decimal(-5), 15, 15), (await self.balance(), await self.used(), len(await self.ids())))


class DisownTest(MessagesCase):
    async def test_as_if_they_had_never_been(self) -> None:
        await self.limits(balance="10")
        campaign, row = await self.new_campaign()
        batch = [self.message(segments=2, price="0.5", campaign=campaign) for _ in range(4)]
        batch[1].queued = True
        await self.accept(batch, queued=True, campaigns=[row])
        await self.db.execute("UPDATE tbl_quota_usage SET period_date = account_today(user_id)")
        await self.advance([{"i": batch[2].id, "z": "SENT", "q": "a", "x": "1"}])
        wanted = [m.id for m in batch[:3]] + [self.maker.message()]
        self.assertEqual(2, await self.messages.disown(wanted))
        self.assertEqual(0, await self.messages.disown(wanted))
        self.assertEqual(["REJECTED", "REJECTED", "SENT", "QUEUED"], await self.statuses())
        self.assertEqual(([(4,)], Decimal(9)), (await self.db.query("SELECT messages_sent FROM tbl_quota_usage"), await self.balance()))
        self.assertEqual([(0,)], await self.db.query("SELECT count(*) FROM tbl_message_queue"))
        self.assertEqual((4, 0, 1, 1, 0, 2), (await self.stats(campaign))[:6])


class RoundTripTest(MessagesCase):
    async def test_octets_come_back(self) -> None:
        pdus = [
            submit(1, b"Hi @\x00 \x1be\x1b"),
            submit(1, bytes(range(128)), data_coding=4),
            submit(1, b"", data_coding=4),
            submit(1, b"\xd8\x3d\x00\x00", data_coding=8),
            submit(1, "\u0645 \U0001f600".encode("utf-16-be"), data_coding=8),
            submit(1, b"a\0b\xff", data_coding=3),
            submit(1, b"\x05\0\x03\x01\x02\x01rest", esm_class=0x43),
            submit(1, b"", tlvs={tags.MESSAGE_PAYLOAD: b"long \x1b( " * 60, 0x1400: b"\0\xff"}),
            submit(1, b"Hi", validity=b"000001000000000R"),
        ]
        batch = []
        for pdu in pdus:
            m = message_of(fast.decode_sm(pdu, 16, len(pdu)), 1_800_000_000.0)
            m.id, m.user_id, m.campaign_id, m.smsc, m.queued = self.maker.message(), self.user, 1, "a", True
            m.source_ton = 200
            batch.append(m)
        self.assertEqual({}, await self.accept(batch, queued=True))
        back = await self.messages.claim("a", 100)
        names = ("id", "body", "udh", "data_coding", "esm_class", "source", "source_ton", "dest", "text", "tlvs", "valid_until", "segments")
        for m, b in zip(batch, back, strict=True):
            for name in names:
                self.assertEqual(getattr(m, name), getattr(b, name), name)


class AdvanceTest(MessagesCase):
    async def setUp(self) -> None:
        await super().setUp()
        await self.limits()
        self.campaign = await self.messages.day_campaign(self.user, self.customer, DAY, "CAMP-1", "ahmad")
        self.batch = [self.message(campaign=self.campaign) for _ in range(4)]
        await self.accept(self.batch)

    def rows(self, *states: str, smsc_id: bool = False) -> list[Row]:
        made: list[Row] = []
        for m, state in zip(self.batch, states, strict=False):
            made.append({"i": m.id, "z": state, "q": "a"} | ({"x": f"S{m.id}"} if smsc_id else {}))
        return made

    async def test_a_final_state_stays(self) -> None:
        await self.advance(self.rows("SENT", "SENT", "SENT", "SENT", smsc_id=True))
        await self.advance(self.rows("DELIVERED", "FAILED", "EXPIRED"))
        await self.advance(self.rows("FAILED", "DELIVERED", "DELIVERED", "DELIVERED"))
        self.assertEqual(["DELIVERED", "FAILED", "EXPIRED", "DELIVERED"], await self.statuses())
        expected = (4, 0, 0, 0, 2, 2, Decimal("100.00"))
        self.assertEqual(expected, await self.stats(self.campaign))
        await self.messages.roll_up()
        self.assertEqual(expected, await self.stats(self.campaign))
        self.assertEqual([(0,)], await self.db.query("SELECT count(*) FROM tbl_counter_delta"))

    async def test_the_same_again_counts_once(self) -> None:
        for _ in range(2):
            await self.advance(self.rows("SENT", smsc_id=True))
        self.assertEqual((4, 0, 3, 1, 0, 0, Decimal(0)), await self.stats(self.campaign))

    async def test_sent_counts_once_wherever_it_goes(self) -> None:
        first = self.batch[0].id
        for smsc, id in (("a", "1"), ("b", "2")):
            await self.advance([{"i": first, "z": "SENT", "q": smsc, "x": id}])
        await self.advance([{"i": first, "z": "DELIVERED", "q": "c", "x": "3", "d": "DELIVRD"}])
        self.assertEqual([("c", "3")], await self.db.query("SELECT smsc_id, smpp_msg_id FROM messages WHERE message_id = %s", (first,)))
        self.assertEqual([(1, 1)], await self.db.query("SELECT sum(sent), sum(delivered) FROM tbl_counter_delta"))
        self.assertEqual((4, 0, 3, 0, 1, 0), (await self.stats(self.campaign))[:6])

    async def test_the_guard_is_the_table_of_the_lifecycle(self) -> None:
        await self.limits()
        for old in lifecycle.ALLOWED_FROM:
            for new in lifecycle.ALLOWED_FROM:
                m = self.message(campaign=self.campaign)
                await self.accept([m])
                await self.db.execute("UPDATE messages SET status = %s WHERE message_id = %s", (old, m.id))
                await self.advance([{"i": m.id, "z": new, "q": "moved"}])
                [(status, smsc)] = await self.db.query("SELECT status, smsc_id FROM messages WHERE message_id = %s", (m.id,))
                self.assertEqual((smsc == "moved", status), (lifecycle.may_follow(old, new), new if smsc == "moved" else old), (old, new))

    async def test_progress_before_and_after_rolling_up(self) -> None:
        await self.advance(self.rows("SENT", "SENT", smsc_id=True))
        await self.messages.roll_up()
        await self.advance(self.rows("DELIVERED"))
        await self.advance([self.rows("", "", "", "FAILED")[3]])
        expected = (4, 0, 1, 1, 1, 1, Decimal("50.00"))
        self.assertEqual(expected, await self.stats(self.campaign))
        await self.messages.roll_up()
        await self.messages.roll_up()
        self.assertEqual(expected, await self.stats(self.campaign))

    async def test_a_batch_that_comes_again_does_nothing(self) -> None:
        journal = f'[["{self.batch[0].id}", {self.user}, "DELIVRD", "000"]]'
        out = [{"u": self.user, "i": self.batch[0].id, "s": "DELIVRD", "e": "000"}]
        calls = [{"u": self.user, "i": self.batch[0].id, "w": "https://example.com/", "p": {"a": 1}}]
        for expected in (1, -1):
            self.assertEqual(expected, await self.advance(self.rows("DELIVERED"), 9, journal, out, calls))
        for table in ("tbl_deliver_outbox", "tbl_callback_outbox", "tbl_forward_journal"):
            self.assertEqual([(1,)], await self.db.query(f"SELECT count(*) FROM {table}"), table)

    async def test_the_outbox_gives_the_message_back(self) -> None:
        receipts = Receipts(self.db, self.node)
        await self.advance([], outbox=[{"u": self.user, "i": self.batch[0].id, "s": "DELIVRD", "e": "000"}])
        self.assertEqual([self.user], await receipts.waiting_users([self.user, 99]))
        ((number, kind, stat, err, m, *_),) = await receipts.outbox(self.user, 10)
        assert m is not None
        self.assertEqual(("RECEIPT", "DELIVRD", "000", self.batch[0].id, b"Hello"), (kind, stat, err, m.id, m.body))
        await receipts.delivered([number])
        self.assertEqual([], await receipts.waiting_users([self.user]))

    async def test_dequeue(self) -> None:
        await self.messages.enqueue([{"i": m.id, "q": "a", "y": 1, "w": 0, "a": 0, "h": False} for m in self.batch])
        await self.advance(self.rows("SENT", smsc_id=True), dequeue=[self.batch[0].id])
        self.assertEqual([m.id for m in self.batch[1:]], [m.id for m in await self.messages.claim("a", 9)])

    async def test_found_behind_the_smsc_s_id(self) -> None:
        await self.advance(self.rows("SENT", smsc_id=True))
        x = f"S{self.batch[0].id}"
        found = await self.messages.find_by_smsc_ids([("a", x), ("b", x), ("a", "no")], "")
        self.assertEqual([("a", x, self.batch[0].id, "SENT", 0)], [(q, i, m.id, s, n) for q, i, m, s, n in found])

    async def test_recovery(self) -> None:
        await self.advance(self.rows("DELIVERED"), 9, f'[["{self.batch[0].id}", {self.user}, "DELIVRD", "000"]]')
        await self.messages.heartbeat(self.batch[2].id)
        self.assertEqual([(2, 1)], await self.messages.recover())
        self.assertEqual([(0, 0)], await self.messages.recover())
        self.assertEqual([m.id for m in self.batch[2:]], [m.id for m in await self.messages.claim("a", 9)])
        self.assertEqual([], await self.messages.claim("a", 9))
        self.assertEqual([(0, 0)], await self.messages.recover())
        self.assertEqual(2, len(await self.messages.claim("a", 9)))  # claims of the dead are given back

    async def test_recovery_holds_what_must_not_go_twice(self) -> None:
        await self.messages.heartbeat(self.batch[2].id)
        self.assertEqual([(len(self.batch) - 2, 0)], await self.messages.recover(["a", "b"]))
        self.assertEqual([], await self.messages.claim("a", 9))
        await self.db.execute("UPDATE tbl_message_queue SET due_at = now()")  # somebody releases them
        self.assertEqual([m.id for m in self.batch[2:]], [m.id for m in await self.messages.claim("a", 9)])

    async def test_another_node_s_messages_are_left_alone(self) -> None:
        other = (await enter_node(self.db, "two"))[0]
        self.assertEqual(other, (await enter_node(self.db, "two"))[0])
        self.assertEqual([(0, 0)], await Messages(self.db, self.db, self.db, other).recover())


    async def test_rows_at_fault_are_told_from_a_database_at_fault(self) -> None:
        m = self.batch[0]
        for row in ({"i": m.id, "z": "SENT", "x": "x" * 65}, {"i": m.id, "z": "SENT", "x": "a\0b"}, {"i": m.id, "z": "\ud800"}):
            with self.assertRaises(Unstorable) as caught:
                await self.advance([row])
            self.assertNotIn("xxx", str(caught.exception))
        await self.db.execute("ALTER TABLE tbl_counter_delta RENAME TO elsewhere")
        with self.assertRaises(psycopg2.Error):
            await self.advance([{"i": m.id, "z": "SENT", "x": "x"}])
        self.assertEqual(["QUEUED"] * 4, await self.statuses())


class ClaimTest(MessagesCase):
    async def test_urgent_and_old_first(self) -> None:
        await self.limits()
        batch = [self.message() for _ in range(6)]
        for m, priority in zip(batch, (1, 0, 3, 1, 3, 2), strict=True):
            m.priority, m.queued = priority, True
        await self.accept(batch, queued=True)
        order = [batch[i].id for i in (2, 4, 5, 0, 3, 1)]
        first = await self.messages.claim("a", 4)
        self.assertEqual(order, [m.id for m in first + await self.messages.claim("a", 4)])
        self.assertEqual([], await self.messages.claim("b", 4))

    async def test_not_before_its_time(self) -> None:
        await self.limits()
        m = self.message()
        m.queued, m.not_before = True, time.time() + 3600
        await self.accept([m], queued=True)
        self.assertEqual((["SCHEDULED"], []), (await self.statuses(), await self.messages.claim("a", 9)))
        await self.db.execute("UPDATE tbl_message_queue SET due_at = now()")
        self.assertEqual([m.id], [c.id for c in await self.messages.claim("a", 9)])

    async def test_no_message_for_two_nodes(self) -> None:
        await self.limits()
        batch = [self.message() for _ in range(40)]
        for m in batch:
            m.queued = True
        await self.accept(batch, queued=True)
        other = Messages(self.db, self.db, self.db, (await enter_node(self.db, "two"))[0])
        claims = await gatherResults([n.claim("a", 15) for n in (self.messages, other, self.messages, other)])
        claimed = [m.id for c in claims for m in c]
        self.assertEqual(len(set(claimed)), len(claimed))
        claimed += [m.id for m in await self.messages.claim("a", 40)]
        self.assertEqual(sorted(m.id for m in batch), sorted(claimed))


class FunctionsTest(MessagesCase):
    async def test_keys(self) -> None:
        keys = {r[0] for r in await self.db.query("SELECT generate_api_key() FROM generate_series(1, 50)")}
        self.assertEqual((50, {48}), (len(keys), {len(k) for k in keys}))

    async def test_quota_functions(self) -> None:
        await self.limits(quota=3)
        for used in (0, 2, 3):
            if used:
                await self.db.query("SELECT update_quota_usage(%s, %s, %s)", (self.user, self.customer, 2 if used == 2 else 1))
            self.assertEqual([(used < 3,)], await self.db.query("SELECT check_daily_quota(%s)", (self.user,)))
        await self.limits(quota=0)
        self.assertEqual([(True,)], await self.db.query("SELECT check_daily_quota(%s)", (self.user,)))

    async def test_the_first_id_of_a_moment(self) -> None:
        for ms in (0, ids.EPOCH_MS, ids.EPOCH_MS + 1, 1_800_000_000_123, 2_700_000_000_000):
            ((found,),) = await self.db.query("SELECT message_id_at('epoch'::timestamptz + %s * interval '1 millisecond')", (ms,))
            self.assertEqual(ids.first_at(ms), found)

    async def test_partitions(self) -> None:
        ((made,),) = await self.db.query("SELECT ensure_partitions(6, 3)")
        self.assertEqual(4 * 5, made)
        self.assertEqual([(0,)], await self.db.query("SELECT ensure_partitions(6, 3)"))
        self.assertEqual([(0,)], await self.db.query("SELECT drop_partitions(0, 0)"))
        self.assertEqual([(2,)], await self.db.query("SELECT drop_partitions(2, 3)"))
        self.assertEqual([(4,)], await self.db.query("SELECT drop_partitions(2, 1)"))
        await self.messages.partitions(1, 1)
        self.assertEqual([(0,)], await self.db.query("SELECT drop_partitions(1, 1)"))

    async def test_one_campaign_a_day(self) -> None:
        made = await gatherResults(
            [self.messages.day_campaign(self.user, self.customer, DAY, f"CAMP-{n}", "ahmad") for n in range(5)]
        )
        self.assertEqual(1, len(set(made)))
        self.assertNotIn(await self.messages.day_campaign(self.user, self.customer, "2027-01-16", "CAMP-9", "ahmad"), made)

    async def test_a_campaign_is_complete_when_all_is_final(self) -> None:
        await self.limits()
        campaign, row = await self.new_campaign()
        m = self.message(campaign=campaign)
        await self.accept([m], campaigns=[row])
        for state, expected in (("SENT", "RUNNING"), ("DELIVERED", "COMPLETED")):
            await self.advance([{"i": m.id, "z": state, "q": "a"} | ({"x": "1"} if state == "SENT" else {})])
            await self.messages.roll_up()
            self.assertEqual([(expected,)], await self.db.query("SELECT status FROM campaigns"))

    async def test_a_campaign_that_gets_more_runs_again(self) -> None:
        await self.limits()
        campaign, row = await self.new_campaign()
        for state in ("COMPLETED", "RUNNING", "COMPLETED"):
            m = self.message(campaign=campaign)
            await self.accept([m], campaigns=[row])
            if state == "COMPLETED":
                await self.db.execute("UPDATE messages SET status = 'SENT' WHERE status = 'QUEUED'")
                await self.advance([{"i": i, "z": "DELIVERED"} for i in await self.ids()])
            await self.messages.roll_up()
            self.assertEqual([(state,)], await self.db.query("SELECT status FROM campaigns"))

    async def test_a_campaign_is_stored_with_its_first_messages(self) -> None:
        await self.limits(quota=1)
        campaign, row = await self.new_campaign(s=1_800_000_000.5, z="APPROVED")
        first, second = self.message(campaign=campaign), self.message(campaign=campaign)
        self.assertEqual({second.id: "Q"}, await self.accept([first, second], campaigns=[row]))
        await self.accept([self.message(campaign=campaign)], campaigns=[row])
        found = await self.db.query(
            "SELECT id, campaign_id, user_id, customer_id, submission_channel, name, sender_id, message_content, encoding, priority,"
            " dlr_callback_url, extract(epoch FROM schedule_time)::float8, status FROM campaigns"
        )
        expected = (campaign, "CAMP-1", self.user, self.customer, "HTTP_API", "n", "Shop", "Hi", "AUTO", "NORMAL", "http://x/")
        self.assertEqual([(*expected, 1_800_000_000.5, "APPROVED")], found)
        self.assertEqual(1, (await self.stats(campaign))[0])

    async def test_numbers_for_campaigns(self) -> None:
        numbers = await self.messages.campaign_numbers(3) + await self.messages.campaign_numbers(2)
        self.assertEqual(5, len(set(numbers)))

    async def test_which_are_stored(self) -> None:
        await self.limits()
        m, other = self.message(), self.message()
        await self.accept([m])
        self.assertEqual({m.id}, await self.messages.stored([m.id, other.id]))


class ParkedTest(MessagesCase):
    async def test_pages_and_the_youngest(self) -> None:
        receipts = Receipts(self.db, self.node)
        await receipts.park([("a", f"x{n}", "DELIVRD", "000") for n in range(1, 8)])
        await self.db.execute("UPDATE tbl_parked_receipts SET created_at = now() - interval '8 days' WHERE smpp_msg_id < 'x3'")
        self.assertEqual(["x7", "x6"], [r[2] for r in await receipts.parked(None, 2)])
        page = await receipts.parked(0, 3)
        self.assertEqual([("a", f"x{n}", "DELIVRD", "000", None) for n in (3, 4, 5)], [r[1:] for r in page])
        self.assertEqual(["x6", "x7"], [r[2] for r in await receipts.parked(page[-1][0], 3)])
        await receipts.unpark([("a", "x6"), ("b", "x7")])
        self.assertEqual(["x7"], [r[2] for r in await receipts.parked(page[-1][0], 3)])
