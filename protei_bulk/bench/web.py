"""HTTP load: POST /api/sendBulk over a few connections that stay open."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from protei_bulk.bench.esme import SENDER, TEXT, LoadError, percentiles

RECIPIENTS = 100  # of each request
CONNECTIONS = 4


def number(request: int, recipient: int) -> str:
    """The recipient of one message; none of them is one of the SMPP load client's."""
    return f"96277{request * RECIPIENTS + recipient:07d}"


def send(port: int, key: str, requests: int) -> tuple[dict[str, Any], set[str]]:
    """(figures, the numbers whose messages were accepted). Raises LoadError."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def work(first: int) -> tuple[list[float], set[str]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        took: list[float] = []
        accepted: set[str] = set()
        try:
            for request in range(first, requests, CONNECTIONS):
                numbers = [number(request, i) for i in range(RECIPIENTS)]
                order = {
                    "sender": SENDER,
                    "recipients": [{"msisdn": n} for n in numbers],
                    "message": TEXT.decode(),
                    "encoding": "GSM7",
                }
                began = time.monotonic()
                connection.request("POST", "/api/sendBulk", json.dumps(order), headers)
                response = connection.getresponse()
                body = response.read()
                took.append(time.monotonic() - began)
                answer = json.loads(body) if response.status == 200 else {}
                if answer.get("accepted") != RECIPIENTS:
                    raise LoadError(f"sendBulk: {response.status} {body[:200].decode(errors='replace')}")
                accepted.update(numbers)
        finally:
            connection.close()
        return took, accepted

    started = time.monotonic()
    try:
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            results = list(threads.map(work, range(CONNECTIONS)))
    except (OSError, http.client.HTTPException) as error:
        raise LoadError(f"sendBulk: {error}") from None
    seconds = time.monotonic() - started
    accepted = set().union(*(a for _, a in results))
    figures = {
        "requests": requests,
        "messages": len(accepted),
        "messages_per_second": round(len(accepted) / seconds) if seconds else 0,
        "latency": percentiles([t for took, _ in results for t in took]),
    }
    return figures, accepted
