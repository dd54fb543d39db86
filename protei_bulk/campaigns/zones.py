"""The time zones of a country, and what a campaign's sending hours say for its recipients there."""

from __future__ import annotations

from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.core import get_global


@cache
def _by_country() -> dict[str, tuple[str, ...]]:
    zones: dict[str, list[str]] = {}
    for zone, country in get_global("zone_territories").items():
        zones.setdefault(country, []).append(zone)
    return {country: tuple(sorted(found)) for country, found in zones.items()}


@cache
def zones_of(country: str) -> tuple[ZoneInfo, ...]:
    """Of an ISO 3166-1 alpha-2 code; UTC where it has none that is known."""
    found = []
    for name in _by_country().get(country, ()):
        try:
            found.append(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError):
            continue
    return tuple(found) or (ZoneInfo("UTC"),)


def zones_named(name: str) -> tuple[ZoneInfo, ...]:
    """One zone by its name; UTC where it is none."""
    try:
        return (ZoneInfo(name),)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return (ZoneInfo("UTC"),)
