"""The documents that the API answers with, as JSON Schema: the components of the OpenAPI document. Pure data."""

from __future__ import annotations

from typing import Any

from protei_bulk.access import fields
from protei_bulk.channels.http.users_api import FIELDS
from protei_bulk.model import lifecycle
from protei_bulk.model.charging import POLICIES
from protei_bulk.model.permissions import ROLES
from protei_bulk.store.money import KINDS

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
WHOLE: Schema = {"type": "integer"}
MAYBE_WHOLE: Schema = {"type": ["integer", "null"]}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
MAYBE_MOMENT: Schema = {"type": ["string", "null"], "format": "date-time"}
OK: Schema = {"type": "string", "const": "SUCCESS"}


def record(optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """An object of these, all there but the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def done(optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """What a request that went well is answered with."""
    return record(optional, status=OK, **properties)


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def choice(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def page(name: str, item: Schema) -> Schema:
    """A list with what leads to the next page, where there is one."""
    return done(("next_cursor",), **{name: many(item)}, next_cursor=TEXT)


_USER: dict[str, Schema] = {
    name: {k: v for k, v in shape.schema.items() if k in ("type", "enum", "items")}
    for name, shape in FIELDS.items()
    if not name.startswith("outbind_") and name not in ("password", "email", "dlr_callback_url")
}

COMPONENTS: dict[str, Schema] = {
    "Problem": {
        **record(
            ("path",),
            type={**TEXT, "description": "urn:protei-bulk:problem:..."},
            title=TEXT, status=WHOLE, detail={**TEXT, "description": "for people"},
            code={**TEXT, "description": "for programs"}, path={**TEXT, "description": "of the field at fault"},
        ),
        "description": "RFC 9457",
    },
    "Done": done(message=TEXT),
    "Who": record(
        user_id=WHOLE, username=TEXT, customer_id=WHOLE, role=choice(*ROLES), two_factor_enabled=FLAG, timezone=TEXT, currency=TEXT,
    ),
    "Tokens": done(
        ("user",), token={**TEXT, "description": "JWT: `Authorization: Bearer ...`"}, token_type=choice("Bearer"),
        expires_in={**WHOLE, "description": "seconds"}, refresh_token={**TEXT, "description": "for /api/refresh, once"}, user=ref("Who"),
    ),
    "Login": record(
        login_id=TEXT, ip_address=MAYBE_TEXT, user_agent=MAYBE_TEXT, began_at=MOMENT, refreshed_at=MOMENT, ends_at=MOMENT,
        current={**FLAG, "description": "whether this request is of it"},
    ),
    "ApiKey": done(api_key={**TEXT, "description": "48 characters, shown once"}, message=TEXT),
    "TwoFactorSetup": {
        **record(status=choice("PENDING"), secret=TEXT, otpauth_uri=TEXT, qr_svg=TEXT, message=TEXT),
        "description": "not in force before the next call, with a code",
    },
    "TwoFactorOn": done(two_factor_enabled=FLAG, recovery_codes=many(TEXT), message=TEXT),
    "TwoFactorOff": done(two_factor_enabled=FLAG),
    "User": record(
        user_id=WHOLE, username=TEXT, customer_id=WHOLE, customer=TEXT, **_USER, email=MAYBE_TEXT, dlr_callback_url=MAYBE_TEXT,
        two_factor_enabled=FLAG, has_api_key=FLAG, created_at=MOMENT, last_login_at=MAYBE_MOMENT,
    ),
    "Customer": record(
        customer_id=WHOLE, name=TEXT, status=choice(*fields.STATUSES), balance=NUMBER, credit_limit=NUMBER, currency=TEXT, timezone=TEXT,
        charge_on=choice(*POLICIES), weight=NUMBER, campaign_approval=FLAG, default_country=TEXT,
        allowed_countries=many(TEXT), blocked_countries=many(TEXT),
        users={**WHOLE, "description": "that are not deleted"}, created_at=MOMENT,
    ),
    "LedgerEntry": record(
        entry_id=WHOLE, timestamp=MOMENT, kind=choice(*KINDS), amount={**NUMBER, "description": "what it does to the balance"},
        reserved={**NUMBER, "description": "what it does to what is reserved"}, messages=WHOLE,
        reference={**TEXT, "description": "`campaign N`, or the day"}, balance={**NUMBER, "description": "with it"},
        reserved_in_all={**NUMBER, "description": "with it"},
    ),
    "Rate": record(
        rate_id=WHOLE, currency={**MAYBE_TEXT, "description": "of a default deck"}, mccmnc=MAYBE_TEXT, prefix=MAYBE_TEXT,
        price={"type": ["number", "null"], "description": "of a segment; null: not in the deck any more"}, valid_from=MAYBE_MOMENT,
    ),
    "Deleted": done(kept={**FLAG, "description": "whether it stays in the books"}, message=TEXT),
    "SmppSession": record(
        session_id=WHOLE, user_id=WHOLE, username=TEXT, customer_id=WHOLE, system_id=TEXT,
        bind_type=choice("TRANSMITTER", "RECEIVER", "TRANSCEIVER"), remote_ip=MAYBE_TEXT, remote_port=MAYBE_WHOLE,
        status=choice("BOUND", "SUSPENDED"), node_id=WHOLE, current_tps=NUMBER, messages_sent=WHOLE, messages_received=WHOLE,
        bound_at=MOMENT, last_activity_at=MOMENT,
    ),
    "Usage": done(
        messages_sent={**WHOLE, "description": "segments, today"}, messages_delivered=WHOLE, messages_failed=WHOLE,
        max_messages={**WHOLE, "description": "a day; 0: no limit"}, remaining=MAYBE_WHOLE, percentage_used=NUMBER, days=WHOLE,
        totals=record(messages_sent=WHOLE, messages_delivered=WHOLE, messages_failed=WHOLE),
        history=many(record(
            date={"type": "string", "format": "date"}, user_id=WHOLE, username=TEXT, messages_sent=WHOLE, messages_delivered=WHOLE,
            messages_failed=WHOLE, peak_tps=NUMBER,
        )),
    ),
    "CampaignFigures": done(
        campaign_id=TEXT, name=MAYBE_TEXT, user_id=WHOLE, campaign_status=TEXT, submission_channel=TEXT, sender=MAYBE_TEXT, total=WHOLE,
        pending=WHOLE, queued=WHOLE, sent=WHOLE, delivered=WHOLE, failed=WHOLE, progress_percentage=NUMBER, created_at=MOMENT,
        completed_at=MAYBE_MOMENT,
    ),
    "AuditEvent": record(
        audit_id=WHOLE, timestamp=MOMENT, user_id={**MAYBE_WHOLE, "description": "whom it is about"}, username=MAYBE_TEXT,
        actor_id={**MAYBE_WHOLE, "description": "who did it; null: the command line, or nobody known"}, action=TEXT,
        result=choice("SUCCESS", "FAILURE"), ip_address=MAYBE_TEXT, user_agent=MAYBE_TEXT, details={"type": "object"},
    ),
    "ApiRequest": record(
        request_id=WHOLE, timestamp=MOMENT, user_id=MAYBE_WHOLE, username=MAYBE_TEXT, endpoint=TEXT, method=TEXT, auth_type=MAYBE_TEXT,
        api_key={**MAYBE_TEXT, "description": "the first characters of its hash"}, ip_address=MAYBE_TEXT, user_agent=MAYBE_TEXT,
        request_size=MAYBE_WHOLE, response_status=WHOLE, response_time_ms=WHOLE, error_message=MAYBE_TEXT,
    ),
    "Bulk": record(
        status=choice("SUCCESS", "FAILED"), campaign_id=MAYBE_TEXT, total_recipients=WHOLE, accepted=WHOLE, rejected=WHOLE, message=TEXT,
        errors=many(record(msisdn=TEXT, error=TEXT, code=TEXT, index=WHOLE)),
    ),
    "Reports": done(
        ("next_cursor",), total=WHOLE, next_cursor=TEXT,
        records=many(record(
            ("long",), long={**record(message_id=TEXT, part=WHOLE, parts=WHOLE), "description": "of a part of a long message sent by SMPP"},
            message_id=TEXT, msisdn=TEXT, status=choice(*sorted(lifecycle.ALLOWED_FROM)), dlr_status=MAYBE_TEXT, submitted_at=MOMENT,
            delivered_at=MAYBE_MOMENT, error_code=MAYBE_TEXT,
        )),
    ),
    "Balance": done(
        balance=NUMBER, credit_limit=NUMBER, currency=TEXT, messages_sent_today=WHOLE, messages_remaining_today=MAYBE_WHOLE,
        daily_quota=WHOLE,
    ),
    "Callback": record(
        callback_id=WHOLE, webhook_id=TEXT, user_id=WHOLE, message_id=TEXT, url=TEXT, status=choice("PENDING", "PARKED", "DELIVERED"),
        attempts=WHOLE, last_error=MAYBE_TEXT, created_at=MOMENT, next_attempt_at=MAYBE_MOMENT, delivered_at=MAYBE_MOMENT,
    ),
    "Guards": done(
        ("blacklisted",), velocity=choice("off", "alert", "pause"), allowed_countries=many(TEXT), blocked_countries=many(TEXT),
        blacklisted={**WHOLE, "description": "entries of everybody's list"},
        customers=many(record(
            customer_id=WHOLE, customer=TEXT, allowed_countries=many(TEXT), blocked_countries=many(TEXT), blacklisted=WHOLE,
            opted_out=WHOLE,
            accounts=many(record(user_id=WHOLE, username=TEXT, duplicate_seconds=WHOLE, transactional=FLAG, velocity=TEXT)),
        )),
    ),
    "VelocityEvent": record(
        event_id=WHOLE, user_id=WHOLE, username=MAYBE_TEXT, mode=choice("alert", "pause"), kind=choice("RANGE", "COUNTRY"),
        target={**TEXT, "description": "the first digits of the numbers, or their country"}, country=MAYBE_TEXT, messages=WHOLE,
        limit=WHOLE, created_at=MOMENT, ends_at={**MAYBE_MOMENT, "description": "null: when it is released"}, released_at=MAYBE_MOMENT,
    ),
    "BlacklistEntry": record(
        entry_id=WHOLE, customer_id={**WHOLE, "description": "0: everybody's"}, number={**TEXT, "description": "* after a prefix"},
        reason=TEXT, created_at=MOMENT,
    ),
    "OptOut": record(
        customer_id=WHOLE, number=TEXT, sender={**MAYBE_TEXT, "description": "null: all"}, opted_out=FLAG,
        source=choice("MO", "API", "PORTAL", "IMPORT", "CLI"), message_id={**MAYBE_TEXT, "description": "of the message from the mobile"},
        actor_id=MAYBE_WHOLE, note=TEXT, at=MOMENT,
    ),
    "CallbackSecret": done(secret=TEXT, version=WHOLE, previous_secret=MAYBE_TEXT, previous_until=MAYBE_MOMENT),
    "RoutingRule": record(
        route_id={**MAYBE_WHOLE, "description": "null: in the configuration file, and changed there"}, name=TEXT,
        source=choice("file", "database"),
        enabled=FLAG, order=WHOLE, to=many(TEXT), strategy=TEXT, weights=many(WHOLE), price=NUMBER, reject=TEXT, next_after_receipt=FLAG,
        match={"type": "object"}, rewrite={"type": "object"}, updated_at=MAYBE_MOMENT,
        problems={**many(TEXT), "description": "what keeps it from holding as it is written"},
    ),
    "RoutingCost": record(
        cost_id=WHOLE, smsc_id=TEXT, mccmnc=TEXT, prefix=TEXT, cost={**NUMBER, "description": "of a segment"}, currency=TEXT,
        valid_from=MAYBE_MOMENT,
    ),
    "RoutingExplanation": done(
        network={**MAYBE_TEXT, "description": "MCC-MNC of the recipient"}, rule=MAYBE_TEXT,
        refused={"anyOf": [record(code=TEXT, text=TEXT), {"type": "null"}]}, strategy=MAYBE_TEXT,
        smscs={
            **many(record(
                smsc_id=TEXT, state={"type": ["string", "null"], "enum": ["BOUND", "PROBING", "DEGRADED", "DOWN", None]},
                cost={"type": ["number", "null"]}, delivered_share={"type": ["number", "null"]},
            )),
            "description": "in the order in which they are tried",
        },
        price={"type": ["number", "null"]}, rewrite={"type": ["object", "null"]}, next_after_receipt=FLAG,
        rules=many(record(rule=TEXT, source=choice("file", "database"), order=WHOLE, matched=FLAG, why=TEXT)),
    ),
    "Ready": {"type": "object", "properties": {"ready": FLAG, "reasons": many(TEXT)}, "required": ["ready", "reasons"]},
}  # fmt: skip
