"""POST /api/sendBulk: one request, one campaign (specification section 3.B).

How it ends:
- 200, status SUCCESS, where at least one message was stored; `errors` names each recipient that was not.
- 422, status FAILED, the same document without a campaign, where no recipient could be taken for what it is.
- 429 QUOTA_EXCEEDED, 402 INSUFFICIENT_BALANCE, 503 QUEUE_FULL or SYSTEM_ERROR, a problem document, where nothing
  was stored and that was (at least partly) why.
- 422, 403, 413 as problem documents where the request itself is at fault; then no recipient was looked at.

The answer leaves after the commit of every message. A request that is under way goes on when its client leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.channels.http.idempotency import Once
from protei_bulk.channels.http.order import BulkOrder, read_order
from protei_bulk.channels.http.problems import Problem, Reply, reply, retry_after
from protei_bulk.channels.http.recipients import MessageMaker, Rejection, check_shape
from protei_bulk.intake.calendar import Calendar
from protei_bulk.model.account import Account
from protei_bulk.model.campaign import Campaign
from protei_bulk.model.message import Message

SLICE = 500  # recipients a turn of the reactor
OUTSTANDING = 5000  # messages of one request that wait for their commit

log = Logger()


class Intake(Protocol):
    def open_campaign(
        self,
        account: Account,
        *,
        channel: str,
        name: str | None,
        sender: str,
        content: str | None,
        encoding: str,
        priority: str,
        dlr_url: str | None,
        schedule_time: float | None,
    ) -> Deferred[Campaign]: ...

    def submit(self, account: Account, m: Message, /) -> None: ...


class Campaigns(Protocol):
    def campaign_failed(self, campaign: int) -> Deferred[int]:
        """Nothing of it was accepted."""
        ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Any, /, *args: Any) -> Any: ...  # noqa: N802


def turn(clock: Clock) -> Deferred[None]:
    """Fires in the reactor's next turn."""
    d: Deferred[None] = Deferred()
    clock.callLater(0, d.callback, None)
    return d


class SendBulk:
    """The endpoint. `calendar` tells when an account's day ends."""

    def __init__(self, intake: Intake, campaigns: Campaigns, clock: Clock, max_recipients: Callable[[], int]) -> None:
        self._intake, self._campaigns, self._clock = intake, campaigns, clock
        self._max_recipients = max_recipients
        self._calendar = Calendar()

    async def __call__(self, account: Account, body: object, once: Once | None = None) -> Reply:
        if not account.can_use_api_bulk:
            raise Problem(403, "NOT_PERMITTED", "Bulk operations are not permitted for this account")
        order = read_order(body, account, self._clock.seconds(), self._max_recipients())
        for begin in range(0, len(order.recipients), SLICE):
            if begin:
                await turn(self._clock)
            for index, recipient in enumerate(order.recipients[begin : begin + SLICE], begin):
                check_shape(index, recipient)
        submission = Submission(self._intake, self._clock, account, order, once)
        await submission.run()
        return await self._answer(account, submission)

    async def _answer(self, account: Account, s: Submission) -> Reply:
        s.rejections.sort(key=lambda r: r.index)
        if s.accepted:
            document = s.document("SUCCESS", "Campaign created successfully.")
            done = {name: document[name] for name in ("campaign_id", "accepted", "rejected")}
            return reply(document, event=("MESSAGES_SUBMITTED", done))
        campaign = s.campaign
        if campaign is not None and campaign.stored:
            # The row stays for the record; whoever lists campaigns must not see it running for ever.
            public_id = campaign.public_id
            await self._campaigns.campaign_failed(campaign.id).addErrback(
                lambda f: log.warn("campaign {id} stays open: {why}", id=public_id, why=f.getErrorMessage())
            )
        codes = {r.code for r in s.rejections}
        counts: dict[str, Any] = {"total_recipients": s.total, "accepted": 0, "rejected": s.total}
        if "QUOTA_EXCEEDED" in codes:
            left = self._calendar.seconds_left(account.timezone, self._clock.seconds())
            raise Problem(429, "QUOTA_EXCEEDED", "Daily quota exceeded", headers=retry_after(left), **counts)
        if "INSUFFICIENT_BALANCE" in codes:
            raise Problem(402, "INSUFFICIENT_BALANCE", "Insufficient balance", **counts)
        for code in ("QUEUE_FULL", "SYSTEM_ERROR"):
            if code in codes:
                detail = next(r.error for r in s.rejections if r.code == code)
                raise Problem(503, code, detail, headers=retry_after(5), **counts)
        first = s.rejections[0]
        document = s.document("FAILED", "No recipient was accepted.")
        return reply(document, 422, error=f"{first.code}: {first.error}")


