from __future__ import annotations

from decimal import Decimal
from ipaddress import ip_network

from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Actor
from protei_bulk.model.account import Account
from protei_bulk.store.accounts import Accounts, NameTaken, NoSuchCustomer
from tests.store.database import DatabaseCase

KEY = "a" * 64


class AccountsTest(DatabaseCase):
    async def test_a_user_comes_back_with_what_its_customer_says(self) -> None:
        user_id = await self.ahmad(
            allowed_smsc=["SMSC1"], allowed_sender_ids=["MyCompany", "9627*"], allowed_ips=["192.168.1.0/24", "::1"],
            max_tps=50, max_msg_per_day=0, role="ADMIN", bind_type="SMPP", dlr_callback_url="https://x/y",
            smpp_alphabet="latin1", smart_encoding=True, max_parts=4, receipts="message",
        )  # fmt: skip
        found = await self.accounts.by_username("ahmad")
        assert found is not None
        self.assertEqual(
            found.account,
            Account(
                user_id, "ahmad", found.account.customer_id, role="ADMIN", bind_type="SMPP", max_tps=50,
                max_msg_per_day=0, allowed_smsc=("SMSC1",), allowed_sender_ids=("MyCompany", "9627*"),
                allowed_ips=(ip_network("192.168.1.0/24"), ip_network("::1")), timezone="Asia/Amman",
                currency="JOD", credit_limit=Decimal(50000), smpp_alphabet="latin1", smart_encoding=True, max_parts=4, receipts="message",
                dlr_callback_url="https://x/y",
            ),
        )  # fmt: skip
        self.assertEqual((found.password_hash, found.dlr_callback_url, found.customer_name),
                         ("hash", "https://x/y", "Demo"))  # fmt: skip
        self.assertEqual(await self.accounts.by_user_id(user_id), found)
        self.assertEqual(await self.accounts.by_user_ids([user_id, 999]), [found])
        self.assertEqual(await self.accounts.users(), [found])
        self.assertEqual(await self.accounts.users("Other"), [])

    async def test_defaults_are_the_specifications(self) -> None:
        await self.ahmad()
        found = await self.accounts.by_username("ahmad")
        assert found is not None
        account = found.account
        self.assertEqual(
            (account.max_msg_per_day, account.bind_type, account.role), (500_000, "BOTH", "SENDER")
        )
        self.assertTrue(account.active and account.may_smpp and account.may_http and account.can_use_api_bulk)
        self.assertEqual(
            (account.allowed_ips, account.allowed_smsc, account.allowed_sender_ids), ((), (), ())
        )

    async def test_nobody(self) -> None:
        for name in ("nobody", "", "a\0b", "\udcff", "' OR 1=1"):
            self.assertIsNone(await self.accounts.by_username(name))
        self.assertIsNone(await self.accounts.by_api_key_hash(KEY))
        self.assertIsNone(await self.accounts.by_user_id(1))

    async def test_names_are_taken_once(self) -> None:
        await self.ahmad()
        with self.assertRaises(NameTaken):
            await self.accounts.create_customer("Demo")
        with self.assertRaises(NameTaken):
            await self.accounts.create_user("ahmad", "Demo", "h")
        with self.assertRaises(NoSuchCustomer):
            await self.accounts.create_user("sara", "Nobody", "h")
        await self.accounts.create_customer("Second")
        with self.assertRaises(NameTaken):
            await self.accounts.set_customer("Second", {"name": "Demo"})

    async def test_changes_are_audited_without_secrets(self) -> None:
        user_id = await self.ahmad()
        cli = Accounts(self.db, source="cli")
        self.assertTrue(await cli.set_user("ahmad", {"max_tps": 5, "password_hash": "new"}, actor=Actor(7)))
        self.assertTrue(await cli.set_api_key_hash(user_id, KEY))
        self.assertTrue(await cli.set_api_key_hash(user_id, None))
        self.assertFalse(await cli.set_user("nobody", {"max_tps": 5}))
        rows = await self.audit()
        self.assertEqual(
            [row[:3] for row in rows],
            [("CUSTOMER_ADD", None, None), ("USER_ADD", user_id, None), ("USER_SET", user_id, 7),
             ("API_KEY_NEW", user_id, None), ("API_KEY_REVOKE", user_id, None)],
        )  # fmt: skip
        changed = {"source": "cli", "username": "ahmad", "max_tps": 5, "password": "set", "before": {"max_tps": 0}}
        self.assertEqual(rows[2][3], changed)
        self.assertNotIn(KEY, repr(rows))

    async def test_api_key(self) -> None:
        user_id = await self.ahmad()
        await self.accounts.set_api_key_hash(user_id, KEY)
        found = await self.accounts.by_api_key_hash(KEY)
        assert found is not None
        self.assertEqual(found.account.user_id, user_id)
        [(made,)] = await self.db.query(
            "SELECT api_key_created_at > now() AT TIME ZONE 'UTC' - interval '1 minute' FROM users"
        )
        self.assertTrue(made)
        await self.accounts.set_api_key_hash(user_id, None)
        self.assertIsNone(await self.accounts.by_api_key_hash(KEY))
        self.assertFalse(await self.accounts.set_api_key_hash(999, KEY))

    async def test_changes_are_announced_but_logins_and_money_are_not(self) -> None:
        user_id = await self.ahmad()
        heard: list[str] = []
        ready: Deferred[None] = Deferred()
        done: Deferred[None] = Deferred()

        def listener(payload: str) -> None:
            heard.append(payload)
            if payload == "":
                ready.callback(None)
            if payload == "user:99":
                done.callback(None)

        self.db.listen("protei_accounts", listener)
        await ready
        await self.accounts.logged_in(user_id)
        await self.accounts.top_up("Demo", Decimal(5))
        await self.accounts.set_user("ahmad", {"max_tps": 5})
        await self.accounts.set_customer("Demo", {"status": "SUSPENDED"})
        await self.db.query("SELECT pg_notify('protei_accounts', 'user:99')")
        await done
        customer = (await self.accounts.customers())[0].customer_id
        self.assertEqual(heard, ["", f"user:{user_id}", f"customer:{customer}", "user:99"])

    async def test_money(self) -> None:
        await self.ahmad()
        self.assertEqual(await self.accounts.top_up("Demo", Decimal("-0.500001")), Decimal("24999.999999"))
        self.assertIsNone(await self.accounts.top_up("Nobody", Decimal(1)))
        [demo] = await self.accounts.customers()
        self.assertEqual((demo.name, demo.balance, demo.currency), ("Demo", Decimal("24999.999999"), "JOD"))

    async def test_a_customer_that_is_suspended_stops_its_users(self) -> None:
        await self.ahmad()
        self.assertTrue(await self.accounts.set_customer("Demo", {"status": "SUSPENDED"}))
        self.assertFalse(await self.accounts.set_customer("Nobody", {"status": "SUSPENDED"}))
        found = await self.accounts.by_username("ahmad")
        assert found is not None
        self.assertFalse(found.account.active)

    async def test_a_list_entry_written_by_hand_that_is_no_network_admits_nobody(self) -> None:
        await self.ahmad()
        await self.db.execute(
            """UPDATE users SET allowed_ips = '["office"]', allowed_smsc = NULL, can_use_http = NULL"""
        )
        found = await self.accounts.by_username("ahmad")
        assert found is not None
        self.assertEqual(len(found.account.allowed_ips), 1)
        self.assertEqual((found.account.allowed_smsc, found.account.can_use_http), ((), True))

    async def test_one_time_codes(self) -> None:
        user_id = await self.ahmad()
        use = self.accounts.use_totp_step
        self.assertEqual([await use(user_id, step) for step in (10, 10, 9, 11)], [True, False, False, True])
        await self.accounts.set_two_factor(user_id, "s" * 64, False)
        self.assertTrue(await use(user_id, 10))
        await self.accounts.set_two_factor(user_id, "s" * 64, True)
        self.assertFalse(await use(user_id, 10))
        found = await self.accounts.by_user_id(user_id)
        assert found is not None
        self.assertTrue(found.account.two_factor_enabled)
        self.assertEqual(found.two_factor_secret, "s" * 64)
