"""One authentication for all channels, under the names that the specification gives.

Every function returns a Deferred. The first parameter, `db`, is accepted so that the specification's
examples run as printed; the service has its own way to the database.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from attrs import asdict, frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.accounts import AccountDirectory
from protei_bulk.access.attempts import AddressBook, Backoff, Guard, KnownAddresses
from protei_bulk.access.clock import Clock
from protei_bulk.access.entrances import Entrances
from protei_bulk.access.keys import KeyRing, KeyStore
from protei_bulk.access.limits import FailedAttempts
from protei_bulk.access.passwords import Passwords
from protei_bulk.access.peers import PLAIN, TlsPeer
from protei_bulk.access.ports import (
    AccountStore,
    Actor,
    AuditTrail,
    Login,
    NoSuchUser,
    SmppSessionStore,
    UsageStore,
    WebSessionStore,
)
from protei_bulk.access.proof import Proof, api_key_hash
from protei_bulk.access.results import AuthResult
from protei_bulk.access.secrets import Seal, derive
from protei_bulk.access.tokens import REFRESH, Tokens
from protei_bulk.access.totp import TwoFactorSetup
from protei_bulk.access.two_factor import TwoFactor
from protei_bulk.access.web import WebLogins

API_KEY_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
API_KEY_LENGTH = 48
BIND_TYPES = ("TRANSMITTER", "RECEIVER", "TRANSCEIVER")
KEYS_PURPOSE = "jwt keys"  # of what is derived from the node's secret
_LOGIN_FAILURES_A_MINUTE = 10  # by name and address, of the portal and of Basic together


@frozen
class DailyUsage:
    """The specification's section 6, field by field. remaining is None where there is no limit."""

    messages_sent: int
    messages_delivered: int
    messages_failed: int
    max_messages: int
    remaining: int | None
    percentage_used: float


