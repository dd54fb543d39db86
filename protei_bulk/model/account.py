"""Who sends: the part of `users` and `customers` that the hot path needs, frozen."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network

from attrs import field, frozen

from protei_bulk.model.guards import NO_GUARDS, AccountGuards
from protei_bulk.model.permissions import Permission, Scope, scope_of


@frozen
class Account:
    """A user together with what its customer allows. Limits of 0 mean none.

    An empty allowed_* restricts nothing; an entry ending in ``*`` is a prefix.
    """

    user_id: int
    username: str
    customer_id: int
    status: str = "ACTIVE"  # ACTIVE, SUSPENDED
    customer_status: str = "ACTIVE"
    role: str = "SENDER"  # ADMIN, CUSTOMER_ADMIN, SENDER, VIEWER
    bind_type: str = "BOTH"  # SMPP, HTTP, BOTH, WEB_ONLY
    can_use_smpp: bool = True
    can_use_http: bool = True
    can_use_api_bulk: bool = True
    max_msg_per_day: int = 500_000
    max_tps: int = 0
    max_binds: int = 0  # 0: the setting's default
    smpp_require_tls: bool = False
    smpp_tls_identity: str = ""  # a name on the client certificate that its binds must present
    smpp_alphabet: str = "gsm7"  # what data_coding 0 means to its ESMEs: text.alphabets.DEFAULTS
    smart_encoding: bool = False  # UCS-2 texts from its ESMEs become GSM 03.38 where only typography keeps them from it
    max_parts: int = 0  # of a message that the gateway splits; 0: the setting's default
    mo_form: str = "udh"  # how its ESMEs want long messages from mobiles: udh, sar, payload
    receipts: str = "part"  # what its ESMEs are told of long messages that they split: part (each), message
    allowed_smsc: tuple[str, ...] = ()
    allowed_sender_ids: tuple[str, ...] = ()
    allowed_ips: tuple[IPv4Network | IPv6Network, ...] = ()
    tags: tuple[str, ...] = ()  # routes may ask for them
    dlr_callback_url: str = ""  # where receipts go that have no address of their own
    timezone: str = "UTC"
    currency: str = "USD"
    charge_on: str = "ACCEPT"  # when what a message costs is reserved no more: model.charging.POLICIES
    weight: float = 1.0  # of its customer's share where several wait for an SMSC; above 0
    two_factor_enabled: bool = False
    credit_limit: Decimal = field(default=Decimal(0))
    duplicate_seconds: int = 0  # in which the same text to the same number is refused; 0: never
    transactional: bool = False  # its messages go to those who opted out, too
    velocity: str = "node"  # off, alert, pause; node: as the setting has it
    allowed_countries: tuple[str, ...] = ()
    blocked_countries: tuple[str, ...] = ()
    guards: AccountGuards | None = field(init=False, eq=False, repr=False)  # None: none of its own

    @guards.default
    def _guards(self) -> AccountGuards | None:
        allowed, blocked = frozenset(self.allowed_countries), frozenset(self.blocked_countries)
        found = AccountGuards(self.duplicate_seconds, self.transactional, allowed, blocked)
        return None if found == NO_GUARDS else found

    @property
    def active(self) -> bool:
        return self.status == "ACTIVE" and self.customer_status == "ACTIVE"

    @property
    def may_send(self) -> bool:
        return scope_of(self.role, Permission.SEND) is not Scope.NONE

    @property
    def may_smpp(self) -> bool:
        return self.can_use_smpp and self.bind_type in ("SMPP", "BOTH") and self.may_send

    @property
    def may_http(self) -> bool:
        return self.can_use_http and self.bind_type in ("HTTP", "BOTH")


def network_of(text: str) -> IPv4Network | IPv6Network:
    """An address or a network in CIDR form; an IPv4 one written as IPv6 (``::ffff:10.0.0.0/104``) is the IPv4 one. Raises ValueError."""
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


def matches_any(value: str, entries: tuple[str, ...]) -> bool:
    """Whether an allow-list admits a value: empty admits all, ``abc*`` is a prefix."""
    if not entries:
        return True
    return any(
        value.startswith(e[:-1]) if e.endswith("*") else value == e for e in entries
    )
