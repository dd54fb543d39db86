"""JSON Web Tokens of the portal: HS256 and nothing else, short-lived, tied to a row of tbl_web_sessions."""

from __future__ import annotations

from typing import Any

import jwt
from attrs import frozen

from protei_bulk.access.clock import Clock

ALGORITHM = "HS256"
ISSUER = "protei-bulk"
AUDIENCE = "protei-bulk-portal"
TYPE = "access"
LIFE_SECONDS = 900.0
_CLAIMS = ["iss", "aud", "sub", "sid", "jti", "typ", "iat", "exp"]


class BadToken(Exception):
    """Not a token of ours, or one whose time is over."""


@frozen
class Claims:
    user_id: int
    session_id: str
    token_id: str
    expires: float  # Unix seconds


class Tokens:
    """Makes and reads them. The clock's seconds are Unix time."""

    def __init__(self, clock: Clock, key: bytes, life: float = LIFE_SECONDS) -> None:
        self._clock = clock
        self._key = key
        self.life = life

    def make(self, user_id: int, session_id: str, token_id: str, until: float | None = None) -> str:
        """Good for `life` seconds, but not beyond `until`."""
        now = self._clock.seconds()
        expires = now + self.life if until is None else min(until, now + self.life)
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "typ": TYPE, "sub": str(user_id), "sid": session_id,
            "jti": token_id, "iat": int(now), "exp": int(expires),
        }  # fmt: skip
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def read(self, token: str) -> Claims:
        """Raises BadToken. Says nothing about whether the session still stands."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # The times are compared below, with our own clock.
                options={"require": _CLAIMS, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            if claims["typ"] != TYPE:
                raise BadToken("a token of another type")
            found = Claims(int(claims["sub"]), str(claims["sid"]), str(claims["jti"]), float(claims["exp"]))
        except (jwt.InvalidTokenError, ValueError, TypeError, UnicodeError) as error:
            raise BadToken("not a valid token") from error
        if found.expires <= self._clock.seconds():
            raise BadToken("the token has expired")
        return found
