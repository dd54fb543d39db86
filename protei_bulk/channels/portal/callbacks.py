"""Where receipts go over HTTP: the address, the secret they are signed with, and what became of each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from attrs import frozen

from protei_bulk.access.ports import AuditTrail
from protei_bulk.callbacks.signing import account_secret, shown_secret
from protei_bulk.callbacks.trial import Outcome, TooSoon
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.permissions import Permission, Scope, scope_of
from protei_bulk.model.urls import url_fault
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.callbacks import CallbackOutbox, CallbackSecrets, SecretVersion
from protei_bulk.store.pages import Reach
from protei_bulk.store.pages_callbacks import CallbackReads

_PAGE, _EXPORT, _STRETCHES = 50, 10_000, 25
STATUSES = ("PENDING", "PARKED", "DELIVERED")
OVERLAPS = (0, 3600, 86_400, 604_800)  # seconds for which both secrets sign
_OWN = Permission.CALLBACK_SECRET


class Calls(Protocol):
    """Of callbacks.trial.Trials, what the page needs."""

    async def call(self, user_id: int, secret: SecretVersion, url: str) -> Outcome: ...


@frozen
class CallbackService:
    """What the page works with. `secret`: the node's; `wake()` sends what is due."""

    outbox: CallbackOutbox
    secrets: CallbackSecrets
    secret: bytes
    wake: Callable[[], None]
    trials: Calls
    audit: AuditTrail


