"""Money and number lists in the portal: ledger, top-ups, rate decks, blacklist and opt-outs, each within its walls."""

from __future__ import annotations

import atexit
import contextlib
import re
import urllib.request
from threading import Thread
from typing import ClassVar

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.test_portal import Browser
from tests.support.gateway import PASSWORD, Gateway, eventually

EVIL = "<script>alert(1)</script>"
FORMULA = "=HYPERLINK(0)"


class Uploading(Browser):
    """A browser that also sends forms with files."""

    def upload(self, file: str | bytes = b"", **fields: str) -> str:
        """Sends the form with a file of the page that is open; what is not given stays as it is shown there."""
        form = r'<form method="post" enctype="multipart/form-data" action="([^"]+)">\s*<input type="hidden" name="csrf" value="(\w+)"'
        action = re.search(form, self.text)
        assert action is not None
        kept = re.search(r'<textarea name="text" hidden>\n?([^<]*)</textarea>', self.text)
        shown = dict(re.findall(r'<input type="hidden" name="(begin|whole|note|sender)" value="([^"]*)"', self.text))
        values = {"csrf": action[2], **({"text": _plain(kept[1])} if kept else {}), **{k: _plain(v) for k, v in shown.items()}, **fields}
        return self.send(_plain(action[1]), file, **values)

    def send(self, path: str, file: str | bytes = b"", **fields: str) -> str:
        body = b"".join(
            f'--frontier\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n'.encode() + v.replace("\n", "\r\n").encode() + b"\r\n"
            for k, v in fields.items()
        )
        name = '"file"; filename="numbers.csv"' if file else '"file"; filename=""'
        content = file.encode() if isinstance(file, str) else file
        body += f"--frontier\r\nContent-Disposition: form-data; name={name}\r\n\r\n".encode() + content + b"\r\n--frontier--\r\n"
        request = urllib.request.Request(self.base + path, body, {"Content-Type": "multipart/form-data; boundary=frontier"})
        request.add_header("Origin", self.base)
        return self._ask(request)


def _plain(text: str) -> str:
    return text.replace("&#39;", "'").replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


