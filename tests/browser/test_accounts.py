"""Login, second factor and settings of one's own, as somebody does them in a browser."""

from __future__ import annotations

import time

import pyotp

from tests.browser.base import Case
from tests.support.browser import DESKTOP


class Accounts(Case):
    def test_login_and_logout(self) -> None:
        reader = self.reader()
        reader.open("/messages?q=962")
        self.assertEqual(reader.path, "/login?next=%2Fmessages%3Fq%3D962")
        reader.page.keyboard.type("ahmad")  # the first field has the focus
        reader.page.keyboard.press("Tab")
        reader.page.keyboard.type("Password@123")
        with reader.going():
            reader.page.keyboard.press("Enter")
        self.assertEqual(reader.path, "/messages?q=962")
        reader.page.locator("summary", has_text="ahmad").click()
        reader.press("Log out")
        reader.sees("You are logged out.")
        reader.open("/")
        self.assertEqual(reader.path, "/login?next=%2F")

    def test_first_login_with_a_second_factor(self) -> None:
        reader = self.reader("salma")
        self.assertEqual(reader.path, "/account/2fa")
        reader.sees("Your role needs two-factor authentication")
        reader.open("/campaigns")
        self.assertEqual(reader.path, "/account/2fa", "nothing else before it")
        self.assertGreater(reader.page.locator(".qr svg").bounding_box()["width"], 100)  # type: ignore[index]
        reader.check()
        secret = reader.page.locator("#secret").inner_text()
        reader.page.get_by_label("Enter the six digits that it shows").fill(pyotp.TOTP(secret).now())
        reader.press("Switch on")
        reader.check()
        codes = reader.page.locator("#codes li").all_inner_texts()
        self.assertGreaterEqual(len(codes), 8)
        reader.press("I have kept them", "link")
        reader.open("/")
        self.assertEqual(reader.path, "/")
        reader.sees("Dashboard")

        other = self.reader()
        other.open("/login")
        other.page.get_by_label("User name").fill("salma")
        other.page.get_by_label("Password").fill("Password@123")
        other.press("Log in")
        other.check()
        # The code just used opens nothing a second time; the one of the next half minute does.
        other.page.get_by_label("One-time code").fill(pyotp.TOTP(secret).at(time.time() + 30))
        other.press("Log in")
        self.assertEqual(other.path, "/")
        third = self.reader()
        third.open("/login")
        third.page.get_by_label("User name").fill("salma")
        third.page.get_by_label("Password").fill("Password@123")
        third.press("Log in")
        third.page.get_by_label("One-time code").fill(codes[0])
        third.press("Log in")
        self.assertEqual(third.path, "/")

    def test_language_and_appearance(self) -> None:
        reader = self.reader("sami")
        page = reader.page
        light = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
        page.locator("summary", has_text="Language and appearance").click()
        page.get_by_role("button", name="Dark").click()
        self.assertNotEqual(page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor"), light)
        page.reload()
        self.assertNotEqual(page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor"), light, "kept")
        reader.check()
        page.locator("summary", has_text="Language and appearance").click()
        reader.press("العربية")
        self.assertEqual(page.locator("html").get_attribute("dir"), "rtl")
        side, content = page.locator("#side").bounding_box(), page.locator("#content").bounding_box()
        assert side is not None and content is not None
        self.assertGreater(side["x"], content["x"], "the menu is at the right")
        self.assertEqual(round(side["x"] + side["width"]), DESKTOP)

    def test_an_api_key(self) -> None:
        reader = self.reader("sami")
        reader.open("/account/api-key")
        reader.press("Make a key")
        reader.press("I have kept it", "link")
        reader.page.get_by_role("button", name="Make a new key").click()
        reader.sees("stops working at once")
        self.assertEqual(reader.barriers(), [])
        reader.page.keyboard.press("Escape")
        reader.page.get_by_role("button", name="Make a new key").click()
        with reader.going():
            reader.page.locator("dialog[open] .card-foot .primary").click()
        self.assertRegex(reader.page.locator("#key").inner_text(), "^[a-z0-9]{48}$")
        reader.check()

    def test_a_password_that_is_refused_says_so_beside_the_field(self) -> None:
        reader = self.reader("sami")
        reader.open("/account")
        reader.page.get_by_label("Password until now").fill("wrong")
        reader.page.get_by_label("New password", exact=True).fill("another-word-9")
        reader.page.get_by_label("New password once more").fill("another-word-9")
        reader.press("Change")
        self.assertEqual(reader.page.locator("[aria-invalid=true]").first.get_attribute("aria-describedby"), "e-old")
        reader.check()
