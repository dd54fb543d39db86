"""The whole HTTP channel over PostgreSQL, with two customers and users of every role. Only the SMSCs are missing."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyotp
from attrs import define
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.python.threadpool import ThreadPool
from twisted.web.client import Agent, HTTPConnectionPool

from protei_bulk.access.accounts import AccountDirectory
from protei_bulk.access.passwords import Passwords, password_hashes
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.channels.http.wiring import HttpChannel
from protei_bulk.intake.accept import Intake
from protei_bulk.model import ids
from protei_bulk.model.message import Message
from protei_bulk.routing.rules import Router
from protei_bulk.settings import parse
from protei_bulk.store.addresses import KnownAddressBook
from protei_bulk.store.audit import AuditLog
from protei_bulk.store.batcher import Batcher
from protei_bulk.store.binds import NodeSessions
from protei_bulk.store.keys import SigningKeys
from protei_bulk.store.messages import Messages, row_of
from protei_bulk.store.usage import UsageReads
from protei_bulk.store.websessions import WebSessions
from tests.store.database import DatabaseCase

PASSWORD = "Password@123"
HASHES = password_hashes(PASSWORD, 4)
SETTINGS = """
[node]
name = "t"
state_dir = "{state}"
[access]
bcrypt_cost = 4
[http.limits]
per_key_per_minute = 0
per_ip_per_hour = 0
[[smsc]]
id = "SMSC1"
host = "127.0.0.1"
port = 1
[[route]]
name = "all"
to = ["SMSC1"]
price = 0.02
"""
#: name -> (customer, role)
USERS = {
    "root": ("Platform", "ADMIN"),
    "alice": ("Alpha", "CUSTOMER_ADMIN"), "anna": ("Alpha", "SENDER"), "axel": ("Alpha", "VIEWER"),
    "bob": ("Beta", "CUSTOMER_ADMIN"), "bill": ("Beta", "SENDER"), "beth": ("Beta", "VIEWER"),
}  # fmt: skip


class Wall:
    """The reactor with Unix time, which a test may set ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def seconds(self) -> float:
        return time.time() + self.ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class Fleet:
    def __init__(self) -> None:
        self.gone: list[Message] = []

    def place(self, m: Message) -> None:
        m.smsc = "SMSC1"

    def dispatch(self, messages: list[Message]) -> None:
        self.gone += messages


@define
class Answer:
    status: int
    json: Any
    headers: Any
    asked: str = ""

    def unasked(self) -> str:
        """What it says beyond what was in the question."""
        text = repr(self.json)
        for word in re.findall(r"[\w-]+", self.asked):
            text = text.replace(word, "")
        return text

    @property
    def code(self) -> Any:
        return self.json.get("code")


class Node:
    """One node of the house: its own memory, the shared database."""

    def __init__(self, case: HouseCase, secret: bytes = b"x" * 32) -> None:
        settings = parse(SETTINGS.format(state=Path(case.mktemp()).absolute()))
        self.wall, db = Wall(), case.db
        threads = ThreadPool(1, 1)
        threads.start()
        case.addCleanup(threads.stop)
        self.directory = AccountDirectory(case.accounts, self.wall)
        case.addCleanup(self.directory.close)
        self.log = AuditLog(db, self.wall)
        case.addCleanup(self.log.drained)
        usage, book = UsageReads(db), KnownAddressBook(db, self.wall)
        case.addCleanup(book.drained)
        self.auth = UnifiedAuthService(
            accounts=case.accounts, directory=self.directory, passwords=Passwords(self.wall, threads, 4),
            smpp_sessions=NodeSessions(db, 0, self.wall, lambda: 0), web_sessions=WebSessions(db), usage=usage, audit=self.log,
            keys=SigningKeys(db), addresses=book, clock=self.wall, secret=secret,
        )  # fmt: skip
        self.fleet = Fleet()
        intake = Intake(
            Messages(db, db.dedicated("intake"), db.dedicated("outcomes"), 0), Router(settings.route, ["SMSC1"], time.time),
            self.fleet, ids.IdMaker(time.time), self.wall, lambda run: Batcher(run, reactor=self.wall), row_of,
        )  # fmt: skip
        self.channel = HttpChannel(
            settings, self.wall, db, self.auth, intake, self.log, usage, lambda: {"ready": True, "reasons": []},
            lambda *r: succeed(r[0] == "SMSC1"), lambda: b"",
        )  # fmt: skip
        self.channel.start()
        case.addCleanup(self.channel.stop)
        port = reactor.listenTCP(0, self.channel.site, interface="127.0.0.1")  # type: ignore[attr-defined]
        case.addCleanup(port.stopListening)
        self.url = f"http://127.0.0.1:{port.getHost().port}"
        self._http = HTTPClient(Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False)))

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str = "", key: str = "", basic: tuple[str, str] | None = None,
        data: bytes | None = None, headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        sent: dict[str, str] = {}
        if token or key:
            sent["Authorization"] = f"Bearer {token or key}"
        if basic:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
        if body is not None:
            data = orjson.dumps(body)
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        response = await self._http.request(method, self.url + path, headers=sent, data=data)
        content = await response.content()
        kind = (response.headers.getRawHeaders("content-type") or [""])[0]
        return Answer(response.code, orjson.loads(content) if "json" in kind else content, response.headers, f"{path} {body}")

    async def login(self, name: str, password: str = PASSWORD, otp_code: str | None = None) -> Answer:
        body = {"username": name, "password": password}
        if otp_code is not None:
            body["otp_code"] = otp_code
        return await self.call("POST", "/api/login", body)

    async def token(self, name: str) -> str:
        answer = await self.login(name)
        return str(answer.json["token"])


class HouseCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.ids: dict[str, int] = {}
        for customer in ("Platform", "Alpha", "Beta"):
            await self.accounts.create_customer(customer, {"balance": 100, "currency": "JOD", "timezone": "Asia/Amman"})
        for name, (customer, role) in USERS.items():
            hashes = {"smpp_password_hash": HASHES["smpp_password_hash"], "role": role}
            self.ids[name] = await self.accounts.create_user(name, customer, str(HASHES["password_hash"]), hashes)
        self.customers = {c.name: c.customer_id for c in await self.accounts.customers()}
        self.node = Node(self)
        self.call, self.login = self.node.call, self.node.login
        self._marks = 0
        listening: Deferred[None] = Deferred()
        self._heard = {"": listening}
        self.db.listen("protei_keys", self.node.auth.keys_changed)
        self.db.listen("protei_accounts", self._changed)
        await listening

    def _changed(self, payload: str) -> None:
        self.node.directory.changed(payload)
        waiter = self._heard.pop(payload, None)
        if waiter is not None:
            waiter.callback(None)

    async def heard(self) -> None:
        """Until the node has heard of every change so far, and has read what changed."""
        self._marks += 1
        mark = f"mark:{self._marks}"
        waiter = self._heard[mark] = Deferred()
        while not waiter.called:  # a listener that has just begun anew did not hear the first
            await self.db.query("SELECT pg_notify('protei_accounts', %s)", (mark,))
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        directory = self.node.directory
        while directory._dirty or directory._reading:
            await deferLater(reactor, 0.005)  # type: ignore[arg-type]

    def code(self, secret: str, steps: int = 0) -> str:
        return pyotp.TOTP(secret).at(int(self.node.wall.seconds()) + 30 * steps)
