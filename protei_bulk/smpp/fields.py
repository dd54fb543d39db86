"""How one field of a PDU is written (SMPP 3.4 section 3.1)."""

from __future__ import annotations

from attrs import frozen

from protei_bulk.smpp.errors import RejectPdu
from protei_bulk.smpp.statuses import ESME_RINVDESTFLAG, ESME_RINVDLNAME, ESME_RINVDSTADR, ESME_RINVMSGLEN


@frozen
class Whole:
    """An unsigned integer of `octets` octets, big-endian."""

    name: str
    octets: int = 1
    default: int = 0

    def read(self, buf: bytes, at: int, end: int) -> tuple[int, int]:
        if at + self.octets > end:
            raise RejectPdu(ESME_RINVMSGLEN, f"{self.name} is cut off")
        return int.from_bytes(buf[at : at + self.octets], "big"), at + self.octets

    def write(self, value: object) -> bytes:
        if not isinstance(value, int):
            raise ValueError(f"{self.name}: expected a whole number")
        try:
            return value.to_bytes(self.octets, "big")
        except OverflowError:
            raise ValueError(f"{self.name}: {value} does not fit {self.octets} octets") from None


@frozen
class CString:
    """Octets up to a NUL; at most `most` of them without it. `status` refuses one that is too long."""

    name: str
    most: int
    status: int = ESME_RINVMSGLEN
    default: str = ""

    def read(self, buf: bytes, at: int, end: int) -> tuple[str, int]:
        stop = buf.find(0, at, end)
        if stop < 0:
            raise RejectPdu(self.status, f"{self.name} has no end")
        if stop - at > self.most:
            raise RejectPdu(self.status, f"{self.name} is longer than {self.most} octets")
        return buf[at:stop].decode("latin-1"), stop + 1

    def write(self, value: object) -> bytes:
        if not isinstance(value, str):
            raise ValueError(f"{self.name}: expected text")
        data = value.encode("latin-1", "replace")
        if len(data) > self.most or 0 in data:
            raise ValueError(f"{self.name}: at most {self.most} octets without NUL")
        return data + b"\0"


@frozen
class Octets:
    """A length octet and so many octets."""

    name: str
    default: bytes = b""

    def read(self, buf: bytes, at: int, end: int) -> tuple[bytes, int]:
        if at >= end or at + 1 + buf[at] > end:
            raise RejectPdu(ESME_RINVMSGLEN, f"{self.name} goes beyond the PDU")
        stop = at + 1 + buf[at]
        return buf[at + 1 : stop], stop

    def write(self, value: object) -> bytes:
        if not isinstance(value, bytes) or len(value) > 255:
            raise ValueError(f"{self.name}: expected at most 255 octets")
        return bytes((len(value),)) + value


@frozen
class Destinations:
    """number_of_dests and dest_address(es) of submit_multi (SMPP 3.4 section 4.5.1).

    A list of (TON, NPI, address) for SME addresses and of plain names for distribution lists.
    """

    name: str
    default: tuple[object, ...] = ()

    def read(self, buf: bytes, at: int, end: int) -> tuple[list[object], int]:
        count, at = Whole("number_of_dests").read(buf, at, end)
        found: list[object] = []
        for _ in range(count):
            flag, at = Whole("dest_flag").read(buf, at, end)
            if flag == 1:
                ton, at = Whole("dest_addr_ton").read(buf, at, end)
                npi, at = Whole("dest_addr_npi").read(buf, at, end)
                address, at = CString("destination_addr", 20, ESME_RINVDSTADR).read(buf, at, end)
                found.append((ton, npi, address))
            elif flag == 2:
                name, at = CString("dl_name", 20, ESME_RINVDLNAME).read(buf, at, end)
                found.append(name)
            else:
                raise RejectPdu(ESME_RINVDESTFLAG, f"dest_flag {flag}")
        return found, at

    def write(self, value: object) -> bytes:
        if not isinstance(value, list | tuple) or len(value) > 255:
            raise ValueError(f"{self.name}: expected at most 255 destinations")
        out = [bytes((len(value),))]
        for d in value:
            if isinstance(d, str):
                out.append(b"\2" + CString("dl_name", 20).write(d))
            else:
                out.append(bytes((1, d[0], d[1])) + CString("destination_addr", 20).write(d[2]))
        return b"".join(out)


@frozen
class Failures:
    """no_unsuccess and unsuccess_sme(s) of submit_multi_resp: (TON, NPI, address, error_status_code) each."""

    name: str
    default: tuple[object, ...] = ()

    def read(self, buf: bytes, at: int, end: int) -> tuple[list[object], int]:
        count, at = Whole("no_unsuccess").read(buf, at, end)
        found: list[object] = []
        for _ in range(count):
            ton, at = Whole("dest_addr_ton").read(buf, at, end)
            npi, at = Whole("dest_addr_npi").read(buf, at, end)
            address, at = CString("destination_addr", 20).read(buf, at, end)
            status, at = Whole("error_status_code", 4).read(buf, at, end)
            found.append((ton, npi, address, status))
        return found, at

    def write(self, value: object) -> bytes:
        if not isinstance(value, list | tuple) or len(value) > 255:
            raise ValueError(f"{self.name}: expected at most 255 failures")
        return bytes((len(value),)) + b"".join(
            bytes((ton, npi))
            + CString("destination_addr", 20).write(address)
            + Whole("error_status_code", 4).write(status)
            for ton, npi, address, status in value
        )


FieldSpec = Whole | CString | Octets | Destinations | Failures
