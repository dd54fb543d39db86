"""Who is it: a name and password, or an API key, turned into an account.

Both ways ask memory first. What has to be asked of the database and of bcrypt is asked once,
however many wait for the same answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.access.accounts import AccountDirectory, Credentials
from protei_bulk.access.clock import Clock
from protei_bulk.access.passwords import SMPP_OCTETS, Passwords, Verified, cost_of
from protei_bulk.access.ports import AccountStore
from protei_bulk.model.account import Account

_UNKNOWN_KEY_SECONDS = 10.0


def api_key_hash(api_key: str) -> str:
    """What users.api_key holds: SHA-256 in hex. A key has 248 bits of chance, so no salt is needed."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


class Proof:
    _log = Logger()

    def __init__(
        self,
        *,
        accounts: AccountStore,
        directory: AccountDirectory,
        passwords: Passwords,
        clock: Clock,
        key: bytes,
        verified_seconds: float = 300.0,
    ) -> None:
        self._accounts = accounts
        self._directory = directory
        self._passwords = passwords
        self._verified = Verified(clock, key, verified_seconds)
        self._waiting: dict[tuple[bytes, int], list[Deferred[Account | None]]] = {}
        directory.on_forget(self._verified.forget)

    def digest(self, username: str, password: str) -> bytes:
        """A name for this credential that gives nothing away."""
        return self._verified.digest("password", username, password)

    def password(self, username: str, password: str) -> Deferred[Account | None]:
        """The account whose name and password these are, else None, after as long a time.

        Fails with passwords.TooBusy, or as the database does.
        """
        return self._remembered(
            self.digest(username, password), lambda: Deferred.fromCoroutine(self._check(username, password))
        )

    def smpp_password(self, system_id: str, password: str) -> Deferred[Account | None]:
        """As password(); eight octets that begin a longer password are right too, since a bind has no room for more."""
        digest = self.smpp_digest(system_id, password)
        return self._remembered(digest, lambda: Deferred.fromCoroutine(self._check_smpp(system_id, password)))

    def smpp_digest(self, system_id: str, password: str) -> bytes:
        return self._verified.digest("smpp password", system_id, password)

    def api_key(self, api_key: str) -> Deferred[Account | None]:
        """The account that has this key, else None. Fails as the database does."""
        hashed = api_key_hash(api_key)
        digest = self._verified.digest("api key", hashed)
        return self._remembered(digest, lambda: self._accounts.by_api_key_hash(hashed), keep_unknown=True)

    def known(self, digest: bytes) -> bool:
        """Whether memory answers for this credential."""
        return bool(self._verified.get(digest))

    async def _check(self, username: str, password: str) -> Credentials | None:
        return await self._prove(await self._accounts.by_username(username), password)

    async def _prove(self, found: Credentials | None, password: str) -> Credentials | None:
        right = await self._passwords.check(password, found.password_hash if found else None)
        if not right or found is None:
            return None
        if cost_of(found.password_hash) < self._passwords.cost:
            self._rehash(found, password)
        return found

    def _rehash(self, found: Credentials, password: str) -> None:
        """The cost has risen since this password was set. Nobody waits for it, and it may fail: there will be another login."""
        user_id, old = found.account.user_id, found.password_hash
        d = self._passwords.hashes(password)
        d.addCallback(lambda hashes: self._accounts.rehash(user_id, old, hashes))
        d.addErrback(lambda f: self._log.info("password of user {id} keeps its cost: {why}", id=user_id, why=f.getErrorMessage()))

    async def _check_smpp(self, system_id: str, password: str) -> Credentials | None:
        found = await self._accounts.by_username(system_id)
        if found is None or found.smpp_password_hash is None or len(password) != SMPP_OCTETS:
            return await self._prove(found, password)
        # Its password is longer: no more than its first eight octets can be right, and one check is enough.
        return found if await self._passwords.check(password, found.smpp_password_hash) else None

    def _remembered(
        self,
        digest: bytes,
        ask: Callable[[], Deferred[Credentials | None]],
        keep_unknown: bool = False,
    ) -> Deferred[Account | None]:
        user_id = self._verified.get(digest)
        if user_id is not None:
            account = self._directory.get(user_id)
            if account is not None or user_id == 0:
                return succeed(account)
        # A change of any account starts a new round: who comes after it must not get an older answer.
        generation = self._verified.generation
        mine: Deferred[Account | None] = Deferred()
        waiting = self._waiting.get((digest, generation))
        if waiting is not None:
            waiting.append(mine)
            return mine
        self._waiting[digest, generation] = [mine]

        def answered(found: Credentials | None) -> None:
            account = found.account if found else None
            if account is not None:
                if generation == self._verified.generation:
                    self._directory.put(account)
                self._verified.put(digest, account.user_id, generation)
            elif keep_unknown:
                self._verified.put(digest, 0, generation, _UNKNOWN_KEY_SECONDS)
            for waiter in self._waiting.pop((digest, generation)):
                waiter.callback(account)

        def failed(failure: Failure) -> None:
            for waiter in self._waiting.pop((digest, generation)):
                waiter.errback(failure)

        ask().addCallbacks(answered, failed)
        return mine
