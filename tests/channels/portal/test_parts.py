"""The portal's parts that need no gateway."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from zoneinfo import ZoneInfo

from babel import Locale
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.portal.charts import line_chart, nice_ceiling, short
from protei_bulk.channels.portal.cookies import Cookies
from protei_bulk.channels.portal.export import csv_answer, safe_cell
from protei_bulk.channels.portal.formats import formats
from protei_bulk.channels.portal.i18n import ENGLISH, Language, load_languages, negotiate
from protei_bulk.channels.portal.login import _inside
from protei_bulk.channels.portal.static_files import StaticFiles
from protei_bulk.channels.portal.visit import Flash


class Charts(SynchronousTestCase):
    @given(st.floats(0, 1e12))
    @settings(deadline=None)
    def test_axis_ends_at_a_round_figure(self, value: float) -> None:
        top = nice_ceiling(value)
        self.assertGreaterEqual(top + 1e-6 * top, value)
        self.assertLessEqual(top, max(1.0, 2.51 * value))

    @given(st.lists(st.floats(0, 1e9), max_size=60))
    @settings(deadline=None)
    def test_points_lie_within(self, values: list[float]) -> None:
        chart = line_chart([str(i) for i in range(len(values))], [("a", values)])
        path = chart.lines[0].path
        for point in path.lstrip("M").split("L") if path else ():
            x, y = map(float, point.split())
            self.assertTrue(0 <= x <= chart.width and 0 <= y <= chart.height)
        self.assertEqual([r[1] for r in chart.rows], [(v,) for v in values])

    def test_short_figures(self) -> None:
        self.assertEqual([short(v) for v in (0, 950, 1500, 2_000_000)], ["0", "950", "1.5k", "2M"])


class Exports(SynchronousTestCase):
    def test_formulas_stay_text(self) -> None:
        for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"):
            self.assertEqual(safe_cell(text)[0], "'", text)
        self.assertEqual([safe_cell(v) for v in (None, -5, "a=1", "962")], ["", "-5", "a=1", "962"])

    @given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
    @settings(deadline=None)
    def test_every_row_comes_back(self, rows: list[list[str]]) -> None:
        answer = csv_answer("x", ("a", "b"), rows)
        assert isinstance(answer.body, bytes)
        read = list(csv.reader(io.StringIO(answer.body.decode("utf-8-sig"), newline="")))
        expected = [[safe_cell(v).encode("utf-8", "replace").decode() for v in row] for row in rows]
        self.assertEqual(read[1:], expected)


class CookieTest(SynchronousTestCase):
    def test_what_is_told_once_is_ours(self) -> None:
        cookies, others = Cookies(b"k" * 32), Cookies(b"o" * 32)
        made = cookies.flash(Flash("good", "Saved, é"), True).decode()
        value = made.split(";")[0].partition("=")[2]
        self.assertEqual(cookies.flashed(value), Flash("good", "Saved, é"))
        self.assertIsNone(others.flashed(value))
        self.assertIsNone(cookies.flashed("x.y"))
        self.assertIsNone(cookies.flashed("é.é"))
        self.assertIn("Secure", made)
        self.assertIn("HttpOnly", made)

    def test_session_cookies(self) -> None:
        self.assertEqual(Cookies(b"k").session("t", True), b"__Host-protei=t; Path=/; SameSite=Lax; Secure; HttpOnly")
        self.assertEqual(Cookies(b"k").session("t", False), b"protei=t; Path=/; SameSite=Lax; HttpOnly")

    def test_form_tokens_belong_to_a_session(self) -> None:
        cookies = Cookies(b"k")
        self.assertTrue(cookies.right_csrf("a", cookies.csrf("a")))
        self.assertFalse(cookies.right_csrf("b", cookies.csrf("a")))
        self.assertFalse(cookies.right_csrf("", cookies.csrf("")))
        self.assertFalse(cookies.right_csrf("a", "é"))

    def test_after_a_login_only_to_paths_of_this_site(self) -> None:
        for path in ("//evil.example", "/\\evil", "https://evil.example", "javascript:alert(1)", "", "/login", "/logout", "/x\r\ny", "/é"):
            self.assertEqual(_inside(path), "/", path)
        self.assertEqual(_inside("/messages?q=1"), "/messages?q=1")


class Languages(SynchronousTestCase):
    def test_negotiation(self) -> None:
        languages = {"en": ENGLISH, "ar": Language("ar", "العربية", Locale("ar"))}
        for chosen, accepted, code in (
            ("ar", "en", "ar"), ("", "ar-JO,ar;q=0.9", "ar"), ("", "fr, ar;q=0.5, en;q=0.8", "en"), ("xx", "", "en"),
            ("", ";;;,q=,*", "en"), ("", "ar;q=0", "en"),
        ):  # fmt: skip
            self.assertEqual(negotiate(languages, chosen, accepted).code, code, accepted)
        self.assertEqual(languages["ar"].direction, "rtl")

    def test_catalogues_can_be_read(self) -> None:
        self.assertIn("en", load_languages())

    def test_formats(self) -> None:
        for code in ("en", "ar"):
            f = formats(Language(code, code, Locale(code)), ZoneInfo("Asia/Amman"), lambda: 1e9)
            self.assertEqual(f["number"](1234567), "1,234,567")
            self.assertIn("0.0125", f["money"](Decimal("0.0125"), "JOD"))
            self.assertIn("04:46", f["when"](1e9))
            self.assertEqual(f["when"](None), "")
            self.assertEqual(f["percent"](None), "–")


class Static(SynchronousTestCase):
    def test_addresses(self) -> None:
        files = StaticFiles()
        _, _, mark, name = files.address("css/base.css").split("/", 3)
        found = files.get(mark, name)
        assert found is not None
        self.assertTrue(files.is_current(mark))
        self.assertEqual(found.content_type, "text/css; charset=utf-8")
        self.assertIsNone(files.get(mark, "../shell.py"))
        self.assertRaises(KeyError, files.address, "css/none.css")
