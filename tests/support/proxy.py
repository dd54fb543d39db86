"""A way to the database that can be cut, or made to lose the answers."""

from __future__ import annotations

import contextlib
import socket
import threading

from psycopg2.extensions import make_dsn, parse_dsn


class DatabaseProxy:
    """Passes connections on, from a loopback port to the server of `dsn`; threads of its own, ended by `close`."""

    def __init__(self, dsn: str) -> None:
        wanted = parse_dsn(dsn)
        self._server = f"{wanted['host']}/.s.PGSQL.{wanted.get('port', '5432')}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._cut = False
        self.deaf = threading.Event()  # what the server says does not arrive
        self.dsn = make_dsn(dsn, host="127.0.0.1", port=self._listener.getsockname()[1], sslmode="disable")
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections and takes no more."""
        with self._lock:
            self._cut = True
            for end in self._open:
                _end(end)

    def mend(self) -> None:
        with self._lock:
            self._cut = False
            self.deaf.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._cut:
                    client.close()
                    continue
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self._server)
                except OSError:
                    client.close()
                    continue
                self._open |= {client, server}
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not (answers and self.deaf.is_set()):
                    target.sendall(data)
        with self._lock:
            self._open -= {source}
        _end(target)


def _end(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
