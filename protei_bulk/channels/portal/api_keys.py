"""The account's API key: made, shown once, revoked."""

from __future__ import annotations

from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.model.permissions import Permission
from protei_bulk.store.pages_account import OwnReads

_OWN = Permission.ACCOUNT


class ApiKeys:
    def __init__(self, shell: Shell, auth: UnifiedAuthService, reads: OwnReads) -> None:
        self._shell, self._auth, self._reads = shell, auth, reads

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/account/api-key", _OWN, self.show),
            Page("POST", "/account/api-key", _OWN, self.make),
            Page("POST", "/account/api-key/revoke", _OWN, self.revoke),
        ]

    async def show(self, visit: Visit) -> Answer:
        return await self._show(visit)

    async def _show(self, visit: Visit, key: str = "") -> Answer:
        facts = await self._reads.facts(visit.who.user_id)
        host = visit.request.getHeader("host") or "localhost"
        base = f"{'https' if visit.request.isSecure() else 'http'}://{host}"
        return self._shell.page(visit, "api_key.html", key=key, made=facts.key_made, base=base)

    async def make(self, visit: Visit) -> Answer:
        return await self._show(visit, await self._auth.generate_api_key(None, visit.who.user_id, actor=actor_of(visit)))

    async def revoke(self, visit: Visit) -> Answer:
        await self._auth.revoke_api_key(None, visit.who.user_id, actor=actor_of(visit))
        return self._shell.to(visit, "/account/api-key", Flash("good", visit._("The API key is revoked: requests with it are refused.")))
