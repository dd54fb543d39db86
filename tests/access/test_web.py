"""Logins of the portal: passwords, one-time codes, tokens."""

from __future__ import annotations

import base64

import jwt
import pyotp
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.ports import NoSuchUser
from protei_bulk.access.results import AuthResult
from protei_bulk.access.secrets import derive
from protei_bulk.access.totp import TwoFactorSetup
from protei_bulk.access.web import AlreadyEnabled
from protei_bulk.model.account import Account
from tests.access.fakes import PASSWORD, Bench

AHMAD = Account(1, "ahmad", 7, bind_type="WEB_ONLY")


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench()
        self.auth = self.bench.auth
        self.bench.store.add(AHMAD)

    def login(
        self, password: str = PASSWORD, code: str | None = None, ip: str = "192.168.1.100"
    ) -> AuthResult:
        return self.successResultOf(
            self.auth.authenticate_web(
                db=None, username="ahmad", password=password, otp_code=code, ip_address=ip
            )
        )

    def verify(self, token: str | None) -> AuthResult:
        return self.successResultOf(self.auth.authenticate_token(None, str(token)))

    def refresh(self, token: str | None) -> AuthResult:
        return self.successResultOf(self.auth.refresh_token(None, str(token)))

    def advance(self, seconds: float) -> None:
        self.bench.clock.advance(seconds)


class Tokens(Case):
    def claims(self, **changes: object) -> dict[str, object]:
        token = str(self.login().token)
        claims = jwt.decode(token, options={"verify_signature": False})
        return {**claims, **changes}

    def signed(
        self, claims: dict[str, object], key: bytes | None = None, algorithm: str = "HS256"
    ) -> AuthResult:
        made = jwt.encode(claims, key or derive(b"s" * 32, "jwt"), algorithm=algorithm)
        return self.verify(made)

    def test_login_gives_a_token_of_a_quarter_of_an_hour(self) -> None:
        success, user, token, error = self.login()
        self.assertEqual((success, user, error), (True, AHMAD, None))
        self.assertEqual(self.verify(str(token)).user, AHMAD)
        self.advance(899)
        self.assertTrue(self.verify(str(token)).success)
        self.advance(1)
        self.assertEqual(self.verify(str(token)).code, "INVALID_TOKEN")

    def test_nothing_but_our_own(self) -> None:
        self.assertTrue(self.signed(self.claims()).success)
        for changes in (
            {"iss": "x"},
            {"aud": "x"},
            {"typ": "refresh"},
            {"exp": 1},
            {"sub": "2"},
            {"sid": "x"},
            {"jti": "x"},
        ):
            self.assertEqual(self.signed(self.claims(**changes)).code, "INVALID_TOKEN", changes)
        self.assertFalse(self.signed(self.claims(), key=b"another key of thirty-two octets").success)
        self.assertFalse(self.signed(self.claims(), algorithm="HS512", key=b"s" * 64).success)
        self.assertFalse(self.verify(jwt.encode(self.claims(), None, algorithm="none")).success)
        without = self.claims()
        del without["exp"]
        self.assertFalse(self.signed(without).success)
        for text in ("", "a.b.c", "\udcff", "x" * 10_000):
            self.assertEqual(self.verify(text).code, "INVALID_TOKEN")

    def test_wrong_password_and_suspended(self) -> None:
        self.assertEqual(self.login("wrong").error, "Invalid username or password")
        self.bench.store.change(1, status="SUSPENDED")
        self.bench.directory.changed("user:1")
        self.assertEqual(self.login().code, "SUSPENDED")

    def test_suspension_reaches_a_token(self) -> None:
        token = self.login().token
        self.assertTrue(self.verify(token).success)
        self.bench.store.change(1, status="SUSPENDED")
        self.bench.directory.changed("user:1")
        self.advance(0)
        self.assertEqual(self.verify(token).code, "SUSPENDED")

    def test_database_is_asked_every_half_minute(self) -> None:
        token = self.login().token
        for _ in range(5):
            self.assertTrue(self.verify(token).success)
        self.assertEqual(sum(kind == "session" for kind, _ in self.bench.store.asked), 1)
        self.advance(30)
        self.verify(token)
        self.assertEqual(sum(kind == "session" for kind, _ in self.bench.store.asked), 2)

    def test_logout(self) -> None:
        token = str(self.login().token)
        self.assertTrue(self.verify(token).success)
        self.assertTrue(self.successResultOf(self.auth.logout(None, token)))
        self.assertEqual(self.verify(token).code, "INVALID_TOKEN")
        self.assertEqual(self.refresh(token).code, "INVALID_TOKEN")
        self.assertFalse(self.successResultOf(self.auth.logout(None, token)))
        self.assertFalse(self.successResultOf(self.auth.logout(None, "nonsense")))

    def test_refresh_moves_on(self) -> None:
        old = self.login().token
        self.advance(600)
        new = self.refresh(old).token
        self.assertNotEqual(old, new)
        self.assertTrue(self.verify(new).success)
        self.assertTrue(self.verify(old).success)  # requests under way
        self.advance(11)
        self.assertFalse(self.verify(old).success)
        self.assertTrue(self.verify(new).success)

    def test_refresh_by_another_node_is_noticed(self) -> None:
        token = self.login().token
        self.assertTrue(self.verify(token).success)
        (session_id,) = self.bench.store.web
        claims = jwt.decode(str(token), options={"verify_signature": False})
        self.bench.store.rotate(session_id, str(claims["jti"]), "other")
        self.advance(1)
        self.assertTrue(self.signed({**claims, "jti": "other"}).success)

    def test_an_old_token_that_comes_again_ends_the_session(self) -> None:
        old = self.login().token
        new = self.refresh(old).token
        self.advance(11)
        self.assertFalse(self.refresh(old).success)
        self.assertFalse(self.verify(new).success)
        self.assertIn("TOKEN_REUSED", [e["action"] for e in self.bench.store.events])

    def test_two_refreshes_at_a_time(self) -> None:
        old = self.login().token
        new = self.refresh(old).token
        self.assertFalse(self.refresh(old).success)  # within the grace: refused, and no harm
        self.assertTrue(self.verify(new).success)

    def test_ten_failures_a_minute(self) -> None:
        for _ in range(10):
            self.assertEqual(self.login("wrong").code, "INVALID_CREDENTIALS")
        self.assertEqual(self.login().code, "TOO_MANY_ATTEMPTS")
        self.advance(60)
        self.assertTrue(self.login().success)


