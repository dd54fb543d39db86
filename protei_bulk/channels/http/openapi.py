"""The OpenAPI 3.1 document of a table of routes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from protei_bulk import __version__
from protei_bulk.channels.http.exchange import ANYBODY, KEY, TOKEN
from protei_bulk.channels.http.operations import NUMBER, OPERATIONS, Operation
from protei_bulk.channels.http.problems import JSON, PROBLEM
from protei_bulk.channels.http.routes import Route
from protei_bulk.channels.http.schemas import COMPONENTS, ref

#: what a request can meet on its way to any route
_ALWAYS = (429, 500, 503)
_WITH_BODY = (400, 413, 415, 422)
_CREDENTIALS: dict[str, list[dict[str, list[str]]]] = {
    ANYBODY: [], KEY: [{"apiKey": []}, {"basic": []}], TOKEN: [{"login": []}],
}  # fmt: skip
_ABOUT = """One account for SMPP, HTTP and the web. Programs send messages with an API key (`Authorization: Bearer KEY`) or with
Basic; people log in and get a token (`Authorization: Bearer TOKEN`). Errors are problem documents (RFC 9457): decide by `code`."""


def document(routes: Iterable[Route], public_url: str = "") -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    tags: dict[str, None] = {}
    for route in routes:
        operation = OPERATIONS.get(route.name) or Operation(route.name, "Other", {200: {"type": "object"}})
        tags[operation.tag] = None
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, operation)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "protei-bulk", "version": __version__, "summary": "Bulk SMS gateway", "description": _ABOUT},
        "tags": [{"name": name} for name in tags],
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "an API key"},
                "basic": {"type": "http", "scheme": "basic"},
                "login": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "the token of a login"},
            },
        },
    }
    if public_url:
        found["servers"] = [{"url": public_url}]
    return found


def _operation(route: Route, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": _CREDENTIALS.get(route.auth, [{"apiKey": []}, {"basic": []}, {"login": []}]),
        "responses": _responses(route, operation),
    }
    if route.permission is not None:
        described["description"] = f"Permission: {route.permission.value}."
    parameters = _parameters(route, operation)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {"required": not operation.body_optional, "content": {JSON: {"schema": operation.body}}}
    return described


def _parameters(route: Route, operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": part, "in": "path", "required": True, "schema": operation.path.get(part, NUMBER)}
        for part in re.findall(r"{(\w+)}", route.path)
    ]
    found += [{"name": part, "in": "query", "schema": shape.schema} for part, shape in operation.query.items()]
    found += [{"name": part, "in": "header", "schema": schema} for part, schema in operation.headers.items()]
    return found


def _responses(route: Route, operation: Operation) -> dict[str, Any]:
    found = {str(status): _answer(status, schema, operation.media) for status, schema in sorted(operation.answers.items())}
    problems = set(operation.problems)
    if not route.plain:
        problems.update(_ALWAYS)
    if route.auth != ANYBODY:
        problems.update((401, 403))
    if operation.body is not None:
        problems.update(_WITH_BODY)
    if operation.query:
        problems.add(422)
    if "{" in route.path:
        problems.add(404)
    for status in sorted(problems - set(operation.answers)):
        found[str(status)] = _answer(status, ref("Problem"), PROBLEM)
    if "GET /api" not in route.name and route.path == "/api/sendBulk":
        # No recipient was taken: the document that says why, for each; or a problem with the request as a whole.
        found["422"]["content"][JSON] = {"schema": ref("Bulk")}
    return found


def _answer(status: int, schema: dict[str, Any], media: str) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase, "content": {media: {"schema": schema}}}
    if status in (429, 503) and media == PROBLEM:
        described["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
    return described
