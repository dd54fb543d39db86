"""From a table of routes to a Klein application. The table is in api.py."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter

from protei_bulk.channels.http.exchange import ANYBODY, Exchange, Gate, Handler, write_head
from protei_bulk.channels.http.problems import Problem, Reply
from protei_bulk.model.permissions import Permission, Scope, scope_of


@frozen
class Route:
    """One method of one path. `{name}` in the path is a value of Exchange.path.

    auth: NONE, KEY (API key or Basic), JWT. permission: what the account's role must reach; the handler finds
    how far in Exchange.scope. plain: outside the gate, neither counted nor audited (health checks, documents).
    """

    method: str
    path: str
    auth: str
    permission: Permission | None
    run: Handler
    plain: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


class _Number(BaseConverter):
    """Digits, of ASCII."""

    regex = "[0-9]+"


def make_app(routes: Iterable[Route], gate: Gate) -> Klein:
    app = Klein()
    # A redirect to a path without a slash would lose the body of a POST.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters = {**app.url_map.converters, "number": _Number}
    for route in routes:
        _add(app, gate, route)

    def refuse(request: IRequest, problem: Problem) -> Any:
        """Through the gate: whoever tries paths is counted and noted as well."""

        async def refusal(x: Exchange) -> Reply:
            raise problem

        return gate.serve(request, "(none)", refusal, ANYBODY)

    @app.handle_errors(MethodNotAllowed)
    def wrong_method(request: IRequest, failure: Failure) -> Any:
        valid = getattr(failure.value, "valid_methods", None) or ()
        allowed = ", ".join(sorted(valid))
        method = request.method.decode("latin-1")[:20]
        problem = Problem(
            405, "METHOD_NOT_ALLOWED", f"{method} is not allowed here, but {allowed}", headers=(("Allow", allowed),)
        )
        return refuse(request, problem)

    @app.handle_errors(NotFound)
    def no_such_path(request: IRequest, failure: Failure) -> Any:
        return refuse(request, Problem(404, "NOT_FOUND", "There is nothing at this path"))

    @app.handle_errors(HTTPException)
    def other_fault(request: IRequest, failure: Failure) -> bytes:
        status = getattr(failure.value, "code", None) or 400
        detail = getattr(failure.value, "description", None) or "Bad request"
        return _write(request, Problem(status, "BAD_REQUEST", detail).reply())

    return app


def _add(app: Klein, gate: Gate, route: Route) -> None:
    handler = _permitted(route)

    def serve(request: IRequest, **path: str) -> Any:
        if route.plain:
            return Deferred.fromCoroutine(_plain(route, request))
        return gate.serve(request, route.path, handler, route.auth, path)

    serve.__name__ = route.name  # Klein's endpoints go by their functions' names
    # Ids are numbers, so that /users/{user_id} is not where /users/generate-api-key goes with another method.
    path = re.sub(r"{(\w+)}", r"<\1>", re.sub(r"{(\w+_id)}", r"<number:\1>", route.path))
    app.route(path, methods=[route.method])(serve)


class Direct:
    """Routes without names in their paths, found in a dictionary: Klein's way is a sixth of what a small request costs.

    Whatever is not written exactly as in the table goes the long way.
    """

    def __init__(self, routes: Iterable[Route], gate: Gate) -> None:
        self._gate = gate
        self._routes = {
            (r.method.encode(), r.path.encode()): (r, _permitted(r)) for r in routes if not r.plain and "{" not in r.path
        }

    def render(self, request: Any) -> int | None:
        """None where it is not one of these."""
        found = self._routes.get((request.method, request.path))
        if found is None:
            return None
        route, handler = found
        left: list[Failure] = []  # why the client is gone
        request.notifyFinish().addErrback(left.append)

        def write(body: bytes) -> None:
            if not left:
                request.write(body)
                request.finish()

        self._gate.serve(request, route.path, handler, route.auth).addCallback(write)
        return NOT_DONE_YET


async def _plain(route: Route, request: IRequest) -> bytes:
    return _write(request, await route.run(Exchange(request, route.path, "", "", [], 0.0)))


def _permitted(route: Route) -> Handler:
    permission = route.permission
    if permission is None:
        if route.auth != ANYBODY:
            raise ValueError(f"{route.name} asks who it is, but not what he may")
        return route.run

    async def run(x: Exchange) -> Reply:
        x.scope = scope_of(x.who.role, permission)
        if x.scope is Scope.NONE:
            raise Problem(403, "NOT_PERMITTED", f"The role {x.who.role} may not: {permission.value}")
        if x.enrol and permission is not Permission.ACCOUNT:
            raise Problem(403, "SECOND_FACTOR_REQUIRED", f"The role {x.who.role} must set up two-factor authentication first")
        return await route.run(x)

    return run


def _write(request: IRequest, answer: Reply) -> bytes:
    write_head(request, answer)
    return answer.body
