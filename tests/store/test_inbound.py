from __future__ import annotations

import hashlib
import time
from typing import Any

from protei_bulk.model import ids
from protei_bulk.store.callbacks import CallbackOutbox, Retry
from protei_bulk.store.inbound import InboundStore
from protei_bulk.store.leases import enter_node
from protei_bulk.store.receipts import Receipts
from tests.store.database import DatabaseCase

Row = dict[str, Any]


class InboundCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.store = InboundStore(self.db, self.db)
        self.ids = ids.IdMaker(time.time, 1)
        self.user = await self.ahmad(allowed_sender_ids=["12345", "Shop"])

    def row(self, text: str = "hi", **values: Any) -> Row:
        row: Row = {
            "i": self.ids.mo(), "q": "A", "f": "962790000001", "t": "12345", "o": 0x01010101, "tx": text, "b": text.encode().hex(),
            "rv": time.time(), "ow": True,
        }  # fmt: skip
        row.update(values)
        identity = repr([row.get(k) for k in ("f", "t", "b", "rf", "n", "s")])
        row.setdefault("h", hashlib.md5(identity.encode()).hexdigest())
        return row

    def part(self, number: int, text: str = "", *, total: int = 3, reference: int = 7, **values: Any) -> Row:
        return self.row(text or f"<{number}>", k=8, rf=reference, s=total, n=number, **values)

    async def receive(self, *rows: Row) -> Row:
        return await self.store.receive(list(rows), any("n" in r for r in rows), 300.0)

    async def messages(self, columns: str = "message_text, status, user_id, outstanding") -> list[tuple[Any, ...]]:
        return await self.db.query(f"SELECT {columns} FROM tbl_mo_messages ORDER BY message_id")

    async def outbox(self) -> list[tuple[Any, ...]]:
        return await self.db.query("SELECT message_id, user_id, kind FROM tbl_deliver_outbox ORDER BY outbox_id")

    async def finished(self, *sets: str, missing: int = 0) -> Row:
        """What the inbox does with complete sets."""
        rows = []
        by_set: dict[str, list[Any]] = {}
        for r in await self.store.sets(list(sets)):
            by_set.setdefault(r[0], []).append(r)
        for id, parts in by_set.items():
            text = b"".join(p[14] for p in parts).decode()
            rows.append(self.row(text, i=id, s=parts[0][6], ms=missing, hv=parts[0][7], t=parts[0][3]))
        return await self.store.finish(rows)


