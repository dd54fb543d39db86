"""Who may do what: one table, roles against permissions, for every channel. Pure.

A cell says how far a role reaches: not at all, its own things, those of its customer, or everybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum


class Scope(IntEnum):
    NONE = 0
    OWN = 1  # of the user itself
    CUSTOMER = 2  # of all users of its customer
    ALL = 3


class Permission(Enum):
    SEND = "send messages, over SMPP and HTTP"
    REPORTS = "delivery reports"
    BALANCE = "balance and quota"
    ACCOUNT = "own password, API key and two-factor authentication"
    SESSIONS = "list SMPP sessions"
    DISCONNECT = "end SMPP sessions"
    ANALYTICS = "usage and campaign statistics"
    USERS_READ = "see users"
    USERS_WRITE = "make, change, suspend and delete users"
    CUSTOMERS_READ = "see customers"
    CUSTOMERS_WRITE = "make, change, suspend and delete customers; money"
    AUDIT = "read the audit log"
    CALLBACKS = "see callbacks"
    CALLBACKS_REPLAY = "send callbacks again"
    ROUTES_READ = "see rules of routing, and costs"
    ROUTES_WRITE = "make, change and take away rules of routing, and costs"
    GUARDS_READ = "see blacklists, opt-outs and what the guards found"
    GUARDS_WRITE = "change blacklists and opt-outs"
    GUARDS_RELEASE = "release what the velocity guard has paused"
    CAMPAIGNS = "pause, resume, cancel and copy campaigns"
    APPROVE = "approve campaigns of others"
    CALLBACK_SECRET = "see and change the secret that own callbacks are signed with"


ROLES = ("ADMIN", "CUSTOMER_ADMIN", "SENDER", "VIEWER")

_N, _O, _C, _A = Scope.NONE, Scope.OWN, Scope.CUSTOMER, Scope.ALL

#: in the order of ROLES
MATRIX: Mapping[Permission, tuple[Scope, Scope, Scope, Scope]] = {
    #                            ADMIN  CUSTOMER_ADMIN  SENDER  VIEWER
    Permission.SEND:            (_O,    _O,             _O,     _N),
    Permission.REPORTS:         (_O,    _O,             _O,     _O),
    Permission.BALANCE:         (_O,    _O,             _O,     _O),
    Permission.ACCOUNT:         (_O,    _O,             _O,     _O),
    Permission.SESSIONS:        (_A,    _C,             _O,     _C),
    Permission.DISCONNECT:      (_A,    _C,             _O,     _N),
    Permission.ANALYTICS:       (_A,    _C,             _O,     _C),
    Permission.USERS_READ:      (_A,    _C,             _O,     _C),
    Permission.USERS_WRITE:     (_A,    _C,             _N,     _N),
    Permission.CUSTOMERS_READ:  (_A,    _C,             _N,     _C),
    Permission.CUSTOMERS_WRITE: (_A,    _N,             _N,     _N),
    Permission.AUDIT:           (_A,    _C,             _N,     _N),
    Permission.CALLBACKS:       (_A,    _C,             _O,     _C),
    Permission.CALLBACKS_REPLAY:(_A,    _C,             _O,     _N),
    Permission.ROUTES_READ:     (_A,    _N,             _N,     _N),
    Permission.ROUTES_WRITE:    (_A,    _N,             _N,     _N),
    Permission.GUARDS_READ:     (_A,    _C,             _N,     _C),
    Permission.GUARDS_WRITE:    (_A,    _C,             _N,     _N),
    Permission.GUARDS_RELEASE:  (_A,    _N,             _N,     _N),
    Permission.CAMPAIGNS:       (_A,    _C,             _O,     _N),
    Permission.APPROVE:         (_A,    _C,             _N,     _N),
    Permission.CALLBACK_SECRET: (_O,    _O,             _O,     _N),
}  # fmt: skip


def scope_of(role: str, permission: Permission) -> Scope:
    """How far a role reaches; a role that is not in the table reaches nothing."""
    try:
        return MATRIX[permission][ROLES.index(role)]
    except ValueError:
        return Scope.NONE
