"""The portal against those who would misuse it: redirects, forged forms, stolen cookies, proxies that lie, formulas."""

from __future__ import annotations

import atexit
import http.client
import json
import re
import urllib.parse
from typing import Any, ClassVar

import psycopg2
import pyotp
from twisted.trial.unittest import SynchronousTestCase

from tests.support.gateway import PASSWORD, Gateway, eventually


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.text = response.status, response.read().decode()
        self.location = response.getheader("location", "")
        self.cookies = [value for name, value in response.getheaders() if name.lower() == "set-cookie"]
        self.headers = [(name.lower(), value) for name, value in response.getheaders()]

    def cookie(self, name: str) -> str:
        """Of the last line that sets it."""
        found = [re.match(rf"{name}=([^;]*)", line) for line in self.cookies]
        return next((m[1] for m in reversed(found) if m), "")


class Attacks(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if Attacks._shared is None:
            gateway = Attacks._shared = Gateway()
            second = 'second_factor = ["ADMIN"]'
            atexit.register(gateway.stop)
            gateway.simulate("SMSC1")
            gateway.accounts({"ahmad": (), "copied": (), "formula": (), "chief": ("--role", "ADMIN")}, keys=("formula",))
            text = gateway.config.read_text()  # accounts() has written it
            proxies = 'trusted_proxies = ["127.0.0.1"]\nforwarded_header = "forwarded"\n'
            gateway.config.write_text(text.replace("[http]\n", f"[http]\n{proxies}", 1).replace("[access]\n", f"[access]\n{second}\n", 1))
            gateway.start()
        assert Attacks._shared is not None
        self.gateway = Attacks._shared

    def ask(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.http_port, timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if form is not None:
                sent = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", **sent}
            connection.request(method, path, urllib.parse.urlencode(form) if form is not None else None, sent)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def login(self, name: str, **more: str) -> Answer:
        answer = self.ask("POST", "/login", {"username": name, "password": PASSWORD, **more})
        self.assertEqual(answer.status, 303, answer.text)
        return answer

    def test_redirects_stay_here(self) -> None:
        elsewhere = ("//evil.example", "/\\evil.example", "/\t/evil.example", "/\x0b/evil.example", "/\t\\evil.example", "https://evil.example",
                     "/\r\nSet-Cookie: a=b", "/é", "javascript:alert(1)")  # fmt: skip
        for target in elsewhere:
            self.assertEqual(self.login("ahmad", next=target).location, "/", target)
            answer = self.ask("POST", "/preferences", {"language": "en", "back": target})
            self.assertEqual((answer.status, answer.location), (303, "/"), target)
        self.assertEqual(self.login("ahmad", next="/messages?q=962&status=SENT").location, "/messages?q=962&status=SENT")

    def test_forms_that_come_from_elsewhere(self) -> None:
        cookie = f"protei={self.login('ahmad').cookie('protei')}"
        page = self.ask("GET", "/account", Cookie=cookie).text
        csrf = re.search(r'name="csrf" value="(\w+)"', page)
        assert csrf is not None
        form = {"csrf": csrf[1]}
        for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Sec_Fetch_Site": "", "Origin": "null"},
                        {"Sec_Fetch_Site": "", "Origin": "https://evil.example"}, {"Sec_Fetch_Site": ""}):  # fmt: skip
            for path in ("/account/api-key", "/account/2fa", "/logout", "/login"):
                self.assertEqual(self.ask("POST", path, form, Cookie=cookie, **headers).status, 403, (path, headers))
        other = f"protei={self.login('ahmad').cookie('protei')}"
        self.assertEqual(self.ask("POST", "/account/api-key", form, Cookie=other).status, 403)  # of another session
        self.assertEqual(self.ask("GET", f"/account/api-key/revoke?csrf={csrf[1]}", Cookie=cookie).status, 405)
        self.assertEqual(self.ask("POST", "/account/api-key/revoke", form, Cookie=cookie).status, 303)

    def test_cookies_that_break_nothing(self) -> None:
        for cookie in ('protei_flash="abc.\\351"', "protei_flash=a.b", "protei_flash=.", 'protei="\\000"', "protei=a.b.c", "=;;=",
                       'protei_theme=""><b>"', "protei_language=../../x", "protei=" + "a" * 3000, "x=" + "y;" * 2000):  # fmt: skip
            answer = self.ask("GET", "/login", Cookie=cookie)
            self.assertEqual(answer.status, 200, cookie[:40])
            self.assertNotIn("<b>", answer.text)

    def test_a_login_token_is_no_cookie_and_a_cookie_no_token(self) -> None:
        cookie = self.login("ahmad").cookie("protei")
        body = json.dumps({"username": "ahmad", "password": PASSWORD})
        _, tokens = self.gateway.curl("/api/login", "-H", "Content-Type: application/json", "-d", body)
        self.assertEqual(self.ask("GET", "/account", Cookie=f"protei={tokens['token']}").status, 303)
        self.assertEqual(self.ask("GET", "/api/v1/users/me", Cookie=f"protei={cookie}").status, 401)
        self.assertEqual(self.ask("GET", "/api/v1/users/me", Authorization=f"Bearer {cookie}").status, 401)

    def test_a_login_makes_a_session_of_its_own(self) -> None:
        """Nobody can have another log in with a session that he knows."""
        known = self.login("copied").cookie("protei")
        form = {"username": "ahmad", "password": PASSWORD}
        self.assertEqual(self.ask("POST", "/login", form, Cookie=f"protei={known}").status, 403)
        page = self.ask("GET", "/account", Cookie=f"protei={known}").text
        csrf = re.search(r'name="csrf" value="(\w+)"', page)
        assert csrf is not None
        self.ask("POST", "/logout", {"csrf": csrf[1]}, Cookie=f"protei={known}")
        made = self.ask("POST", "/login", form, Cookie=f"protei={known}").cookie("protei")
        self.assertNotIn(made, ("", known))
        self.assertEqual(self.ask("GET", "/account", Cookie=f"protei={known}").status, 303)
        self.assertEqual(self.ask("GET", "/account", Cookie=f"protei={made}").status, 200)

    def test_a_stolen_cookie_ends_with_its_second_use(self) -> None:
        """Whoever comes with a cookie that was renewed since, thief or robbed: the session is over for both."""
        stolen = self.login("copied").cookie("protei")
        status, renewed = self.gateway.curl("/api/refresh", "-X", "POST", "-H", f"Authorization: Bearer {stolen}")
        self.assertEqual(status, 200)
        newer = renewed["refresh_token"]
        self.assertEqual(self.ask("GET", "/account", Cookie=f"protei={newer}").status, 200)
        with psycopg2.connect(self.gateway.dsn) as connection, connection.cursor() as cursor:  # ten seconds have passed
            cursor.execute("UPDATE tbl_web_sessions SET rotated_at = rotated_at - interval '60 s'")
            cursor.execute("SELECT pg_notify('protei_accounts', '')")
        connection.close()
        eventually(lambda: self.ask("GET", "/account", Cookie=f"protei={stolen}").status == 303, "refused")
        self.assertEqual(self.ask("GET", "/account", Cookie=f"protei={newer}").status, 303)
        eventually(lambda: self.gateway.query("SELECT 1 FROM tbl_permission_audit WHERE action = 'TOKEN_REUSED'"), "in the audit")

    def test_behind_a_proxy(self) -> None:
        """Its word counts, in the header that was agreed on, and in no other; cookies are those of HTTPS."""
        headers = {"Forwarded": "for=192.0.2.7;proto=https", "X_Forwarded_For": "198.51.100.9"}
        answer = self.ask("POST", "/login", {"username": "ahmad", "password": PASSWORD}, **headers)
        [line] = [c for c in answer.cookies if c.startswith("__Host-protei=")]
        for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
            self.assertIn(flag, line)
        self.assertNotIn("Domain", line)
        self.assertEqual([v for n, v in answer.headers if n == "strict-transport-security"], ["max-age=31536000"])
        found = self.gateway.query("SELECT host(ip_address) FROM tbl_web_sessions ORDER BY created_at DESC LIMIT 1")
        self.assertEqual(found, [("192.0.2.7",)])

    def test_an_administrator_without_a_second_factor_sets_it_up_first(self) -> None:
        login = self.login("chief").cookie("protei")
        for path in ("/", "/campaigns", "/messages.csv"):
            self.assertEqual(self.ask("GET", path, Cookie=f"protei={login}").location, "/account/2fa", path)
        page = self.ask("GET", "/account", Cookie=f"protei={login}")
        csrf = re.search(r'name="csrf" value="(\w+)"', page.text)
        assert csrf is not None and page.status == 200
        form = {"csrf": csrf[1]}

        def api(path: str, body: object = None) -> tuple[int, Any]:
            sent = ("-X", "POST", "-H", "Content-Type: application/json", "-d", json.dumps(body)) if body is not None else ()
            return self.gateway.curl(path, "-H", f"Authorization: Bearer {token}", *sent)

        token = ""
        _, answer = api("/api/login", {"username": "chief", "password": PASSWORD})
        token = answer["token"]
        reads = ("/api/v1/users", "/api/v1/audit/events", "/api/v1/callbacks")
        for path, body in (*((path, None) for path in reads), ("/api/v1/customers", {"name": "Mine"})):
            status, problem = api(path, body)
            self.assertEqual((status, problem["code"]), (403, "SECOND_FACTOR_REQUIRED"), path)
        self.assertEqual(api("/api/v1/users/me")[0], 200)
        secret = re.search(r'<code id="secret">(\w+)</code>', self.ask("POST", "/account/2fa", form, Cookie=f"protei={login}").text)
        assert secret is not None
        code = pyotp.TOTP(secret[1]).now()
        self.assertEqual(self.ask("POST", "/account/2fa/confirm", {**form, "code": code}, Cookie=f"protei={login}").status, 200)
        eventually(lambda: self.ask("GET", "/", Cookie=f"protei={login}").status == 200, "let in")
        self.assertEqual(api("/api/v1/users")[0], 200)

    def test_nothing_is_kept_by_browsers_or_framed(self) -> None:
        cookie = f"protei={self.login('ahmad').cookie('protei')}"
        for path in ("/", "/login", "/account", "/messages.csv", "/messages", "/nothing"):
            headers = dict(self.ask("GET", path, Cookie=cookie, Origin="https://evil.example").headers)
            self.assertEqual([name for name in headers if name.startswith("access-control")], [])
            self.assertIn("camera=()", headers["permissions-policy"])
            self.assertEqual(headers["cache-control"], "no-store", path)
            self.assertEqual(headers["x-frame-options"], "DENY")
            self.assertIn("frame-ancestors 'none'", headers["content-security-policy"])
            self.assertIn("form-action 'self'", headers["content-security-policy"])

    def test_formulas_and_markup_of_others(self) -> None:
        evil = '"><img src=x onerror=alert(1)>{{7*7}};=HYPERLINK("http://evil.example")'
        status, sent = self.gateway.post("/api/sendBulk", "formula", {
            "sender": "@SUM(1+1)", "campaign_name": evil, "message": f"+1{evil}", "encoding": "AUTO",
            "recipients": [{"msisdn": "962788123456"}],
        })  # fmt: skip
        self.assertEqual(status, 200, sent)
        cookie = f"protei={self.login('formula').cookie('protei')}"
        campaign = sent["campaign_id"]
        for path in ("/", "/campaigns", f"/campaigns/{campaign}", "/messages", "/messages?q=" + urllib.parse.quote(evil)):
            text = self.ask("GET", path, Cookie=cookie).text
            self.assertNotIn("<img", text, path)
            self.assertNotIn("49;", text)
        for path in ("/campaigns.csv", "/messages.csv"):
            text = self.ask("GET", path, Cookie=cookie).text
            self.assertNotRegex(text, r'(?:^|[;,"])[=@+]', path)
            self.assertIn(";'=HYPERLINK", text)
