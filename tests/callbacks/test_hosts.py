from __future__ import annotations

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from protei_bulk.callbacks.hosts import Hosts, host_of


class HostOfTest(TestCase):
    def test_names(self) -> None:
        for url, name in (
            ("https://A.example/x?y", "a.example"), ("http://a.example:81/", "a.example:81"), ("http://u:p@a.example/", "a.example"),
            ("http://[::1]:80/", "[::1]:80"), ("nonsense", ""), ("http://[", ""),
        ):  # fmt: skip
            self.assertEqual(host_of(url), name)


class HostsTest(TestCase):
    def take_all(self, hosts: Hosts[int]) -> list[tuple[str, int]]:
        taken = []
        while (item := hosts.take()) is not None:
            taken.append(item)
        return taken

    def test_a_host_gets_no_more_than_its_share(self) -> None:
        hosts: Hosts[int] = Hosts(most=50, per_host=10, waiting=200)
        self.assertEqual([hosts.put("slow", n) for n in range(201)], [True] * 200 + [False])
        self.assertEqual(self.take_all(hosts), [("slow", n) for n in range(10)])
        self.assertTrue(hosts.put("fast", 1))
        self.assertEqual(self.take_all(hosts), [("fast", 1)])
        hosts.finished("slow", 0.1, True)
        self.assertEqual(self.take_all(hosts), [("slow", 10)])

    def test_hosts_take_turns(self) -> None:
        hosts: Hosts[int] = Hosts(most=4, per_host=10)
        for n in range(5):
            hosts.put("a", n)
        hosts.put("b", 0)
        self.assertEqual([name for name, _ in self.take_all(hosts)], ["a", "b", "a", "a"])

    def test_those_that_time_out_leave_room(self) -> None:
        hosts: Hosts[int] = Hosts(most=10, per_host=5)
        for name in "abcdefghijkl":
            for n in range(10):
                hosts.put(name, n)
        for _ in range(100):
            for name, _n in self.take_all(hosts):
                hosts.finished(name, 10, False)
            if not hosts.queued:
                break
        for name in "abcdefghijkl":
            hosts.put(name, 1)
            hosts.put(name, 2)
        self.assertEqual(len(self.take_all(hosts)), 5)
        for n in range(5):
            hosts.put("good", n)
        self.assertEqual(len(self.take_all(hosts)), 5)
        self.assertEqual(hosts.active, 10)

    def test_a_suspect_that_answers_is_trusted_again(self) -> None:
        hosts: Hosts[int] = Hosts(most=10, per_host=5)
        for n in range(20):
            hosts.put("a", n)
        for name, _ in self.take_all(hosts):
            hosts.finished(name, 10, False)
        self.assertEqual(len(self.take_all(hosts)), 1)
        hosts.finished("a", 0.1, True)
        self.assertEqual(len(self.take_all(hosts)), 5)

    def test_surplus_is_spread_over_time(self) -> None:
        hosts: Hosts[int] = Hosts(most=10, per_host=1, waiting=2)
        hosts.put("a", 0)
        for _ in range(50):
            hosts.put("a", 0)
            for name, _n in self.take_all(hosts):
                hosts.finished(name, 10, True)
        for n in range(3):
            hosts.put("a", n)
        waits = [hosts.put_off("a", 1000.0) for _ in range(2000)]
        self.assertEqual(waits, sorted(waits))
        self.assertAlmostEqual(waits[1] - waits[0], 10, delta=0.1)
        self.assertLessEqual(waits[-1], 3600)

    def test_of_a_slow_host_little_is_held(self) -> None:
        hosts: Hosts[int] = Hosts(most=50, per_host=10, waiting=200)
        for n in range(200):
            hosts.put("a", n)
        self.assertEqual(hosts.trim("a"), [])
        for name, _ in self.take_all(hosts):
            hosts.finished(name, 10, False)
        trimmed = hosts.trim("a")
        self.assertEqual(trimmed, sorted(trimmed))
        self.assertLess(hosts.queued, 10)
        self.assertEqual(hosts.queued + len(trimmed), 190)
        self.assertFalse(hosts.put("a", 1))
        self.assertEqual(hosts.trim("nobody"), [])

    def test_those_that_answer_slowly_leave_room_too(self) -> None:
        hosts: Hosts[int] = Hosts(most=10, per_host=5)
        for name in "abcd":
            for n in range(100):
                hosts.put(name, n)
        for _ in range(20):
            for name, _n in self.take_all(hosts):
                hosts.finished(name, 5, True)
        self.take_all(hosts)
        for n in range(5):
            hosts.put("good", n)
        self.assertEqual(len([name for name, _ in self.take_all(hosts) if name == "good"]), 5)

    def test_drain(self) -> None:
        hosts: Hosts[int] = Hosts()
        for n in range(3):
            hosts.put("a", n)
        hosts.take()
        self.assertEqual(hosts.drain(), [1, 2])
        self.assertIsNone(hosts.take())
        hosts.finished("a", 1, True)
        self.assertEqual((hosts.active, hosts.queued, hosts._hosts), (0, 0, {}))

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.booleans()), max_size=200))
    def test_books_are_kept(self, steps: list[tuple[str, bool, bool]]) -> None:
        hosts: Hosts[int] = Hosts(most=6, per_host=3, waiting=5)
        active: list[str] = []
        put = taken = 0
        for name, end, answered in steps:
            if end and active:
                hosts.finished(active.pop(0), 1, answered)
            put += hosts.put(name, put)
            while (item := hosts.take()) is not None:
                active.append(item[0])
                taken += 1
            self.assertEqual((hosts.active, hosts.queued), (len(active), put - taken))
            self.assertLessEqual(hosts.active, 6)
            self.assertTrue(all(active.count(n) <= 3 for n in active))
        while active:
            hosts.finished(active.pop(0), 1, True)
            while (item := hosts.take()) is not None:
                active.append(item[0])
        self.assertEqual((hosts.active, hosts.queued, hosts._slow_active), (0, 0, 0))
