"""What the simulated SMSC's mobiles send: pure but for chance, which is passed in."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from protei_bulk.smpp import commands, fast, tags
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.text.segments import encode_text, sar_tlvs

FORMS = ("udh8", "udh16", "sar", "payload", "data")
ORDERS = ("in-order", "reverse", "shuffle")


@frozen
class Mobiles:
    """`text` may hold {n}, the number of the message from 1. Times in seconds.

    form: how a long one is written: a header with a reference of 8 or 16 bits, sar_* TLVs, message_payload, data_sm.
    """

    every: float
    source: str = "962790000001"
    dest: str = "12345"
    text: str = "STOP"
    count: int = 0  # then no more; 0 is no end
    at_once: int = 1  # messages each time
    form: str = "udh8"
    order: str = "in-order"  # of the parts
    gap: float = 0.0  # between the parts
    repeat: float = 0.0  # percent of PDUs sent twice

    def pdus(self, n: int, chance: Callable[[], float]) -> list[bytes]:
        """The deliver_sm or data_sm of message `n`, with sequence_number 0, in the order in which they go out."""
        encoded = encode_text(self.text.replace("{n}", str(n)), "AUTO", n, wide=self.form == "udh16")
        made = [
            self._pdu(encoded.data_coding, udh, body, (n & 0xFFFF, encoded.segments, number))
            for number, (udh, body) in enumerate(zip(encoded.udhs, encoded.parts, strict=True), 1)
        ]
        if self.form in ("payload", "data"):
            made = [self._whole(encoded.data_coding, encoded.body)]
        if self.order == "reverse":
            made.reverse()
        elif self.order == "shuffle":
            made.sort(key=lambda _: chance())
        return [pdu for pdu in made for _ in range(2 if chance() * 100 < self.repeat else 1)]

    def _pdu(self, coding: int, udh: bytes, body: bytes, place: tuple[int, int, int]) -> bytes:
        options = b""
        if udh and self.form == "sar":
            udh, options = b"", sar_tlvs(*place)
        return fast.encode_sm(
            commands.DELIVER_SM, 0, b"", 1, 1, self.source, 1, 1, self.dest, 0x40 if udh else 0, 0, 0, b"", b"", 0, 0, coding, 0,
            udh + body, options,
        )  # fmt: skip

    def _whole(self, coding: int, body: bytes) -> bytes:
        payload = {tags.MESSAGE_PAYLOAD: body}
        if self.form == "data":
            fields = {
                "source_addr_ton": 1, "source_addr_npi": 1, "source_addr": self.source, "dest_addr_ton": 1, "dest_addr_npi": 1,
                "destination_addr": self.dest, "data_coding": coding,
            }  # fmt: skip
            return encode(Pdu(commands.DATA_SM, 0, 0, fields, payload))
        return fast.encode_sm(
            commands.DELIVER_SM, 0, b"", 1, 1, self.source, 1, 1, self.dest, 0, 0, 0, b"", b"", 0, 0, coding, 0, b"",
            fast.encode_tlvs(payload),
        )  # fmt: skip


def acknowledgement(kind: int, source: tuple[int, int, str], dest: tuple[int, int, str], id: str, reference: bytes | None) -> bytes:
    """An SME's answer to a message: its source and dest, the SMSC's id, the ESME's user_message_reference."""
    options = {tags.RECEIPTED_MESSAGE_ID: id.encode() + b"\0"}
    if reference is not None:
        options[tags.USER_MESSAGE_REFERENCE] = reference
    return fast.encode_sm(
        commands.DELIVER_SM, 0, b"", *dest, *source, kind, 0, 0, b"", b"", 0, 0, 0, 0, b"read", fast.encode_tlvs(options)
    )
