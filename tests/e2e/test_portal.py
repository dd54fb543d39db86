"""The portal as a browser without scripts sees it: login with one-time code, forms of its own only, what each role may see."""

from __future__ import annotations

import atexit
import re
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from typing import ClassVar

import pyotp
from twisted.trial.unittest import SynchronousTestCase

from tests.support.gateway import PASSWORD, Gateway


class Browser:
    """Follows redirects and keeps cookies; sends what browsers send with a form."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        self.status, self.text, self.url, self.headers = 0, "", "", {}

    def get(self, path: str) -> str:
        return self._ask(urllib.request.Request(self.base + path))

    def post(self, path: str, origin: str | None = None, **fields: str) -> str:
        token = re.search(r'name="csrf" value="([^"]+)"', self.text)
        if token:
            fields.setdefault("csrf", token[1])
        request = urllib.request.Request(self.base + path, urllib.parse.urlencode(fields).encode())
        request.add_header("Origin", origin or self.base)
        return self._ask(request)

    def _ask(self, request: urllib.request.Request) -> str:
        try:
            answer = self._opener.open(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self.status, self.text, self.url = answer.status, answer.read().decode(), answer.url.removeprefix(self.base)
            self.headers = {k.lower(): v for k, v in answer.headers.items()}
        return self.text

    def login(self, name: str, password: str = PASSWORD) -> str:
        self.get("/login")
        return self.post("/login", username=name, password=password)


class Portal(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if Portal._shared is None:
            Portal._shared = Gateway()
            atexit.register(Portal._shared.stop)
            Portal._shared.simulate("SMSC1")
            Portal._shared.accounts({"ahmad": (), "lina": (), "otp": (), "renew": ()}, keys=("lina",))
            Portal._shared.start()
        self.gateway = Portal._shared
        self.browser = Browser(f"http://127.0.0.1:{self.gateway.http_port}")

    def test_login_and_logout(self) -> None:
        b = self.browser
        b.get("/messages?q=962")
        self.assertEqual((b.status, b.url), (200, "/login?next=%2Fmessages%3Fq%3D962"))
        b.login("ahmad", "wrong-Password1")
        self.assertEqual(b.status, 401)
        self.assertIn("is not right", b.text)
        b.login("ahmad")
        self.assertEqual((b.status, b.url), (200, "/"))
        self.assertIn("500,000", b.text)
        kept = {c.name: c.value for c in b.jar}["protei"]
        b.post("/logout")
        self.assertEqual(b.url, "/login")
        self.assertIn("You are logged out.", b.text)
        self.assertNotIn("You are logged out.", b.get("/login"))  # told once
        request = urllib.request.Request(b.base + "/", headers={"Cookie": f"protei={kept}"})
        with urllib.request.urlopen(request, timeout=30) as answer:  # the session is over, not just its cookie
            self.assertIn("/login", answer.url)

    def test_headers_of_every_answer(self) -> None:
        for path in ("/login", "/", "/nothing", "/static/x/css/none.css", "/static/0/css/base.css"):
            self.browser.get(path)
            policy = self.browser.headers["content-security-policy"]
            self.assertIn("default-src 'none'", policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual(self.browser.headers["x-content-type-options"], "nosniff")
        self.assertNotRegex(self.browser.get("/login"), r"(?i)<script>|\son\w+=|\sstyle=")

    def test_forms_of_others(self) -> None:
        b = self.browser
        b.login("ahmad")
        b.post("/account/api-key", origin="https://evil.example")
        self.assertEqual(b.status, 403)
        b.get("/account/api-key")
        b.post("/account/api-key", csrf="0" * 40)
        self.assertEqual(b.status, 403)
        b.get("/account/api-key")
        b.post("/account/api-key")
        self.assertRegex(b.text, r'<code id="key">[a-z0-9]{48}</code>')

    def test_two_factor_authentication(self) -> None:
        b = self.browser
        b.login("otp")
        b.get("/account")
        b.post("/account/2fa")
        secret = re.search(r'<code id="secret">([A-Z2-7]+)</code>', b.text)
        assert secret is not None
        self.assertIn("<svg", b.text)
        b.post("/account/2fa/confirm", code=pyotp.TOTP(secret[1]).now())
        codes = re.findall(r"<li>([^<]{8,})</li>", b.text)
        self.assertGreater(len(codes), 5)
        other = Browser(b.base)
        other.login("otp")
        self.assertIn("One-time code", other.text)
        ticket = re.search(r'name="ticket" value="([^"]+)"', other.text)
        assert ticket is not None
        self.assertNotIn(PASSWORD, other.text)
        other.post("/login", ticket=ticket[1], code="000000")
        self.assertEqual(other.status, 401)
        other.post("/login", ticket=ticket[1], code=codes[0])
        self.assertEqual((other.status, other.url), (200, "/"))

    def test_a_new_password_ends_every_session(self) -> None:
        b, other = self.browser, Browser(self.browser.base)
        b.login("renew")
        other.login("renew")
        b.get("/account")
        b.post("/account/password", old="no", new="another-word-9", again="another-word-9")
        self.assertEqual(b.status, 422)
        b.post("/account/password", old=PASSWORD, new="password1", again="password1")
        self.assertEqual(b.status, 422)
        b.post("/account/password", old=PASSWORD, new="another-word-9", again="another-word-9")
        self.assertIn("Log in with the new one", b.text)
        other.get("/")
        self.assertIn("/login", other.url)
        b.login("renew", "another-word-9")
        self.assertEqual(b.url, "/")

    def test_what_was_sent(self) -> None:
        b = self.browser
        b.login("lina")
        evil = '<script>alert("1")</script>'
        self.gateway.post("/api/sendBulk", "lina", {
            "sender": "MyCompany", "campaign_name": evil, "encoding": "AUTO", "message": f"=1+1 {evil}",
            "recipients": [{"msisdn": "962788123456"}],
        })  # fmt: skip
        self.assertNotIn("<script>alert", b.get("/campaigns"))
        self.assertIn("&lt;script&gt;alert", b.text)
        campaign = re.search(r'href="(/campaigns/CAMP-[^"]+)"', b.text)
        assert campaign is not None
        self.assertIn("&lt;script&gt;", b.get(campaign[1]))
        self.assertIn("962788123456", b.get("/messages?q=%2B962788123456"))
        message = re.search(r'href="(/messages/MSG-[^"]+)"', b.text)
        assert message is not None
        self.assertIn("Accepted over HTTP API", b.get(message[1]))
        self.assertIn("'=1+1", b.get("/messages.csv"))
        stranger = Browser(b.base)
        stranger.login("ahmad")
        for path in (campaign[1], message[1]):
            stranger.get(path)
            self.assertEqual(stranger.status, 404)
        self.assertNotIn("962788123456", stranger.get("/messages?q=962788123456").partition("<tbody>")[2])

    def test_bad_input(self) -> None:
        b = self.browser
        b.login("ahmad")
        for path in ("/messages?q=%00&after=%27%22--&status=x", "/campaigns?after=99999999999999999999&q=%25_%5C", "/campaigns/%00",
                     "/messages/MSG-%F0%9F%98%80", "/messages?campaign=%27", "/campaigns?q=" + "x" * 3000):  # fmt: skip
            b.get(path)
            self.assertIn(b.status, (200, 404), path)
