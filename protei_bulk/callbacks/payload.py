"""What a customer's callback is told: receipts as the specification's section 5 has them, messages from mobiles. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from protei_bulk.inbound.message import Mo

KEYS = (
    "message_id", "msisdn", "sender", "status", "error_code", "dlr_text", "submitted_at", "delivered_at", "timestamp",
)  # fmt: skip
MO_KEYS = (
    "type", "message_id", "from", "to", "text", "payload", "data_coding", "udh", "esm_class", "smsc_id", "parts", "missing", "received_at",
    "timestamp",
)  # fmt: skip

TEXTS = {
    "DELIVRD": "Message delivered successfully",
    "ACCEPTD": "Message accepted by SMSC",
    "ENROUTE": "Message in transit",
    "SCHEDULED": "Message scheduled",
    "UNDELIV": "Message undelivered",
    "REJECTD": "Message rejected by SMSC",
    "REJECTED": "Message rejected by SMSC",
    "EXPIRED": "Message validity expired",
    "DELETED": "Message deleted",
    "SKIPPED": "Message skipped",
    "UNKNOWN": "Message state unknown",
}
_NO_ERROR = frozenset({"", "0", "00", "000", "0000"})


def iso_time(unix: float | None) -> str | None:
    """``2025-01-16T10:00:05Z`` for Unix seconds."""
    if unix is None:
        return None
    return datetime.fromtimestamp(int(unix), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown_error(code: str | None) -> str | None:
    """An SMSC's error code, None where it says that there was none."""
    return None if code is None or code in _NO_ERROR else code


def dlr_payload(
    message_id: str,
    msisdn: str,
    sender: str,
    stat: str,
    error_code: str | None,
    submitted_ts: float,
    delivered_ts: float | None,
) -> dict[str, Any]:
    """The payload as it is stored; `timestamp` is filled in when it is sent. Times in Unix seconds."""
    return {
        "message_id": message_id,
        "msisdn": msisdn,
        "sender": sender,
        "status": stat,
        "error_code": shown_error(error_code),
        "dlr_text": TEXTS.get(stat, f"Message state {stat}"),
        "submitted_at": iso_time(submitted_ts),
        "delivered_at": iso_time(delivered_ts),
        "timestamp": None,
    }


def mo_payload(m: Mo) -> dict[str, Any]:
    """`payload` and `udh` in hexadecimal; `payload` only where there is no text."""
    return {
        "type": "mo", "message_id": m.id, "from": m.source, "to": m.dest, "text": m.text,
        "payload": m.body.hex() if m.text is None else None, "data_coding": m.data_coding, "udh": m.udh.hex() or None,
        "esm_class": m.esm_class, "smsc_id": m.smsc, "parts": m.parts, "missing": m.missing, "received_at": iso_time(m.received),
        "timestamp": None,
    }  # fmt: skip


def body_at(payload: Mapping[str, Any], now: float) -> bytes:
    """The octets to send at Unix time `now`; keys in their order (JSONB keeps none)."""
    ordered = {key: payload.get(key) for key in (MO_KEYS if payload.get("type") == "mo" else KEYS)}
    ordered.update((k, v) for k, v in payload.items() if k not in ordered)
    ordered["timestamp"] = iso_time(now)
    return orjson.dumps(ordered)
