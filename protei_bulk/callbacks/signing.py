"""Signatures of callbacks after Standard Webhooks: the customer can tell that a callback is ours and fresh. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from protei_bulk.access.secrets import derive


def shown_secret(secret: bytes) -> str:
    """As a customer's library takes it: ``whsec_…``."""
    return "whsec_" + base64.b64encode(secret).decode()


def account_secret(node_secret: bytes, user_id: int, version: int) -> bytes:
    """What the callbacks of an account are signed with; user 0 for messages from mobiles that are nobody's."""
    return derive(node_secret, f"callbacks:{user_id}:{version}")


def signature_headers(secrets: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """One signature a secret: while they change, receivers that know either of them are content."""
    signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp, body)
    signatures = [b"v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()) for secret in secrets]
    return {"webhook-signature": b" ".join(signatures).decode()}
