"""Errors as problem documents (RFC 9457), with a `code` for programs beside the title for people."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from attrs import frozen

PROBLEM = "application/problem+json"
JSON = "application/json"


@frozen
class Reply:
    """What goes back: everything but the headers that every answer has."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    error: str = ""  # for the audit
    event: tuple[str, Mapping[str, object]] | None = None  # what was done, for the audit: action and details


def reply(
    document: Mapping[str, Any], status: int = 200, *, error: str = "", event: tuple[str, Mapping[str, object]] | None = None
) -> Reply:
    return Reply(status, orjson.dumps(document), error=error, event=event)


class Problem(Exception):
    """Raised anywhere in a request; `members` go into the document as they are."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: tuple[tuple[str, str], ...] = (), **members: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers, self.members = headers, members

    def reply(self) -> Reply:
        document = {
            "type": "urn:protei-bulk:problem:" + self.code.lower().replace("_", "-"),
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.members,
        }
        return Reply(self.status, orjson.dumps(document), PROBLEM, self.headers, f"{self.code}: {self.detail}")


def retry_after(seconds: float) -> tuple[tuple[str, str], ...]:
    """The header: whole seconds, at least 1."""
    return (("Retry-After", str(max(1, int(seconds + 0.999)))),)
