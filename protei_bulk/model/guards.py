"""What stops messages of one account beside what stops everybody's."""

from __future__ import annotations

from attrs import frozen


@frozen
class AccountGuards:
    """Countries are ISO 3166-1 alpha-2; none allowed means all are."""

    duplicate_seconds: int = 0
    transactional: bool = False
    allowed_countries: frozenset[str] = frozenset()
    blocked_countries: frozenset[str] = frozenset()

    @property
    def countries(self) -> bool:
        """Whether they matter."""
        return bool(self.allowed_countries or self.blocked_countries)

    def admits(self, region: str) -> bool:
        return region not in self.blocked_countries and (not self.allowed_countries or region in self.allowed_countries)


NO_GUARDS = AccountGuards()
