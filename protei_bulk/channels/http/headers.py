"""Headers that every answer has, whoever makes it, and the answers that are made before there is a request."""

from __future__ import annotations

from http import HTTPStatus

from twisted.web.http_headers import Headers

from protei_bulk.channels.http.problems import Problem

SERVER = b"protei-bulk"
HSTS = b"max-age=31536000"

#: where an answer does not say otherwise; the portal's pages do
DEFAULTS = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Cache-Control", b"no-store"),
)


_LINES = tuple((name, name + b": " + value + b"\r\n") for name, value in DEFAULTS)
_SERVER = b"Server: " + SERVER + b"\r\n"
_HSTS = b"Strict-Transport-Security: " + HSTS + b"\r\n"


def head(version: bytes, code: bytes, reason: bytes, headers: Headers, secure: bool) -> list[bytes]:
    """The octets of a whole head. `secure`: the client has come by HTTPS; over plain HTTP RFC 6797 forbids HSTS."""
    octets = [version, b" ", code, b" ", reason, b"\r\n", _SERVER]
    there = set()
    for name, values in headers.getAllRawHeaders():
        if name == b"Server":
            continue  # Twisted's tells its version
        there.add(name)
        for value in values:
            octets += (name, b": ", value, b"\r\n")
    octets += [line for name, line in _LINES if name not in there]
    if secure:
        octets.append(_HSTS)
    octets.append(b"\r\n")
    return octets


def whole_answer(problem: Problem, secure: bool) -> bytes:
    """A problem document with its head, after which the connection closes."""
    reply = problem.reply()
    headers = Headers({"Connection": ["close"], "Content-Type": [reply.content_type], "Content-Length": [str(len(reply.body))]})
    for name, value in reply.headers:
        headers.addRawHeader(name, value)
    phrase = HTTPStatus(reply.status).phrase.encode("ascii")
    return b"".join(head(b"HTTP/1.1", b"%d" % reply.status, phrase, headers, secure)) + reply.body
