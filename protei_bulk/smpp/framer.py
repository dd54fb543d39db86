"""Cuts a stream of octets into PDUs, a whole buffer at once."""

from __future__ import annotations

from struct import Struct

from protei_bulk.smpp.errors import CorruptStream

_HEADER = Struct(">IIII")
Frame = tuple[int, int, int, int, int]


class Framer:
    """`max_pdu` bounds command_length, in octets (SMPP 3.4 section 3.2)."""

    __slots__ = ("_rest", "corrupt", "max_pdu")

    def __init__(self, max_pdu: int = 65536) -> None:
        self.max_pdu = max_pdu
        self.corrupt: CorruptStream | None = None
        self._rest = b""

    def feed(self, data: bytes) -> tuple[bytes, list[Frame]]:
        """The buffer, and of each whole PDU in it the Frame.

        A Frame is (command_id, command_status, sequence_number, start of body, end). A command_length
        below 16 or above max_pdu sets `corrupt`: the PDUs before it are returned, none after it.
        """
        if self.corrupt is not None:
            return b"", []
        buf = self._rest + data if self._rest else data
        frames: list[Frame] = []
        append = frames.append
        unpack = _HEADER.unpack_from
        at, end, most = 0, len(buf), self.max_pdu
        while end - at >= 16:
            length, command, status, sequence = unpack(buf, at)
            if length < 16 or length > most:
                self.corrupt = CorruptStream(f"command_length {length} is not in 16..{most}")
                break
            if end - at < length:
                break
            append((command, status, sequence, at + 16, at + length))
            at += length
        # A bad length shows in four octets: no need to wait for the whole header.
        if self.corrupt is None and 4 <= end - at < 16:
            length = int.from_bytes(buf[at : at + 4], "big")
            if length < 16 or length > most:
                self.corrupt = CorruptStream(f"command_length {length} is not in 16..{most}")
        self._rest = b"" if self.corrupt is not None else buf[at:]
        return buf, frames
