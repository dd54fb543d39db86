"""The HTTP channel over PostgreSQL, a real site and a real customer's server; only the SMSCs are missing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.python.threadpool import ThreadPool
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import Site

from protei_bulk.access.accounts import AccountDirectory
from protei_bulk.access.passwords import Passwords
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.callbacks.addresses import AddressRefused
from protei_bulk.callbacks.client import make_client
from protei_bulk.channels.http.wiring import HttpChannel
from protei_bulk.intake.accept import Intake
from protei_bulk.model import ids
from protei_bulk.model.message import Message
from protei_bulk.routing.rules import Router
from protei_bulk.settings import parse
from protei_bulk.store.addresses import KnownAddressBook
from protei_bulk.store.audit import AuditLog
from protei_bulk.store.batcher import Batcher
from protei_bulk.store.keys import SigningKeys
from protei_bulk.store.messages import Messages, row_of
from protei_bulk.store.sessions import SmppSessions
from protei_bulk.store.usage import UsageReads
from protei_bulk.store.websessions import WebSessions
from tests.store.database import DatabaseCase

SETTINGS = """
[node]
name = "t"
state_dir = "{state}"
[callbacks]
allow_private_addresses = true
[access]
bcrypt_cost = 4
[[smsc]]
id = "SMSC1"
host = "127.0.0.1"
port = 1
[[route]]
name = "all"
to = ["SMSC1"]
price = 0.02
"""


class Wall:
    """The reactor with Unix time."""

    def seconds(self) -> float:
        return time.time()

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class Fleet:
    def __init__(self) -> None:
        self.gone: list[Message] = []

    def place(self, m: Message) -> None:
        m.smsc = "SMSC1"

    def dispatch(self, messages: list[Message]) -> None:
        self.gone += messages


class Customer(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[bytes, Any]] = []
        self.statuses: list[int] = []
        self.waiter: Deferred[None] = Deferred()

    def render_POST(self, request: Any) -> bytes:  # noqa: N802
        self.heard.append((request.content.read(), request.requestHeaders))
        request.setResponseCode(self.statuses.pop(0) if self.statuses else 200)
        waiter, self.waiter = self.waiter, Deferred()
        waiter.callback(None)
        return b"thanks"


class WholeCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        state = Path(self.mktemp())
        settings = parse(SETTINGS.format(state=state.absolute()))
        wall, db = Wall(), self.db
        threads = ThreadPool(1, 1)
        threads.start()
        self.addCleanup(threads.stop)
        self.directory = AccountDirectory(self.accounts, wall)
        self.addCleanup(self.directory.close)
        self.log = AuditLog(db, wall)
        self.addCleanup(self.log.drained)
        usage, book = UsageReads(db), KnownAddressBook(db, wall)
        self.addCleanup(book.drained)
        self.auth = UnifiedAuthService(
            accounts=self.accounts, directory=self.directory, passwords=Passwords(wall, threads, 4),
            smpp_sessions=SmppSessions(db, 0), web_sessions=WebSessions(db), usage=usage, audit=self.log,
            keys=SigningKeys(db), addresses=book, clock=wall, secret=b"x" * 32,
        )  # fmt: skip
        self.fleet = Fleet()
        self.intake = intake = Intake(
            Messages(db, db.dedicated("intake"), db.dedicated("outcomes"), 0), Router(settings.route, ["SMSC1"], time.time),
            self.fleet, ids.IdMaker(time.time), wall, lambda run: Batcher(run, reactor=wall), row_of,
        )  # fmt: skip
        self.receipts: list[tuple[str, ...]] = []
        self.channel = HttpChannel(
            settings, wall, db, self.auth, intake, self.log, usage, lambda: {"ready": True, "reasons": []},
            lambda *r: succeed(self.receipts.append(r) is None),
        )  # fmt: skip
        self.channel.start()
        self.addCleanup(self.channel.stop)
        port = reactor.listenTCP(0, self.channel.site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}"
        pool = HTTPConnectionPool(reactor, persistent=False)
        self.http = HTTPClient(Agent(reactor, pool=pool))
        self.customer = Customer()
        port = reactor.listenTCP(0, Site(self.customer), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.dlr_url = f"http://127.0.0.1:{port.getHost().port}/dlr"
        password = await self.auth.hash_password("Password@123")
        await self.accounts.create_customer("Demo", {"balance": 10, "currency": "JOD", "timezone": "Asia/Amman"})
        self.user_id = await self.accounts.create_user("ahmad", "Demo", password, {"allowed_sender_ids": ["MyCompany"]})
        self.key = await self.auth.generate_api_key(user_id=self.user_id)

    async def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **values: Any
    ) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", **(headers or {})}
        if "auth" not in values:
            headers["Authorization"] = f"Bearer {self.key}"
        data = None if body is None else orjson.dumps(body)
        response = await self.http.request(method, self.url + path, headers=headers, data=data, **values)
        return response.code, orjson.loads(await response.content())

    def bulk(self, count: int, **values: Any) -> dict[str, Any]:
        recipients = [{"msisdn": f"9627{n:08}", "variables": {"N": n}} for n in range(count)]
        return {"sender": "MyCompany", "recipients": recipients, "message": "Hello %N%", "dlr_url": self.dlr_url, **values}


class WholeTest(WholeCase):
    async def test_submit_then_ask(self) -> None:
        status, sent = await self.call("POST", "/api/sendBulk", self.bulk(5))
        self.assertEqual((status, sent["status"], sent["accepted"]), (200, "SUCCESS", 5))
        self.assertEqual([m.text for m in self.fleet.gone], [f"Hello {n}" for n in range(5)])
        rows = await self.db.query(
            """SELECT m.submission_channel, m.dlr_url, m.registered_delivery, c.submission_channel, c.dlr_callback_url, c.sender_id
            FROM messages m JOIN campaigns c ON c.id = m.campaign_id WHERE c.campaign_id = %s""", (sent["campaign_id"],)
        )  # fmt: skip
        self.assertEqual(rows, [("HTTP_API", self.dlr_url, 1, "HTTP_API", self.dlr_url, "MyCompany")] * 5)
        status, first = await self.call("POST", "/api/getDLR", {"campaign_id": sent["campaign_id"], "limit": 3})
        self.assertEqual((status, first["total"], len(first["records"])), (200, 5, 3))
        body = {"campaign_id": sent["campaign_id"], "limit": 3, "cursor": first["next_cursor"]}
        _, second = await self.call("POST", "/api/getDLR", body)
        self.assertEqual([r["msisdn"] for r in second["records"]], ["962700000003", "962700000004"])
        self.assertEqual({r["status"] for r in first["records"]}, {"QUEUED"})
        _, one = await self.call("POST", "/api/getDLR", {"message_id": first["records"][1]["message_id"]})
        self.assertEqual(one["records"], [first["records"][1]])
        status, balance = await self.call("GET", "/api/getBalance", auth=("ahmad", "Password@123"))
        self.assertEqual((status, balance["balance"], balance["messages_sent_today"]), (200, 9.9, 5))
        await self.log.drained()
        logged = await self.db.query("SELECT endpoint, response_status, auth_type FROM tbl_api_requests ORDER BY request_id")
        self.assertEqual(logged[0], ("/api/sendBulk", 200, "API_KEY"))
        self.assertEqual(logged[-1], ("/api/getBalance", 200, "BASIC_AUTH"))

    async def test_quota_to_the_message(self) -> None:
        await self.accounts.set_user("ahmad", {"max_msg_per_day": 7})
        self.directory.changed("")
        status, sent = await self.call("POST", "/api/sendBulk", self.bulk(5))
        self.assertEqual((status, sent["accepted"]), (200, 5))
        status, sent = await self.call("POST", "/api/sendBulk", self.bulk(5))
        self.assertEqual((status, sent["accepted"], sent["rejected"]), (200, 2, 3))
        self.assertEqual({e["code"] for e in sent["errors"]}, {"QUOTA_EXCEEDED"})
        status, problem = await self.call("POST", "/api/sendBulk", self.bulk(1))
        self.assertEqual((status, problem["code"], problem["detail"]), (429, "QUOTA_EXCEEDED", "Daily quota exceeded"))
        [(running, failed)] = await self.db.query(
            "SELECT count(*) FILTER (WHERE status = 'RUNNING'), count(*) FILTER (WHERE status = 'FAILED') FROM campaigns"
        )
        self.assertEqual((running, failed), (2, 1))

    async def test_money_to_the_message(self) -> None:
        status, sent = await self.call("POST", "/api/sendBulk", self.bulk(501))
        self.assertEqual((status, sent["accepted"], sent["errors"][0]["code"]), (200, 500, "INSUFFICIENT_BALANCE"))
        status, problem = await self.call("POST", "/api/sendBulk", self.bulk(1))
        self.assertEqual((status, problem["code"]), (402, "INSUFFICIENT_BALANCE"))

    async def test_others_see_nothing(self) -> None:
        _, sent = await self.call("POST", "/api/sendBulk", self.bulk(1))
        await self.accounts.create_customer("Other", {})
        other = await self.accounts.create_user("fatima", "Other", "hash", {})
        self.key = await self.auth.generate_api_key(user_id=other)
        status, problem = await self.call("POST", "/api/getDLR", {"campaign_id": sent["campaign_id"]})
        self.assertEqual((status, problem["code"]), (404, "CAMPAIGN_NOT_FOUND"))
        _, found = await self.call("POST", "/api/getDLR", {"message_id": self.fleet.gone[0].id})
        self.assertEqual(found["records"], [])

    async def test_scheduled(self) -> None:
        body = self.bulk(1, schedule_time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)))
        status, sent = await self.call("POST", "/api/sendBulk", body)
        self.assertEqual((status, sent["accepted"], self.fleet.gone), (200, 1, []))
        rows = await self.db.query("SELECT due_at > now() + interval '59 minutes' FROM tbl_message_queue")
        self.assertEqual(rows, [(True,)])

    async def callback(self) -> None:
        payload = self.channel.dlr_payload("MSG-1", "962788123456", "MyCompany", "DELIVRD", None, time.time(), time.time())
        await self.db.execute(
            "INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload) VALUES (%s, 'MSG-1', %s, %s)",
            (self.user_id, self.dlr_url, orjson.dumps(payload).decode()),
        )

    async def left(self) -> list[tuple[Any, ...]]:
        return await self.db.query("SELECT status, attempts, last_error FROM tbl_callback_outbox")

    async def test_a_callback(self) -> None:
        heard = self.customer.waiter
        await self.callback()
        self.channel.callbacks.wake()
        await heard
        body, headers = self.customer.heard[0]
        self.assertEqual(orjson.loads(body)["status"], "DELIVRD")
        self.assertEqual(headers.getRawHeaders("content-type"), ["application/json"])
        self.assertIn("v1,", headers.getRawHeaders("webhook-signature")[0])
        await self.channel.callbacks.stop()
        self.assertEqual(await self.left(), [("DELIVERED", 1, None)])

    async def test_the_accounts_own_address(self) -> None:
        """For messages without one: all of HTTP, and those of SMPP whose ESME asks for a receipt."""
        await self.accounts.set_user("ahmad", {"dlr_callback_url": "https://shop.example/all"})
        self.directory.changed("")
        await self.call("POST", "/api/sendBulk", self.bulk(1))
        await self.call("POST", "/api/sendBulk", self.bulk(1, dlr_url=None))
        account = (await self.accounts.by_username("ahmad")).account
        for registered in (1, 2, 0, 16):
            m = Message()
            m.channel, m.source, m.dest, m.registered = "SMPP", "MyCompany", "962788123456", registered
            self.intake.submit(account, m)
        while len(self.fleet.gone) < 6:
            await deferLater(reactor, 0)  # type: ignore[arg-type]
        self.assertEqual(
            [m.dlr_url for m in self.fleet.gone],
            [self.dlr_url, "https://shop.example/all", "https://shop.example/all", "https://shop.example/all", None, None],
        )

    async def test_a_callback_that_fails(self) -> None:
        self.customer.statuses = [500]
        heard = self.customer.waiter
        await self.callback()
        self.channel.callbacks.wake()
        await heard
        await self.channel.callbacks.stop()
        self.assertEqual(await self.left(), [("PENDING", 1, "HTTP 500")])

    async def test_private_addresses_are_refused_unless_allowed(self) -> None:
        client, pool = make_client(Wall(), lambda: False)
        self.addCleanup(pool.closeCachedConnections)
        await self.assertFailure(client.post(self.dlr_url, data=b"{}"), AddressRefused)
        self.assertEqual(self.customer.heard, [])
