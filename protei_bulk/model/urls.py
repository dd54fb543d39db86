"""What a callback address may look like. Where it leads is looked at when it is used (callbacks.addresses). Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MAX_URL = 500

_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\])\Z")

#: services that take what we send for something else: those that browsers refuse (fetch.spec.whatwg.org), and databases
BAD_PORTS = frozenset({
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113, 115,
    117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587,
    601, 636, 873, 989, 990, 993, 995, 1433, 1521, 1719, 1720, 1723, 2049, 2375, 2376, 2379, 2775, 3306, 3389, 3550, 3659, 4045, 4190, 5060,
    5061, 5432, 5672, 5984, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 9042, 9092, 9200, 10080, 10250, 11211, 27017,
})  # fmt: skip


def url_fault(url: str) -> str | None:
    """Why no callback could go there; None where one can."""
    if len(url) > MAX_URL:
        return f"is longer than {MAX_URL} characters"
    if not all("\x21" <= c <= "\x7e" for c in url):
        return "must be printable ASCII without spaces (percent-encode the rest)"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is not a URL: {error}"
    if parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://"
    if "@" in parts.netloc:
        return "must not hold a user name or password"
    if "\\" in url:
        return "must not hold a backslash"
    host = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc.removesuffix(":")
    if not _HOST.match(host):
        return "has no valid host"
    if port in BAD_PORTS:
        return f"must not name port {port}, which is another service's"
    return None
