"""Live pages, campaigns and analytics against a running gateway: streams, what can be done, and what hostile readers get."""

from __future__ import annotations

import atexit
import base64
import csv
import http.client
import io
import json
import time
import urllib.error
import urllib.request
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.test_portal import Browser
from tests.support.gateway import PASSWORD, Gateway, _output, eventually

EVIL = '=HYPERLINK("http://x")<script>alert(1)</script>'


class Stream:
    """The events of one open page."""

    def __init__(self, browser: Browser, path: str) -> None:
        self._connection = http.client.HTTPConnection(browser.base.partition("//")[2], timeout=20)
        cookies = "; ".join(f"{c.name}={c.value}" for c in browser.jar)
        self._connection.request("GET", path, headers={"Cookie": cookies, "Accept": "text/event-stream"})
        self._answer = self._connection.getresponse()
        self.status, self.type = self._answer.status, self._answer.headers.get("content-type", "")

    def next(self) -> tuple[str, Any] | None:
        """(event, data); None at the end."""
        event, data = "message", ""
        end = time.monotonic() + 60
        while True:
            assert time.monotonic() < end, "nothing but beats of the heart"
            line = self._answer.readline().decode()
            if not line:
                return None
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                data = value
            elif not name and data:
                return event, json.loads(data) if event == "part" else data

    def until(self, id: str, text: str) -> str:
        """The markup of a part once it holds a text. AssertionError after a minute: a stream beats for as long as it is read."""
        end = time.monotonic() + 60
        while True:
            found = self.next()
            assert time.monotonic() < end, f"{id} never had {text}"
            assert found is not None, "the stream has ended"
            event, data = found
            if event == "part" and data["id"] == id and text in data["html"]:
                return str(data["html"])

    def rest(self) -> list[tuple[str, Any]]:
        found = []
        while (event := self.next()) is not None:
            found.append(event)
        return found

    def close(self) -> None:
        self._connection.close()


