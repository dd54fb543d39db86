"""Logins: password, then a one-time code, then two tokens that a refresh replaces and a logout ends."""

from __future__ import annotations

from collections.abc import Callable, Collection

from attrs import frozen

from protei_bulk.access.accounts import AccountDirectory
from protei_bulk.access.attempts import Guard
from protei_bulk.access.clock import Clock
from protei_bulk.access.passwords import TooBusy
from protei_bulk.access.ports import AccountStore, AuditTrail, WebSession, WebSessionStore
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
from protei_bulk.access.tokens import ACCESS, ACCESS_SECONDS, REFRESH, BadToken, Claims, Tokens
from protei_bulk.access.two_factor import TooManyCodes, TwoFactor

_CACHE_SECONDS = 30.0  # how long a node may believe that a session stands without asking again
_CACHED = 50_000
_GRACE_SECONDS = 10.0  # requests under way while the token was refreshed may still carry the old one


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
        guard: Guard,
        two_factor: TwoFactor,
        sessions: WebSessionStore,
        tokens: Tokens,
        audit: AuditTrail,
        clock: Clock,
        random: Callable[[int], bytes],
        session_seconds: float,
        idle_seconds: float,
        second_factor: Collection[str] = (),
    ) -> None:
        self._accounts = accounts
        self._directory = directory
        self._proof = proof
        self._guard = guard
        self._two_factor = two_factor
        self._sessions = sessions
        self._tokens = tokens
        self._audit = audit
        self._clock = clock
        self._random = random
        self._session_seconds, self._idle_seconds = session_seconds, idle_seconds
        self._second_factor = frozenset(second_factor)  # roles that must have one
        self._seen: dict[str, _Seen] = {}
        directory.on_forget(self._forget)

    async def login(self, username: str, password: str, otp_code: str | None, ip: str, user_agent: str) -> AuthResult:
        known = self._proof.digest(username, password)
        credential = self._proof.digest(username + "\n" + (otp_code or ""), password)
        attempt = await self._guard.begin(username, ip, credential, self._proof.known(known))
        if attempt.wait:
            late = refused(TOO_MANY_ATTEMPTS, "Too many failed logins", attempt.wait)
            return self._note(username, ip, user_agent, late)
        result: AuthResult | None = None
        try:
            result = await self._login(username, password, otp_code, ip, user_agent)
        finally:
            failed = result is not None and result.code in (INVALID_CREDENTIALS, INVALID_OTP)
            right = result.user.user_id if result is not None and result.success and result.user else None
            self._guard.end(attempt, failed=failed, user_id=right)
        return self._note(username, ip, user_agent, result)

    async def _login(self, username: str, password: str, otp_code: str | None, ip: str, user_agent: str) -> AuthResult:
        try:
            account = await self._proof.password(username, password)
        except TooBusy:
            return refused(BUSY, "Too many logins at a time; try again", 1.0)
        if account is None:
            return refused(INVALID_CREDENTIALS, "Invalid username or password")
        if not account.active:
            return refused(SUSPENDED, "The account is suspended")
        if account.two_factor_enabled:
            if not otp_code:
                return refused(OTP_REQUIRED, "OTP code required")
            try:
                right = await self._two_factor.right(account, otp_code)
            except TooManyCodes as error:
                return refused(TOO_MANY_ATTEMPTS, "Too many failed logins", error.seconds)
            if not right:
                return refused(INVALID_OTP, "Invalid OTP code")
        session_id, token_id = self._random(16).hex(), self._random(16).hex()
        await self._sessions.open(
            session_id, account.user_id, token_id, seconds=self._session_seconds, ip=ip, user_agent=user_agent
        )
        await self._accounts.logged_in(account.user_id)
        result = AuthResult(True, account)
        return await self._with_tokens(result, session_id, token_id, self._session_seconds)

    async def reauthenticate(self, username: str, password: str, ip: str) -> AuthResult:
        """The password alone, for what even a session that stands may not do without it."""
        credential = self._proof.digest(username, password)
        attempt = await self._guard.begin(username, ip, credential, self._proof.known(credential))
        if attempt.wait:
            return refused(TOO_MANY_ATTEMPTS, "Too many wrong passwords", attempt.wait)
        failed = False
        try:
            account = await self._proof.password(username, password)
            failed = account is None
        except TooBusy:
            return refused(BUSY, "Too many logins at a time; try again", 1.0)
        finally:
            self._guard.end(attempt, failed=failed)
        if account is None:
            return refused(INVALID_CREDENTIALS, "Wrong password")
        return AuthResult(True, account)

    async def verify(self, token: str, kind: str = ACCESS) -> AuthResult:
        """Whether a token of a kind stands now; from memory, asking the database every half minute."""
        try:
            claims = await self._tokens.read(token, (kind,))
        except BadToken as error:
            return refused(INVALID_TOKEN, str(error).capitalize())
        remembered = claims.session_id in self._seen
        found = await self._stands(claims, await self._session(claims.session_id))
        if remembered and not found.success:
            # Perhaps another node has refreshed it since we asked: what memory refuses, the database is asked for.
            self._seen.pop(claims.session_id, None)
            found = await self._stands(claims, await self._session(claims.session_id))
        return found

    async def refresh(self, token: str, ip: str = "", user_agent: str = "") -> AuthResult:
        """New tokens for a refresh token that still stands (or for an access token: it is of the same generation).

        The tokens before end. One of an older generation was copied: the session ends, whoever has its tokens.
        """
        try:
            claims = await self._tokens.read(token, (REFRESH, ACCESS))
        except BadToken as error:
            return refused(INVALID_TOKEN, str(error).capitalize())
        self._seen.pop(claims.session_id, None)
        session = await self._session(claims.session_id)
        found = await self._stands(claims, session)
        if session is None or not found.success or found.user is None:
            if session is not None and session.user_id == claims.user_id and claims.token_id != session.token_id:
                await self._copied(claims, ip, user_agent)
            return found
        token_id = self._random(16).hex()
        if not await self._sessions.rotate(claims.session_id, claims.token_id, token_id):
            return refused(INVALID_TOKEN, "The token was refreshed already")
        self._seen.pop(claims.session_id, None)
        return await self._with_tokens(found, claims.session_id, token_id, session.left_seconds)

    async def logout(self, token: str, ip: str = "", user_agent: str = "") -> bool:
        """Ends the session of an access or refresh token, on all nodes. False where the token was no good anyway."""
        try:
            claims = await self._tokens.read(token, (ACCESS, REFRESH))
        except BadToken:
            return False
        self._seen.pop(claims.session_id, None)
        ended = await self._sessions.revoke(claims.session_id)
        self._seen.pop(claims.session_id, None)
        self._audit.event("LOGOUT", ended, user_id=claims.user_id, ip=ip, user_agent=user_agent)
        return ended

    async def end(self, user_id: int, login_id: str, ip: str, user_agent: str, actor_id: int | None = None) -> bool:
        """Ends one of a user's logins. False where there is none of this id."""
        ended = await self._sessions.revoke(login_id, user_id)
        self._seen.pop(login_id, None)
        if ended:
            self._audit.event("LOGOUT", True, user_id=user_id, actor_id=actor_id or user_id, ip=ip, user_agent=user_agent)
        return ended

    async def _with_tokens(self, result: AuthResult, session_id: str, token_id: str, left: float) -> AuthResult:
        assert result.user is not None
        user_id = result.user.user_id
        access = await self._tokens.make(ACCESS, user_id, session_id, token_id, min(ACCESS_SECONDS, left))
        refresh = await self._tokens.make(REFRESH, user_id, session_id, token_id, min(self._idle_seconds, left))
        return AuthResult(True, result.user, access, refresh_token=refresh, seconds=min(ACCESS_SECONDS, left))

    async def _copied(self, claims: Claims, ip: str, user_agent: str) -> None:
        await self._sessions.revoke(claims.session_id)
        self._seen.pop(claims.session_id, None)
        self._audit.event("TOKEN_REUSED", False, user_id=claims.user_id, ip=ip, user_agent=user_agent)

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
                return refused(INVALID_TOKEN, "The token was refreshed already")
        account = await self._directory.load(claims.user_id)
        if account is None or not account.active:
            return refused(SUSPENDED, "The account is suspended")
        enrol = account.role in self._second_factor and not account.two_factor_enabled
        return AuthResult(True, account, login_id=claims.session_id, enrol=enrol)

    def _forget(self, user_id: int | None) -> None:
        if user_id is None:
            self._seen.clear()
        else:
            for session_id in [s for s, seen in self._seen.items() if seen.session.user_id == user_id]:
                del self._seen[session_id]

    def _note(self, username: str, ip: str, user_agent: str, result: AuthResult) -> AuthResult:
        details = {"username": username[:100], "code": result.code}
        user_id = result.user.user_id if result.user else None
        # A login that still lacks its code has neither succeeded nor failed: the password was right.
        success = result.success or result.code == OTP_REQUIRED
        self._audit.event("LOGIN_WEB", success, user_id=user_id, ip=ip, user_agent=user_agent, details=details)
        return result
