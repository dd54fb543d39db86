"""Figures of connectors, orders for them, and what the operator's pages read, on a database."""

from __future__ import annotations

from typing import Any

from protei_bulk.access.ports import Actor
from protei_bulk.store.leases import LeaseStore, enter_node
from protei_bulk.store.pages import Reach
from protei_bulk.store.pages_operations import OperationPages
from protei_bulk.store.smscs import Day, Order, SmscRows
from tests.store.database import DatabaseCase
from tests.store.test_rehoming import QueueCase


def row(smsc: str, **values: Any) -> dict[str, Any]:
    return {"q": smsc, "f": {"tps": 1}, "s": 0, "d": 0, "u": 0, "r": 0, **values}


class Figures(DatabaseCase):
    async def test_what_two_nodes_say(self) -> None:
        rows = SmscRows(self.db)
        (one, _), (two, other) = await enter_node(self.db, "one"), await enter_node(self.db, "two")
        await LeaseStore(self.db, self.db, two, other).renew(["smsc:a"], 60, True)
        await rows.report(one, "1", {}, [row("a", c={"host": "h1"}), row("b")])
        await rows.report(two, "2", {"intake": 5}, [row("a", c={"host": "h2"}, s=3, d=2, u=1, r=1)])
        seen = [(s.smsc, s.node, s.settings, s.holds) for s in await rows.seen()]
        self.assertEqual(seen, [("a", "two", {"host": "h2"}, True), ("a", "one", {"host": "h1"}, False), ("b", "one", {}, False)])
        await rows.report(two, "2", {}, [row("a", s=2, f={"tps": 9})])  # the settings stay, the counts add up
        (first, *_) = await rows.seen()
        self.assertEqual((first.figures, first.settings), ({"tps": 9}, {"host": "h2"}))
        self.assertEqual(await rows.today(), {"a": Day(5, 2, 1, 1)})
        self.assertEqual([d for _, d in await rows.days("a", 14)], [Day(5, 2, 1, 1)])
        self.assertEqual(await rows.node_figures(), {one: ("1", {}), two: ("2", {})})
        await rows.report(one, "1", {}, [])  # nothing runs there any more
        self.assertEqual([s.node for s in await rows.seen()], ["two"])
        self.assertEqual(await rows.drop_old(30), 0)

    async def test_orders(self) -> None:
        user = await self.ahmad()
        rows, actor = SmscRows(self.db), Actor(user, "10.0.0.1", "Firefox")
        heard: list[str] = []
        self.db.listen("protei_smscs", heard.append)
        self.assertFalse(await rows.resume("a", actor=actor))
        self.assertFalse(await rows.rate("a", None, actor=actor))
        self.assertEqual(await rows.orders(), {})
        self.assertTrue(await rows.pause("a", "<maintenance>", actor=actor))
        self.assertFalse(await rows.pause("a", "again", actor=actor))
        self.assertTrue(await rows.rate("a", 0, actor=actor))
        self.assertFalse(await rows.rate("a", 0, actor=actor))
        await rows.reconnect("a", actor=actor)
        await rows.reconnect("a", actor=actor)
        (order,) = (await rows.orders()).values()
        self.assertEqual((order.paused, order.reason, order.max_tps, order.reconnects, order.changed_by),
                         (True, "<maintenance>", 0, 2, "ahmad"))  # fmt: skip
        self.assertTrue(await rows.resume("a", actor=actor))
        self.assertTrue(await rows.rate("a", None, actor=actor))
        (order,) = (await rows.orders()).values()
        self.assertEqual((order.paused, order.reason, order.max_tps), (False, "", None))
        told = [(a, d) for a, _, who, d in await self.audit() if who == user and a.startswith("SMSC_")]
        self.assertEqual([a for a, _ in told], ["SMSC_PAUSE", "SMSC_RATE", "SMSC_RECONNECT", "SMSC_RECONNECT", "SMSC_RESUME",
                                                "SMSC_RATE"])  # fmt: skip
        self.assertEqual(told[0][1], {"smsc_id": "a", "reason": "<maintenance>"})
        self.assertEqual(Order("x"), Order("x"))


