"""HTTP connections that stay open and do nothing: what they cost, and whether the gateway answers others beside them."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
import time
from typing import Any

from protei_bulk.bench import processes
from protei_bulk.bench.esme import LoadError, percentiles

BESIDE = 50  # requests while the others are held
SPARE = 200  # files that this process needs for itself
ONE_IN = 10  # connections that have been used before they fall idle


def hold(port: int, key: str, count: int, gateway: int) -> dict[str, Any]:
    """Figures of `count` connections, in MiB, seconds and milliseconds. Raises LoadError, OSError."""
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < count + SPARE:
        raise LoadError(f"{count} connections need {count + SPARE} open files, and this user may have {most} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files, count + SPARE), most))
    _ask(port, key)
    before = processes.memory(gateway)
    with contextlib.ExitStack() as stack:
        held: list[socket.socket] = []
        began = time.monotonic()
        for n in range(count):
            s = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            if n % ONE_IN == 0:
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if not s.recv(65536).startswith(b"HTTP/1.1 200 "):
                    raise LoadError("/healthz does not answer")
            held.append(s)
        opened = time.monotonic() - began
        took = [_ask(port, key) for _ in range(BESIDE)]
        after = processes.memory(gateway)
        lost = sum(not _open(s) for s in held)
    return {
        "connections": count,
        "lost": lost,
        "opened_in": round(opened, 1),
        "memory_before_mib": round(before, 1),
        "memory_held_mib": round(after, 1),
        "kib_a_connection": round((after - before) * 1024 / count, 1),
        "latency": percentiles(took),
    }


def _open(s: socket.socket) -> bool:
    """Whether the other end has not closed it."""
    s.setblocking(False)
    try:
        return bool(s.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _ask(port: int, key: str) -> float:
    """Seconds that GET /api/getBalance takes on a connection of its own."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/api/getBalance", headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        raise LoadError(f"a request beside idle connections: {error}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise LoadError(f"a request beside idle connections: HTTP {response.status}")
    return time.monotonic() - began
