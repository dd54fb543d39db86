from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.store.audit import AuditLog
from protei_bulk.store.audit_reads import AuditReads
from protei_bulk.store.pool import DatabaseUnavailable
from tests.store.database import DatabaseCase

# The specification's section 12, as printed.
TRAFFIC = """
SELECT
    DATE_TRUNC('hour', created_at) AS hour,
    COUNT(*) AS requests,
    AVG(response_time_ms) AS avg_response_time,
    COUNT(*) FILTER (WHERE response_status >= 400) AS errors
FROM tbl_api_requests
WHERE created_at >= NOW() - INTERVAL '24 hours'
GROUP BY hour
ORDER BY hour DESC;
"""


class Stored(DatabaseCase):
    async def test_rows_arrive_whatever_they_hold(self) -> None:
        log = AuditLog(self.db.dedicated(), reactor)  # type: ignore[arg-type]
        log.event(
            "LOGIN_WEB",
            True,
            user_id=1,
            actor_id=2,
            ip="::ffff:10.0.0.1",
            user_agent="curl",
            details={"n": 1, "code": "OK"},
        )
        log.event(
            "BIND_SMPP", False, ip="no address", user_agent="x" * 999, details={"system_id": "a\0\udcff'b"}
        )
        log.request(
            endpoint="/api/sendBulk", method="POST", status=200, milliseconds=12.6, user_id=1, auth_type="API_KEY",
            key_hash="f" * 64, ip="10.0.0.1", user_agent="curl", size=10**12,
        )  # fmt: skip
        log.request(
            endpoint="/api/\0" + "x" * 999, method="GET", status=404, milliseconds=0.2, error="Not found"
        )
        self.assertEqual(log.pending, 4)
        await log.drained()
        self.assertEqual(
            await self.db.query("SELECT action, result, user_id, actor_id, host(ip_address), left(user_agent, 5), details "
                                "FROM tbl_permission_audit ORDER BY audit_id"),
            [("LOGIN_WEB", "SUCCESS", 1, 2, "10.0.0.1", "curl", {"n": 1, "code": "OK"}),
             ("BIND_SMPP", "FAILURE", None, None, None, "xxxxx", {"system_id": "a?'b"})],
        )  # fmt: skip
        self.assertEqual(
            await self.db.query("SELECT method, response_status, response_time_ms, api_key, auth_type, error_message, "
                                "length(endpoint) FROM tbl_api_requests ORDER BY request_id"),
            [("POST", 200, 13, "f" * 12, "API_KEY", None, 13), ("GET", 404, 0, None, None, "Not found", 255)],
        )  # fmt: skip
        [(_, requests, average, errors)] = await self.db.query(TRAFFIC)
        self.assertEqual((requests, float(average), errors), (2, 6.5, 1))
        self.assertEqual(log.dropped, 0)

    async def test_an_attempt_to_be_somebody_is_about_him(self) -> None:
        user_id = await self.ahmad()
        log = AuditLog(self.db, reactor)  # type: ignore[arg-type]
        log.event("LOGIN_WEB", False, details={"username": "ahmad"})
        log.event("BIND_SMPP", False, details={"system_id": "ahmad"})
        log.event("BIND_SMPP", False, details={"system_id": "nobody"})
        await log.close()
        rows = await self.db.query("SELECT user_id FROM tbl_permission_audit WHERE result = 'FAILURE' ORDER BY audit_id")
        self.assertEqual(rows, [(user_id,), (user_id,), (None,)])

    async def test_one_row_that_the_database_refuses_costs_no_other(self) -> None:
        log = AuditLog(self.db, reactor)  # type: ignore[arg-type]
        for n in range(9):
            log.event("X", True, user_id=2**63 if n == 5 else n)
        await log.close()
        self.assertEqual(await self.db.query("SELECT count(*) FROM tbl_permission_audit"), [(8,)])
        self.assertEqual(log.dropped, 1)

    async def test_many_in_a_few_statements(self) -> None:
        log = AuditLog(self.db, reactor)  # type: ignore[arg-type]
        for n in range(5000):
            log.event("BIND_SMPP", True, user_id=n)
        await log.close()
        self.assertEqual(await self.db.query("SELECT count(*) FROM tbl_permission_audit"), [(5000,)])


class Database:
    """Answers when told to."""

    def __init__(self) -> None:
        self.asked: list[Deferred[int]] = []

    def execute(self, sql: str, params: Any = ()) -> Deferred[int]:
        answer: Deferred[int] = Deferred()
        self.asked.append(answer)
        return answer


