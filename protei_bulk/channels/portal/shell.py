"""What every request of a browser goes through: session, language, CSRF, permission, errors, headers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from attrs import frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from protei_bulk.access.results import AuthResult
from protei_bulk.channels.http.client import client_address, hops
from protei_bulk.channels.portal.cookies import Cookies, same_origin
from protei_bulk.channels.portal.i18n import Language, load_languages, negotiate
from protei_bulk.channels.portal.large_forms import TooLarge, take_apart
from protei_bulk.channels.portal.multipart import first_token
from protei_bulk.channels.portal.render import Renderer
from protei_bulk.channels.portal.static_files import StaticFiles
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.model.permissions import Permission, Scope, scope_of
from protei_bulk.settings import Http
from protei_bulk.store.pool_connection import DatabaseUnavailable

log = Logger()

_RENEW_AFTER = 300.0  # seconds of a session's token, after which a page brings a new one
#: where pages differ from channels/http/headers.py, which adds the rest to every answer
HEADERS = (
    (b"content-security-policy",
     b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
     b"frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
)  # fmt: skip


class Auth(Protocol):
    """Of UnifiedAuthService, what the frame needs."""

    def authenticate_portal(self, db: object = None, token: str = "") -> Deferred[AuthResult]: ...

    def refresh_token(self, db: object = None, token: str = "", ip_address: str = "", user_agent: str = "") -> Deferred[AuthResult]: ...


@frozen
class Answer:
    """What a handler gives back. `body` is text or octets; a Deferred in `then` ends an answer that goes on (a stream)."""

    body: str | bytes = ""
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    then: Deferred[None] | None = None


class Fault(Exception):
    """The page cannot be shown: `status` and what the reader is told."""

    def __init__(self, status: int, title: str = "", text: str = "") -> None:
        super().__init__(title)
        self.status, self.title, self.text = status, title, text


Handler = Callable[[Visit], Awaitable[Answer]]


@frozen
class Page:
    """One method of one path. permission None: for everybody, logged in or not. `watching`: a script asks, nobody works."""

    method: str
    path: str
    permission: Permission | None
    run: Handler
    least: Scope = Scope.OWN
    watching: bool = False


class Shell:
    """`customer_name(id)` gives what stands at the foot of the menu. `settings` may change while it runs."""

    def __init__(self, auth: Auth, settings: Callable[[], Http], key: bytes, customer_name: Callable[[int], Awaitable[str]],
                 now: Callable[[], float] = time.time) -> None:  # fmt: skip
        self._auth, self._settings, self._customer_name, self._now = auth, settings, customer_name, now
        self.cookies = Cookies(key)
        self.static = StaticFiles()
        self.languages = load_languages()
        self._map = Map()
        self.renderer = Renderer(self.languages, self.static, now)

    # --- for handlers

    def page(self, visit: Visit, template: str, status: int = 200, **values: Any) -> Answer:
        return Answer(self.renderer.render(visit, template, **values), status)

    def to(self, visit: Visit, path: str, flash: Flash | None = None) -> Answer:
        """A redirect after a form; `flash` is told there."""
        if flash is not None:
            visit.cookies.append(self.cookies.flash(flash, visit.request.isSecure()))
        return Answer("", 303, headers=(("Location", path),))

    # --- requests

    def resource(self, pages: Iterable[Page]) -> Resource:
        """The root of the portal."""
        app = Klein()
        app.url_map.strict_slashes = False
        app.url_map.merge_slashes = False
        self._map = app.url_map
        for page in pages:
            self._add(app, page)
            if page.method == "GET" and not page.watching:
                self.renderer.paths.add(page.path)
        app.route("/static/<mark>/<path:name>", methods=["GET", "HEAD"])(self._static)

        @app.handle_errors(HTTPException)
        def elsewhere(request: IRequest, failure: Failure) -> Any:
            status = getattr(failure.value, "code", None) or 404
            return self._serve(request, Page("GET", "", None, _raises(Fault(status))), {})

        return _Root(app)

    def _add(self, app: Klein, page: Page) -> None:
        def serve(request: IRequest, **places: str) -> Any:
            return self._serve(request, page, places)

        serve.__name__ = f"{page.method} {page.path}"
        app.route(page.path.replace("{", "<").replace("}", ">"), methods=[page.method])(serve)

    def _static(self, request: IRequest, mark: str, name: str) -> bytes:
        file = self.static.get(mark, name)
        if file is None:
            request.setResponseCode(404)
            request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            return b"Not found\n"
        current = self.static.is_current(mark)
        request.setHeader(b"cache-control", b"public, max-age=31536000, immutable" if current else b"no-cache")
        request.setHeader(b"content-type", file.content_type.encode())
        return file.body

    def _serve(self, request: IRequest, page: Page, places: dict[str, str]) -> Deferred[bytes]:
        visit = self._visit(request, places)
        if page.watching:  # what is told once is for a page
            visit.flashes.clear()
            visit.cookies.clear()
        answer: Deferred[bytes] = Deferred()  # what Klein may cancel when the browser leaves: the work goes on
        work = Deferred.fromCoroutine(self._work(visit, page))
        work.addErrback(self._broken, visit)
        work.addCallback(self._finish, visit).addCallback(answer.callback)
        work.addErrback(lambda f: log.failure("answering a browser", f))
        return answer

    def _visit(self, request: IRequest, places: dict[str, str]) -> Visit:
        settings = self._settings()
        peer = str(getattr(request.getClientAddress(), "host", "") or "").removeprefix("::ffff:")
        ip = client_address(peer, hops(request.requestHeaders, settings.forwarded_header), settings.trusted_proxies)
        jar = self.cookies.read(request)
        secure = request.isSecure()
        accepted = request.getHeader("accept-language") or ""
        language: Language = negotiate(self.languages, jar.get("protei_language", ""), accepted)
        visit = Visit(
            request, request.path.decode("utf-8", "replace"), ip, (request.getHeader("user-agent") or "")[:255], language,
            theme=jar.get("protei_theme", ""), token=jar.get(self.cookies.session_name(secure), ""),
            places={k: v.replace("\0", "\ufffd") for k, v in places.items()},
        )  # fmt: skip
        if "protei_flash" in jar:
            flash = self.cookies.flashed(jar["protei_flash"])
            if flash is not None:
                visit.flashes.append(flash)
            visit.cookies.append(self.cookies.no_flash(secure))
        return visit

    async def _work(self, visit: Visit, page: Page) -> Answer:
        await self._who(visit, renew=not page.watching)
        if page.method != "GET":
            self._own_form(visit)
        if page.permission is not None:
            if visit.account is None:
                if page.method != "GET" or page.watching:
                    raise Fault(401, visit._("Your session is over"), visit._("Log in again; what you typed is kept in this browser."))
                return Answer("", 303, headers=(("Location", f"/login?next={_quoted(visit.here)}"),))
            visit.scope = scope_of(visit.account.role, page.permission)
            if visit.scope < page.least:
                raise Fault(403)
            if visit.enrol and page.permission is not Permission.ACCOUNT:
                why = visit._("Your role needs two-factor authentication. Switch it on to go on.")
                if page.method != "GET":
                    raise Fault(403, why)
                return self.to(visit, "/account/2fa")
        return await page.run(visit)

    async def _who(self, visit: Visit, renew: bool) -> None:
        if not visit.token:
            return
        result = await self._auth.authenticate_portal(token=visit.token)
        secure = visit.request.isSecure()
        if not result.success or result.user is None:
            # A cookie that was renewed since is in two hands: as a refresh token that comes again, it ends the session for both.
            await self._auth.refresh_token(token=visit.token, ip_address=visit.ip, user_agent=visit.user_agent)
            visit.cookies.append(self.cookies.no_session(secure))
            visit.token = ""
            return
        visit.account, visit.enrol = result.user, result.enrol
        claims = _claims(visit.token)
        visit.session_id = str(claims.get("sid", ""))
        visit.csrf = self.cookies.csrf(visit.session_id)
        visit.customer_name = await self._customer_name(result.user.customer_id)
        if renew and self._now() - float(claims.get("iat", 0)) > _RENEW_AFTER:
            renewed = await self._auth.refresh_token(token=visit.token, ip_address=visit.ip, user_agent=visit.user_agent)
            if renewed.success and renewed.refresh_token:
                visit.token = renewed.refresh_token
                visit.cookies.append(self.cookies.session(renewed.refresh_token, secure))

    def _own_form(self, visit: Visit) -> None:
        """Raises Fault 403 for a form that another site has sent."""
        host = visit.request.getHeader("host") or ""
        if not same_origin(visit.request, host):
            raise Fault(403, visit._("This form did not come from this site"))
        if visit.account is not None:
            try:
                take_apart(visit.request)
            except TooLarge:
                raise Fault(413, "", visit._("Make the text or the list shorter, or upload a file.")) from None
        given = visit.request.getHeader("x-csrf-token") or visit.raw("csrf") or first_token(visit.request)  # a script's, a form's, a file's
        if visit.account is not None and not self.cookies.right_csrf(visit.session_id, given):
            raise Fault(403, visit._("This form is too old"), visit._("Open the page again and repeat what you did."))

    def _broken(self, failure: Failure, visit: Visit) -> Answer:
        error = failure.value
        if isinstance(error, Fault):
            return self._error(visit, error)
        if isinstance(error, DatabaseUnavailable):
            log.warn("{path}: {why}", path=visit.path, why=failure.getErrorMessage())
            return self._error(visit, Fault(503, visit._("The database is not available"), visit._("Try again in a moment.")))
        log.failure("{path} failed", failure, path=visit.path)
        return self._error(visit, Fault(500))

    def _error(self, visit: Visit, fault: Fault) -> Answer:
        _ = visit.language.gettext
        titles = {
            401: _("Please log in"), 403: _("You may not see this page"), 404: _("There is no such page"),
            405: _("This page does not do that"), 413: _("That is too large"), 500: _("Something went wrong"),
        }  # fmt: skip
        title = fault.title or titles.get(fault.status, _("That did not work"))
        text = fault.text or (_("It was noted; please try again.") if fault.status >= 500 else _("Perhaps the address is old."))
        again = f"/login?next={_quoted(self._came_from(visit))}" if fault.status == 401 else ""
        return self.page(visit, "error.html", fault.status, title=title, text=text, again=again)

    def _came_from(self, visit: Visit) -> str:
        """The page with the form that was sent, to go back to after a login; what can be opened of its address."""
        try:
            given = urlsplit(visit.request.getHeader("referer") or "")
        except ValueError:
            given = urlsplit("")
        path = given.path if given.netloc == visit.request.getHeader("host") else visit.path
        query = f"?{given.query}" if given.query and path == given.path else ""
        while path.strip("/"):
            try:
                self._map.bind("").match(path, "GET")
                return path + query
            except HTTPException:
                path, query = path.rstrip("/").rpartition("/")[0], ""
        return "/"

    def _finish(self, answer: Answer, visit: Visit) -> Any:
        request = visit.request
        request.setResponseCode(answer.status)
        request.setHeader(b"content-type", answer.content_type.encode())
        for name, value in answer.headers:
            request.setHeader(name.encode("latin-1"), value.encode("latin-1", "replace"))
        for cookie in visit.cookies:
            request.responseHeaders.addRawHeader(b"set-cookie", cookie)
        body = answer.body.encode("utf-8", "replace") if isinstance(answer.body, str) else answer.body
        if answer.then is not None:
            request.write(body)
            return answer.then.addCallback(lambda _: b"")
        return body


class _Root(Resource):
    """Every answer has the headers, whoever makes it."""

    isLeaf = True

    def __init__(self, app: Klein) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._klein = app.resource()

    def render(self, request: IRequest) -> Any:
        for name, value in HEADERS:
            request.setHeader(name, value)
        return self._klein.render(request)


def _raises(fault: Fault) -> Handler:
    async def run(visit: Visit) -> Answer:
        raise fault

    return run


def _claims(token: str) -> dict[str, Any]:
    """Of a token that was verified."""
    body = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return claims


def _quoted(path: str) -> str:
    return quote(path, safe="")
