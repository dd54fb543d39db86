from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access import limits
from protei_bulk.access.limits import FailedAttempts, address_allowed


class Addresses(SynchronousTestCase):
    NETWORKS = (ip_network("192.168.1.0/24"), ip_network("10.0.0.50"), ip_network("2001:db8::/32"))

    def test_lists(self) -> None:
        for text in ("192.168.1.1", "10.0.0.50", "2001:db8::1", "::ffff:10.0.0.50"):
            self.assertTrue(address_allowed(text, self.NETWORKS), text)
        for text in ("192.168.2.1", "10.0.0.51", "::1", "", "localhost", "fe80::1%eth0"):
            self.assertFalse(address_allowed(text, self.NETWORKS), text)

    def test_empty_list_restricts_nothing(self) -> None:
        self.assertTrue(address_allowed("", ()))


class Failures(SynchronousTestCase):
    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60))
    def test_never_more_than_five_failures_in_any_minute(self, tries: list[tuple[float, bool]]) -> None:
        clock = Clock()
        attempts = FailedAttempts(clock, 5)
        failures: list[float] = []
        for number, (pause, fails) in enumerate(tries):
            clock.advance(pause)
            credential = str(number).encode()
            recent = [t for t in failures if t > clock.seconds() - 60]
            allowed = attempts.begin("k", credential)
            self.assertEqual(allowed, len(recent) < 5)
            if allowed:
                attempts.end("k", credential, fails)
                if fails:
                    failures.append(clock.seconds())

    def test_memory_is_bounded(self) -> None:
        self.patch(limits, "_KEYS", 100)
        clock = Clock()
        attempts = FailedAttempts(clock, 1)
        for n in range(1000):
            clock.advance(0.01)
            self.assertTrue(attempts.begin(n, b""))
            attempts.end(n, b"", True)
        self.assertLessEqual(len(attempts._records), 101)
        self.assertFalse(attempts.begin(999, b""))  # the latest are kept

    def test_successes_leave_nothing(self) -> None:
        attempts = FailedAttempts(Clock(), 5)
        attempts.begin("k", b"")
        attempts.end("k", b"", False)
        self.assertEqual(attempts._records, {})
