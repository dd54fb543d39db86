"""The ways in but for logins: API key, Basic and SMPP binds. Parts of UnifiedAuthService."""

from __future__ import annotations

from collections.abc import Callable

from protei_bulk.access.attempts import Guard
from protei_bulk.access.limits import address_allowed
from protei_bulk.access.passwords import TooBusy
from protei_bulk.access.peers import TlsPeer
from protei_bulk.access.peers import refusal as peer_refusal
from protei_bulk.access.ports import AuditTrail, SmppSessionStore
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
from protei_bulk.model.account import Account


class Entrances:
    """Coroutines that fail as the database does. `http` and `smpp` guard against guesses."""

    def __init__(
        self,
        proof: Proof,
        http: Guard,
        smpp: Guard,
        sessions: SmppSessionStore,
        audit: AuditTrail,
        random: Callable[[int], bytes],
    ) -> None:
        self._proof, self._http_guard, self._smpp_guard = proof, http, smpp
        self._sessions, self._audit, self._random = sessions, audit, random

    async def api_key(self, api_key: str, ip: str, user_agent: str) -> AuthResult:
        account = await self._proof.api_key(api_key) if api_key else None
        if account is None:
            result = refused(INVALID_CREDENTIALS, "Invalid API key")
        else:
            result = _admitted(account, "HTTP API", account.may_http, ip)
        # A success is a row of tbl_api_requests anyway: a second one per request would say nothing more.
        if not result.success:
            self._note("AUTH_API_KEY", result, account, ip, {"key": api_key_hash(api_key)[:8]}, user_agent)
        return result

    async def basic(self, username: str, password: str, ip: str, user_agent: str) -> AuthResult:
        account: Account | None = None
        credential = self._proof.digest(username, password)
        known = self._proof.known(credential)
        attempt = await self._http_guard.begin(username, ip, credential, known)
        if attempt.wait:
            result = refused(TOO_MANY_ATTEMPTS, "Too many failed logins", attempt.wait)
        else:
            failed = False
            right: int | None = None
            try:
                account = await self._proof.password(username, password)
                if account is None:
                    result = refused(INVALID_CREDENTIALS, "Invalid username or password")
                    failed = True
                else:
                    result = _admitted(account, "HTTP API", account.may_http, ip)
                    right = account.user_id if result.success else None
            except TooBusy:
                result = refused(BUSY, "Too many logins at a time; try again", 1.0)
            finally:
                self._http_guard.end(attempt, failed=failed, user_id=right)
        if not known or not result.success:
            self._note("AUTH_BASIC", result, account, ip, {"username": username[:100]}, user_agent)
        return result

    async def smpp(
        self, system_id: str, password: str, bind_type: str, ip: str, port: int, peer: TlsPeer
    ) -> AuthResult:
        account: Account | None = None
        credential = self._proof.smpp_digest(system_id, password)
        attempt = await self._smpp_guard.begin(system_id, ip, credential, self._proof.known(credential))
        if attempt.wait:
            result = refused(TOO_MANY_ATTEMPTS, "Too many failed bind attempts; try again later", attempt.wait)
        else:
            failed = False
            right: int | None = None
            try:
                account = await self._proof.smpp_password(system_id, password)
                if account is None:
                    result = refused(INVALID_CREDENTIALS, "Invalid system_id or password")
                else:
                    result = _admitted(account, "SMPP", account.may_smpp, ip)
                    result = (peer_refusal(account, peer) or result) if result.success else result
                    right = account.user_id if result.success else None
                failed = not result.success
            except TooBusy:
                result = refused(BUSY, "Too many logins at a time; try again", 1.0)
            finally:
                self._smpp_guard.end(attempt, failed=failed, user_id=right)
        if result.success and account is not None:
            result = await self._opened(account, system_id, bind_type, ip, port)
        self._note("BIND_SMPP", result, account, ip, {"system_id": system_id[:100], "bind_type": bind_type})
        return result

    async def _opened(self, account: Account, system_id: str, bind_type: str, ip: str, port: int) -> AuthResult:
        token = self._random(32).hex()
        opened = await self._sessions.opened(
            user_id=account.user_id,
            system_id=system_id,
            bind_type=bind_type,
            remote_ip=ip,
            remote_port=port,
            token=token,
            max_binds=account.max_binds,
        )
        if not opened:
            return refused(TOO_MANY_SESSIONS, "Too many SMPP sessions for this account")
        return AuthResult(True, account, token)

    def _note(
        self,
        action: str,
        result: AuthResult,
        account: Account | None,
        ip: str,
        details: dict[str, object],
        user_agent: str = "",
    ) -> None:
        user_id = account.user_id if account else None
        details["code"] = result.code
        self._audit.event(action, result.success, user_id=user_id, ip=ip, user_agent=user_agent, details=details)


def _admitted(account: Account, channel: str, permitted: bool, ip: str) -> AuthResult:
    """Only asked once the credential was right, so the reason tells nothing to strangers."""
    if not account.active:
        return refused(SUSPENDED, "The account is suspended")
    if not permitted:
        return refused(NOT_PERMITTED, f"{channel} access is not permitted for this account")
    if not address_allowed(ip, account.allowed_ips):
        return refused(IP_NOT_ALLOWED, "IP address not allowed")
    return AuthResult(True, account)
