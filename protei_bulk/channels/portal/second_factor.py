"""Two-factor authentication of one's own account: enrolment with a QR code, recovery codes, switching it off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.access.totp import TwoFactorSetup
from protei_bulk.access.two_factor import AlreadyEnabled, TooManyCodes
from protei_bulk.channels.portal.account import wrong_password
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.model.permissions import Permission
from protei_bulk.store.pages_account import OwnReads

_OWN = Permission.ACCOUNT
_KEPT = 600.0  # seconds for which one session sees the same secret again
_MOST = 1000


class SecondFactor:
    """A secret is made when the page is first opened, and is the same for this session until a code of it was seen, or some minutes passed:
    who opens the page once more has not scanned in vain."""

    def __init__(self, shell: Shell, auth: UnifiedAuthService, reads: OwnReads, now: Callable[[], float]) -> None:
        self._shell, self._auth, self._reads, self._now = shell, auth, reads, now
        self._begun: dict[str, tuple[TwoFactorSetup, float]] = {}  # by session

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/account/2fa", _OWN, self.show),
            Page("POST", "/account/2fa", _OWN, self.begin_again),
            Page("POST", "/account/2fa/confirm", _OWN, self.confirm),
            Page("POST", "/account/2fa/disable", _OWN, self.disable),
            Page("POST", "/account/2fa/codes", _OWN, self.new_codes),
        ]

    async def show(self, visit: Visit) -> Answer:
        return await self._show(visit)

    async def _show(self, visit: Visit, status: int = 200, errors: dict[str, str] | None = None, codes: list[str] | None = None) -> Answer:
        setup: TwoFactorSetup | None = None
        if codes is None and not visit.who.two_factor_enabled:
            try:
                setup = await self._setup(visit)
            except AlreadyEnabled:  # on another page, a moment ago
                return self._shell.to(visit, "/account")
        facts = await self._reads.facts(visit.who.user_id)
        return self._shell.page(
            visit, "second_factor.html", status, setup=setup, errors=errors or {}, codes=codes or [], left=facts.codes,
            qr=Markup(setup.qr_svg) if setup is not None else "",  # noqa: S704 - made by us from our own secret
            file="data:text/plain;charset=utf-8," + quote(_text(visit, codes)) if codes else "",
        )  # fmt: skip

    async def _setup(self, visit: Visit) -> TwoFactorSetup:
        known, now = self._begun.get(visit.session_id), self._now()
        if known is not None and now - known[1] < _KEPT:
            return known[0]
        if len(self._begun) >= _MOST:
            self._begun = {id: pair for id, pair in self._begun.items() if now - pair[1] < _KEPT}
            if len(self._begun) >= _MOST:
                self._begun.clear()
        setup = await self._auth.enable_2fa(None, visit.who.user_id, actor=actor_of(visit))
        assert isinstance(setup, TwoFactorSetup)
        self._begun[visit.session_id] = (setup, now)
        return setup

    async def begin_again(self, visit: Visit) -> Answer:
        self._begun.pop(visit.session_id, None)
        return await self._show(visit)

    async def confirm(self, visit: Visit) -> Answer:
        try:
            codes = await self._auth.enable_2fa(None, visit.who.user_id, _code(visit), actor=actor_of(visit))
        except AlreadyEnabled:
            return self._shell.to(visit, "/account")
        except TooManyCodes:
            return await self._show(visit, 429, {"code": visit._("Too many attempts. Try again in a minute.")})
        assert isinstance(codes, list)
        if not codes:
            wrong = visit._("That code is not right. Wait for the next one, and check the clock of your phone.")
            return await self._show(visit, 422, {"code": wrong})
        self._begun.pop(visit.session_id, None)
        return await self._show(visit, codes=codes)

    async def disable(self, visit: Visit) -> Answer:
        errors = await wrong_password(self._auth, visit, visit.raw("password")[:1024], "password")
        if not errors and not await self._right(self._auth.disable_2fa, visit):
            errors = {"code": visit._("That code is not right, or was used already.")}
        if errors:
            return await self._show(visit, 422, errors)
        return self._shell.to(visit, "/account", Flash("warn", visit._("Two-factor authentication is off.")))

    async def new_codes(self, visit: Visit) -> Answer:
        codes = await self._right(self._auth.new_recovery_codes, visit)
        if not codes:
            return await self._show(visit, 422, {"codes_code": visit._("That code is not right, or was used already.")})
        return await self._show(visit, codes=codes)

    @staticmethod
    async def _right(do: Callable[..., Awaitable[Any]], visit: Visit) -> Any:
        try:
            return await do(None, visit.who.user_id, _code(visit), actor=actor_of(visit))
        except TooManyCodes:
            return None


def _code(visit: Visit) -> str:
    return visit.text("code", 40).replace(" ", "")


def _text(visit: Visit, codes: list[str] | None) -> str:
    """The file with the codes."""
    about = visit._("Recovery codes of %(user)s for protei-bulk. Each opens the account once.", user=visit.who.username)
    return "\n".join([about, "", *(codes or []), ""])
