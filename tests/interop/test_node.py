"""node's `smpp` as ESME."""

from __future__ import annotations

from tests.interop import base
from tests.support import programs

PACKAGE = "smpp@0.5.1"


class OverTcp(base.Spoken):
    user = "node"

    def command(self) -> list[str]:
        return programs.node(PACKAGE).command(base.PEERS / "esme.js")


class OverTls(OverTcp):
    """By ssmpp:// with the gateway's certificate verified."""

    user = "node-tls"
    tls = True
