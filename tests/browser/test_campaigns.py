"""A campaign from the first click to its end: the wizard with an uploaded file, pause and resume on the live page, a scheduled one,
approval by somebody else, and the whole of it by keyboard."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tests.browser.base import SCRIPT, Case
from tests.support.browser import PHONE, Reader

_TEXT = "Hello %NAME%, our sale begins – come and see."


def a_file(count: int, extra: str = "") -> bytes:
    names = ("Ahmad", "Sara", "يوسف")
    rows = "".join(f"+96279{n:07d};{names[n % 3]}\n" for n in range(count))
    return f"Phone;Name\n{rows}{extra}".encode()


class Wizard:
    """Its steps, as somebody takes them with a mouse."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.page = reader, reader.page

    def next(self) -> None:
        with self.reader.going():
            self.page.locator(".wizard-foot button[value=next]").click()

    def begin(self, name: str, sender: str = "MyCompany") -> None:
        self.reader.open("/campaigns/create")
        self.page.get_by_label("Name of the campaign").fill(name)
        self.page.locator("#f-sender").fill(sender)
        self.next()

    def upload(self, body: bytes, name: str = "customers.csv") -> None:
        self.page.set_input_files("#f-file", {"name": name, "mimeType": "text/csv", "buffer": body})
        self.page.locator("[data-part=columns]").wait_for()

    def read(self) -> int:
        """How many recipients it comes to."""
        self.page.get_by_role("button", name="Read the recipients").click()
        return int(self.page.locator(".big-figure").inner_text().replace(",", ""))

    def say(self, text: str, **instead: str) -> None:
        self.page.locator("#f-text").fill(text)
        for name, value in instead.items():
            self.page.get_by_label(f"Instead of %{name}%").fill(value)

    def submit(self, title: str = "Submit the campaign") -> str:
        """From the review on; the campaign's path."""
        button = self.page.get_by_role("button", name=title)
        button.and_(self.page.locator("[data-dialog]")).click()
        with self.reader.going():
            self.page.locator("dialog[open] button.primary").click()
        path = self.reader.path.partition("?")[0]
        self.reader.test.assertRegex(path, "^/campaigns/CAMP-[0-9A-Z]+$")
        return path


