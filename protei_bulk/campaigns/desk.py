"""What people do with campaigns: submit, approve, pause, resume, cancel. Checks who may, from which state, and whether it is ready."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from attrs import evolve

from protei_bulk.access.ports import Actor
from protei_bulk.campaigns import states
from protei_bulk.campaigns.draft import Draft, Fault, faults
from protei_bulk.campaigns.states import NotPossible
from protei_bulk.model.account import Account
from protei_bulk.model.permissions import Permission, Scope, scope_of
from protei_bulk.store.campaigns import CampaignRows, Standing
from protei_bulk.store.drafts import Drafts
from protei_bulk.store.pages import Reach

_CODE = re.compile(r"[A-Z_]+\Z")
#: of campaigns that came by request: they have no draft to go back to
_OF_REQUESTS = frozenset({"pause", "resume", "cancel"})


class Unknown(LookupError):
    """There is no such campaign, as far as this reader is concerned."""


class NotReady(ValueError):
    """The draft cannot be sent yet."""

    def __init__(self, found: list[Fault]) -> None:
        super().__init__(", ".join(f"{f.step}: {f.code}" for f in found))
        self.faults = found


class Row(Protocol):
    """What `possible` needs to know of a campaign."""

    @property
    def user_id(self) -> int: ...
    @property
    def customer_id(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def planned(self) -> bool: ...
    @property
    def daily(self) -> bool: ...
    @property
    def submitted_by(self) -> int | None: ...


class Numbered(Protocol):
    """What a campaign that is made is known by: campaigns.id and CAMP-…"""

    @property
    def id(self) -> int: ...
    @property
    def public_id(self) -> str: ...


class CampaignDesk:
    """`number(account)` gives what a new draft is to be known by. `now()`: Unix seconds."""

    def __init__(self, rows: CampaignRows, drafts: Drafts, now: Callable[[], float],
                 number: Callable[[Account], Awaitable[Numbered]]) -> None:  # fmt: skip
        self._rows, self._drafts, self._now, self._number = rows, drafts, now, number

    async def act(self, account: Account, public_id: str, name: str, *, reason: str = "", ip: str = "", user_agent: str = "",
                  version: int | None = None) -> str:  # fmt: skip
        """The new state; "" where it was discarded. Raises Unknown, NotPossible, NotReady.

        `version`: of the plan that whoever asks has seen; of another one nothing is done.
        """
        actor = Actor(account.user_id, ip, user_agent)
        if _CODE.match(reason):  # those are the engine's
            reason = f"“{reason}”"
        found = await self._rows.standing(public_id)
        if found is None or not _sees(account, found):
            raise Unknown(public_id)
        if name == "submit" and not found.approval:
            name = "release"
        if name not in _all(account, found):
            if name in states.TRANSITIONS:
                states.check(name, found.status, mine=_mine(account, found))  # says it better, where the state is why
            raise NotPossible(f"you may not {name} this campaign")
        if name == "discard":
            if not await self._rows.discard(found.pk, actor):
                raise NotPossible("it is no draft any more")
            return ""
        transition = states.check(name, found.status, mine=_mine(account, found))
        if name in ("submit", "release"):
            ready = await self._ready(account, found)
            version = ready if version is None else version
        moved = await self._rows.move(
            found.pk, name, transition.sources, transition.target, actor=actor, reason=reason, version=version
        )
        if not moved:
            raise NotPossible("somebody else has just changed this campaign")
        if name == "resume" and not found.planned:
            await self._rows.complete(found.pk)
        return transition.target

    def possible(self, account: Account, campaign: Row) -> list[str]:
        """What this reader may do with it now, in the order of the table; `submit` stands for `release` too."""
        names = ["submit" if n == "release" else n for n in _all(account, campaign)]
        return list(dict.fromkeys(names))

    async def copy(self, account: Account, public_id: str, *, name: str = "", ip: str = "", user_agent: str = "") -> str:
        """A new draft with the same content, of whoever asks; its public id. Its time is not copied. Raises Unknown, NotPossible."""
        found = await self._rows.standing(public_id)
        if found is None or not _sees(account, found):
            raise Unknown(public_id)
        if not found.planned or scope_of(account.role, Permission.SEND) is Scope.NONE:
            raise NotPossible("only campaigns that were made here can be copied, by those who may send")
        stored = await self._drafts.get(Reach(customer_id=found.customer_id), public_id)
        if stored is None or found.customer_id != account.customer_id:
            raise NotPossible("recipients and texts of another customer stay there")
        old = stored.draft
        schedule = evolve(old.schedule, when="now", at="")
        fresh: Draft = evolve(old, name=name or old.name, schedule=schedule, changed={"recipients": 1, "message": 1})
        ids = await self._number(account)
        await self._drafts.make(ids.id, ids.public_id, account.user_id, account.customer_id, fresh, Actor(account.user_id, ip, user_agent))
        return ids.public_id

    async def _ready(self, account: Account, found: Standing) -> int:
        """The version of the plan that is ready. Raises NotReady."""
        stored = await self._drafts.get(Reach(user_id=found.user_id), found.id)
        if stored is None:
            raise Unknown(found.id)
        wrong = faults(stored.draft, account, self._now())
        if not any(f.step == "recipients" for f in wrong):
            if not stored.recipients_ready:
                wrong.append(Fault("recipients", "numbers", "NOT_GATHERED"))
            elif not stored.gathering.get("accepted"):
                wrong.append(Fault("recipients", "numbers", "NOBODY_LEFT"))
            elif not stored.measure_ready:
                wrong.append(Fault("review", "", "NOT_MEASURED"))
            elif stored.measured.get("missing"):
                wrong.append(Fault("message", "text", "MISSING_VARIABLES", {"missing": stored.measured["missing"]}))
        if wrong:
            raise NotReady(wrong)
        return stored.version


def _mine(account: Account, campaign: Row) -> bool:
    return account.user_id in (campaign.user_id, campaign.submitted_by)


def _reaches(account: Account, permission: Permission, campaign: Row) -> bool:
    scope = scope_of(account.role, permission)
    if scope is Scope.ALL:
        return True
    if scope is Scope.CUSTOMER:
        return campaign.customer_id == account.customer_id
    return scope is Scope.OWN and campaign.user_id == account.user_id


def _sees(account: Account, campaign: Row) -> bool:
    return _reaches(account, Permission.ANALYTICS, campaign)


def _all(account: Account, campaign: Row) -> list[str]:
    if campaign.daily:
        return []
    names = []
    for name in states.possible(campaign.status, mine=_mine(account, campaign)):
        permission = states.TRANSITIONS[name].permission
        if permission is not None and _reaches(account, permission, campaign) and (campaign.planned or name in _OF_REQUESTS):
            names.append(name)
    if campaign.planned and campaign.status == states.DRAFT and _reaches(account, Permission.CAMPAIGNS, campaign):
        names.append("discard")
        names = [n for n in names if n != "cancel"]  # what was never sent goes without a trace in the lists
    return names
