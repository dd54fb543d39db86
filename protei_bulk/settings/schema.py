"""What the configuration may hold: one frozen class a table, attribute names equal to the TOML keys.

An annotation says which rule its values obey (rules.py); plain bool, int, float and str take the
rule of their kind. Times are in seconds. etc/protei-bulk.toml explains every key to people.
"""

from __future__ import annotations

import socket
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from attrs import Factory, field, frozen

from protei_bulk.settings.guards import Guards
from protei_bulk.settings.mo import Inbound, MoRule
from protei_bulk.settings.routing import Routing
from protei_bulk.settings.rules import (
    Endpoint,
    Errors,
    File,
    Hours,
    Money,
    Name,
    Network,
    Number,
    OneNumber,
    OneOf,
    Pattern,
    Prefix,
    Status,
    Text,
    Url,
    Whole,
)
from protei_bulk.settings.uploads import Uploads
from protei_bulk.text import alphabets, forms
from protei_bulk.text.national import LANGUAGES

Listen = tuple[Annotated[str, Endpoint()], ...]
OptionalFile = Annotated[Path | None, File()]
Seconds = Annotated[float, Number(0, 86_400)]
Positive = Annotated[float, Number(0.1, 86_400)]
Words = tuple[Annotated[str, Text(1, 255)], ...]

BINDS = ("transceiver", "transmitter", "receiver")
CHANNELS = ("SMPP", "HTTP_API", "WEB", "SCHEDULER")
MESSAGE_IDS = ("text", "hex", "decimal", "hex-to-decimal", "decimal-to-hex")
FORWARDED = ("x-forwarded-for", "forwarded")
STRATEGIES = ("failover", "round-robin", "weighted", "least-cost", "best-delivery")
PRIORITIES = ("LOW", "NORMAL", "HIGH", "URGENT")


@frozen
class Node:
    name: Annotated[str, Name()] = field(default=Factory(socket.gethostname))
    state_dir: Annotated[Path, File(required=True)] = Path("/var/lib/protei-bulk")


@frozen
class DatabaseSettings:
    dsn: Annotated[str, Text(secret=True)] = field(default="", repr=False)  # "": embedded
    replica_dsn: Annotated[str, Text(secret=True)] = field(default="", repr=False)
    pool_size: Annotated[int, Whole(1, 200)] = 8


@frozen
class SmppTls:
    listen: Listen = ()
    certificate: OptionalFile = None
    private_key: OptionalFile = None
    client_ca: OptionalFile = None
    require_client_certificate: bool = False


@frozen
class Smpp:
    listen: Listen = ("tcp:2775",)
    max_sessions: Annotated[int, Whole(1)] = 5000
    max_binds_per_user: Annotated[int, Whole()] = 100  # 0: off
    bind_attempts_per_minute: Annotated[int, Whole()] = 5  # an IP address, failed ones; 0: off
    enquire_link_interval: Seconds = 30.0  # 0: off
    inactivity_timeout: Seconds = 0.0  # 0: off
    response_timeout: Positive = 10.0
    bind_timeout: Positive = 10.0
    window: Annotated[int, Whole(1)] = 1000  # unanswered submit_sm a session
    deliver_window: Annotated[int, Whole(1)] = 100
    write_timeout: Positive = 30.0  # in which a peer must take what waits to be written to it
    system_id: Annotated[str, Text(0, 15, ascii=True)] = "protei-bulk"
    tls: SmppTls = SmppTls()


@frozen
class HttpTls:
    listen: Listen = ()
    certificate: OptionalFile = None
    private_key: OptionalFile = None


@frozen
class HttpLimits:
    """Each 0 switches off."""

    per_key_per_minute: Annotated[int, Whole()] = 60
    burst: Annotated[int, Whole()] = 10
    per_ip_per_hour: Annotated[int, Whole()] = 1000
    per_user_connections: Annotated[int, Whole()] = 100  # requests at a time, on one node
    per_ip_connections: Annotated[int, Whole()] = 1000  # on one node
    connections: Annotated[int, Whole()] = 20_000  # of one node
    streams: Annotated[int, Whole()] = 500  # live pages of the portal, on one node
    per_user_streams: Annotated[int, Whole()] = 8  # on one node


