"""POST /api/getDLR: what became of messages, a page at a time, and GET /api/getBalance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Balance
from protei_bulk.callbacks.payload import iso_time, shown_error
from protei_bulk.channels.http import fields
from protei_bulk.channels.http.fields import invalid
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.model import lifecycle
from protei_bulk.model.account import Account
from protei_bulk.store.deliveries import CampaignRef, Delivery

LIMIT, MOST = 100, 1000
_CURSOR = re.compile(r"(MSG-[0-9A-HJKMNP-TV-Z]{12})\.([0-9]{1,9})\Z")
_STATUSES = frozenset(lifecycle.ALLOWED_FROM)


class Reports(Protocol):
    """store.deliveries.Deliveries."""

    def campaign(self, public_id: str, user_id: int) -> Deferred[CampaignRef | None]: ...

    def of_campaign(
        self,
        campaign: CampaignRef,
        user_id: int,
        *,
        after: str,
        limit: int,
        msisdn: str | None = None,
        status: str | None = None,
    ) -> Deferred[list[Delivery]]: ...

    def by_ids(
        self,
        message_ids: Sequence[str],
        user_id: int,
        *,
        campaign: int | None = None,
        msisdn: str | None = None,
        status: str | None = None,
    ) -> Deferred[list[Delivery]]: ...

    def campaign_failed(self, campaign: int) -> Deferred[int]: ...


class Balances(Protocol):
    """store.usage.UsageReads."""

    def balance(self, user_id: int) -> Deferred[Balance | None]: ...


class GetDlr:
    """Asks by campaign, by message ids, or both; `msisdn` and `status` narrow that down.

    `total` is the campaign's number of messages where it is asked for as a whole, else that of the records.
    """

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def __call__(self, account: Account, body: object) -> Reply:
        if not isinstance(body, dict):
            raise invalid("$", f"expected an object, got {fields.kind(body)}")
        public_id = fields.text(body, "campaign_id", longest=64)
        wanted = _message_ids(body)
        narrow = {"msisdn": _msisdn(body), "status": _status(body)}
        limit = fields.whole(body, "limit", LIMIT, 1, MOST)
        after, seen = _cursor(body)
        if not public_id and wanted is None:
            raise invalid("$.campaign_id", "is required where there is no message_id")
        campaign = None
        if public_id:
            campaign = await self._reports.campaign(public_id, account.user_id)
            if campaign is None:
                raise Problem(404, "CAMPAIGN_NOT_FOUND", f"There is no campaign {public_id}")
        if wanted is not None:
            found = await self._by_ids(account, wanted, campaign, narrow)
            return reply({"status": "SUCCESS", "total": len(found), "records": [record(r) for r in found]})
        assert campaign is not None
        whole = not any(narrow.values())
        # Where nothing is left to find, looking on would walk through everybody's messages to the end.
        left = max(0, campaign.total - seen) if whole else MOST + 1
        found = []
        if left:
            found = await self._reports.of_campaign(
                campaign, account.user_id, after=after, limit=min(limit + 1, left), **narrow
            )
        more = len(found) > limit
        found = found[:limit]
        document: dict[str, Any] = {
            "status": "SUCCESS",
            "total": campaign.total if whole else len(found),
            "records": [record(r) for r in found],
        }
        if more:
            document["next_cursor"] = f"{found[-1].message_id}.{seen + len(found)}"
        return reply(document)

    async def _by_ids(
        self, account: Account, wanted: list[str], campaign: CampaignRef | None, narrow: dict[str, str | None]
    ) -> list[Delivery]:
        if not wanted:
            return []
        pk = campaign.campaign if campaign is not None else None
        return await self._reports.by_ids(wanted, account.user_id, campaign=pk, **narrow)


def record(d: Delivery) -> dict[str, Any]:
    long = {"message_id": d.long_id, "part": d.part, "parts": d.parts} if d.long_id is not None else None
    return {
        "message_id": d.message_id,
        "msisdn": d.msisdn,
        "status": d.status,
        "dlr_status": d.dlr_status,
        "submitted_at": iso_time(d.submitted_at),
        "delivered_at": iso_time(d.delivered_at),
        "error_code": shown_error(d.error_code),
        **({"long": long} if long is not None else {}),
    }


async def get_balance(balances: Balances, account: Account) -> Reply:
    """A quota of 0 is none: what remains of it is null."""
    found = await balances.balance(account.user_id)
    if found is None:
        raise Problem(404, "ACCOUNT_NOT_FOUND", "The account no longer exists")
    return reply(
        {
            "status": "SUCCESS",
            "balance": round(float(found.balance), 6),
            "credit_limit": round(float(found.credit_limit), 6),
            "currency": found.currency,
            "messages_sent_today": found.usage.sent,
            "messages_remaining_today": found.usage.remaining,
            "daily_quota": found.usage.max_messages,
        }
    )


def _message_ids(body: dict[str, Any]) -> list[str] | None:
    one = fields.text(body, "message_id", longest=64)
    several = body.get("message_ids")
    if several is None:
        return [one] if one else None
    if not isinstance(several, list):
        raise invalid("$.message_ids", f"expected an array, got {fields.kind(several)}")
    if len(several) > MOST:
        raise invalid("$.message_ids", f"holds more than {MOST} ids")
    for i, value in enumerate(several):
        if not isinstance(value, str) or not 0 < len(value) <= 64 or "\0" in value:
            raise invalid(f"$.message_ids[{i}]", "expected a message id")
    return list(dict.fromkeys([*([one] if one else []), *several]))


def _msisdn(body: dict[str, Any]) -> str | None:
    given = body.get("msisdn")
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    value = fields.text({"msisdn": given}, "msisdn", longest=21)
    return value.removeprefix("+") if value else None


def _status(body: dict[str, Any]) -> str | None:
    value = fields.text(body, "status")
    if not value:
        return None
    if value.upper() not in _STATUSES:
        raise invalid("$.status", f"must be one of {', '.join(sorted(_STATUSES))}")
    return value.upper()


def _cursor(body: dict[str, Any]) -> tuple[str, int]:
    value = fields.text(body, "cursor", longest=40)
    if not value:
        return "", 0
    match = _CURSOR.match(value)
    if match is None:
        raise invalid("$.cursor", "expected the next_cursor of an earlier answer")
    return match[1], int(match[2])
