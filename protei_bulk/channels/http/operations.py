"""What every route of the API is for, takes and gives: the OpenAPI document is made of this and of the table of routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from protei_bulk.channels.http import (
    account_api,
    analytics_api,
    audit_api,
    callbacks_api,
    campaigns_api,
    customers_api,
    guards_api,
    money_api,
    routing_api,
    session_api,
    users_api,
)
from protei_bulk.channels.http.order import ENCODINGS, MAX_TEXT, PRIORITIES
from protei_bulk.channels.http.schemas import TEXT, done, many, page, record, ref
from protei_bulk.channels.http.shapes import Shape
from protei_bulk.model import lifecycle

Schema = dict[str, Any]

MESSAGING, ACCOUNT, USERS = "Bulk messaging", "Own account", "Users"
CUSTOMERS, MONITORING, AUDIT, CALLBACKS, HEALTH = "Customers", "Monitoring", "Audit", "Callbacks", "Health"
ROUTING, GUARDS = "Routing", "Guards"
NUMBER: Schema = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
LOGIN: Schema = {"type": "string", "pattern": "^[0-9a-f]{1,64}$"}
CAMPAIGN: Schema = {"type": "string", "minLength": 1, "maxLength": 64, "description": "CAMP-... or its number"}

CAMPAIGN_ID: Schema = {"type": "string", "minLength": 1, "maxLength": 64, "description": "CAMP-..."}


@frozen
class Operation:
    """answers: documents by status. problems: those beside what every route of its kind may answer."""

    summary: str
    tag: str
    answers: Mapping[int, Schema]
    body: Schema | None = None
    body_optional: bool = False
    query: Mapping[str, Shape] = field(factory=dict)
    path: Mapping[str, Schema] = field(factory=dict)  # of names that are not ..._id
    headers: Mapping[str, Schema] = field(factory=dict)
    problems: tuple[int, ...] = ()
    media: str = "application/json"


_MSISDN = {"anyOf": [{"type": "string", "pattern": r"^\+?[0-9]{10,15}$"}, {"type": "integer", "minimum": 10**9, "maximum": 10**15 - 1}]}
_VALUE = {"anyOf": [{"type": "string", "pattern": r"^[^\x00]*$"}, {"type": "number", "minimum": -1e9, "maximum": 1e9}]}
_TEXT = {"type": ["string", "null"], "maxLength": MAX_TEXT, "pattern": r"^[^\x00]*$"}
SEND_BULK: Schema = {
    "type": "object",
    "required": ["sender", "recipients"],
    "properties": {
        "sender": {
            "anyOf": [{"type": "string", "pattern": r"^[!-~]([ -~]{0,9}[!-~])?$"}, {"type": "string", "pattern": r"^\+?[0-9]{1,15}$"}],
            "description": "1 to 11 printable ASCII characters, or up to 15 digits",
        },
        "recipients": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["msisdn"],
                "properties": {
                    "msisdn": _MSISDN,
                    "message": {**_TEXT, "description": "in place of the one for all"},
                    "variables": {"type": ["object", "null"], "additionalProperties": _VALUE, "description": "for %NAME% in the text"},
                },
            },
        },
        "message": {**_TEXT, "description": "for the recipients without their own"},
        "encoding": {"type": ["string", "null"], "enum": [*ENCODINGS, None], "default": "GSM7"},
        "priority": {"type": ["string", "null"], "enum": [*PRIORITIES, None], "default": "NORMAL"},
        "smart": {"type": ["boolean", "null"], "default": False, "description": "typographic characters become those of GSM 03.38"},
        "dlr_url": {"type": ["string", "null"], "maxLength": 500, "pattern": r"^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[!-~]*)?$"},
        "campaign_name": {"type": ["string", "null"], "maxLength": 200, "pattern": r"^[^\x00]*$"},
        "tags": {
            "type": ["array", "null"], "maxItems": 20, "description": "rules of routing may ask for them",
            "items": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[ -~]+$"},
        },
        "schedule_time": {"type": ["string", "null"], "description": "2025-01-20T10:00:00 in the account's time zone, or with an offset"},
    },
}
_CURSOR = "`next_cursor` of the answer before"
_MAX_21 = {"type": "string", "maxLength": 21, "pattern": r"^[^\x00]*$"}
_ID = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[^\x00]*$"}
GET_DLR: Schema = {
    "type": "object",
    "anyOf": [{"required": ["campaign_id"]}, {"required": ["message_id"]}, {"required": ["message_ids"]}],
    "properties": {
        "campaign_id": {**_ID, "type": ["string", "null"], "minLength": 0},
        "message_id": {**_ID, "type": ["string", "null"], "minLength": 0},
        "message_ids": {"type": ["array", "null"], "maxItems": 1000, "items": _ID},
        "msisdn": {"anyOf": [_MAX_21, {"type": ["integer", "null"]}]},
        "status": {"type": ["string", "null"], "enum": [*sorted(lifecycle.ALLOWED_FROM), "", None]},
        "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": 1000, "default": 100},
        "cursor": {"type": ["string", "null"], "pattern": r"^(MSG-[0-9A-HJKMNP-TV-Z]{12}\.[0-9]{1,9})?$", "description": _CURSOR},
    },
}  # fmt: skip
RECEIPT: Schema = {
    "type": "object",
    "required": ["smsc_id", "message_id", "status"],
    "properties": {
        "smsc_id": {"type": "string", "maxLength": 64, "pattern": r"^[^\s\x00]+$"},
        "message_id": {"type": "string", "maxLength": 64, "pattern": r"^[^\s\x00]+$"},
        "status": {"type": "string", "enum": sorted(lifecycle.FROM_RECEIPT)},
        "error_code": {"type": ["string", "null"], "maxLength": 20, "pattern": r"^[^\x00]*$"},
    },
}
_KEY = {"type": "string", "minLength": 1, "maxLength": 257, "pattern": r'^"[a-zA-Z0-9_-]{1,255}"$',
        "description": "sent again with the same body, the request acts once"}  # fmt: skip

OPERATIONS: dict[str, Operation] = {
    "POST /api/sendBulk": Operation(
        "Submit messages to many recipients as one campaign", MESSAGING, {200: ref("Bulk")}, SEND_BULK,
        headers={"Idempotency-Key": _KEY}, problems=(402, 409, 422),
    ),
    "POST /api/getDLR": Operation("Ask what became of messages", MESSAGING, {200: ref("Reports")}, GET_DLR, problems=(404,)),
    "GET /api/getBalance": Operation("Balance and quota", MESSAGING, {200: ref("Balance")}, problems=(404,)),
    "POST /api/dlrCallback": Operation(
        "A receipt of an SMSC; for the gateway's own network", MESSAGING, {202: ref("Done")}, RECEIPT, problems=(403, 404),
    ),
    "POST /api/login": Operation("Log in", ACCOUNT, {200: ref("Tokens")}, account_api.LOGIN.schema, problems=(401, 403)),
    "POST /api/refresh": Operation(
        "New tokens for a refresh token, which is then worth nothing", ACCOUNT, {200: ref("Tokens")}, account_api.REFRESH.schema,
        body_optional=True, problems=(401, 403),
    ),
    "POST /api/logout": Operation("End the session and its tokens, on all nodes", ACCOUNT, {200: ref("Done")}),
    "GET /api/v1/users/me": Operation("Who I am", ACCOUNT, {200: done(user=ref("Who"))}),
    "GET /api/v1/users/logins": Operation("Where I am logged in", ACCOUNT, {200: done(logins={"type": "array", "items": ref("Login")})}),
    "POST /api/v1/users/logins/{id}/end": Operation("Log out there", ACCOUNT, {200: ref("Done")}, path={"id": LOGIN}),
    "POST /api/v1/users/change-password": Operation(
        "Change my password; ends all my logins", ACCOUNT, {200: ref("Done")}, users_api.CHANGE_PASSWORD.schema, problems=(404,)
    ),
    "POST /api/v1/users/generate-api-key": Operation("A new API key in place of any other", ACCOUNT, {200: ref("ApiKey")}, problems=(404,)),
    "POST /api/v1/users/revoke-api-key": Operation("Make my API key worthless", ACCOUNT, {200: ref("Done")}),
    "POST /api/v1/users/enable-2fa": Operation(
        "Two-factor authentication: without a code a new secret, with one of its codes it is on", ACCOUNT,
        {200: {"anyOf": [ref("TwoFactorSetup"), ref("TwoFactorOn")]}}, account_api.ENABLE_2FA.schema, body_optional=True, problems=(409,),
    ),
    "POST /api/v1/users/disable-2fa": Operation(
        "Switch it off, with password and code", ACCOUNT, {200: ref("TwoFactorOff")}, account_api.DISABLE_2FA.schema
    ),
    "POST /api/v1/users/recovery-codes": Operation(
        "New recovery codes in place of the old", ACCOUNT, {200: ref("TwoFactorOn")}, account_api.RECOVERY_CODES.schema
    ),
    "GET /api/v1/users": Operation("List users", USERS, {200: page("users", ref("User"))}, query=users_api.LIST),
    "POST /api/v1/users": Operation("Make a user", USERS, {201: done(user=ref("User"))}, users_api.CREATE.schema, problems=(409,)),
    "GET /api/v1/users/{user_id}": Operation("A user", USERS, {200: done(user=ref("User"))}),
    "PATCH /api/v1/users/{user_id}": Operation(
        "Change a user; `status` SUSPENDED suspends", USERS, {200: done(user=ref("User"))}, users_api.CHANGE.schema
    ),
    "DELETE /api/v1/users/{user_id}": Operation("Delete a user; what has traffic stays in the books", USERS, {200: ref("Deleted")}),
    "POST /api/v1/users/{user_id}/generate-api-key": Operation("A new API key for a user", USERS, {200: ref("ApiKey")}),
    "POST /api/v1/users/{user_id}/revoke-api-key": Operation("Make a user's API key worthless", USERS, {200: ref("Done")}),
    "POST /api/v1/users/{user_id}/disable-2fa": Operation("For a user who has lost it all", USERS, {200: ref("TwoFactorOff")}),
    "GET /api/v1/customers": Operation("List customers", CUSTOMERS, {200: page("customers", ref("Customer"))}, query=customers_api.LIST),
    "POST /api/v1/customers": Operation(
        "Make a customer", CUSTOMERS, {201: done(customer=ref("Customer"))}, customers_api.CREATE.schema, problems=(404, 409)
    ),
    "GET /api/v1/customers/{customer_id}": Operation("A customer", CUSTOMERS, {200: done(customer=ref("Customer"))}),
    "PATCH /api/v1/customers/{customer_id}": Operation(
        "Change a customer; `status` SUSPENDED suspends all its users", CUSTOMERS, {200: done(customer=ref("Customer"))},
        customers_api.CHANGE.schema, problems=(409,),
    ),
    "DELETE /api/v1/customers/{customer_id}": Operation(
        "Delete a customer without users; what has traffic stays in the books", CUSTOMERS, {200: ref("Deleted")}, problems=(409,)
    ),
    "POST /api/v1/customers/{customer_id}/top-up": Operation(
        "Add to the balance", CUSTOMERS, {200: done(customer_id={"type": "integer"}, balance={"type": "number"})},
        customers_api.TOP_UP.schema,
    ),
    "GET /api/v1/customers/{customer_id}/ledger": Operation(
        "What changed the balance, newest first", CUSTOMERS,
        {200: done(("next_cursor",), currency=TEXT, entries=many(ref("LedgerEntry")), next_cursor=TEXT)}, query=money_api.LEDGER,
    ),
    "GET /api/v1/customers/{customer_id}/statement.csv": Operation(
        "The same as a CSV file, oldest first", CUSTOMERS, {200: {"type": "string"}}, query=money_api.STATEMENT, media="text/csv"
    ),
    "GET /api/v1/customers/{customer_id}/rates": Operation(
        "What a customer pays for a segment", CUSTOMERS, {200: page("rates", ref("Rate"))}, query=money_api.RATES
    ),
    "POST /api/v1/customers/{customer_id}/rates": Operation(
        "Set prices of a customer; all nodes have them within a moment", CUSTOMERS, {200: done(entries={"type": "integer"})},
        money_api.SET_RATES,
    ),
    "DELETE /api/v1/customers/{customer_id}/rates/{rate_id}": Operation(
        "Take a price away, as if it had never been", CUSTOMERS, {200: ref("Done")}
    ),
    "GET /api/v1/rates": Operation(
        "The default decks: for customers whose own deck does not say", CUSTOMERS, {200: page("rates", ref("Rate"))},
        query=money_api.RATES,
    ),
    "POST /api/v1/rates": Operation(
        "Set prices of the default deck of a currency", CUSTOMERS, {200: done(entries={"type": "integer"})}, money_api.SET_DEFAULT
    ),
    "GET /api/v1/sessions/smpp": Operation(
        "SMPP sessions, on all nodes, newest first", MONITORING, {200: page("sessions", ref("SmppSession"))}, query=session_api.LIST
    ),
    "POST /api/v1/sessions/disconnect/{session_id}": Operation(
        "End an SMPP session, on whichever node it is", MONITORING, {200: done(session_id={"type": "integer"}, message=TEXT)}
    ),
    "GET /api/v1/analytics/usage": Operation(
        "Usage today and by day", MONITORING, {200: ref("Usage")}, query=analytics_api.USAGE, problems=(404,)
    ),
    "GET /api/v1/analytics/campaigns/{id}": Operation(
        "The figures of a campaign", MONITORING, {200: ref("CampaignFigures")}, path={"id": CAMPAIGN}
    ),
    "GET /api/v1/audit/events": Operation(
        "What was done and tried, newest first", AUDIT, {200: page("events", ref("AuditEvent"))}, query=audit_api.EVENTS
    ),
    "GET /api/v1/audit/requests": Operation(
        "Every request to this API, newest first", AUDIT, {200: page("requests", ref("ApiRequest"))}, query=audit_api.REQUESTS
    ),
    "GET /api/v1/callbacks": Operation(
        "Callbacks that were delivered, wait or are given up, newest first", CALLBACKS, {200: page("callbacks", ref("Callback"))},
        query=callbacks_api.LIST,
    ),
    "POST /api/v1/callbacks/{id}/replay": Operation(
        "Send a callback again", CALLBACKS, {202: done(callback_id={"type": "integer"}, message=TEXT)}, path={"id": NUMBER}, problems=(409,)
    ),
    "GET /api/v1/callbacks/secret": Operation("What my callbacks are signed with", CALLBACKS, {200: ref("CallbackSecret")}),
    "POST /api/v1/callbacks/secret/rotate": Operation(
        "A new secret; for a while callbacks carry both signatures", CALLBACKS, {200: ref("CallbackSecret")},
        callbacks_api.ROTATE.schema, body_optional=True,
    ),
    **{
        f"POST /api/v1/campaigns/{{id}}/{name}": Operation(
            summary, MESSAGING, {200: done(campaign_id=TEXT, campaign_status=TEXT)}, campaigns_api.WHY.schema, body_optional=True,
            path={"id": CAMPAIGN_ID}, problems=(409,),
        )
        for name, summary in (
            ("pause", "Nothing more of a campaign goes out until it is resumed"), ("resume", "A paused campaign goes on"),
            ("cancel", "What of a campaign has not gone out never does, and its money comes back"),
            ("approve", "Somebody else's campaign may go out"), ("reject", "Somebody else's campaign goes back to whoever made it"),
        )
    },
    "GET /api/v1/routes": Operation(
        "Rules of routing, of the file and of the database, in their order", ROUTING, {200: done(routes=many(ref("RoutingRule")))}
    ),
    "POST /api/v1/routes": Operation(
        "Make a rule; all nodes have it within a moment", ROUTING, {201: done(route=ref("RoutingRule"))}, routing_api.CREATE,
        problems=(404, 409),
    ),
    "GET /api/v1/routes/explain": Operation(
        "Where a message would go, and what kept each rule from matching", ROUTING, {200: ref("RoutingExplanation")},
        query=routing_api.EXPLAIN, problems=(404,),
    ),
    "GET /api/v1/routes/{route_id}": Operation("A rule of the database", ROUTING, {200: done(route=ref("RoutingRule"))}),
    "PUT /api/v1/routes/{route_id}": Operation(
        "Replace a rule; what is left out is as by default", ROUTING, {200: done(route=ref("RoutingRule"))}, routing_api.ROUTE,
    ),
    "DELETE /api/v1/routes/{route_id}": Operation("Take a rule away", ROUTING, {200: ref("Done")}),
    "GET /api/v1/costs": Operation(
        "What SMSCs charge", ROUTING, {200: done(costs=many(ref("RoutingCost")))}, query=routing_api.COSTS
    ),
    "POST /api/v1/costs": Operation(
        "Say what an SMSC charges for a segment; the same from the same time is replaced", ROUTING,
        {201: done(cost_id={"type": "integer"})}, routing_api.COST.schema,
    ),
    "DELETE /api/v1/costs/{cost_id}": Operation("Take a cost away", ROUTING, {200: ref("Done")}),
    "GET /api/v1/guards": Operation("What is switched on, for whom", GUARDS, {200: ref("Guards")}),
    "GET /api/v1/guards/events": Operation(
        "What the velocity guard found and paused, newest first", GUARDS, {200: page("events", ref("VelocityEvent"))},
        query=guards_api.EVENTS, problems=(404,),
    ),
    "POST /api/v1/guards/events/{event_id}/release": Operation("End a pause", GUARDS, {200: ref("Done")}),
    "GET /api/v1/blacklist": Operation(
        "Numbers and prefixes that get nothing", GUARDS, {200: page("entries", ref("BlacklistEntry"))}, query=guards_api.BLACKLIST,
        problems=(404,),
    ),
    "POST /api/v1/blacklist": Operation(
        "Put a number or a prefix on a blacklist; all nodes have it within a moment", GUARDS, {201: done(entry_id={"type": "integer"})},
        guards_api.BAR.schema, problems=(404,),
    ),
    "DELETE /api/v1/blacklist/{entry_id}": Operation("Take an entry away", GUARDS, {200: ref("Done")}),
    "GET /api/v1/opt-outs": Operation(
        "Who wants no messages", GUARDS, {200: page("opt_outs", ref("OptOut"))}, query=guards_api.OPT_OUTS, problems=(404,)
    ),
    "POST /api/v1/opt-outs": Operation(
        "Record that somebody wants no messages any more, or wants them again", GUARDS, {201: done(recorded={"type": "integer"})},
        guards_api.RECORD.schema, problems=(404,),
    ),
    "GET /api/v1/opt-outs/history": Operation(
        "All that the ledger says of a number, oldest first", GUARDS, {200: done(opt_outs=many(ref("OptOut")))}, query=guards_api.HISTORY,
        problems=(404,),
    ),
    "GET /healthz": Operation("Whether the process answers", HEALTH, {200: record(status={"type": "string", "const": "ok"})}),
    "GET /readyz": Operation("Whether the node takes messages", HEALTH, {200: ref("Ready"), 503: ref("Ready")}),
    "GET /metrics": Operation("Figures for Prometheus", HEALTH, {200: {"type": "string"}}, problems=(403,), media="text/plain"),
    "GET /openapi.json": Operation("This document", HEALTH, {200: {"type": "object"}}),
    "GET /docs": Operation("This document for people", HEALTH, {200: {"type": "string"}}, media="text/html"),
}  # fmt: skip
