"""POST /api/dlrCallback: a receipt that an SMSC (or what stands before it) brings over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, TimeoutError

from protei_bulk.channels.http import fields
from protei_bulk.channels.http.exchange import Audit, Exchange
from protei_bulk.channels.http.fields import invalid
from protei_bulk.channels.http.problems import Problem, Reply, reply, retry_after
from protei_bulk.model import lifecycle

#: (smsc_id, the SMSC's message id, receipt state, error code) -> fires after the commit: whether there is such an SMSC
ReceiptSink = Callable[[str, str, str, str], Deferred[bool]]


async def take_receipt(sink: ReceiptSink, audit: Audit, x: Exchange, body: object) -> Reply:
    """Only for the gateway's own network: whoever calls has seen to that."""
    if not isinstance(body, dict):
        raise invalid("$", f"expected an object, got {fields.kind(body)}")
    smsc = fields.text(body, "smsc_id", required=True, longest=64)
    message_id = fields.text(body, "message_id", required=True, longest=64)
    status = fields.text(body, "status", required=True, longest=20)
    error_code = fields.text(body, "error_code", longest=20)
    assert smsc and message_id and status
    if status.upper() not in lifecycle.FROM_RECEIPT:
        raise invalid("$.status", f"must be one of {', '.join(sorted(lifecycle.FROM_RECEIPT))}")
    try:
        known = await sink(smsc, message_id, status.upper(), error_code or "")
    except TimeoutError:
        raise Problem(503, "SYSTEM_ERROR", "The receipt could not be recorded in time", headers=retry_after(5)) from None
    details = {"smsc_id": smsc, "message_id": message_id, "status": status.upper()}
    audit.event("DLR_CALLBACK", known, ip=x.ip, details=details)
    if not known:
        raise Problem(404, "SMSC_NOT_FOUND", f"There is no SMSC {smsc}")
    return reply({"status": "SUCCESS", "message": "Receipt taken."}, 202)
