"""A backlog of many messages for an SMSC that takes few: memory and intake while it grows, and urgent messages beside it."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from protei_bulk.bench import processes
from protei_bulk.bench.esme import SENDER, TEXT, LoadError, percentiles
from protei_bulk.bench.stack import USER, Stack
from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.framer import Framer
from protei_bulk.text.receipt import parse_receipt

TPS = 1000  # that the SMSC takes
STEPS = 5  # in which the backlog is made
URGENT, EVERY = 300, 0.05  # how many, and seconds between two
_PATIENCE = 30.0


def measure(count: int, load: Callable[[Stack, int], Mapping[str, Any]]) -> dict[str, Any]:
    """Rates are messages a second, memory MiB, times milliseconds. `load(stack, messages)` is a run of the load client.

    Raises LoadError, OSError.
    """
    steps = []
    with Stack(1000, smsc=f"max_tps = {TPS}", queue_memory=20_000, delay=0.0) as stack:
        gateway = stack.pid("gateway")
        for _ in range(STEPS):
            client = load(stack, count // STEPS)
            steps.append({"accepted": client["accepted"], "rate": client["accept_rate"], "memory": processes.memory(gateway)})
        urgent = urgent_beside(stack)
        memory = processes.peak_memory(gateway)
    return {"messages": sum(s["accepted"] for s in steps), "smsc_tps": TPS, "steps": steps, "peak_mib": memory, "urgent": urgent}


def urgent_beside(stack: Stack) -> dict[str, Any]:
    """Milliseconds from an urgent submit_sm until its receipt has come back; the SMSC sends that at once."""
    sent: dict[int, float] = {}
    asked: dict[str, float] = {}
    told: dict[str, float] = {}
    framer = Framer()
    with socket.create_connection(("127.0.0.1", stack.smpp), timeout=_PATIENCE) as s:
        s.sendall(encode(Pdu(commands.BIND_TRANSCEIVER, 0, 1, {"system_id": USER, "password": stack.password, "interface_version": 0x34})))
        begun = time.monotonic()
        last = begun + URGENT * EVERY + _PATIENCE
        next_at, n = begun + 1.0, 0
        while (len(told) < URGENT) and time.monotonic() < last:
            now = time.monotonic()
            if n < URGENT and now >= next_at:
                n += 1
                sent[n + 1] = now
                next_at += EVERY
                addresses = (5, 0, SENDER, 1, 1, f"96279{n:07d}")
                s.sendall(fast.encode_sm(commands.SUBMIT_SM, n + 1, b"", *addresses, 0, 0, 3, b"", b"", 1, 0, 0, 0, TEXT))
            ready, _, _ = select.select([s], [], [], max(0.0, next_at - time.monotonic()) if n < URGENT else 0.2)
            if not ready:
                continue
            data = s.recv(1 << 16)
            if not data:
                raise LoadError("the gateway closed the connection of the urgent messages")
            buf, frames = framer.feed(data)
            for command, status, sequence, start, end in frames:
                if command == commands.SUBMIT_SM | commands.RESP:
                    if status:
                        raise LoadError(f"an urgent message was refused with status {status:#x}")
                    asked[fast.response_id(buf, start, end)] = sent[sequence]
                elif command == commands.DELIVER_SM:
                    f = fast.decode_sm(buf, start, end)
                    s.sendall(fast.deliver_resp(sequence))
                    receipt = parse_receipt(f[16], f[17], f[7])
                    if receipt is not None and receipt.id in asked:
                        told.setdefault(receipt.id, time.monotonic())
                elif command == commands.ENQUIRE_LINK:
                    s.sendall(fast.header(commands.ENQUIRE_LINK | commands.RESP, 0, sequence))
    return {"sent": n, "told": len(told), "latency": percentiles([at - asked[id] for id, at in told.items()])}