class Submission:
    """Hands an order's messages to the intake, a slice a turn, and gathers what became of them.

    `once`: the request has an Idempotency-Key; what is stored of it already is not handed in again.
    """

    def __init__(self, intake: Intake, clock: Clock, account: Account, order: BulkOrder, once: Once | None = None) -> None:
        self._intake, self._clock, self._account, self._order, self._once = intake, clock, account, order, once
        self._maker = MessageMaker(order)
        self._waiter: Deferred[None] | None = None
        self._enough = 0
        self._outstanding = 0
        self.campaign: Campaign | None = None
        self.total = len(order.recipients)
        self.accepted = 0
        self.rejections: list[Rejection] = []

    async def run(self) -> None:
        recipients = self._order.recipients
        for begin in range(0, len(recipients), SLICE):
            if begin:
                await turn(self._clock)
                await self._at_most(OUTSTANDING)
            messages = []
            for index, recipient in enumerate(recipients[begin : begin + SLICE], begin):
                made = self._maker.make(index, recipient)
                if isinstance(made, Message):
                    if self._once is not None and self._once.has(made):
                        self.accepted += 1
                    else:
                        messages.append(made)
                else:
                    self.rejections.append(made)
            if messages:
                await self._submit(messages)
        await self._at_most(0)

    async def _submit(self, messages: list[Message]) -> None:
        order, once = self._order, self._once
        if once is not None:
            once.check()
        campaign = self.campaign
        if campaign is None:
            campaign = self.campaign = await self._intake.open_campaign(
                self._account,
                channel="HTTP_API",
                name=order.name,
                sender=order.sender,
                content=order.template,
                encoding=order.encoding,
                priority=order.priority_name,
                dlr_url=order.dlr_url,
                schedule_time=order.not_before or None,
            )
            if once is not None:
                once.adopt(campaign)
        self._outstanding += len(messages)
        account, number, submit = self._account, campaign.id, self._intake.submit
        for m in messages:
            m.campaign_id = number
            m.opens = campaign
            m.origin = self
            submit(account, m)

    def answered(self, messages: list[Message]) -> None:
        """The intake's word on a batch, after its commit."""
        for m in messages:
            refusal = m.refusal
            if refusal is None:
                self.accepted += 1
            else:
                error = f"{refusal.text}: {m.refusal_detail}" if m.refusal_detail else refusal.text
                self.rejections.append(Rejection(m.sequence, m.dest, refusal.code, error))
        self._outstanding -= len(messages)
        waiter = self._waiter
        if waiter is not None and self._outstanding <= self._enough:
            self._waiter = None
            waiter.callback(None)

    async def _at_most(self, messages: int) -> None:
        if self._outstanding > messages:
            self._enough = messages
            self._waiter = Deferred()
            await self._waiter

    def document(self, status: str, what: str) -> dict[str, Any]:
        rejected = len(self.rejections)
        public_id: str | None = None
        if status == "SUCCESS":
            known = self.campaign or self._once
            public_id = known.public_id if known is not None else None
        return {
            "status": status,
            "campaign_id": public_id,
            "total_recipients": self.total,
            "accepted": self.accepted,
            "rejected": rejected,
            "message": f"{what} {self.accepted} messages queued, {rejected} rejected.",
            "errors": [r.as_json() for r in self.rejections],
        }