class WholeTest(InboundCase):
    async def test_to_the_one_who_owns_the_number(self) -> None:
        one, two, other = self.row("1"), self.row("2"), self.row("3", t="999")
        answer = await self.receive(one, two, other)
        self.assertEqual(
            {k: answer[k] for k in ("fresh", "users", "calls", "routed", "unrouted", "complete")},
            {"fresh": 3, "users": [self.user], "calls": 0, "routed": 2, "unrouted": 1, "complete": []},
        )
        self.assertEqual(await self.messages(), [("1", "ROUTED", self.user, 1), ("2", "ROUTED", self.user, 1), ("3", "UNROUTED", None, 0)])
        self.assertEqual(await self.outbox(), [(one["i"], self.user, "MO"), (two["i"], self.user, "MO")])

    async def test_not_where_two_have_it_nor_by_prefix(self) -> None:
        await self.accounts.create_user("other", "Demo", "hash", {"allowed_sender_ids": ["12345", "77*"]})
        self.assertEqual((await self.receive(self.row("1"), self.row("2", t="777")))["unrouted"], 2)

    async def test_not_to_one_who_may_not_use_smpp(self) -> None:
        for values in ({"bind_type": "HTTP"}, {"bind_type": "BOTH", "can_use_smpp": False}):
            await self.accounts.set_user("ahmad", values)
            self.assertEqual((await self.receive(self.row(str(values))))["unrouted"], 1)

    async def test_by_rule(self) -> None:
        answer = await self.receive(
            self.row("1", ow=None, un="ahmad", ru="r", t="1"),
            self.row("2", ow=None, w="https://x/y", cb={"type": "mo"}, ru="r"),
            self.row("3", ow=None, un="ahmad", w="https://x/y", cb={"type": "mo"}, ru="r"),
            self.row("4", ow=None, un="nobody", ru="r"),
            self.row("5", ow=None, u=self.user, t="1"),
        )
        self.assertEqual((answer["users"], answer["calls"], answer["routed"], answer["unrouted"]), ([self.user], 2, 4, 1))
        self.assertEqual(
            await self.messages("message_text, status, user_id, url, outstanding, rule"),
            [("1", "ROUTED", self.user, None, 1, "r"), ("2", "ROUTED", None, "https://x/y", 1, "r"),
             ("3", "ROUTED", self.user, "https://x/y", 2, "r"), ("4", "UNROUTED", None, None, 0, "r"),
             ("5", "ROUTED", self.user, None, 1, None)],
        )  # fmt: skip
        calls = await self.db.query("SELECT user_id, url FROM tbl_callback_outbox ORDER BY 1")
        self.assertEqual(calls, [(0, "https://x/y"), (self.user, "https://x/y")])

    async def test_everything_is_kept(self) -> None:
        await self.receive(self.row("x", b="00ff", l="0500030102", tx=None, d=4, e=16, pi=127, tl={"516": "0001"}, o=-1, s=2, ms=1, rf=9))
        self.assertEqual(
            await self.messages(
                "message_text, encode(payload, 'hex'), encode(udh, 'hex'), data_coding, esm_class, protocol_id, tlvs, addr_types, parts,"
                " missing, reference"
            ),
            [(None, "00ff", "0500030102", 4, 16, 127, {"516": "0001"}, -1, 2, 1, 9)],
        )  # fmt: skip
        ((_, _, _, _, _, payload, _, _),) = await Receipts(self.db, 0).outbox(self.user, 10)
        self.assertEqual(payload, {"f": "962790000001", "t": "12345", "o": -1, "b": "00ff", "l": "0500030102", "d": 4, "e": 16, "pi": 127,
                                   "tl": {"516": "0001"}, "rf": 9})  # fmt: skip

    async def test_what_comes_again(self) -> None:
        row = self.row("1")
        await self.receive(row)
        self.assertEqual((await self.receive(row))["fresh"], 0)  # the same batch, after a lost answer
        self.assertEqual((await self.receive({**row, "i": self.ids.mo()}))["fresh"], 0)  # by the SMSC
        self.assertEqual(len(await self.messages()), 1)
        await self.store.acknowledged([row["h"]])
        self.assertEqual((await self.receive({**row, "i": self.ids.mo()}))["fresh"], 1)  # another one with the same text

    async def test_what_was_seen_long_ago(self) -> None:
        row = self.row("1")
        await self.receive(row)
        await self.db.execute("UPDATE tbl_mo_seen SET seen_at = now() - interval '6 minutes'")
        self.assertEqual((await self.receive(row))["routed"], 0)  # its own id: stored once all the same
        await self.db.execute("UPDATE tbl_mo_seen SET seen_at = now() - interval '6 minutes'")
        self.assertEqual((await self.receive({**row, "i": self.ids.mo()}))["routed"], 1)
        await self.db.execute("UPDATE tbl_mo_seen SET seen_at = now() - interval '6 minutes'")
        self.assertEqual(await self.store.forget(), 1)


