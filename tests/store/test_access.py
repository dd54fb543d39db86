"""What access keeps in the database: known addresses, signing keys, recovery codes, hashes of a higher cost, logins."""

from __future__ import annotations

from twisted.internet import reactor

from protei_bulk.access.ports import Actor
from protei_bulk.store.addresses import KnownAddressBook
from protei_bulk.store.keys import SigningKeys
from protei_bulk.store.websessions import WebSessions
from tests.store.database import DatabaseCase


class KnownAddresses(DatabaseCase):
    async def test_seen_and_known(self) -> None:
        user_id = await self.ahmad()
        book = KnownAddressBook(self.db, reactor)
        for network in ("10.0.0.1", "10.0.0.1", "2001:db8:1:2::/64"):
            book.seen(user_id, network)
        book.seen(999, "10.0.0.3")  # a user that has gone meanwhile
        await book.drained()
        self.assertEqual(await self.db.query("SELECT count(*) FROM tbl_known_addresses"), [(2,)])
        for name, network, known in (
            ("ahmad", "10.0.0.1", True), ("ahmad", "2001:db8:1:2::/64", True), ("ahmad", "10.0.0.2", False),
            ("nobody", "10.0.0.1", False), ("a\0\udcff", "10.0.0.1", False),
        ):  # fmt: skip
            self.assertEqual(await book.is_known(name, network), known, (name, network))

    async def test_forgotten_after_90_days_and_written_anew(self) -> None:
        user_id = await self.ahmad()
        book = KnownAddressBook(self.db, reactor)
        book.seen(user_id, "10.0.0.1")
        await book.drained()
        await self.db.execute("UPDATE tbl_known_addresses SET seen_at = now() - interval '91 days'")
        self.assertFalse(await book.is_known("ahmad", "10.0.0.1"))
        book.seen(user_id, "10.0.0.2")
        await book.drained()
        self.assertEqual(await self.db.query("SELECT host(network) FROM tbl_known_addresses"), [("10.0.0.2",)])

    async def test_what_cannot_be_written_is_forgotten(self) -> None:
        book = KnownAddressBook(self.db, reactor)
        book.seen(await self.ahmad(), "no network")
        await book.drained()
        self.assertEqual(await self.db.query("SELECT * FROM tbl_known_addresses"), [])


class Keys(DatabaseCase):
    async def test_rotation(self) -> None:
        keys = SigningKeys(self.db)
        await keys.add("one", "sealed 1")
        await keys.rotate("two", "sealed 2", 3600, actor=Actor(7, "10.0.0.1", "curl"))
        two, one = await keys.usable()
        self.assertEqual((two.kid, two.sealed, two.seconds_left, one.kid), ("two", "sealed 2", None, "one"))
        self.assertTrue(3500 < (one.seconds_left or 0) <= 3600)
        await keys.rotate("three", "sealed 3", 0)
        self.assertEqual([key.kid for key in await keys.usable()], ["three"])
        self.assertEqual([row.kid for row in await keys.rows()], ["three", "two", "one"])
        rows = await self.db.query("SELECT action, actor_id, host(ip_address), user_agent, details FROM tbl_permission_audit")
        self.assertEqual(rows[0], ("KEY_ROTATE", 7, "10.0.0.1", "curl", {"kid": "two", "verify_seconds": 3600}))
        self.assertNotIn("sealed", repr(rows))


class Passwords(DatabaseCase):
    async def login(self, user_id: int) -> str:
        sessions = WebSessions(self.db)
        await sessions.open("s" * 32, user_id, "t" * 32, seconds=3600, ip="10.0.0.1", user_agent="x" * 300)
        return "s" * 32

    async def test_a_higher_cost_is_no_new_password(self) -> None:
        user_id = await self.ahmad()
        session = await self.login(user_id)
        sessions = WebSessions(self.db)
        self.assertFalse(await self.accounts.rehash(user_id, "another", {"password_hash": "x", "smpp_password_hash": None}))
        self.assertTrue(await self.accounts.rehash(user_id, "hash", {"password_hash": "new", "smpp_password_hash": "short"}))
        found = await self.accounts.by_user_id(user_id)
        assert found is not None
        self.assertEqual((found.password_hash, found.smpp_password_hash), ("new", "short"))
        self.assertIsNotNone(await sessions.get(session))
        await self.accounts.set_user("ahmad", {"password_hash": "newer"})
        self.assertIsNone(await sessions.get(session))

    async def test_a_suspension_ends_logins(self) -> None:
        session = await self.login(await self.ahmad())
        await self.accounts.set_user("ahmad", {"status": "SUSPENDED"})
        self.assertIsNone(await WebSessions(self.db).get(session))


class Recovery(DatabaseCase):
    async def test_each_once_and_with_its_user(self) -> None:
        user_id = await self.ahmad()
        self.assertFalse(await self.accounts.set_two_factor(user_id, "s" * 64, True))  # of which nobody has proven a code
        self.assertTrue(await self.accounts.set_two_factor(user_id, "s" * 64, False))
        self.assertFalse(await self.accounts.set_two_factor(user_id, "t" * 64, True))
        self.assertTrue(await self.accounts.set_two_factor(user_id, "s" * 64, True, recovery=["a", "b"]))
        for secret, on in (("t" * 64, False), ("s" * 64, True)):  # a second request that began before it was on
            self.assertFalse(await self.accounts.set_two_factor(user_id, secret, on))
        use = self.accounts.use_recovery_code
        self.assertEqual([await use(user_id, code) for code in ("a", "a", "c")], [True, False, False])
        self.assertFalse(await use(user_id + 1, "b"))
        self.assertTrue(await self.accounts.set_recovery_codes(user_id, ["c", "d"]))
        self.assertEqual([await use(user_id, code) for code in ("b", "c")], [False, True])
        await self.accounts.set_two_factor(user_id, None, False)
        self.assertFalse(await use(user_id, "d"))
        self.assertFalse(await self.accounts.set_recovery_codes(user_id, ["e"]))
        actions = [row[0] for row in await self.audit()]
        self.assertEqual(actions[-3:], ["TWO_FACTOR_ON", "RECOVERY_CODES_NEW", "TWO_FACTOR_OFF"])
