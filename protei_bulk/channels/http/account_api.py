"""Login, logout and refresh, and what an account does with itself: API key, password, two-factor authentication."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from protei_bulk.access.ports import NoSuchUser
from protei_bulk.access.results import INVALID_OTP, INVALID_TOKEN, AuthResult
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.access.totp import TwoFactorSetup
from protei_bulk.access.two_factor import AlreadyEnabled, TooManyCodes
from protei_bulk.callbacks.payload import iso_time
from protei_bulk.channels.http.exchange import CHALLENGES, Exchange, refusal
from protei_bulk.channels.http.problems import Problem, Reply, reply, retry_after
from protei_bulk.channels.http.shapes import Body, Text
from protei_bulk.model.account import Account

LOGIN_ID = re.compile(r"[0-9a-f]{1,64}\Z")
USERNAME = Text(100, 1)
PASSWORD = Text(1024, 1, pattern="", secret=True)
CODE = Text(40, 1, about="six digits, or a recovery code")
LOGIN = Body({"username": USERNAME, "password": PASSWORD, "otp_code": CODE}, ("username", "password"), nullable=("otp_code",))
REFRESH = Body({"refresh_token": Text(2048, 1, about="unless it is in the Authorization header")})
ENABLE_2FA = Body({"otp_code": Text(12, 1, about="of the secret that the call without it gave")})
DISABLE_2FA = Body({"password": PASSWORD, "otp_code": CODE}, ("password", "otp_code"))
RECOVERY_CODES = Body({"otp_code": Text(12, 1)}, ("otp_code",))

Read = Callable[[Exchange], object]


class AccountApi:
    """`body` reads the document of a request, `optional` one that may be left out."""

    def __init__(self, auth: UnifiedAuthService, body: Read, optional: Read) -> None:
        self._auth, self._body, self._optional = auth, body, optional

    async def login(self, x: Exchange) -> Reply:
        given = LOGIN.read(self._body(x))
        result = await self._auth.authenticate_web(
            None, given["username"], given["password"], given.get("otp_code"), x.ip, x.user_agent
        )
        if not result.success:
            raise refusal(result)
        x.account = result.user  # for the audit
        return reply({**tokens(result), "user": who(x.who)})

    async def refresh(self, x: Exchange) -> Reply:
        given = REFRESH.read(self._optional(x))
        scheme, _, bearer = x.header("authorization").strip().partition(" ")
        token = given.get("refresh_token") or (bearer.strip() if scheme.lower() == "bearer" else "")
        if not token:
            raise Problem(401, INVALID_TOKEN, "A refresh token is required", headers=CHALLENGES[:1])
        result = await self._auth.refresh_token(None, token, x.ip, x.user_agent)
        if not result.success:
            raise refusal(result)
        x.account = result.user
        return reply(tokens(result))

    async def logout(self, x: Exchange) -> Reply:
        await self._auth.logout(None, x.credentials.secret, x.ip, x.user_agent)
        return reply({"status": "SUCCESS", "message": "Logged out."})

    async def me(self, x: Exchange) -> Reply:
        return reply({"status": "SUCCESS", "user": who(x.who)})

    async def logins(self, x: Exchange) -> Reply:
        found = await self._auth.logins(x.who.user_id)
        shown = [
            {
                "login_id": login.login_id,
                "ip_address": login.ip_address,
                "user_agent": login.user_agent,
                "began_at": iso_time(login.began),
                "refreshed_at": iso_time(login.refreshed),
                "ends_at": iso_time(login.ends),
                "current": login.login_id == x.login_id,
            }
            for login in found
        ]
        return reply({"status": "SUCCESS", "logins": shown})

    async def end_login(self, x: Exchange) -> Reply:
        if not LOGIN_ID.match(x.path["id"]) or not await self._auth.end_login(x.who.user_id, x.path["id"], x.ip, x.user_agent):
            raise Problem(404, "NOT_FOUND", "There is no such login, or it is over")
        return reply({"status": "SUCCESS", "message": "Logged out there."})

    async def generate_api_key(self, x: Exchange) -> Reply:
        key = await self._auth.generate_api_key(None, x.who.user_id, actor=x.actor)
        return reply({"status": "SUCCESS", "api_key": key, "message": "This is shown once. The key before it no longer works."})

    async def revoke_api_key(self, x: Exchange) -> Reply:
        await self._auth.revoke_api_key(None, x.who.user_id, actor=x.actor)
        return reply({"status": "SUCCESS", "message": "There is no API key now."})

    async def enable_2fa(self, x: Exchange) -> Reply:
        given = ENABLE_2FA.read(self._optional(x))
        try:
            found = await self._auth.enable_2fa(None, x.who.user_id, given.get("otp_code"), actor=x.actor)
        except AlreadyEnabled:
            raise Problem(409, "ALREADY_ENABLED", "Two-factor authentication is on; switch it off first") from None
        except TooManyCodes as error:
            raise too_many(error) from None
        if isinstance(found, TwoFactorSetup):
            message = "Call again with the code that the authenticator shows."
            return reply(
                {"status": "PENDING", "secret": found.secret, "otpauth_uri": found.uri, "qr_svg": found.qr_svg, "message": message}
            )
        return _codes(found)

    async def disable_2fa(self, x: Exchange) -> Reply:
        given = DISABLE_2FA.read(self._body(x))
        await self.password_is_right(x, given["password"])
        try:
            right = await self._auth.disable_2fa(None, x.who.user_id, given["otp_code"], actor=x.actor)
        except TooManyCodes as error:
            raise too_many(error) from None
        if not right:
            raise _wrong_code()
        return reply({"status": "SUCCESS", "two_factor_enabled": False})

    async def recovery_codes(self, x: Exchange) -> Reply:
        given = RECOVERY_CODES.read(self._body(x))
        try:
            return _codes(await self._auth.new_recovery_codes(None, x.who.user_id, given["otp_code"], actor=x.actor))
        except TooManyCodes as error:
            raise too_many(error) from None

    async def password_is_right(self, x: Exchange, password: str) -> None:
        """Raises Problem 403, 429, 503: 401 would say that the token is no good."""
        result = await self._auth.check_password(x.who.username, password, x.ip)
        if not result.success:
            problem = refusal(result)
            raise Problem(403, problem.code, problem.detail) if problem.status == 401 else problem


def tokens(result: AuthResult) -> dict[str, Any]:
    return {
        "status": "SUCCESS",
        "token": result.token,
        "token_type": "Bearer",
        "expires_in": int(result.seconds),
        "refresh_token": result.refresh_token,
    }


def who(account: Account) -> dict[str, Any]:
    """What an account may know of itself, and a login wants to know."""
    return {
        "user_id": account.user_id,
        "username": account.username,
        "customer_id": account.customer_id,
        "role": account.role,
        "two_factor_enabled": account.two_factor_enabled,
        "timezone": account.timezone,
        "currency": account.currency,
    }


def too_many(error: TooManyCodes) -> Problem:
    return Problem(429, "TOO_MANY_ATTEMPTS", str(error), headers=retry_after(error.seconds))


def gone(_: NoSuchUser) -> Problem:
    return Problem(404, "NOT_FOUND", "There is no such user")


def _codes(codes: list[str]) -> Reply:
    if not codes:
        raise _wrong_code()
    message = "These are shown once. Each lets you in once where the authenticator is lost."
    return reply({"status": "SUCCESS", "two_factor_enabled": True, "recovery_codes": codes, "message": message})


def _wrong_code() -> Problem:
    return Problem(403, INVALID_OTP, "The code is wrong, or was used already")
