"""An operator's and an administrator's work on customers and users, with what it does to those whom it is done to."""

from __future__ import annotations

from tests.browser.base import SCRIPT, Case
from tests.support.browser import PHONE


class Administration(Case):
    def test_a_user_from_making_to_deleting(self) -> None:
        reader = self.reader("chief")
        page = reader.page
        reader.open("/users")
        reader.press("New user", "link")
        reader.check()
        page.get_by_label("Segments a day").fill("many")
        page.locator("#f-username").fill("courier")
        reader.press("Make the user")
        reader.sees("The user is not made yet")
        self.assertEqual(page.locator("#f-username").input_value(), "courier", "what was typed is kept")
        reader.check()
        page.get_by_label("Segments a day").fill("50")
        reader.press("Make the user")
        password = page.locator(".copy code").inner_text().strip()
        self.assertGreater(len(password), 7)
        reader.check()

        courier = self.reader()
        courier.login("courier", password)
        self.assertEqual(courier.path, "/")

        reader.open("/users?q=courier")
        reader.press("courier", "link")
        reader.check()
        page.get_by_role("button", name="Suspend").click()
        reader.sees("Its SMPP sessions and logins end at once")
        self.assertEqual(reader.barriers(), [])
        with reader.going():
            page.locator("dialog[open] .card-foot button.danger").click()
        reader.sees("This user is suspended")
        courier.page.goto("/campaigns")
        self.assertIn("/login", courier.path)
        reader.press("Reactivate")
        page.get_by_role("link", name="Settings").first.click()
        page.get_by_label("E-mail").fill("courier@example.com")
        reader.press("Save")
        reader.sees("courier@example.com")
        page.get_by_role("link", name="Permissions").click()
        reader.sees("follows from its role")
        reader.open("/users?q=courier")
        reader.press("courier", "link")
        page.get_by_role("button", name="Delete").click()
        with reader.going():
            page.locator("dialog[open] .card-foot button.danger").click()
        reader.sees("courier is gone")
        reader.open("/users?q=courier")
        self.assertEqual(page.get_by_role("link", name="courier", exact=True).count(), 0)

    def test_a_customer(self) -> None:
        reader = self.reader("chief")
        page = reader.page
        reader.open("/customers")
        reader.press("New customer", "link")
        reader.check()
        page.get_by_label("Name", exact=True).fill(f"Shop {SCRIPT[:60]}")
        page.get_by_label("Currency").fill("JOD")
        reader.press("Make the customer")
        self.assertRegex(reader.path, r"^/customers/\d+")
        self.assertNotEqual(page.title(), "ran")
        reader.check()
        page.get_by_role("link", name="Top up").first.click()
        page.get_by_label("Amount").first.fill("100")
        page.get_by_label("Reference").first.fill("Invoice 7")
        reader.press("Go on")
        reader.sees("Is this right?")
        reader.check()
        reader.press("Book it")
        reader.sees("Booked")

    def test_on_a_phone(self) -> None:
        reader = self.reader("chief", width=PHONE)
        for path in ("/users/new", "/customers/new", "/routes/new"):
            reader.open(path)
            self.assertEqual([*reader.overflow(), *reader.barriers()], [], path)
