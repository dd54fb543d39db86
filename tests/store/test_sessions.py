from __future__ import annotations

from decimal import Decimal
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from protei_bulk.access.ports import Actor
from protei_bulk.store.binds import NodeSessions
from protei_bulk.store.websessions import WebSessions
from tests.store.database import DatabaseCase

# The specification's section 12, as printed.
ACTIVE_SESSIONS = """
SELECT
    session_id,
    system_id,
    bind_type,
    remote_ip,
    status,
    current_tps,
    messages_sent,
    bound_at
FROM tbl_smpp_sessions
WHERE status = 'BOUND'
ORDER BY bound_at DESC;
"""
TPS_PER_USER = """
SELECT
    u.username,
    s.current_tps,
    s.messages_sent,
    u.max_tps
FROM tbl_smpp_sessions s
JOIN users u ON s.user_id = u.id
WHERE s.status = 'BOUND'
ORDER BY s.current_tps DESC;
"""


class SessionsCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user_id = await self.ahmad(max_tps=50)
        self.limit = 0
        self.sessions = self.node(3)

    def node(self, number: int) -> NodeSessions:
        return NodeSessions(self.db, number, reactor, lambda: self.limit)

    async def open(self, token: str, sessions: NodeSessions | None = None, ip: str = "192.168.1.200", most: int = 0) -> int:
        return await (sessions or self.sessions).opened(
            user_id=self.user_id,
            system_id="ahmad",
            bind_type="TRANSCEIVER",
            remote_ip=ip,
            remote_port=54321,
            token=token,
            max_binds=most,
        )


class SmppSessionsTest(SessionsCase):
    async def test_bound_and_closed(self) -> None:
        first, second = await self.open("a"), await self.open("b", ip="fe80::x")
        rows = await self.sessions.bound()
        self.assertEqual([(r.session_id, r.session_token, r.remote_ip) for r in rows],
                         [(second, "b", None), (first, "a", "192.168.1.200")])  # fmt: skip
        self.assertEqual((rows[0].username, rows[0].node_id, rows[0].status), ("ahmad", 3, "BOUND"))
        self.assertEqual(await self.sessions.closed_many(["a", "b", "c"]), 2)
        self.assertEqual(await self.sessions.closed("a"), 0)
        self.assertEqual(await self.sessions.bound(), [])
        self.assertEqual(await self.sessions.closed_many([]), 0)

    async def test_activity_and_the_specifications_queries(self) -> None:
        await self.open("a")
        await self.open("b")
        self.assertEqual(
            await self.sessions.update_activity([("a", 12.5, 100, 90), ("b", 1e12, 1, 2), ("x", 1, 1, 1)]), 2
        )
        self.assertEqual(
            await self.db.query(TPS_PER_USER),
            [("ahmad", Decimal("99999999.00"), 1, 50), ("ahmad", Decimal("12.50"), 100, 50)],
        )
        self.assertEqual([row[1:7] for row in await self.db.query(ACTIVE_SESSIONS)][1],
                         ("ahmad", "TRANSCEIVER", "192.168.1.200", "BOUND", Decimal("12.50"), 100))  # fmt: skip
        self.assertEqual(await self.sessions.update_activity([]), 0)

    async def test_stale_rows_of_this_node_only(self) -> None:
        await self.open("a")
        await self.open("b", self.node(4))
        self.assertEqual(await self.sessions.mark_stale(), 1)
        self.assertEqual([r.session_token for r in await self.sessions.bound()], ["b"])

    async def test_of_a_user_or_customer(self) -> None:
        await self.open("a")
        customer = (await self.accounts.customers())[0].customer_id
        self.assertEqual(len(await self.sessions.bound(user_id=self.user_id)), 1)
        self.assertEqual(len(await self.sessions.bound(customer_id=customer)), 1)
        self.assertEqual(await self.sessions.bound(user_id=self.user_id, customer_id=customer + 1), [])

    async def test_disconnecting_tells_the_nodes(self) -> None:
        heard: list[str] = []
        steps: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]
        waiting = iter(steps)

        def listener(payload: str) -> None:
            heard.append(payload)
            next(waiting).callback(None)

        self.db.listen("protei_sessions", listener)
        await steps[0]
        await self.open("a")
        number = await self.open("b")
        self.assertTrue(await self.sessions.request_disconnect("a", actor=Actor(9)))
        await steps[1]
        self.assertFalse(await self.sessions.request_disconnect("a"))
        self.assertFalse(await self.sessions.request_disconnect_id(number, customer_id=999))
        self.assertTrue(await self.sessions.request_disconnect_id(number))
        await steps[2]
        self.assertEqual(heard, ["", "a", "b"])
        await self.open("c")
        self.assertEqual(sorted(await self.sessions.ended_among(["a", "b", "c", "d"])), ["a", "b"])
        self.assertEqual(await self.sessions.ended_among([]), [])
        self.assertEqual([row[:3] for row in await self.audit()][-2:],
                         [("SESSION_DISCONNECT", self.user_id, 9), ("SESSION_DISCONNECT", self.user_id, None)])  # fmt: skip

    async def test_old_rows_go(self) -> None:
        await self.open("a")
        await self.open("b")
        await self.sessions.closed("a")
        await self.db.execute("UPDATE tbl_smpp_sessions SET unbound_at = now() - interval '91 days'")
        self.assertEqual(await self.sessions.drop_old(90), 1)
        self.assertEqual(len(await self.sessions.bound()), 1)


