from __future__ import annotations

from types import SimpleNamespace

import bcrypt
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from protei_bulk.access import passwords
from protei_bulk.access.passwords import (
    Passwords,
    TooBusy,
    Verified,
    check_password,
    cost_of,
    dummy_hash,
    hash_password,
    password_hashes,
)
from tests.access.fakes import COST, Threads


class Hashes(SynchronousTestCase):
    def test_round(self) -> None:
        hashed = hash_password("Password@123", COST)
        self.assertLessEqual(len(hashed), 255)
        self.assertTrue(check_password("Password@123", hashed))
        self.assertFalse(check_password("password@123", hashed))

    def test_however_its_letters_are_composed(self) -> None:
        made = password_hashes("Cafe\u0301 \uff11\uff12\uff13\uff14", COST)
        self.assertTrue(check_password("Caf\xe9 1234", str(made["password_hash"])))
        self.assertTrue(check_password("Caf\xe9 12".encode().decode("latin-1"), str(made["smpp_password_hash"])))
        self.assertFalse(check_password("Cafe 1234", str(made["password_hash"])))

    def test_what_is_no_hash_has_no_password(self) -> None:
        for text in ("", "plain", "$2b$04$short", "é"):
            self.assertFalse(check_password("x", text), text)

    def test_every_check_costs_as_much(self) -> None:
        """The name that nobody has, the hash that was made when the cost was lower, what is no hash at all."""
        rounds: list[int] = []

        def checkpw(prepared: bytes, hashed: bytes) -> bool:
            rounds.append(1 << cost_of(hashed.decode()))
            return bcrypt.checkpw(prepared, hashed)

        self.patch(passwords, "bcrypt", SimpleNamespace(checkpw=checkpw, gensalt=bcrypt.gensalt, hashpw=bcrypt.hashpw))
        for text in (hash_password("x", 6), dummy_hash(6), hash_password("x", 4), hash_password("x", 5)):
            rounds.clear()
            self.assertFalse(check_password("y", text, 6))
            self.assertEqual(sum(rounds), 64, text)
        rounds.clear()
        self.assertTrue(check_password("x", hash_password("x", 4), 6))
        self.assertEqual(sum(rounds), 64)
        for text in ("", "plain", "$2b$99$x"):
            self.assertFalse(check_password("y", text, 6))
        self.assertEqual([cost_of(t) for t in ("", "plain", "a$b$c$d")], [0, 0, 0])


class InThreads(TestCase):
    async def test_checks_and_makes_them_off_the_reactor(self) -> None:
        pool = ThreadPool(0, 2)
        pool.start()
        self.addCleanup(pool.stop)
        checks = Passwords(reactor, pool, COST)  # type: ignore[arg-type]
        hashed = await checks.hash("secret")
        right = gatherResults(
            [checks.check("secret", hashed), checks.check("other", hashed), checks.check("x", None)]
        )
        self.assertEqual(await right, [True, False, False])


class Limits(SynchronousTestCase):
    def test_too_many_wait(self) -> None:
        self.patch(passwords, "_WAITING", 3)
        threads = Threads()
        threads.held = True
        checks = Passwords(threads, threads, COST)
        waiting = [checks.check("x", None) for _ in range(3)]
        self.failureResultOf(checks.check("x", None), TooBusy)
        threads.release()
        self.assertEqual([self.successResultOf(w) for w in waiting], [False] * 3)
        self.assertFalse(self.successResultOf(checks.check("x", None)))


class Memory(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = Verified(self.clock, b"key", 300)

    def put(self, name: str, user_id: int) -> bytes:
        digest = self.memory.digest(name)
        self.memory.put(digest, user_id, self.memory.generation)
        return digest

    def test_life(self) -> None:
        digest = self.put("a", 1)
        self.clock.advance(299)
        self.assertEqual(self.memory.get(digest), 1)
        self.clock.advance(1)
        self.assertIsNone(self.memory.get(digest))

    def test_forgets_by_user(self) -> None:
        a, b, nobody = self.put("a", 1), self.put("b", 2), self.put("c", 0)
        self.memory.forget(1)
        self.assertEqual([self.memory.get(d) for d in (a, b, nobody)], [None, 2, None])
        self.memory.forget(None)
        self.assertIsNone(self.memory.get(b))

    def test_an_answer_from_before_a_change_is_not_kept(self) -> None:
        generation = self.memory.generation
        self.memory.forget(2)
        self.memory.put(self.memory.digest("a"), 1, generation)
        self.assertIsNone(self.memory.get(self.memory.digest("a")))

    def test_bounded(self) -> None:
        self.patch(passwords, "_ENTRIES", 10)
        digests = [self.put(str(n), n) for n in range(1, 30)]
        self.assertEqual(sum(self.memory.get(d) is not None for d in digests), 10)
        self.assertEqual(len(self.memory._of_user), 10)

    def test_parts_do_not_run_together(self) -> None:
        self.assertNotEqual(self.memory.digest("ab", "c"), self.memory.digest("a", "bc"))
        self.assertNotEqual(self.memory.digest("a"), Verified(self.clock, b"other").digest("a"))

    def test_off(self) -> None:
        memory = Verified(self.clock, b"key", 0)
        memory.put(b"d", 1, 0)
        self.assertIsNone(memory.get(b"d"))
