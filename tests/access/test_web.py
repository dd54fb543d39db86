"""Logins of the portal: passwords, one-time codes, tokens."""

from __future__ import annotations

import base64
import contextlib
import json

import jwt
import pyotp
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.ports import Actor, NoSuchUser
from protei_bulk.access.results import AuthResult
from protei_bulk.access.totp import TwoFactorSetup
from protei_bulk.access.two_factor import AlreadyEnabled
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


def body(token: str | None) -> dict[str, object]:
    return dict(jwt.decode(str(token), options={"verify_signature": False}))


class Tokens(Case):
    def claims(self, **changes: object) -> dict[str, object]:
        return {**body(self.login().token), **changes}

    def signed(
        self, claims: dict[str, object], key: bytes | None = None, algorithm: str = "HS256", **head: object
    ) -> AuthResult:
        signing = self.successResultOf(Deferred.fromCoroutine(self.auth._keys.signing()))
        headers = {"kid": signing.kid, "typ": "at+jwt", **head}
        return self.verify(jwt.encode(claims, key or signing.secret, algorithm=algorithm, headers=headers))

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
            {"aud": "protei-bulk-refresh"},
            {"typ": "refresh"},
            {"exp": 1},
            {"exp": "soon"},
            {"exp": float("inf")},
            {"nbf": self.bench.clock.seconds() + 60},
            {"iat": self.bench.clock.seconds() + 60},
            {"sub": "2"},
            {"sub": "one"},
            {"sid": "x"},
            {"jti": "x"},
            {"jti": "x.access"},
        ):
            self.assertEqual(self.signed(self.claims(**changes)).code, "INVALID_TOKEN", changes)
        for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "sid", "jti", "typ"):
            without = self.claims()
            del without[name]
            self.assertEqual(self.signed(without).code, "INVALID_TOKEN", name)
        for text in ("", "a.b.c", "\udcff", "x" * 10_000, "e30.e30.e30"):
            self.assertEqual(self.verify(text).code, "INVALID_TOKEN")

    def test_one_algorithm_and_our_keys_alone(self) -> None:
        self.assertFalse(self.signed(self.claims(), key=b"another key of thirty-two octets").success)
        self.assertFalse(self.signed(self.claims(), algorithm="HS512", key=b"s" * 64).success)
        for name in ("none", "None", "NONE"):
            made = jwt.encode(self.claims(), None, algorithm="none", headers={"typ": "at+jwt", "kid": "x"})
            head = base64.urlsafe_b64encode(f'{{"alg":"{name}","typ":"at+jwt","kid":"x"}}'.encode()).rstrip(b"=").decode()
            self.assertFalse(self.verify(made).success)
            self.assertFalse(self.verify(".".join([head, *made.split(".")[1:]])).success)
        for head in ({"kid": "x"}, {"kid": None}, {"kid": 5}, {"typ": "JWT"}, {"typ": "rt+jwt"}, {"crit": ["exp"]}):
            with contextlib.suppress(jwt.PyJWTError):
                self.assertEqual(self.signed(self.claims(), **head).code, "INVALID_TOKEN", head)

    def test_what_was_tampered_with(self) -> None:
        token = str(self.login().token)
        head, claims, mark = token.split(".")
        other = base64.urlsafe_b64encode(json.dumps({**body(token), "sub": "2"}).encode()).rstrip(b"=").decode()
        for changed in (f"{head}.{other}.{mark}", f"{head}.{claims}.", f"{head}.{claims}.{mark[:-2]}", token + "A", token[1:]):
            self.assertEqual(self.verify(changed).code, "INVALID_TOKEN", changed)
        self.assertTrue(self.verify(token).success)

    def test_a_refresh_token_opens_nothing_but_refresh(self) -> None:
        login = self.login()
        self.assertEqual(self.verify(login.refresh_token).code, "INVALID_TOKEN")
        new = self.refresh(login.refresh_token)
        self.assertTrue(self.verify(new.token).success)

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
        old = self.login()
        self.advance(600)
        new = self.refresh(old.refresh_token)
        self.assertNotIn(new.token, (old.token, None))
        self.assertNotIn(new.refresh_token, (old.refresh_token, None))
        self.assertTrue(self.verify(new.token).success)
        self.assertTrue(self.verify(old.token).success)  # requests under way
        self.advance(11)
        self.assertFalse(self.verify(old.token).success)
        self.assertTrue(self.verify(new.token).success)

    def test_the_specifications_way_is_to_refresh_the_token_itself(self) -> None:
        new = self.refresh(self.login().token)
        self.assertTrue(self.verify(new.token).success)

    def test_a_session_ends_after_half_an_hour_of_silence_or_half_a_day(self) -> None:
        login = self.login()
        self.advance(1800)
        self.assertEqual(self.refresh(login.refresh_token).code, "INVALID_TOKEN")
        login = self.login()
        for _ in range(28):
            self.advance(1500)
            login = self.refresh(login.refresh_token)
        self.assertEqual(login.seconds, 900)
        self.advance(900)
        login = self.refresh(login.refresh_token)
        self.assertEqual(login.seconds, 300)  # what is left of twelve hours
        self.advance(300)
        self.assertEqual(self.refresh(login.refresh_token).code, "INVALID_TOKEN")

    def test_refresh_by_another_node_is_noticed(self) -> None:
        token = self.login().token
        self.assertTrue(self.verify(token).success)
        claims = body(token)
        self.bench.store.rotate(str(claims["sid"]), str(claims["jti"]).partition(".")[0], "other")
        self.advance(1)
        self.assertTrue(self.signed({**claims, "jti": "other.access"}).success)

    def test_an_old_token_that_comes_again_ends_the_session(self) -> None:
        for again in ("token", "refresh_token"):
            old = self.login()
            new = self.refresh(old.refresh_token)
            self.advance(11)
            self.assertFalse(self.refresh(getattr(old, again)).success)
            self.assertFalse(self.verify(new.token).success)
            self.assertFalse(self.refresh(new.refresh_token).success)
            self.assertEqual("TOKEN_REUSED", self.bench.store.events[-1]["action"])

    def test_two_refreshes_at_a_time(self) -> None:
        old = self.login().refresh_token
        new = self.refresh(old)
        self.assertFalse(self.refresh(old).success)  # within the grace: refused, and no harm
        self.assertTrue(self.verify(new.token).success)

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
        self.codes = self.successResultOf(self.auth.enable_2fa(None, 1, self.code(totp)))
        assert isinstance(self.codes, list)
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
        totp = self.enabled()
        codes = [self.login(code=f"{n:06}", ip=f"10.0.0.{n}").code for n in range(7)]
        self.assertEqual(codes, ["INVALID_OTP"] * 5 + ["TOO_MANY_ATTEMPTS"] * 2)
        late = self.login(code=self.code(totp), ip="10.0.1.1")
        self.assertEqual((late.code, late.retry_after), ("TOO_MANY_ATTEMPTS", 1.0))
        tried = 0
        for _ in range(24 * 60):
            self.advance(60)
            tried += self.login(code="12345", ip="10.0.1.2").code == "INVALID_OTP"
        self.assertLess(tried, 110)  # a day of it

    def test_recovery_codes(self) -> None:
        self.enabled()
        codes = self.codes
        self.assertEqual((len(codes), len(set(codes))), (10, 10))
        self.assertRegex(codes[0], r"^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$")
        self.assertNotIn(codes[0].replace("-", ""), repr(self.bench.store.recovery))
        self.assertTrue(self.login(code=codes[0].lower().replace("-", " ")).success)
        self.assertEqual(self.login(code=codes[0]).code, "INVALID_OTP")
        self.assertTrue(self.login(code=codes[1]).success)
        self.assertEqual(self.login(code="0000-0000-0000-0000").code, "INVALID_OTP")

    def test_new_recovery_codes_end_the_old(self) -> None:
        totp = self.enabled()
        renew = self.auth.new_recovery_codes
        self.assertEqual(self.successResultOf(renew(None, 1, "000000")), [])
        self.assertEqual(self.successResultOf(renew(None, 1, self.codes[0])), [])  # one of them makes no ten
        new = self.successResultOf(renew(None, 1, self.code(totp)))
        self.assertEqual(self.login(code=self.codes[1]).code, "INVALID_OTP")
        self.assertTrue(self.login(code=new[1]).success)

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
        self.assertTrue(self.successResultOf(self.auth.disable_2fa(None, 1, actor=Actor(9))))
