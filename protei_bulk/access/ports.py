"""What access needs of the layers above it, which hand themselves in by constructor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.accounts import AccountReader, Credentials


class NoSuchUser(LookupError):
    """There is no user with this id or name."""


@frozen
class Actor:
    """Who changes something, for the audit; user_id None: the command line."""

    user_id: int | None = None
    ip: str = ""
    user_agent: str = ""


NOBODY = Actor()


class AccountStore(AccountReader, Protocol):
    def by_username(self, username: str) -> Deferred[Credentials | None]: ...

    def by_api_key_hash(self, key_hash: str) -> Deferred[Credentials | None]: ...

    def set_api_key_hash(
        self, user_id: int, key_hash: str | None, *, actor: Actor = NOBODY
    ) -> Deferred[bool]: ...

    def set_two_factor(
        self,
        user_id: int,
        sealed: str | None,
        enabled: bool,
        *,
        recovery: Sequence[str] = (),
        actor: Actor = NOBODY,
    ) -> Deferred[bool]: ...

    def set_recovery_codes(
        self, user_id: int, hashes: Sequence[str], *, actor: Actor = NOBODY
    ) -> Deferred[bool]: ...

    def use_recovery_code(self, user_id: int, hashed: str) -> Deferred[bool]: ...

    def rehash(self, user_id: int, old: str, hashes: Mapping[str, str | None]) -> Deferred[bool]: ...

    def use_totp_step(self, user_id: int, step: int) -> Deferred[bool]: ...

    def logged_in(self, user_id: int) -> Deferred[None]: ...


class SmppSessionStore(Protocol):
    def opened(
        self, *, user_id: int, system_id: str, bind_type: str, remote_ip: str, remote_port: int, token: str, max_binds: int
    ) -> Deferred[int]:
        """Fires with its number, with 0 where the account has as many sessions as it may."""

    def request_disconnect(self, token: str) -> Deferred[bool]: ...


@frozen
class WebSession:
    """A login. token_id names the generation of its newest tokens, previous_id the one before."""

    session_id: str
    user_id: int
    token_id: str
    previous_id: str
    rotated_seconds: float  # since the newest token was made
    left_seconds: float = 0.0  # until it is over, however often it is refreshed


@frozen
class Login:
    """As its user sees it. Unix seconds."""

    login_id: str
    ip_address: str | None
    user_agent: str | None
    began: float
    refreshed: float
    ends: float


class WebSessionStore(Protocol):
    def open(
        self, session_id: str, user_id: int, token_id: str, *, seconds: float, ip: str, user_agent: str
    ) -> Deferred[None]: ...

    def get(self, session_id: str) -> Deferred[WebSession | None]: ...

    def rotate(self, session_id: str, old_token_id: str, new_token_id: str) -> Deferred[bool]: ...

    def revoke(self, session_id: str, user_id: int | None = None) -> Deferred[bool]:
        """Of this user only, where one is given."""

    def of_user(self, user_id: int) -> Deferred[list[Login]]: ...


@frozen
class Usage:
    """Of one account, today in its time zone. Segments; a limit of 0 is none."""

    sent: int = 0
    delivered: int = 0
    failed: int = 0
    max_messages: int = 0

    @property
    def remaining(self) -> int | None:
        return max(0, self.max_messages - self.sent) if self.max_messages else None


@frozen
class Balance:
    """Money of a customer and the quota of one of its users."""

    balance: Decimal
    credit_limit: Decimal
    currency: str
    usage: Usage = field(factory=Usage)


class UsageStore(Protocol):
    def today(self, user_id: int) -> Deferred[Usage | None]: ...


class AuditTrail(Protocol):
    """Never on the way of a request: what is handed in is stored later, in batches."""

    def event(
        self,
        action: str,
        success: bool,
        *,
        user_id: int | None = None,
        actor_id: int | None = None,
        ip: str = "",
        user_agent: str = "",
        details: Mapping[str, object] | None = None,
    ) -> None: ...