class Trouble(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.db = Database()
        self.log = AuditLog(self.db, self.clock, max_waiting=10)

    def test_bounded(self) -> None:
        for _ in range(15):
            self.log.event("X", True)
        self.assertEqual((self.log.pending, self.log.dropped), (10, 5))

    def test_database_away_is_tried_again(self) -> None:
        self.log.event("X", True)
        self.clock.advance(0)
        for _ in range(3):
            self.db.asked.pop().errback(DatabaseUnavailable("away"))
            self.clock.advance(1)
        self.db.asked.pop().callback(1)
        self.assertEqual((self.log.pending, self.log.dropped), (0, 0))

    def test_close_tries_once_more_and_waits_no_longer(self) -> None:
        self.log.event("X", True)
        self.clock.advance(0)
        self.db.asked.pop().errback(DatabaseUnavailable("away"))
        closed = self.log.close()
        self.assertNoResult(closed)
        self.db.asked.pop().errback(DatabaseUnavailable("away"))
        self.clock.advance(0)
        self.successResultOf(closed)
        self.assertEqual((self.log.dropped, self.clock.getDelayedCalls()), (1, []))

    def test_a_batch_that_is_refused_does_not_stop_the_next(self) -> None:
        self.log.event("X", True)
        self.clock.advance(0)
        self.log.event("Y", True)
        self.db.asked.pop().errback(ValueError("no partition"))
        self.clock.advance(0)
        self.db.asked.pop().callback(1)
        self.assertEqual((self.log.pending, self.log.dropped), (0, 1))


class Reads(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user_id = await self.ahmad()
        await self.accounts.create_customer("Other", {})
        self.other = await self.accounts.create_user("omar", "Other", "hash", {})
        await self.db.execute("TRUNCATE tbl_permission_audit")
        log = AuditLog(self.db, reactor)  # type: ignore[arg-type]
        for n in range(10):
            user_id = self.other if n % 2 else self.user_id
            log.event("LOGIN_WEB" if n < 5 else "LOGOUT", n % 3 > 0, user_id=user_id, ip=f"10.0.{n % 2}.{n}", details={"n": n})
            log.request(endpoint=f"/api/{n % 2}", method="POST", status=200 + 100 * (n % 4), milliseconds=1, user_id=user_id)
        log.event("USER_SET", True, user_id=self.other, actor_id=self.user_id, details={"n": 10})
        await log.close()
        self.reads = AuditReads(self.db)

    async def numbers(self, **asked: Any) -> list[int]:
        return [row.details["n"] for row in await self.reads.events(**asked)]

    async def test_newest_first_and_narrowed(self) -> None:
        [(customer,)] = await self.db.query("SELECT id FROM customers WHERE name = 'Demo'")
        self.assertEqual(await self.numbers(), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
        self.assertEqual(await self.numbers(user_id=self.user_id), [8, 6, 4, 2, 0])
        self.assertEqual(await self.numbers(action="LOGIN_WEB", result="FAILURE"), [3, 0])
        self.assertEqual(await self.numbers(ip_address="10.0.1.0/24"), [9, 7, 5, 3, 1])
        self.assertEqual(await self.numbers(actor_id=self.user_id), [10])
        self.assertEqual(await self.numbers(customer_id=customer), [10, 8, 6, 4, 2, 0])  # what its users did too
        found = (await self.reads.events(limit=1))[0]
        self.assertEqual((found.username, found.action, found.result), ("omar", "USER_SET", "SUCCESS"))
        requests = await self.reads.requests(user_id=self.other, endpoint="/api/1", status=500)
        self.assertEqual([(r.username, r.response_status) for r in requests], [("omar", 500)] * 2)
        self.assertEqual(len(await self.reads.requests(errors=True)), 4)
        self.assertEqual(len(await self.reads.requests(customer_id=customer)), 5)

    async def test_pages(self) -> None:
        seen: list[int] = []
        before = None
        while True:
            page = await self.reads.events(limit=3, before=before)
            if not page:
                break
            seen += [row.details["n"] for row in page]
            before = (page[-1].created_at, page[-1].audit_id)
        self.assertEqual(seen, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])

    async def test_times(self) -> None:
        rows = await self.reads.events()
        since, until = rows[6].created_at, rows[2].created_at
        within = [row.details["n"] for row in rows if since <= row.created_at < until]
        self.assertEqual(await self.numbers(since=since, until=until), within)
