"""Rules of routing as forms, and details of the audit log as lines."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.portal.audit import lines
from protei_bulk.channels.portal.costs import _amount
from protei_bulk.channels.portal.route_form import (
    CHECKED,
    LISTS,
    NUMBERS,
    TEXTS,
    fields_given,
    fields_of,
    read_fields,
)
from protei_bulk.model.message import PRIORITIES
from protei_bulk.settings import Match, Rewrite, Route
from protei_bulk.settings.schema import CHANNELS, STRATEGIES

TYPED = (*LISTS, *TEXTS, *NUMBERS, "order", "price", "name", "strategy", "reject", "action")
SMSCS = ("a", "b", "c")
words = st.lists(st.from_regex(r"\A[A-Za-z][A-Za-z0-9 .*]{0,8}[A-Za-z0-9]\Z"), max_size=3, unique=True).map(tuple)
digits = st.lists(st.from_regex(r"\A[0-9]{1,8}\Z"), max_size=3, unique=True).map(tuple)
octets = st.integers(-1, 255)
matches = st.builds(
    Match, prefix=digits, sender=words, user=words, customer=words, tags=words,
    channel=st.lists(st.sampled_from(CHANNELS), unique=True).map(tuple),
    priority=st.lists(st.sampled_from(PRIORITIES), unique=True).map(tuple),
    min_segments=st.integers(1, 255), max_segments=st.integers(0, 255), pattern=st.sampled_from(("", "otp", r"\d{4,6}", "a|b")),
    time=st.sampled_from(("", "08:00-20:00", "22:00-06:00 Asia/Amman")),
)  # fmt: skip
rewrites = st.builds(Rewrite, sender=st.sampled_from(("", "Shop")), source_ton=octets, source_npi=octets, dest_ton=octets, dest_npi=octets,
                     dest_strip=st.sampled_from(("", "962")), dest_add=st.sampled_from(("", "00962")))  # fmt: skip


@st.composite
def rules(draw: st.DrawFn) -> Route:
    strategy = draw(st.sampled_from(STRATEGIES))
    to = tuple(draw(st.lists(st.sampled_from(SMSCS), min_size=1, unique=True)))
    weights = tuple(draw(st.lists(st.integers(1, 1000), min_size=len(to), max_size=len(to)))) if strategy == "weighted" else ()
    reject = draw(st.booleans())
    return Route(
        "r", to=() if reject else to, reject="ESME_RINVDSTADR" if reject else "", strategy="failover" if reject else strategy,
        weights=() if reject else weights, order=draw(st.integers(-(2**31), 2**31 - 1)), match=draw(matches), rewrite=draw(rewrites),
        price=draw(st.decimals(0, 10, places=6)), next_after_receipt=draw(st.booleans()),
    )  # fmt: skip


class Form(SynchronousTestCase):
    @given(rules(), st.booleans())
    @settings(deadline=None, max_examples=200)
    def test_what_a_form_shows_is_read_as_the_same_rule(self, rule: Route, enabled: bool) -> None:
        shown = fields_of(rule, enabled)
        lists = {"to": [t for t, _ in shown["targets"]], "weight": [w for _, w in shown["targets"]], **{k: shown[k] for k in CHECKED}}

        def text(name: str) -> str:
            value = shown.get(name, "")
            return {True: "1", False: ""}[value] if isinstance(value, bool) else str(value)

        given = fields_given(text, lambda name: lists[name])
        read, errors = read_fields(given, SMSCS)
        self.assertEqual(errors, {})
        self.assertEqual((read, given["enabled"]), (rule, enabled))

    @given(st.dictionaries(st.sampled_from(TYPED), st.text(max_size=20)))
    @settings(deadline=None)
    def test_whatever_is_typed_is_a_rule_or_has_its_errors(self, typed: dict[str, str]) -> None:
        fields = fields_given(lambda name: typed.get(name, ""), lambda name: [typed.get("name", "")] * 3)
        route, errors = read_fields(fields, SMSCS)
        self.assertNotEqual(route is None, not errors)

    def test_errors_have_the_names_of_fields(self) -> None:
        def errors(**typed: Any) -> dict[str, str]:
            known = {"name": "r", "order": "1", **typed, "to": ["a", *typed.get("to", [])]}
            given = fields_given(lambda name: known.get(name, ""), lambda name: known.get(name, []))
            return read_fields(given, SMSCS)[1]

        self.assertEqual(set(errors(**{"match.prefix": "962,x"})), {"match.prefix"})
        self.assertEqual(set(errors(to=["nowhere"])), {"to"})
        self.assertEqual(set(errors(to=["a"])), {"to"})
        self.assertEqual(set(errors(strategy="weighted", weight=["x"])), {"to"})
        self.assertEqual(set(errors(action="reject")), {"reject"})
        self.assertEqual(set(errors(order="1e9")), {"order"})
        self.assertEqual(errors(), {})


class Details(SynchronousTestCase):
    def test_lines(self) -> None:
        found = lines({"a": 1, "b": {"c": None, "d": True}, "e": [1, 2], "f": [], "g": [{"h": "x"}], "i": ""})
        self.assertEqual(found, [("a", "1"), ("b.c", "–"), ("b.d", "true"), ("e", "1, 2"), ("f", "–"), ("g.1.h", "x"), ("i", "–")])
        self.assertEqual(len(lines({str(n): n for n in range(500)})), 60)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=20
        )
    )
    @settings(deadline=None)
    def test_whatever_is_in_it(self, value: Any) -> None:
        for key, text in lines(value):
            self.assertIsInstance(key, str)
            self.assertIsInstance(text, str)

    def test_amounts(self) -> None:
        self.assertEqual([_amount(t) for t in ("0", "0.012500", "1e9", "-1", "1.", "12345678", "0.1234567", "٣")],
                         [Decimal(0), Decimal("0.0125"), *[None] * 6])  # fmt: skip
