from __future__ import annotations

from unittest import TestCase

import orjson

from protei_bulk.callbacks.payload import KEYS, body_at, dlr_payload, iso_time, mo_payload
from protei_bulk.inbound.message import Mo
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

    def test_a_message_from_a_mobile(self) -> None:
        m = Mo()
        m.id, m.source, m.dest, m.text, m.smsc, m.received, m.parts, m.missing = "MO-1", "9627", "12345", "صوت 7", "A", SUBMITTED, 3, 1
        self.assertEqual(
            body_at(dict(sorted(mo_payload(m).items())), SUBMITTED + 1).decode(),
            '{"type":"mo","message_id":"MO-1","from":"9627","to":"12345","text":"صوت 7","payload":null,"data_coding":0,"udh":null,'
            '"esm_class":0,"smsc_id":"A","parts":3,"missing":1,"received_at":"2025-01-16T10:00:00Z","timestamp":"2025-01-16T10:00:01Z"}',
        )
        m.text, m.body, m.udh, m.data_coding = None, b"\0\xff", b"\2\x70\0", 4
        body = mo_payload(m)
        self.assertEqual((body["text"], body["payload"], body["udh"], body["data_coding"]), (None, "00ff", "027000", 4))

    def test_no_time(self) -> None:
        self.assertIsNone(iso_time(None))
