"""Two-factor authentication of one account: setting it up, checking codes, recovery, switching it off."""

from __future__ import annotations

from collections.abc import Callable

from protei_bulk.access import recovery
from protei_bulk.access.attempts import Backoff
from protei_bulk.access.clock import Clock
from protei_bulk.access.ports import AccountStore, Actor, AuditTrail, NoSuchUser
from protei_bulk.access.secrets import Seal, SecretError
from protei_bulk.access.totp import SECRET_OCTETS, TwoFactorSetup, matching_step, setup_of
from protei_bulk.model.account import Account

_FREE_FAILURES = 5


class AlreadyEnabled(Exception):
    """The account has two-factor authentication; it must be switched off first."""


class TooManyCodes(Exception):
    """Too many wrong codes; `seconds` until the next may be tried."""

    def __init__(self, seconds: float) -> None:
        super().__init__("Too many wrong codes")
        self.seconds = seconds


class TwoFactor:
    """Coroutines; they fail as the database does."""

    def __init__(
        self,
        accounts: AccountStore,
        audit: AuditTrail,
        clock: Clock,
        random: Callable[[int], bytes],
        seal: Seal,
        pepper: bytes,
    ) -> None:
        self._accounts, self._audit, self._clock, self._random = accounts, audit, clock, random
        self._seal, self._pepper = seal, pepper
        # Six digits could be guessed, from many addresses, so the limit is the account's. Who reaches it has the password.
        self._wrong = Backoff(clock, _FREE_FAILURES)

    async def begin(self, user_id: int, actor: Actor) -> TwoFactorSetup:
        """A new secret, in force once confirm() has seen a code of it. Raises NoSuchUser, AlreadyEnabled."""
        account = await self._account(user_id)
        if account.two_factor_enabled:
            raise AlreadyEnabled(account.username)
        secret = self._random(SECRET_OCTETS)
        if not await self._accounts.set_two_factor(user_id, self._seal.close(secret, owner(user_id)), False, actor=actor):
            raise AlreadyEnabled(account.username)
        return setup_of(secret, account.username)

    async def confirm(self, user_id: int, code: str, actor: Actor) -> list[str]:
        """Switch it on where the code is right: the recovery codes, else none.

        Raises NoSuchUser, AlreadyEnabled, TooManyCodes.
        """
        account = await self._account(user_id)
        if account.two_factor_enabled:
            raise AlreadyEnabled(account.username)
        rows = await self._accounts.by_user_ids([user_id])
        if not rows or not rows[0].two_factor_secret or not await self._limited(account, code, recover=False):
            return []
        codes, hashes = self._new_codes(user_id)
        # Refused where another secret was made since: its codes nobody has proven to have.
        switched = await self._accounts.set_two_factor(user_id, rows[0].two_factor_secret, True, recovery=hashes, actor=actor)
        return codes if switched else []

    async def end(self, user_id: int, code: str | None, actor: Actor) -> bool:
        """Switch it off: for the user himself with a code, for another (an administrator) without.

        False for a wrong code. Raises NoSuchUser, TooManyCodes.
        """
        account = await self._account(user_id)
        by_another = actor.user_id != user_id
        if account.two_factor_enabled and not by_another and not await self.right(account, code or ""):
            return False
        await self._accounts.set_two_factor(user_id, None, False, actor=actor)
        return True

    async def renew_codes(self, user_id: int, code: str, actor: Actor) -> list[str]:
        """New recovery codes in place of the old, for a code. None where it is wrong, or nothing is switched on."""
        account = await self._account(user_id)
        if not account.two_factor_enabled or not await self._limited(account, code, recover=False):
            return []
        codes, hashes = self._new_codes(user_id)
        await self._accounts.set_recovery_codes(user_id, hashes, actor=actor)
        return codes

    async def right(self, account: Account, code: str) -> bool:
        """Whether a one-time or recovery code is right, which uses it up. Raises TooManyCodes."""
        return await self._limited(account, code, recover=True)

    async def _limited(self, account: Account, code: str, *, recover: bool) -> bool:
        wait = self._wrong.begin(account.user_id)
        if wait:
            raise TooManyCodes(wait)
        right = False
        try:
            right = await self._check(account, code, recover)
        finally:
            self._wrong.end(account.user_id, failed=not right)
        if right:
            self._wrong.forgive(account.user_id)
        return right

    async def _check(self, account: Account, code: str, recover: bool) -> bool:
        user_id = account.user_id
        if recover and recovery.plain(code) is not None:
            used = await self._accounts.use_recovery_code(user_id, recovery.hashed(self._pepper, user_id, code))
            if used:
                self._audit.event("RECOVERY_CODE_USED", True, user_id=user_id)
            return used
        rows = await self._accounts.by_user_ids([user_id])
        sealed = rows[0].two_factor_secret if rows else None
        if not sealed:
            return False
        try:
            secret = self._seal.open(sealed, owner(user_id))
        except SecretError as error:
            self._audit.event("TWO_FACTOR_KEY", False, user_id=user_id, details={"error": str(error)})
            return False
        step = matching_step(secret, code, self._clock.seconds())
        return step is not None and await self._accounts.use_totp_step(user_id, step)

    def _new_codes(self, user_id: int) -> tuple[list[str], list[str]]:
        codes = recovery.new_codes(self._random)
        return codes, [recovery.hashed(self._pepper, user_id, code) for code in codes]

    async def _account(self, user_id: int) -> Account:
        rows = await self._accounts.by_user_ids([user_id])
        if not rows:
            raise NoSuchUser(user_id)
        return rows[0].account


def owner(user_id: int) -> str:
    return f"user:{user_id}"
