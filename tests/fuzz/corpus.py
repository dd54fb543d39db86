"""PDUs that nobody should send, endlessly, from a seed; and a list of those that once did harm or might."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from attrs import frozen

from protei_bulk.smpp import commands, fast, tags
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.fields import CString, Destinations, Failures, FieldSpec, Octets, Whole
from protei_bulk.smpp.pdus import LAYOUTS

RESP = commands.RESP
MAX_PDU = 65536
_LENGTHS = (0, 1, 4, 15, 16, 17, 64, 0xFFFF, 0x10000, 0x10001, 0x01000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)
_SEQUENCES = (0, 1, 2, 0x40000001, 0x70000001, 0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TAGS = tuple(v for k, v in vars(tags).items() if k.isupper() and isinstance(v, int)) + (0, 0x1400, 0x3FFF, 0xFFFF)
_TEXTS = (b"", b"\x1b", b"\x1be" * 70, b"\0", b"\xd8\x00", b"\xd8\x00\xdc\x00" * 30, b"\xff" * 254, b"\x05\x00\x03\x01\x02\x01Hi",
          b"\xff\x00\x03", b"id:1 sub:001 dlvrd:001 submit date:2501010000 done date:2501010000 stat:DELIVRD err:000 text:x",
          b"id: stat: err:", b"stat:" + b"A" * 200, b"id:" + b"\xff" * 80)  # fmt: skip
_TIMES = ("", "000001000000000R", "991231235959000+", "250132250000999-", "99999999999999999", "R", "\xff" * 16, "250101000000049+")


@frozen
class Case:
    """Octets of one PDU. `breaks`: where the next one begins is not what its length says."""

    octets: bytes
    breaks: bool = False


class Fuzz:
    """A stream of cases; the same seed gives the same ones. `commands`: those that whole PDUs are made of."""

    def __init__(self, seed: int, *, avoid: frozenset[int] = frozenset()) -> None:
        self.random = Random(seed)
        self._known = [c for c in LAYOUTS if c not in avoid]
        self._avoid = avoid
        # Most of the traffic is of these, so most of the harm would come from them.
        self._usual = [c for c in (commands.SUBMIT_SM, commands.DELIVER_SM, commands.SUBMIT_SM | RESP, commands.DATA_SM) if c not in avoid]

    def case(self, *, breaks: bool | None = None) -> Case:
        """The next one; `breaks` chooses whether it may break the stream (None: one in fifty does)."""
        r = self.random
        if breaks or (breaks is None and r.random() < 0.02):
            return Case(self._broken_length(), True)
        pdu = bytearray(self._pdu())
        for _ in range(r.choice((0, 1, 1, 1, 2, 3))):
            self._harm(pdu)
        del pdu[MAX_PDU:]
        pdu[0:4] = len(pdu).to_bytes(4, "big")
        if int.from_bytes(pdu[4:8], "big") in self._avoid:
            pdu[4:8] = commands.SUBMIT_SM.to_bytes(4, "big")
        return Case(bytes(pdu))

    def _broken_length(self) -> bytes:
        r = self.random
        pdu = bytearray(self._pdu())
        length = r.choice((*_LENGTHS, r.getrandbits(32), len(pdu) - 1, len(pdu) + 1))
        if length == len(pdu):
            length += 1
        pdu[0:4] = (length & 0xFFFFFFFF).to_bytes(4, "big")
        return bytes(pdu[: r.choice((len(pdu), len(pdu), r.randint(1, len(pdu))))])

    def _pdu(self) -> bytes:
        r = self.random
        if r.random() < 0.05:
            command = r.choice((r.getrandbits(32), r.getrandbits(9), r.getrandbits(9) | RESP, 0))
            return fast.header(command, r.choice((0, 0, r.getrandbits(32))), self._sequence()) + r.randbytes(r.randint(0, 60))
        command = r.choice(self._usual) if self._usual and r.random() < 0.5 else r.choice(self._known)
        fields = {spec.name: self._value(spec) for spec in LAYOUTS[command]}
        optional: dict[int, bytes] = {}
        if LAYOUTS[command] and r.random() < 0.4:
            for _ in range(r.randint(1, 4)):
                short = (b"", b"\0", b"\1", r.randbytes(2), r.randbytes(4))
                optional[r.choice(_TAGS)] = r.choice((*short, r.choice(_TEXTS), r.randbytes(r.randint(0, 300))))
        status = r.choice((0, 0, 0, 0x14, 0x58, 8, r.getrandbits(32)))
        return encode(Pdu(command, status, self._sequence(), fields, optional))

    def _sequence(self) -> int:
        r = self.random
        return r.choice(_SEQUENCES) if r.random() < 0.2 else r.randint(1, 2000)

    def _value(self, spec: FieldSpec) -> Any:
        r = self.random
        if isinstance(spec, Whole):
            return r.choice((0, 0, 0, 1, 4, 0x40, r.getrandbits(8))) if spec.octets == 1 else r.getrandbits(8 * spec.octets)
        if isinstance(spec, Octets):
            return r.choice(_TEXTS) if r.random() < 0.5 else r.randbytes(r.randint(0, 254))
        if isinstance(spec, Destinations):
            return [(1, 1, self._number()) if r.random() < 0.8 else "list" for _ in range(r.choice((0, 1, 2, 254)))]
        if isinstance(spec, Failures):
            return [(1, 1, self._number(), r.getrandbits(32)) for _ in range(r.randint(0, 3))]
        assert isinstance(spec, CString)
        if spec.name in ("schedule_delivery_time", "validity_period"):
            return r.choice(_TIMES)[: spec.most]
        if "addr" in spec.name and r.random() < 0.7:
            return self._number()[: spec.most]
        text = r.choice(("", "a", "MSG-000000000000", "fuzz", "\xff" * spec.most, "%s%n\r\n", "'; --", "A" * spec.most))
        return text[: spec.most]

    def _number(self) -> str:
        return f"96278{self.random.randint(0, 9_999_999):07d}"

    def _harm(self, pdu: bytearray) -> None:
        """One change to a PDU; its length is put right afterwards."""
        r = self.random
        size = len(pdu)
        kind = r.randint(0, 9)
        if kind == 0 and size > 16:  # cut off
            del pdu[r.randint(16, size - 1) :]
        elif kind == 1:  # more than there should be
            pdu += r.randbytes(r.randint(1, 40))
        elif kind == 2 and size > 16:  # strings without an end
            for at in range(16, size):
                if pdu[at] == 0 and r.random() < 0.5:
                    pdu[at] = 0x41
        elif kind == 3:  # a TLV that goes beyond the end
            pdu += r.choice(_TAGS).to_bytes(2, "big") + r.choice((1, 5, 0xFF, 0xFFFF)).to_bytes(2, "big") + r.randbytes(r.choice((0, 3)))
        elif kind == 4:  # half a TLV
            pdu += r.randbytes(r.randint(1, 3))
        elif kind == 5:
            pdu[12:16] = r.choice(_SEQUENCES).to_bytes(4, "big")
        elif kind == 6:
            pdu[8:12] = r.getrandbits(32).to_bytes(4, "big")
        elif kind == 7 and size > 16:
            for _ in range(r.randint(1, 6)):
                pdu[r.randint(16, size - 1)] = r.getrandbits(8)
        elif kind == 8 and size > 17:  # octets taken out or put in
            at = r.randint(16, size - 1)
            if r.random() < 0.5:
                del pdu[at : at + r.randint(1, 8)]
            else:
                pdu[at:at] = r.randbytes(r.randint(1, 8))
        elif kind == 9 and r.random() < 0.02:  # nearly as long as may be
            pdu += b"\x04\x24" + (60_000).to_bytes(2, "big") + r.randbytes(1) * 60_000


def known_cases() -> list[tuple[str, bytes]]:
    """Name and octets of every line of corpus.txt."""
    found = []
    for line in (Path(__file__).parent / "corpus.txt").read_text("ascii").splitlines():
        if line and not line.startswith("#"):
            name, _, octets = line.partition(":")
            found.append((name.strip(), bytes.fromhex(octets)))
    return found
