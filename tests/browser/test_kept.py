"""A session that ends while somebody types: what was typed is back after the login, for the same user, and nothing that is secret."""

from __future__ import annotations

import contextlib

import psycopg2

from tests.browser.base import Case
from tests.support.browser import Reader


class Kept(Case):
    def end(self, reader: Reader) -> None:
        """The reader's session, as if its time had run out."""
        with contextlib.closing(psycopg2.connect(self.gateway.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("UPDATE tbl_web_sessions SET revoked_at = now() WHERE user_id = (SELECT id FROM users WHERE username = 'sami')")
            cursor.execute("SELECT pg_notify('protei_accounts', '')")
        reader.page.wait_for_function("async () => (await fetch('/account', {redirect: 'manual'})).type === 'opaqueredirect'")

    def login_again(self, reader: Reader, name: str) -> None:
        reader.press("Log in again", "link")
        reader.page.get_by_label("User name").fill(name)
        reader.page.get_by_label("Password").fill("Password@123")
        reader.press("Log in")

    def test_what_was_typed_comes_back(self) -> None:
        reader = self.reader("sami")
        reader.open("/callbacks?status=PARKED")
        reader.page.get_by_label("Address for receipts").fill("https://example.com/typed")
        self.end(reader)
        reader.press("Save")
        reader.sees("Your session is over")
        reader.check()
        self.login_again(reader, "sami")
        self.assertEqual(reader.path, "/callbacks?status=PARKED")
        reader.sees("What you had typed is back")
        reader.check()
        field = reader.page.get_by_label("Address for receipts")
        self.assertEqual(field.input_value(), "https://example.com/typed")
        self.assertEqual(reader.page.evaluate("sessionStorage.length"), 0)
        reader.page.reload()
        self.assertEqual(field.input_value(), "", "put back once")

    def test_nobody_else_gets_it(self) -> None:
        reader = self.reader("sami")
        reader.open("/callbacks")
        reader.page.get_by_label("Address for receipts").fill("https://example.com/of-sami")
        self.end(reader)
        reader.press("Save")
        self.login_again(reader, "ahmad")
        self.assertEqual(reader.path, "/callbacks")
        self.assertEqual(reader.page.get_by_label("Address for receipts").input_value(), "")
        self.assertEqual(reader.page.evaluate("sessionStorage.length"), 0)

    def test_passwords_and_codes_are_never_kept(self) -> None:
        reader = self.reader("sami")
        for path, fields, button in (
            ("/account", {"Password until now": "old-Secret-1", "New password once more": "new-Secret-1"}, "Change"),
            ("/account/2fa", {"Enter the six digits that it shows": "123456"}, "Switch on"),
        ):  # fmt: skip
            reader.open(path)
            for label, value in fields.items():
                reader.page.get_by_label(label).fill(value)
            if path == "/account":
                reader.page.get_by_label("New password", exact=True).fill("new-Secret-1")
            self.end(reader)
            reader.press(button)
            reader.sees("Your session is over")
            self.assertNotRegex(reader.page.evaluate("JSON.stringify(sessionStorage)"), "Secret|123456")
            self.login_again(reader, "sami")

    def test_a_logout_leaves_nothing(self) -> None:
        reader = self.reader("sami")
        reader.page.evaluate("sessionStorage.setItem('draft:x', 'typed')")
        reader.page.locator("summary", has_text="sami").click()
        reader.press("Log out")
        self.assertEqual(reader.page.evaluate("sessionStorage.length"), 0)
