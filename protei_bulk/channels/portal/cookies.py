"""The portal's cookies: the session, the language, and what is told once. Values of ours are signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from http.cookies import CookieError, SimpleCookie

from twisted.web.iweb import IRequest

from protei_bulk.channels.portal.visit import Flash

_YEAR = 31_536_000


class Cookies:
    """`key` signs; nobody but this program knows it."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    # --- in

    def read(self, request: IRequest) -> dict[str, str]:
        jar: SimpleCookie = SimpleCookie()
        for header in request.requestHeaders.getRawHeaders("cookie", []):
            try:
                jar.load(header[:16384])
            except CookieError:
                continue
        return {name: morsel.value for name, morsel in jar.items()}

    @staticmethod
    def session_name(secure: bool) -> str:
        """With TLS a name that no other host and no other path can set (RFC 6265bis, section 4.1.3.2)."""
        return "__Host-protei" if secure else "protei"

    # --- out

    @staticmethod
    def make(name: str, value: str, *, secure: bool, seconds: int | None = None, scripts: bool = False) -> bytes:
        parts = [f"{name}={value}", "Path=/", "SameSite=Lax"]
        if seconds is not None:
            parts.append(f"Max-Age={seconds}")
        if secure:
            parts.append("Secure")
        if not scripts:
            parts.append("HttpOnly")
        return "; ".join(parts).encode("latin-1")

    def session(self, token: str, secure: bool) -> bytes:
        """Ends with the browser; its token ends earlier."""
        return self.make(self.session_name(secure), token, secure=secure)

    def no_session(self, secure: bool) -> bytes:
        return self.make(self.session_name(secure), "", secure=secure, seconds=0)

    def language(self, code: str, secure: bool) -> bytes:
        return self.make("protei_language", code, secure=secure, seconds=_YEAR)

    # --- what is told once

    def flash(self, flash: Flash, secure: bool) -> bytes:
        body = base64.urlsafe_b64encode(json.dumps([flash.kind, flash.text[:600]]).encode()).decode()
        return self.make("protei_flash", f"{body}.{self._mark('flash', body)}", secure=secure, seconds=60)

    def no_flash(self, secure: bool) -> bytes:
        return self.make("protei_flash", "", secure=secure, seconds=0)

    def flashed(self, value: str) -> Flash | None:
        body, _, mark = value.partition(".")
        if not body or not hmac.compare_digest(mark.encode("utf-8", "replace"), self._mark("flash", body).encode()):
            return None
        kind, text = json.loads(base64.urlsafe_b64decode(body))
        return Flash(kind, text)

    # --- forms

    def csrf(self, session_id: str) -> str:
        """What every form of a session carries."""
        return self._mark("csrf", session_id)

    def right_csrf(self, session_id: str, given: str) -> bool:
        return bool(session_id) and hmac.compare_digest(self.csrf(session_id).encode(), given.encode("utf-8", "replace"))

    def _mark(self, use: str, text: str) -> str:
        return hmac.new(self._key, f"{use}:{text}".encode(), hashlib.sha256).hexdigest()[:40]


def same_origin(request: IRequest, host: str) -> bool:
    """Whether a form came from a page of this site: by Sec-Fetch-Site, else by Origin; a request with neither came from no browser."""
    site = request.getHeader("sec-fetch-site")
    if site:
        return site in ("same-origin", "none")
    origin = request.getHeader("origin")
    if not origin:
        return False
    return bool(origin.partition("://")[2].lower() == host.lower())
