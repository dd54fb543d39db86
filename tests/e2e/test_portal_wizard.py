"""The wizard as a browser without scripts sees it: from the first step to delivered messages, two tabs, approval, misuse."""

from __future__ import annotations

import atexit
import json
import re
import threading
import urllib.parse
from html import unescape
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.test_portal import Browser
from tests.support.gateway import PASSWORD, Gateway, Simulator, eventually

EVIL = '"><script>alert(1)</script>{{7*7}}'
USERS = {
    "ahmad": (), "boss": ("--role", "CUSTOMER_ADMIN"), "chief": ("--role", "CUSTOMER_ADMIN"), "viewer": ("--role", "VIEWER"),
    "fixed": ("--sender", "MyCompany", "--sender", "Sale*"),
}  # fmt: skip


class WizardCase(SynchronousTestCase):
    """One gateway for all; customer Demo pays 0.02 JOD a segment to Jordan, Other's campaigns need approval."""

    _shared: ClassVar[tuple[Gateway, Simulator] | None] = None

    def setUp(self) -> None:
        if WizardCase._shared is None:
            gateway = Gateway()
            atexit.register(gateway.stop)
            simulator = gateway.simulate("SMSC1")
            gateway.accounts(USERS)
            for command in (
                ("customer", "add", "Other", "--balance", "100", "--currency", "JOD"),
                ("user", "add", "stranger", "--password", PASSWORD, "--customer", "Other"),
                ("user", "add", "first", "--password", PASSWORD, "--customer", "Other", "--role", "CUSTOMER_ADMIN"),
                ("user", "add", "second", "--password", PASSWORD, "--customer", "Other", "--role", "CUSTOMER_ADMIN"),
            ):
                _, error = (process := gateway.administer(*command)).communicate(timeout=60)
                self.assertEqual(process.returncode, 0, error)
            price = "INSERT INTO tbl_rates (customer_id, prefix, price) SELECT id, '962', 0.02 FROM customers WHERE name = 'Demo'"
            self.execute(gateway, price)
            self.execute(gateway, "UPDATE customers SET campaign_approval = TRUE WHERE name = 'Other'")
            gateway.start()
            WizardCase._shared = gateway, simulator
        self.gateway, self.simulator = WizardCase._shared

    @staticmethod
    def execute(gateway: Gateway, sql: str) -> None:
        import psycopg2

        with psycopg2.connect(gateway.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
        connection.close()

    def browser(self, name: str) -> Browser:
        b = Browser(self.gateway.url)
        b.login(name)
        self.assertEqual(b.status, 200)
        return b

    def begin(self, b: Browser, name: str = "Summer", sender: str = "MyCompany") -> str:
        """The path of a new draft, on its second step."""
        b.get("/campaigns/create")
        b.post("/campaigns/create", name=name, sender=sender, go="next")
        self.assertTrue(b.url.endswith("/edit/recipients"), b.url)
        return b.url.removesuffix("/recipients")

    def version(self, b: Browser) -> str:
        found = re.search(r'name="version" value="(\d+)"', b.text)
        assert found is not None
        return found[1]

    def step(self, b: Browser, path: str, step: str, go: str = "next", **fields: str) -> str:
        """Opens a step, fills it in and presses a button."""
        b.get(f"{path}/{step}")
        fields.setdefault("version", self.version(b))
        return b.post(f"{path}/{step}", go=go, **fields)

    def reviewed(self, b: Browser, path: str) -> str:
        """The last step, once the dry run is there."""
        eventually(lambda: "data-poll" not in b.get(f"{path}/review"), "a dry run", 30)
        return b.text

    def prepared(self, b: Browser, numbers: str, text: str = "Hello", **schedule: str) -> str:
        path = self.begin(b)
        self.step(b, path, "recipients", numbers=numbers, country="JO")
        self.step(b, path, "message", text=text, smart="1")
        self.step(b, path, "schedule", when="now", windowed="0", **schedule)
        self.assertTrue(b.url.endswith("/review"), b.url)
        self.reviewed(b, path)
        return path

    def submit(self, b: Browser, path: str, **more: str) -> str:
        return b.post(f"{path}/review", **{"go": "submit", "version": self.version(b), **more})

    def row(self, path: str) -> tuple[Any, ...]:
        sql = "SELECT c.status, p.draft, c.user_id, c.id FROM campaigns c JOIN campaign_plans p ON p.campaign_id = c.id"
        [row] = self.gateway.query(f"{sql} WHERE c.campaign_id = %s", (path.split("/")[2],))
        return row


class WizardTests(WizardCase):
    def test_the_page_of_a_draft_that_is_being_read_and_counted(self) -> None:
        b = self.browser("ahmad")
        id = self.begin(b, "Being counted").split("/")[2]
        waits = """'{"state": "waiting", "version": 1}'"""
        self.execute(self.gateway, f"""UPDATE campaign_plans SET gathering = {waits}, measured = {waits}
            FROM campaigns c WHERE c.id = campaign_plans.campaign_id AND c.campaign_id = '{id}'""")
        b.get(f"/campaigns/{id}")
        self.assertEqual(b.status, 200)
        self.assertIn("Being counted", b.text)

    def test_from_the_first_step_to_delivered(self) -> None:
        b = self.browser("ahmad")
        path = self.prepared(b, "+962788000001\n0788000002\n0788000002\nabc\n+201000000003", "Hello “you” – %", max_tps="50")
        text = unescape(b.text)
        for said in ("3 messages in 3 parts for JOD\u00a00.040, starting at once.", "Hello \"you\" - %", "Twice in the recipients",
                     "Jordan", "Egypt", "Route 1", "JOD\u00a025,000.500", "1 part has no price"):  # fmt: skip
            self.assertIn(said, text)
        self.submit(b, path)
        self.assertIn("The campaign is submitted.", b.text)
        eventually(lambda: self.row(path)[0] == "COMPLETED", "completed")
        taken = self.simulator.taken()
        self.assertEqual([taken[n] for n in ("962788000001", "962788000002", "201000000003")], [1, 1, 1])
        b.get(f"{path}/message")
        self.assertIn("was submitted already", b.text)

    def test_what_is_typed_wrong_is_kept_and_told(self) -> None:
        b = self.browser("ahmad")
        b.get("/campaigns/create")
        b.post("/campaigns/create", name="", sender="far too long a sender", dlr_url="ftp://x", go="next")
        self.assertEqual(b.status, 422)
        for said in ("far too long a sender", "ftp://x", "Give the campaign a name", "A sender is 1 to 11", "https:// or http://"):
            self.assertIn(said, unescape(b.text))
        path = self.begin(b)
        wrong = {"when": "later", "date": "2020-01-01", "time": "10:00", "windowed": "1", "days": "1", "from": "9", "to": "09:00"}
        self.step(b, path, "schedule", zone="Asia/Amman", **wrong)
        self.assertEqual(b.status, 422)
        self.assertIn("This time has passed.", b.text)
        self.assertIn("Enter a time such as 09:00.", b.text)
        self.step(b, path, "schedule", go="back", when="later", date="2020-01-02", zone="Asia/Amman", windowed="0")
        self.assertEqual(b.status, 200)  # going back asks for nothing
        self.assertIn('value="2020-01-02"', b.get(f"{path}/schedule"))
        self.assertIn("Before it can be sent:", b.get(f"{path}/review"))
        self.submit(b, path)
        self.assertEqual((b.status, self.row(path)[0]), (422, "DRAFT"))

    def test_nothing_is_estimated_from_what_is_wrong(self) -> None:
        b = self.browser("ahmad")
        path = self.prepared(b, "+962788000081")
        self.step(b, path, "schedule", go="review", when="later", date="2020-01-01", time="10:00", windowed="1", to="x", zone="Mars/Base")
        self.assertEqual(b.status, 200)
        self.assertIn("There is no such time zone.", b.text)
        self.step(b, path, "schedule", when="now", windowed="0")
        self.step(b, path, "sender", go="review", name="", sender="no sender at all")
        self.assertEqual(b.status, 200)
        self.assertIn("A sender is 1 to 11", self.reviewed(b, path))
        self.submit(b, path)
        self.assertEqual((b.status, self.row(path)[0]), (422, "DRAFT"))

    def test_missing_variables_stop_it_with_a_way_to_the_step(self) -> None:
        b = self.browser("ahmad")
        path = self.prepared(b, "+962788000011", "Dear %NAME%")
        self.assertIn("1 recipient has no NAME", b.text)
        self.assertIn('name="go" value="message">Go to Message', b.text)
        self.submit(b, path)
        self.assertEqual((b.status, self.row(path)[0]), (422, "DRAFT"))
        self.step(b, path, "message", text="Dear %NAME%", **{"default-NAME": "friend"})
        self.assertIn("Dear friend", self.reviewed(b, path))
        self.assertNotIn("has no NAME", b.text)

    def test_the_second_of_two_tabs_is_told(self) -> None:
        b = self.browser("ahmad")
        path = self.begin(b)
        b.get(f"{path}/message")
        old = self.version(b)
        b.post(f"{path}/message", text="of the first tab", version=old, auto="1")
        self.assertEqual(json.loads(b.text), {"saved": True, "version": int(old) + 1, "words": None})
        b.get("/account")  # for the mark of the session: an answer in JSON has none
        b.post(f"{path}/message", text="of the second tab", version=old, auto="1")
        self.assertEqual((b.status, json.loads(b.text)["saved"]), (409, False))
        b.get("/account")
        b.post(f"{path}/message", text="of the second tab", version=old, go="next")
        self.assertEqual(b.status, 409)
        self.assertIn("changed in another tab", b.text)
        self.assertIn("of the second tab", b.text)
        self.assertEqual(self.row(path)[1]["message"]["text"], "of the first tab")
        b.post(f"{path}/message", text="of the second tab", version=self.version(b), go="stay")
        self.assertEqual(self.row(path)[1]["message"]["text"], "of the second tab")

    def test_what_was_reviewed_is_what_is_submitted(self) -> None:
        b = self.browser("ahmad")
        path = self.prepared(b, "+962788000021")
        reviewed = self.version(b)
        self.step(b, path, "message", text="something else")
        self.reviewed(b, path)
        self.submit(b, path, version=reviewed)
        self.assertEqual((b.status, self.row(path)[0]), (409, "DRAFT"))

    def test_senders_are_those_of_the_account(self) -> None:
        b = self.browser("fixed")
        self.assertIn('type="radio" name="sender" value="MyCompany"', b.get("/campaigns/create"))
        b.post("/campaigns/create", name="x", sender="Nobody", go="next")
        self.assertEqual(b.status, 422)
        self.assertIn("may not send under this name", b.text)
        b.post("/campaigns/create", name="x", sender="", other_sender="SaleNow", go="next")
        self.assertEqual(b.status, 200)

    def test_tests_go_through_the_intake_and_are_few(self) -> None:
        b = self.browser("boss")
        path = self.begin(b)
        b.get(f"{path}/message")
        self.step(b, path, "message", go="test", text="A test", test_to="+962 788 000 031")
        self.assertIn("The test is on its way to \u2066+962788000031\u2069.", b.text)
        eventually(lambda: self.simulator.taken()["962788000031"] == 1, "taken")
        found = self.gateway.query("SELECT details ->> 'number' FROM tbl_permission_audit WHERE action = 'CAMPAIGN_TEST'")
        self.assertEqual(found, [("962788000031",)])
        for wrong in ("", "hello", "12"):
            self.step(b, path, "message", go="test", text="A test", test_to=wrong)
            self.assertEqual(b.status, 422)
        for _ in range(10):
            self.step(b, path, "message", go="test", text="A test", test_to="+962788000031")
        self.assertEqual(b.status, 422)
        self.assertIn("no more for now", b.text)
        self.assertEqual(self.gateway.query("SELECT count(*) FROM campaign_tests"), [(10,)])


class Approval(WizardCase):
    def test_somebody_else_approves_once(self) -> None:
        b = self.browser("stranger")
        path = self.prepared(b, "+962788000041")
        self.assertIn("Send it for approval", b.text)
        self.submit(b, path)
        self.assertEqual(self.row(path)[0], "PENDING_APPROVAL")
        look = path.removesuffix("/edit") + "/review"
        self.assertEqual((b.get(look), b.status)[1], 403)  # a sender decides about nothing
        first, second, elsewhere = self.browser("first"), self.browser("second"), self.browser("boss")
        elsewhere.get(look)
        self.assertEqual(elsewhere.status, 404)
        for a in (first, second):
            self.assertIn("stranger wants to send this.", a.get(look))
            self.assertIn("1 message in 1 part", a.text)
        threads = [threading.Thread(target=a.post, args=(f"{look}/approve",)) for a in (first, second)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        said = sorted("The campaign is approved." in a.text for a in (first, second))
        self.assertEqual(said, [False, True], (first.text, second.text))
        self.assertTrue(any("Somebody else was faster" in a.text for a in (first, second)))
        eventually(lambda: self.row(path)[0] == "COMPLETED", "completed")
        self.assertEqual(self.simulator.taken()["962788000041"], 1)

    def test_it_comes_back_with_a_reason(self) -> None:
        b = self.browser("first")
        path = self.prepared(b, "+962788000051")
        self.submit(b, path)
        look = path.removesuffix("/edit") + "/review"
        self.assertIn("somebody else has to approve it", b.get(look))
        b.post(f"{look}/approve")
        self.assertIn("may not decide", b.text)
        second = self.browser("second")
        second.get(look)
        second.post(f"{look}/reject", reason="")
        self.assertEqual((second.status, self.row(path)[0]), (422, "PENDING_APPROVAL"))
        second.post(f"{look}/reject", reason=f"Shorter please {EVIL}")
        self.assertEqual(self.row(path)[0], "DRAFT")
        self.assertIn("Shorter please", b.get(f"{path}/message"))
        self.assertNotIn("<script>alert", b.text)


class Misuse(WizardCase):
    def test_drafts_of_others_are_not_there(self) -> None:
        path = self.begin(self.browser("ahmad"))
        for name in ("stranger", "boss", "first"):
            b = self.browser(name)
            for step in ("sender", "recipients", "message", "schedule", "review"):
                b.get(f"{path}/{step}")
                self.assertEqual(b.status, 404, (name, step))
                b.get("/account")
                b.post(f"{path}/{step}", text="mine now", version="1", go="submit")
                self.assertEqual(b.status, 404, (name, step))
        b = self.browser("viewer")
        for there in ("/campaigns/create", f"{path}/message", "/templates"):
            b.get(there)
            self.assertEqual(b.status, 403, there)
        self.assertEqual(self.row(path)[1]["message"]["text"], "")

    def test_forms_of_other_sites(self) -> None:
        b = self.browser("ahmad")
        path = self.begin(b)
        b.get("/account")
        for where in ("/campaigns/create", f"{path}/message", f"{path}/review", "/templates/new"):
            b.post(where, csrf="0" * 40, text="x", name="x", auto="1")
            self.assertEqual(b.status, 403, where)
            b.get("/account")
            b.post(where, origin="https://evil.example", text="x", name="x")
            self.assertEqual(b.status, 403, where)
            b.get("/account")

    def test_script_in_every_field(self) -> None:
        b = self.browser("ahmad")
        path = self.begin(b, name=EVIL)
        pages = [b.text]
        pages.append(self.step(b, path, "sender", name=EVIL, sender='<i>"x', dlr_url=f"https://x/{EVIL}", tags=f"{EVIL}, ok"))
        pages.append(self.step(b, path, "recipients", go="check", numbers=f"{EVIL}\n+962788000061", groups=EVIL,
                               mapping=json.dumps({"number": EVIL}), upload="1", country=EVIL))  # fmt: skip
        pages.append(self.step(b, path, "recipients", numbers=f"{EVIL}\n+962788000061", country="JO"))
        pages.append(self.step(b, path, "message", text=f"{EVIL} %NAME%", **{"default-NAME": EVIL, "default-x<y": "z"}))
        pages.append(self.step(b, path, "message", go="test", text=EVIL, test_to=EVIL))
        pages.append(self.step(b, path, "message", go="keep", text=EVIL, keep_name=EVIL))
        pages.append(self.step(b, path, "schedule", when="later", date=EVIL, time=EVIL, zone=EVIL, windowed="1", to=EVIL, max_tps=EVIL))
        pages += [b.get(f"{path}/{step}") for step in ("sender", "recipients", "message", "schedule")]
        pages += [self.reviewed(b, path), b.get("/templates"), b.get("/campaigns")]
        for text in pages:
            self.assertNotIn("<script>alert", text)
            self.assertNotIn("49", re.sub(r'[0-9a-f]{12,}', "", text.partition("alert(1)")[2])[:40])
            self.assertNotIn("<i>", text)

    def test_huge_and_odd_input(self) -> None:
        b = self.browser("ahmad")
        path = self.begin(b)
        self.step(b, path, "message", text="ж" * 60_000)
        self.assertEqual(len(self.row(path)[1]["message"]["text"]), 40_000)
        self.step(b, path, "message", text="a\0b\ud7ff", go="stay")
        self.assertEqual(b.status, 200)
        self.step(b, path, "recipients", numbers="9" * 300_000)
        self.assertEqual(len(self.row(path)[1]["recipients"]["numbers"]), 200_000)
        b.get(f"{path}/message")
        b.post(f"{path}/message", text="x" * 4_000_000)
        self.assertEqual(b.status, 413)
        b.get(f"{path}/message")
        b.post(f"{path}/message", **{f"default-{n}": "x" * 200 for n in range(600)})
        self.assertEqual(b.status, 413)
        for step in ("nothing", "..", "%2e%2e", "review%00"):
            b.get(f"{path}/{step}")
            self.assertEqual(b.status, 404, step)
        b.get("/account")
        b.post(f"{path}/message", text="x", version="99999999999999999999")
        self.assertEqual(b.status, 409)
        for id in ("CAMP-1", "CAMP-000000000000", urllib.parse.quote("'; --")):
            b.get(f"/campaigns/{id}/edit/message")
            self.assertEqual(b.status, 404)

    def test_lists_and_files_of_others(self) -> None:
        """Numbers of another customer's list or file are nobody's recipients."""
        self.execute(self.gateway, "INSERT INTO contact_lists (customer_id, name) SELECT id, 'theirs' FROM customers WHERE name = 'Other'")
        [(theirs,)] = self.gateway.query("SELECT max(list_id) FROM contact_lists")
        self.execute(self.gateway, f"INSERT INTO contacts (list_id, msisdn) VALUES ({theirs}, '962788000071')")
        b = self.browser("ahmad")
        path = self.begin(b)
        self.step(b, path, "recipients", go="check", lists=str(theirs), numbers="+962788000072")
        eventually(lambda: "data-poll" not in b.get(f"{path}/recipients"), "read", 30)
        found = self.gateway.query("SELECT recipients FROM campaign_blocks WHERE campaign_id = %s", (self.row(path)[3],))
        self.assertNotIn("962788000071", str(found))
        self.assertNotIn("theirs", b.text)
        sql = ("INSERT INTO uploads (user_id, customer_id, name, size, piece_size, state, expires_at) SELECT id, customer_id, 'x.csv', 12,"
               " 1048576, 'ready', now() + interval '1 day' FROM users WHERE username = 'stranger'")  # fmt: skip
        self.execute(self.gateway, sql)
        [(upload,)] = self.gateway.query("SELECT max(upload_id) FROM uploads")
        self.execute(self.gateway, f"INSERT INTO tbl_upload_pieces VALUES ({upload}, 0, '962788000073')")
        self.step(b, path, "recipients", go="check", upload=str(upload), mapping=json.dumps({"number": 0, "header": False}))
        eventually(lambda: "data-poll" not in b.get(f"{path}/recipients"), "read", 30)
        self.assertIn("The file is not there any more.", b.text)

    def test_lists_of_ones_own(self) -> None:
        self.execute(self.gateway, "INSERT INTO contact_lists (customer_id, name, groups) SELECT id, 'ours', '[\"vip\"]' FROM customers"
                     " WHERE name = 'Demo'")  # fmt: skip
        [(ours,)] = self.gateway.query("SELECT max(list_id) FROM contact_lists")
        self.execute(self.gateway, f"INSERT INTO contacts (list_id, msisdn, name) VALUES ({ours}, '962788000074', 'Lina')")
        b = self.browser("chief")
        path = self.begin(b)
        for chosen in ({"lists": str(ours)}, {"groups": "vip"}):
            self.assertIn("ours", b.get(f"{path}/recipients"))
            self.step(b, path, "recipients", **chosen)
            self.step(b, path, "message", text="Dear %NAME%")
            self.step(b, path, "schedule", when="now", windowed="0")
            self.assertIn("Dear Lina", self.reviewed(b, path))


class Templates(WizardCase):
    def test_kept_used_changed_deleted_and_back(self) -> None:
        b = self.browser("ahmad")
        path = self.begin(b)
        self.step(b, path, "message", go="keep", text="Dear %NAME%, hello", smart="1", keep_name="Greeting")
        self.assertIn("kept as a template", b.text)
        self.step(b, path, "message", go="keep", text="Another", keep_name="greeting")
        self.assertEqual(b.status, 422)
        [(id,)] = self.gateway.query("SELECT template_id FROM message_templates WHERE name = 'Greeting'")
        self.assertIn("%NAME%", self.browser("chief").get("/templates?q=greet"))  # of the whole customer
        b.get(f"/templates/{id}")
        b.post(f"/templates/{id}", name="Greeting", text="Dear %NAME%, good morning")
        self.assertIn("The template is changed.", b.text)
        path = self.begin(b)
        self.step(b, path, "message", go="template", template=str(id))
        self.assertIn("good morning", b.text)
        stranger = self.browser("stranger")
        for there in (f"/templates/{id}", f"/templates/{id}x", "/templates/99999999999999999999"):
            stranger.get(there)
            self.assertEqual(stranger.status, 404)
        stranger.get("/templates")
        self.assertNotIn("Greeting", stranger.text)
        for action in ("", "/delete", "/restore"):
            stranger.get("/account")
            stranger.post(f"/templates/{id}{action}", name="mine", text="mine")
            self.assertEqual(stranger.status, 404)
        b.get("/templates")
        b.post(f"/templates/{id}/delete")
        self.assertIn("Greeting is deleted.", b.text)
        self.assertNotIn("good morning", b.text)
        b.post(f"/templates/{id}/restore")
        self.assertIn("good morning", b.text)
        actions = self.gateway.query("SELECT action FROM tbl_permission_audit WHERE action LIKE 'TEMPLATE%%' ORDER BY audit_id")
        self.assertEqual([a for a, in actions][-4:], ["TEMPLATE_CREATE", "TEMPLATE_UPDATE", "TEMPLATE_DELETE", "TEMPLATE_RESTORE"])