class TwoFactor(Case):
    def set_up(self) -> pyotp.TOTP:
        setup = self.successResultOf(self.auth.enable_2fa(None, 1))
        assert isinstance(setup, TwoFactorSetup)
        totp = pyotp.parse_uri(setup.uri)
        assert isinstance(totp, pyotp.TOTP)
        self.assertEqual((totp.secret, totp.name, totp.interval), (setup.secret, "ahmad", 30))
        return totp

    def code(self, totp: pyotp.TOTP, steps: int = 0) -> str:
        return totp.at(int(self.bench.clock.seconds()) + 30 * steps)

    def enabled(self) -> pyotp.TOTP:
        totp = self.set_up()
        self.assertTrue(self.successResultOf(self.auth.enable_2fa(None, 1, self.code(totp))))
        self.bench.directory.changed("user:1")
        self.advance(30)
        return totp

    def test_secret_is_sealed_and_not_in_force_before_a_code(self) -> None:
        totp = self.set_up()
        sealed = str(self.bench.store.users[1].two_factor_secret)
        self.assertEqual(len(sealed), 64)
        self.assertNotIn(base64.b32decode(totp.secret), base64.urlsafe_b64decode(sealed))
        self.assertTrue(self.login().success)
        self.assertFalse(self.successResultOf(self.auth.enable_2fa(None, 1, "000000")))
        self.assertTrue(self.login().success)

    def test_login_asks_for_the_code(self) -> None:
        totp = self.enabled()
        asked = self.login()
        self.assertEqual((asked.success, asked.code, asked.token), (False, "OTP_REQUIRED", None))
        self.assertEqual(self.login("wrong").code, "INVALID_CREDENTIALS")
        self.assertEqual(self.login(code="123").code, "INVALID_OTP")
        self.assertTrue(self.login(code=self.code(totp)).success)

    def test_each_code_once(self) -> None:
        totp = self.enabled()
        code = self.code(totp)
        self.assertTrue(self.login(code=code).success)
        self.assertEqual(self.login(code=code).code, "INVALID_OTP")
        self.assertEqual(self.login(code=self.code(totp, -1)).code, "INVALID_OTP")  # older than a used one
        self.assertTrue(self.login(code=self.code(totp, 1)).success)

    def test_a_clock_may_be_one_step_off(self) -> None:
        totp = self.enabled()
        self.advance(90)
        self.assertEqual(self.login(code=self.code(totp, -2)).code, "INVALID_OTP")
        self.assertEqual(self.login(code=self.code(totp, 2)).code, "INVALID_OTP")
        self.assertTrue(self.login(code=self.code(totp, -1)).success)

    def test_codes_cannot_be_guessed(self) -> None:
        self.enabled()
        codes = [self.login(code=f"{n:06}").code for n in range(12)]
        self.assertEqual(codes[10:], ["TOO_MANY_ATTEMPTS"] * 2)

    def test_codes_cannot_be_guessed_from_many_addresses(self) -> None:
        totp = self.enabled()
        for n in range(10):
            self.login(code="12345", ip=f"10.0.0.{n}")
        self.assertEqual(self.login(code=self.code(totp), ip="10.0.1.1").code, "TOO_MANY_ATTEMPTS")

    def test_not_twice_and_not_for_nobody(self) -> None:
        self.enabled()
        self.failureResultOf(self.auth.enable_2fa(None, 1), AlreadyEnabled)
        self.failureResultOf(self.auth.enable_2fa(None, 2), NoSuchUser)

    def test_switching_off_needs_a_code_or_an_administrator(self) -> None:
        totp = self.enabled()
        self.assertFalse(self.successResultOf(self.auth.disable_2fa(None, 1, "000000")))
        self.assertFalse(self.successResultOf(self.auth.disable_2fa(None, 1)))
        self.assertTrue(self.successResultOf(self.auth.disable_2fa(None, 1, self.code(totp))))
        self.bench.directory.changed("user:1")
        self.assertTrue(self.login().success)
        self.enabled()
        self.assertTrue(self.successResultOf(self.auth.disable_2fa(None, 1, actor_id=9)))
