"""node's `smpp` as ESME."""

from __future__ import annotations

from tests.interop import base, scenarios
from tests.interop.far_end import NODE_SMPP
from tests.support import programs


class OverTcp(scenarios.Spoken):
    user = "node"

    def command(self) -> list[str]:
        return programs.node(NODE_SMPP).command(base.PEERS / "esme.js")

    def test_submit_multi(self) -> None:
        """Two numbers, one that no route takes, and a distribution list."""
        dests = [self.number(), self.number()]
        addresses: list[object] = [{"dest_addr_ton": 1, "dest_addr_npi": 1, "destination_addr": d} for d in [*dests, "1"]]
        fields = {
            "source_addr_ton": 5, "source_addr": base.SENDER, "dest_address": [*addresses, {"dl_name": "friends"}],
            "registered_delivery": 1, "short_message": {"message": "To all"},
        }  # fmt: skip
        (found,), told = self.ask([("submit_multi", fields)], receipts=2)
        self.assertEqual((found.status, set(found.refused)), (0, {("1", 0x0B), ("friends", 0x34)}))
        self.assertEqual({(d.id, d.source, d.state) for d in told}, {(found.id, dest, 2) for dest in dests})
        for dest in dests:
            (arrived,) = self.whole(dest)
            self.assertEqual(arrived.short_message, b"To all")

    def test_states_and_parameters_of_5_0(self) -> None:
        named: dict[str, object] = {"message_id": "$id", "source_addr_ton": 5, "source_addr": base.SENDER}
        submitted, queried, cancelled, broadcast = self.ask(
            [
                self.later(self.number()), ("query_sm", named), ("cancel_sm", {**named, "destination_addr": ""}),
                ("broadcast_sm", {"source_addr_ton": 5, "source_addr": base.SENDER}),
            ],
            receipts=1, version=0x50,
        )[0]  # fmt: skip
        self.assertEqual((submitted.status, submitted.parameters), (0, {"congestion_state"}))
        self.assertEqual((queried.state, cancelled.status, broadcast.status), (0, 0, 0x101))


class OverTls(OverTcp):
    """By ssmpp:// with the gateway's certificate verified."""

    user = "node-tls"
    tls = True
