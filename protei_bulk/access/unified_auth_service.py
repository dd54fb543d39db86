"""The running node's service, under the name by which the specification's examples import it:

    from protei_bulk.access.unified_auth_service import unified_auth_service

    api_key = await unified_auth_service.generate_api_key(db, user_id=123)

For code that runs inside a node (a plugin, a manhole): its functions return Deferreds, and `db` may be anything. The
gateway itself is given the service by constructor.
"""

from __future__ import annotations

from typing import Any

from protei_bulk.access.service import UnifiedAuthService


class _OfTheNode:
    def __init__(self) -> None:
        self._service: UnifiedAuthService | None = None

    def install(self, service: UnifiedAuthService | None) -> None:
        """Of the composition root, at start and at stop."""
        self._service = service

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._service is None:
            raise RuntimeError("there is no node running in this process")
        return getattr(self._service, name)


unified_auth_service: Any = _OfTheNode()