class Live(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if Live._shared is None:
            gateway = Live._shared = Gateway()
            atexit.register(gateway.stop)
            gateway.simulate("SMSC1", "--fail", "20", settings="max_tps = 60")
            gateway.accounts({"ahmad": (), "sami": (), "boss": ("--role", "CUSTOMER_ADMIN"), "chief": ("--role", "ADMIN")})
            _output(gateway.administer("customer", "add", "Other"))
            for name, role in (("lina", "SENDER"), ("vera", "VIEWER")):
                _output(gateway.administer("user", "add", name, "--password", PASSWORD, "--customer", "Other", "--role", role))
            gateway.start()
        assert Live._shared is not None
        self.gateway = Live._shared

    def browser(self, name: str) -> Browser:
        b = Browser(f"http://127.0.0.1:{self.gateway.http_port}")
        b.login(name)
        self.assertEqual(b.url, "/", name)
        return b

    def bulk(self, user: str, count: int, name: str, text: str = "Hello") -> str:
        body = {"sender": "Shop", "recipients": [{"msisdn": f"96278{n:07d}"} for n in range(count)], "message": text, "campaign_name": name}
        token = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"{self.gateway.url}/api/sendBulk", json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Basic {token}"},
        )  # fmt: skip
        with urllib.request.urlopen(request) as answer:
            return str(json.load(answer)["campaign_id"])

    def stream(self, browser: Browser, path: str) -> Stream:
        stream = Stream(browser, path)
        self.addCleanup(stream.close)
        return stream

    def test_a_campaign_is_watched_until_it_is_complete(self) -> None:
        id = self.bulk("ahmad", 150, "Watched")
        stream = self.stream(self.browser("ahmad"), f"/campaigns/{id}/live")
        self.assertEqual((stream.status, stream.type), (200, "text/event-stream; charset=utf-8"))
        boss, chief = (self.stream(self.browser(name), f"/campaigns/{id}/live") for name in ("boss", "chief"))
        self.assertIn("Jordan (+962)", chief.until("campaign-live", "SMSC1"))
        seen = stream.until("campaign-live", "Why messages failed")
        self.assertIn("Jordan (+962)", seen)
        self.assertNotIn("SMSC1", seen)  # which is the operator's to know
        self.assertIn("Completed", stream.until("campaign-head", "Completed"))
        boss.until("campaign-head", "Completed")
        page = self.browser("ahmad").get(f"/campaigns/{id}")
        self.assertIn(f'data-live="/campaigns/{id}/live?version=', page)
        self.assertIn("Over time", page)

    def test_dashboard_and_list_are_live(self) -> None:
        b = self.browser("sami")
        dashboard, campaigns = self.stream(b, "/dashboard.live"), self.stream(b, "/campaigns.live?q=Dash&sort=made")
        dashboard.until("now-running", "Nothing is under way")
        self.bulk("sami", 150, "Dash")  # two seconds and more at the SMSC's rate: a stream looks once a second
        dashboard.until("now-running", "Dash")
        dashboard.until("now-figures", ">150<")
        self.assertIn("/campaigns?q=Dash&amp;sort=name", campaigns.until("campaign-list", "Dash"))

    def test_nobody_watches_what_is_not_his(self) -> None:
        id = self.bulk("ahmad", 1, "Secret plan")
        for name in ("lina", "vera", "sami"):
            b = self.browser(name)
            self.assertEqual(self.stream(b, f"/campaigns/{id}/live").status, 404, name)
            for path in (f"/campaigns/{id}", f"/campaigns/{id}/messages.csv"):
                b.get(path)
                self.assertEqual(b.status, 404, (name, path))
            self.assertNotIn("Secret plan", b.get("/campaigns") + b.get("/campaigns.csv") + b.get("/") + b.get("/analytics.csv?by=user"))
            b.get("/campaigns")
            for action in ("pause", "cancel", "discard"):
                b.post(f"/campaigns/{id}/do/{action}")
                self.assertEqual(b.status, 404, (name, action))
        anonymous = Browser(f"http://127.0.0.1:{self.gateway.http_port}")
        self.assertEqual(self.stream(anonymous, f"/campaigns/{id}/live").status, 401)
        self.assertNotIn("ahmad", self.browser("vera").get("/analytics"))

    def test_a_session_that_is_revoked_ends_its_streams(self) -> None:
        b = self.browser("ahmad")
        stream, other = self.stream(b, "/dashboard.live"), self.stream(self.browser("boss"), "/dashboard.live")
        self.assertIsNotNone(stream.next())
        b.get("/")
        b.post("/logout")
        self.assertEqual([e for e in stream.rest() if e[0] == "over"], [])
        self.assertIsNotNone(other.next())

    def test_an_account_has_so_many_streams(self) -> None:
        b = self.browser("sami")
        streams = [self.stream(b, "/dashboard.live") for _ in range(12)]
        for s in streams[:4]:
            self.assertEqual(s.rest()[-1], ("over", "many"))
        for s in streams[4:]:
            self.assertEqual(s.status, 200)
            self.assertIsNotNone(s.next())

    def test_pause_resume_cancel(self) -> None:
        id = self.bulk("ahmad", 1500, "Long")
        b = self.browser("ahmad")
        self.assertIn("Pause Long?", b.get(f"/campaigns/{id}"))
        b.post(f"/campaigns/{id}/do/pause")
        self.assertIn("Long is paused.", b.text)
        self.assertIn("Resume", b.text)
        b.post(f"/campaigns/{id}/do/pause")
        self.assertIn("not possible any more", b.text)
        b.post(f"/campaigns/{id}/do/resume")
        self.assertIn("Long goes on.", b.text)
        b.post(f"/campaigns/{id}/do/cancel", reason=EVIL)
        self.assertIn("Long is cancelled.", b.text)
        self.assertNotIn("<script>alert", b.text)
        self.assertIn("&lt;script&gt;alert", b.text)
        b.post(f"/campaigns/{id}/do/approve")
        self.assertIn("not possible any more", b.text)
        b.post(f"/campaigns/{id}/do/explode")
        self.assertEqual(b.status, 404)

    def test_only_own_forms(self) -> None:
        id = self.bulk("ahmad", 400, "Forged")
        b = self.browser("ahmad")
        b.get(f"/campaigns/{id}")
        b.post(f"/campaigns/{id}/do/cancel", csrf="0" * 40)
        self.assertEqual(b.status, 403)
        b.get(f"/campaigns/{id}")
        b.post(f"/campaigns/{id}/do/cancel", origin="https://evil.example")
        self.assertEqual(b.status, 403)
        viewer = self.browser("vera")
        viewer.get("/campaigns")
        viewer.post(f"/campaigns/{self.bulk('lina', 1, 'Theirs')}/do/cancel")
        self.assertIn("not possible", viewer.text)
        self.assertNotIn("Cancelled", b.get(f"/campaigns/{id}").partition('id="campaign-live"')[0].partition('id="campaign-head"')[2])

    def test_exports_run_no_formulas(self) -> None:
        id = self.bulk("ahmad", 3, EVIL, text="@SUM(A1)")
        b = self.browser("ahmad")

        def sent() -> bool:
            return "@SUM" in b.get(f"/campaigns/{id}/messages.csv")

        eventually(sent, "an export with the messages")
        rows = list(csv.DictReader(io.StringIO(b.text.removeprefix("\ufeff"), newline="")))
        self.assertEqual([r["text"] for r in rows], ["'@SUM(A1)"] * 3)
        self.assertIn(f'filename="{id}-messages.csv"', b.headers["content-disposition"])
        listed = list(csv.DictReader(io.StringIO(b.get("/campaigns.csv").removeprefix("\ufeff"), newline="")))
        self.assertEqual([r["name"] for r in listed if r["id"] == id], ["'" + EVIL])
        self.assertNotIn("<script>alert", b.get(f"/campaigns/{id}") + b.get("/campaigns") + b.get("/"))

    def test_hostile_questions(self) -> None:
        b = self.browser("boss")
        for path in (
            "/campaigns?after=1.x", "/campaigns?after=9.99999999999999999999&sort=recipients", "/campaigns?sort=evil;--&direction=x",
            "/campaigns?after=5.%27%3B--&sort=name", "/campaigns?q=%25%5C_%00", "/analytics?period=evil", "/analytics.csv?by=evil",
            "/analytics.csv?by=user&user=ahmad", "/campaigns.live?after=%00&sort=name",
        ):  # fmt: skip
            if ".live" in path:
                self.assertEqual(self.stream(b, path).status, 200)
                continue
            b.get(path)
            self.assertEqual(b.status, 200, path)
        for path in ("/analytics?from=9999-12-31&to=0001-01-01", "/analytics?from=0001-01-01&to=9999-12-31", "/analytics?from=x",
                     "/analytics?user=lina"):  # fmt: skip
            b.get(path)
            self.assertEqual(b.status, 422, path)

    def test_analytics(self) -> None:
        self.bulk("ahmad", 20, "Counted")
        b = self.browser("boss")
        eventually(lambda: "Jordan (+962)" in b.get("/analytics?period=today"), "figures of today")
        for text in ("By hour", "HTTP API", "By account", "ahmad"):
            self.assertIn(text, b.text)
        self.assertNotIn("SMSC1", b.text + b.get("/analytics.csv?by=smsc"))
        chief = self.browser("chief")
        self.assertIn("SMSC1", chief.get("/analytics"))
        self.assertIn("SMSC1", chief.get("/analytics.csv?by=smsc"))
        rows = list(csv.DictReader(io.StringIO(b.get("/analytics.csv?period=7&by=user").removeprefix("\ufeff"))))
        self.assertGreaterEqual(int({r["account"]: r["accepted"] for r in rows}["ahmad"]), 20)
        self.assertNotIn("By account", self.browser("ahmad").get("/analytics"))
