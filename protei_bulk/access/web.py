"""Logins of the portal: password, then TOTP, then a token that a refresh replaces and a logout ends."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from protei_bulk.access.accounts import AccountDirectory
from protei_bulk.access.clock import Clock
from protei_bulk.access.limits import FailedAttempts
from protei_bulk.access.passwords import TooBusy
from protei_bulk.access.ports import AccountStore, AuditTrail, NoSuchUser, WebSession, WebSessionStore
from protei_bulk.access.proof import Proof
from protei_bulk.access.results import (
    BUSY,
    INVALID_CREDENTIALS,
    INVALID_OTP,
    INVALID_TOKEN,
    OTP_REQUIRED,
    SUSPENDED,
    TOO_MANY_ATTEMPTS,
    AuthResult,
    refused,
)
from protei_bulk.access.secrets import Seal, SecretError
from protei_bulk.access.tokens import BadToken, Claims, Tokens
from protei_bulk.access.totp import SECRET_OCTETS, TwoFactorSetup, matching_step, setup_of
from protei_bulk.model.account import Account

SESSION_SECONDS = 12 * 3600.0
_CACHE_SECONDS = 30.0  # how long a node may believe that a session stands without asking again
_CACHED = 50_000
_GRACE_SECONDS = 10.0  # requests under way while the token was refreshed may still carry the old one
_FAILURES_A_MINUTE = 10


class AlreadyEnabled(Exception):
    """The account has two-factor authentication; it must be switched off first."""


@frozen
class _Seen:
    session: WebSession
    at: float


class WebLogins:
    """Part of UnifiedAuthService; its methods are coroutines and fail as the database does."""

    def __init__(
        self,
        *,
        accounts: AccountStore,
        directory: AccountDirectory,
        proof: Proof,
        sessions: WebSessionStore,
        tokens: Tokens,
        seal: Seal,
        audit: AuditTrail,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._accounts = accounts
        self._directory = directory
        self._proof = proof
        self._sessions = sessions
        self._tokens = tokens
        self._seal = seal
        self._audit = audit
        self._clock = clock
        self._random = random
        self._attempts = FailedAttempts(clock, _FAILURES_A_MINUTE)
        self._seen: dict[str, _Seen] = {}
        directory.on_forget(self._forget)

    async def login(
        self, username: str, password: str, otp_code: str | None, ip: str, user_agent: str
    ) -> AuthResult:
        key, credential = (username, ip), self._proof.digest(username + "\n" + (otp_code or ""), password)
        if not self._attempts.begin(key, credential):
            return self._note(username, ip, user_agent, refused(TOO_MANY_ATTEMPTS, "Too many failed logins"))
        result = None
        try:
            result = await self._login(username, password, otp_code, ip, user_agent)
        finally:
            failed = result is not None and result.code in (INVALID_CREDENTIALS, INVALID_OTP)
            self._attempts.end(key, credential, failed)
        return self._note(username, ip, user_agent, result)

    async def _login(
        self, username: str, password: str, otp_code: str | None, ip: str, user_agent: str
    ) -> AuthResult:
        try:
            account = await self._proof.password(username, password)
        except TooBusy:
            return refused(BUSY, "Too many logins at a time; try again")
        if account is None:
            return refused(INVALID_CREDENTIALS, "Invalid username or password")
        if not account.active:
            return refused(SUSPENDED, "The account is suspended")
        if account.two_factor_enabled:
            if not otp_code:
                return refused(OTP_REQUIRED, "OTP code required")
            right = await self._limited(account, otp_code)
            if right is None:
                return refused(TOO_MANY_ATTEMPTS, "Too many failed logins")
            if not right:
                return refused(INVALID_OTP, "Invalid OTP code")
        session_id, token_id = self._random(16).hex(), self._random(16).hex()
        await self._sessions.open(
            session_id, account.user_id, token_id, seconds=SESSION_SECONDS, ip=ip, user_agent=user_agent
        )
        await self._accounts.logged_in(account.user_id)
        return AuthResult(True, account, self._tokens.make(account.user_id, session_id, token_id))

    async def verify(self, token: str) -> AuthResult:
        """Whether a token stands now; from memory, asking the database every half minute."""
        try:
            claims = self._tokens.read(token)
        except BadToken as error:
            return refused(INVALID_TOKEN, str(error).capitalize())
        return await self._stands(claims, await self._session(claims.session_id))

    async def refresh(self, token: str) -> AuthResult:
        """A new token for one that still stands; the old one ends."""
        try:
            claims = self._tokens.read(token)
        except BadToken as error:
            return refused(INVALID_TOKEN, str(error).capitalize())
        self._seen.pop(claims.session_id, None)
        session = await self._session(claims.session_id)
        found = await self._stands(claims, session)
        if not found.success or found.user is None:
            if session is not None and session.token_id != claims.token_id:
                # An old token that comes again was copied: neither copy is to be trusted.
                await self._sessions.revoke(claims.session_id)
                self._seen.pop(claims.session_id, None)
                self._audit.event("TOKEN_REUSED", False, user_id=claims.user_id)
            return found
        token_id = self._random(16).hex()
        if not await self._sessions.rotate(claims.session_id, claims.token_id, token_id):
            return refused(INVALID_TOKEN, "The token was refreshed already")
        self._seen.pop(claims.session_id, None)
        return AuthResult(True, found.user, self._tokens.make(claims.user_id, claims.session_id, token_id))

    async def logout(self, token: str) -> bool:
        """False where the token was no good anyway."""
        try:
            claims = self._tokens.read(token)
        except BadToken:
            return False
        self._seen.pop(claims.session_id, None)
        ended = await self._sessions.revoke(claims.session_id)
        self._seen.pop(claims.session_id, None)
        self._audit.event("LOGOUT", ended, user_id=claims.user_id)
        return ended

    async def begin_two_factor(self, user_id: int) -> TwoFactorSetup:
        """A new secret, in force once confirm_two_factor has seen a code of it.

        Raises NoSuchUser, AlreadyEnabled.
        """
        account = await self._account(user_id)
        if account.two_factor_enabled:
            raise AlreadyEnabled(account.username)
        secret = self._random(SECRET_OCTETS)
        await self._accounts.set_two_factor(
            user_id, self._seal.close(secret, _owner(user_id)), False, actor_id=user_id
        )
        return setup_of(secret, account.username)

    async def confirm_two_factor(self, user_id: int, otp_code: str) -> bool:
        """Switch it on, where the code is right. Raises NoSuchUser."""
        account = await self._account(user_id)
        right = bool(await self._limited(account, otp_code))
        if right and not account.two_factor_enabled:
            rows = await self._accounts.by_user_ids([user_id])
            await self._accounts.set_two_factor(user_id, rows[0].two_factor_secret, True, actor_id=user_id)
        return right

    async def end_two_factor(self, user_id: int, otp_code: str | None, actor_id: int | None) -> bool:
        """Switch it off: for the user himself with a code, for another (an administrator) without."""
        account = await self._account(user_id)
        by_another = actor_id is not None and actor_id != user_id
        if account.two_factor_enabled and not by_another and not await self._limited(account, otp_code or ""):
            return False
        await self._accounts.set_two_factor(user_id, None, False, actor_id=actor_id or user_id)
        return True

    async def _limited(self, account: Account, otp_code: str) -> bool | None:
        """Whether the code is right; None where too many were wrong.

        Six digits could be guessed, from many addresses, so the limit is the account's.
        """
        key, credential = ("otp", account.user_id), otp_code.encode("utf-8", "replace")
        if not self._attempts.begin(key, credential):
            return None
        right = False
        try:
            right = await self._code_is_right(account, otp_code)
        finally:
            self._attempts.end(key, credential, not right)
        return right

    async def _code_is_right(self, account: Account, otp_code: str) -> bool:
        rows = await self._accounts.by_user_ids([account.user_id])
        sealed = rows[0].two_factor_secret if rows else None
        if not sealed:
            return False
        try:
            secret = self._seal.open(sealed, _owner(account.user_id))
        except SecretError as error:
            self._audit.event("TWO_FACTOR_KEY", False, user_id=account.user_id, details={"error": str(error)})
            return False
        step = matching_step(secret, otp_code, self._clock.seconds())
        return step is not None and await self._accounts.use_totp_step(account.user_id, step)

    async def _account(self, user_id: int) -> Account:
        rows = await self._accounts.by_user_ids([user_id])
        if not rows:
            raise NoSuchUser(user_id)
        return rows[0].account

    async def _session(self, session_id: str) -> WebSession | None:
        seen = self._seen.get(session_id)
        if seen is not None and self._clock.seconds() < seen.at + _CACHE_SECONDS:
            return seen.session
        now = self._clock.seconds()
        session = await self._sessions.get(session_id)
        if session is None:
            self._seen.pop(session_id, None)
        else:
            self._seen[session_id] = _Seen(session, now)
            if len(self._seen) > _CACHED:
                del self._seen[next(iter(self._seen))]
        return session

    async def _stands(self, claims: Claims, session: WebSession | None) -> AuthResult:
        if session is None or session.user_id != claims.user_id:
            return refused(INVALID_TOKEN, "The session is over")
        if claims.token_id != session.token_id:
            seen = self._seen.get(claims.session_id)
            age = session.rotated_seconds + (self._clock.seconds() - seen.at if seen else 0)
            if claims.token_id != session.previous_id or age > _GRACE_SECONDS:
                # Perhaps another node has refreshed it since we asked.
                if seen is not None and seen.at < self._clock.seconds():
                    self._seen.pop(claims.session_id, None)
                    return await self._stands(claims, await self._session(claims.session_id))
                return refused(INVALID_TOKEN, "The token was refreshed already")
        account = await self._directory.load(claims.user_id)
        if account is None or not account.active:
            return refused(SUSPENDED, "The account is suspended")
        return AuthResult(True, account)

    def _forget(self, user_id: int | None) -> None:
        if user_id is None:
            self._seen.clear()
        else:
            for session_id in [s for s, seen in self._seen.items() if seen.session.user_id == user_id]:
                del self._seen[session_id]

    def _note(self, username: str, ip: str, user_agent: str, result: AuthResult) -> AuthResult:
        if result.code != OTP_REQUIRED:
            details = {"username": username[:100], "code": result.code}
            user_id = result.user.user_id if result.user else None
            self._audit.event(
                "LOGIN_WEB", result.success, user_id=user_id, ip=ip, user_agent=user_agent, details=details
            )
        return result


def _owner(user_id: int) -> str:
    return f"user:{user_id}"
