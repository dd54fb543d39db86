"""What every request to the API goes through: limits, authentication, body, errors, audit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from protei_bulk.access.limits import address_allowed
from protei_bulk.access.ports import Actor
from protei_bulk.access.proof import api_key_hash
from protei_bulk.access.results import (
    BUSY,
    INVALID_CREDENTIALS,
    INVALID_OTP,
    INVALID_TOKEN,
    IP_NOT_ALLOWED,
    OTP_REQUIRED,
    TOO_MANY_ATTEMPTS,
    AuthResult,
)
from protei_bulk.channels.http import strict_json
from protei_bulk.channels.http.client import (
    Credentials,
    budget_of,
    client_address,
    credentials,
    hops,
    is_internal,
    within,
)
from protei_bulk.channels.http.limits import Policy, Verdict
from protei_bulk.channels.http.problems import Problem, Reply, retry_after
from protei_bulk.model.account import Account
from protei_bulk.model.permissions import Scope
from protei_bulk.settings import Http, HttpLimits
from protei_bulk.settings.schema import FORWARDED
from protei_bulk.store.pool_connection import DatabaseUnavailable

CHALLENGES = (
    ("WWW-Authenticate", 'Bearer realm="protei-bulk"'),
    ("WWW-Authenticate", 'Basic realm="protei-bulk", charset="UTF-8"'),
)

log = Logger()


class Auth(Protocol):
    def authenticate_api_key(
        self, db: object = None, api_key: str = "", ip_address: str = "", user_agent: str = ""
    ) -> Deferred[AuthResult]: ...

    def authenticate_basic_auth(
        self, db: object = None, username: str = "", password: str = "", ip_address: str = "", user_agent: str = ""
    ) -> Deferred[AuthResult]: ...

    def authenticate_token(self, db: object = None, token: str = "") -> Deferred[AuthResult]: ...


class Takes(Protocol):
    """budgets.Budgets, or Alone."""

    def take(self, policy: Policy, key: str) -> Verdict | Deferred[Verdict]: ...


class Audit(Protocol):
    def request(
        self,
        *,
        endpoint: str,
        method: str,
        status: int,
        milliseconds: float,
        user_id: int | None = None,
        auth_type: str | None = None,
        key_hash: str = "",
        ip: str = "",
        user_agent: str = "",
        size: int = 0,
        error: str = "",
    ) -> None: ...

    def event(
        self,
        action: str,
        success: bool,
        *,
        user_id: int | None = None,
        actor_id: int | None = None,
        ip: str = "",
        user_agent: str = "",
        details: Mapping[str, object] | None = None,
    ) -> None: ...


class Clock(Protocol):
    def seconds(self) -> float:
        """Unix time."""
        ...

    def callLater(self, delay: float, f: Any, /, *args: Any) -> Any: ...  # noqa: N802


@define(eq=False)
class Exchange:
    """One request on its way."""

    request: IRequest
    endpoint: str
    peer: str
    ip: str
    forwarded: list[str]
    began: float
    credentials: Credentials = field(factory=Credentials)
    account: Account | None = None
    size: int = 0
    verdicts: list[Verdict] = field(factory=list)  # of the rate limits
    path: dict[str, str] = field(factory=dict)  # the values of {names} in the route's path
    login_id: str = ""  # whose token was shown
    enrol: bool = False  # AuthResult's
    scope: Scope = Scope.NONE  # how far the account's role reaches in this route

    @property
    def who(self) -> Account:
        """The account, of a route that asks for one."""
        assert self.account is not None
        return self.account

    @property
    def actor(self) -> Actor:
        """Who changes something, as the audit wants it."""
        return Actor(self.who.user_id, self.ip, self.user_agent)

    @property
    def user_agent(self) -> str:
        return self.header("user-agent")

    def header(self, name: str) -> str:
        value: str | None = self.request.requestHeaders.getRawHeaders(name, [""])[-1]
        return value or ""


Handler = Callable[[Exchange], Awaitable[Reply]]

#: how a route knows who asks: not at all, by API key or Basic, by the JWT of a login, or by any of these
ANYBODY, KEY, TOKEN, EITHER = "NONE", "KEY", "JWT", "KEY or JWT"


class Gate:
    """Serves handlers: they get an Exchange that has passed what is asked of it, and raise Problems."""

    def __init__(self, auth: Auth, audit: Audit, settings: Http, clock: Clock, budgets: Takes) -> None:
        self._auth, self._audit, self.settings, self._clock, self._budgets = auth, audit, settings, clock, budgets
        self._in_progress: dict[int, int] = {}  # requests of each user
        self._limit(settings.limits)

    def change(self, settings: Http) -> None:
        """Other settings; what was counted so far is forgotten where the limits change."""
        if settings.limits != self.settings.limits:
            self._limit(settings.limits)
        self.settings = settings

    def _limit(self, limits: HttpLimits) -> None:
        per_key, per_ip = limits.per_key_per_minute, limits.per_ip_per_hour
        self._key_policy = Policy("key", per_key, 60.0, max(1, limits.burst)) if per_key else None
        self._address_policy = Policy("address", per_ip, 3600.0) if per_ip else None
        self._shown_policies = ", ".join(p.shown for p in (self._key_policy, self._address_policy) if p is not None)

    def serve(
        self, request: IRequest, endpoint: str, handler: Handler, auth: str = KEY, path: dict[str, str] | None = None
    ) -> Deferred[bytes]:
        """A body for Klein. The handler goes on when the client leaves: half a campaign helps nobody."""
        peer = str(getattr(request.getClientAddress(), "host", "") or "").removeprefix("::ffff:")
        trusted = self.settings.trusted_proxies
        forwarded = hops(request.requestHeaders, self.settings.forwarded_header) if trusted else []
        ip = client_address(peer, forwarded, trusted) if forwarded else peer
        x = Exchange(request, endpoint, peer, ip, forwarded, self._clock.seconds())
        answer: Deferred[bytes] = Deferred()  # what Klein may cancel: the work is another Deferred
        x.path = path or {}
        work = Deferred.fromCoroutine(self._work(x, handler, auth))
        work.addErrback(self._broken, x)
        work.addCallback(self._finish, x).addCallback(answer.callback)
        work.addErrback(lambda f: log.failure("answering a request", f))
        return answer

    async def _work(self, x: Exchange, handler: Handler, auth: str) -> Reply:
        if self._address_policy is not None:
            await self._count(x, self._address_policy, budget_of(x.ip), "Too many requests from this address")
        if auth == ANYBODY:
            return await handler(x)
        if auth == TOKEN or (auth == EITHER and x.header("authorization").count(".") == 2):  # no key has dots
            await self._authenticate_token(x)
        else:
            await self._authenticate(x)
        if not address_allowed(x.ip, x.who.allowed_ips):  # also for a login that was made elsewhere
            raise Problem(403, IP_NOT_ALLOWED, "IP address not allowed")
        user = x.who.user_id
        if self._key_policy is not None:
            # An account has one API key; whatever else it comes with shares another budget.
            key = f"{'key' if x.credentials.kind == 'API_KEY' else 'user'} {user}"
            await self._count(x, self._key_policy, key, "Too many requests for this account")
        busy, most = self._in_progress.get(user, 0), self.settings.limits.per_user_connections
        if most and busy >= most:
            raise Problem(429, "TOO_MANY_CONNECTIONS", f"More than {most} requests of this account at a time", headers=retry_after(1))
        self._in_progress[user] = busy + 1
        try:
            return await handler(x)
        finally:
            left = self._in_progress[user] - 1
            if left:
                self._in_progress[user] = left
            else:
                del self._in_progress[user]

    async def _count(self, x: Exchange, policy: Policy, key: str, refusal: str) -> None:
        verdict = self._budgets.take(policy, key)
        if isinstance(verdict, Deferred):
            verdict = await verdict
        x.verdicts.append(verdict)
        if verdict.wait:
            violated = {"violated-policies": [policy.name]}
            raise Problem(429, "TOO_MANY_REQUESTS", refusal, headers=retry_after(verdict.wait), **violated)

    async def _authenticate_token(self, x: Exchange) -> None:
        given = credentials(x.header("authorization"))
        if given.kind != "API_KEY":
            raise Problem(401, INVALID_TOKEN, "The token of a login (Bearer) is required", headers=CHALLENGES[:1])
        x.credentials = Credentials("JWT", "", given.secret)
        result = await self._auth.authenticate_token(token=given.secret)
        if not result.success or result.user is None:
            raise refusal(result)
        x.account, x.login_id, x.enrol = result.user, result.login_id, result.enrol

    async def _authenticate(self, x: Exchange) -> None:
        x.credentials = given = credentials(x.header("authorization"))
        if given.kind == "API_KEY":
            result = await self._auth.authenticate_api_key(
                api_key=given.secret, ip_address=x.ip, user_agent=x.user_agent
            )
        elif given.kind == "BASIC_AUTH":
            result = await self._auth.authenticate_basic_auth(
                username=given.name, password=given.secret, ip_address=x.ip, user_agent=x.user_agent
            )
        else:
            raise Problem(
                401, INVALID_CREDENTIALS, "An API key (Bearer) or Basic credentials are required", headers=CHALLENGES
            )
        account = result.user
        if not result.success or account is None:
            raise refusal(result)
        x.account = account

    def json_body(self, x: Exchange) -> object:
        """The document of a POST. Raises Problem 413, 415, 400."""
        request = x.request
        kind, _, parameters = x.header("content-type").partition(";")
        kind = kind.strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            shown = f"not {kind[:100]}" if kind else "and the request must say so"
            raise Problem(
                415, "UNSUPPORTED_MEDIA_TYPE", f"Content-Type must be application/json, {shown}",
                headers=(("Accept", "application/json"),),
            )  # fmt: skip
        charset = parameters.lower().replace(" ", "").replace('"', "")
        if "charset=" in charset and "charset=utf-8" not in charset:
            raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", "JSON must be in UTF-8")
        if x.header("content-encoding").lower() not in ("", "identity"):
            raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding is not supported")
        data = request.content.read(self.settings.max_body + 1)
        x.size = len(data)
        if x.size > self.settings.max_body or getattr(request, "too_large", False):
            raise Problem(
                413, "BODY_TOO_LARGE", f"The body is longer than {self.settings.max_body} octets",
                max_body=self.settings.max_body,
            )  # fmt: skip
        return strict_json.loads(data)

    def optional_body(self, x: Exchange) -> object:
        """The same where there is one; an empty object for none."""
        content = x.request.content
        if not getattr(x.request, "too_large", False) and not content.read(1):
            return {}
        content.seek(0)
        return self.json_body(x)

    def internal_only(self, x: Exchange) -> None:
        """Raises Problem 403 for a request from elsewhere."""
        passed_on = x.forwarded or [hop for kind in FORWARDED for hop in hops(x.request.requestHeaders, kind)]
        if not is_internal(x.peer, passed_on, self.settings.trusted_proxies):
            raise Problem(403, "INTERNAL_ONLY", "This endpoint is for the gateway's own network")

    def is_monitor(self, request: IRequest) -> bool:
        """Whether a request comes from `http.monitors`, and not through somebody who passes on what others ask."""
        peer = str(getattr(request.getClientAddress(), "host", "") or "")
        trusted, headers = self.settings.trusted_proxies, request.requestHeaders
        if not within(peer, trusted):
            return within(peer, self.settings.monitors) and not any(headers.hasHeader(kind) for kind in FORWARDED)
        return within(client_address(peer, hops(headers, self.settings.forwarded_header), trusted), self.settings.monitors)

    def _broken(self, failure: Failure, x: Exchange) -> Reply:
        error = failure.value
        if isinstance(error, Problem):
            return error.reply()
        if isinstance(error, DatabaseUnavailable):
            log.warn("{endpoint}: {why}", endpoint=x.endpoint, why=failure.getErrorMessage())
            text = "The database is not available; try again"
            return Problem(503, "DATABASE_UNAVAILABLE", text, headers=retry_after(5)).reply()
        log.failure("{endpoint} failed", failure, endpoint=x.endpoint)
        return Problem(500, "INTERNAL_ERROR", "The gateway could not handle the request").reply()

    def _finish(self, reply: Reply, x: Exchange) -> bytes:
        write_head(x.request, reply)
        if self._shown_policies:
            x.request.setHeader(b"ratelimit-policy", self._shown_policies.encode())
            if x.verdicts:
                x.request.setHeader(b"ratelimit", ", ".join(v.shown for v in x.verdicts).encode())
        given = x.credentials
        self._audit.request(
            endpoint=x.endpoint,
            method=x.request.method.decode("latin-1"),
            status=reply.status,
            milliseconds=(self._clock.seconds() - x.began) * 1000,
            user_id=x.account.user_id if x.account is not None else None,
            auth_type=given.kind or None,
            key_hash=api_key_hash(given.secret) if given.kind == "API_KEY" else "",
            ip=x.ip,
            user_agent=x.user_agent,
            size=x.size,
            error=reply.error,
        )
        if reply.event is not None:
            action, details = reply.event
            user_id = x.account.user_id if x.account is not None else None
            self._audit.event(
                action, True, user_id=user_id, actor_id=user_id, ip=x.ip, user_agent=x.user_agent, details=details
            )
        return reply.body


def write_head(request: IRequest, reply: Reply) -> None:
    request.setResponseCode(reply.status)
    request.setHeader(b"content-type", reply.content_type.encode())
    request.setHeader(b"content-length", b"%d" % len(reply.body))
    for name, value in reply.headers:
        request.responseHeaders.addRawHeader(name, value)


def refusal(result: AuthResult) -> Problem:
    """Why an authentication did not succeed."""
    detail = result.error or "Authentication failed"
    if result.code == INVALID_CREDENTIALS:
        return Problem(401, result.code, detail, headers=CHALLENGES)
    if result.code in (INVALID_TOKEN, OTP_REQUIRED, INVALID_OTP):
        return Problem(401, result.code, detail, headers=CHALLENGES[:1])
    if result.code == TOO_MANY_ATTEMPTS:
        return Problem(429, result.code, detail, headers=retry_after(result.retry_after or 60))
    if result.code == BUSY:
        return Problem(503, result.code, detail, headers=retry_after(1))
    return Problem(403, result.code, detail)
