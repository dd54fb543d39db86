"""The specification's authentication functions, over a store in memory."""

from __future__ import annotations

import re
from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.passwords import cost_of
from protei_bulk.access.ports import NoSuchUser, Usage
from protei_bulk.access.proof import api_key_hash
from protei_bulk.access.results import AuthResult
from protei_bulk.access.service import new_api_key
from protei_bulk.access.unified_auth_service import unified_auth_service
from protei_bulk.model.account import Account
from tests.access.fakes import COST, PASSWORD, Bench

AHMAD = Account(1, "ahmad", 7, allowed_sender_ids=("MyCompany",))


class Smpp(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench()
        self.store = self.bench.store
        self.store.add(AHMAD)

    def bind(
        self, password: str = PASSWORD, system_id: str = "ahmad", ip: str = "192.168.1.200"
    ) -> AuthResult:
        return self.successResultOf(
            self.bench.auth.authenticate_smpp(
                db=None, system_id=system_id, password=password, bind_type="TRANSCEIVER", remote_ip=ip,
                remote_port=54321,
            )
        )  # fmt: skip

    def test_unpacks_as_the_specification_has_it(self) -> None:
        success, user, session_token, error = self.bind()
        self.assertEqual((success, user, error), (True, AHMAD, None))
        self.assertRegex(str(session_token), r"^[0-9a-f]{64}$")
        self.assertEqual(
            self.store.sessions[str(session_token)],
            {"user_id": 1, "system_id": "ahmad", "bind_type": "TRANSCEIVER", "remote_ip": "192.168.1.200",
             "remote_port": 54321, "max_binds": 0},
        )  # fmt: skip

    def test_strangers_and_wrong_passwords_look_alike(self) -> None:
        wrong, stranger = self.bind("nonsense!"), self.bind(system_id="nobody")
        self.assertEqual((wrong.code, wrong.error), ("INVALID_CREDENTIALS", stranger.error))
        self.assertEqual(stranger.code, wrong.code)
        self.assertEqual(self.bench.threads.count, 2)  # the stranger cost a check too
        self.assertEqual(self.store.sessions, {})

    def test_a_bind_has_room_for_eight_octets_of_password(self) -> None:
        self.assertTrue(self.bind("Password").success)
        for short in ("Passwor", "Password@", "Passw0rd", "password"):
            self.assertEqual(self.bind(short).code, "INVALID_CREDENTIALS", short)

    def test_elsewhere_eight_octets_are_not_enough(self) -> None:
        basic = self.successResultOf(self.bench.auth.authenticate_basic_auth(None, "ahmad", "Password", "192.168.1.1"))
        self.assertEqual(basic.code, "INVALID_CREDENTIALS")

    def test_reasons_once_the_password_was_right(self) -> None:
        for fields, code in (
            ({"status": "SUSPENDED"}, "SUSPENDED"),
            ({"customer_status": "SUSPENDED"}, "SUSPENDED"),
            ({"can_use_smpp": False}, "NOT_PERMITTED"),
            ({"bind_type": "HTTP"}, "NOT_PERMITTED"),
            ({"bind_type": "WEB_ONLY"}, "NOT_PERMITTED"),
            ({"allowed_ips": (ip_network("10.0.0.0/8"),)}, "IP_NOT_ALLOWED"),
        ):
            self.setUp()
            self.store.change(1, **fields)
            self.assertEqual(self.bind().code, code, fields)
            self.assertEqual(self.bind("wrong").code, "INVALID_CREDENTIALS")

    def test_address_in_a_network_or_mapped_into_ipv6(self) -> None:
        self.store.change(1, allowed_ips=(ip_network("192.168.1.0/24"),))
        self.assertTrue(self.bind().success)
        self.assertTrue(self.bind(ip="::ffff:192.168.1.7").success)
        self.assertFalse(self.bind(ip="not an address").success)

    def test_five_failures_a_minute(self) -> None:
        for _ in range(5):
            self.assertEqual(self.bind("wrong").code, "INVALID_CREDENTIALS")
        self.assertEqual(self.bind().code, "TOO_MANY_ATTEMPTS")
        self.assertTrue(self.bind(ip="192.168.1.201").success)  # counted by address
        self.bench.clock.advance(60)
        self.assertTrue(self.bind().success)

    def test_any_number_of_successes(self) -> None:
        for _ in range(100):
            self.assertTrue(self.bind().success)
        self.assertEqual(self.bench.threads.count, 1)

    def test_a_burst_of_guesses_does_not_slip_through(self) -> None:
        self.bench.threads.held = True
        bind = self.bench.auth.authenticate_smpp
        tries = [bind(None, "ahmad", f"guess {n}", remote_ip="10.0.0.1") for n in range(20)]
        self.bench.threads.release()
        codes = [self.successResultOf(t).code for t in tries]
        self.assertEqual(codes.count("INVALID_CREDENTIALS"), 5)
        self.assertEqual(codes.count("TOO_MANY_ATTEMPTS"), 15)

    def test_a_storm_of_binds_is_one_check(self) -> None:
        self.bench.threads.held = True
        bind = self.bench.auth.authenticate_smpp
        binds = [bind(None, "ahmad", PASSWORD, remote_ip="10.0.0.1") for _ in range(50)]
        self.bench.threads.release()
        tokens = {self.successResultOf(b).token for b in binds}
        self.assertEqual((len(tokens), self.bench.threads.count), (50, 1))
        self.assertEqual(self.store.asked, [("name", "ahmad")])

    def test_limit_can_be_off(self) -> None:
        self.bench = Bench(bind_attempts=0)
        for _ in range(30):
            self.assertEqual(self.bind("wrong").code, "INVALID_CREDENTIALS")

    def test_every_attempt_is_audited_and_no_password_is(self) -> None:
        self.bind()
        self.bind("Secret?")
        self.assertEqual([(e["action"], e["success"]) for e in self.store.events],
                         [("BIND_SMPP", True), ("BIND_SMPP", False)])  # fmt: skip
        self.assertNotIn("Secret?", repr(self.store.events))

    def test_database_trouble_is_no_refusal(self) -> None:
        self.store.failing = OSError("away")
        self.failureResultOf(self.bench.auth.authenticate_smpp(None, "ahmad", PASSWORD), OSError)
        self.store.failing = None
        self.assertTrue(self.bind().success)

    def test_unknown_bind_type(self) -> None:
        with self.assertRaises(ValueError):
            self.bench.auth.authenticate_smpp(None, "ahmad", PASSWORD, bind_type="BOTH")

    def test_disconnect(self) -> None:
        token = self.bind().token
        self.assertTrue(self.successResultOf(self.bench.auth.disconnect_smpp(None, session_token=str(token))))
        self.assertFalse(
            self.successResultOf(self.bench.auth.disconnect_smpp(None, session_token=str(token)))
        )


class Http(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench()
        self.store = self.bench.store
        self.store.add(AHMAD)

    def key(self, key: str, ip: str = "10.0.0.1") -> AuthResult:
        return self.successResultOf(self.bench.auth.authenticate_api_key(None, key, ip))

    def basic(self, password: str = PASSWORD, name: str = "ahmad", ip: str = "10.0.0.1") -> AuthResult:
        return self.successResultOf(self.bench.auth.authenticate_basic_auth(None, name, password, ip))

    def test_generated_key_works_and_is_stored_as_a_hash(self) -> None:
        key = self.successResultOf(self.bench.auth.generate_api_key(None, user_id=1))
        self.assertRegex(key, r"^[a-z0-9]{48}$")
        self.assertEqual(self.store.users[1].api_key_hash, api_key_hash(key))
        self.assertEqual(len(api_key_hash(key)), 64)
        self.assertEqual(self.key(key).user, AHMAD)

    def test_key_of_nobody(self) -> None:
        self.failureResultOf(self.bench.auth.generate_api_key(None, user_id=99), NoSuchUser)

    def test_no_statement_for_a_key_that_is_known(self) -> None:
        key = self.successResultOf(self.bench.auth.generate_api_key(None, 1))
        for _ in range(10):
            self.assertTrue(self.key(key).success)
        self.assertEqual(len(self.store.asked), 1)
        self.bench.clock.advance(301)
        self.assertTrue(self.key(key).success)
        self.assertEqual(len(self.store.asked), 2)

    def test_revoked_key_ends_with_the_notification(self) -> None:
        key = self.successResultOf(self.bench.auth.generate_api_key(None, 1))
        self.assertTrue(self.key(key).success)
        self.successResultOf(self.bench.auth.revoke_api_key(None, 1))
        self.bench.directory.changed("user:1")
        self.assertEqual(
            self.key(key), AuthResult(False, None, None, "Invalid API key", "INVALID_CREDENTIALS")
        )

    def test_unknown_key_is_asked_for_once_and_works_as_soon_as_it_is_made(self) -> None:
        key = "a" * 48
        self.assertFalse(self.key(key).success)
        self.assertFalse(self.key(key).success)
        self.assertEqual(len(self.store.asked), 1)
        self.store.set_api_key_hash(1, api_key_hash(key))
        self.bench.directory.changed("user:1")
        self.assertTrue(self.key(key).success)

    def test_empty_key(self) -> None:
        self.assertEqual(self.key("").code, "INVALID_CREDENTIALS")

    def test_permissions_and_addresses(self) -> None:
        key = self.successResultOf(self.bench.auth.generate_api_key(None, 1))
        for fields, code in (
            ({"can_use_http": False}, "NOT_PERMITTED"),
            ({"can_use_http": True, "bind_type": "SMPP"}, "NOT_PERMITTED"),
            ({"bind_type": "HTTP", "allowed_ips": (ip_network("10.0.0.9/32"),)}, "IP_NOT_ALLOWED"),
            ({"allowed_ips": (), "status": "SUSPENDED"}, "SUSPENDED"),
        ):
            self.store.change(1, **fields)
            self.bench.directory.changed("user:1")
            self.assertEqual((self.key(key).code, self.basic().code), (code, code))

    def test_basic_is_one_check_then_memory(self) -> None:
        for _ in range(10):
            self.assertEqual(self.basic().user, AHMAD)
        self.assertEqual((self.bench.threads.count, len(self.store.asked)), (1, 1))
        self.assertEqual(len(self.store.events), 1)  # the rest is in tbl_api_requests

    def test_changed_password_ends_the_old_one(self) -> None:
        self.assertTrue(self.basic().success)
        self.store.add(AHMAD, "another")
        self.bench.directory.changed("user:1")
        self.assertFalse(self.basic().success)
        self.assertTrue(self.basic("another").success)

    def test_change_during_the_check_is_not_remembered(self) -> None:
        self.bench.threads.held = True
        first = self.bench.auth.authenticate_basic_auth(None, "ahmad", PASSWORD, "10.0.0.1")
        self.store.add(AHMAD, "another")
        self.bench.directory.changed("user:1")
        second = self.bench.auth.authenticate_basic_auth(None, "ahmad", PASSWORD, "10.0.0.1")
        self.bench.threads.release()
        self.assertTrue(self.successResultOf(first).success)  # it was right when it was read
        self.assertFalse(self.successResultOf(second).success)
        self.assertFalse(self.basic().success)

    def test_passwords_that_bcrypt_would_cut_off(self) -> None:
        long = "x" * 72
        self.store.add(AHMAD, long + "a")
        self.bench.directory.changed("")
        self.assertFalse(self.basic(long + "b").success)
        self.assertTrue(self.basic(long + "a").success)
        self.assertFalse(self.basic("\udcff\0" * 9).success)
        self.assertFalse(self.basic("y" * 5000).success)

    def test_a_cost_that_has_risen(self) -> None:
        old = self.store.users[1].password_hash
        self.bench.auth._passwords.cost = COST + 1
        self.assertFalse(self.basic("wrong password").success)
        self.assertEqual(self.store.users[1].password_hash, old)
        self.assertTrue(self.basic().success)
        new = self.store.users[1]
        self.assertEqual((cost_of(new.password_hash), cost_of(str(new.smpp_password_hash))), (COST + 1, COST + 1))
        self.bench.directory.changed("user:1")
        self.assertTrue(self.basic().success)
        self.assertEqual(self.store.users[1], new)

    def test_usage_is_the_dictionary_of_the_specification(self) -> None:
        self.store.usage[1] = Usage(12500, 12400, 100, 500000)
        self.assertEqual(
            self.successResultOf(self.bench.auth.get_daily_usage(None, 1)),
            {
                "messages_sent": 12500, "messages_delivered": 12400, "messages_failed": 100,
                "max_messages": 500000, "remaining": 487500, "percentage_used": 2.5,
            },
        )  # fmt: skip
        self.failureResultOf(self.bench.auth.get_daily_usage(None, 2), NoSuchUser)

    def test_usage_without_limit(self) -> None:
        self.store.usage[1] = Usage(5, 0, 0, 0)
        usage = self.successResultOf(self.bench.auth.get_daily_usage(None, 1))
        self.assertEqual((usage["remaining"], usage["percentage_used"]), (None, 0.0))


class Keys(SynchronousTestCase):
    def test_form_and_difference(self) -> None:
        keys = {new_api_key() for _ in range(200)}
        self.assertEqual(len(keys), 200)
        self.assertTrue(all(re.fullmatch("[a-z0-9]{48}", key) for key in keys))


class AsTheSpecificationImportsIt(SynchronousTestCase):
    def test_examples(self) -> None:
        """Specification, section 11, example 1, and section 12."""
        bench = Bench()
        bench.store.add(AHMAD)
        with self.assertRaises(RuntimeError):
            unified_auth_service.generate_api_key(None, user_id=1)
        unified_auth_service.install(bench.auth)
        self.addCleanup(unified_auth_service.install, None)
        db = None
        api_key = self.successResultOf(unified_auth_service.generate_api_key(db, user_id=1))
        self.assertEqual(len(api_key), 48)
        self.assertFalse(self.successResultOf(unified_auth_service.disconnect_smpp(db, session_token="abc123...")))
        bench.store.usage[1] = Usage(1, 0, 0, 10)
        self.assertEqual(self.successResultOf(unified_auth_service.get_daily_usage(db, 1))["remaining"], 9)
        success, user, jwt_token, error = self.successResultOf(
            unified_auth_service.authenticate_web(
                db=db, username="ahmad", password=PASSWORD, otp_code="123456", ip_address="192.168.1.100"
            )
        )
        self.assertEqual((success, user, error), (True, AHMAD, None))
        self.assertTrue(jwt_token)
