"""How an authentication ended."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import field, frozen

from protei_bulk.model.account import Account

OK = "OK"
INVALID_CREDENTIALS = "INVALID_CREDENTIALS"
NOT_PERMITTED = "NOT_PERMITTED"
IP_NOT_ALLOWED = "IP_NOT_ALLOWED"
TLS_REQUIRED = "TLS_REQUIRED"
CERTIFICATE_REQUIRED = "CERTIFICATE_REQUIRED"
TOO_MANY_SESSIONS = "TOO_MANY_SESSIONS"
SUSPENDED = "SUSPENDED"
TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
OTP_REQUIRED = "OTP_REQUIRED"
INVALID_OTP = "INVALID_OTP"
INVALID_TOKEN = "INVALID_TOKEN"  # noqa: S105
BUSY = "BUSY"


@frozen
class AuthResult:
    """Unpacks as the specification has it: ``success, user, token, error = result``.

    token is the JWT (portal) or the session token (SMPP), error a text for people, code one of
    the names above for programs. seconds: how long the JWT lives; retry_after: how long to wait, where that is why.
    """

    success: bool
    user: Account | None = None
    token: str | None = field(default=None, repr=False)
    error: str | None = None
    code: str = OK
    refresh_token: str | None = field(default=None, repr=False)
    seconds: float = 0.0
    retry_after: float = 0.0
    login_id: str = ""  # of the login whose token was shown
    enrol: bool = False  # the role must have a second factor and has none yet: it may do nothing but set it up

    def __iter__(self) -> Iterator[bool | Account | str | None]:
        return iter((self.success, self.user, self.token, self.error))


def refused(code: str, error: str, retry_after: float = 0.0) -> AuthResult:
    return AuthResult(False, None, None, error, code, retry_after=retry_after)
