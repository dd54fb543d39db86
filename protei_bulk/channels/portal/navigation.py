"""The menu at the side: what the reader's role may see."""

from __future__ import annotations

from collections.abc import Container

from attrs import frozen

from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model.permissions import Permission, Scope, scope_of


@frozen
class Item:
    title: str
    href: str
    icon: str
    current: bool


@frozen
class Group:
    title: str
    items: tuple[Item, ...]


def _n(text: str) -> str:
    """Marks a text for the catalogues."""
    return text


#: heading, then (title, path, icon, permission, least scope)
_MENU: tuple[tuple[str, tuple[tuple[str, str, str, Permission, Scope], ...]], ...] = (
    ("", (
        (_n("Dashboard"), "/", "home", Permission.BALANCE, Scope.OWN),
        (_n("Campaigns"), "/campaigns", "campaign", Permission.ANALYTICS, Scope.OWN),
        (_n("Messages"), "/messages", "message", Permission.ANALYTICS, Scope.OWN),
        (_n("Inbox"), "/inbox", "inbox", Permission.ANALYTICS, Scope.OWN),
        (_n("Analytics"), "/analytics", "chart", Permission.ANALYTICS, Scope.OWN),
    )),
    (_n("Prepare"), (
        (_n("Contacts"), "/contacts", "contacts", Permission.SEND, Scope.OWN),
        (_n("Templates"), "/templates", "template", Permission.SEND, Scope.OWN),
        (_n("Opt-outs"), "/opt-outs", "block", Permission.GUARDS_READ, Scope.CUSTOMER),
        (_n("Blacklist"), "/blacklist", "shield", Permission.GUARDS_READ, Scope.CUSTOMER),
    )),
    (_n("Connect"), (
        (_n("API key"), "/account/api-key", "key", Permission.ACCOUNT, Scope.OWN),
        (_n("Callbacks"), "/callbacks", "callback", Permission.ACCOUNT, Scope.OWN),
        (_n("SMPP sessions"), "/sessions", "session", Permission.SESSIONS, Scope.OWN),
    )),
    (_n("Manage"), (
        (_n("Users"), "/users", "person", Permission.USERS_READ, Scope.CUSTOMER),
        (_n("Customers"), "/customers", "building", Permission.CUSTOMERS_READ, Scope.ALL),
        (_n("Money"), "/money", "money", Permission.CUSTOMERS_READ, Scope.CUSTOMER),
        (_n("Audit log"), "/audit", "audit", Permission.AUDIT, Scope.CUSTOMER),
    )),
    (_n("Operate"), (
        (_n("SMSCs"), "/smscs", "plug", Permission.CUSTOMERS_WRITE, Scope.ALL),
        (_n("Routes"), "/routes", "route", Permission.ROUTES_READ, Scope.ALL),
        (_n("Queues"), "/queues", "queue", Permission.CUSTOMERS_WRITE, Scope.ALL),
        (_n("Traces"), "/traces", "search", Permission.CUSTOMERS_WRITE, Scope.ALL),
    )),
)  # fmt: skip


def navigation(visit: Visit, there: Container[str]) -> tuple[Group, ...]:
    """Groups with at least one page of those that are there."""
    if visit.account is None:
        return ()
    role = visit.account.role
    groups = []
    for heading, pages in _MENU:
        items = tuple(
            Item(visit.language.gettext(title), href, icon, _is_at(visit.path, href))
            for title, href, icon, permission, least in pages
            if href in there and scope_of(role, permission) >= least
        )
        if items:
            groups.append(Group(visit.language.gettext(heading) if heading else "", items))
    return tuple(groups)


def _is_at(path: str, href: str) -> bool:
    return path == href if href == "/" else path == href or path.startswith(href + "/")
