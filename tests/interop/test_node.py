"""node's `smpp` as ESME."""

from __future__ import annotations

from tests.interop import base
from tests.interop.far_end import NODE_SMPP
from tests.support import programs


class OverTcp(base.Spoken):
    user = "node"

    def command(self) -> list[str]:
        return programs.node(NODE_SMPP).command(base.PEERS / "esme.js")


class OverTls(OverTcp):
    """By ssmpp:// with the gateway's certificate verified."""

    user = "node-tls"
    tls = True
