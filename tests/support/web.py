"""A web server of a customer: keeps what it is asked, and says 200 to everything."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Web(ThreadingHTTPServer):
    """Listens from its making until `close`, on loopback. `asked` has the parameters of each GET, with the path as `path`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802
        split = urlsplit(self.path)
        parameters = parse_qs(split.query, keep_blank_values=True, encoding="latin-1")
        asked = {name: values[-1] for name, values in parameters.items()}
        self.server.asked.append({**asked, "path": split.path})  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass
