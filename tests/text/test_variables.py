"""Texts with %NAME% in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase as TestCase

from protei_bulk.text.variables import Missing, Wording

_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)


class TemplateTests(TestCase):
    def test_values_take_the_place_of_names(self) -> None:
        self.assertEqual(Wording("Hello %NAME%, %SUM% due").render({"NAME": "Ahmad", "SUM": 5}), "Hello Ahmad, 5 due")

    def test_what_is_no_name_stays(self) -> None:
        for text in ("100%", "50% or 60%", "%1A%", "%%", "% A %", "%" + "A" * 65 + "%"):
            self.assertEqual(Wording(text).names, ())
            self.assertEqual(Wording(text).render(), text)

    def test_values_are_not_looked_at_again(self) -> None:
        self.assertEqual(Wording("%A%%B%").render({"A": "%B%", "B": "%A%"}), "%B%%A%")

    def test_defaults_stand_in_for_what_lacks_or_is_empty(self) -> None:
        t = Wording("Dear %NAME%", {"NAME": "friend"})
        self.assertEqual([t.render(None), t.render({}), t.render({"NAME": ""}), t.render({"NAME": "A"})],
                         ["Dear friend", "Dear friend", "Dear friend", "Dear A"])  # fmt: skip

    def test_an_empty_value_without_a_default_is_a_value(self) -> None:
        self.assertEqual(Wording("a%X%b").render({"X": ""}), "ab")

    def test_a_name_without_value_is_told(self) -> None:
        error = self.assertRaises(Missing, Wording("%A% %B%").render, {"A": "x"})
        self.assertEqual(error.name, "B")
        self.assertEqual(Wording("%A% %B% %A%").missing({"A": "x"}), ["B"])

    @given(st.lists(st.tuples(st.text(), _NAMES)), st.text(), st.dictionaries(_NAMES, st.text()))
    def test_all_names_are_found_and_filled(self, pieces: list[tuple[str, str]], end: str, values: dict[str, str]) -> None:
        text = "".join(before.replace("%", "") + f"%{name}%" for before, name in pieces) + end.replace("%", "")
        t = Wording(text)
        self.assertEqual(set(t.names), {name for _, name in pieces})
        if not t.missing(values):
            want = "".join(before.replace("%", "") + values[name] for before, name in pieces) + end.replace("%", "")
            self.assertEqual(t.render(values), want)
