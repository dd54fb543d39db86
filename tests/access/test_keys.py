"""Keys that tokens are signed with: made once, rotated, shared, strange."""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.keys import KeyRing, StoredKey, new_key
from protei_bulk.access.secrets import Seal
from tests.access.fakes import Keys, Store


class Ring(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.store = Store(self.clock)
        self.seal = Seal(b"k" * 32)
        self.ring = self.another()

    def another(self, seal: Seal | None = None) -> KeyRing:
        return KeyRing(Keys(self.store), seal or self.seal, self.clock, os.urandom)

    def signing(self, ring: KeyRing | None = None) -> str:
        return self.successResultOf(Deferred.fromCoroutine((ring or self.ring).signing())).kid

    def find(self, kid: str, ring: KeyRing | None = None) -> bytes | None:
        return self.successResultOf(Deferred.fromCoroutine((ring or self.ring).find(kid)))

    def rotate(self, seconds: float | None) -> str:
        self.store.keys = [StoredKey(k.kid, k.sealed, seconds) for k in self.store.keys if seconds]
        kid, sealed = new_key(self.seal, os.urandom)
        self.store.add_key(kid, sealed)
        return kid

    def asked(self) -> int:
        return sum(kind == "keys" for kind, _ in self.store.asked)

    def test_made_once_and_kept(self) -> None:
        kid = self.signing()
        self.assertEqual((self.signing(), len(self.store.keys), self.asked()), (kid, 1, 2))
        self.assertEqual(self.signing(self.another()), kid)
        self.assertEqual(len(self.find(kid) or b""), 32)
        self.assertNotIn(self.find(kid) or b"", [k.sealed.encode() for k in self.store.keys])

    def test_rotation(self) -> None:
        old = self.signing()
        new = self.rotate(100.0)
        self.assertEqual(self.signing(), old)  # not heard of yet
        self.ring.changed()
        self.assertEqual(self.signing(), new)
        self.assertIsNotNone(self.find(old))
        self.clock.advance(100)
        self.assertIsNone(self.find(old))

    def test_rotation_at_once(self) -> None:
        old = self.signing()
        self.rotate(None)
        self.ring.changed()
        self.assertIsNone(self.find(old))

    def test_another_nodes_new_key_is_looked_up_and_nonsense_seldom(self) -> None:
        self.signing()
        new = self.rotate(100.0)
        self.clock.advance(5)
        self.assertIsNotNone(self.find(new))
        before = self.asked()
        for n in range(100):
            self.assertIsNone(self.find(f"x{n}"))
        self.assertEqual(self.asked(), before)
        self.clock.advance(5)
        self.find("x")
        self.assertEqual(self.asked(), before + 1)

    def test_a_strangers_key(self) -> None:
        theirs = self.signing(self.another(Seal(b"o" * 32)))
        mine = self.signing()
        self.assertNotEqual(theirs, mine)
        self.assertIsNone(self.find(theirs))

    def test_one_statement_for_all_who_wait_and_trouble_for_all(self) -> None:
        answer: Deferred[list[StoredKey]] = Deferred()
        keys = Keys(self.store)
        keys.usable = lambda: answer  # type: ignore[method-assign]
        ring = KeyRing(keys, self.seal, self.clock, os.urandom)
        waiting = [Deferred.fromCoroutine(ring.find("x")) for _ in range(3)]
        answer.errback(OSError("away"))
        for d in waiting:
            self.failureResultOf(d, OSError)
        keys.usable = lambda: fail(OSError("still away"))  # type: ignore[method-assign]
        self.failureResultOf(Deferred.fromCoroutine(ring.signing()), OSError)
        keys.usable = self.store.usable  # type: ignore[method-assign]
        self.assertTrue(self.signing(ring))
