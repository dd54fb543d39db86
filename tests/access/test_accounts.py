"""The directory: accounts in memory that follow what the database announces."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.accounts import AccountDirectory, Credentials
from protei_bulk.model.account import Account


class Reads:
    """Answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[int], Deferred[list[Credentials]]]] = []

    def by_user_ids(self, user_ids: list[int]) -> Deferred[list[Credentials]]:
        answer: Deferred[list[Credentials]] = Deferred()
        self.asked.append((user_ids, answer))
        return answer

    def answer(self, *accounts: Account) -> list[int]:
        user_ids, waiting = self.asked.pop(0)
        waiting.callback([Credentials(a, "") for a in accounts])
        return user_ids


def account(user_id: int, **more: object) -> Account:
    return Account(user_id, f"user{user_id}", 100 + user_id % 2, **more)  # type: ignore[arg-type]


class Directory(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.reads = Reads()
        self.directory = AccountDirectory(self.reads, self.clock)
        self.told: list[tuple[Account | None, int]] = []
        self.forgotten: list[int | None] = []
        self.directory.subscribe(lambda account, user_id: self.told.append((account, user_id)))
        self.directory.on_forget(self.forgotten.append)

    def know(self, *accounts: Account) -> None:
        for known in accounts:
            self.directory.put(known)

    def test_loads_once_and_then_answers_from_memory(self) -> None:
        self.assertIsNone(self.directory.get(1))
        first, second = self.directory.load(1), self.directory.load(1)
        self.assertEqual(self.reads.answer(account(1)), [1])
        self.assertEqual(self.successResultOf(first), account(1))
        self.assertEqual(self.successResultOf(second), account(1))
        self.assertEqual(self.directory.get(1), account(1))
        self.assertEqual(self.successResultOf(self.directory.load(1)), account(1))
        self.assertEqual(self.reads.asked, [])

    def test_nobody(self) -> None:
        found = self.directory.load(9)
        self.reads.answer()
        self.assertIsNone(self.successResultOf(found))

    def test_failure_reaches_all_who_wait_and_is_not_kept(self) -> None:
        waiting = [self.directory.load(1), self.directory.load(1)]
        self.reads.asked.pop()[1].errback(OSError())
        for one in waiting:
            self.failureResultOf(one, OSError)
        again = self.directory.load(1)
        self.reads.answer(account(1))
        self.assertEqual(self.successResultOf(again), account(1))

    def test_many_in_one_statement(self) -> None:
        self.know(account(1))
        found = self.directory.load_many([1, 2, 3])
        self.assertEqual(sorted(self.reads.answer(account(2))), [2, 3])
        self.assertEqual(self.successResultOf(found), {1: account(1), 2: account(2)})

    def test_change_is_forgotten_at_once_then_read_and_told(self) -> None:
        self.know(account(1))
        self.directory.changed("user:1")
        self.assertEqual(self.forgotten, [1])
        self.assertEqual(self.directory.get(1), account(1))
        self.clock.advance(0)
        self.reads.answer(account(1, max_tps=5))
        self.assertEqual(self.told, [(account(1, max_tps=5), 1)])
        self.assertEqual(self.directory.get(1), account(1, max_tps=5))

    def test_a_user_that_is_gone(self) -> None:
        self.know(account(1))
        self.directory.changed("user:1")
        self.clock.advance(0)
        self.reads.answer()
        self.assertEqual(self.told, [(None, 1)])
        self.assertIsNone(self.directory.get(1))

    def test_customer_means_its_users(self) -> None:
        self.know(account(1), account(2), account(3))
        self.directory.changed("customer:101")
        self.clock.advance(0)
        self.assertEqual(self.reads.answer(), [1, 3])
        self.assertEqual(sorted(self.forgotten, key=str), [1, 3])

    def test_anything_means_all(self) -> None:
        self.know(account(1), account(2))
        self.directory.changed("")
        self.clock.advance(0)
        self.assertEqual(self.reads.answer(account(1), account(2)), [1, 2])
        self.assertEqual(self.forgotten, [None])

    def test_changes_gather_while_one_is_read(self) -> None:
        for n in (1, 2, 1):
            self.directory.changed(f"user:{n}")
        self.clock.advance(0)
        self.directory.changed("user:3")
        self.directory.changed("user:1")
        self.clock.advance(0)
        self.assertEqual(len(self.reads.asked), 1)
        self.assertEqual(self.reads.answer(), [1, 2])
        self.clock.advance(0)
        self.assertEqual(self.reads.answer(), [1, 3])

    def test_database_away_keeps_the_account_and_tries_again(self) -> None:
        self.know(account(1))
        self.directory.changed("user:1")
        self.clock.advance(0)
        self.reads.asked.pop()[1].errback(OSError("away"))
        self.assertEqual(self.directory.get(1), account(1))
        self.clock.advance(1)
        self.reads.answer(account(1, max_tps=5))
        self.assertEqual(self.directory.get(1), account(1, max_tps=5))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_load_under_way_does_not_undo_a_newer_reading(self) -> None:
        loading = self.directory.load(1)
        self.directory.changed("user:1")
        self.clock.advance(0)
        old = self.reads.asked.pop(0)[1]
        self.reads.answer(account(1, max_tps=5))
        old.callback([Credentials(account(1), "")])
        self.assertEqual(self.successResultOf(loading), account(1, max_tps=5))

    def test_a_subscriber_that_fails_harms_no_other(self) -> None:
        def broken(account: Account | None, user_id: int) -> None:
            raise RuntimeError("broken")

        told: list[int] = []
        self.directory.subscribe(broken)
        self.directory.subscribe(lambda account, user_id: told.append(user_id))
        self.directory.changed("user:1")
        self.clock.advance(0)
        self.reads.answer()
        self.assertEqual(told, [1])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_close(self) -> None:
        self.directory.changed("user:1")
        self.directory.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.directory.changed("user:2")
        self.assertEqual(self.clock.getDelayedCalls(), [])
