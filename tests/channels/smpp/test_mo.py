from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.smpp.mo import forwards_of, mo_pdu
from protei_bulk.smpp import commands, tags
from protei_bulk.smpp.codec import Pdu, decode
from protei_bulk.text import alphabets, gsm, headers
from protei_bulk.text.forms import PAYLOAD, SAR, UDH, Style
from tests.channels.smpp.fakes import AHMAD, RESP, Peer, World

DELIVER_RESP = commands.DELIVER_SM | RESP


def row(text: bytes = b"STOP", **values: Any) -> dict[str, Any]:
    return {"f": "962790000001", "t": "12345", "o": 0x01010000, "b": text.hex(), **values}


def outbox(n: int, payload: dict[str, Any]) -> tuple[Any, ...]:
    return (n, "MO", "", "", None, payload, 1_800_000_000.0, f"MO-{n:012d}")


def pdus(payload: dict[str, Any], style: Style | None = None, tlvs: bool = True, id: str = "MO-000000000001") -> list[Pdu]:
    found = forwards_of(1, 7, id, payload, 0.0, style or Style(long=UDH))
    return [decode(mo_pdu(f, n, tlvs)) for n, f in enumerate(found, 1)]


class PduTest(SynchronousTestCase):
    def test_as_it_came(self) -> None:
        (pdu,) = pdus(row(d=8, e=0x10, pi=0x7F, tl={"516": "0007", "5120": "beef"}))
        f = pdu.fields
        self.assertEqual((f["source_addr"], f["source_addr_ton"], f["source_addr_npi"]), ("962790000001", 1, 1))
        self.assertEqual((f["destination_addr"], f["dest_addr_ton"]), ("12345", 0))
        self.assertEqual((f["short_message"], f["data_coding"], f["esm_class"], f["protocol_id"]), (b"STOP", 8, 0x10, 0x7F))
        self.assertEqual(pdu.tlvs, {tags.USER_MESSAGE_REFERENCE: b"\0\7", 5120: b"\xbe\xef"})

    def test_for_3_3_without_tlvs(self) -> None:
        self.assertEqual(pdus(row(tl={"516": "0007"}), tlvs=False)[0].tlvs, {})

    def test_a_long_one_in_parts(self) -> None:
        found = pdus(row(b"x" * 400, rf=77))
        bodies = [p.fields["short_message"] for p in found]
        self.assertEqual([headers.concatenation(b[:6]) for b in bodies], [(77, 3, 1), (77, 3, 2), (77, 3, 3)])
        self.assertEqual({p.fields["esm_class"] for p in found}, {0x40})
        self.assertEqual(b"".join(b[6:] for b in bodies), b"x" * 400)

    def test_references(self) -> None:
        wide = pdus(row(b"x" * 200, rf=0x1234))
        self.assertEqual(headers.concatenation(wide[0].fields["short_message"][:7]), (0x1234, 2, 1))
        one, two = (pdus(row(b"x" * 200))[0].fields["short_message"][3] for _ in range(2))
        self.assertEqual(one, two)  # the same message has the same one each time it is sent
        self.assertNotEqual(one, pdus(row(b"x" * 200), id="MO-000000000002")[0].fields["short_message"][3])

    def test_other_elements_stay_in_every_part(self) -> None:
        ports = headers.element(5, b"\x0b\x84\x23\xf0")
        found = pdus(row(b"\xff" * 200, d=4, l=headers.header(ports).hex(), rf=9))
        for n, pdu in enumerate(found, 1):
            body = pdu.fields["short_message"]
            self.assertLessEqual(len(body), 140)
            udh = body[: body[0] + 1]
            self.assertEqual(headers.concatenation(udh), (9, 2, n))
            self.assertIn((5, b"\x0b\x84\x23\xf0"), headers.elements(udh) or [])

    def test_forms(self) -> None:
        found = pdus(row(b"x" * 400, rf=77), Style(long=SAR))
        self.assertEqual([p.tlvs[tags.SAR_SEGMENT_SEQNUM] for p in found], [b"\1", b"\2", b"\3"])
        (payload,) = pdus(row(b"x" * 200, rf=77), Style(long=PAYLOAD))
        self.assertEqual((payload.tlvs[tags.MESSAGE_PAYLOAD], payload.fields["short_message"]), (b"x" * 200, b""))

    def test_the_esmes_alphabet(self) -> None:
        self.assertEqual(pdus(row(gsm.encode("è")), Style(alphabets.LATIN1))[0].fields["short_message"], "è".encode("latin-1"))
        (pdu,) = pdus(row(gsm.encode("€")), Style(alphabets.LATIN1))
        self.assertEqual((pdu.fields["data_coding"], pdu.fields["short_message"]), (8, "€".encode("utf-16-be")))

    def test_addresses_longer_than_a_deliver_sm_has_room_for(self) -> None:
        (pdu,) = pdus({**row(), "f": "1" * 64, "t": "2" * 64})
        self.assertEqual((pdu.fields["source_addr"], pdu.fields["destination_addr"]), ("1" * 20, "2" * 20))

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=600), st.integers(0, 255), st.binary(max_size=60), st.integers(0, 65535))
    def test_any_octets(self, body: bytes, coding: int, udh: bytes, reference: int) -> None:
        udh = bytes((len(udh),)) + udh if udh else b""
        for pdu in pdus(row(body, d=coding, l=udh.hex(), rf=reference)):
            self.assertEqual(pdu.command_id, commands.DELIVER_SM)


class OutboxTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(deliver_window=4)
        self.world.start()
        self.delivery, self.outbox = self.world.delivery, self.world.outbox

    def texts(self, peer: Peer, status: int = 0) -> list[bytes]:
        """Answers what came; the texts, without headers."""
        seen = []
        for pdu in peer.read():
            if pdu.command_id == commands.DELIVER_SM:
                body = pdu.fields["short_message"]
                seen.append(body[body[0] + 1 :] if pdu.fields["esm_class"] & 0x40 else body)
                peer.request(DELIVER_RESP, pdu.sequence, status)
        return seen

    def test_woken(self) -> None:
        peer = self.world.bound()
        self.outbox.rows = [outbox(1, row(b"one")), outbox(2, row(b"two"))]
        self.delivery.wake([7, 8])
        self.assertEqual(self.texts(peer), [b"one", b"two"])
        self.world.wait(1)
        self.assertEqual(self.outbox.statuses, [{"o": 1, "s": 0}, {"o": 2, "s": 0}])
        self.assertEqual((self.delivery.mo_delivered, self.delivery.delivered), (2, 0))

    def test_woken_while_a_page_is_read(self) -> None:
        peer = self.world.bound()
        self.outbox.hold = []
        self.outbox.rows = [outbox(1, row(b"one"))]
        self.delivery.wake([7])
        self.outbox.rows.append(outbox(2, row(b"two")))
        self.delivery.wake([7])
        (first,), self.outbox.hold = self.outbox.hold, None
        first.callback(None)
        self.assertEqual(self.texts(peer), [b"one", b"two"])

    def test_done_when_every_part_is_answered(self) -> None:
        peer = self.world.bound()
        self.outbox.rows = [outbox(1, row(b"x" * 400))]
        self.delivery.wake([7])
        parts = peer.read()
        self.assertEqual(len(parts), 3)
        for pdu in parts[:2]:
            peer.request(DELIVER_RESP, pdu.sequence)
        self.world.wait(1)
        self.assertEqual(self.outbox.statuses, [])
        peer.request(DELIVER_RESP, parts[2].sequence)
        self.world.wait(1)
        self.assertEqual(self.outbox.statuses, [{"o": 1, "s": 0}])

    def test_all_of_it_again_for_an_esme_that_comes_back(self) -> None:
        peer = self.world.bound()
        self.outbox.rows = [outbox(1, row(b"x" * 400))]
        self.delivery.wake([7])
        peer.request(DELIVER_RESP, peer.read()[0].sequence)
        peer.lose()
        self.assertEqual(self.outbox.held, set())
        again = self.world.connect()
        again.bind()
        self.assertEqual(len(self.texts(again)), 3)
        self.world.wait(1)
        self.assertEqual(self.outbox.statuses, [{"o": 1, "s": 0}])

    def test_only_what_is_unanswered_on_another_bind(self) -> None:
        one = self.world.bound()
        self.outbox.rows = [outbox(1, row(b"a" * 153 + b"b" * 153))]
        self.delivery.wake([7])
        two = self.world.bound()
        one.request(DELIVER_RESP, one.read()[0].sequence)
        one.lose()
        self.assertEqual(self.texts(two), [b"b" * 153])
        self.world.wait(1)
        self.assertEqual(self.outbox.statuses, [{"o": 1, "s": 0}])

    def test_parts_stay_on_one_bind(self) -> None:
        one, two = self.world.bound(), self.world.bound()
        self.outbox.rows = [outbox(1, row(b"x" * 400)), outbox(2, row(b"two"))]
        self.delivery.wake([7])
        self.assertEqual([len(self.texts(one)), len(self.texts(two))], [3, 1])

    def test_later_means_in_its_old_place_after_a_pause(self) -> None:
        peer = self.world.bound()
        self.outbox.rows = [outbox(n, row(b"%d" % n)) for n in range(1, 7)]
        self.delivery.wake([7])
        sent = peer.read()
        self.assertEqual([p.fields["short_message"] for p in sent], [b"1", b"2", b"3", b"4"])
        for pdu, status in zip(sent, (0, 0x14, 0x58, 0), strict=True):
            peer.request(DELIVER_RESP, pdu.sequence, status)
        self.assertEqual(self.texts(peer), [b"5"])  # sent when the first was answered, before the second
        self.world.clock.advance(0.3)
        self.assertEqual(self.texts(peer), [b"2", b"3", b"6"])
        self.world.wait(1)
        self.assertEqual(sorted(t["o"] for t in self.outbox.statuses), [1, 2, 3, 4, 5, 6])

    def test_the_pause_grows_and_ends(self) -> None:
        peer = self.world.bound()
        self.outbox.rows = [outbox(1, row(b"1"))]
        self.delivery.wake([7])
        times = []
        for _ in range(40):
            if self.texts(peer, 0x14):
                times.append(self.world.clock.seconds())
            self.world.clock.advance(0.25)
        gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
        self.assertEqual(gaps, [0.25, 0.5, 1.0, 2.0, 4.0])
        self.world.wait(10)
        self.assertEqual(len(self.texts(peer)), 1)

    def test_the_esme_goes_in_the_pause(self) -> None:
        peer = self.world.bound()
        self.outbox.rows = [outbox(1, row(b"1")), outbox(2, row(b"2"))]
        self.delivery.wake([7])
        self.texts(peer, 0x14)
        peer.lose()
        self.assertEqual(self.outbox.held, set())
        self.world.wait(10)
        again = self.world.connect()
        again.bind()
        self.assertEqual(self.texts(again), [b"1", b"2"])

    def test_the_accounts_form(self) -> None:
        self.world.auth.account = evolve(AHMAD, mo_form="sar", smpp_alphabet="latin1")
        peer = self.world.bound()
        self.outbox.rows = [outbox(1, row(b"\x04" * 200, rf=9))]
        self.delivery.wake([7])
        found = peer.read()
        self.assertEqual([p.tlvs[tags.SAR_MSG_REF_NUM] for p in found], [b"\0\x09"] * 2)
        self.assertEqual(found[0].fields["short_message"], "è".encode("latin-1") * 153)
        for pdu in found:
            peer.request(DELIVER_RESP, pdu.sequence)
        self.world.bound(version=0x33)
        self.outbox.rows = [outbox(2, row(b"x" * 200, rf=9))]
        self.delivery.wake([7])
        self.assertEqual({p.fields["esm_class"] for p in peer.read()}, {0x40})

    def test_other_errors_are_the_end_of_it(self) -> None:
        peer = self.world.bound()
        self.outbox.rows = [outbox(1, row(b"x" * 200))]
        self.delivery.wake([7])
        for pdu, status in zip(peer.read(), (0x65, 0), strict=True):
            peer.request(DELIVER_RESP, pdu.sequence, status)
        self.world.wait(1)
        self.assertEqual(self.outbox.statuses, [{"o": 1, "s": 0x65}])

    def test_the_answer_to_a_fetch_is_lost(self) -> None:
        peer = self.world.bound()
        self.outbox.rows = [outbox(1, row(b"one"))]
        self.outbox.held = {1}  # taken, but we do not know
        self.outbox.broken = True
        self.delivery.wake([7])
        self.outbox.broken = False
        self.outbox.rows.append(outbox(2, row(b"two")))
        self.world.wait(5)
        self.assertEqual(self.texts(peer), [b"one", b"two"])

    def test_the_end_gives_back(self) -> None:
        peer = self.world.bound()
        self.outbox.rows = [outbox(1, row(b"one")), outbox(2, row(b"two"))]
        self.delivery.wake([7])
        peer.request(DELIVER_RESP, peer.read()[0].sequence)
        self.successResultOf(self.delivery.stop())
        self.assertEqual((self.outbox.held & {2}, self.outbox.statuses), (set(), [{"o": 1, "s": 0}]))
