"""Who guesses waits longer and longer; nobody can make a customer wait."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.attempts import Backoff, network_of
from protei_bulk.access.results import AuthResult
from protei_bulk.model.account import Account
from tests.access.fakes import PASSWORD, Bench

AHMAD, SARA = Account(1, "ahmad", 7), Account(2, "sara", 7)


class Delays(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.backoff = Backoff(self.clock, 3, 60.0)

    def fail_once(self) -> float:
        """0.0 where it could be tried."""
        wait = self.backoff.begin("k")
        if not wait:
            self.backoff.end("k", failed=True)
        return wait

    def test_doubles_up_to_the_longest(self) -> None:
        waits = []
        for _ in range(12):
            wait = self.fail_once()
            if wait:
                waits.append(wait)
                self.clock.advance(wait)
                self.fail_once()
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60][: len(waits)])
        self.assertEqual(self.backoff.wait("other"), 0.0)

    def test_an_hour_forgets(self) -> None:
        for _ in range(3):
            self.fail_once()
        self.assertGreater(self.backoff.wait("k"), 0)
        self.clock.advance(3601)
        self.assertEqual([self.fail_once() for _ in range(3)], [0, 0, 0])

    def test_beyond_the_free_ones_only_one_at_a_time(self) -> None:
        begun = [self.backoff.begin("k") for _ in range(10)]
        self.assertEqual(begun, [0.0] * 3 + [1.0] * 7)
        for _ in range(3):
            self.backoff.end("k", failed=False)
        self.assertEqual(self.backoff._counts, {})

    def test_forgiven(self) -> None:
        for _ in range(3):
            self.fail_once()
        self.backoff.forgive("k")
        self.assertEqual((self.fail_once(), self.backoff._counts["k"].failures), (0, 1))

    def test_off(self) -> None:
        self.backoff.free = 0
        self.assertEqual({self.fail_once() for _ in range(100)}, {0.0})

    def test_bounded(self) -> None:
        self.patch(__import__("protei_bulk.access.attempts", fromlist=["x"]), "_KEYS", 100)
        for n in range(1000):
            self.backoff.begin(n)
            self.backoff.end(n, failed=True)
            self.clock.advance(1)
        self.assertLessEqual(len(self.backoff._counts), 101)
        self.assertIn(999, self.backoff._counts)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["begin", "right", "wrong", "time"]), st.integers(0, 2)), max_size=60))
    def test_never_more_tried_than_allowed(self, steps: list[tuple[str, int]]) -> None:
        """Whatever overlaps: what begins while a key must wait is refused, and nothing is counted twice."""
        clock = Clock()
        backoff, running = Backoff(clock, 2, 8.0), [0, 0, 0]
        for what, key in steps:
            if what == "begin":
                wait = backoff.wait(key)
                self.assertEqual(backoff.begin(key), wait)
                running[key] += not wait
            elif what == "time":
                clock.advance(2.0**key)
            elif running[key]:
                running[key] -= 1
                backoff.end(key, failed=what == "wrong")
        for key in range(3):
            count = backoff._counts.get(key)
            self.assertEqual(count.running if count else 0, running[key])

    def test_networks(self) -> None:
        self.assertEqual(network_of("10.0.0.1"), "10.0.0.1")
        self.assertEqual(network_of("::ffff:10.0.0.1"), "10.0.0.1")
        self.assertEqual(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64")
        self.assertEqual(network_of("2001:db8:1:2::"), network_of("2001:db8:1:2:ffff::1"))
        self.assertEqual(network_of("unix"), "")


class Guarded(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.store.add(AHMAD)
        self.bench.store.add(SARA)

    def bind(self, password: str = PASSWORD, ip: str = "10.0.0.1", name: str = "ahmad") -> AuthResult:
        return self.successResultOf(self.bench.auth.authenticate_smpp(None, name, password, "TRANSCEIVER", ip, 1))

    def basic(self, password: str = PASSWORD, ip: str = "10.0.0.1", name: str = "ahmad") -> AuthResult:
        return self.successResultOf(self.bench.auth.authenticate_basic_auth(None, name, password, ip))

    def web(self, password: str = PASSWORD, ip: str = "10.0.0.1", name: str = "ahmad") -> AuthResult:
        return self.successResultOf(self.bench.auth.authenticate_web(None, name, password, None, ip))

    def attack(self, name: str = "ahmad", times: int = 60) -> list[str]:
        """Guesses from so many addresses."""
        return [self.bind(f"guess number {n}", f"172.16.{n // 200}.{n % 200 + 1}", name).code for n in range(times)]

    def test_guesses_from_many_addresses(self) -> None:
        codes = self.attack()
        self.assertEqual(codes, ["INVALID_CREDENTIALS"] * 50 + ["TOO_MANY_ATTEMPTS"] * 10)
        for way in (self.bind, self.basic, self.web):  # one count for all ways in
            late = way(ip="192.168.7.7")
            self.assertEqual((late.code, late.retry_after), ("TOO_MANY_ATTEMPTS", 1.0))
        tried = 0
        for n in range(24 * 60):
            self.bench.clock.advance(60)
            tried += self.bind(f"another {n}", f"172.17.{n // 250}.{n % 250 + 1}").code == "INVALID_CREDENTIALS"
        self.assertLess(tried, 150)  # a day of it, from as many addresses as there are minutes

    def test_names_that_nobody_has_are_treated_alike(self) -> None:
        self.assertEqual(self.attack("nobody"), self.attack())

    def test_the_customer_is_not_locked_out(self) -> None:
        self.assertTrue(self.bind(ip="10.0.0.1").success)
        self.attack(times=200)
        self.assertEqual(self.bind(ip="10.0.0.2").code, "TOO_MANY_ATTEMPTS")
        for way in (self.bind, self.basic, self.web):
            self.assertTrue(way(ip="10.0.0.1").success)
        self.bench.clock.advance(3600)  # long after memory has forgotten the password
        self.attack(times=60)
        self.assertTrue(self.bind(ip="10.0.0.1").success)

    def test_nor_after_a_restart(self) -> None:
        self.assertTrue(self.bind(ip="10.0.0.1").success)
        networks = self.bench.store.networks
        self.setUp()
        self.bench.store.networks = networks
        self.attack()
        self.assertTrue(self.bind(ip="10.0.0.1").success)
        self.assertFalse(self.bind(ip="10.0.0.2").success)

    def test_the_book_is_asked_only_under_attack(self) -> None:
        self.bind()
        self.bind(ip="10.9.9.9")
        self.assertNotIn("network", [kind for kind, _ in self.bench.store.asked])

    def test_one_address_against_many_names(self) -> None:
        codes = [self.bind("guess", "10.6.6.6", f"user{n}").code for n in range(60)]
        self.assertEqual(codes.count("TOO_MANY_ATTEMPTS"), 10)
        self.assertEqual(self.bind(ip="10.6.6.6", name="sara").code, "TOO_MANY_ATTEMPTS")
        self.assertTrue(self.bind(ip="10.6.6.7", name="sara").success)

    def test_a_neighbour_behind_the_same_address(self) -> None:
        """An application with an old password, beside one with the right one."""
        self.assertTrue(self.bind().success)
        for _ in range(20):
            self.bind("the old password")
        self.assertTrue(self.bind().success)  # verified lately, from here
        self.assertEqual(self.bind("the old password").code, "TOO_MANY_ATTEMPTS")

    def test_basic_is_limited_too(self) -> None:
        codes = [self.basic(f"guess {n}").code for n in range(12)]
        self.assertEqual(codes, ["INVALID_CREDENTIALS"] * 10 + ["TOO_MANY_ATTEMPTS"] * 2)
        self.assertTrue(self.basic(ip="10.0.0.3").success)

    def test_a_database_that_is_away_leaves_nothing_behind(self) -> None:
        self.attack()
        self.bench.store.failing = OSError("away")
        for _ in range(20):
            self.failureResultOf(self.bench.auth.authenticate_smpp(None, "sara", PASSWORD, remote_ip="10.0.0.1"), OSError)
        self.bench.store.failing = None
        self.assertTrue(self.bind(name="sara").success)
        self.assertEqual([r for r in self.bench.auth.bind_attempts._records.values() if r.running], [])
