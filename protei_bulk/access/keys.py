"""The keys that tokens are signed with: in the database, for all nodes, each sealed under the nodes' own secret.

The newest that is not retired signs. A retired one verifies until the last token that it can have signed is
over. A key that was sealed under another node's secret does not open here: that node's tokens are strangers' tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.access.clock import Clock
from protei_bulk.access.secrets import Seal, SecretError

KEY_OCTETS = 32
_KID_OCTETS = 8
_UNKNOWN_SECONDS = 5.0  # how often an unknown key id may cost a statement


@frozen
class StoredKey:
    """A row. seconds_left: until it verifies no more; None for one that is not retired."""

    kid: str
    sealed: str = field(repr=False)
    seconds_left: float | None


class KeyStore(Protocol):
    def usable(self) -> Deferred[list[StoredKey]]:
        """Those that still verify, newest first."""

    def add(self, kid: str, sealed: str) -> Deferred[None]: ...


@frozen
class SigningKey:
    kid: str
    secret: bytes = field(repr=False)
    expires: float | None  # Unix seconds


def new_key(seal: Seal, random: Callable[[int], bytes]) -> tuple[str, str]:
    """Key id and sealed key, for the table."""
    kid = random(_KID_OCTETS).hex()
    return kid, seal.close(random(KEY_OCTETS), _owner(kid))


class KeyRing:
    """Coroutines fail as the database does."""

    _log = Logger()

    def __init__(self, store: KeyStore, seal: Seal, clock: Clock, random: Callable[[int], bytes]) -> None:
        self._store, self._seal, self._clock, self._random = store, seal, clock, random
        self._keys: dict[str, SigningKey] = {}
        self._signing: SigningKey | None = None
        self._fresh = False
        self._asked = 0.0
        self._waiting: list[Deferred[None]] | None = None
        self._strange: set[str] = set()

    def changed(self, _: str = "") -> None:
        """Somebody has rotated the keys."""
        self._fresh = False

    async def signing(self) -> SigningKey:
        """The key to sign with, made where there is none."""
        if not self._fresh:
            await self._load()
        if self._signing is None:
            await self._store.add(*new_key(self._seal, self._random))
            await self._load()
        if self._signing is None:
            raise SecretError("the signing key that was just made is not there")
        return self._signing

    async def find(self, kid: str) -> bytes | None:
        """The key of this id while it verifies, else None."""
        may_ask = self._clock.seconds() >= self._asked + _UNKNOWN_SECONDS
        if not self._fresh or (kid not in self._keys and may_ask):
            await self._load()
        key = self._keys.get(kid)
        if key is None or (key.expires is not None and key.expires <= self._clock.seconds()):
            return None
        return key.secret

    async def _load(self) -> None:
        if self._waiting is not None:
            mine: Deferred[None] = Deferred()
            self._waiting.append(mine)
            await mine
            return
        self._waiting = []
        self._fresh = True  # a change from now on makes it stale again
        try:
            self._take(await self._store.usable())
        except BaseException:
            self._fresh = False
            waiting, self._waiting = self._waiting, None
            for waiter in waiting:
                waiter.errback()
            raise
        waiting, self._waiting = self._waiting, None
        for waiter in waiting:
            waiter.callback(None)

    def _take(self, rows: list[StoredKey]) -> None:
        now = self._asked = self._clock.seconds()
        self._keys, self._signing = {}, None
        for row in rows:
            try:
                secret = self._seal.open(row.sealed, _owner(row.kid))
            except SecretError:
                if row.kid not in self._strange:
                    self._strange.add(row.kid)
                    self._log.warn(
                        "signing key {kid} was sealed with another node's secret.key: tokens of that node are refused here",
                        kid=row.kid,
                    )
                continue
            expires = None if row.seconds_left is None else now + row.seconds_left
            key = self._keys[row.kid] = SigningKey(row.kid, secret, expires)
            if self._signing is None and expires is None:
                self._signing = key


def _owner(kid: str) -> str:
    return f"key:{kid}"