#: this machine and the networks that the Internet does not route
_PRIVATE: tuple[IPv4Network | IPv6Network, ...] = (
    *(IPv4Network(n) for n in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")),
    *(IPv6Network(n) for n in ("::1/128", "fc00::/7", "fe80::/10")),
)


@frozen
class Http:
    listen: Listen = ("tcp:8080",)
    public_url: Annotated[str, Url()] = ""
    trusted_proxies: tuple[Annotated[IPv4Network | IPv6Network, Network()], ...] = ()
    forwarded_header: Annotated[str, OneOf(FORWARDED)] = "x-forwarded-for"
    monitors: tuple[Annotated[IPv4Network | IPv6Network, Network()], ...] = _PRIVATE
    redirect_to_https: bool = False
    header_timeout: Positive = 10.0  # from the first octet of a request to the end of its head
    body_timeout: Positive = 30.0  # and a second more for every 2 KiB
    idle_timeout: Positive = 120.0  # of a connection without a request
    max_header: Annotated[int, Whole(1024, 1024**2)] = 16 * 1024  # octets, the request line included
    max_body: Annotated[int, Whole(1024, 1024**3)] = 10 * 1024**2  # octets
    max_recipients: Annotated[int, Whole(1)] = 100_000
    tls: HttpTls = HttpTls()
    limits: HttpLimits = HttpLimits()


@frozen
class Callbacks:
    timeout: Positive = 10.0
    retries: Annotated[int, Whole(0, 100)] = 3
    history_hours: Annotated[int, Whole(0, 8760)] = 24  # 0: none
    allow_private_addresses: bool = False


@frozen
class Retention:
    """Days of partitions kept."""

    messages_days: Annotated[int, Whole(1, 36_500)] = 30
    audit_days: Annotated[int, Whole(1, 36_500)] = 90


_ROLES = ("ADMIN", "CUSTOMER_ADMIN", "SENDER", "VIEWER")  # of model.permissions


@frozen
class Access:
    bcrypt_cost: Annotated[int, Whole(4, 20)] = 12
    verified_seconds: Seconds = 300.0
    failures_before_delay: Annotated[int, Whole(0, 1000)] = 50  # of an account, or an address; 0: off
    session_seconds: Positive = 43_200.0  # of a login, however often it is refreshed
    idle_seconds: Positive = 1800.0  # without a refresh
    second_factor: tuple[Annotated[str, OneOf(_ROLES)], ...] = ()  # whose logins do nothing without one


@frozen
class Texts:
    """What holds for texts of accounts that say nothing else."""

    max_parts: Annotated[int, Whole(0, 255)] = 10  # of a message that the gateway splits; 0: as many as can be counted


@frozen
class Smsc:
    """One connector: an SMSC that the gateway binds to as a client."""

    id: Annotated[str, Name()]
    host: Annotated[str, Text(1, 255)]
    port: Annotated[int, Whole(1, 65535)]
    system_id: Annotated[str, Text(0, 15, ascii=True)] = ""
    password: Annotated[str, Text(0, 64, ascii=True, secret=True)] = field(default="", repr=False)
    system_type: Annotated[str, Text(0, 12, ascii=True)] = ""
    tls: bool = False
    tls_verify: bool = True
    tls_hostname: Annotated[str, Text(0, 255, ascii=True)] = ""  # on the SMSC's certificate; "": host
    tls_ca: OptionalFile = None  # None: the system's authorities
    tls_certificate: OptionalFile = None  # ours
    tls_private_key: OptionalFile = None
    bind: Annotated[str, OneOf(BINDS)] = "transceiver"
    binds: Annotated[int, Whole(1, 64)] = 1
    window: Annotated[int, Whole(1)] = 100
    max_tps: Annotated[int, Whole()] = 0  # 0: no limit
    max_tps_per_bind: Annotated[int, Whole()] = 0
    interface_version: Annotated[str, OneOf(("3.3", "3.4", "5.0"))] = "3.4"
    alphabet: Annotated[str, OneOf(alphabets.DEFAULTS)] = alphabets.GSM7  # of data_coding 0
    national_shifts: tuple[Annotated[str, OneOf(tuple(LANGUAGES))], ...] = ()  # may say in septets what came as UCS-2
    long_messages: Annotated[str, OneOf(forms.LONG)] = forms.AS_SUBMITTED
    join_seconds: Positive = 30.0  # that a part waits for the next one of its message, where long_messages is "payload"
    reference_bits: Annotated[int, OneNumber((8, 16))] = 8  # of the parts that the gateway makes
    message_id: Annotated[str, OneOf(MESSAGE_IDS)] = "text"
    outcome_unknown: Annotated[str, OneOf(("resend", "hold"))] = "resend"
    enquire_link_interval: Seconds = 30.0  # 0: off
    response_timeout: Positive = 30.0
    reconnect_min: Positive = 1.0
    reconnect_max: Positive = 60.0
    failover_after: Annotated[float, Number(0, 60)] = 0.5  # without a bind, until what waits goes to another candidate
    errors: Annotated[tuple[tuple[int, str], ...], Errors()] = ()  # beside connectors.verdicts.DEFAULTS
    retry_min: Positive = 2.0  # after the first temporary error, twice as long after each one more
    retry_max: Positive = 900.0
    breaker_share: Annotated[float, Number(0, 1)] = 0.5  # of failures that opens it; 0: never
    breaker_least: Annotated[int, Whole(1)] = 20  # answers within breaker_window before the share counts
    breaker_window: Positive = 30.0
    breaker_rest: Positive = 5.0  # until an open one is tried, twice as long after each try that failed
    breaker_rest_max: Positive = 300.0
    breaker_probes: Annotated[int, Whole(1, 1000)] = 5  # messages of a try
    breaker_latency: Seconds = 0.0  # an answer that takes longer counts as a failure; 0: none does
    source_ton: Annotated[int, Whole(-1, 255)] = -1  # -1: as submitted
    source_npi: Annotated[int, Whole(-1, 255)] = -1
    dest_ton: Annotated[int, Whole(-1, 255)] = -1
    dest_npi: Annotated[int, Whole(-1, 255)] = -1
    queue_memory: Annotated[int, Whole(1)] = 20_000  # messages; the rest waits in the database
    forward_cancel: bool = False  # cancel_sm for a message that the SMSC has
    outbind_listen: Annotated[str, Endpoint(optional=True)] = ""  # where the SMSC's outbind is awaited
    outbind_system_id: Annotated[str, Text(0, 15, ascii=True)] = ""  # of the SMSC; empty: any
    outbind_password: Annotated[str, Text(0, 8, ascii=True, secret=True)] = field(default="", repr=False)


@frozen
class Match:
    """What a message must be for its route; an empty condition holds for all."""

    prefix: tuple[Annotated[str, Prefix()], ...] = ()
    sender: Words = ()
    user: Words = ()
    customer: Words = ()  # ids
    channel: tuple[Annotated[str, OneOf(CHANNELS)], ...] = ()
    network: tuple[Annotated[str, Prefix()], ...] = ()  # MCC-MNC without a dash, or the MCC alone
    priority: tuple[Annotated[str, OneOf(PRIORITIES)], ...] = ()
    min_segments: Annotated[int, Whole(1, 255)] = 1
    max_segments: Annotated[int, Whole(0, 255)] = 0  # 0: any number
    tags: Words = ()  # of the message or of the account: one is enough
    pattern: Annotated[str, Pattern()] = ""
    time: Annotated[str, Hours()] = ""


@frozen
class Rewrite:
    """Under which addresses a message goes out; empty, or -1: as submitted. Digits are taken off before others are put on."""

    sender: Annotated[str, Text(0, 20, ascii=True)] = ""
    source_ton: Annotated[int, Whole(-1, 255)] = -1
    source_npi: Annotated[int, Whole(-1, 255)] = -1
    dest_ton: Annotated[int, Whole(-1, 255)] = -1
    dest_npi: Annotated[int, Whole(-1, 255)] = -1
    dest_strip: Annotated[str, Text(0, 20, ascii=True)] = ""  # where the number begins with it
    dest_add: Annotated[str, Text(0, 20, ascii=True)] = ""


@frozen
class Route:
    name: Annotated[str, Name()]
    to: tuple[Annotated[str, Name()], ...] = ()
    order: Annotated[int, Whole(None)] = 100
    match: Match = Match()
    strategy: Annotated[str, OneOf(STRATEGIES)] = "failover"
    weights: tuple[Annotated[int, Whole(0, 1000)], ...] = ()  # beside `to`; 1 where none stands
    price: Annotated[Decimal, Money()] = Decimal(0)  # of a segment; 0: the rate deck's
    rewrite: Rewrite = Rewrite()
    reject: Annotated[str, Status()] = ""  # instead of `to`: the command_status that refuses the message
    next_after_receipt: bool = False  # a negative receipt tries the next candidate


@frozen
class Settings:
    node: Node = field(factory=Node)
    database: DatabaseSettings = DatabaseSettings()
    smpp: Smpp = Smpp()
    http: Http = Http()
    callbacks: Callbacks = Callbacks()
    retention: Retention = Retention()
    access: Access = Access()
    text: Texts = Texts()
    routing: Routing = Routing()
    inbound: Inbound = Inbound()
    guards: Guards = Guards()
    uploads: Uploads = Uploads()
    smsc: tuple[Smsc, ...] = ()
    route: tuple[Route, ...] = ()
    mo: tuple[MoRule, ...] = ()
