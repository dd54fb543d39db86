"""What people do with their own account: password, two-factor authentication."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from markupsafe import Markup

from protei_bulk.access.password_policy import fault
from protei_bulk.access.results import TOO_MANY_ATTEMPTS
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.access.totp import TwoFactorSetup
from protei_bulk.access.two_factor import AlreadyEnabled, TooManyCodes
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.model.permissions import Permission

_OWN = Permission.ACCOUNT


class OwnAccount:
    """`set_user(username, values, actor=)` writes columns of users."""

    def __init__(self, shell: Shell, auth: UnifiedAuthService, set_user: Callable[..., Awaitable[Any]]) -> None:
        self._shell, self._auth, self._set_user = shell, auth, set_user

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/account", _OWN, self.show),
            Page("POST", "/account/password", _OWN, self.password),
            Page("POST", "/account/2fa", _OWN, self.begin_2fa),
            Page("POST", "/account/2fa/confirm", _OWN, self.confirm_2fa),
            Page("POST", "/account/2fa/disable", _OWN, self.disable_2fa),
            Page("POST", "/account/2fa/codes", _OWN, self.new_codes),
        ]

    async def show(self, visit: Visit) -> Answer:
        return self._show(visit)

    def _show(self, visit: Visit, status: int = 200, **values: Any) -> Answer:
        shown: dict[str, Any] = {"errors": {}, "setup": None, "qr": "", "codes": [], **values}
        return self._shell.page(visit, "account.html", status, **shown)

    # --- password

    async def password(self, visit: Visit) -> Answer:
        old, new, again = visit.raw("old")[:1024], visit.raw("new")[:1024], visit.raw("again")[:1024]
        errors: dict[str, str] = {}
        why = fault(new, visit.who.username)
        if why:
            errors["new"] = visit._("Choose another one: at least 8 characters, not your name, and none that everybody tries first.")
        elif new != again:
            errors["again"] = visit._("The two are not the same.")
        errors = errors or await self._wrong_password(visit, old, "old")
        if errors:
            return self._show(visit, 422, errors=errors)
        await self._set_user(visit.who.username, await self._auth.password_hashes(new), actor=actor_of(visit))
        visit.cookies.append(self._shell.cookies.no_session(visit.request.isSecure()))  # it is over, as every other one
        return self._shell.to(visit, "/login", Flash("good", visit._("Your password is changed. Log in with the new one.")))

    async def _wrong_password(self, visit: Visit, password: str, field: str) -> dict[str, str]:
        if not password:
            return {field: visit._("Enter your password.")}
        result = await self._auth.check_password(visit.who.username, password, visit.ip)
        if result.success:
            return {}
        if result.code == TOO_MANY_ATTEMPTS:
            return {field: visit._("Too many attempts. Try again in a minute.")}
        return {field: visit._("That is not your password.")}

    # --- two-factor authentication

    async def begin_2fa(self, visit: Visit) -> Answer:
        try:
            setup = await self._auth.enable_2fa(None, visit.who.user_id, actor=actor_of(visit))
        except AlreadyEnabled:
            return self._shell.to(visit, "/account")
        assert isinstance(setup, TwoFactorSetup)
        return self._show(visit, setup=setup, qr=Markup(setup.qr_svg))  # noqa: S704 - made by us from our own secret

    async def confirm_2fa(self, visit: Visit) -> Answer:
        try:
            codes = await self._auth.enable_2fa(None, visit.who.user_id, visit.text("code", 12).replace(" ", ""), actor=actor_of(visit))
        except AlreadyEnabled:
            return self._shell.to(visit, "/account")
        except TooManyCodes:
            codes = []
        assert isinstance(codes, list)
        if not codes:
            again = Flash("bad", visit._("That code was not right. Begin again, and check the clock of your phone."))
            return self._shell.to(visit, "/account#two-factor", again)
        return self._show(visit, codes=codes)

    async def disable_2fa(self, visit: Visit) -> Answer:
        errors = await self._wrong_password(visit, visit.raw("password")[:1024], "password")
        if not errors and not await self._right(self._auth.disable_2fa, visit):
            errors = {"code": visit._("That code is not right, or was used already.")}
        if errors:
            return self._show(visit, 422, errors=errors)
        return self._shell.to(visit, "/account", Flash("warn", visit._("Two-factor authentication is off.")))

    async def new_codes(self, visit: Visit) -> Answer:
        codes = await self._right(self._auth.new_recovery_codes, visit)
        if not codes:
            return self._show(visit, 422, errors={"codes_code": visit._("That code is not right, or was used already.")})
        return self._show(visit, codes=codes)

    @staticmethod
    async def _right(do: Callable[..., Awaitable[Any]], visit: Visit) -> Any:
        try:
            return await do(None, visit.who.user_id, visit.text("code", 40).replace(" ", ""), actor=actor_of(visit))
        except TooManyCodes:
            return None
