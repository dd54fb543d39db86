"""What stands behind the routes for people and administrators, in one piece for the composition root."""

from __future__ import annotations

from attrs import frozen

from protei_bulk.access.service import UnifiedAuthService


@frozen
class Management:
    auth: UnifiedAuthService
