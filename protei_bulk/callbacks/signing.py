"""Signatures of callbacks after Standard Webhooks: the customer can tell that a callback is ours and fresh. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac


def shown_secret(secret: bytes) -> str:
    """As a customer's library takes it: ``whsec_…``."""
    return "whsec_" + base64.b64encode(secret).decode()


def signature_headers(secret: bytes, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    signed = b"%s.%d.%s" % (webhook_id.encode(), timestamp, body)
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return {"webhook-signature": "v1," + base64.b64encode(digest).decode()}
