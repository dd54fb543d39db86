"""Bind storms: a thousand sessions of one account after a restart, and those of a thousand accounts beside running traffic."""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from protei_bulk.bench.accounts import name
from protei_bulk.bench.esme import SENDER, LoadError, number, percentiles
from protei_bulk.bench.stack import USER, Stack
from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.framer import Framer

_PATIENCE = 900.0  # seconds for all binds of a storm
_ALONE = 5.0  # seconds of traffic before a storm
_PACE = 0.01  # seconds between two messages of a session
_SESSIONS = 5  # of the traffic
_BIND_RESP = commands.BIND_TRANSCEIVER | commands.RESP
_SUBMIT_RESP = commands.SUBMIT_SM | commands.RESP


class _Peer:
    """One connection: a bind, and what is sent over it."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self.user = user
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self.framer = Framer()
        fields = {"system_id": user, "password": password, "interface_version": 0x34}
        self.out = encode(Pdu(commands.BIND_TRANSCEIVER, 0, 1, fields))
        self.sequence = 1
        self.sent: dict[int, float] = {}
        self.began = time.monotonic()
        self.bound = 0.0  # seconds that it took

    def submit(self, dest: str, now: float) -> None:
        self.sequence += 1
        self.sent[self.sequence] = now
        text = b"Your verification code is 482916."
        self.out += fast.encode_sm(
            commands.SUBMIT_SM, self.sequence, b"", 5, 0, SENDER, 1, 1, dest, 0, 0, 0, b"", b"", 0, 0, 0, 0, text
        )


class Storm:
    """Connections whose binds are under way, and traffic over some that are bound."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._traffic: list[_Peer] = []
        self._due = 0.0
        self._messages = 0
        self.latencies: list[float] = []
        self.refused: Counter[str] = Counter()
        self.lost = 0

    def connect(self, users: Sequence[str], password: str) -> list[_Peer]:
        peers = []
        for user in users:
            peer = _Peer(self._port, user, password)
            self._selector.register(peer.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, peer)
            peers.append(peer)
            self.serve(0.0)
        return peers

    def until_bound(self, peers: Sequence[_Peer]) -> float:
        """Seconds from the first connection to the last answer. Raises LoadError."""
        began = min(p.began for p in peers)
        while not all(p.bound for p in peers):
            self.serve(0.05)
            if time.monotonic() - began > _PATIENCE:
                raise LoadError(f"{sum(not p.bound for p in peers)} binds are not answered after {_PATIENCE:.0f} s")
        return max(p.began + p.bound for p in peers) - began

    def traffic(self, peers: list[_Peer]) -> None:
        """From now on these send a message each time it is due."""
        self._traffic = peers
        self._due = time.monotonic()

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.serve(_PACE / _SESSIONS)

    def serve(self, seconds: float) -> None:
        now = time.monotonic()
        while self._traffic and self._due <= now:
            # A message that is late because this program was busy counts from when it goes out.
            peer = self._traffic[self._messages % len(self._traffic)]
            peer.submit(number(self._messages), now)
            self._messages += 1
            self._due += _PACE / len(self._traffic)
            self._write(peer)
        wait = min(seconds, max(0.0, self._due - now)) if self._traffic else seconds
        for key, events in self._selector.select(wait):
            peer = key.data
            if events & selectors.EVENT_WRITE:
                self._write(peer)
            if events & selectors.EVENT_READ:
                self._read(peer)

    def _write(self, peer: _Peer) -> None:
        if peer.out:
            try:
                peer.out = peer.out[peer.socket.send(peer.out) :]
            except (BlockingIOError, OSError):
                return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.out else 0)
        with contextlib.suppress(KeyError):
            self._selector.modify(peer.socket, events, peer)

    def _read(self, peer: _Peer) -> None:
        try:
            data = peer.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now = time.monotonic()
        if not data:
            self._selector.unregister(peer.socket)
            peer.socket.close()
            self.lost += 1
            peer.bound = peer.bound or now - peer.began
            return
        _, frames = peer.framer.feed(data)
        for command, status, sequence, _, _ in frames:
            if command == _BIND_RESP:
                peer.bound = now - peer.began
                if status:
                    self.refused[f"0x{status:08x}"] += 1
            elif command == _SUBMIT_RESP:
                self.latencies.append(now - peer.sent.pop(sequence))
            elif command == commands.ENQUIRE_LINK:
                peer.out += fast.header(commands.ENQUIRE_LINK | commands.RESP, 0, sequence)
                self._write(peer)

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()


def measure(count: int) -> dict[str, Any]:
    """Times in seconds, latencies in milliseconds. Raises LoadError, OSError, SubprocessError."""
    with Stack(1000) as stack:
        subprocess.run(
            [sys.executable, "-m", "protei_bulk.bench.accounts", str(stack.config), str(count)],
            input=stack.password, text=True, check=True, env=stack.environment, timeout=300,
        )  # fmt: skip
        stack.administer("user", "set", USER, "max_binds=0")
        first = Storm(stack.smpp)
        first.until_bound(first.connect([USER], stack.password))  # its address is known from now on
        first.close()
        stack.restart("gateway")
        one = Storm(stack.smpp)
        peers = one.connect([USER] * count, stack.password)
        took = one.until_bound(peers)
        one_account = {"seconds": round(took, 2), "refused": dict(one.refused), "lost": one.lost, **percentiles([p.bound for p in peers])}
        one.close()
        stack.restart("gateway")
        many = Storm(stack.smpp)
        sessions = many.connect([USER] * _SESSIONS, stack.password)
        many.until_bound(sessions)
        many.traffic(sessions)
        many.run(1.0)
        many.latencies.clear()
        many.run(_ALONE)
        alone, many.latencies = percentiles(many.latencies), []
        peers = many.connect([name(n) for n in range(count)], stack.password)
        took = many.until_bound(peers)
        beside = percentiles(many.latencies)
        accounts = {
            "seconds": round(took, 2), "refused": dict(many.refused), "lost": many.lost,
            "messages": len(many.latencies), "traffic_alone_ms": alone, "traffic_beside_ms": beside,
        }  # fmt: skip
        many.close()
    return {"count": count, "one_account": one_account, "accounts": accounts}
