"""What a customer's own user does in the portal, against a running gateway: inbox, callbacks, account; and what others may not."""

from __future__ import annotations

import atexit
import base64
import hashlib
import hmac
import html
import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import psycopg2
import pyotp
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.test_portal import Browser
from tests.support.gateway import PASSWORD, Gateway, _output, eventually

EVIL = '=1+1 <script>alert("{n}")</script>'


class Shop(ThreadingHTTPServer):
    """A customer's server: keeps what it hears; /bad is refused."""

    daemon_threads = True

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802
                body = self.rfile.read(int(self.headers["content-length"]))
                shop.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(500 if self.path.startswith("/bad") else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class Own(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None
    _shop: ClassVar[Shop]

    def setUp(self) -> None:
        if Own._shared is None:
            gateway = Own._shared = Gateway()
            atexit.register(gateway.stop)
            gateway.simulate("SMSC1", "--mo-every", "0.1", "--mo-text", EVIL, "--mo-count", "2")
            gateway.accounts(
                {"ahmad": ("--sender", "12345", "--sender", "*"), "lina": (), "viewer": ("--role", "VIEWER"),
                 "boss": ("--role", "CUSTOMER_ADMIN"), "chief": ("--role", "ADMIN")}, keys=("ahmad", "lina"),
            )  # fmt: skip
            _output(gateway.administer("customer", "add", "Rival", "--balance", "10"))
            for name, role in (("rival", "SENDER"), ("rboss", "CUSTOMER_ADMIN")):
                _output(gateway.administer("user", "add", name, "--password", PASSWORD, "--customer", "Rival", "--role", role))
            gateway.start()
            Own._shop = Shop()
            gateway.post("/api/sendBulk", "ahmad", {
                "sender": "MyCompany", "encoding": "AUTO", "message": "=2+2 Hello", "recipients": [{"msisdn": "962790000001"}],
            })  # fmt: skip
            eventually(lambda: gateway.query("SELECT 1 FROM messages WHERE status = 'DELIVERED'"), "delivered")
            eventually(lambda: len(gateway.query("SELECT 1 FROM tbl_mo_messages")) == 2, "received")
        assert Own._shared is not None
        self.gateway, self.shop = Own._shared, Own._shop

    def browser(self, name: str) -> Browser:
        b = Browser(f"http://127.0.0.1:{self.gateway.http_port}")
        b.login(name)
        self.assertEqual(b.url, "/", b.text[:500])
        return b

    def one(self, sql: str, *values: object) -> object:
        return self.gateway.query(sql, values)[0][0]

    def store(self, sql: str, *values: object) -> None:
        connection = psycopg2.connect(self.gateway.dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
        connection.close()

    def end_sessions(self, name: str) -> None:
        """As if a user's time had run out."""
        user = self.one("SELECT id FROM users WHERE username = %s", name)
        self.store("UPDATE tbl_web_sessions SET revoked_at = now() WHERE user_id = %s", user)
        self.store("SELECT pg_notify('protei_accounts', %s)", f"user:{user}")

    # --- the inbox

    def test_what_came_from_mobiles(self) -> None:
        b = self.browser("ahmad")
        text = b.get("/inbox")
        self.assertNotIn("<script>alert", text)
        self.assertIn("=1+1 &lt;script&gt;alert(&#34;2&#34;)", text)
        [id] = re.findall(r'href="/inbox/(MO-\w+)"', b.get("/inbox?q=alert(%221%22)"))
        self.assertIn("Belongs to ahmad", b.get(f"/inbox/{id}"))
        self.assertNotIn("<script>alert", b.text)
        self.assertEqual(len(re.findall(r'href="/inbox/MO-', b.get("/inbox?q=%2B962790000001"))), 2)
        self.assertIn("Nothing like that", b.get("/inbox?q=962799"))
        self.assertIn("'=1+1", b.get("/inbox.csv"))
        self.assertNotRegex(b.text, r'(?m)(^|,)"?=')
        thread = b.get("/inbox/with/962790000001")
        self.assertNotIn("<script>alert", thread)
        self.assertIn("=2+2 Hello", thread)
        for name in ("lina", "rival", "rboss"):
            other = self.browser(name)
            other.get(f"/inbox/{id}")
            self.assertEqual(other.status, 404, name)
            for path in ("/inbox", f"/inbox?q={id}", "/inbox.csv", "/inbox/with/962790000001"):
                self.assertNotIn("1+1", other.get(path), (name, path))
                self.assertNotIn("2+2", other.text, (name, path))
        for name in ("boss", "viewer", "chief"):
            self.assertIn("1+1", self.browser(name).get(f"/inbox/{id}"), name)

    def test_stop_is_marked(self) -> None:
        for n, text in enumerate(("Stop!", "start", "Stop by tomorrow")):
            self.store(
                "INSERT INTO tbl_mo_messages (message_id, smsc_id, from_addr, to_addr, message_text, payload, user_id, status)"
                " SELECT 'MO-' || substr(message_id_at(now()), 5, 11) || %s, 'SMSC1', '962781', '9', %s, '', id, 'ROUTED' FROM users"
                " WHERE username = 'lina'", str(n), text,
            )  # fmt: skip
        text = self.browser("lina").get("/inbox?q=962781")
        self.assertEqual((text.count("Opt-out</span>"), text.count("Opt-in</span>")), (1, 1))

    # --- messages

    def test_the_story_of_a_message(self) -> None:
        b = self.browser("ahmad")
        [id] = re.findall(r'href="/messages/(MSG-\w+)"', b.get("/messages?q=%2B962%20790%20000001"))
        story = b.get(f"/messages/{id}")
        for said in ("Accepted over HTTP API", "Taken by the mobile network", "Receipt: DELIVRD", "=2+2 Hello", "GSM 03.38"):
            self.assertIn(said, story)
        self.assertNotIn("SMSC1", story)
        smsc_id = str(self.one("SELECT smpp_msg_id FROM messages WHERE message_id = %s", id))
        chief = self.browser("chief")
        story = chief.get(f"/messages/{id}")
        for said in ("Routed by the rule everything", "Taken by SMSC1", smsc_id, "dest_addr_ton/npi", "Explain the route now"):
            self.assertIn(said, story)
        for query in (f"q={smsc_id}", f"q={id.lower()}", "user=ahmad&status=DELIVERED", "customer=Demo", "smsc=SMSC1", "sender=MyCompany",
                      "channel=HTTP_API", "q=MyCompany", "user=ahmad&sender=MyCompany"):  # fmt: skip
            self.assertIn(id, chief.get(f"/messages?{query}"), query)
        for query in ("user=rival", "user=nobody", "customer=Rival", "smsc=B", "sender=X", "channel=SMPP", "from=2020-01-01&to=2020-01-02",
                      "from=2999-01-01", "campaign=CAMP-0"):  # fmt: skip
            self.assertNotIn(id, chief.get(f"/messages?{query}").partition("<tbody>")[2], query)
        chief.get("/messages?from=yesterday")
        self.assertEqual(chief.status, 422)
        self.assertNotIn(id, b.get(f"/messages?q={smsc_id}x").partition("<tbody>")[2])
        self.assertIn("'=2+2", b.get("/messages.csv"))
        for name in ("lina", "rival", "rboss"):
            other = self.browser(name)
            other.get(f"/messages/{id}")
            self.assertEqual(other.status, 404, name)
            for query in ("", f"q={id}", "q=962790000001", f"q={smsc_id}", "user=ahmad", "customer=Demo", "sender=MyCompany"):
                for path in ("/messages", "/messages.csv"):
                    self.assertNotIn("2+2", other.get(f"{path}?{query}"), (name, path, query))

    # --- callbacks

    def test_an_address_is_tried_and_kept(self) -> None:
        b = self.browser("ahmad")
        b.get("/callbacks")
        for bad in ("ftp://example.com", "http://u:p@example.com/", "http://example.com:25/", "http://example.com/#x",
                    "http://ex ample.com", "javascript:alert(1)", "http://" + "x" * 600):  # fmt: skip
            for path in ("/callbacks/address", "/callbacks/test"):
                b.post(path, url=bad)
                self.assertEqual(b.status, 422, bad)
                self.assertIn('aria-invalid="true"', b.text)
                self.assertIn(html.escape(bad, quote=True).replace("&#x27;", "&#39;"), b.text, "what was typed is kept")
        self.assertEqual(self.one("SELECT dlr_callback_url FROM users WHERE username = 'ahmad'"), None)
        self.shop.heard.clear()
        b.post("/callbacks/test", url=self.shop.url + "/ok")
        self.assertIn("Your server answered with 200", b.text)
        b.post("/callbacks/test", url=self.shop.url + "/ok")
        self.assertEqual(b.status, 429)
        [(headers, body)] = self.shop.heard
        self.assertEqual((json.loads(body)["test"], headers["webhook-id"][:5]), (True, "test_"))
        b.post("/callbacks/secret")
        secret = re.search(r"whsec_[\w+/=]+", b.text)
        assert secret is not None
        key = base64.b64decode(secret[0].removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        self.assertEqual(headers["webhook-signature"], right)
        sample = re.search(r"<pre[^>]*>(import base64.*?)</pre>", b.text, re.DOTALL)
        assert sample is not None
        there: dict[str, Any] = {}
        exec(html.unescape(sample[1]), there)  # what the page tells people to write does what it says
        self.assertTrue(there["is_genuine"](secret[0], headers, body))
        self.assertFalse(there["is_genuine"](secret[0], headers, body + b" "))
        self.assertFalse(there["is_genuine"](secret[0], {**headers, "webhook-timestamp": "1700000000"}, body))
        b.post("/callbacks/secret/rotate", overlap="3600")
        shown = re.findall(r">(whsec_[\w+/=]+)<", b.text)
        self.assertEqual((len(shown), shown[1]), (2, secret[0]))
        self.assertNotIn("whsec_", b.get("/callbacks").replace('"whsec_"', "").replace("whsec_/", ""))
        b.post("/callbacks/address", url=self.shop.url + "/ok")
        self.assertIn("Receipts go to this address", b.text)
        self.assertEqual(self.one("SELECT dlr_callback_url FROM users WHERE username = 'ahmad'"), self.shop.url + "/ok")
        details = self.one("SELECT details FROM tbl_permission_audit WHERE action = 'USER_SET' ORDER BY audit_id DESC LIMIT 1")
        self.assertEqual((details["source"], details["dlr_callback_url"]), ("portal", self.shop.url + "/ok"))  # type: ignore[index]
        for action in ("CALLBACK_TESTED", "CALLBACK_SECRET_SHOWN", "CALLBACK_SECRET_ROTATED"):
            eventually(lambda a=action: self.gateway.query("SELECT 1 FROM tbl_permission_audit WHERE action = %s", (a,)), action)  # type: ignore[misc]

    def test_sending_again(self) -> None:
        message = "MSG-000000000XYZ"
        for name, status in (("lina", "PARKED"), ("lina", "PARKED"), ("lina", "DELIVERED"), ("rival", "PARKED")):
            self.store(
                "INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload, status, last_error)"
                " SELECT id, %s, %s, '{}', %s, '<b>=1+1' FROM users WHERE username = %s", message, self.shop.url + "/" + name, status, name,
            )  # fmt: skip
        made = self.gateway.query("SELECT callback_id FROM tbl_callback_outbox WHERE message_id = %s ORDER BY 1", (message,))
        ids = [str(r[0]) for r in made]

        def state(id: str) -> object:
            return self.one("SELECT status FROM tbl_callback_outbox WHERE callback_id = %s", id)

        lina = self.browser("lina")
        text = lina.get("/callbacks?status=PARKED")
        self.assertEqual((text.count(f">{message}<"), "<b>=1" in text), (2, False))
        self.assertIn("Send 2 parked callbacks again?", text)
        self.assertIn("'<b>=1+1".replace("'", ""), html.unescape(lina.get("/callbacks.csv")))
        lina.get("/callbacks")
        for bad in (ids[3], "0", "x", "9" * 30):
            lina.post(f"/callbacks/{bad}/replay")
        lina.get("/callbacks")
        lina.post(f"/callbacks/{ids[0]}/replay", csrf="0" * 40)
        self.assertEqual((lina.status, state(ids[0]), state(ids[3])), (403, "PARKED", "PARKED"))
        lina.get("/callbacks")
        lina.post(f"/callbacks/{ids[0]}/replay")
        self.assertIn("is being sent again", lina.text)
        lina.post("/callbacks/replay")
        self.assertIn("1 parked callback is being sent again", lina.text)
        for id in ids[:2]:
            eventually(lambda i=id: state(i) == "DELIVERED", "delivered")  # type: ignore[misc]
        self.assertEqual(state(ids[3]), "PARKED")
        viewer = self.browser("viewer")
        self.assertNotIn("Signing secret", viewer.get("/callbacks"))
        self.assertIn(message, viewer.text)
        for path in ("/callbacks/address", "/callbacks/test", "/callbacks/secret", "/callbacks/secret/rotate", "/callbacks/replay",
                     f"/callbacks/{ids[3]}/replay"):  # fmt: skip
            viewer.get("/callbacks")
            viewer.post(path, url=self.shop.url)
            self.assertEqual(viewer.status, 403, path)
        rboss = self.browser("rboss")
        self.assertEqual(rboss.get("/callbacks").count(f">{message}<"), 1)

    # --- the account

    def test_sessions_end_where_their_user_says(self) -> None:
        b, phone, tablet, rival = (self.browser(name) for name in ("lina", "lina", "lina", "rival"))
        ids = re.findall(r'action="/account/sessions/([^/"]+)/end"', b.get("/account"))
        self.assertGreaterEqual(len(ids), 2)
        rival.get("/account")
        rival.post(f"/account/sessions/{ids[0]}/end")
        self.assertIn("was over already", rival.text)
        tablet_id = ids[0]  # the newest
        b.get("/account")
        b.post(f"/account/sessions/{tablet_id}/end")
        self.assertIn("That session is over", b.text)
        eventually(lambda: tablet.get("/account") and "/login" in tablet.url, "out")
        phone.get("/account")
        self.assertEqual(phone.url, "/account")
        b.get("/account")
        b.post("/account/sessions/end")
        self.assertIn("was ended", b.text.replace("were", "was"))
        eventually(lambda: phone.get("/account") and "/login" in phone.url, "out")
        rival.get("/account")
        self.assertEqual(rival.url, "/account")
        b.get("/account")
        self.assertEqual(b.url, "/account")

    def test_time_zone_and_language(self) -> None:
        b = self.browser("rival")
        b.get("/account")
        b.post("/account/preferences", timezone="Mars/Olympus", language="en")
        self.assertEqual(b.status, 422)
        self.assertIn('value="Mars/Olympus"', b.text)
        b.post("/account/preferences", timezone="Asia/Amman", language="ar")
        self.assertIn('dir="rtl"', b.text)
        eventually(lambda: 'value="Asia/Amman"' in b.get("/account"), "known")

    def test_a_second_factor_from_its_qr_code_to_its_end(self) -> None:
        b = self.browser("rboss")

        def secret() -> str:
            found = re.search(r'<code id="secret">([A-Z2-7]+)</code>', b.text)
            assert found is not None, b.text
            return found[1]

        b.get("/account/2fa")
        first = secret()
        self.assertRegex(b.text, r'<svg [^>]*viewBox="0 0 \d+ \d+"')
        b.get("/account/2fa")
        self.assertEqual(secret(), first, "who opens the page once more has not scanned in vain")
        b.post("/account/2fa/confirm", code="000000")
        self.assertEqual((b.status, secret()), (422, first))
        self.assertIn("That code is not right", b.text)
        b.post("/account/2fa")
        second = secret()
        self.assertNotEqual(second, first)
        b.post("/account/2fa/confirm", code=pyotp.TOTP(second).now())
        codes = re.findall(r"<li>([0-9A-Z-]{8,})</li>", b.text)
        file = re.search(r'href="data:text/plain;charset=utf-8,([^"]+)" download', b.text)
        assert file is not None
        self.assertTrue(all(code in urllib.parse.unquote(file[1]) for code in codes))
        self.assertEqual(b.headers["cache-control"], "no-store")
        eventually(lambda: "10 left" in b.get("/account/2fa"), "on")
        self.assertNotIn(codes[0], b.text)
        b.post("/account/2fa/codes", code="000000")
        self.assertEqual(b.status, 422)
        b.post("/account/2fa/disable", password="wrong", code=codes[0])
        self.assertEqual(b.status, 422)
        b.post("/account/2fa/disable", password=PASSWORD, code=codes[0])
        self.assertIn("Two-factor authentication is off", b.text)

    def test_a_session_that_is_over_leads_back_to_the_form(self) -> None:
        b = self.browser("viewer")
        page = b.get("/account")
        self.assertRegex(page, r'<script type="module" src="/static/\w+/js/kept\.js"')
        self.assertIn('data-user="viewer"', page)
        self.end_sessions("viewer")
        eventually(lambda: b.get("/account") and "/login" in b.url, "over")
        host = f"http://127.0.0.1:{self.gateway.http_port}"
        for referer, back in (
            (f"{host}/messages?q=1", "/messages?q=1"), (f"{host}/callbacks/address", "/callbacks"), ("https://evil.example/x", "/account"),
            (f"{host}//evil.example", "/"), (f"{host}/account/2fa/confirm", "/account/2fa"), ("http://[", "/account"), ("", "/account"),
        ):  # fmt: skip
            request = urllib.request.Request(
                host + "/account/preferences", b"timezone=UTC", headers={"Origin": host, **({"Referer": referer} if referer else {})}
            )
            with self.assertRaises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=30)
            with caught.exception as answer:
                text = answer.read().decode()
            self.assertEqual(caught.exception.code, 401)
            self.assertIn("data-session-over", text)
            found = re.search(r'href="/login\?next=([^"]+)"', text)
            assert found is not None
            self.assertEqual(urllib.parse.unquote(found[1]), back, referer)

    # --- against who means ill

    def test_no_form_without_its_token(self) -> None:
        b = self.browser("boss")
        boss = self.one("SELECT id FROM users WHERE username = 'boss'")
        changes = f"SELECT count(*) FROM tbl_permission_audit WHERE action !~ '^LOGIN' AND user_id = {boss}"
        before = self.gateway.query(changes)
        for path in ("/account/password", "/account/preferences", "/account/sessions/end", "/account/sessions/x/end", "/account/2fa",
                     "/account/2fa/confirm", "/account/2fa/disable", "/account/2fa/codes", "/account/api-key", "/account/api-key/revoke",
                     "/callbacks/address", "/callbacks/test", "/callbacks/secret", "/callbacks/secret/rotate", "/callbacks/replay",
                     "/callbacks/1/replay"):  # fmt: skip
            b.get("/account")
            token = re.search(r'name="csrf" value="([^"]+)"', b.text)
            assert token is not None
            b.post(path, csrf="")
            self.assertEqual(b.status, 403, path)
            b.post(path, csrf=token[1], origin="https://evil.example")
            self.assertEqual(b.status, 403, path)
        self.assertEqual(self.gateway.query(changes), before)

    def test_what_was_asked_for_is_shown_and_not_run(self) -> None:
        b = self.browser("chief")
        evil = urllib.parse.quote('"><script>alert(1)</script>{{7*7}}\'--%\x00')
        names = ("q", "status", "from", "to", "sender", "channel", "campaign", "user", "customer", "smsc", "after")
        every = "&".join(f"{n}={evil}" for n in names)
        for path in ("/messages.csv", "/inbox.csv", "/callbacks.csv"):
            b.get(f"{path}?{every}")
            self.assertEqual((b.status, b.headers["content-type"]), (200, "text/csv; charset=utf-8"))
        for path in ("/messages", "/inbox", "/callbacks"):
            for query in (*(f"{n}={evil}" for n in names), every):
                text = b.get(f"{path}?{query}")
                self.assertIn(b.status, (200, 422), (path, query))
                self.assertNotIn("<script>alert", text, (path, query))
                if "q=" in query.split("&")[0]:
                    self.assertIn("{{7*7}}", text, (path, query))
        for path in (f"/inbox/with/{evil.replace('%2F', '')}", f"/inbox/{evil.replace('%2F', '')}", f"/messages/{evil.replace('%2F', '')}"):
            self.assertNotIn("<script>alert", b.get(path), path)
            self.assertIn(b.status, (200, 404), path)
        for after in ("9" * 19, "-1", "MSG-", "MSG-ZZZZZZZZZZZZ", "MO-000000000000", "²"):
            for path in ("/messages", "/inbox", "/callbacks", "/inbox/with/962790000001"):
                b.get(f"{path}?after={urllib.parse.quote(after)}&from=0001-01-01&to=9999-12-31")
                self.assertIn(b.status, (200, 422), (path, after))
