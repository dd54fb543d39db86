"""The OpenAPI document: of every route, true to its answers, and nothing found by those who read it closely."""

from __future__ import annotations

import os
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema_rs
from twisted.internet import reactor, utils

from protei_bulk.channels.http import openapi
from protei_bulk.channels.http.operations import OPERATIONS
from tests.channels.http.house import HouseCase
from tests.channels.http.walks import WALKS, Walks

CONFIG = """
[auth.openapi.apiKey]
bearer = "{key}"
[auth.openapi.basic]
username = "bill"
password = "Password@123"
[auth.openapi.login]
bearer = "{token}"
[warnings]
enabled = false
"""
# What no schema says: texts that their encoding lacks, no text at all, fields that are ignored but hold numbers beyond 64 bits.
MESSAGING = """
[[operations]]
include-path-regex = "^/api/(sendBulk|getDLR|dlrCallback)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 402, 404, 409, 422]
"""

# Nor these: cursors, addresses, time zones, passwords that everybody uses, amounts with too many decimals, SMSCs that are there.
MANAGEMENT = """
[[operations]]
include-path-regex = "^/api/v1/(audit|customers|users|sessions/smpp|callbacks|routes|costs|rates)"
exclude-path-regex = "^/api/v1/users/(me|[a-z]+-api-key|{user_id}/.*)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 401, 403, 404, 409, 422, 429]
"""


class Page(HTMLParser):
    """What a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


class DocumentTest(HouseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.document = (await self.call("GET", "/openapi.json")).json

    async def test_of_every_route_and_of_nothing_else(self) -> None:
        described = {f"{m.upper()} {path}" for path, methods in self.document["paths"].items() for m in methods}
        self.assertEqual(described, {route.name for route in self.node.channel.resource.routes})
        self.assertEqual(described - set(OPERATIONS), set())
        ids = [o["operationId"] for methods in self.document["paths"].values() for o in methods.values()]
        self.assertEqual(len(ids), len(set(ids)))

    async def test_every_schema_is_one(self) -> None:
        def walk(value: Any) -> None:
            if isinstance(value, dict):
                if isinstance(value.get("schema"), dict):
                    jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **value["schema"]})
                if isinstance(value.get("$ref"), str):
                    self.assertIn(value["$ref"].removeprefix("#/components/schemas/"), self.document["components"]["schemas"])
                for below in value.values():
                    walk(below)
            elif isinstance(value, list):
                for below in value:
                    walk(below)

        walk(self.document)

    async def test_what_is_public_and_what_is_not(self) -> None:
        for path, methods in self.document["paths"].items():
            for o in methods.values():
                if not o["security"]:
                    self.assertIn(path, ("/api/login", "/api/refresh", "/api/dlrCallback", "/healthz", "/readyz", "/metrics",
                                         "/openapi.json", "/docs"))  # fmt: skip
                else:
                    self.assertIn("401", o["responses"])

    async def test_the_page_needs_nothing_and_runs_nothing(self) -> None:
        answer = await self.call("GET", "/docs")
        [policy] = answer.headers.getRawHeaders("content-security-policy")
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        page = Page()
        page.feed(answer.json.decode())
        names = [tag for tag, _ in page.tags]
        self.assertEqual({"script", "link", "img", "iframe", "object", "form"} & set(names), set())
        self.assertEqual(names.count("style"), 1)
        for _, attributes in page.tags:
            self.assertFalse([a for a in attributes if a.startswith("on") or a in ("style", "src")])
            href = attributes.get("href")
            self.assertTrue(href is None or href.startswith(("#", "/openapi.json")), href)
        for route in OPERATIONS:
            self.assertIn(route.split()[1].encode(), answer.json)


class TruthTest(Walks):
    """The walk of every route: each answer is as the document has it, and says no more."""

    async def test_walk(self) -> None:
        document = openapi.document(self.node.channel.resource.routes)
        closed = _closed({"components": document["components"]})
        for route, walk in WALKS.items():
            method, path = route.split()
            answers = document["paths"][path][method.lower()]["responses"]
            for who in ("root", "anna", "beth", "nobody"):
                answer = await self.ask(route, who, walk.make)
                described = answers[str(answer.status)]["content"]
                kind = answer.headers.getRawHeaders("content-type")[0].partition(";")[0]
                self.assertIn(kind, described, route)
                schema = described[kind]["schema"]
                if kind == "application/json" and route != "GET /openapi.json":
                    schema = _closed(schema)
                if "json" in kind:
                    jsonschema_rs.validate({**schema, **(closed if kind == "application/json" else document)}, answer.json)


def _closed(schema: Any) -> Any:
    if isinstance(schema, dict):
        found = {name: _closed(below) for name, below in schema.items()}
        if schema.get("type") == "object" and "properties" in schema:
            found["additionalProperties"] = False
        return found
    return [_closed(below) for below in schema] if isinstance(schema, list) else schema


class SchemathesisTest(HouseCase):
    timeout = 170

    async def run_against(self, *options: str, config: str = "") -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        key = await self.node.auth.generate_api_key(None, self.ids["bill"])
        token = await self.node.token("root")
        file = folder / "schemathesis.toml"
        file.write_text(CONFIG.format(key=key, token=token) + config)
        arguments = [
            "-c", "from schemathesis.cli import schemathesis; schemathesis()", "--config-file", str(file.absolute()), "run",
            f"{self.node.url}/openapi.json", "--seed", "1", "--no-color", "--suppress-health-check", "all", "--request-timeout", "20",
            *options,
        ]  # fmt: skip
        environment = {**os.environ, "NO_PROXY": "*", "no_proxy": "*", "HYPOTHESIS_STORAGE_DIRECTORY": str(folder.absolute() / "h")}
        out, err, code = await utils.getProcessOutputAndValue(
            sys.executable, arguments, env=environment, path=str(folder), reactor=reactor
        )
        self.assertEqual(code, 0, (out + err).decode(errors="replace")[-20_000:])

    async def test_messaging(self) -> None:
        paths = "^/(api/(send|get|dlr)|healthz|readyz|openapi)"
        await self.run_against("--include-path-regex", paths, "-n", "8", "--phases", "coverage,fuzzing", config=MESSAGING)

    async def test_management(self) -> None:
        await self.run_against("--include-path-regex", "^/api/v1", "-n", "5", config=MANAGEMENT)

    async def test_logins(self) -> None:
        await self.run_against("--include-path-regex", "^/api/(login|refresh|logout)", "-n", "8")