class UnifiedAuthService:
    """Deferreds fail with the store's errors (the database away), and else fire with a result.

    `secret` is the node's (secrets.load_or_create); `random` gives so many random octets.
    """

    def __init__(
        self,
        *,
        accounts: AccountStore,
        directory: AccountDirectory,
        passwords: Passwords,
        smpp_sessions: SmppSessionStore,
        web_sessions: WebSessionStore,
        usage: UsageStore,
        audit: AuditTrail,
        keys: KeyStore,
        addresses: AddressBook,
        clock: Clock,
        secret: bytes,
        random: Callable[[int], bytes] = os.urandom,
        bind_attempts_per_minute: int = 5,
        verified_seconds: float = 300.0,
        failures_before_delay: int = 50,
        session_seconds: float = 43_200.0,
        idle_seconds: float = 1800.0,
        second_factor: Collection[str] = (),
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._smpp_sessions, self._web_sessions = smpp_sessions, web_sessions
        self._usage = usage
        self._audit = audit
        self._random = random
        self._keys = KeyRing(keys, Seal(derive(secret, KEYS_PURPOSE), random), clock, random)
        self.bind_attempts = FailedAttempts(clock, bind_attempts_per_minute)
        self._proof = Proof(
            accounts=accounts,
            directory=directory,
            passwords=passwords,
            clock=clock,
            key=random(32),
            verified_seconds=verified_seconds,
        )
        known = KnownAddresses(addresses, clock)
        by_account, by_address = Backoff(clock, failures_before_delay), Backoff(clock, failures_before_delay)
        http = Guard(FailedAttempts(clock, _LOGIN_FAILURES_A_MINUTE), by_account, by_address, known)
        smpp = Guard(self.bind_attempts, by_account, by_address, known)
        self._entrances = Entrances(self._proof, http, smpp, smpp_sessions, audit, random)
        self._two_factor = TwoFactor(
            accounts, audit, clock, random, Seal(derive(secret, "totp"), random), derive(secret, "recovery")
        )
        self._web = WebLogins(
            accounts=accounts,
            directory=directory,
            proof=self._proof,
            guard=http,
            two_factor=self._two_factor,
            sessions=web_sessions,
            tokens=Tokens(clock, self._keys),
            audit=audit,
            clock=clock,
            random=random,
            session_seconds=session_seconds,
            idle_seconds=idle_seconds,
            second_factor=second_factor,
        )

    def authenticate_web(
        self,
        db: object = None,
        username: str = "",
        password: str = "",
        otp_code: str | None = None,
        ip_address: str = "",
        user_agent: str = "",
    ) -> Deferred[AuthResult]:
        """token is a JWT of 15 minutes, refresh_token what replaces it.

        Code OTP_REQUIRED asks for the same again with a code: a one-time code, or a recovery code.
        """
        return _deferred(self._web.login(username, password, otp_code, ip_address, user_agent))

    def authenticate_token(self, db: object = None, token: str = "") -> Deferred[AuthResult]:  # noqa: S107
        """Who sends a JWT."""
        return _deferred(self._web.verify(token))

    def authenticate_portal(self, db: object = None, token: str = "") -> Deferred[AuthResult]:  # noqa: S107
        """Whose browser this is: its cookie holds the refresh token, which lives as long as somebody works."""
        return _deferred(self._web.verify(token, REFRESH))

    def refresh_token(
        self, db: object = None, token: str = "", ip_address: str = "", user_agent: str = ""  # noqa: S107
    ) -> Deferred[AuthResult]:
        """Two new tokens; the old ones are good for requests under way, for 10 s."""
        return _deferred(self._web.refresh(token, ip_address, user_agent))

    def logout(
        self, db: object = None, token: str = "", ip_address: str = "", user_agent: str = ""  # noqa: S107
    ) -> Deferred[bool]:
        return _deferred(self._web.logout(token, ip_address, user_agent))

    def logins(self, user_id: int) -> Deferred[list[Login]]:
        """Those of a user that stand, newest first."""
        return self._web_sessions.of_user(user_id)

    def end_login(
        self, user_id: int, login_id: str, ip_address: str = "", user_agent: str = "", *, actor_id: int | None = None
    ) -> Deferred[bool]:
        """False where the user has none of this id. actor_id: who ends it, where that is not the user."""
        return _deferred(self._web.end(user_id, login_id, ip_address, user_agent, actor_id))

    def keys_changed(self, payload: str = "") -> None:
        """Of the notification protei_keys."""
        self._keys.changed(payload)

    def authenticate_api_key(
        self, db: object = None, api_key: str = "", ip_address: str = "", user_agent: str = ""
    ) -> Deferred[AuthResult]:
        return _deferred(self._entrances.api_key(api_key, ip_address, user_agent))

    def authenticate_basic_auth(
        self, db: object = None, username: str = "", password: str = "", ip_address: str = "", user_agent: str = ""
    ) -> Deferred[AuthResult]:
        return _deferred(self._entrances.basic(username, password, ip_address, user_agent))

    def authenticate_smpp(
        self,
        db: object = None,
        system_id: str = "",
        password: str = "",
        bind_type: str = "TRANSCEIVER",
        remote_ip: str = "",
        remote_port: int = 0,
        peer: TlsPeer = PLAIN,
    ) -> Deferred[AuthResult]:
        """token is that of the row in tbl_smpp_sessions, made here in state BOUND."""
        if bind_type not in BIND_TYPES:
            raise ValueError(f"bind_type is one of {', '.join(BIND_TYPES)}, not {bind_type!r}")
        return _deferred(self._entrances.smpp(system_id, password, bind_type, remote_ip, remote_port, peer))

    def generate_api_key(
        self, db: object = None, user_id: int = 0, *, actor: Actor | None = None
    ) -> Deferred[str]:
        """A new key of 48 characters, in place of any other. Fails with NoSuchUser."""
        return _deferred(self._new_api_key(user_id, actor or Actor(user_id)))

    def revoke_api_key(
        self, db: object = None, user_id: int = 0, *, actor: Actor | None = None
    ) -> Deferred[bool]:
        """False where there is no such user."""
        return self._accounts.set_api_key_hash(user_id, None, actor=actor or Actor(user_id))

    def get_daily_usage(self, db: object = None, user_id: int = 0) -> Deferred[dict[str, Any]]:
        """DailyUsage as a dict. Fails with NoSuchUser."""
        return _deferred(self._daily_usage(user_id))

    def disconnect_smpp(self, db: object = None, session_token: str = "") -> Deferred[bool]:  # noqa: S107
        """Ends a session on whichever node holds it. False where none of this token is bound."""
        return self._smpp_sessions.request_disconnect(session_token)

    def enable_2fa(
        self, db: object = None, user_id: int = 0, otp_code: str | None = None, *, actor: Actor | None = None
    ) -> Deferred[TwoFactorSetup | list[str]]:
        """Without a code: a new secret and its QR text. With one: the recovery codes, none where it was wrong.

        Fails with NoSuchUser, two_factor.AlreadyEnabled, two_factor.TooManyCodes.
        """
        if otp_code is None:
            return _deferred(self._two_factor.begin(user_id, actor or Actor(user_id)))
        return _deferred(self._two_factor.confirm(user_id, otp_code, actor or Actor(user_id)))

    def disable_2fa(
        self, db: object = None, user_id: int = 0, otp_code: str | None = None, *, actor: Actor | None = None
    ) -> Deferred[bool]:
        """The user needs a code, an administrator (actor: another) none. False: wrong code.

        Fails with NoSuchUser, two_factor.TooManyCodes.
        """
        return _deferred(self._two_factor.end(user_id, otp_code, actor or Actor(user_id)))

    def new_recovery_codes(
        self, db: object = None, user_id: int = 0, otp_code: str = "", *, actor: Actor | None = None
    ) -> Deferred[list[str]]:
        """In place of the old ones; none where the code was wrong. Fails as disable_2fa does."""
        return _deferred(self._two_factor.renew_codes(user_id, otp_code, actor or Actor(user_id)))

    def check_password(self, username: str, password: str, ip_address: str = "") -> Deferred[AuthResult]:
        """Whether somebody who is logged in knows his password: guesses are limited as those of a login are."""
        return _deferred(self._web.reauthenticate(username, password, ip_address))

    def hash_password(self, password: str) -> Deferred[str]:
        """For users.password_hash."""
        return self._passwords.hash(password)

    def password_hashes(self, password: str) -> Deferred[dict[str, str | None]]:
        """What a new password sets in users."""
        return self._passwords.hashes(password)

    async def _new_api_key(self, user_id: int, actor: Actor) -> str:
        key = new_api_key(self._random)
        hashed = api_key_hash(key)
        if not await self._accounts.set_api_key_hash(user_id, hashed, actor=actor):
            raise NoSuchUser(user_id)
        return key

    async def _daily_usage(self, user_id: int) -> dict[str, Any]:
        usage = await self._usage.today(user_id)
        if usage is None:
            raise NoSuchUser(user_id)
        share = round(100.0 * usage.sent / usage.max_messages, 2) if usage.max_messages else 0.0
        return asdict(
            DailyUsage(usage.sent, usage.delivered, usage.failed, usage.max_messages, usage.remaining, share)
        )


def new_api_key(random: Callable[[int], bytes] = os.urandom) -> str:
    """48 characters of a-z and 0-9, each as likely as the others."""
    key = ""
    while len(key) < API_KEY_LENGTH:
        # 252 is the largest multiple of 36 in an octet: what is above would favour some characters.
        key += "".join(API_KEY_CHARACTERS[b % 36] for b in random(64) if b < 252)
    return key[:API_KEY_LENGTH]


def _deferred(work: Awaitable[Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(work)  # type: ignore[arg-type]
