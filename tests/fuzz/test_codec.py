"""Any octets: a result or one of the two errors, never anything else."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.smpp.submission import message_of
from protei_bulk.smpp import commands, fast, trace
from protei_bulk.smpp.codec import decode, encode
from protei_bulk.smpp.errors import CorruptStream, RejectPdu
from protei_bulk.smpp.framer import Framer
from protei_bulk.text.receipt import parse_receipt
from tests.fuzz.corpus import Fuzz, known_cases

COUNT = int(os.environ.get("FUZZ_PDUS", "20000"))
_MESSAGES = frozenset({commands.SUBMIT_SM, commands.DELIVER_SM})


def take(octets: bytes) -> str:
    """Everything that is done to the octets of a peer before anybody else sees them; how it ended."""
    buf, frames = Framer().feed(octets)
    for command, status, sequence, start, end in frames:
        shown = trace.describe(command, status, sequence, buf[start:end])
        assert shown.isascii() and shown.isprintable(), shown
        if command & ~commands.RESP == commands.SUBMIT_SM:
            assert len(fast.response_id(buf, start, end)) <= 64
        if command in _MESSAGES:
            try:
                fields = fast.decode_sm(buf, start, end)
                parse_receipt(fields[16], fields[17], fields[7])
                m = message_of(fields, 1_800_000_000.0)
                m.text.encode()  # what the database stores
                assert "\0" not in m.text
            except RejectPdu as error:
                assert error.status, error
    try:
        pdu = decode(octets)
    except RejectPdu as error:
        assert error.status, error
        return "rejected"
    except CorruptStream:
        return "corrupt"
    if len(octets) == 16 and pdu.command_id & commands.RESP:
        return "taken"  # a response may come without its body, and is sent with one
    try:
        again = decode(encode(pdu))
    except ValueError:
        return "taken"  # more than we would send
    assert again == pdu, (octets.hex(), pdu, again)
    return "taken"


class CodecTest(SynchronousTestCase):
    def test_the_corpus(self) -> None:
        for _name, octets in known_cases():
            take(octets)

    def test_the_stream(self) -> None:
        fuzz = Fuzz(20260101)
        outcomes: dict[str, int] = {}
        for _ in range(COUNT):
            case = fuzz.case()
            try:
                outcome = take(case.octets)
            except Exception as error:
                raise AssertionError(case.octets.hex()) from error
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        # Both kinds are there, or the stream tests nothing.
        self.assertGreater(outcomes["taken"], COUNT // 10)
        self.assertGreater(outcomes["rejected"], COUNT // 10)

    def test_chunks_change_nothing(self) -> None:
        fuzz = Fuzz(7)
        stream = b"".join(fuzz.case(breaks=False).octets for _ in range(300))
        whole = Framer().feed(stream)
        framer, found = Framer(), []
        at = 0
        while at < len(stream):
            size = fuzz.random.choice((1, 3, 16, 17, 500, 5000))
            buf, frames = framer.feed(stream[at : at + size])
            found += [(*frame[:3], buf[frame[3] : frame[4]]) for frame in frames]
            at += size
        self.assertEqual([(*f[:3], whole[0][f[3] : f[4]]) for f in whole[1]], found)
