"""Campaigns are paused, go on, and are cancelled: those of requests as well as those made in the portal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from protei_bulk.campaigns.desk import CampaignDesk, NotReady, Unknown
from protei_bulk.campaigns.states import NotPossible
from protei_bulk.channels.http.exchange import Exchange
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.channels.http.shapes import Body, Text

WHY = Body({"reason": Text(300, 0, about="for whoever reads it later")})


class CampaignsApi:
    def __init__(self, desk: CampaignDesk, optional: Callable[[Exchange], object]) -> None:
        self._desk, self._optional = desk, optional

    def act(self, name: str) -> Callable[[Exchange], Awaitable[Reply]]:
        """The handler that does one of the things that campaigns/states.py names."""

        async def run(x: Exchange) -> Reply:
            reason = WHY.read(self._optional(x)).get("reason") or ""
            try:
                state = await self._desk.act(x.who, x.path["id"], name, reason=reason, ip=x.ip)
            except Unknown:
                raise Problem(404, "CAMPAIGN_NOT_FOUND", "There is no such campaign") from None
            except (NotPossible, NotReady) as error:
                raise Problem(409, "NOT_POSSIBLE", str(error)) from None
            return reply({"status": "SUCCESS", "campaign_id": x.path["id"], "campaign_status": state})

        return run