class Money(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if Money._shared is None:
            gateway = Money._shared = Gateway()
            atexit.register(gateway.stop)
            gateway.simulate("SMSC1")
            roles = {"chief": "ADMIN", "boss": "CUSTOMER_ADMIN", "ahmad": "SENDER", "watcher": "VIEWER"}
            gateway.accounts({name: ("--role", role) for name, role in roles.items()}, keys=("ahmad",))
            for arguments in (
                ("customer", "add", "Other Co", "--balance", "7.25", "--currency", "EUR"),
                ("user", "add", "rival", "--password", PASSWORD, "--customer", "Other Co", "--role", "CUSTOMER_ADMIN"),
            ):
                self.assertEqual(gateway.administer(*arguments).wait(60), 0)
            gateway.start()
        self.gateway = Money._shared
        self.demo, self.other = (self.gateway.query("SELECT id FROM customers WHERE name = %s", (n,))[0][0] for n in ("Demo", "Other Co"))

    def browser(self, name: str) -> Uploading:
        b = Uploading(self.gateway.url)
        b.login(name)
        self.assertEqual(b.status, 200, name)
        return b

    def sends(self, number: str, **more: str) -> int:
        """The status of a message to this number."""
        body = {"sender": "MyCompany", "message": f"Hello {number}", "recipients": [{"msisdn": number}], **more}
        return self.gateway.post("/api/sendBulk", "ahmad", body)[0]

    # --- ledger and top-ups

    def test_a_top_up_is_shown_before_it_is_booked(self) -> None:
        chief, page = self.browser("chief"), f"/money/top-up?customer={self.other}"
        chief.get(page)
        for amount in ("", "-5", "0", "1,5", "1e3000", "abc", "0.0000001", "9" * 20, "NaN"):
            chief.post(page, step="check", way="add", amount=amount, reference="Invoice 7")
            self.assertEqual(chief.status, 422, amount)
            self.assertIn('value="Invoice 7"', chief.text)
        chief.post(page, step="check", way="add", amount="5", reference="x" * 65)
        self.assertEqual(chief.status, 422)
        chief.post(page, step="check", way="add", amount="100.5", reference=FORMULA)
        self.assertIn("Is this right?", chief.text)
        self.assertIn("107.75", chief.text)
        self.assertEqual(self.gateway.query("SELECT balance FROM customers WHERE id = %s", (self.other,))[0][0], 7.25)
        chief.post(page, step="confirm", way="add", amount="100.5", reference=FORMULA)
        self.assertIn("is 107.75 EUR now", chief.text)
        chief.get(page)
        chief.post(page, step="confirm", way="add", amount="100.5", reference=FORMULA)  # once more, by mistake
        self.assertIn("within the last ten minutes", chief.text)
        chief.post(page, step="check", way="take", amount="0.5", reference=EVIL)
        chief.post(page, step="confirm", way="take", amount="0.5", reference=EVIL)
        self.assertIn("is 107.25 EUR now", chief.text)
        self.assertNotIn("<script>alert", chief.text)
        rows = self.gateway.query("SELECT kind, amount, reference FROM tbl_ledger WHERE customer_id = %s ORDER BY entry_id", (self.other,))
        self.assertEqual([(k, float(a)) for k, a, _ in rows], [("TOPUP", 7.25), ("TOPUP", 100.5), ("ADJUST", -0.5)])
        audit = "SELECT details FROM tbl_permission_audit WHERE action = 'CUSTOMER_TOP_UP' ORDER BY audit_id DESC LIMIT 1"
        self.assertEqual(self.gateway.query(audit)[0][0]["reference"], EVIL)

        rival = self.browser("rival")
        text = rival.get("/money?kind=TOPUP")
        self.assertIn("107.25", text)
        self.assertIn(FORMULA, text)
        self.assertNotIn("Top up</a>", text)
        self.assertNotIn("&lt;script&gt;", text)  # an adjustment
        for path in ("/money.csv", "/money/statement.csv"):
            self.assertIn(f"'{FORMULA}", rival.get(path))
            self.assertIn("-0.5", rival.text)
            self.assertNotIn("'-0.5", rival.text)
        for query in ("from=x", "to=2026-13-77", "from=9999-12-31&to=9999-12-31"):
            self.assertEqual(rival.get(f"/money?{query}") and rival.status, 422, query)
        for query in ("after=1-1", "after=x", "kind=%27", "from=2020-01-01&to=2020-01-02", "after=99999999999999999999-1"):
            self.assertEqual(rival.get(f"/money?{query}") and rival.status, 200, query)

    def test_a_form_that_comes_twice_at_once_books_once(self) -> None:
        chief, page = self.browser("chief"), f"/money/top-up?customer={self.demo}"
        chief.get(page)
        twins = [self.browser("chief") for _ in range(4)]
        for b in twins:
            b.get(page)
        threads = [Thread(target=b.post, args=(page,), kwargs={"step": "confirm", "way": "add", "amount": "3", "reference": "Twice"})
                   for b in twins]  # fmt: skip
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(sorted(b.status for b in twins), [200] * 4)
        self.assertEqual(self.gateway.query("SELECT count(*) FROM tbl_ledger WHERE reference = 'Twice'"), [(1,)])
        for _ in range(2):  # knowingly once more; and that form, too, comes twice
            chief.post(page, step="confirm", way="add", amount="3", reference="Twice", again="1")
        self.assertIn('name="again" value="2"', chief.text)
        self.assertEqual(self.gateway.query("SELECT count(*) FROM tbl_ledger WHERE reference = 'Twice'"), [(2,)])

    def test_money_of_others(self) -> None:
        boss, watcher = self.browser("boss"), self.browser("watcher")
        self.assertIn("Left to spend", watcher.get("/money"))
        for path in ("/money", "/money.csv", "/money/statement.csv", "/money/rates", "/money/rates.csv"):
            self.assertEqual(boss.get(path) and boss.status, 200, path)
            self.assertEqual(boss.get(f"{path}?customer={self.other}") and boss.status, 404, path)
            self.assertEqual(boss.get(f"{path}?customer=0") and boss.status, 404, path)
        self.assertEqual(boss.get("/money/rates?customer=default-EUR") and boss.status, 404)
        for path in ("/money/top-up", "/money/margin", "/money/margin.csv", f"/money/top-up?customer={self.demo}", "/money/rates/import"):
            self.assertEqual(boss.get(path) and boss.status, 403, path)
        before = self.gateway.query("SELECT * FROM tbl_ledger WHERE kind IN ('TOPUP', 'ADJUST') ORDER BY entry_id")
        for path in ("/money/top-up", "/money/rates/import", "/money/rates/delete", "/guards/release"):
            boss.get("/money")
            boss.post(path, step="confirm", way="add", amount="1000", reference="mine", again="1")
            self.assertEqual(boss.status, 403, path)
        chief = self.browser("chief")
        for path in ("/money/top-up", "/money/rates/delete", "/blacklist", "/blacklist/remove", "/opt-outs", "/guards/release"):
            chief.get("/money")
            chief.post(path, csrf="0" * 40, step="confirm", way="add", amount="1000", reference="mine", number="962790000000")
            self.assertEqual(chief.status, 403, path)
        self.assertEqual(self.gateway.query("SELECT * FROM tbl_ledger WHERE kind IN ('TOPUP', 'ADJUST') ORDER BY entry_id"), before)

    def test_margins(self) -> None:
        chief = self.browser("chief")
        for by in ("route", "smsc", "customer", "day", "x'"):
            self.assertEqual(chief.get(f"/money/margin?by={by}") and chief.status, 200, by)
        self.assertEqual(chief.get("/money/margin?from=x") and chief.status, 422)
        self.assertIn("segments,revenue,cost", chief.get("/money/margin.csv"))

    # --- rate decks

    def test_a_rate_deck(self) -> None:
        chief, page = self.browser("chief"), f"/money/rates/import?customer={self.demo}"
        chief.get(page)
        chief.upload("prefix,price\n962,abc\n49,0.1\n49,0.2\n", begin="")
        self.assertEqual(chief.status, 422)
        self.assertIn("line 2: price", chief.text)
        self.assertIn("given twice", chief.text)
        chief.upload(f"{EVIL},price\n962,1\n")
        self.assertEqual(chief.status, 422)
        self.assertNotIn("<script>alert", chief.text)
        chief.upload("prefix,price\n962,0.015\n49,0.1\n,0.2\n", begin="yesterday")
        self.assertEqual(chief.status, 422)
        chief.upload("prefix;price\r\n962;0.015\r\n49;0.1\r\n;0.2\r\n")
        self.assertEqual(chief.status, 200)
        self.assertIn("3 new", chief.text)
        count = "SELECT count(*) FROM tbl_rates WHERE customer_id = %s"
        self.assertEqual(self.gateway.query(count, (self.demo,)), [(0,)])
        chief.upload(step="confirm")
        self.assertIn("3 entries are set, on all nodes.", chief.text)
        chief.get(page)
        chief.upload(text="prefix,price\n962,0.012", whole="1", begin="2026-01-01")
        self.assertIn("1 changed", chief.text)
        self.assertIn("2 entries that are not in the file end, too.", chief.text)
        chief.upload(step="change")
        self.assertIn("962,0.012", chief.text)
        chief.upload(whole="1", begin="2026-01-01", text="prefix,price\n962,0.012")
        chief.upload(step="confirm")
        boss = self.browser("boss")
        text = boss.get("/money/rates")
        self.assertIn("0.012", text)
        self.assertIn("Replaced", text)
        self.assertIn("Ended", text)
        self.assertNotIn("Set prices", text)
        self.assertNotIn("+49", boss.get("/money/rates?q=962791234567"))
        lines = boss.get("/money/rates.csv").splitlines()
        self.assertEqual(lines[0].lstrip("\ufeff"), "mccmnc,prefix,price,valid_from")
        self.assertEqual(len(lines), 7)
        [(rate,)] = self.gateway.query("SELECT rate_id FROM tbl_rates WHERE price = 0.1 AND customer_id = %s", (self.demo,))
        chief.get("/money/rates")
        chief.post(f"/money/rates/delete?customer={self.other}", rate=str(rate))  # not of that deck
        self.assertIn("gone already", chief.text)
        chief.post(f"/money/rates/delete?customer={self.demo}", rate=str(rate))
        self.assertIn("The entry for +49 is gone.", chief.text)
        chief.post(f"/money/rates/undo?customer={self.other}", rate=str(rate))
        self.assertIn("too long ago", chief.text)
        before = self.gateway.query(count, (self.demo,))[0][0]
        chief.post(f"/money/rates/undo?customer={self.demo}", rate=str(rate))
        self.assertIn("The entry is back.", chief.text)
        self.assertEqual(self.gateway.query(count, (self.demo,)), [(before + 1,)])
        chief.post(f"/money/rates/undo?customer={self.demo}", rate=str(rate))
        self.assertIn("another entry in its place", chief.text)
        self.assertEqual(self.gateway.query("SELECT price::float8 FROM tbl_rates WHERE prefix = '49' AND customer_id = %s"
                                            " AND valid_from = '-infinity'", (self.demo,)), [(0.1,)])  # fmt: skip
        chief.get("/money/rates/import?customer=default-EUR")
        chief.upload(text="mccmnc,price\n26201,0.07", step="confirm")
        self.assertIn("26201", chief.get("/money/rates?customer=default-EUR"))
        self.assertNotIn("26201", chief.get(f"/money/rates?customer={self.other}"))
        for query in ("after=x", "after=..-infinity", "after=1.2.3", "q=%27", "after=..2026-01-01T00:00:00"):
            self.assertEqual(chief.get(f"/money/rates?customer={self.demo}&{query}") and chief.status, 200, query)

    def test_a_file_needs_the_token_too(self) -> None:
        chief = self.browser("chief")
        for path in ("/money/rates/import", "/blacklist/import", "/opt-outs/import"):
            chief.send(f"{path}?customer={self.demo}", text="prefix,price\n1,1", step="confirm")
            self.assertEqual(chief.status, 403, path)
            chief.send(f"{path}?customer={self.demo}", csrf="0" * 40, text="prefix,price\n1,1", step="confirm")
            self.assertEqual(chief.status, 403, path)
            token = re.search(r'name="csrf" value="(\w+)"', chief.get("/money"))
            assert token is not None
            chief.send(f"{path}?customer={self.demo}", text="prefix,price\n1,1", step="confirm", csrf=token[1])  # not the first
            self.assertEqual(chief.status, 403, path)

    # --- number lists

    def test_a_blacklist(self) -> None:
        chief, boss = self.browser("chief"), self.browser("boss")
        self.assertEqual(self.sends("962791111111"), 200)
        boss.get("/blacklist")
        for number in ("", "12", "abc", "+9627x", EVIL, "1" * 30):
            boss.post("/blacklist", number=number, reason="")
            self.assertEqual(boss.status, 422, number)
            self.assertNotIn("<script>alert", boss.text)
        boss.post("/blacklist", number="962791111111", reason="x" * 201)
        self.assertEqual(boss.status, 422)
        boss.post("/blacklist", number="+962 79 111 1111", reason=FORMULA + EVIL)
        self.assertIn("962791111111 is barred, on all nodes.", boss.text)
        self.assertNotIn("<script>alert", boss.text)
        eventually(lambda: self.sends("962791111111") != 200, "barred")
        self.assertIn(f"'{FORMULA}", boss.get("/blacklist.csv"))
        chief.get("/blacklist")
        chief.post(f"/blacklist?customer={self.other}", number="49*", reason="of the other one")
        chief.post("/blacklist", number="88299*", reason="for everybody")
        self.assertNotIn("of the other one", boss.get("/blacklist"))
        self.assertNotIn("of the other one", boss.get("/blacklist?q=49151"))
        self.assertNotIn("for everybody", boss.get("/blacklist.csv"))
        self.assertEqual(boss.get(f"/blacklist?customer={self.other}") and boss.status, 404)
        self.assertEqual(boss.get("/blacklist?customer=0") and boss.status, 404)
        boss.get("/blacklist")
        boss.post("/blacklist?customer=0", number="962792222222")
        self.assertEqual(boss.status, 404)
        self.assertIn("of the other one", chief.get("/blacklist?q=4915112345"))
        self.assertNotIn(">+962791111111<", chief.text)
        [(theirs,)] = self.gateway.query("SELECT entry_id FROM tbl_blacklist WHERE reason = 'of the other one'")
        for path in ("remove", "undo"):
            boss.get("/blacklist")
            boss.post(f"/blacklist/{path}", entry=str(theirs))
            self.assertEqual(self.gateway.query("SELECT active FROM tbl_blacklist WHERE entry_id = %s", (theirs,)), [(True,)])

        [(own,)] = self.gateway.query("SELECT entry_id FROM tbl_blacklist WHERE number = 962791111111")
        boss.get("/blacklist")
        boss.post("/blacklist/remove", entry=str(own))
        self.assertIn("962791111111 is no longer barred.", boss.text)
        eventually(lambda: self.sends("962791111111") == 200, "let through")
        boss.post("/blacklist/undo", entry=str(own))
        self.assertIn("962791111111 is barred again.", boss.text)
        now = self.gateway.query("SELECT active, reason FROM tbl_blacklist WHERE entry_id = %s", (own,))
        self.assertEqual(now, [(True, FORMULA + EVIL)])
        self.assertNotIn("barred", chief.get(f"/blacklist?removed={own}").partition("<table")[0].partition("tabs")[2])  # it is there
        watcher = self.browser("watcher")
        self.assertNotIn("Remove", watcher.get("/blacklist"))
        watcher.post("/blacklist/remove", entry=str(own))
        self.assertEqual(watcher.status, 403)
        for query in ("after=1-0-1", "after=x-y-z", "q=%27", "q=0", "removed=%27", "customer=%27"):
            self.assertEqual(chief.get(f"/blacklist?{query}") and chief.status, 200, query)

    def test_a_file_of_numbers(self) -> None:
        boss = self.browser("boss")
        boss.get("/blacklist/import")
        boss.upload(b"")
        self.assertEqual(boss.status, 422)
        boss.upload(f"number,reason\n+962 79 333 3331,a\n0962793333332\n{EVIL}1\n9627933*\n" + "962793333333\n" * 3, note=FORMULA)
        self.assertIn("2 numbers, 1 prefix", boss.text)
        self.assertIn("line 3", boss.text)
        self.assertNotIn("<script>alert", boss.text)
        self.assertEqual(self.gateway.query("SELECT 1 FROM tbl_blacklist WHERE number = 962793333331"), [])
        boss.upload(step="confirm")
        self.assertIn("3 numbers are barred, on all nodes.", boss.text)
        count = "SELECT count(*) FROM tbl_blacklist WHERE reason = %s AND customer_id = %s"
        self.assertEqual(self.gateway.query(count, (FORMULA, self.demo)), [(3,)])
        exported = boss.get("/blacklist.csv?q=962793333331")
        boss.get("/blacklist/import")
        boss.upload(exported)
        self.assertIn("1 number", boss.text)
        boss.upload(b"x" * 9_000_000)
        self.assertEqual(boss.status, 413)
        boss.get("/opt-outs/import")
        boss.upload(text="\n".join(f"96279444{n:04}" for n in range(6_000)), note="by letter")
        boss.upload(step="confirm")
        self.assertRegex(boss.text, "6,000 numbers are opted out now.")
        self.assertEqual(len(boss.get("/opt-outs.csv?q=").splitlines()), 1 + self.gateway.query(
            "SELECT count(*) FROM tbl_opt_out_state WHERE opted_out AND customer_id = %s", (self.demo,))[0][0])
        self.assertEqual(
            self.gateway.query("SELECT DISTINCT customer_id, source, note FROM tbl_opt_outs WHERE number = 962794440077"),
            [(self.demo, "PORTAL", "by letter")],
        )

    def test_opt_outs(self) -> None:
        chief, boss = self.browser("chief"), self.browser("boss")
        boss.get("/opt-outs")
        for fields in ({"number": "x"}, {"number": "962795555551", "sender": "x" * 22}, {"number": "962795555551", "note": "x" * 201}):
            boss.post("/opt-outs", **fields)
            self.assertEqual(boss.status, 422, str(fields))
        boss.post("/opt-outs", number="+962 795555551", note=FORMULA + EVIL)
        self.assertIn("962795555551 is opted out now.", boss.text)
        self.assertNotIn("<script>alert", boss.text)
        eventually(lambda: self.sends("962795555551") != 200, "opted out")
        self.assertIn(f"'{FORMULA}", boss.get("/opt-outs.csv?q=962795555551"))
        boss.get("/opt-outs?q=962795555551")
        boss.post("/opt-outs", number="962795555551", out="0")
        self.assertIn("962795555551 hears from you again.", boss.text)
        self.assertIn(">Undo</button>", boss.text)
        boss.post("/opt-outs", number="962795555551", sender="Promo", out="1", note="")
        history = boss.get(f"/opt-outs/{self.demo}/962795555551")
        self.assertEqual(history.count("<li class="), 3)
        self.assertIn("Opted out of promo", history)
        self.assertNotIn("<script>alert", history)
        rival = self.browser("rival")
        for path in (f"/opt-outs/{self.demo}/962795555551", f"/opt-outs?customer={self.demo}", f"/opt-outs.csv?customer={self.demo}"):
            self.assertEqual(rival.get(path) and rival.status, 404, path)
        self.assertNotIn("962795555551</bdi>", rival.get(f"/opt-outs?q=962795555551&of={self.demo}&number=962795555551&sender=promo"))
        self.assertNotIn("Undo", rival.text)
        rival.get("/opt-outs")
        rival.post(f"/opt-outs?customer={self.demo}", number="962795555551", sender="promo", out="0")
        self.assertEqual(rival.status, 404)
        chief.get("/opt-outs")
        chief.post("/opt-outs", number="962795555552")
        self.assertEqual(chief.status, 422)
        chief.post(f"/opt-outs?customer={self.other}", number="962795555552")
        self.assertIn("962795555552 is opted out now.", chief.text)
        self.assertIn("962795555552", chief.get("/opt-outs?q=962795555552"))
        for query in ("after=1-1-%27", "after=x", "after=1-1-AA==", "q=%27", "of=1&number=x"):
            self.assertEqual(chief.get(f"/opt-outs?{query}") and chief.status, 200, query)
        for path in ("/opt-outs/x/1", "/opt-outs/1/x", f"/opt-outs/{self.demo}/962790000009"):
            self.assertEqual(chief.get(path) and chief.status, 404, path)

    def test_other_guards(self) -> None:
        ahmad, rival = (self.gateway.query("SELECT id FROM users WHERE username = %s", (n,))[0][0] for n in ("ahmad", "rival"))
        insert = ("WITH x AS (INSERT INTO tbl_velocity_events (user_id, node_id, kind, target, region, messages, most, mode) VALUES"
                  " (%s, 1, 'RANGE', '8821', '001', 900, 100, 'pause') RETURNING event_id) SELECT event_id FROM x")  # fmt: skip
        with contextlib.closing(psycopg2.connect(self.gateway.dsn)) as connection, connection, connection.cursor() as cursor:
            events = []
            for user in (ahmad, rival):
                cursor.execute(insert, (user,))
                events.append(cursor.fetchone()[0])
        boss, chief = self.browser("boss"), self.browser("chief")
        text = boss.get("/guards?state=PAUSED")
        self.assertIn("+8821", text)
        self.assertNotIn("rival", text)
        self.assertNotIn("Release", text)
        self.assertNotIn("rival", boss.get("/guards.csv"))
        self.assertIn("rival", chief.get("/guards"))
        chief.post("/guards/release", event=str(events[0]))
        self.assertIn("The pause is over", chief.text)
        chief.post("/guards/release", event=str(events[0]))
        self.assertIn("was over already", chief.text)
        boss.get(f"/users/{ahmad}/edit")
        boss.post(f"/users/{ahmad}/edit", role="SENDER", timezone="UTC", duplicate_seconds="90")
        self.assertIn("refused within 90 seconds", boss.get("/guards"))
        chief.get(f"/customers/{self.demo}/edit")
        chief.post(f"/customers/{self.demo}/edit", name="Demo", credit_limit="50000", currency="JOD", timezone="UTC", weight="1",
                   charge_on="ACCEPT", blocked_countries="LV")  # fmt: skip
        self.assertIn('not to <span class="tag">LV</span>', boss.get("/guards"))
