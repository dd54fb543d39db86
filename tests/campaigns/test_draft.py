"""Drafts: what is kept of them, what is wrong with them, what the engine sees."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.campaigns.draft import (
    Columns,
    Content,
    Draft,
    Recipients,
    Schedule,
    columns,
    faults,
    read_draft,
    stamped,
    write_draft,
)
from protei_bulk.campaigns.windows import SendingWindow
from protei_bulk.model.account import Account

ACCOUNT = Account(1, "ahmad", 1)
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=ZoneInfo("UTC")).timestamp()
GOOD = Draft("Summer", "MyCompany", recipients=Recipients(numbers="+962788123456"), message=Content("Hello"))

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8,
)  # fmt: skip
_KEYS = st.sampled_from(["name", "sender", "recipients", "message", "schedule", "dlr_url", "tags", "changed"])
_INNER = st.sampled_from(["upload", "mapping", "lists", "numbers", "text", "defaults", "smart", "when", "at", "days", "from", "to", "zone"])


def codes(draft: Draft, account: Account = ACCOUNT, now: float = NOW) -> list[tuple[str, str, str]]:
    return [(f.step, f.name, f.code) for f in faults(draft, account, now)]


class Reading(SynchronousTestCase):
    def test_it_comes_back_as_it_was(self) -> None:
        draft = Draft(
            "Summer", "MyCompany", "SMS",
            Recipients(7, Columns(False, 2, {"NAME": 1}, "JO", ";", "cp1256", 1), (3, 4), ("vip",), "1\n2", "JO"),
            Content("Hi %NAME%", "UCS2", False, {"NAME": "friend"}, 5, "HIGH"),
            Schedule("later", "2026-12-24T18:30", "Asia/Amman", "09:00", "21:00", (0, 6), "zone", 100, 60), "https://x.example/",
            ("a", "b"), {"recipients": 3},
        )  # fmt: skip
        self.assertEqual(read_draft(json.loads(json.dumps(write_draft(draft)))), draft)
        self.assertEqual(read_draft(None), Draft())

    @settings(deadline=None)
    @given(st.dictionaries(_KEYS, _JSON | st.dictionaries(_INNER, _JSON, max_size=6), max_size=6))
    def test_whatever_is_stored(self, document: dict[str, Any]) -> None:
        draft = read_draft(document)
        self.assertEqual(read_draft(json.loads(json.dumps(write_draft(draft)))), draft)
        faults(draft, ACCOUNT, NOW)
        json.dumps(columns(draft))

    def test_versions_of_recipients_and_text(self) -> None:
        first = stamped(Draft(), GOOD, 1)
        self.assertEqual(first.changed, {"recipients": 1, "message": 1})
        named = stamped(first, evolve(first, name="Winter", message=evolve(first.message, priority="LOW")), 2)
        self.assertEqual(named.changed, first.changed)
        self.assertEqual(stamped(named, evolve(named, message=Content("Bye")), 3).changed, {"recipients": 1, "message": 3})


class Faults(SynchronousTestCase):
    def test_nothing(self) -> None:
        self.assertEqual(codes(GOOD), [])
        self.assertEqual([c for _, _, c in codes(Draft())], ["NO_NAME", "NO_SENDER", "NO_RECIPIENTS", "NO_TEXT"])

    def test_senders(self) -> None:
        for sender, code in (("+962788123456", None), ("My Company", None), ("éclair", "BAD_SENDER"), ("twelve chars", "BAD_SENDER"),
                             (" x", "BAD_SENDER"), ("1234567890123456", "BAD_SENDER"), ("a\n", "BAD_SENDER")):  # fmt: skip
            found = [c for _, _, c in codes(evolve(GOOD, sender=sender))]
            self.assertEqual(found, [code] if code else [], sender)
        bound = Account(1, "ahmad", 1, allowed_sender_ids=("Sale*", "962788123456"))
        for sender, fine in (("SaleNow", True), ("+962788123456", True), ("MyCompany", False)):
            self.assertEqual(codes(evolve(GOOD, sender=sender), bound) == [], fine, sender)

    def test_columns_of_an_upload(self) -> None:
        self.assertEqual(codes(evolve(GOOD, recipients=Recipients(upload=3))), [("recipients", "upload", "NO_NUMBER_COLUMN")])

    def test_times(self) -> None:
        amman = {"when": "later", "zone": "Asia/Amman"}
        for schedule, code in (
            (Schedule(at="2026-11-24T15:30", **amman), None), (Schedule(at="2026-11-24T14:59", **amman), "PAST"),
            (Schedule(at="2028-01-01T00:00", **amman), "TOO_FAR"), (Schedule(at="", **amman), "NO_TIME"),
            (Schedule(at="2026-13-01T00:00", **amman), "NO_TIME"), (Schedule(zone="Mars/Base"), "BAD_ZONE"),
            (Schedule("later", "2027-03-28T02:30", "Europe/Berlin"), "NO_SUCH_TIME"),  # the clocks go from two to three
            (Schedule("later", "2026-12-01T02:30", "../etc/passwd"), "BAD_ZONE"),
            (Schedule(begin="09:00", end="21:00"), None), (Schedule(begin="21:00", end="09:00"), None),
            (Schedule(begin="09:00"), "BAD_HOUR"), (Schedule(begin="24:00", end="09:00"), "BAD_HOUR"),
            (Schedule(begin="09:00", end="09:00"), "EMPTY_WINDOW"), (Schedule(days=()), "NO_DAYS"),
            (Schedule(max_tps=2_000_000), "TOO_MUCH"), (Schedule(valid_minutes=99_999), "TOO_MUCH"),
        ):  # fmt: skip
            found = [c for _, _, c in codes(evolve(GOOD, schedule=schedule))]
            self.assertEqual(found, [code] if code else [], schedule)


class ForTheEngine(SynchronousTestCase):
    def test_a_schedule(self) -> None:
        schedule = Schedule("later", "2026-12-24T18:30", "Asia/Amman", "09:00", "21:00", (0, 1), "zone")
        found = columns(evolve(GOOD, sender="+96279", schedule=schedule))
        self.assertEqual(found["schedule_time"], "2026-12-24T18:30:00+03:00")
        self.assertEqual((found["submission_channel"], found["sender_id"]), ("SCHEDULER", "96279"))
        window = [found[k] for k in ("window_from", "window_to", "window_days", "window_zone")]
        self.assertEqual(window, ["09:00", "21:00", [0, 1], "Asia/Amman"])

    def test_without_hours_there_is_no_window(self) -> None:
        found = columns(evolve(GOOD, schedule=Schedule(where="zone", zone="Asia/Amman")))
        self.assertEqual([found[k] for k in ("window_from", "window_to", "window_days", "window_zone")], [None, None, None, ""])
        days = columns(evolve(GOOD, schedule=Schedule(days=(0,))))
        SendingWindow.parse(days["window_from"], days["window_to"], days["window_days"])

    def test_what_is_wrong_is_left_out(self) -> None:
        wrong = Draft("x", "no such sender, it is too long", schedule=Schedule("later", "never", begin="9"), dlr_url="javascript:alert(1)")
        found = columns(wrong)
        self.assertEqual([found[k] for k in ("sender_id", "schedule_time", "window_from", "dlr_callback_url")], [None] * 4)
