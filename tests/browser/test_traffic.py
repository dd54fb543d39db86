"""What was sent, looked at: lists, one message's story, the menu of a phone."""

from __future__ import annotations

from tests.browser.base import Case
from tests.support.browser import PHONE


class Traffic(Case):
    def test_the_story_of_a_message(self) -> None:
        id = self.a_message()
        reader = self.reader("ahmad")
        reader.page.get_by_label("Search messages by number or id").fill(id)
        with reader.going():
            reader.page.keyboard.press("Enter")
        with reader.going():
            reader.page.locator("main table a").first.click()
        self.assertEqual(reader.path, f"/messages/{id}")
        reader.sees("Accepted over", "Delivered")
        operator = self.reader("chief")
        operator.open(f"/messages/{id}")
        operator.sees("SMSC1")

    def test_campaigns_and_one_of_them(self) -> None:
        reader = self.reader("ahmad")
        reader.open("/campaigns")
        reader.press("Orders of the morning", "link")
        reader.sees("Progress")
        reader.press("Its messages", "link")
        self.assertEqual(reader.page.locator("main tbody tr").count(), 12)

    def test_texts_of_people_stay_texts(self) -> None:
        reader = self.reader("ahmad")
        for path in ("/", "/campaigns", "/messages"):
            reader.open(path)
            self.assertNotEqual(reader.page.title(), "ran", path)
        reader.open("/campaigns")
        with reader.going():
            reader.page.get_by_role("link", name="Evening").first.click()
        self.assertIn("<script>", reader.page.locator("h1").inner_text())
        self.assertNotEqual(reader.page.title(), "ran")

    def test_the_menu_of_a_phone(self) -> None:
        for language in ("en", "ar"):
            reader = self.reader("ahmad", width=PHONE, language=language)
            page = reader.page
            menu, link = page.locator("[data-drawer]"), page.locator("#side a[href='/messages']")
            self.assertFalse(link.is_visible())
            menu.focus()
            page.keyboard.press("Enter")
            link.wait_for()
            self.assertTrue(page.evaluate("document.getElementById('side').contains(document.activeElement)"))
            self.assertEqual(reader.barriers(), [])
            page.keyboard.press("Escape")
            link.wait_for(state="hidden")
            self.assertTrue(menu.evaluate("e => e === document.activeElement"), "where it was before")
            page.keyboard.press("Enter")
            with reader.going():
                link.click()
            self.assertEqual(reader.path, "/messages")