class PartsTest(InboundCase):
    async def test_in_any_order_and_batch(self) -> None:
        first = self.part(3)
        self.assertEqual((await self.receive(first))["complete"], [])
        self.assertEqual(await self.store.pending(), 1)
        answer = await self.receive(self.part(1), self.row("whole"), self.part(2))
        self.assertEqual((answer["complete"], answer["routed"]), ([first["i"]], 1))
        self.assertEqual((await self.finished(first["i"]))["users"], [self.user])
        self.assertEqual([m[0] for m in await self.messages()], ["<1><2><3>", "whole"])
        self.assertEqual(await self.db.query("SELECT (SELECT count(*) FROM tbl_mo_sets), (SELECT count(*) FROM tbl_mo_parts)"), [(0, 0)])

    async def test_messages_keep_apart(self) -> None:
        await self.receive(self.part(1), self.part(1, reference=8), self.part(1, total=4), self.part(1, f="1"), self.part(1, t="1"),
                           self.part(1, h="00" * 16) | {"k": 16})  # fmt: skip
        self.assertEqual(await self.db.query("SELECT count(*), sum(have) FROM tbl_mo_sets"), [(6, 6)])

    async def test_twice(self) -> None:
        await self.receive(self.part(1))
        self.assertEqual((await self.receive(self.part(1)))["fresh"], 0)
        await self.db.execute("DELETE FROM tbl_mo_seen")
        await self.receive(self.part(1))  # later than anybody remembers
        self.assertEqual(await self.db.query("SELECT have, closed FROM tbl_mo_sets"), [(1, False)])

    async def test_the_reference_is_used_again(self) -> None:
        old, new = self.part(1, "old"), self.part(1, "new")
        await self.receive(old)
        await self.receive(new)
        sets = await self.db.query("SELECT set_id, have, closed FROM tbl_mo_sets ORDER BY 1")
        self.assertEqual(sets, [(old["i"], 1, True), (new["i"], 1, False)])
        self.assertEqual(await self.store.due(300.0, 1000, 10), [old["i"]])
        answer = await self.receive(self.part(2), self.part(3))
        self.assertEqual(answer["complete"], [new["i"]])

    async def test_a_part_of_a_later_message_after_a_long_stop(self) -> None:
        old = self.part(1, "old")
        await self.receive(old)
        await self.db.execute("UPDATE tbl_mo_sets SET started_at = now() - interval '1 hour'")
        new = self.part(2, "new")
        await self.receive(new)
        sets = await self.db.query("SELECT set_id, have, closed FROM tbl_mo_sets ORDER BY 1")
        self.assertEqual(sets, [(old["i"], 1, True), (new["i"], 1, False)])

    async def test_due(self) -> None:
        waiting, late, ready = (self.part(1, reference=n) for n in (1, 2, 3))
        await self.receive(waiting, late, ready)
        self.assertEqual(await self.store.due(300.0, 1000, 10), [])
        await self.db.execute("UPDATE tbl_mo_sets SET started_at = now() - interval '301 s' WHERE set_id = %s", (late["i"],))
        await self.db.execute("UPDATE tbl_mo_sets SET have = total, touched_at = now() - interval '6 s' WHERE set_id = %s", (ready["i"],))
        self.assertEqual(await self.store.due(300.0, 1000, 10), [late["i"], ready["i"]])
        self.assertEqual(await self.store.due(300.0, 1000, 1), [late["i"]])

    async def test_the_oldest_go_where_there_are_too_many(self) -> None:
        rows = [self.part(1, reference=n) for n in range(5)]
        await self.receive(*rows)
        self.assertEqual(await self.store.due(300.0, 3, 10), [rows[0]["i"], rows[1]["i"]])

    async def test_given_up(self) -> None:
        row = self.part(2)
        await self.receive(row)
        await self.finished(row["i"], missing=2)
        self.assertEqual(await self.messages("message_text, parts, missing, status"), [("<2>", 3, 2, "ROUTED")])

    async def test_under_another_id(self) -> None:
        part = self.part(1, total=2)
        await self.receive(part)
        row = self.row("<1>", s=2, ms=1, hv=1, si=part["i"])
        self.assertEqual((await self.store.finish([row]))["routed"], 1)
        self.assertEqual(await self.messages("message_id, missing"), [(row["i"], 1)])
        self.assertEqual(await self.db.query("SELECT (SELECT count(*) FROM tbl_mo_sets), (SELECT count(*) FROM tbl_mo_parts)"), [(0, 0)])

    async def test_only_one_node_finishes(self) -> None:
        row = self.part(1, total=2)
        await self.receive(row, self.part(2, total=2))
        await self.finished(row["i"])
        parts = [self.row("again", i=row["i"], s=2, hv=2)]
        self.assertEqual((await self.store.finish(parts))["routed"], 0)
        self.assertEqual(len(await self.messages()), 1)

    async def test_a_part_that_came_after_it_was_read(self) -> None:
        row = self.part(1)
        await self.receive(row)
        read = [self.row("<1>", i=row["i"], s=3, ms=2, hv=1)]
        await self.receive(self.part(2))
        self.assertEqual((await self.store.finish(read))["routed"], 0)
        self.assertEqual(await self.db.query("SELECT have FROM tbl_mo_sets"), [(2,)])

    async def test_two_nodes_at_once(self) -> None:
        rows = [[self.part(n, reference=r) for r in range(50)] for n in (1, 2, 3)]
        rows[1].reverse()
        answers = [self.store.receive(batch, True, 300.0) for batch in rows]
        complete = [id for d in answers for id in (await d)["complete"]]
        self.assertEqual((len(complete), len(set(complete))), (50, 50))
        self.assertEqual(await self.db.query("SELECT DISTINCT have FROM tbl_mo_sets"), [(3,)])


