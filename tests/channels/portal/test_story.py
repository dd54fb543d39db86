"""The story of a message, error codes in words, and other small pieces that need no gateway."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.portal.devices import device
from protei_bulk.channels.portal.i18n import ENGLISH
from protei_bulk.channels.portal.meanings import meaning
from protei_bulk.channels.portal.story import moment, story

_PLAIN: dict[str, Any] = {
    "username": "ahmad", "submission_channel": "HTTP_API", "submitted_at": "2026-01-02T03:04:05+00:00", "shown_id": None, "route": "main",
    "queue": None, "tried": None, "sent_at": None, "smsc_id": None, "smpp_msg_id": None, "attempts": 0, "dlr_status": None,
    "error_code": None, "status": "QUEUED", "delivered_at": None, "ended_at": None, "callbacks": [], "deliver_outbox": [],
}  # fmt: skip


def _titles(operator: bool, **more: Any) -> list[str]:
    return [s.title for s in story({**_PLAIN, **more}, ENGLISH.gettext, operator)]


class Stories(SynchronousTestCase):
    def test_one_that_was_delivered(self) -> None:
        what = {"sent_at": "2026-01-02T03:04:06+00:00", "smsc_id": "A", "smpp_msg_id": "17", "dlr_status": "DELIVRD", "status": "DELIVERED",
                "delivered_at": "2026-01-02T03:04:09+00:00", "error_code": "000"}  # fmt: skip
        self.assertEqual(_titles(True, **what), ["Accepted over HTTP API", "Routed by the rule main", "Taken by A", "Receipt: DELIVRD"])
        self.assertEqual(_titles(False, **what), ["Accepted over HTTP API", "Taken by the mobile network", "Receipt: DELIVRD"])

    def test_one_that_was_tried_in_vain(self) -> None:
        what = {"tried": "A:REJECTD:088 B:UNDELIV:027:9x", "status": "FAILED", "dlr_status": "UNDELIV", "error_code": "NO_ROUTE",
                "ended_at": "2026-01-02T03:04:09+00:00"}  # fmt: skip
        steps = story({**_PLAIN, **what}, ENGLISH.gettext, True)
        first, second = steps[2:4]
        self.assertEqual(first.title, "Tried in vain by A")
        self.assertIn(("Error", "088 · ESME_RTHROTTLED Faster than the SMSC allows."), first.facts)
        self.assertIn(("Error", "027 · The phone is switched off or out of reach."), second.facts)
        self.assertIn(("Id at the SMSC", "9x"), second.facts)
        self.assertEqual(steps[-1].title, "Ended without being sent: UNDELIV")
        self.assertEqual((steps[-1].kind, steps[-1].at), ("bad", datetime(2026, 1, 2, 3, 4, 9, tzinfo=UTC)))
        self.assertIn(("Error", "NO_ROUTE · No rule of routing takes this recipient."), steps[-1].facts)

    def test_a_customer_is_told_of_no_smsc(self) -> None:
        queue = {"smsc_id": "SECRET1", "due_at": "2026-01-02T03:04:06+00:00", "attempts": 1, "refusals": 1}
        what = {"tried": "SECRET1:REJECTD:088", "smsc_id": "SECRET1", "smpp_msg_id": "SECRET-ID", "sent_at": "2026-01-02T03:04:06+00:00",
                "queue": queue, "route": "SECRET-RULE"}  # fmt: skip
        self.assertNotIn("SECRET", repr(story({**_PLAIN, **what}, ENGLISH.gettext, False)))

    def test_what_waits(self) -> None:
        queue = {"smsc_id": "A", "due_at": "infinity", "attempts": 0, "refusals": 0}
        self.assertIn("Held until somebody releases it", _titles(True, queue=queue))
        queue["due_at"] = "2026-01-02T03:04:06+00:00"
        self.assertIn("Waits in the queue", _titles(True, queue=queue))
        self.assertIn("Scheduled", _titles(True, queue=queue, status="SCHEDULED"))
        times = dict.fromkeys(("created_at", "next_attempt_at", "delivered_at"))
        told = {"url": "http://x", "attempts": 2, "last_error": "HTTP 500", **times}
        for status, title in (("PARKED", "Callback given up"), ("PENDING", "Callback waits"), ("DELIVERED", "Callback delivered")):
            self.assertIn(title, _titles(False, callbacks=[{**told, "status": status}]))
        self.assertIn("Receipt waits for the SMPP client", _titles(False, deliver_outbox=[{"created_at": None}]))

    @given(st.text(), st.text(), st.booleans())
    @settings(deadline=None)
    def test_whatever_stands_in_the_columns(self, tried: str, code: str, operator: bool) -> None:
        story({**_PLAIN, "tried": tried, "error_code": code, "dlr_status": code or "X"}, ENGLISH.gettext, operator)

    def test_moments(self) -> None:
        self.assertEqual(moment("2026-01-02T03:04:05"), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        self.assertEqual([moment(x) for x in (None, "", "infinity", "x", 5)], [None] * 5)


class Meanings(SynchronousTestCase):
    def test_codes(self) -> None:
        _ = ENGLISH.gettext
        self.assertEqual([meaning(c, False, _) for c in (None, "", "000", "0", "x1", "999", "9" * 30, "²")], [""] * 8)
        self.assertEqual(meaning("088", True, _), "ESME_RTHROTTLED Faster than the SMSC allows.")
        self.assertEqual(meaning("1025", True, _), "0x00000401")
        self.assertEqual(meaning("001", False, _), "Unknown subscriber: the number is not in use.")
        self.assertTrue(meaning("OPTED_OUT", True, _))


class Devices(SynchronousTestCase):
    def test_names(self) -> None:
        for agent, name in (
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36", ("Chrome", "Linux")),
            ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/120.0 Safari/537.36 Edg/120.0", ("Edge", "Windows")),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Mobile/15E148 Safari/604.1", ("Safari", "iPhone")),
            ("Mozilla/5.0 (Linux; Android 14) Gecko/120.0 Firefox/120.0", ("Firefox", "Android")), ("", ("", "")), (None, ("", "")),
        ):  # fmt: skip
            self.assertEqual(device(agent), name, agent)