class CallbackPages:
    def __init__(self, shell: Shell, service: CallbackService, reads: CallbackReads, accounts: Accounts) -> None:
        self._shell, self._c, self._reads, self._accounts = shell, service, reads, accounts

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/callbacks", Permission.CALLBACKS, self.show),
            Page("GET", "/callbacks.csv", Permission.CALLBACKS, self.csv),
            Page("POST", "/callbacks/address", _OWN, self.address),
            Page("POST", "/callbacks/test", _OWN, self.test),
            Page("POST", "/callbacks/secret", _OWN, self.secret),
            Page("POST", "/callbacks/secret/rotate", _OWN, self.rotate),
            Page("POST", "/callbacks/replay", Permission.CALLBACKS_REPLAY, self.replay_all),
            Page("POST", "/callbacks/{id}/replay", Permission.CALLBACKS_REPLAY, self.replay),
        ]

    async def show(self, visit: Visit) -> Answer:
        return await self._show(visit)

    async def _show(self, visit: Visit, status: int = 200, *, url: str | None = None, errors: dict[str, str] | None = None,
                    outcome: Outcome | None = None, secrets: list[tuple[str, str]] | None = None) -> Answer:  # fmt: skip
        visit.scope = scope_of(visit.who.role, Permission.CALLBACKS)
        reach, filtered = reach_of(visit), visit.text("status", 20)
        found = await self._found(visit, reach)
        saved = await self._reads.own_url(visit.who.user_id)
        parked, older = await self._reads.parked(reach)
        return self._shell.page(
            visit, "callbacks.html", status, rows=found.rows, page=Listing(visit, len(found.rows), str(found.next) if found.full else ""),
            further="" if found.full else found.next, oldest=found.rows[-1]["created"] if found.rows else None, statuses=STATUSES,
            filtered=filtered if filtered in STATUSES else "", saved=saved, url=saved if url is None else url, errors=errors or {},
            outcome=outcome, secrets=secrets or [], version=await self._c.secrets.current(visit.who.user_id), overlaps=OVERLAPS,
            parked=parked, older=older, wide=visit.scope is not Scope.OWN, all=visit.scope is Scope.ALL,
        )  # fmt: skip

    async def _found(self, visit: Visit, reach: Reach, **more: Any) -> Any:
        status = visit.text("status", 20)
        return await self._reads.page(
            reach, status=status if status in STATUSES else "", message_id=visit.text("q", 64).upper(),
            after=visit.whole("after", high=2**62), **{"most": _PAGE, **more},
        )  # fmt: skip

    async def csv(self, visit: Visit) -> Answer:
        found = await self._found(visit, reach_of(visit), most=_EXPORT, stretches=_STRETCHES)
        names = ("id", "message", "username", "url", "status", "attempts", "error", "created", "next", "delivered")
        cells = ([v.isoformat(timespec="seconds") if isinstance(v, datetime) else v for v in (r[n] for n in names)] for r in found.rows)
        return csv_answer("callbacks", names, cells)

    # --- the address

    async def address(self, visit: Visit) -> Answer:
        url = visit.text("url", 2000)
        if url:
            errors = _faults(visit, url)
            if errors:
                return await self._show(visit, 422, url=url, errors=errors)
        await self._accounts.set_user(visit.who.username, {"dlr_callback_url": url or None}, actor=actor_of(visit))
        said = visit._("Receipts go to this address from now on.") if url else visit._("Receipts are no longer sent over HTTP.")
        return self._shell.to(visit, "/callbacks", Flash("good", said))

    async def test(self, visit: Visit) -> Answer:
        url = visit.text("url", 2000)
        errors = _faults(visit, url)
        if errors:
            return await self._show(visit, 422, url=url, errors=errors)
        try:
            outcome = await self._c.trials.call(visit.who.user_id, await self._c.secrets.current(visit.who.user_id), url)
        except TooSoon:
            return await self._show(visit, 429, url=url, errors={"url": visit._("You have just tried. Wait a few seconds.")})
        self._event(visit, "CALLBACK_TESTED", {"url": url, "status": outcome.status, "error": outcome.error})
        return await self._show(visit, url=url, outcome=outcome)

    # --- the secret

    async def secret(self, visit: Visit) -> Answer:
        version = await self._c.secrets.current(visit.who.user_id)
        self._event(visit, "CALLBACK_SECRET_SHOWN")
        return await self._show(visit, secrets=self._secrets(visit, version))

    async def rotate(self, visit: Visit) -> Answer:
        overlap = visit.whole("overlap", OVERLAPS[2])
        if overlap not in OVERLAPS:
            overlap = OVERLAPS[2]
        user = visit.who.user_id
        version = await self._c.secrets.rotate(user, overlap, actor_id=user, ip=visit.ip)
        visit.flashes.append(Flash("good", visit._("There is a new secret. Put it into your program while the one before is still valid.")))
        return await self._show(visit, secrets=self._secrets(visit, version))

    def _secrets(self, visit: Visit, found: SecretVersion) -> list[tuple[str, str]]:
        def shown(version: int) -> str:
            return shown_secret(account_secret(self._c.secret, visit.who.user_id, version))

        secrets = [(visit._("Secret"), shown(found.version))]
        if found.previous_until is not None:
            secrets.append((visit._("The one before"), shown(found.version - 1)))
        return secrets

    # --- again

    async def replay(self, visit: Visit) -> Answer:
        given, reach = visit.places["id"], reach_of(visit)
        number = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0
        if not number:
            raise Fault(404)
        done = await self._c.outbox.replay([number], user_id=reach.user_id, customer_id=reach.customer_id, delivered=True)
        if not done:
            return self._shell.to(visit, _back(visit), Flash("info", visit._("It waits to be sent already, or it is not one of yours.")))
        self._event(visit, "CALLBACK_REPLAYED", {"callback_id": number})
        self._c.wake()
        return self._shell.to(visit, _back(visit), Flash("good", visit._("The callback is being sent again.")))

    async def replay_all(self, visit: Visit) -> Answer:
        reach = reach_of(visit)
        done = await self._c.outbox.replay(None, user_id=reach.user_id, customer_id=reach.customer_id)
        if done:
            self._event(visit, "CALLBACK_REPLAYED", {"callbacks": len(done)})
            self._c.wake()
        said = visit.ngettext("%(num)s parked callback is being sent again.", "%(num)s parked callbacks are being sent again.", len(done))
        return self._shell.to(visit, "/callbacks", Flash("good" if done else "info", said))

    def _event(self, visit: Visit, action: str, details: dict[str, object] | None = None) -> None:
        user, about = visit.who.user_id, {"source": "portal", **(details or {})}
        self._c.audit.event(action, True, user_id=user, actor_id=user, ip=visit.ip, user_agent=visit.user_agent, details=about)


def _n(text: str) -> str:
    """Marks a text for the catalogues."""
    return text


#: how url_fault() begins -> what a person is told
_FAULTS = (
    ("is longer", _n("The address is too long: 500 characters at most.")),
    ("must be printable", _n("An address holds no spaces and no letters beyond ASCII: percent-encode them.")),
    ("must begin", _n("The address must begin with https:// or http://.")),
    ("must not hold a user", _n("The address must not hold a user name or a password: the signature says who we are.")),
    ("must not name port", _n("That port is another service's.")),
)


def _faults(visit: Visit, url: str) -> dict[str, str]:
    if not url:
        return {"url": visit._("Write an address, such as https://example.com/receipts.")}
    if "#" in url:
        return {"url": visit._("The address must not hold a fragment (#).")}
    fault = url_fault(url)
    if fault is None:
        return {}
    return {"url": visit._(next((said for begins, said in _FAULTS if fault.startswith(begins)), _n("That is no address we could call.")))}


def _back(visit: Visit) -> str:
    status = visit.text("status", 20)
    return f"/callbacks?status={status}" if status in STATUSES else "/callbacks"
