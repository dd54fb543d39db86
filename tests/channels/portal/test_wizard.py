"""The wizard's words and forms, without a gateway."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

import protei_bulk.campaigns
from protei_bulk.campaigns.draft import Content, Draft, Fault, Recipients, Schedule
from protei_bulk.channels.portal import wizard_forms as forms
from protei_bulk.channels.portal.i18n import load_languages
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.channels.portal.wizard_figures import in_words, money
from protei_bulk.channels.portal.wizard_words import words
from protei_bulk.model.account import Account

LANGUAGES = load_languages()
NOW = 1_795_000_000.0


def visit(language: str = "en", zone: str = "UTC", **form: str | list[str]) -> Visit:
    args = {k.encode(): [x.encode() for x in (v if isinstance(v, list) else [v])] for k, v in form.items()}
    request: Any = SimpleNamespace(args=args)
    return Visit(request, "/", "192.0.2.1", "", LANGUAGES[language], account=Account(1, "ahmad", 1, timezone=zone))


class Words(SynchronousTestCase):
    def said(self, schedule: Schedule, zone: str = "UTC") -> str:
        return " ".join(words(visit(zone=zone), Draft(schedule=schedule), NOW))

    def test_what_will_happen(self) -> None:
        self.assertEqual(
            self.said(Schedule()),
            "It begins as soon as it is submitted. Messages go out at any hour, day and night."
            " It goes as fast as your account and the operators allow.",
        )
        said = self.said(Schedule("later", "2026-12-24T18:30", "Asia/Amman", "09:00", "21:00", (0, 6), "recipient", 1000, 120))
        for sentence in (
            "It begins on Thursday 24 December 2026, 18:30 in Asia/Amman. For you that is Thursday 24 December 2026, 15:30.",
            "Messages go out on Mon and Sun, from 09:00 to 21:00, where each recipient is.", "No more than 1,000 parts go out in a second.",
            "A message that cannot be delivered within 2 hours is given up.",
        ):  # fmt: skip
            self.assertIn(sentence, said)
        self.assertNotIn("For you", self.said(Schedule("later", "2026-12-24T18:30", "Asia/Amman"), "Asia/Amman"))
        night = Schedule(begin="21:00", end="09:00", where="zone", zone="Asia/Amman")
        self.assertIn("from 21:00 to 09:00 the next day, in Asia/Amman", self.said(night))
        self.assertIn("within 90 minutes", self.said(Schedule(valid_minutes=90)))

    def test_whatever_was_typed(self) -> None:
        for schedule in (Schedule("later"), Schedule("later", "x", "y"), Schedule(days=()), Schedule(begin="x", where="zone", zone="../x")):
            for language in LANGUAGES:
                self.assertTrue(words(visit(language), Draft(schedule=schedule), NOW))

    def test_a_million_in_one_sentence(self) -> None:
        figures: Any = SimpleNamespace(
            taken=1_000_000, segments=1_020_000, free=False, cost=Decimal("20400"), money=lambda v, amount: money(v, amount, "JOD")
        )
        later = Draft(schedule=Schedule("later", "2026-12-24T18:30", "Asia/Amman"))
        self.assertEqual(
            in_words(visit(), later, figures),
            "1,000,000 messages in 1,020,000 parts for JOD\u00a020,400.000, starting on Thursday 24 December 2026, 18:30 (Asia/Amman).",
        )

    def test_every_fault_has_a_text(self) -> None:
        found = set()
        for name in ("draft.py", "desk.py"):
            source = Path(protei_bulk.campaigns.__path__[0], name).read_text()
            found |= {w for w in re.findall(r'"([A-Z][A-Z_]{4,})"', source) if "_" in w or w == "PAST"}
        found -= {"CAMPAIGN_CREATE", "PENDING_APPROVAL"}
        self.assertGreater(len(found), 15)
        for code in found:
            self.assertNotEqual(forms.fault_text(visit(), Fault("x", "y", code)), code)


class Forms(SynchronousTestCase):
    def test_other_steps_stay_as_they_are(self) -> None:
        before = Draft("a", "b", recipients=Recipients(numbers="1"), message=Content("t", priority="HIGH"), schedule=Schedule(max_tps=5))
        after = forms.read("message", visit(text="new", encoding="UCS2"), before)
        self.assertEqual(after, evolve(before, message=Content("new", "UCS2", False, priority="HIGH")))
        after = forms.read("sender", visit(name=" x  y ", sender="s", tags="a, b;a\n", priority="LOW"), before)
        self.assertEqual(after, evolve(before, name="x y", sender="s", tags=("a", "b"), message=evolve(before.message, priority="LOW")))

    def test_mappings(self) -> None:
        good = {"header": False, "number": 2, "variables": {"NAME": 1}, "country": "jo", "delimiter": ";", "encoding": "cp1256", "sheet": 1}
        mapping = forms.read("recipients", visit(upload="5", mapping=json.dumps(good)), Draft()).recipients.mapping
        self.assertEqual((mapping.header, mapping.number, mapping.variables), (False, 2, {"NAME": 1}))
        self.assertEqual((mapping.country, mapping.delimiter, mapping.encoding, mapping.sheet), ("JO", ";", "cp1256", 1))
        for odd in ("", "[]", "{", "null", '{"number": true, "variables": [1], "sheet": -1, "country": 7}', '{"number": 1e99}',
                    '{"variables": {"a b": 1, "c": 5000}}', '{"delimiter": [], "encoding": {}}'):  # fmt: skip
            found = forms.read("recipients", visit(upload="5", mapping=odd), Draft()).recipients.mapping
            self.assertEqual((found.number, found.variables, found.sheet, found.country[2:]), (-1, {}, 0, ""), odd)
        self.assertEqual(forms.read("recipients", visit(upload="x", lists=["1", "x", "1", "-2"], country="<"), Draft()).recipients,
                         Recipients(lists=(1,)))  # fmt: skip

    def test_schedules(self) -> None:
        form = {"when": "later", "date": "2026-12-24", "time": "18:30", "zone": "Asia/Amman", "windowed": "1", "from": "09:00",
                "to": "21:00", "days": ["0", "6", "9", "x", ""], "where": "zone", "max_tps": "100", "valid": "2",
                "valid_unit": "hours"}  # fmt: skip
        found = forms.read("schedule", visit(**form), Draft()).schedule  # type: ignore[arg-type]
        self.assertEqual(found, Schedule("later", "2026-12-24T18:30", "Asia/Amman", "09:00", "21:00", (0, 6), "zone", 100, 120))
        self.assertEqual(forms.read("schedule", visit(windowed="0", days=["1"]), Draft()).schedule, Schedule(zone="UTC"))
