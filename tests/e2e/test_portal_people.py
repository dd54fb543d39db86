"""Users and customers in the portal, and those who would see or grant more than is theirs."""

from __future__ import annotations

import atexit
import contextlib
import re
from typing import ClassVar

import psycopg2
import pyotp
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.test_portal import Browser
from tests.support.esme import Esme
from tests.support.gateway import PASSWORD, Gateway, eventually

#: what the form of a user has chosen at the beginning
CHOSEN = {"bind_type": "BOTH", "smpp_alphabet": "gsm7", "mo_form": "udh", "receipts": "part", "velocity": "node"}
EVIL = '"><script>alert(1)</script>'


class People(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if People._shared is None:
            gateway = People._shared = Gateway()
            atexit.register(gateway.stop)
            gateway.simulate("SMSC1")
            admin = ("--role", "CUSTOMER_ADMIN")
            gateway.accounts(
                {"chief": ("--role", "ADMIN"), "boss": admin, "ahmad": (), "lina": (), "omar": (), "yara": (),
                 "watcher": ("--role", "VIEWER")},
                keys=("lina",),
            )
            for arguments in (
                ("customer", "add", "Other Co"),
                ("user", "add", "rival", "--password", PASSWORD, "--customer", "Other Co", *admin),
                ("user", "add", "stranger", "--password", PASSWORD, "--customer", "Other Co"),
            ):
                self.assertEqual(gateway.administer(*arguments).wait(60), 0)
            gateway.start()
        self.gateway = People._shared

    def browser(self, name: str, password: str = PASSWORD) -> Browser:
        b = Browser(self.gateway.url)
        b.login(name, password)
        self.assertEqual(b.status, 200, name)
        return b

    def id_of(self, name: str) -> int:
        return int(self.gateway.query("SELECT id FROM users WHERE username = %s", (name,))[0][0])

    def customer(self, name: str) -> int:
        return int(self.gateway.query("SELECT id FROM customers WHERE name = %s", (name,))[0][0])

    def value(self, name: str, column: str) -> object:
        return self.gateway.query(f"SELECT {column} FROM users WHERE username = %s", (name,))[0][0]

    # --- users

    def test_a_user_from_beginning_to_end(self) -> None:
        chief = self.browser("chief")
        chief.get("/users/new")
        chief.post("/users/new", username="sami:x", role="SENDER", customer=str(self.customer("Demo")))
        self.assertEqual(chief.status, 422)
        self.assertIn('value="sami:x"', chief.text)
        self.assertIn('id="e-username"', chief.text)
        form = {"username": "sami", "role": "SENDER", "customer": str(self.customer("Demo")), "bind_type": "BOTH", "can_use_http": "1",
                "can_use_smpp": "1", "can_use_api_bulk": "1", "max_tps": "7", "smpp_alphabet": "gsm7", "mo_form": "udh", "receipts": "part",
                "velocity": "node", "allowed_sender_ids": "MyCo\nShop*"}  # fmt: skip
        chief.post("/users/new", **form)
        password = re.search(r'<code id="secret">([a-z2-9]{16})</code>', chief.text)
        assert password is not None
        sami = self.id_of("sami")
        self.assertEqual(self.value("sami", "max_tps"), 7)
        self.assertEqual(self.value("sami", "allowed_sender_ids"), ["MyCo", "Shop*"])
        self.assertNotIn(password[1], chief.get(f"/users/{sami}"))  # shown once
        chief.get("/users/new")
        chief.post("/users/new", **form)
        self.assertIn("There is, or was, a user of this name.", chief.text)

        user = self.browser("sami", password[1])
        chief.get(f"/users/{sami}/edit")
        chief.post(f"/users/{sami}/edit", **{**form, "max_tps": "x", "email": EVIL})
        self.assertEqual(chief.status, 422)
        self.assertNotIn(EVIL, chief.text)
        self.assertIn("&#34;&gt;&lt;script&gt;", chief.text)
        chief.post(f"/users/{sami}/edit", **{**form, "max_tps": "9", "timezone": "Asia/Amman", "duplicate_seconds": "60"})
        self.assertIn("is changed, on all nodes", chief.text)
        self.assertEqual((self.value("sami", "max_tps"), self.value("sami", "timezone")), (9, "Asia/Amman"))
        details = self.gateway.query(
            "SELECT details FROM tbl_permission_audit WHERE user_id = %s AND action = 'USER_SET' ORDER BY audit_id DESC LIMIT 1", (sami,)
        )[0][0]
        self.assertEqual((details["source"], details["max_tps"], details["before"]["max_tps"]), ("portal", 9, 7))
        self.assertIn("USER_SET", chief.get(f"/users/{sami}"))

        chief.post(f"/users/{sami}/api-key")
        self.assertRegex(chief.text, r'<code id="secret">[a-z0-9]{48}</code>')
        chief.get(f"/users/{sami}")
        chief.post(f"/users/{sami}/api-key/revoke")
        self.assertIsNone(self.value("sami", "api_key"))
        chief.post(f"/users/{sami}/logins")
        self.assertIn("1 login of the portal was ended.", chief.text)
        user.get("/account")
        self.assertIn("/login", user.url)
        found = "SELECT count(*) FROM tbl_permission_audit WHERE user_id = %s AND action = 'LOGOUT' AND actor_id = %s"
        eventually(lambda: self.gateway.query(found, (sami, self.id_of("chief"))) == [(1,)], "in the audit")

        user = self.browser("sami", password[1])
        chief.get(f"/users/{sami}")
        chief.post(f"/users/{sami}/password")
        other = re.search(r'<code id="secret">([a-z2-9]{16})</code>', chief.text)
        assert other is not None
        self.assertNotEqual(other[1], password[1])
        user.get("/account")
        self.assertIn("/login", user.url)
        user.login("sami", password[1])
        self.assertEqual(user.status, 401)
        user = self.browser("sami", other[1])
        chief.get(f"/users/{sami}")
        chief.post(f"/users/{sami}/status", to="SUSPENDED")
        self.assertIn("sami is suspended", chief.text)
        self.assertIn("/login", user.get("/account") and user.url)
        chief.post(f"/users/{sami}/status", to="ACTIVE")
        self.browser("sami", other[1])
        chief.get(f"/users/{sami}")
        chief.post(f"/users/{sami}/delete")
        self.assertIn("sami is gone.", chief.text)
        self.assertEqual(chief.get(f"/users/{sami}") and chief.status, 404)

    def test_a_lost_phone(self) -> None:
        omar, boss = self.browser("omar"), self.browser("boss")
        omar.get("/account")
        omar.post("/account/2fa")
        secret = re.search(r'<code id="secret">([A-Z2-7]+)</code>', omar.text)
        assert secret is not None
        omar.post("/account/2fa/confirm", code=pyotp.TOTP(secret[1]).now())
        eventually(lambda: self.value("omar", "two_factor_enabled"), "on")
        page = f"/users/{self.id_of('omar')}"
        self.assertIn("Reset the second factor of omar?", boss.get(page))
        boss.post(f"{page}/2fa")
        self.assertFalse(self.value("omar", "two_factor_enabled"))
        self.assertEqual(self.browser("omar").url, "/")

    def test_suspended_in_the_portal_is_out_of_smpp(self) -> None:
        chief, page = self.browser("chief"), f"/users/{self.id_of('yara')}"
        with Esme(self.gateway.smpp_port) as esme:
            self.assertEqual(esme.bind("yara", PASSWORD), 0)
            chief.get(page)
            chief.post(f"{page}/status", to="SUSPENDED")
            esme.ends()  # the gateway takes its leave
        with Esme(self.gateway.smpp_port) as esme:
            self.assertNotEqual(esme.bind("yara", PASSWORD), 0)
        chief.post(f"{page}/status", to="ACTIVE")
        chief.post(f"{page}/password")
        made = re.search(r'<code id="secret">([a-z2-9]{16})</code>', chief.text)
        assert made is not None
        with Esme(self.gateway.smpp_port) as esme:
            self.assertEqual(esme.bind("yara", made[1][:8]), 0)  # as many as a bind has room for

    def test_lists(self) -> None:
        chief = self.browser("chief")

        def names() -> list[str]:
            return re.findall(r'<a class="strong break" href="/users/\d+"><bdi>([^<]+)</bdi>', chief.text)

        chief.get("/users")
        self.assertEqual(names()[:3], ["ahmad", "boss", "chief"])
        self.assertIn('aria-sort="ascending"', chief.text)
        chief.get("/users?sort=name&direction=desc")
        self.assertEqual(names()[0], "yara")
        chief.get("/users?role=VIEWER")
        self.assertEqual(names(), ["watcher"])
        chief.get("/users?q=HMA")
        self.assertEqual(names(), ["ahmad"])
        chief.get(f"/users?customer={self.customer('Other Co')}&status=ACTIVE")
        self.assertEqual(names(), ["rival", "stranger"])
        chief.get("/users?sort=customer&after=999999.demo")
        self.assertEqual(names()[:2], ["rival", "stranger"])
        for query in ("sort=made&after=1.x", "sort=login&after=9.9e9", "after=x.y", "sort='&direction='", "q=%00%25_",
                      "after=1." + "9" * 200):  # fmt: skip
            chief.get(f"/users?{query}")
            self.assertEqual(chief.status, 200, query)
        rows = chief.get("/users.csv?q=lina").splitlines()
        self.assertEqual(len(rows), 2)
        self.assertIn("lina,Demo,SENDER,ACTIVE", rows[1])

    def test_a_customer_beyond_the_first_of_many(self) -> None:
        with contextlib.closing(psycopg2.connect(self.gateway.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO customers (name) SELECT 'A' || n FROM generate_series(1, 600) n")
            cursor.execute("INSERT INTO customers (name) VALUES ('zz Last') RETURNING id")
            number = cursor.fetchone()[0]
        chief = self.browser("chief")
        for path in ("/users/new", "/users", "/money", "/money/rates", "/blacklist", "/opt-outs/import"):
            self.assertRegex(chief.get(f"{path}?customer={number}"), rf'<option value="{number}" selected>zz Last', path)
        chief.get(f"/users/new?customer={number}")
        chief.post("/users/new", username="last", role="SENDER", customer=str(number), **CHOSEN)
        self.assertEqual(self.value("last", "customer_id"), number)
        with contextlib.closing(psycopg2.connect(self.gateway.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("UPDATE customers SET status = 'DELETED' WHERE name ~ '^A[0-9]+$'")

    def test_a_name_that_is_markup(self) -> None:
        chief = self.browser("chief")
        chief.get("/users/new")
        chief.post("/users/new", username=EVIL, role="SENDER", customer=str(self.customer("Demo")), duplicate_seconds="5",
                   allowed_sender_ids=EVIL[:21], tags=EVIL, email=f"{EVIL[:10]}@x", **CHOSEN)  # fmt: skip
        self.assertEqual(chief.status, 200)
        number = self.id_of(EVIL)
        for path in ("", "/edit", "/permissions"):
            self.assertNotIn("<script>alert", chief.get(f"/users/{number}{path}"), path)
            self.assertIn("&lt;script&gt;alert", chief.text)
        for path in ("/users", "/users?sort=login", "/guards", f"/customers/{self.customer('Demo')}", "/audit"):
            self.assertNotIn("<script>alert", chief.get(path), path)
        for what in ("status", "api-key", "password", "2fa", "logins", "delete"):
            chief.get(f"/users/{number}")
            chief.post(f"/users/{number}/{what}", to="ACTIVE")
            self.assertEqual(chief.status, 200, what)
            self.assertNotIn("<script>alert", chief.text, what)

    def test_permissions_in_words(self) -> None:
        boss = self.browser("boss")
        text = boss.get(f"/users/{self.id_of('watcher')}/permissions")
        self.assertRegex(text, r"Send messages[^~]*?No</span>")
        self.assertRegex(text, r"See users</th><td><span class=\"badge brand\">Its customer&#39;s")

    # --- walls

    def test_other_customers_are_not_there(self) -> None:
        boss = self.browser("boss")
        self.assertNotIn("rival", boss.get("/users"))
        self.assertNotIn("rival", boss.get(f"/users?customer={self.customer('Other Co')}"))
        self.assertNotIn("rival", boss.get(f"/users.csv?customer={self.customer('Other Co')}"))
        before = self.gateway.query("SELECT * FROM users WHERE username = 'rival'")
        page = f"/users/{self.id_of('rival')}"
        for path in ("", "/edit", "/permissions"):
            self.assertEqual(boss.get(page + path) and boss.status, 404, path)
        for path in ("edit", "status", "password", "api-key", "api-key/revoke", "2fa", "logins", "delete"):
            boss.get("/users")
            boss.post(f"{page}/{path}", to="SUSPENDED", role="SENDER")
            self.assertEqual(boss.status, 404, path)
        for path in ("/customers", f"/customers/{self.customer('Demo')}", "/customers.csv", "/customers/new"):
            self.assertEqual(boss.get(path) and boss.status, 403, path)
        boss.get("/users/new")
        boss.post("/users/new", username="planted", role="SENDER", customer=str(self.customer("Other Co")))
        self.assertEqual(self.value("planted", "customer_id"), self.customer("Demo"))
        self.assertEqual(self.gateway.query("SELECT * FROM users WHERE username = 'rival'"), before)

    def test_nobody_gives_what_he_has_not(self) -> None:
        boss = self.browser("boss")
        self.assertEqual(self.gateway.administer("user", "set", "boss", "max_tps=5", 'allowed_sender_ids=["MyCo"]').wait(60), 0)
        boss.get("/users/new")
        self.assertNotIn('value="ADMIN"', boss.text)
        self.assertIn("<bdi>MyCo</bdi>", boss.text)  # what it will have
        boss.post("/users/new", username="above", role="ADMIN")
        self.assertEqual(boss.status, 422)
        boss.post("/users/new", username="beside", role="CUSTOMER_ADMIN", max_tps="0", allowed_sender_ids="", bind_type="SMPP", tags="gold")
        self.assertEqual(boss.status, 200)
        self.assertEqual((self.value("beside", "max_tps"), self.value("beside", "allowed_sender_ids")), (5, ["MyCo"]))
        self.assertEqual((self.value("beside", "bind_type"), self.value("beside", "tags")), ("BOTH", []))
        ahmad = self.id_of("ahmad")
        boss.get(f"/users/{ahmad}/edit")
        typed = {"role": "SENDER", "max_tps": "0", "max_msg_per_day": "0", "transactional": "1", "timezone": "UTC", "allowed_ips": "::1"}
        boss.post(f"/users/{ahmad}/edit", **typed)
        self.assertEqual((self.value("ahmad", "max_msg_per_day"), self.value("ahmad", "transactional")), (500_000, False))
        self.assertEqual(self.value("ahmad", "allowed_ips"), ["::1"])
        boss.get(f"/users/{ahmad}/edit")
        boss.post(f"/users/{ahmad}/edit", role="ADMIN", timezone="UTC")
        self.assertEqual(boss.status, 422)
        chief, own = self.id_of("chief"), self.id_of("boss")
        self.assertIn("chief", boss.get(f"/users/{chief}"))  # of the same customer, but above
        for path in ("edit", "status", "password", "api-key", "2fa", "logins", "delete"):
            boss.get(f"/users/{chief}")
            boss.post(f"/users/{chief}/{path}", to="SUSPENDED")
            self.assertEqual(boss.status, 403, path)
        for path in ("status", "password", "2fa", "logins", "delete"):  # of oneself
            boss.get("/users")
            boss.post(f"/users/{own}/{path}", to="SUSPENDED")
            self.assertEqual(boss.status, 403, path)
        boss.get(f"/users/{own}/edit")
        boss.post(f"/users/{own}/edit", role="SENDER", timezone="UTC")
        self.assertEqual((boss.status, self.value("boss", "role")), (422, "CUSTOMER_ADMIN"))
        self.assertEqual((self.value("ahmad", "role"), self.value("chief", "status")), ("SENDER", "ACTIVE"))

    def test_roles_that_only_look_or_send(self) -> None:
        watcher, ahmad = self.browser("watcher"), self.id_of("lina")
        self.assertNotIn("/users/new", watcher.get("/users"))
        page = watcher.get(f"/users/{ahmad}")
        self.assertNotIn("Suspend", page)
        for path in (f"/users/{ahmad}/edit", f"/users/{ahmad}/password", f"/users/{ahmad}/status", f"/users/{ahmad}/api-key", "/users/new"):
            watcher.get("/users")
            watcher.post(path, to="SUSPENDED", username="x")
            self.assertEqual(watcher.status, 403, path)
        sender = self.browser("lina")
        for path in ("/users", f"/users/{ahmad}", "/users.csv", "/users/new", "/money", "/customers", "/blacklist", "/opt-outs", "/guards"):
            self.assertEqual(sender.get(path) and sender.status, 403, path)

    def test_forms_of_others(self) -> None:
        chief, lina = self.browser("chief"), self.id_of("lina")
        demo = self.customer("Other Co")
        for path in (f"/users/{lina}/password", f"/users/{lina}/delete", f"/users/{lina}/status", f"/users/{lina}/edit", "/users/new",
                     f"/customers/{demo}/status", f"/customers/{demo}/edit", f"/customers/{demo}/delete", "/customers/new"):  # fmt: skip
            chief.get("/users")
            chief.post(path, csrf="0" * 40, to="SUSPENDED")
            self.assertEqual(chief.status, 403, path)
            chief.get("/users")
            chief.post(path, origin="https://evil.example", to="SUSPENDED")
            self.assertEqual(chief.status, 403, path)
        self.assertEqual(self.value("lina", "status"), "ACTIVE")

    # --- customers

    def test_a_customer_from_beginning_to_end(self) -> None:
        chief = self.browser("chief")
        chief.get("/customers/new")
        form = {"name": EVIL, "credit_limit": "5", "currency": "jod", "timezone": "Asia/Amman", "weight": "2", "charge_on": "DELIVERY",
                "default_country": "jo", "campaign_approval": "1", "allowed_countries": "JO\nSA", "blocked_countries": ""}  # fmt: skip
        chief.post("/customers/new", **form, balance="1e400")
        self.assertEqual(chief.status, 422)
        chief.post("/customers/new", **form, balance="10.5")
        self.assertIn("/customers/", chief.url)
        self.assertNotIn("<script>alert", chief.text)
        number = self.customer(EVIL)
        columns = "balance, credit_limit, currency, weight, charge_on, default_country, campaign_approval, allowed_countries"
        row = self.gateway.query(f"SELECT {columns} FROM customers WHERE id = %s", (number,))[0]
        self.assertEqual([str(v) for v in row[:4]], ["10.500000", "5.000000", "JOD", "2.000"])
        self.assertEqual(row[4:], ("DELIVERY", "JO", True, ["JO", "SA"]))
        self.assertNotIn("<script>alert", chief.get("/customers?q=script"))
        for path in ("/users/new", f"/money?customer={number}", "/users", f"/money/rates?customer={number}", "/opt-outs", "/blacklist"):
            self.assertNotIn("<script>alert", chief.get(path), path)  # it is among the choices
        chief.get(f"/customers/{number}/edit")
        chief.post(f"/customers/{number}/edit", **{**form, "name": "=cmd|' /C calc'!A1", "weight": "3", "campaign_approval": ""})
        self.assertIn("is changed", chief.text)
        self.assertIn("'=cmd|", chief.get("/customers.csv"))
        self.assertEqual(self.gateway.query("SELECT campaign_approval FROM customers WHERE id = %s", (number,)), [(False,)])
        chief.get(f"/customers/{number}")
        chief.post(f"/customers/{number}/status", to="SUSPENDED")
        self.assertIn("is suspended, and all its users", chief.text)
        chief.post(f"/customers/{number}/status", to="ACTIVE")
        chief.post(f"/customers/{number}/delete")
        self.assertIn("is deleted. It stays in the books", chief.text)
        other = self.customer("Other Co")
        chief.get(f"/customers/{other}")
        chief.post(f"/customers/{other}/delete")
        self.assertIn("still has users", chief.text)
        own = self.customer("Demo")
        chief.get(f"/customers/{own}")
        chief.post(f"/customers/{own}/status", to="SUSPENDED")
        self.assertEqual(chief.status, 403)

    def test_bad_addresses(self) -> None:
        chief = self.browser("chief")
        for path in ("/users/0", "/users/x", "/users/999999999999999999999", "/users/%00", "/customers/0", "/customers/-1",
                     "/customers/%27", "/users/99999/edit", "/customers/99999999999999999999/edit"):  # fmt: skip
            self.assertEqual(chief.get(path) and chief.status, 404, path)
        for path in ("/customers?after=1.x&sort=balance", "/customers?sort=balance&after=1.-5.5", "/customers?q=%00&status=%27"):
            self.assertEqual(chief.get(path) and chief.status, 200, path)
