"""A store in memory and threads that run at once, for the tests of access."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from protei_bulk.access.accounts import AccountDirectory, Credentials
from protei_bulk.access.keys import StoredKey
from protei_bulk.access.passwords import Passwords, password_hashes
from protei_bulk.access.ports import NOBODY, Actor, Login, Usage, WebSession
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.model.account import Account

COST = 4  # the least that bcrypt takes: a millisecond
PASSWORD = "Password@123"


class Threads:
    """Runs work when told to; `held` keeps it back until release()."""

    def __init__(self) -> None:
        self.held = False
        self.works: deque[tuple[Any, Any, Any]] = deque()
        self.count = 0

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, object], None], func: Any, *args: object
    ) -> None:
        self.works.append((onResult, func, args))
        if not self.held:
            self.release()

    def release(self) -> None:
        self.held = False
        while self.works:
            done, func, args = self.works.popleft()
            self.count += 1
            done(True, func(*args))

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None:
        callable(*args)


class Store:
    """Accounts, sessions, usage and audit at once. `asked` lists the reads."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.users: dict[int, Credentials] = {}
        self.asked: list[tuple[str, object]] = []
        self.sessions: dict[str, dict[str, Any]] = {}
        self.web: dict[str, WebSession] = {}
        self.rotated: dict[str, float] = {}
        self.ends: dict[str, float] = {}
        self.steps: dict[int, int] = {}
        self.events: list[dict[str, Any]] = []
        self.usage: dict[int, Usage] = {}
        self.recovery: dict[int, set[str]] = {}
        self.keys: list[StoredKey] = []
        self.networks: set[tuple[int, str]] = set()
        self.failing: Exception | None = None

    def add(self, account: Account, password: str = PASSWORD, **more: Any) -> None:
        self.users[account.user_id] = Credentials(account, **{**password_hashes(password, COST), **more})

    def change(self, user_id: int, **fields: Any) -> None:
        found = self.users[user_id]
        self.users[user_id] = evolve(found, account=evolve(found.account, **fields))

    def _find(self, name: str, key: object, test: Callable[[Credentials], bool]) -> Deferred[Any]:
        self.asked.append((name, key))
        if self.failing is not None:
            failed: Deferred[Any] = Deferred()
            failed.errback(self.failing)
            return failed
        return succeed(next((c for c in self.users.values() if test(c)), None))

    def by_username(self, username: str) -> Deferred[Credentials | None]:
        return self._find("name", username, lambda c: c.account.username == username)

    def by_api_key_hash(self, key_hash: str) -> Deferred[Credentials | None]:
        return self._find("key", key_hash, lambda c: c.api_key_hash == key_hash)

    def by_user_ids(self, user_ids: list[int]) -> Deferred[list[Credentials]]:
        found = self._find("ids", tuple(user_ids), lambda c: False)
        return found.addCallback(lambda _: [self.users[u] for u in user_ids if u in self.users])

    def set_api_key_hash(
        self, user_id: int, key_hash: str | None, *, actor: Actor = NOBODY
    ) -> Deferred[bool]:
        if user_id not in self.users:
            return succeed(False)
        self.users[user_id] = evolve(self.users[user_id], api_key_hash=key_hash)
        return succeed(True)

    def set_two_factor(
        self,
        user_id: int,
        sealed: str | None,
        enabled: bool,
        *,
        recovery: Sequence[str] = (),
        actor: Actor = NOBODY,
    ) -> Deferred[bool]:
        was = self.users[user_id]
        if sealed and (was.account.two_factor_enabled or (enabled and was.two_factor_secret != sealed)):
            return succeed(False)
        self.users[user_id] = evolve(was, two_factor_secret=sealed)
        self.recovery[user_id] = set(recovery)
        self.change(user_id, two_factor_enabled=enabled)
        if not enabled:
            self.steps.pop(user_id, None)
        return succeed(True)

    def set_recovery_codes(self, user_id: int, hashes: Sequence[str], *, actor: Actor = NOBODY) -> Deferred[bool]:
        self.recovery[user_id] = set(hashes)
        return succeed(True)

    def use_recovery_code(self, user_id: int, hashed: str) -> Deferred[bool]:
        codes = self.recovery.get(user_id, set())
        found = hashed in codes
        codes.discard(hashed)
        return succeed(found)

    def rehash(self, user_id: int, old: str, hashes: Mapping[str, str | None]) -> Deferred[bool]:
        found = self.users[user_id]
        if found.password_hash != old:
            return succeed(False)
        self.users[user_id] = evolve(found, **hashes)
        return succeed(True)

    def usable(self) -> Deferred[list[StoredKey]]:
        self.asked.append(("keys", None))
        return succeed(list(reversed(self.keys)))

    def add_key(self, kid: str, sealed: str) -> Deferred[None]:
        self.keys.append(StoredKey(kid, sealed, None))
        return succeed(None)

    def is_known(self, username: str, network: str) -> Deferred[bool]:
        self.asked.append(("network", network))
        users = {c.account.user_id for c in self.users.values() if c.account.username == username}
        return succeed(any((user_id, network) in self.networks for user_id in users))

    def seen(self, user_id: int, network: str) -> None:
        self.networks.add((user_id, network))

    def use_totp_step(self, user_id: int, step: int) -> Deferred[bool]:
        if self.steps.get(user_id, -1) >= step:
            return succeed(False)
        self.steps[user_id] = step
        return succeed(True)

    def logged_in(self, user_id: int) -> Deferred[None]:
        return succeed(None)

    def opened(self, *, token: str, **row: Any) -> Deferred[int]:
        self.sessions[token] = row
        return succeed(len(self.sessions))

    def request_disconnect(self, token: str) -> Deferred[bool]:
        return succeed(self.sessions.pop(token, None) is not None)

    def open(self, session_id: str, user_id: int, token_id: str, **_: Any) -> Deferred[None]:
        self.web[session_id] = WebSession(session_id, user_id, token_id, "", 0.0)
        self.ends[session_id] = self.clock.seconds() + _["seconds"]
        self.rotated[session_id] = self.clock.seconds()
        return succeed(None)

    def get(self, session_id: str) -> Deferred[WebSession | None]:
        self.asked.append(("session", session_id))
        session = self.web.get(session_id)
        age = self.clock.seconds() - self.rotated.get(session_id, 0)
        if session is None:
            return succeed(None)
        left = self.ends[session_id] - self.clock.seconds()
        return succeed(evolve(session, rotated_seconds=age, left_seconds=left) if left > 0 else None)

    def rotate(self, session_id: str, old_token_id: str, new_token_id: str) -> Deferred[bool]:
        session = self.web.get(session_id)
        if session is None or session.token_id != old_token_id:
            return succeed(False)
        self.web[session_id] = evolve(session, token_id=new_token_id, previous_id=old_token_id)
        self.rotated[session_id] = self.clock.seconds()
        return succeed(True)

    def revoke(self, session_id: str, user_id: int | None = None) -> Deferred[bool]:
        session = self.web.get(session_id)
        if session is None or user_id not in (None, session.user_id):
            return succeed(False)
        del self.web[session_id]
        return succeed(True)

    def of_user(self, user_id: int) -> Deferred[list[Login]]:
        found = [s.session_id for s in self.web.values() if s.user_id == user_id]
        return succeed([Login(s, None, None, 0.0, self.rotated[s], self.ends[s]) for s in found])

    def today(self, user_id: int) -> Deferred[Usage | None]:
        return succeed(self.usage.get(user_id))

    def event(self, action: str, success: bool, **more: Any) -> None:
        details: Mapping[str, object] = more.get("details") or {}
        self.events.append({"action": action, "success": success, **more, "details": details})


class Keys:
    def __init__(self, store: Store) -> None:
        self.usable, self.add = store.usable, store.add_key


class Bench:
    """The service on these fakes."""

    def __init__(self, bind_attempts: int = 5) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.store = Store(self.clock)
        self.threads = Threads()
        self.directory = AccountDirectory(self.store, self.clock)
        self._octets = 0
        self.auth = UnifiedAuthService(
            accounts=self.store,
            directory=self.directory,
            passwords=Passwords(self.threads, self.threads, COST),
            smpp_sessions=self.store,
            web_sessions=self.store,
            usage=self.store,
            audit=self.store,
            keys=Keys(self.store),
            addresses=self.store,
            clock=self.clock,
            secret=b"s" * 32,
            random=self._random,
            bind_attempts_per_minute=bind_attempts,
        )

    def _random(self, count: int) -> bytes:
        self._octets += 1
        return (self._octets.to_bytes(4, "big") * (count // 4 + 1))[:count]
