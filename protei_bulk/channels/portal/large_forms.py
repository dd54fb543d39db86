"""Forms that are larger than what the site takes apart before it knows who sent them: texts and lists of numbers."""

from __future__ import annotations

from twisted.web.http import parse_qs
from twisted.web.iweb import IRequest

MOST = 3 * 1024**2  # octets: 200,000 characters of any script, as a browser writes them
FIELDS = 500


class TooLarge(ValueError):
    """It has more octets or fields than any form of ours."""


def take_apart(request: IRequest) -> None:
    """Puts the fields of a form into `request.args`, where the site has not. Only for those who are logged in. Raises TooLarge."""
    kind = request.getHeader("content-type") or ""
    if not kind.lower().startswith("application/x-www-form-urlencoded"):
        return
    body = request.content
    size = body.seek(0, 2)
    body.seek(0)
    if not size or b"csrf" in (request.args or {}):
        return
    if size > MOST:
        raise TooLarge
    text = body.read()
    if text.count(b"&") >= FIELDS:
        raise TooLarge
    for name, values in parse_qs(text, 1).items():
        request.args.setdefault(name, []).extend(values)