class Campaigns(Case):
    def state(self, path: str) -> str:
        [(state,)] = self.gateway.query("SELECT status FROM campaigns WHERE campaign_id = %s", (path.rpartition("/")[2],))
        return str(state)

    def test_with_a_file_from_upload_to_the_end(self) -> None:
        reader = self.reader("ahmad")
        wizard, page = Wizard(reader), reader.page
        reader.open("/campaigns/create")
        wizard.next()  # nothing filled in
        reader.sees("Give the campaign a name")
        reader.check()
        wizard.begin("Summer sale")
        wizard.upload(a_file(400, "+962790000001;Again\nnonsense;Nobody\n+962791111111;\n"))
        reader.check()
        self.assertEqual(wizard.read(), 401)
        reader.sees("Twice in the recipients", "Not a number")
        reader.check()
        wizard.next()
        wizard.say(_TEXT)
        reader.sees("These characters are not in the GSM alphabet")
        page.get_by_role("button", name="Replace all that can be replaced").click()
        self.assertEqual(page.locator("#f-text").input_value(), _TEXT.replace("–", "-"))
        page.locator("[data-preview]", has_text="Hello Ahmad, our sale").wait_for()
        reader.check()
        wizard.next()
        page.get_by_label("Parts in a second, at most").fill("10")
        reader.check()
        wizard.next()
        reader.sees("1 recipient has no NAME")
        reader.check()
        with reader.going():
            page.get_by_role("button", name="Go to Message").click()
        wizard.say(_TEXT, NAME="friend")
        with reader.going():
            page.get_by_role("button", name="Review").click()
        page.locator(".figures").wait_for()
        reader.check()
        path = wizard.submit()

        page.locator(".badge", has_text="Running").wait_for()
        page.get_by_role("button", name="Pause").first.click()
        reader.sees("Nothing more goes out until you resume it.")
        self.assertEqual(reader.barriers(), [])
        with reader.going():
            page.locator("dialog[open] .card-foot button:not([data-close])").click()
        page.locator(".badge", has_text="Paused").wait_for()
        self.assertEqual(self.state(path), "PAUSED")
        reader.check()
        self.gateway.execute("UPDATE campaigns SET max_tps = 0 WHERE campaign_id = %s", (path.rpartition("/")[2],))
        page.get_by_role("button", name="Resume").first.click()
        with reader.going():
            page.locator("dialog[open] .card-foot button:not([data-close])").click()
        page.locator(".badge", has_text="Completed").wait_for()  # live: nobody loads the page again
        reader.check()
        reader.press("Its messages", "link")
        page.get_by_text("friend, our sale").or_(page.get_by_text("our sale")).first.wait_for()

    def test_one_for_later_that_is_called_back(self) -> None:
        reader = self.reader("ahmad")
        wizard, page = Wizard(reader), reader.page
        wizard.begin("Thursday evening")
        page.get_by_label("Numbers", exact=False).first.fill("+962790000001, 00962790000002\n+962 79 000-0003")
        wizard.next()
        wizard.say("Tonight only.")
        wizard.next()
        page.locator("input[name=when][value=later]").check(force=True)
        day = datetime.now(ZoneInfo("UTC")) + timedelta(days=3)
        page.get_by_label("Date", exact=True).fill(f"{day:%Y-%m-%d}")
        page.get_by_label("Time", exact=True).fill("18:30")
        page.locator("[data-words] li", has_text=f"{day.day} ").first.wait_for()
        reader.check()
        wizard.next()
        page.locator(".figures").wait_for()
        path = wizard.submit()
        reader.sees("Scheduled")
        self.assertEqual(self.state(path), "APPROVED")
        reader.check()
        page.get_by_role("button", name="Back to draft").first.click()
        with reader.going():
            page.locator("dialog[open] .card-foot button:not([data-close])").click()
        self.assertEqual(self.state(path), "DRAFT")
        reader.press("Continue", "link")
        self.assertIn("/edit/", reader.path)

    def test_the_draft_outlives_the_session(self) -> None:
        reader = self.reader("ahmad")
        wizard, page = Wizard(reader), reader.page
        wizard.begin("Half a thought")
        page.get_by_label("Numbers", exact=False).first.fill("+962790000001")
        wizard.next()
        other = reader.page.context.new_page()
        other.goto("/account")
        other.locator("summary", has_text="ahmad").click()
        with other.expect_navigation():
            other.get_by_role("button", name="Log out").click()
        page.locator("#f-text").fill("Kept over a login")
        reader.sees("Your session is over.")
        reader.problems.clear()  # that a script was told 401
        other.locator("input[name=username]").fill("ahmad")
        other.locator("input[name=password]").fill("Password@123")
        with other.expect_navigation():
            other.locator("main button.primary").click()
        page.locator("#f-text").press("End")
        page.keyboard.type("!")
        page.locator("[data-saved]", has_text="Draft saved").wait_for()
        other.goto(page.url)
        self.assertEqual(other.locator("#f-text").input_value(), "Kept over a login!")
        reader.problems.clear()

    def test_by_keyboard_alone(self) -> None:
        reader = self.reader("ahmad")
        page, keys = reader.page, reader.page.keyboard
        reader.open("/campaigns")
        reader.tab_to("a[href='/campaigns/create']")
        with reader.going():
            keys.press("Enter")
        reader.tab_to("#f-name")
        keys.type("By keyboard")
        reader.tab_to("#f-sender")
        keys.type("MyCompany")
        with reader.going():
            keys.press("Enter")
        reader.tab_to("textarea[name=numbers]")
        keys.type("+962790000009")
        reader.tab_to(".wizard-foot button[value=next]")
        with reader.going():
            keys.press("Enter")
        reader.tab_to("#f-text")
        keys.type("Typed.")
        reader.tab_to(".wizard-foot button[value=next]")
        with reader.going():
            keys.press("Enter")
        reader.tab_to("input[name=when]")
        self.assertTrue(page.locator("input[name=when][value=now]").is_checked())
        reader.tab_to(".wizard-foot button[value=next]")
        with reader.going():
            keys.press("Enter")
        page.locator(".figures").wait_for()
        reader.tab_to("[data-dialog=submit]")
        keys.press("Enter")
        page.locator("dialog[open]").wait_for()
        keys.press("Escape")
        self.assertTrue(page.locator("[data-dialog=submit]").evaluate("e => e === document.activeElement"))
        keys.press("Enter")
        reader.tab_to("dialog[open] button.primary")
        with reader.going():
            keys.press("Enter")
        page.locator(".badge", has_text="Completed").wait_for()

    def test_script_in_every_field_is_text(self) -> None:
        reader = self.reader("ahmad")
        wizard, page = Wizard(reader), reader.page
        wizard.begin(SCRIPT)
        wizard.upload(f"Phone;{SCRIPT};Name\n+962790000004;{SCRIPT};{SCRIPT}\n".encode(), f"{SCRIPT}.csv".replace("/", "-"))
        wizard.read()
        reader.check()
        wizard.next()
        wizard.say(f"{SCRIPT} %NAME%")
        page.get_by_label("Keep this text as a template").fill(SCRIPT[:90])
        with reader.going():
            page.get_by_role("button", name="Keep", exact=True).click()
        reader.check()
        wizard.next()
        wizard.next()
        page.locator(".figures").wait_for()
        reader.check()
        wizard.submit()
        page.locator(".badge", has_text=re.compile("Completed")).wait_for()
        for path in ("", "/campaigns", "/templates", "/messages", "/"):
            if path:
                reader.open(path)
            self.assertFalse(page.evaluate("document.title === 'ran'"), path)
        reader.open("/campaigns")
        self.assertIn("<script>", page.locator("main").inner_text())

    def test_on_a_phone_in_arabic(self) -> None:
        reader = self.reader("ahmad", width=PHONE, language="ar")
        page = reader.page
        wizard = Wizard(reader)
        reader.open("/campaigns/create")
        faults = reader.overflow()
        page.locator("#f-name").fill("حملة الصيف")
        page.locator("#f-sender").fill("MyCompany")
        wizard.next()
        page.set_input_files("#f-file", {"name": "أرقام.csv", "mimeType": "text/csv", "buffer": a_file(5)})
        page.locator("[data-part=columns]").wait_for()
        faults += reader.overflow()
        wizard.next()
        page.locator("#f-text").fill("مرحبا، تبدأ التخفيضات اليوم")
        faults += [*reader.overflow(), *reader.barriers()]
        wizard.next()
        faults += reader.overflow()
        wizard.next()
        page.locator(".figures").wait_for()
        faults += [*reader.overflow(), *reader.barriers()]
        self.assertEqual(faults, [])


class Approval(Case):
    def test_somebody_else_must_approve(self) -> None:
        self.gateway.execute("UPDATE customers SET campaign_approval = TRUE WHERE name = 'Demo'")
        self.addCleanup(self.gateway.execute, "UPDATE customers SET campaign_approval = FALSE WHERE name = 'Demo'")
        reader = self.reader("ahmad")
        wizard = Wizard(reader)
        wizard.begin("To be approved")
        reader.page.get_by_label("Numbers", exact=False).first.fill("+962790000001")
        wizard.next()
        wizard.say("Only after somebody has looked at it.")
        wizard.next()
        wizard.next()
        reader.page.locator(".figures").wait_for()
        path = wizard.submit("Send it for approval")
        reader.sees("Waits for approval")
        approver = self.reader("chief")
        approver.open(f"{path}/review")
        approver.check()
        approver.page.get_by_role("button", name="Approve").first.click()
        with approver.going():
            approver.page.locator("dialog[open] .card-foot button.primary").click()
        reader.page.locator(".badge", has_text="Completed").wait_for()  # on the page that was open all the time
