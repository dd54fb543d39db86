"""Passwords: bcrypt in a small pool of threads, once; then a short memory of what was verified.

bcrypt reads 72 octets and stops at a zero, so the password goes in as base64 of its SHA-256.
A verified credential is remembered as an HMAC under a key that lives as long as this process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

import bcrypt
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from protei_bulk.access.clock import Clock

T = TypeVar("T")

MAX_PASSWORD_OCTETS = 1024
_ENTRIES = 100_000
_WAITING = 2000
_LOWEST_COST = 4  # of bcrypt
_NO_HASH = "." * 31  # a digest that no password has


#: octets of a password that a bind has room for (SMPP 3.4 section 4.1.1)
SMPP_OCTETS = 8


class TooBusy(Exception):
    """More passwords wait for their check than the node can look at in time; try again."""


def prepare(password: str) -> bytes:
    """What bcrypt is given for a password, however a keyboard composes its letters (NIST SP 800-63B section 5.1.1.2)."""
    return base64.b64encode(hashlib.sha256(_plain(password).encode("utf-8", "surrogatepass")).digest())


def _plain(password: str) -> str:
    return password if password.isascii() else unicodedata.normalize("NFKC", password)


def hash_password(password: str, cost: int = 12) -> str:
    """The text for users.password_hash. Takes about 0.2 s of CPU at cost 12: not on the reactor."""
    return bcrypt.hashpw(prepare(password), bcrypt.gensalt(cost)).decode("ascii")


def password_hashes(password: str, cost: int = 12) -> dict[str, str | None]:
    """What a new password sets: password_hash, and smpp_password_hash where a bind has no room for all of it.

    Blocks, as hash_password does.
    """
    octets = _plain(password).encode("utf-8", "surrogatepass")
    short = hash_password(octets[:SMPP_OCTETS].decode("latin-1"), cost) if len(octets) > SMPP_OCTETS else None
    return {"password_hash": hash_password(password, cost), "smpp_password_hash": short}


def cost_of(password_hash: str) -> int:
    """Of a bcrypt hash; 0 for what is none."""
    parts = password_hash.split("$")
    return int(parts[2]) if len(parts) == 4 and parts[2].isdecimal() else 0


def check_password(password: str, password_hash: str, cost: int = 0) -> bool:
    """Whether the hash is of this password; False for a hash that is none. Blocks like hash_password.

    Takes as long as a hash of `cost` does, where its own is lower: who asks does not learn that it is older.
    """
    prepared = prepare(password)
    try:
        right = bcrypt.checkpw(prepared, password_hash.encode("ascii"))
        own = cost_of(password_hash)
    except ValueError:
        right, own = False, 0
    if own < cost:
        # 2^own + (2^own + ... + 2^(cost - 1)) = 2^cost rounds in all
        for lower in range(own, cost) if own >= _LOWEST_COST else (cost,):
            bcrypt.checkpw(prepared, dummy_hash(lower).encode("ascii"))
    return right


def dummy_hash(cost: int) -> str:
    """A hash that no password has but that takes as long to check as a real one."""
    return bcrypt.gensalt(cost).decode("ascii") + _NO_HASH


class Threads(Protocol):
    """The part of twisted.python.threadpool.ThreadPool that is used."""

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, object], None], func: Callable[..., object], *args: object
    ) -> object: ...


class FromThread(Protocol):
    """The part of the reactor that brings results back."""

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None: ...


class Verified:
    """What was found right lately: digest -> user id, with a life of `seconds`.

    A change of an account forgets its entries; anything found while a change came in is not kept.
    """

    def __init__(self, clock: Clock, key: bytes, seconds: float = 300.0) -> None:
        self._clock = clock
        self._key = key
        self._seconds = seconds
        self._entries: OrderedDict[bytes, tuple[int, float]] = OrderedDict()
        self._of_user: dict[int, set[bytes]] = {}
        self.generation = 0

    def digest(self, *parts: str) -> bytes:
        """A name for a credential from which nobody without the key learns it."""
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            mac.update(len(data).to_bytes(4, "big") + data)
        return mac.digest()

    def get(self, digest: bytes) -> int | None:
        """The user whose credential this is, or None. 0: remembered as nobody's."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if entry[1] <= self._clock.seconds():
            self._drop(digest)
            return None
        return entry[0]

    def put(self, digest: bytes, user_id: int, generation: int, seconds: float | None = None) -> None:
        """Remember; `generation` is that of the moment at which the account was read."""
        life = self._seconds if seconds is None else min(seconds, self._seconds)
        if generation != self.generation or life <= 0:
            return
        self._drop(digest)
        self._entries[digest] = (user_id, self._clock.seconds() + life)
        self._of_user.setdefault(user_id, set()).add(digest)
        while len(self._entries) > _ENTRIES:
            self._drop(next(iter(self._entries)))

    def forget(self, user_id: int | None) -> None:
        """All of a user, or of everybody (None); what is nobody's goes with any."""
        self.generation += 1
        if user_id is None:
            self._entries.clear()
            self._of_user.clear()
            return
        for owner in (user_id, 0):
            for digest in list(self._of_user.get(owner, ())):
                self._drop(digest)

    def _drop(self, digest: bytes) -> None:
        entry = self._entries.pop(digest, None)
        if entry is not None:
            mine = self._of_user[entry[0]]
            mine.discard(digest)
            if not mine:
                del self._of_user[entry[0]]


class Passwords:
    """Checks and makes hashes in threads, as many at a time as the pool has."""

    def __init__(self, reactor: FromThread, threads: Threads, cost: int = 12) -> None:
        self._reactor = reactor
        self._threads = threads
        self.cost = cost
        self._dummy = dummy_hash(cost)
        self._waiting = 0

    def check(self, password: str, password_hash: str | None) -> Deferred[bool]:
        """Fires with whether the password is right; None (no such user) takes as long and is wrong.

        Fails with TooBusy where thousands wait already.
        """
        if len(password) > MAX_PASSWORD_OCTETS:
            password, password_hash = "", None
        return self._run(check_password, password, password_hash or self._dummy, self.cost)

    def hash(self, password: str) -> Deferred[str]:
        """The hash to store."""
        return self._run(hash_password, password, self.cost)

    def hashes(self, password: str) -> Deferred[dict[str, str | None]]:
        """What a new password sets in users."""
        return self._run(password_hashes, password, self.cost)

    def _run(self, work: Callable[..., T], *args: object) -> Deferred[T]:
        mine: Deferred[T] = Deferred()
        if self._waiting >= _WAITING:
            mine.errback(TooBusy("too many passwords wait to be checked"))
            return mine
        self._waiting += 1

        def done(success: bool, result: object) -> None:
            self._reactor.callFromThread(finish, success, result)

        def finish(success: bool, result: object) -> None:
            self._waiting -= 1
            if success:
                mine.callback(cast(T, result))
            else:
                mine.errback(cast(Failure, result))

        self._threads.callInThreadWithCallback(done, work, *args)
        return mine
