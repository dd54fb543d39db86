"""The request of POST /api/sendBulk, read and checked: what holds for all its recipients. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import frozen

from protei_bulk.channels.http import fields
from protei_bulk.channels.http.fields import invalid
from protei_bulk.channels.http.problems import Problem
from protei_bulk.model import senders
from protei_bulk.model.account import Account, matches_any
from protei_bulk.model.urls import MAX_URL as MAX_URL
from protei_bulk.model.urls import url_fault

PRIORITIES = {"LOW": 0, "NORMAL": 1, "HIGH": 2, "URGENT": 3}
ENCODINGS = {"GSM7": "GSM7", "UCS2": "UCS2", "UNICODE": "UCS2", "LATIN1": "LATIN1", "AUTO": "AUTO"}
MAX_TEXT = 40_000  # characters; 255 segments hold 39,015
MAX_TAGS = 20
MAX_AHEAD = 366 * 86_400.0  # seconds that a schedule may lie ahead


@frozen
class BulkOrder:
    """not_before: Unix seconds, 0.0 for at once. recipients: as they came, unchecked.

    smart: a text that only typography keeps out of the GSM alphabet is brought into it, whatever `encoding` says.
    """

    sender: str
    source_ton: int
    source_npi: int
    template: str | None
    encoding: str
    priority_name: str
    priority: int
    dlr_url: str | None
    name: str | None
    not_before: float
    recipients: list[Any]
    smart: bool = False
    tags: tuple[str, ...] = ()


def read_order(body: object, account: Account, now: float, max_recipients: int) -> BulkOrder:
    """Raises Problem. Fields that are not known are ignored."""
    if not isinstance(body, dict):
        raise invalid("$", f"expected an object, got {fields.kind(body)}")
    recipients = body.get("recipients")
    if not isinstance(recipients, list):
        fault = "is required" if recipients is None else f"expected an array, got {fields.kind(recipients)}"
        raise invalid("$.recipients", fault)
    if not recipients:
        raise invalid("$.recipients", "must not be empty")
    if len(recipients) > max_recipients:
        raise Problem(
            413, "TOO_MANY_RECIPIENTS", f"{len(recipients)} recipients are more than {max_recipients}",
            max_recipients=max_recipients,
        )  # fmt: skip
    sender, ton, npi = read_sender(body)
    encoding = ENCODINGS.get((fields.text(body, "encoding") or "GSM7").upper())
    if encoding is None:
        raise invalid("$.encoding", "must be one of GSM7, UCS2, LATIN1, AUTO")
    priority = (fields.text(body, "priority") or "NORMAL").upper()
    if priority not in PRIORITIES:
        raise invalid("$.priority", "must be one of LOW, NORMAL, HIGH, URGENT")
    order = BulkOrder(
        sender,
        ton,
        npi,
        fields.text(body, "message", longest=MAX_TEXT),
        encoding,
        priority,
        PRIORITIES[priority],
        read_url(body),
        fields.text(body, "campaign_name", longest=200),
        read_schedule(body, account.timezone, now),
        recipients,
        fields.flag(body, "smart"),
        read_tags(body),
    )
    if not matches_any(sender, account.allowed_sender_ids):
        raise Problem(403, "SENDER_NOT_ALLOWED", "Sender ID not allowed", sender=sender)
    return order


def read_sender(body: Mapping[str, Any]) -> tuple[str, int, int]:
    """(sender, TON, NPI): up to 11 characters of text, or a number of up to 15 digits."""
    sender = fields.text(body, "sender", required=True)
    assert sender is not None
    try:
        return senders.read_sender(sender)
    except ValueError as error:
        raise invalid("$.sender", str(error)) from None


def read_tags(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Words that rules of routing may ask for."""
    tags = body.get("tags")
    if tags is None:
        return ()
    if not isinstance(tags, list) or len(tags) > MAX_TAGS:
        raise invalid("$.tags", f"expected an array of at most {MAX_TAGS} words")
    for n, tag in enumerate(tags):
        if not isinstance(tag, str) or not 0 < len(tag) <= 64 or not tag.isprintable():
            raise invalid(f"$.tags[{n}]", "expected a word of at most 64 characters")
    return tuple(tags)


def read_url(body: Mapping[str, Any]) -> str | None:
    url = fields.text(body, "dlr_url", longest=MAX_URL)
    if not url:
        return None
    fault = url_fault(url)
    if fault:
        raise invalid("$.dlr_url", fault)
    return url


def read_schedule(body: Mapping[str, Any], zone: str, now: float) -> float:
    """Unix seconds; 0.0 where there is none or it has passed already."""
    given = fields.text(body, "schedule_time", longest=64)
    if not given:
        return 0.0
    try:
        moment = datetime.fromisoformat(given.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=_zone(zone))
        when = moment.timestamp()
    except (ValueError, OverflowError):
        raise invalid("$.schedule_time", "expected a time like 2025-01-20T10:00:00 or 2025-01-20T10:00:00+03:00") from None
    if when > now + MAX_AHEAD:
        raise invalid("$.schedule_time", "is more than a year ahead")
    return when if when > now else 0.0


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
