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


def complete(headers: Headers, secure: bool) -> None:
    """`secure`: the client has come by HTTPS; over plain HTTP browsers ignore HSTS, and RFC 6797 forbids it."""
    headers.setRawHeaders(b"Server", [SERVER])
    for name, value in DEFAULTS:
        if not headers.hasHeader(name):
            headers.setRawHeaders(name, [value])
    if secure:
        headers.setRawHeaders(b"Strict-Transport-Security", [HSTS])


def whole_answer(problem: Problem, secure: bool) -> bytes:
    """A problem document with its head, after which the connection closes."""
    reply = problem.reply()
    headers = Headers({"Connection": ["close"], "Content-Type": [reply.content_type], "Content-Length": [str(len(reply.body))]})
    for name, value in reply.headers:
        headers.addRawHeader(name, value)
    complete(headers, secure)
    lines = [b"HTTP/1.1 %d %s" % (reply.status, HTTPStatus(reply.status).phrase.encode("ascii"))]
    lines += [b"%s: %s" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
    return b"\r\n".join(lines) + b"\r\n\r\n" + reply.body
