"""How an ESME has reached us, as a condition of its bind."""

from __future__ import annotations

from attrs import frozen

from protei_bulk.access.results import CERTIFICATE_REQUIRED, TLS_REQUIRED, AuthResult, refused
from protei_bulk.model.account import Account


@frozen
class TlsPeer:
    """Whether a connection is encrypted, and the names on the client certificate that was verified (none: there was none)."""

    encrypted: bool = False
    names: frozenset[str] = frozenset()


PLAIN = TlsPeer()


def refusal(account: Account, peer: TlsPeer) -> AuthResult | None:
    """Why an account may not bind over this connection; None where it may.

    Names are compared without regard to case: those of hosts have none, and no authority tells two customers apart by it.
    """
    if account.smpp_require_tls and not peer.encrypted:
        return refused(TLS_REQUIRED, "This account may bind over TLS only")
    identity = account.smpp_tls_identity
    if identity and identity.casefold() not in {name.casefold() for name in peer.names}:
        return refused(CERTIFICATE_REQUIRED, "This account may bind with its own client certificate only")
    return None
