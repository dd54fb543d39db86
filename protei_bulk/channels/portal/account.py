"""What people do with their own account: password, time zone, and where they are logged in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from zoneinfo import available_timezones

from protei_bulk.access.password_policy import fault
from protei_bulk.access.results import TOO_MANY_ATTEMPTS
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.devices import device
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.model.permissions import Permission
from protei_bulk.store.pages_account import OwnReads

_OWN = Permission.ACCOUNT
ZONES = tuple(sorted(z for z in available_timezones() if "/" in z and not z.startswith(("Etc/", "SystemV/")))) + ("UTC",)


class OwnAccount:
    """`set_user(username, values, actor=)` writes columns of users."""

    def __init__(self, shell: Shell, auth: UnifiedAuthService, set_user: Callable[..., Awaitable[Any]], reads: OwnReads) -> None:
        self._shell, self._auth, self._set_user, self._reads = shell, auth, set_user, reads

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/account", _OWN, self.show),
            Page("POST", "/account/password", _OWN, self.password),
            Page("POST", "/account/preferences", _OWN, self.preferences),
            Page("POST", "/account/sessions/end", _OWN, self.end_others),
            Page("POST", "/account/sessions/{id}/end", _OWN, self.end_session),
        ]

    async def show(self, visit: Visit) -> Answer:
        return await self._show(visit)

    async def _show(self, visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Answer:
        logins = [(login, *device(login.user_agent)) for login in await self._auth.logins(visit.who.user_id)]
        return self._shell.page(
            visit, "account.html", status, errors=errors or {}, logins=logins, facts=await self._reads.facts(visit.who.user_id),
            zones=ZONES, zone=visit.text("timezone", 64) or visit.who.timezone, languages=list(self._shell.languages.values()),
        )  # fmt: skip

    # --- password

    async def password(self, visit: Visit) -> Answer:
        old, new, again = visit.raw("old")[:1024], visit.raw("new")[:1024], visit.raw("again")[:1024]
        errors: dict[str, str] = {}
        why = fault(new, visit.who.username)
        if why:
            errors["new"] = visit._("Choose another one: at least 8 characters, not your name, and none that everybody tries first.")
        elif new != again:
            errors["again"] = visit._("The two are not the same.")
        errors = errors or await wrong_password(self._auth, visit, old, "old")
        if errors:
            return await self._show(visit, 422, errors)
        await self._set_user(visit.who.username, await self._auth.password_hashes(new), actor=actor_of(visit))
        visit.cookies.append(self._shell.cookies.no_session(visit.request.isSecure()))  # it is over, as every other one
        return self._shell.to(visit, "/login", Flash("good", visit._("Your password is changed. Log in with the new one.")))

    # --- preferences

    async def preferences(self, visit: Visit) -> Answer:
        zone, code = visit.text("timezone", 64), visit.text("language", 10)
        if zone not in ZONES and zone != visit.who.timezone:
            return await self._show(visit, 422, {"timezone": visit._("Choose one of the list, such as Asia/Amman.")})
        if zone != visit.who.timezone:
            await self._set_user(visit.who.username, {"timezone": zone}, actor=actor_of(visit))
        if code in self._shell.languages:
            visit.cookies.append(self._shell.cookies.language(code, visit.request.isSecure()))
            visit.language = self._shell.languages[code]
        return self._shell.to(visit, "/account", Flash("good", visit._("Saved.")))

    # --- logins

    async def end_session(self, visit: Visit) -> Answer:
        id = visit.places["id"][:64]
        if id == visit.session_id:
            return self._shell.to(visit, "/account#logins", Flash("info", visit._("That is this session: log out to end it.")))
        done = await self._auth.end_login(visit.who.user_id, id, visit.ip, visit.user_agent)
        said = visit._("That session is over.") if done else visit._("That session was over already.")
        return self._shell.to(visit, "/account#logins", Flash("good" if done else "info", said))

    async def end_others(self, visit: Visit) -> Answer:
        ended = 0
        for login in await self._auth.logins(visit.who.user_id):
            if login.login_id != visit.session_id and await self._auth.end_login(
                visit.who.user_id, login.login_id, visit.ip, visit.user_agent
            ):
                ended += 1
        said = visit.ngettext("%(num)s other session was ended.", "%(num)s other sessions were ended.", ended)
        return self._shell.to(visit, "/account#logins", Flash("good", said))


async def wrong_password(auth: UnifiedAuthService, visit: Visit, password: str, field: str) -> dict[str, str]:
    """What is wrong with the password that was typed in again: {} where it is right."""
    if not password:
        return {field: visit._("Enter your password.")}
    result = await auth.check_password(visit.who.username, password, visit.ip)
    if result.success:
        return {}
    if result.code == TOO_MANY_ATTEMPTS:
        return {field: visit._("Too many attempts. Try again in a minute.")}
    return {field: visit._("That is not your password.")}
