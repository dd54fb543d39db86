"""JSON Web Tokens of a login, after RFC 8725: HS256 and nothing else, explicitly typed, short-lived, revocable.

A login has an access token, which every request carries, and a refresh token, which is shown to /api/refresh alone.
Both name their session (a row of tbl_web_sessions) and the generation of it that they belong to.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import jwt
from attrs import frozen

from protei_bulk.access.clock import Clock
from protei_bulk.access.keys import KeyRing

ALGORITHM = "HS256"
ISSUER = "protei-bulk"
ACCESS, REFRESH = "access", "refresh"
ACCESS_SECONDS = 900.0
_AUDIENCES = {ACCESS: "protei-bulk-api", REFRESH: "protei-bulk-refresh"}
_TYPES = {ACCESS: "at+jwt", REFRESH: "rt+jwt"}  # in the header, where no other kind of token has them
_CLAIMS = ["iss", "aud", "sub", "sid", "jti", "typ", "iat", "nbf", "exp"]
_LONGEST = 2048  # characters
_ID = re.compile(r"[0-9a-z]{1,64}\Z")
_SKEW = 10.0  # seconds that another node's clock may be ahead


class BadToken(Exception):
    """Not a token of ours, or one whose time is over or has not come."""


@frozen
class Claims:
    kind: str  # ACCESS, REFRESH
    user_id: int
    session_id: str
    token_id: str  # of the generation
    expires: float  # Unix seconds


class Tokens:
    """Makes and reads them. The clock's seconds are Unix time. Fails as the database does."""

    def __init__(self, clock: Clock, keys: KeyRing) -> None:
        self._clock = clock
        self._keys = keys

    async def make(self, kind: str, user_id: int, session_id: str, token_id: str, seconds: float) -> str:
        now = self._clock.seconds()
        claims = {
            "iss": ISSUER, "aud": _AUDIENCES[kind], "typ": kind, "sub": str(user_id), "sid": session_id,
            "jti": f"{token_id}.{kind}", "iat": int(now), "nbf": int(now), "exp": int(now + seconds),
        }  # fmt: skip
        key = await self._keys.signing()
        return jwt.encode(claims, key.secret, algorithm=ALGORITHM, headers={"kid": key.kid, "typ": _TYPES[kind]})

    async def read(self, token: str, kinds: Collection[str] = (ACCESS,)) -> Claims:
        """Raises BadToken. Says nothing about whether the session still stands."""
        kind, kid = _head(token, kinds)
        secret = await self._keys.find(kid)
        if secret is None:
            raise BadToken("not a valid token")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                secret,
                algorithms=[ALGORITHM],
                audience=_AUDIENCES[kind],
                issuer=ISSUER,
                # The times are compared below, with our own clock.
                options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            token_id, _, named = str(claims["jti"]).partition(".")
            if claims["typ"] != kind or named != kind:
                raise BadToken("a token of another type")
            if not all(type(claims[name]) is int for name in ("exp", "nbf", "iat")) or not _ID.match(claims["sid"]):
                raise BadToken("not a valid token")
            found = Claims(kind, int(claims["sub"]), str(claims["sid"]), token_id, claims["exp"])
            begins = max(claims["nbf"], claims["iat"])
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise BadToken("not a valid token") from error
        now = self._clock.seconds()
        if not begins <= now + _SKEW:
            raise BadToken("the token is not valid yet")
        if not now < found.expires:
            raise BadToken("the token has expired")
        return found


def _head(token: str, kinds: Collection[str]) -> tuple[str, str]:
    """Kind and key id, from the header, of which nothing else is believed."""
    if len(token) > _LONGEST or not token.isascii():
        raise BadToken("not a valid token")
    try:
        head = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise BadToken("not a valid token") from error
    kid = head.get("kid")
    if head.get("alg") != ALGORITHM or not isinstance(kid, str) or "crit" in head:
        raise BadToken("not a valid token")
    for kind in kinds:
        if head.get("typ") == _TYPES[kind]:
            return kind, kid
    raise BadToken("a token of another type")
