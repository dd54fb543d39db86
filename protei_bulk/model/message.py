"""One message on its way through the gateway.

Mutable and slotted, unlike the rest of the model: a million of these pass through
a process each minute, and copying them at each step would be its largest cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from decimal import Decimal

    from protei_bulk.model.campaign import Campaign
    from protei_bulk.model.long import LongPart


#: names of the lanes, lowest first
PRIORITIES = ("LOW", "NORMAL", "HIGH", "URGENT")


class Origin(Protocol):
    """Whoever handed a message in, told the outcome in batches after the commit."""

    def answered(self, messages: list[Message]) -> None:
        """`message.refusal` is None where the message is stored, else why not."""


class Message:
    """A message of one destination; `parts` short messages on the air interface.

    `body` holds the octets as submitted (without UDH), in the alphabet of `data_coding`;
    GSM 03.38 unpacked where data_coding is 0. `text` is what the database shows.
    """

    __slots__ = (
        "route", "tried", "refusals",
        "attempts", "binary", "body", "campaign_id", "created", "customer_id", "data_coding",
        "dest", "dest_npi", "dest_ton", "dlr_url", "esm_class", "id", "origin", "part_results",
        "price", "priority", "protocol_id", "queued", "refusal", "registered", "segments",
        "sequence", "smsc", "smsc_message_id", "source", "source_npi", "source_ton", "text",
        "tlvs", "udh", "user_id", "valid_until", "candidates", "channel", "not_before",
        "refusal_detail", "sent_at", "opens", "tags", "service_type", "shown_id", "replaces", "in_doubt", "parts", "part_errors", "long",
        "joined", "charge",
    )  # fmt: skip

    def __init__(self) -> None:
        self.id = ""
        self.user_id = 0
        self.customer_id = 0
        self.campaign_id = 0  # campaigns.id
        self.channel = "SMPP"  # WEB, HTTP_API, SMPP, SCHEDULER
        self.source = ""
        self.source_ton = 0
        self.source_npi = 0
        self.dest = ""
        self.dest_ton = 1
        self.dest_npi = 1
        self.text = ""
        self.body = b""
        self.udh = b""  # with its length octet; b"" where there is none
        self.binary = False  # text cannot give body back: body is stored beside it
        self.data_coding = 0
        self.esm_class = 0
        self.protocol_id = 0
        self.priority = 1  # 0 low, 1 normal, 2 high, 3 urgent: the lane
        self.registered = 0  # registered_delivery as asked for by the sender
        self.segments = 1  # as submitted: what is priced
        self.parts = 0  # submit_sm that it goes out in, where that is another number; 1 is a whole one
        self.price: Decimal | int = 0  # of all segments together
        self.charge: str | None = None  # until when that is reserved: model.charging; None: free, or taken for good
        self.valid_until = 0.0  # Unix seconds; 0 none
        self.not_before = 0.0  # Unix seconds; 0 at once
        self.tlvs: dict[int, bytes] | None = None  # carried through
        self.candidates: tuple[str, ...] = ()  # SMSC ids in order of preference
        self.smsc = ""  # the SMSC it went to or waits for
        self.smsc_message_id = ""
        self.attempts = 0
        self.queued = False  # waits in tbl_message_queue, not in memory
        self.created = 0.0
        self.sent_at = 0.0
        self.dlr_url: str | None = None
        self.part_results: dict[int, object] | None = None
        self.part_errors: dict[int, str] | None = None  # of those that were not delivered
        self.origin: Origin | None = None
        self.sequence = 0  # the submitter's own handle (SMPP sequence_number, index of a recipient)
        self.refusal: Refusal | None = None
        self.refusal_detail = ""
        self.opens: Campaign | None = None  # its campaign, where that may be stored with it only
        self.tags: tuple[str, ...] = ()  # routes may ask for them
        self.service_type = ""  # SMPP's, carried through
        self.shown_id = ""  # the id that its ESME was given, where it is not `id`
        self.replaces = False  # takes the place of an earlier one that waits (SMPP 3.4 section 5.2.18)
        self.in_doubt = False  # an SMSC may have it
        self.route = ""  # the rule that chose its way
        self.tried = ""  # the SMSCs that had it in vain: see model.tried
        self.refusals = 0  # by SMSCs that may take it later
        self.long: LongPart | None = None  # its place in a message that its sender has split
        self.joined: tuple[Message, ...] = ()  # the messages that this one stands for, towards an SMSC that wants them whole


class Refusal:
    """Why a message was not taken: one code for all channels (SMPP status, HTTP text)."""

    __slots__ = ("code", "smpp_status", "text")

    def __init__(self, code: str, smpp_status: int, text: str) -> None:
        self.code = code
        self.smpp_status = smpp_status
        self.text = text

    def __repr__(self) -> str:
        return f"<Refusal {self.code}>"


# command_status values: SMPP 3.4 section 5.1.3
QUOTA_EXCEEDED = Refusal("QUOTA_EXCEEDED", 0x45, "Daily quota exceeded")
BALANCE_EXCEEDED = Refusal("INSUFFICIENT_BALANCE", 0x45, "Insufficient balance")
THROTTLED = Refusal("THROTTLED", 0x58, "Too many messages per second")
QUEUE_FULL = Refusal("QUEUE_FULL", 0x14, "The message queue is full")
SENDER_NOT_ALLOWED = Refusal("SENDER_NOT_ALLOWED", 0x0A, "Sender ID not allowed")
INVALID_DESTINATION = Refusal("INVALID_DESTINATION", 0x0B, "Invalid destination address")
NO_ROUTE = Refusal("NO_ROUTE", 0x0B, "No route to this destination")
NO_ALLOWED_SMSC = Refusal("NO_ALLOWED_SMSC", 0x45, "No allowed SMSC is available")
INVALID_TEXT = Refusal("INVALID_TEXT", 0x45, "The text cannot be encoded")
TOO_LONG = Refusal("MESSAGE_TOO_LONG", 0x01, "The message is too long")
EXPIRED_ALREADY = Refusal("EXPIRED", 0x62, "The validity period has passed")
# guards: nothing that a repetition would change, but for VELOCITY, which somebody may release
DUPLICATE = Refusal("DUPLICATE", 0x45, "The same message was sent to this number a moment ago")
BLACKLISTED = Refusal("BLACKLISTED", 0x0B, "The number is on a blacklist")
OPTED_OUT = Refusal("OPTED_OUT", 0x0B, "The recipient does not want messages from this customer")
COUNTRY_NOT_ALLOWED = Refusal("COUNTRY_NOT_ALLOWED", 0x0B, "Messages to this country are not allowed")
VELOCITY = Refusal("VELOCITY", 0x45, "Traffic to these numbers is paused")
NOT_PERMITTED = Refusal("NOT_PERMITTED", 0x45, "The account may not do this")
SYSTEM_ERROR = Refusal("SYSTEM_ERROR", 0x08, "The gateway could not store the message")
