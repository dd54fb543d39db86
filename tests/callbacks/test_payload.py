from __future__ import annotations

from unittest import TestCase

import orjson

from protei_bulk.callbacks.payload import KEYS, body_at, dlr_payload, iso_time
from protei_bulk.model.lifecycle import FROM_RECEIPT, TO_RECEIPT

SUBMITTED = 1_737_021_600.0  # 2025-01-16T10:00:00Z


class PayloadTest(TestCase):
    def test_as_the_specification_has_it(self) -> None:
        stored = dlr_payload("MSG-ABC123DEF456", "962788123456", "MyCompany", "DELIVRD", "000", SUBMITTED, SUBMITTED + 5.9)
        # PostgreSQL keeps the keys of JSONB in an order of its own.
        shuffled = dict(sorted(stored.items(), reverse=True))
        self.assertEqual(
            body_at(shuffled, SUBMITTED + 6.2).decode(),
            '{"message_id":"MSG-ABC123DEF456","msisdn":"962788123456","sender":"MyCompany","status":"DELIVRD",'
            '"error_code":null,"dlr_text":"Message delivered successfully","submitted_at":"2025-01-16T10:00:00Z",'
            '"delivered_at":"2025-01-16T10:00:05Z","timestamp":"2025-01-16T10:00:06Z"}',
        )

    def test_a_failure(self) -> None:
        stored = dlr_payload("MSG-1", "1", "s", "UNDELIV", "0B", SUBMITTED, None)
        self.assertEqual((stored["error_code"], stored["delivered_at"]), ("0B", None))
        self.assertEqual(stored["dlr_text"], "Message undelivered")

    def test_every_state_has_words(self) -> None:
        for stat in {*FROM_RECEIPT, *TO_RECEIPT.values()}:
            text = dlr_payload("MSG-1", "1", "s", stat, None, 0, None)["dlr_text"]
            self.assertNotIn(stat, text)
        self.assertEqual(dlr_payload("MSG-1", "1", "s", "ODD", None, 0, None)["dlr_text"], "Message state ODD")

    def test_what_else_is_stored_is_sent_too(self) -> None:
        body = orjson.loads(body_at({"message_id": "MSG-1", "extra": 5}, 0))
        self.assertEqual(list(body), [*KEYS, "extra"])

    def test_no_time(self) -> None:
        self.assertIsNone(iso_time(None))