class ToldTest(InboundCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.node = (await enter_node(self.db, "here"))[0]
        self.receipts = Receipts(self.db, self.node)

    async def test_by_its_esme(self) -> None:
        await self.receive(self.row("1"), self.row("2"), self.row("3"))
        one, two, _ = [r[0] for r in await self.receipts.outbox(self.user, 10)]
        await self.receipts.told([{"o": one, "s": 0}, {"o": two, "s": 0x65}])
        await self.receipts.told([{"o": one, "s": 0}])
        self.assertEqual(
            await self.messages("status, outstanding, error_code, delivered_at IS NOT NULL"),
            [("DELIVERED", 0, None, True), ("REFUSED", 0, "101", False), ("ROUTED", 1, None, False)],
        )

    async def test_by_esme_and_url(self) -> None:
        await self.receive(self.row("1", ow=None, un="ahmad", w="https://x/y", cb={"type": "mo"}))
        ((outbox_id, *_),) = await self.receipts.outbox(self.user, 10)
        await self.receipts.told([{"o": outbox_id, "s": 0}])
        self.assertEqual(await self.messages("status, outstanding"), [("ROUTED", 1)])
        calls = CallbackOutbox(self.db)
        ((call),) = await calls.claim(10)
        self.assertTrue(call.message_id.startswith("MO-"))
        await calls.retry([Retry(call.callback_id, 3, 0.0, True, "503")])
        self.assertEqual(await self.messages("status, outstanding"), [("PARKED", 1)])
        await calls.replay([call.callback_id])
        self.assertEqual(await self.messages("status, outstanding"), [("ROUTED", 1)])
        await calls.done([call.callback_id])
        self.assertEqual(await self.messages("status, outstanding"), [("DELIVERED", 0)])

    async def test_one_node_at_a_time(self) -> None:
        other = Receipts(self.db, (await enter_node(self.db, "there"))[0])
        await self.receive(self.row("1"), self.row("2"))
        self.assertEqual(await other.waiting_users([self.user]), [self.user])
        (one, *_), (two, *_) = await self.receipts.outbox(self.user, 10)
        self.assertEqual((await other.outbox(self.user, 10), await self.receipts.outbox(self.user, 10)), ([], []))
        self.assertEqual(await other.waiting_users([self.user]), [])
        await other.release([one])
        self.assertEqual(await other.outbox(self.user, 10), [])
        await self.receipts.release([one])
        self.assertEqual([r[0] for r in await other.outbox(self.user, 10)], [one])
        await self.receipts.release_others(self.user, [two])
        self.assertEqual(await other.outbox(self.user, 10), [])
        await self.receipts.release_others(self.user, [])
        self.assertEqual([r[0] for r in await other.outbox(self.user, 10)], [two])

    async def test_of_a_node_that_is_gone(self) -> None:
        other = Receipts(self.db, (await enter_node(self.db, "there"))[0])
        await self.receive(self.row("1"))
        await self.receipts.outbox(self.user, 10)
        await self.db.execute("UPDATE tbl_nodes SET heartbeat_at = now() - interval '31 s' WHERE node_id = %s", (self.node,))
        self.assertEqual(await other.waiting_users([self.user]), [self.user])
        self.assertEqual(len(await other.outbox(self.user, 10)), 1)
        await other.release_all()
        self.assertEqual(len(await self.receipts.outbox(self.user, 10)), 1)


class PeopleTest(InboundCase):
    async def test_listed_and_shown(self) -> None:
        one, two = self.row("1", ow=None, un="ahmad", ru="r"), self.row("2", t="999")
        await self.receive(one, two)
        found = await self.store.listed(10)
        self.assertEqual([(m.message_id, m.text, m.status, m.username, m.rule) for m in found],
                         [(two["i"], "2", "UNROUTED", None, None), (one["i"], "1", "ROUTED", "ahmad", "r")])  # fmt: skip
        self.assertEqual([m.text for m in await self.store.listed(1)], ["2"])
        self.assertEqual([m.text for m in await self.store.listed(10, "ROUTED")], ["1"])
        shown = await self.store.show(one["i"])
        assert shown is not None
        self.assertEqual((shown["username"], shown["payload"], shown["udh"], shown["message_text"]), ("ahmad", b"1".hex(), None, "1"))
        self.assertIsNone(await self.store.show("MO-nothing"))

    async def test_routed_by_hand(self) -> None:
        row = self.row("1", t="999", rf=9, l="020000")
        await self.receive(row)
        self.assertFalse(await self.store.reroute("MO-nothing", self.user, None, None))
        self.assertTrue(await self.store.reroute(row["i"], self.user, None, None))
        self.assertEqual(await self.messages(), [("1", "ROUTED", self.user, 1)])
        ((_, kind, _, _, _, payload, _, id),) = await Receipts(self.db, 0).outbox(self.user, 10)
        self.assertEqual((kind, payload["b"], payload["l"], payload["rf"], id), ("MO", b"1".hex(), "020000", 9, row["i"]))
        self.assertTrue(await self.store.reroute(row["i"], None, "https://x/y", {"type": "mo"}))
        self.assertEqual(await self.messages("status, user_id, url, outstanding"), [("ROUTED", None, "https://x/y", 1)])
        self.assertEqual(await self.outbox(), [])
        self.assertTrue(await self.store.reroute(row["i"], self.user, None, None))
        self.assertEqual(await self.db.query("SELECT count(*) FROM tbl_callback_outbox"), [(0,)])
        self.assertEqual(await self.messages("status, user_id, url, outstanding"), [("ROUTED", self.user, None, 1)])


class UpkeepTest(InboundCase):
    async def test_partitions(self) -> None:
        sql = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'tbl_mo_messages'::regclass"
        self.assertEqual(await self.db.query(sql), [(5,)])
        await self.db.query("SELECT ensure_mo_partitions(3, 40)")
        self.assertEqual(await self.db.query(sql), [(44,)])
        await self.store.partitions(30)
        self.assertEqual(await self.db.query(sql), [(34,)])

    async def test_there(self) -> None:
        self.assertTrue(await self.store.answers())

    async def test_senders_by_reference(self) -> None:
        for n, (to, tlvs) in enumerate((("1", '{"516": "0007"}'), ("1", '{"516": "0007"}'), ("2", '{"516": "0007"}'), ("1", None))):
            await self.db.execute(
                "INSERT INTO messages (message_id, user_id, from_addr, to_addr, message_text, submission_channel, status, tlvs)"
                " VALUES (%s, %s, 'A', %s, 'x', 'SMPP', 'SENT', %s)", (self.ids.message(), n, to, tlvs),
            )  # fmt: skip
        found = await self.store.senders_by_reference([("1", "0007"), ("3", "0007")], ids.first_at(0))
        self.assertEqual([(t, r, user, channel) for t, r, _, user, channel in found], [("1", "0007", 0, "SMPP"), ("1", "0007", 1, "SMPP")])
