from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import statuses as s
from protei_bulk.smpp import tags


class Tags(SynchronousTestCase):
    def test_every_name_has_a_rule(self) -> None:
        named = {value for key, value in vars(tags).items() if key.isupper() and isinstance(value, int)}
        self.assertEqual(named, set(tags.RULES))

    def test_names(self) -> None:
        self.assertEqual("message_payload", tags.name(0x0424))
        self.assertEqual("dest_addr_np_country", tags.name(0x0613))
        self.assertEqual("0x1400", tags.name(0x1400))

    def test_lengths(self) -> None:
        self.assertTrue(tags.RULES[tags.RECEIPTED_MESSAGE_ID].fits(b"id\0"))
        self.assertFalse(tags.RULES[tags.RECEIPTED_MESSAGE_ID].fits(b"id"))
        self.assertFalse(tags.RULES[tags.RECEIPTED_MESSAGE_ID].fits(bytes(66)))
        self.assertTrue(tags.RULES[tags.ALERT_ON_MESSAGE_DELIVERY].fits(b""))
        self.assertFalse(tags.RULES[tags.SOURCE_PORT].fits(b"\1"))
        self.assertEqual("5.0", tags.RULES[tags.CONGESTION_STATE].since)


class Statuses(SynchronousTestCase):
    def test_what_a_peer_of_each_version_is_told(self) -> None:
        for status, in_3_3, in_3_4 in (
            (s.ESME_ROK, s.ESME_ROK, s.ESME_ROK),
            (s.ESME_RQUERYFAIL, s.ESME_RQUERYFAIL, s.ESME_RQUERYFAIL),
            (s.ESME_RINVOPTPARSTREAM, s.ESME_RINVCMDLEN, s.ESME_RINVOPTPARSTREAM),
            (s.ESME_RUNKNOWNERR, s.ESME_RSYSERR, s.ESME_RUNKNOWNERR),
            (s.ESME_RPROHIBITED, s.ESME_RSUBMITFAIL, s.ESME_RSUBMITFAIL),
            (s.ESME_RINVBCASTCHANIND, s.ESME_RSYSERR, s.ESME_RSYSERR),
        ):
            self.assertEqual(in_3_3, s.known_to(0x33, status))
            self.assertEqual(in_3_4, s.known_to(0x34, status))
            self.assertEqual(status, s.known_to(0x50, status))

    def test_every_code_maps_to_one_that_the_version_has(self) -> None:
        for status in [*range(0x120), 0x400, 0xFFFFFFFF]:
            self.assertLessEqual(s.known_to(0x33, status), 0x67)
            self.assertLessEqual(s.known_to(0x34, status), 0xFF)
