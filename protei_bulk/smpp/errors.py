"""The two ways in which input can be wrong."""

from __future__ import annotations


class RejectPdu(Exception):  # noqa: N818
    """One PDU cannot be taken: answer with `status` and go on."""

    def __init__(self, status: int, detail: str = "") -> None:
        super().__init__(f"status 0x{status:x}" + (f": {detail}" if detail else ""))
        self.status = status
        self.detail = detail


class CorruptStream(Exception):  # noqa: N818
    """Where the next PDU begins is unknown: drop the connection."""
