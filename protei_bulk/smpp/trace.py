"""PDUs as one readable line each, for operators: who, what, and how long the texts are, never what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from protei_bulk.smpp import commands, statuses, tags
from protei_bulk.smpp.codec import decode
from protei_bulk.smpp.errors import CorruptStream, RejectPdu
from protei_bulk.smpp.framer import Frame, Framer

_MASKED = frozenset({"password", "short_message"})
_TEXT_TAGS = frozenset({tags.RECEIPTED_MESSAGE_ID})
_SHOWN_OCTETS = 16  # of a TLV
_RECEIPT = re.compile(r"\b(id|sub|dlvrd|submit date|done date|stat|err):([\x21-\x7e]{1,64})", re.ASCII)
_MESSAGE_TYPE = 0x3C  # bits of esm_class: what a deliver_sm is, other than a message (SMPP 3.4 section 5.2.12)


def describe(command: int, status: int, sequence: int, body: bytes) -> str:
    """One line without line ends: bodies and passwords by their length, TLVs by name. Never raises."""
    words = [commands.name(command), f"seq={sequence}"]
    if command & commands.RESP or status:
        words.append(statuses.name(status))
    header = (16 + len(body)).to_bytes(4, "big") + command.to_bytes(4, "big") + status.to_bytes(4, "big") + sequence.to_bytes(4, "big")
    try:
        pdu = decode(header + body)
    except (RejectPdu, CorruptStream) as error:
        words.append(f"({len(body)} octets: {error})")
        return " ".join(words)
    receipt = command == commands.DELIVER_SM and pdu.fields.get("esm_class", 0) & _MESSAGE_TYPE
    for name, value in pdu.fields.items():
        words.append(f"{name}={_receipt(value) if receipt and name == 'short_message' else _shown(name, value)}")
    words += [f"{tags.name(tag)}={_tlv(tag, value)}" for tag, value in pdu.tlvs.items()]
    return " ".join(words)


def _length(value: Any) -> str:
    return f"({len(value)} octets)"


def _shown(name: str, value: Any) -> str:
    if name in _MASKED or isinstance(value, bytes):
        return _length(value)
    return ascii(value) if isinstance(value, str) else ascii(value).replace(" ", "")


def _receipt(body: bytes) -> str:
    """What a receipt says, without the beginning of the message that it repeats."""
    text = body.decode("latin-1")
    end = re.search(r"\btext:", text, re.IGNORECASE)
    found = [f"{name}:{value}" for name, value in _RECEIPT.findall(text[: end.start()] if end else text)]
    return f"{_length(body)}[{' '.join(found)}]"


def _tlv(tag: int, value: bytes) -> str:
    if tag in _TEXT_TAGS:
        return ascii(value.rstrip(b"\0")[:64].decode("latin-1"))
    known = not tags.name(tag).startswith("0x")
    if tag == tags.MESSAGE_PAYLOAD or not known or len(value) > _SHOWN_OCTETS:
        return _length(value)  # what a vendor puts into its own may be anything
    return "0x" + value.hex()


class Trace:
    """Writes the PDUs of one account or connector, at most `most` a second; says how many it left out.

    `now()` gives seconds.
    """

    def __init__(self, subject: str, write: Callable[[str], None], now: Callable[[], float], most: int = 200) -> None:
        self.subject = subject
        self._write, self._now, self._most = write, now, most
        self._second = 0
        self._lines = self._left_out = 0

    def read(self, buf: bytes, frames: Iterable[Frame], peer: str) -> None:
        """What a peer has sent: frames of a Framer in their buffer."""
        for command, status, sequence, start, end in frames:
            if self._may():
                self._write(f"{peer} in  {describe(command, status, sequence, buf[start:end])}")

    def wrote(self, data: bytes, peer: str) -> None:
        """Whole PDUs that go to a peer."""
        buf, frames = Framer().feed(data)
        for command, status, sequence, start, end in frames:
            if self._may():
                self._write(f"{peer} out {describe(command, status, sequence, buf[start:end])}")

    def flush(self) -> None:
        """Says what was left out in a second that is over."""
        second = int(self._now())
        if second != self._second:
            if self._left_out:
                self._write(f"{self.subject}: {self._left_out} more suppressed")
            self._second, self._lines, self._left_out = second, 0, 0

    def _may(self) -> bool:
        self.flush()
        if self._lines >= self._most:
            self._left_out += 1
            return False
        self._lines += 1
        return True
