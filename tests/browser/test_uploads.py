"""The widget of uploads in a browser: it goes on where a connection broke, says what is wrong, and is without barriers in each state."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Route

from tests.browser.base import Case

ROWS = 150_000  # three pieces


class Uploads(Case):
    def setUp(self) -> None:
        super().setUp()
        [(self.key,)] = self.gateway.query("SELECT list_id FROM contact_lists LIMIT 1")
        self.gateway.execute("DELETE FROM uploads")
        self.path = f"/contacts/{self.key}/import"
        self.file = Path(self.mktemp())
        self.file = self.file.with_suffix(".csv").absolute()
        self.file.write_bytes(b"mobile;first name;note\n" + b"".join(b"079%07d;Sara;\n" % n for n in range(ROWS)))

    def received(self) -> int:
        return int(self.gateway.query("SELECT count(*) FROM tbl_upload_pieces")[0][0])

    def test_a_connection_that_breaks(self) -> None:
        reader = self.reader("ahmad")
        reader.open(self.path)
        broken = [2, 2]

        def now_and_then(route: Route) -> None:
            if broken and broken.pop():
                route.abort()
            else:
                route.continue_()

        reader.page.route(re.compile(r"/uploads/\d+/\d+$"), now_and_then)
        reader.page.set_input_files("#f-file", self.file)
        reader.page.locator("[data-part=columns]").wait_for()
        self.assertEqual((broken, self.received()), ([], 3))
        reader.problems = [p for p in reader.problems if "ERR_FAILED" not in p]  # what was broken here
        reader.check()

    def test_going_on_after_a_reload(self) -> None:
        reader = self.reader("ahmad")
        reader.open(self.path)
        reader.page.route(re.compile(r"/uploads/\d+/2$"), lambda route: route.abort())  # the last piece never arrives
        reader.page.set_input_files("#f-file", self.file)
        while reader.page.locator("[data-part=meter]").evaluate("m => m.value") < 2:
            reader.page.wait_for_timeout(20)
        reader.page.reload()
        reader.page.unroute_all(behavior="wait")
        sent = []
        reader.page.on("request", lambda r: sent.append(r.url.rpartition("/")[2]) if r.method == "PUT" else None)
        reader.page.set_input_files("#f-file", self.file)
        reader.page.locator("[data-part=columns]").wait_for()
        self.assertEqual((sent, self.received()), (["2"], 3))
        reader.problems = [p for p in reader.problems if "ERR_FAILED" not in p]
        self.assertEqual(self.gateway.query("SELECT count(*) FROM uploads"), [(1,)])

    def test_what_is_wrong_is_said(self) -> None:
        reader = self.reader("ahmad")
        page = reader.page
        reader.open(self.path)
        for name, body, why in (
            ("report.pdf", b"%PDF-1.7", "not a table"), ("people.csv", b'phone,name\n0791234567,"Sara\n0791234568,x\n', "begins in line 2"),
            ("people.csv", b"", "nothing in this file"), ("people.xlsx", b"PK\x03\x04", "damaged"),
        ):  # fmt: skip
            page.set_input_files("#f-file", {"name": name, "mimeType": "text/csv", "buffer": body})
            page.locator("[data-part=error]", has_text=why).wait_for()
            self.assertTrue(page.locator("#f-file").count() and page.locator("[data-part=drop]").is_visible())
        reader.problems = [p for p in reader.problems if "422" not in p]  # of the empty one
        reader.check()

    def test_columns(self) -> None:
        reader = self.reader("ahmad")
        page = reader.page
        reader.open(self.path)
        page.set_input_files("#f-file", {"name": "people.csv", "mimeType": "text/csv", "buffer": b"a;b;b\nx;0791234567;0791234568\n"})
        page.locator("[data-part=columns]").wait_for()
        uses = page.locator("[data-cell=use]")
        self.assertEqual([uses.nth(n).input_value() for n in range(3)], ["variable", "number", "variable"])
        uses.nth(2).select_option("number")  # there is one number
        self.assertEqual([uses.nth(n).input_value() for n in range(3)], ["variable", "", "number"])
        page.locator("[data-cell=variable]").first.fill("no name")
        page.locator("[data-part=error]", has_text="letters, digits").wait_for()
        page.locator("[data-cell=variable]").first.fill("CITY")
        uses.nth(2).select_option("")
        page.locator("[data-part=error]", has_text="which column").wait_for()
        uses.nth(1).select_option("number")
        self.assertFalse(page.locator("[data-part=error]").is_visible())
        page.get_by_text("The columns look wrong?").click()
        page.get_by_label("Between columns stands").select_option("|")
        page.get_by_role("button", name="Read it again").click()
        page.locator("[data-cell=title]", has_text="a;b;b").wait_for()
        page.get_by_role("button", name="Take away").click()
        page.locator("[data-part=drop]").wait_for()
        self.assertEqual(page.locator("[name=upload]").input_value(), "")
        reader.check()

    def test_imported(self) -> None:
        reader = self.reader("ahmad")
        reader.open(self.path)
        reader.page.set_input_files("#f-file", {"name": "people.csv", "mimeType": "text/csv", "buffer": b"0771234567\n0771234568\nabc\n"})
        reader.page.locator("[data-part=columns]").wait_for()
        reader.press("Import")
        reader.page.locator("section .badge.good").wait_for()
        reader.sees("New contacts", "Not a number: 1")
        reader.check()
