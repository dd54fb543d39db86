"""How a change leaves its row in tbl_permission_audit: in the statement that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from protei_bulk.access.limits import plain_address
from protei_bulk.access.ports import Actor

#: of what `changed` names; its parameters are those of audited()
AUDIT = """INSERT INTO tbl_permission_audit (user_id, actor_id, ip_address, user_agent, action, result, details)
    SELECT {user}, %s, %s::inet, %s, %s, 'SUCCESS', %s::jsonb {more} FROM changed"""
#: what it was before, where `changed` has that; its parameter are the columns
BEFORE = """|| jsonb_build_object('before', COALESCE(
    (SELECT jsonb_object_agg(name, changed.before -> name) FROM unnest(%s::text[]) AS name), '{}'))"""

#: what a change does to a balance goes into the ledger with it: `changed` has id and difference
BOOKED = """INSERT INTO tbl_ledger (customer_id, kind, amount, reference)
    SELECT id, {kind}, difference, {reference} FROM changed WHERE difference <> 0"""
#: of a top-up: taking away is no payment
TOP_UP = "CASE WHEN difference < 0 THEN 'ADJUST' ELSE 'TOPUP' END"


def audited(actor: Actor, action: str, values: Mapping[str, Any]) -> list[Any]:
    """values: what changed; a password only as the fact that it did."""
    shown = dict(values)
    shown.pop("smpp_password_hash", None)
    if shown.pop("password_hash", None) is not None:
        shown["password"] = "set"
    if "outbind_password" in shown:
        shown["outbind_password"] = "set"
    address = plain_address(actor.ip)
    agent = actor.user_agent.encode("utf-8", "replace").decode().replace("\0", "")[:255] or None
    details = orjson.dumps(shown, default=str).decode()
    return [actor.user_id, None if address is None else str(address), agent, action, details]


def shown_before(values: Mapping[str, Any]) -> list[str]:
    """Columns whose old value the audit shows."""
    return [name for name in values if not name.endswith(("password_hash", "outbind_password"))]
