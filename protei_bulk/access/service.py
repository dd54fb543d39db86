"""One authentication for all channels, under the names that the specification gives.

Every function returns a Deferred. The first parameter, `db`, is accepted so that the specification's
examples run as printed; the service has its own way to the database.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import asdict, frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.accounts import AccountDirectory
from protei_bulk.access.clock import Clock
from protei_bulk.access.limits import FailedAttempts, address_allowed
from protei_bulk.access.passwords import Passwords, TooBusy
from protei_bulk.access.peers import PLAIN, TlsPeer
from protei_bulk.access.peers import refusal as peer_refusal
from protei_bulk.access.ports import (
    AccountStore,
    AuditTrail,
    NoSuchUser,
    SmppSessionStore,
    UsageStore,
    WebSessionStore,
)
from protei_bulk.access.proof import Proof, api_key_hash
from protei_bulk.access.results import (
    BUSY,
    INVALID_CREDENTIALS,
    IP_NOT_ALLOWED,
    NOT_PERMITTED,
    SUSPENDED,
    TOO_MANY_ATTEMPTS,
    TOO_MANY_SESSIONS,
    AuthResult,
    refused,
)
from protei_bulk.access.secrets import Seal, derive
from protei_bulk.access.tokens import Tokens
from protei_bulk.access.totp import TwoFactorSetup
from protei_bulk.access.web import WebLogins
from protei_bulk.model.account import Account

API_KEY_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
API_KEY_LENGTH = 48
BIND_TYPES = ("TRANSMITTER", "RECEIVER", "TRANSCEIVER")


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
        clock: Clock,
        secret: bytes,
        random: Callable[[int], bytes] = os.urandom,
        bind_attempts_per_minute: int = 5,
        verified_seconds: float = 300.0,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._smpp_sessions = smpp_sessions
        self._usage = usage
        self._audit = audit
        self._random = random
        self.bind_attempts = FailedAttempts(clock, bind_attempts_per_minute)
        self._proof = Proof(
            accounts=accounts,
            directory=directory,
            passwords=passwords,
            clock=clock,
            key=random(32),
            verified_seconds=verified_seconds,
        )
        self._web = WebLogins(
            accounts=accounts,
            directory=directory,
            proof=self._proof,
            sessions=web_sessions,
            tokens=Tokens(clock, derive(secret, "jwt")),
            seal=Seal(derive(secret, "totp"), random),
            audit=audit,
            clock=clock,
            random=random,
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
        """token is a JWT of 15 minutes. Code OTP_REQUIRED asks for the same again with a code."""
        return _deferred(self._web.login(username, password, otp_code, ip_address, user_agent))

    def authenticate_token(self, db: object = None, token: str = "") -> Deferred[AuthResult]:  # noqa: S107
        """Who sends a JWT."""
        return _deferred(self._web.verify(token))

    def refresh_token(self, db: object = None, token: str = "") -> Deferred[AuthResult]:  # noqa: S107
        """token is the new JWT; the old one is good for requests under way, for 10 s."""
        return _deferred(self._web.refresh(token))

    def logout(self, db: object = None, token: str = "") -> Deferred[bool]:  # noqa: S107
        return _deferred(self._web.logout(token))

    def authenticate_api_key(
        self, db: object = None, api_key: str = "", ip_address: str = ""
    ) -> Deferred[AuthResult]:
        return _deferred(self._api_key(api_key, ip_address))

    def authenticate_basic_auth(
        self, db: object = None, username: str = "", password: str = "", ip_address: str = ""
    ) -> Deferred[AuthResult]:
        return _deferred(self._basic_auth(username, password, ip_address))

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
        return _deferred(self._smpp(system_id, password, bind_type, remote_ip, remote_port, peer))

    def generate_api_key(
        self, db: object = None, user_id: int = 0, *, actor_id: int | None = None
    ) -> Deferred[str]:
        """A new key of 48 characters, in place of any other. Fails with NoSuchUser."""
        return _deferred(self._new_api_key(user_id, actor_id))

    def revoke_api_key(
        self, db: object = None, user_id: int = 0, *, actor_id: int | None = None
    ) -> Deferred[bool]:
        """False where there is no such user."""
        return self._accounts.set_api_key_hash(user_id, None, actor_id=actor_id or user_id)

    def get_daily_usage(self, db: object = None, user_id: int = 0) -> Deferred[dict[str, Any]]:
        """DailyUsage as a dict. Fails with NoSuchUser."""
        return _deferred(self._daily_usage(user_id))

    def disconnect_smpp(self, db: object = None, session_token: str = "") -> Deferred[bool]:  # noqa: S107
        """Ends a session on whichever node holds it. False where none of this token is bound."""
        return self._smpp_sessions.request_disconnect(session_token)

    def enable_2fa(
        self, db: object = None, user_id: int = 0, otp_code: str | None = None
    ) -> Deferred[TwoFactorSetup | bool]:
        """Without a code: a new secret and its QR text. With one: whether it was right and 2FA is on.

        Fails with NoSuchUser, web.AlreadyEnabled.
        """
        if otp_code is None:
            return _deferred(self._web.begin_two_factor(user_id))
        return _deferred(self._web.confirm_two_factor(user_id, otp_code))

    def disable_2fa(
        self, db: object = None, user_id: int = 0, otp_code: str | None = None, *, actor_id: int | None = None
    ) -> Deferred[bool]:
        """The user needs a code, an administrator (actor_id of another) none. False: wrong code."""
        return _deferred(self._web.end_two_factor(user_id, otp_code, actor_id))

    def hash_password(self, password: str) -> Deferred[str]:
        """For users.password_hash."""
        return self._passwords.hash(password)

    async def _api_key(self, api_key: str, ip: str) -> AuthResult:
        if not api_key:
            return refused(INVALID_CREDENTIALS, "Invalid API key")
        account = await self._proof.api_key(api_key)
        if account is None:
            result = refused(INVALID_CREDENTIALS, "Invalid API key")
        else:
            result = _admitted(account, "HTTP API", account.may_http, ip)
        # A success is a row of tbl_api_requests anyway: a second one per request would say nothing more.
        if not result.success:
            self._note("AUTH_API_KEY", result, account, ip, {"key": api_key_hash(api_key)[:8]})
        return result

    async def _basic_auth(self, username: str, password: str, ip: str) -> AuthResult:
        account: Account | None = None
        fresh = not self._proof.known(self._proof.digest(username, password))
        try:
            account = await self._proof.password(username, password)
        except TooBusy:
            result = refused(BUSY, "Too many logins at a time; try again")
        else:
            if account is None:
                result = refused(INVALID_CREDENTIALS, "Invalid username or password")
            else:
                result = _admitted(account, "HTTP API", account.may_http, ip)
        if fresh or not result.success:
            self._note("AUTH_BASIC", result, account, ip, {"username": username[:100]})
        return result

    async def _smpp(
        self, system_id: str, password: str, bind_type: str, ip: str, port: int, peer: TlsPeer
    ) -> AuthResult:
        key, credential = (system_id, ip), self._proof.smpp_digest(system_id, password)
        account: Account | None = None
        if not self.bind_attempts.begin(key, credential):
            result = refused(TOO_MANY_ATTEMPTS, "Too many failed bind attempts; try again in a minute")
        else:
            failed = False
            try:
                account = await self._proof.smpp_password(system_id, password)
                if account is None:
                    result = refused(INVALID_CREDENTIALS, "Invalid system_id or password")
                else:
                    result = _admitted(account, "SMPP", account.may_smpp, ip)
                    result = (peer_refusal(account, peer) or result) if result.success else result
                failed = not result.success
            except TooBusy:
                result = refused(BUSY, "Too many logins at a time; try again")
            finally:
                self.bind_attempts.end(key, credential, failed)
        if result.success and account is not None:
            token = self._random(32).hex()
            opened = await self._smpp_sessions.opened(
                user_id=account.user_id,
                system_id=system_id,
                bind_type=bind_type,
                remote_ip=ip,
                remote_port=port,
                token=token,
                max_binds=account.max_binds,
            )
            if not opened:
                token, result = "", refused(TOO_MANY_SESSIONS, "Too many SMPP sessions for this account")
            else:
                result = AuthResult(True, account, token)
        self._note("BIND_SMPP", result, account, ip, {"system_id": system_id[:100], "bind_type": bind_type})
        return result

    async def _new_api_key(self, user_id: int, actor_id: int | None) -> str:
        key = new_api_key(self._random)
        hashed = api_key_hash(key)
        if not await self._accounts.set_api_key_hash(user_id, hashed, actor_id=actor_id or user_id):
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

    def _note(
        self, action: str, result: AuthResult, account: Account | None, ip: str, details: dict[str, object]
    ) -> None:
        user_id = account.user_id if account else None
        self._audit.event(
            action, result.success, user_id=user_id, ip=ip, details={**details, "code": result.code}
        )


def new_api_key(random: Callable[[int], bytes] = os.urandom) -> str:
    """48 characters of a-z and 0-9, each as likely as the others."""
    key = ""
    while len(key) < API_KEY_LENGTH:
        # 252 is the largest multiple of 36 in an octet: what is above would favour some characters.
        key += "".join(API_KEY_CHARACTERS[b % 36] for b in random(64) if b < 252)
    return key[:API_KEY_LENGTH]


def _admitted(account: Account, channel: str, permitted: bool, ip: str) -> AuthResult:
    """Only asked once the credential was right, so the reason tells nothing to strangers."""
    if not account.active:
        return refused(SUSPENDED, "The account is suspended")
    if not permitted:
        return refused(NOT_PERMITTED, f"{channel} access is not permitted for this account")
    if not address_allowed(ip, account.allowed_ips):
        return refused(IP_NOT_ALLOWED, "IP address not allowed")
    return AuthResult(True, account)


def _deferred(work: Awaitable[Any]) -> Deferred[Any]:
    return Deferred.fromCoroutine(work)  # type: ignore[arg-type]
