"""Contact lists in the portal of a running gateway: made, filled by hand and from a file, searched, emptied with a way back, exported."""

from __future__ import annotations

import atexit
import json
import re
import urllib.parse
import urllib.request
from typing import Any, ClassVar

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.test_portal_uploads import Sender
from tests.support.gateway import Gateway, eventually

SCRIPT = '<script>alert("1")</script>'


class Contacts(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if Contacts._shared is None:
            Contacts._shared = gateway = Gateway("[uploads]\nmax_megabytes = 4\n")
            atexit.register(gateway.stop)
            gateway.simulate("SMSC1")
            gateway.accounts({"ahmad": (), "lina": (), "viewer": ("--role", "VIEWER")})
            self.rows("UPDATE customers SET default_country = 'JO' RETURNING 1")
            self.rows("INSERT INTO customers (name) VALUES ('Other') RETURNING 1")
            self.rows(
                "INSERT INTO users (username, customer_id, password_hash, role)"
                " SELECT 'stranger', (SELECT id FROM customers WHERE name = 'Other'), password_hash, role FROM users"
                " WHERE username = 'lina' RETURNING 1"
            )
            gateway.start()
        self.browser = Sender(f"http://127.0.0.1:{Contacts._shared.http_port}")
        self.browser.login("ahmad")

    def rows(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        assert Contacts._shared is not None
        db = psycopg2.connect(Contacts._shared.dsn)
        try:
            with db, db.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall()
        finally:
            db.close()

    def another(self, name: str) -> Sender:
        browser = Sender(self.browser.base)
        browser.login(name)
        return browser

    def make(self, name: str, groups: str = "") -> int:
        self.browser.get("/contacts/new")
        self.browser.post("/contacts/new", name=name, groups=groups)
        found = re.fullmatch(r"/contacts/(\d+)", self.browser.url)
        assert found is not None, self.browser.text
        return int(found[1])

    def many(self, path: str, fields: list[tuple[str, str]]) -> str:
        """A form with fields of the same name."""
        body = urllib.parse.urlencode([*fields, ("csrf", self.browser.csrf)]).encode()
        request = urllib.request.Request(self.browser.base + path, body, {"Origin": self.browser.base})
        return self.browser._ask(request)

    def test_by_hand(self) -> None:
        b = self.browser
        key = self.make(f"People {SCRIPT}", "VIP, Amman")
        self.assertIn("Nobody is in this list yet", b.text)
        fields = [("number", "079 123 4567"), ("name", SCRIPT), ("key", "CITY"), ("value", "عمّان"), ("key", ""), ("value", "")]
        self.many(f"/contacts/{key}/add", fields)
        self.assertEqual((b.status, b.url), (200, f"/contacts/{key}"))
        self.assertIn("+962791234567", b.text)
        self.assertNotIn("<script>alert", b.text)
        self.many(f"/contacts/{key}/add", [("number", "+962791234567"), ("name", "Twice")])
        self.assertEqual(b.status, 422)
        self.assertIn("in the list already", b.text)
        self.assertIn('value="Twice"', b.text)
        for number, why in (("abc", "Not a number"), ("079", "Too short")):
            self.many(f"/contacts/{key}/add", [("number", number)])
            self.assertEqual(b.status, 422)
            self.assertIn(why, b.text)
        self.many(f"/contacts/{key}/add", [("number", "0791111111"), ("key", "no good"), ("value", "x")])
        self.assertEqual(b.status, 422)
        self.many(f"/contacts/{key}/add", [("number", "0781111111"), ("name", "Sara"), ("go", "another")])
        self.assertEqual(b.url, f"/contacts/{key}/add")
        self.many(f"/contacts/{key}/contact/962781111111", [("number", "0781111112"), ("name", "Sara M.")])
        for search, count in (("sara", 1), ("0781", 1), ("+96278", 1), ("962791234567", 1), ("0799", 0), ("%", 0), ("zzz", 0)):
            b.get(f"/contacts/{key}?q=" + urllib.parse.quote(search))
            self.assertEqual(b.text.count('type="checkbox" name="number"'), count, search)
        # out and back
        self.many(f"/contacts/{key}/take-out", [("number", "962781111112"), ("number", "962791234567"), ("number", "1")])
        self.assertIn("2 contacts are out of the list", b.text)
        self.assertEqual(self.rows("SELECT size FROM contact_lists WHERE list_id = %s", (key,)), [(0,)])
        removal = b.url.partition("back=")[2]
        self.many(f"/contacts/{key}/put-back", [("removal", removal)])
        self.assertIn("2 contacts are back", b.text)
        found = self.rows("SELECT variables FROM contacts WHERE list_id = %s ORDER BY msisdn", (key,))
        self.assertEqual(found, [({},), ({"CITY": "عمّان"},)])
        self.many(f"/contacts/{key}/put-back", [("removal", removal)])
        self.assertIn("0 contacts are back", b.text)
        sql = "SELECT action FROM tbl_permission_audit WHERE action LIKE 'CONTACT%%' AND details ->> 'list_id' = %s ORDER BY audit_id"
        self.assertEqual(
            self.rows(sql, (str(key),)),
            [("CONTACT_ADD",), ("CONTACT_ADD",), ("CONTACT_CHANGE",), ("CONTACT_REMOVE",), ("CONTACT_RESTORE",)],
        )

    def test_lists(self) -> None:
        b = self.browser
        key = self.make("Shoppers", "Summer")
        b.get("/contacts/new")
        b.post("/contacts/new", name="shoppers", groups="")
        self.assertEqual(b.status, 422)
        self.assertIn("with this name already", b.text)
        b.post("/contacts/new", name=" ", groups="")
        self.assertIn("Give the list a name", b.text)
        self.assertIn("Shoppers", b.get("/contacts?q=shop"))
        self.assertIn("Shoppers", b.get("/contacts?group=Summer"))
        self.assertIn("Nothing matches", b.get("/contacts?group=Winter"))
        self.assertIn("Shoppers,Summer,0,", b.get("/contacts.csv?q=shop"))
        b.get(f"/contacts/{key}/edit")
        b.post(f"/contacts/{key}/edit", name="Buyers", groups="Winter; Winter;VIP")
        self.assertIn("Buyers", b.get("/contacts?group=Winter"))
        b.get(f"/contacts/{key}")
        b.post(f"/contacts/{key}/remove")
        self.assertIn(f"/contacts/{key}/restore", b.text)
        self.assertNotIn(f'href="/contacts/{key}"', b.text)
        b.get(f"/contacts/{key}")
        self.assertEqual(b.status, 404)
        b.get(f"/contacts?gone={key}")
        b.post(f"/contacts/{key}/restore")
        self.assertIn("The list is back", b.text)

    def test_who_may(self) -> None:
        key = self.make("Ours")
        self.many(f"/contacts/{key}/add", [("number", "0791234567")])
        self.assertIn("Ours", self.another("lina").get("/contacts"))  # a colleague
        self.assertEqual((viewer := self.another("viewer")).get("/contacts") and viewer.status, 403)
        stranger = self.another("stranger")
        self.assertNotIn("Ours", stranger.get("/contacts"))
        for path in ("", "/edit", "/add", "/import", "/importing", "/export.csv", "/contact/962791234567"):
            stranger.get(f"/contacts/{key}{path}")
            self.assertEqual(stranger.status, 404, path)
        for path in ("/edit", "/remove", "/restore", "/add", "/contact/962791234567", "/take-out", "/put-back", "/import",
                     "/import/cancel"):
            stranger.ask("POST", f"/contacts/{key}{path}", b"number=962791234567&name=x", "application/x-www-form-urlencoded")
            self.assertEqual(stranger.status, 404, path)
        self.assertEqual(self.rows("SELECT name, size FROM contact_lists WHERE list_id = %s", (key,)), [("Ours", 1)])

    def test_from_a_file_and_out_again(self) -> None:
        b, key = self.browser, self.make("From a file")
        self.many(f"/contacts/{key}/add", [("number", "0790000001"), ("name", "Old name"), ("key", "CITY"), ("value", "Zarqa")])
        body = "phone;name;city;note\n" + "".join(f"079{n:07};Name {n};Irbid;=1+1\n" for n in range(1, 6001))
        body += "0790000002;Twice;;\nabc;;;\n"
        upload = b.upload("people.csv", body.encode())
        mapping = {**upload["preview"]["mapping"], "delimiter": ";", "encoding": "utf-8"}
        self.assertEqual(mapping["variables"], {"NAME": 1, "CITY": 2, "NOTE": 3})
        self.many(f"/contacts/{key}/import", [("upload", str(upload["id"])), ("mapping", json.dumps({**mapping, "number": -1}))])
        self.assertEqual(b.status, 422)
        self.many(f"/contacts/{key}/import", [("upload", str(upload["id"])), ("mapping", json.dumps(mapping))])
        self.assertEqual((b.status, b.url), (200, f"/contacts/{key}/import"))
        eventually(lambda: "data-progress" not in b.get(f"/contacts/{key}/importing"), "imported")
        noted = self.rows("SELECT details ->> 'file' FROM tbl_permission_audit WHERE action = 'CONTACT_IMPORT'")
        self.assertEqual(noted, [("people.csv",)])
        self.assertIn("<dd>5,999</dd>", b.text)  # new; one was there and is changed
        self.assertIn("Twice in the recipients: 1", b.text)
        self.assertIn("Not a number: 1", b.text)
        self.assertEqual(self.rows("SELECT size FROM contact_lists WHERE list_id = %s", (key,)), [(6000,)])
        self.assertEqual(
            self.rows("SELECT name, variables FROM contacts WHERE list_id = %s ORDER BY msisdn LIMIT 1", (key,)),
            [("Name 1", {"CITY": "Irbid", "NOTE": "=1+1"})],
        )
        b.get(f"/contacts/{key}")
        self.assertIn("after=", b.text)
        self.assertIn("rel=\"next\"", b.text)
        lines = b.get(f"/contacts/{key}/export.csv").splitlines()
        self.assertEqual((len(lines), lines[0]), (6001, "\ufeffmsisdn,name,CITY,NOTE,more"))
        self.assertEqual(lines[1], "962790000001,Name 1,Irbid,'=1+1,")
        other = self.another("lina")  # another's file is not mine to import
        other.get(f"/contacts/{key}/import")
        other.ask("POST", f"/contacts/{key}/import", f"upload={upload['id']}&mapping={{}}".encode(), "application/x-www-form-urlencoded")
        self.assertEqual(other.status, 422)