class Queues(QueueCase):
    async def test_depths_by_priority_and_age(self) -> None:
        pages = OperationPages(self.db)
        for priority in (1, 1, 3):
            await self.accept("a", priority=priority)
        await self.accept("b")
        await self.db.query("UPDATE tbl_message_queue SET due_at = now() - interval '90 seconds' WHERE smsc_id = 'b' RETURNING 1")
        found = [(d["smsc"], d["priority"], d["due"]) for d in await pages.depths()]
        self.assertEqual(found, [("a", 3, 1), ("a", 1, 2), ("b", 1, 1)])
        self.assertTrue(89 < (await pages.depths())[-1]["age"] < 150)

    async def test_held_for_a_person_and_not_for_a_campaign(self) -> None:
        pages, actor = OperationPages(self.db), Actor(self.user)
        held, other, paused, later = [await self.accept("a") for _ in range(4)]
        await self.accept("b")
        await self.db.query("UPDATE tbl_message_queue SET due_at = 'infinity' WHERE message_id = ANY (%s) RETURNING 1", ([held, other],))
        await self.db.query("UPDATE tbl_message_queue SET due_at = 'infinity', held_for = 1 WHERE message_id = %s RETURNING 1", (paused,))
        await self.db.query("UPDATE tbl_message_queue SET due_at = now() + interval '1 hour' WHERE message_id = %s RETURNING 1", (later,))
        (waits,) = await pages.waiting()
        self.assertEqual((waits["smsc"], waits["later"], waits["held"]), ("a", 1, 2))
        self.assertEqual([h["id"] for h in await pages.held()], [held, other])
        self.assertEqual([h["id"] for h in await pages.held("a", held)], [other])
        self.assertEqual(await pages.held("b"), [])
        self.assertEqual(await pages.release("b", held, actor=actor), 0)  # of another SMSC
        self.assertEqual(await pages.release("a", paused, actor=actor), 0)
        self.assertEqual(await pages.release("a", held, actor=actor), 1)
        self.assertEqual(await pages.release("a", actor=actor), 1)
        self.assertEqual(await pages.release("a", actor=actor), 0)
        left = await self.db.query("SELECT message_id FROM tbl_message_queue WHERE due_at = 'infinity'")
        self.assertEqual(left, [(paused,)])
        told = [d for a, _, who, d in await self.audit() if a == "QUEUE_RELEASE" and who == self.user]
        self.assertEqual(told, [{"smsc_id": "a", "message_id": held, "messages": 1}, {"smsc_id": "a", "messages": 1}])

    async def test_what_waits_elsewhere(self) -> None:
        pages = OperationPages(self.db)
        self.assertEqual((await pages.elsewhere())["parked"], 0)
        sql = "INSERT INTO tbl_deliver_outbox (user_id, kind, message_id) VALUES (%s, 'RECEIPT', 'x') RETURNING 1"
        await self.db.query(sql, (self.user,))
        found = await pages.elsewhere()
        self.assertEqual((found["outbox"], found["callbacks_parked"]), (1, 0))
        self.assertEqual([(o["username"], o["waiting"]) for o in await pages.outbox()], [("ahmad", 1)])

    async def test_nodes(self) -> None:
        pages = OperationPages(self.db)
        await LeaseStore(self.db, self.db, self.node, 1).renew(["smsc:a"], 60, True)
        (node,) = await pages.nodes()
        self.assertEqual((node["name"], node["smscs"], node["epoch"], node["gone"]), ("one", ["a"], 1, None))


class Sessions(DatabaseCase):
    async def test_whose(self) -> None:
        user = await self.ahmad()
        await self.accounts.create_customer("Other", {})
        other = await self.accounts.create_user("lina", "Other", "hash", {})
        node, _ = await enter_node(self.db, "one")
        for who, status, token in ((user, "BOUND", "a"), (other, "BOUND", "b"), (user, "DISCONNECTED", "c")):
            await self.db.query(
                "INSERT INTO tbl_smpp_sessions (user_id, system_id, bind_type, session_token, node_id, status)"
                " VALUES (%s, 's', 'TRANSCEIVER', %s, %s, %s) RETURNING 1", (who, token, node, status),
            )  # fmt: skip
        pages = OperationPages(self.db)
        [(customer,)] = await self.db.query("SELECT customer_id FROM users WHERE id = %s", (user,))

        async def names(reach: Reach, **how: Any) -> list[str]:
            return [s["username"] for s in await pages.sessions(reach, **how)]

        self.assertEqual(await names(Reach()), ["lina", "ahmad"])
        self.assertEqual(await names(Reach(customer_id=customer)), ["ahmad"])
        self.assertEqual(await names(Reach(user_id=other)), ["lina"])
        self.assertEqual(await names(Reach(), ended=True), ["ahmad"])
        self.assertEqual(await names(Reach(customer_id=customer), search="lina"), [])
        self.assertEqual(len(await pages.sessions(Reach(), most=1)), 2)  # one more than asked for
        await self.db.query("UPDATE tbl_nodes SET heartbeat_at = now() - interval '1 minute' RETURNING 1")
        self.assertEqual(await names(Reach()), [])  # its node is dead


class Costs(DatabaseCase):
    async def test_the_cheapest_first(self) -> None:
        for smsc, network, prefix, cost in (("a", "", "9627", 3), ("b", "", "9627", 2), ("a", "41601", "", 1), ("a", "", "", 9)):
            await self.db.query(
                "INSERT INTO tbl_smsc_costs (smsc_id, mccmnc, prefix, cost, currency) VALUES (%s, %s, %s, %s, 'USD') RETURNING 1",
                (smsc, network, prefix, cost),
            )
        pages = OperationPages(self.db)
        self.assertEqual([(c["prefix"] or c["mccmnc"], c["smsc"]) for c in await pages.costs()],
                         [("9627", "b"), ("9627", "a"), ("41601", "a"), ("", "a")])  # fmt: skip
        self.assertEqual([c["smsc"] for c in await pages.costs(number="962790000001")], ["b", "a"])
        self.assertEqual([c["mccmnc"] for c in await pages.costs(number="416")], ["41601"])
        self.assertEqual(len(await pages.costs(smsc="a", most=1)), 2)
        self.assertEqual(len(await pages.costs(skip=3)), 1)
