"""Who does something on a page, for the audit."""

from __future__ import annotations

from protei_bulk.access.ports import Actor
from protei_bulk.channels.portal.visit import Visit


def actor_of(visit: Visit) -> Actor:
    return Actor(visit.who.user_id, visit.ip, visit.user_agent)