class LimitTest(SessionsCase):
    """How many sessions an account may have, over all nodes."""

    async def setUp(self) -> None:
        await super().setUp()
        for node in (3, 4):
            await self.db.execute("INSERT INTO tbl_nodes (node_id, name) VALUES (%s, %s)", (node, f"node{node}"))
        self.other = self.node(4)

    async def at_once(self, count: int, most: int, *nodes: NodeSessions, name: str = "") -> int:
        """How many of so many binds, spread over the nodes, are let in."""
        asked = [self.open(f"{name}{n}", nodes[n % len(nodes)], most=most) for n in range(count)]
        return sum(map(bool, await gatherResults([Deferred.fromCoroutine(one) for one in asked])))

    async def test_on_one_node(self) -> None:
        self.assertEqual(await self.at_once(5, 3, self.sessions), 3)
        self.assertEqual(await self.open("6", most=3), 0)
        self.assertEqual({r.session_token for r in await self.sessions.bound()}, {"0", "1", "2"})

    async def test_the_nodes_own_number(self) -> None:
        self.limit = 1
        self.assertTrue(await self.open("a"))
        self.assertFalse(await self.open("b"))
        self.assertTrue(await self.open("c", most=2))
        self.limit = 0
        self.assertTrue(await self.open("d"))

    async def test_an_ended_session_makes_room_before_its_row_is_written(self) -> None:
        await self.open("a", most=1)
        closing = self.sessions.closed("a")
        self.assertTrue(await self.open("b", most=1))
        await closing

    async def test_two_nodes_at_once(self) -> None:
        self.assertEqual(await self.at_once(40, 7, self.sessions, self.other), 7)
        here = [r.session_token for r in await self.sessions.bound() if r.node_id == 3]
        await self.sessions.closed_many(here)
        self.assertEqual(await self.at_once(9, 7, self.other, name="again"), len(here))

    async def test_a_dead_node_keeps_nobody_out(self) -> None:
        await self.open("a", self.other, most=1)
        self.assertFalse(await self.open("b", most=1))
        await self.db.execute("UPDATE tbl_nodes SET heartbeat_at = now() - interval '1 minute' WHERE node_id = 4")
        self.assertTrue(await self.open("c", most=1))
        self.assertEqual(["c"], [r.session_token for r in await self.sessions.bound()])
        await self.sessions.drop_old(90)
        self.assertEqual([], await self.sessions.ended_among(["a"]))  # it may come back
        await self.db.execute("UPDATE tbl_nodes SET heartbeat_at = now() - interval '2 days' WHERE node_id = 4")
        await self.sessions.drop_old(90)
        self.assertEqual(["a"], await self.sessions.ended_among(["a", "c"]))

    async def test_a_thousand_are_a_few_statements(self) -> None:
        asked: list[str] = []
        query = self.db.query

        def noted(sql: str, params: Any = ()) -> Deferred[Any]:
            asked.append(sql)
            return query(sql, params)

        self.patch(self.db, "query", noted)
        self.assertEqual(await self.at_once(1001, 1000, self.sessions), 1000)
        self.assertLessEqual(len(asked), 4)

    async def test_a_failure_is_told_and_its_rows_are_closed(self) -> None:
        """Where the COMMIT happened all the same, a row would stand for a session that nobody has."""
        failure: Deferred[None] = Deferred()
        query = self.db.query
        self.patch(self.db, "query", lambda sql, params=(): query(sql, params).addCallback(lambda _: failure))
        waiting = Deferred.fromCoroutine(self.open("a", most=1))
        failure.errback(OSError("gone"))
        with self.assertRaises(OSError):
            await waiting
        self.patch(self.db, "query", query)
        self.assertEqual(len(await self.sessions.bound()), 1)
        self.assertEqual(await self.sessions.closed_many([]), 1)
        self.assertTrue(await self.open("b", most=1))


class WebSessionsTest(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user_id = await self.ahmad()
        self.web = WebSessions(self.db)
        await self.web.open(
            "s", self.user_id, "t1", seconds=3600, ip="10.0.0.1", user_agent="\0\udcff" + "x" * 300
        )

    async def test_rotation(self) -> None:
        self.assertTrue(await self.web.rotate("s", "t1", "t2"))
        self.assertFalse(await self.web.rotate("s", "t1", "t3"))
        session = await self.web.get("s")
        assert session is not None
        self.assertEqual((session.user_id, session.token_id, session.previous_id), (self.user_id, "t2", "t1"))
        self.assertLess(session.rotated_seconds, 30)

    async def test_revoked(self) -> None:
        self.assertTrue(await self.web.revoke("s"))
        self.assertFalse(await self.web.revoke("s"))
        self.assertIsNone(await self.web.get("s"))
        self.assertFalse(await self.web.rotate("s", "t1", "t2"))

    async def test_over(self) -> None:
        await self.db.execute("UPDATE tbl_web_sessions SET expires_at = now()")
        self.assertIsNone(await self.web.get("s"))
        await self.web.open("n", self.user_id, "t", seconds=1, ip="", user_agent="")
        self.assertEqual(await self.db.query("SELECT session_id FROM tbl_web_sessions"), [("n",)])

    async def test_a_new_password_or_suspension_ends_it(self) -> None:
        await self.accounts.set_user("ahmad", {"max_tps": 5})
        self.assertIsNotNone(await self.web.get("s"))
        await self.accounts.set_user("ahmad", {"password_hash": "other"})
        self.assertIsNone(await self.web.get("s"))
        await self.web.open("s2", self.user_id, "t1", seconds=3600, ip="", user_agent="")
        await self.accounts.set_user("ahmad", {"status": "SUSPENDED"})
        self.assertIsNone(await self.web.get("s2"))
