"""The portal put together: its pages, and the one root under which portal and API are served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource

from protei_bulk.access import secrets
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.channels.portal.account import OwnAccount
from protei_bulk.channels.portal.api_keys import ApiKeys
from protei_bulk.channels.portal.login import Login
from protei_bulk.channels.portal.second_factor import SecondFactor
from protei_bulk.channels.portal.shell import Page, Shell
from protei_bulk.settings import Http
from protei_bulk.store.pages_account import OwnReads

#: first part of a path -> the API's; everything else is a page
_API = frozenset({b"api", b"healthz", b"readyz", b"metrics", b"docs", b"openapi.json"})


def make_portal(auth: UnifiedAuthService, settings: Callable[[], Http], secret: bytes, customer_name: Callable[[int], Awaitable[str]],
                set_user: Callable[..., Awaitable[Any]], own: OwnReads, now: Callable[[], float]) -> tuple[Shell, list[Page]]:  # fmt: skip
    """The shell, and the pages that need nothing but accounts; further ones are added to the list."""
    shell = Shell(auth, settings, secrets.derive(secret, "portal"), customer_name, now)
    login = Login(shell, auth, secrets.derive(secret, "portal login"), now)
    pages = [*login.pages(), *OwnAccount(shell, auth, set_user, own).pages()]
    return shell, [*pages, *SecondFactor(shell, auth, own, now).pages(), *ApiKeys(shell, auth, own).pages()]


class Root(Resource):
    """Portal and API on one site."""

    def __init__(self, api: IResource, portal: IResource) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._api, self._portal = api, portal

    def getChildWithDefault(self, path: bytes, request: IRequest) -> Any:  # noqa: N802
        # Both are leaves that look at the whole path: what was taken off for the look-up goes back.
        request.postpath.insert(0, request.prepath.pop())
        return self._api if path in _API else self._portal
