"""What an administrator does to a user at once: suspend, a new password or key, no second factor, an end of logins, delete."""

from __future__ import annotations

from protei_bulk.access.one_time import one_time_password
from protei_bulk.access.ports import NoSuchUser
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.users import WRITE, Users
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.model.permissions import Scope
from protei_bulk.store.administration import Administration, UserRow


class UserActions:
    def __init__(self, shell: Shell, auth: UnifiedAuthService, store: Administration, users: Users) -> None:
        self._shell, self._auth, self._store, self._users = shell, auth, store, users

    def pages(self) -> list[Page]:
        actions = (
            ("status", self.status), ("password", self.password), ("api-key", self.api_key), ("api-key/revoke", self.revoke_key),
            ("2fa", self.reset_2fa), ("logins", self.end_logins), ("delete", self.delete),
        )  # fmt: skip
        return [Page("POST", f"/users/{{id}}/{name}", WRITE, run, Scope.CUSTOMER) for name, run in actions]

    async def _other(self, visit: Visit, why: str) -> UserRow:
        """The user, who is not the reader himself: he has pages of his own, which ask for password and code."""
        row = await self._users.target(visit, to_change=True)
        if row.found.account.user_id == visit.who.user_id:
            raise Fault(403, why)
        return row

    async def status(self, visit: Visit) -> Answer:
        row = await self._other(visit, visit._("You cannot suspend yourself"))
        account, to = row.found.account, "ACTIVE" if visit.text("to", 20) == "ACTIVE" else "SUSPENDED"
        changed = account.status == to or await self._store.change_user(
            account.user_id, {"status": to}, actor=actor_of(visit), customer_id=reach_of(visit).customer_id
        )
        if not changed:
            raise Fault(404, visit._("There is no such user"))
        if to == "ACTIVE":
            told = Flash("good", visit._("%(name)s is active again.", name=account.username))
        else:
            why = visit._("%(name)s is suspended: sessions end now, logins and messages are refused.", name=account.username)
            told = Flash("warn", why)
        return self._shell.to(visit, _page(account.user_id), told)

    async def password(self, visit: Visit) -> Answer:
        row = await self._other(visit, visit._("Your own password is changed on your account's page"))
        account, made = row.found.account, one_time_password()
        values = await self._auth.password_hashes(made)
        if not await self._store.change_user(account.user_id, values, actor=actor_of(visit), customer_id=reach_of(visit).customer_id):
            raise Fault(404, visit._("There is no such user"))
        return self._secret(visit, row, "password", made)

    async def api_key(self, visit: Visit) -> Answer:
        row = await self._users.target(visit, to_change=True)
        try:
            key = await self._auth.generate_api_key(None, row.found.account.user_id, actor=actor_of(visit))
        except NoSuchUser:
            raise Fault(404, visit._("There is no such user")) from None
        return self._secret(visit, row, "key", key)

    def _secret(self, visit: Visit, row: UserRow, kind: str, secret: str) -> Answer:
        account = row.found.account
        return self._shell.page(visit, "user_secret.html", user_id=account.user_id, name=account.username, kind=kind, secret=secret)

    async def revoke_key(self, visit: Visit) -> Answer:
        row = await self._users.target(visit, to_change=True)
        await self._auth.revoke_api_key(None, row.found.account.user_id, actor=actor_of(visit))
        told = visit._("The API key of %(name)s is revoked.", name=row.found.account.username)
        return self._shell.to(visit, _page(row.found.account.user_id), Flash("warn", told))

    async def reset_2fa(self, visit: Visit) -> Answer:
        row = await self._other(visit, visit._("Your own second factor is switched off on your account's page"))
        try:
            await self._auth.disable_2fa(None, row.found.account.user_id, actor=actor_of(visit))
        except NoSuchUser:
            raise Fault(404, visit._("There is no such user")) from None
        told = visit._("%(name)s logs in without a code now, and can set up a new phone.", name=row.found.account.username)
        return self._shell.to(visit, _page(row.found.account.user_id), Flash("warn", told))

    async def end_logins(self, visit: Visit) -> Answer:
        """One login of the user, or all."""
        row = await self._other(visit, visit._("Your own logins are ended on your account's page"))
        account, only = row.found.account, visit.text("login", 64)
        ended = 0
        for login in await self._auth.logins(account.user_id):
            if only in ("", login.login_id):
                ended += await self._auth.end_login(
                    account.user_id, login.login_id, visit.ip, visit.user_agent, actor_id=visit.who.user_id
                )
        told = visit.ngettext("%(num)s login of the portal was ended.", "%(num)s logins of the portal were ended.", ended)
        return self._shell.to(visit, _page(account.user_id) + "#logins", Flash("good" if ended else "info", told))

    async def delete(self, visit: Visit) -> Answer:
        row = await self._other(visit, visit._("You cannot delete yourself"))
        account = row.found.account
        gone = await self._store.delete_user(account.user_id, actor=actor_of(visit), customer_id=reach_of(visit).customer_id)
        if gone is None:
            raise Fault(404, visit._("There is no such user"))
        if gone:
            told = visit._("%(name)s is gone.", name=account.username)
        else:
            told = visit._("%(name)s is deleted. It stays in the books for its traffic, and its name stays taken.", name=account.username)
        return self._shell.to(visit, "/users", Flash("warn", told))


def _page(user_id: int) -> str:
    return f"/users/{user_id}"
