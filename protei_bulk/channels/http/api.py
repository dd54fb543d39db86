"""The HTTP API as a Klein resource: the paths of the specification's section 8 and the health checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from protei_bulk.channels.http import fields
from protei_bulk.channels.http.bulk import Intake, SendBulk
from protei_bulk.channels.http.exchange import Audit, Auth, Clock, Exchange, Gate, write_head
from protei_bulk.channels.http.fields import invalid
from protei_bulk.channels.http.problems import Problem, Reply, reply, retry_after
from protei_bulk.channels.http.reports import Balances, GetDlr, Reports, get_balance
from protei_bulk.model import lifecycle
from protei_bulk.model.account import Account
from protei_bulk.settings import Http

SECURITY_HEADERS = (
    (b"server", b"protei-bulk"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_HSTS = b"max-age=31536000"

#: (smsc_id, the SMSC's message id, receipt state, error code) -> fires after the commit: whether there is such an SMSC
ReceiptSink = Callable[[str, str, str, str], Deferred[bool]]


@frozen
class HttpApi:
    """What the API is made of. `health()` is a dict with `ready` and `reasons`."""

    auth: Auth
    intake: Intake
    reports: Reports
    balance: Balances
    settings: Http
    clock: Clock
    audit: Audit
    health: Callable[[], Mapping[str, Any]]
    receipt: ReceiptSink = lambda *_: succeed(False)
    metrics: Callable[[], bytes] | None = None


def make_resource(api: HttpApi) -> ApiResource:
    """The root of an HTTP site."""
    gate = Gate(api.auth, api.audit, api.settings, api.clock)
    return ApiResource(make_app(api, gate), gate)


class ApiResource(Resource):
    """Every answer of the API has the security headers, whoever makes it."""

    isLeaf = True

    def __init__(self, app: Klein, gate: Gate) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._klein = app.resource()
        self.change = gate.change  # other settings, from now on

    def render(self, request: IRequest) -> Any:
        for name, value in SECURITY_HEADERS:
            request.setHeader(name, value)
        if request.isSecure():
            request.setHeader(b"strict-transport-security", _HSTS)
        return self._klein.render(request)


def make_app(api: HttpApi, gate: Gate) -> Klein:
    app = Klein()
    # A redirect to a path without a slash would lose the body of a POST.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    send_bulk = SendBulk(api.intake, api.reports, api.clock, lambda: gate.settings.max_recipients)
    get_dlr = GetDlr(api.reports)

    async def do_send_bulk(x: Exchange) -> Reply:
        return await send_bulk(_account(x), gate.json_body(x))

    async def do_get_dlr(x: Exchange) -> Reply:
        return await get_dlr(_account(x), gate.json_body(x))

    async def do_get_balance(x: Exchange) -> Reply:
        return await get_balance(api.balance, _account(x))

    async def do_receipt(x: Exchange) -> Reply:
        gate.internal_only(x)
        return await take_receipt(api, x, gate.json_body(x))

    @app.route("/api/sendBulk", methods=["POST"])
    def send(request: IRequest) -> Any:
        return gate.serve(request, "/api/sendBulk", do_send_bulk)

    @app.route("/api/getDLR", methods=["POST"])
    def dlr(request: IRequest) -> Any:
        return gate.serve(request, "/api/getDLR", do_get_dlr)

    @app.route("/api/getBalance", methods=["GET"])
    def balance(request: IRequest) -> Any:
        return gate.serve(request, "/api/getBalance", do_get_balance)

    @app.route("/api/dlrCallback", methods=["POST"])
    def receipt(request: IRequest) -> Any:
        return gate.serve(request, "/api/dlrCallback", do_receipt, authenticated=False)

    @app.route("/healthz", methods=["GET"])
    def healthz(request: IRequest) -> bytes:
        return _write(request, reply({"status": "ok"}))

    @app.route("/readyz", methods=["GET"])
    def readyz(request: IRequest) -> bytes:
        state = dict(api.health())
        return _write(request, reply(state, 200 if state.get("ready") is True else 503))

    if api.metrics is not None:
        read = api.metrics

        @app.route("/metrics", methods=["GET"])
        def metrics(request: IRequest) -> bytes:
            request.setHeader("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            return read()

    @app.handle_errors(MethodNotAllowed)
    def wrong_method(request: IRequest, failure: Failure) -> bytes:
        valid = getattr(failure.value, "valid_methods", None) or ()
        allowed = ", ".join(sorted(valid))
        method = request.method.decode("latin-1")[:20]
        problem = Problem(
            405, "METHOD_NOT_ALLOWED", f"{method} is not allowed here, but {allowed}", headers=(("Allow", allowed),)
        )
        return _write(request, problem.reply())

    @app.handle_errors(NotFound)
    def no_such_path(request: IRequest, failure: Failure) -> bytes:
        return _write(request, Problem(404, "NOT_FOUND", "There is nothing at this path").reply())

    @app.handle_errors(HTTPException)
    def other_fault(request: IRequest, failure: Failure) -> bytes:
        status = getattr(failure.value, "code", None) or 400
        detail = getattr(failure.value, "description", None) or "Bad request"
        return _write(request, Problem(status, "BAD_REQUEST", detail).reply())

    return app


async def take_receipt(api: HttpApi, x: Exchange, body: object) -> Reply:
    """POST /api/dlrCallback: a receipt that an SMSC (or what stands before it) brings over HTTP."""
    if not isinstance(body, dict):
        raise invalid("$", f"expected an object, got {fields.kind(body)}")
    smsc = fields.text(body, "smsc_id", required=True, longest=64)
    message_id = fields.text(body, "message_id", required=True, longest=64)
    status = fields.text(body, "status", required=True, longest=20)
    error_code = fields.text(body, "error_code", longest=20)
    assert smsc and message_id and status
    if status.upper() not in lifecycle.FROM_RECEIPT:
        raise invalid("$.status", f"must be one of {', '.join(sorted(lifecycle.FROM_RECEIPT))}")
    try:
        known = await api.receipt(smsc, message_id, status.upper(), error_code or "")
    except TimeoutError:
        raise Problem(503, "SYSTEM_ERROR", "The receipt could not be recorded in time", headers=retry_after(5)) from None
    details = {"smsc_id": smsc, "message_id": message_id, "status": status.upper()}
    api.audit.event("DLR_CALLBACK", known, ip=x.ip, details=details)
    if not known:
        raise Problem(404, "SMSC_NOT_FOUND", f"There is no SMSC {smsc}")
    return reply({"status": "SUCCESS", "message": "Receipt taken."}, 202)


def _account(x: Exchange) -> Account:
    assert x.account is not None
    return x.account


def _write(request: IRequest, answer: Reply) -> bytes:
    write_head(request, answer)
    return answer.body
