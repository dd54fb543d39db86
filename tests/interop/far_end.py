"""Far ends that are not ours: SMSCs that the gateway binds to."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import smpplib.gsm

from protei_bulk.smpp import tags
from tests.interop.messages import Arrived, Part
from tests.support import programs
from tests.support.gateway import Outside, free_port
from tests.support.programs import Program

NODE_SMPP = "smpp@0.5.1"
PEERS = Path(__file__).with_name("peers")


class NodeSmsc:
    """An SMSC on node's `smpp`: one process, a port for each name. Raises SkipTest where there is no node."""

    def __init__(self, folder: Path, names: Sequence[str], tls: Sequence[str], certificate: Path, key: Path) -> None:
        node = programs.node(NODE_SMPP)
        self._http = free_port()
        self._folder = folder
        self.ports = {name: free_port() for name in names}
        secured = {"key": str(key), "cert": str(certificate)}
        listen = [
            {"name": name, "port": port, "tlvs": not name.endswith("TEXT"), **(secured if name in tls else {})}
            for name, port in self.ports.items()
        ]
        order = json.dumps({"http": self._http, "listen": listen})
        self._program = Program(folder, "node-smsc", node.command(PEERS / "smsc.js", order))
        self._program.start()

    def stop(self) -> None:
        self._program.end(signal.SIGKILL)

    def outside(self, name: str) -> Outside:
        """One of its ports, as the gateway's tests know an SMSC."""
        return Outside(self.ports[name], self._program)

    def submitted(self, dest: str) -> list[Arrived]:
        return [_arrived(found) for found in self._ask(f"/submitted/{dest}")]

    def places(self, dest: str) -> set[str]:
        """Under which names it came."""
        return {found["place"] for found in self._ask(f"/submitted/{dest}")}

    def send(self, name: str, source: str, dest: str, parts: Sequence[Part]) -> list[int]:
        """A message from a mobile; the statuses of the gateway's answers."""
        order = {"name": name, "source": source, "dest": dest, "parts": [part.as_json() for part in parts]}
        return [int(status) for status in self._ask("/mo", json.dumps(order).encode())]

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self._http}{path}", body, timeout=20) as response:
            return json.load(response)


def _arrived(found: Mapping[str, Any]) -> Arrived:
    """The text as the library has decoded it, encoded again."""
    text = found["text"]
    octets = text.encode("utf-16-be") if found["coding"] == 8 else smpplib.gsm.gsm_encode(text)
    body = bytes.fromhex(found["udh"]) + (bytes.fromhex(found["octets"]) or octets)
    tlvs = {tags.MESSAGE_PAYLOAD: body} if found["payload"] else {}
    if found["sar"]:
        named = ((tags.SAR_MSG_REF_NUM, 2), (tags.SAR_TOTAL_SEGMENTS, 1), (tags.SAR_SEGMENT_SEQNUM, 1))
        tlvs |= {tag: value.to_bytes(size, "big") for (tag, size), value in zip(named, found["sar"], strict=True)}
    short = b"" if found["payload"] else body
    return Arrived(found["source"], found["dest"], found["esm_class"], found["registered"], found["coding"], short, tlvs)
