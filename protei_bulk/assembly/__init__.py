"""The composition root."""

from __future__ import annotations

from protei_bulk.assembly.gateway import Gateway, build

__all__ = ["Gateway", "build"]
