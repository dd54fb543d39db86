"""Bad input of every kind, over real HTTP, to every route that could meet it: each a clear 4xx, none a 500.

A fault that is logged fails the test too: trial sees to that.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import orjson
from twisted.internet.defer import Deferred

from protei_bulk.channels.http.exchange import ANYBODY, KEY
from protei_bulk.channels.http.operations import OPERATIONS
from tests.channels.http.house import PASSWORD, Answer, HouseCase, Node
from tests.channels.http.walks import RECEIPT

NOT_JSON = (
    b"", b" ", b"{", b'{"a":1', b'{"a":1,}', b"[1,]", b"NaN", b'{"a": Infinity}', b"\xff\xfe", b'\xef\xbb\xbf{"a": 1}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\\ud800"}', b'{"a":"\\udc00\\ud800"}', b"{'a': 1}", b'{"a": 1} {"a": 1}', b'{"a": 01}', b"\0", b'{"a": "\0"}',
    b'{"a": "\\x"}',
    b"[" * 100_000, b'{"a":' * 5000, b"[" * 500 + b"]" * 500, b'{"a":' * 40 + b"1" + b"}" * 40,
    b'{"sender": "a", "sender": "b"}', b'{"username": "anna", "\\u0075sername": "root", "password": "x"}',
    b'{"a": {"b": [{"c": 1, "c": 1}]}}', b'{"limit": 9223372036854775808}', b'{"a": [-9223372036854775809]}', b'{"a": 1e999}',
    b'{"a": 123456789012345678901234567890}',
)  # fmt: skip
#: values that no field takes, or that only a text takes
NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 2**63 - 1, -(2**63), 1.5, 1e18, "", " ", "\0", "a\0b", "\u202e", "x" * 50_000, "' OR 1=1 --", "${jndi:ldap://x}",
    "{{7*7}}", "../../etc/passwd", "\r\nX-Injected: 1", "<script>", "%00", "\U0001f600", [], {}, [[]], {"a": {}}, [None], [1, "1", {}],
)  # fmt: skip


class BadInputCase(HouseCase):
    timeout = 300

    async def setUp(self) -> None:
        await super().setUp()
        self.token = await self.node.token("root")
        self.key = await self.node.auth.generate_api_key(None, self.ids["bill"])
        self.table = self.node.channel.resource.routes

    async def ask(self, route: Any, **values: Any) -> Answer:
        path = values.pop("path", route.path)
        ids = {"user_id": self.ids["anna"], "customer_id": self.customers["Beta"], "session_id": 1, "route_id": 1, "cost_id": 1, "id": 1}
        for name, value in ids.items():
            path = path.replace(f"{{{name}}}", str(value))
        path += values.pop("query", "")
        given = {} if route.auth == ANYBODY else {"key": self.key} if route.auth == KEY else {"token": self.token}
        return await self.call(route.method, path, **{**given, **values})

    def refused(self, answer: Answer, what: object, *codes: str) -> None:
        self.assertTrue(400 <= answer.status < 500, (what, answer.status, answer.json))
        self.assertEqual(answer.headers.getRawHeaders("content-type"), ["application/problem+json"], what)
        for member in ("type", "title", "status", "detail", "code"):
            self.assertTrue(answer.json[member], (what, answer.json))
        self.assertTrue(not codes or answer.code in codes, (what, answer.json))


class BodiesTest(BadInputCase):
    def with_body(self) -> list[Any]:
        return [route for route in self.table if OPERATIONS[route.name].body is not None and route.path != "/api/logout"]

    async def test_what_is_no_json(self) -> None:
        for route in self.with_body():
            optional = OPERATIONS[route.name].body_optional
            for data in NOT_JSON:
                if data or not optional:
                    answer = await self.ask(route, data=data)
                    self.refused(answer, (route.name, data[:40]), "MALFORMED_JSON")

    async def test_what_is_no_object_or_of_another_type(self) -> None:
        for route in self.with_body():
            for data in (b"null", b"true", b"1", b'"text"', b"[]", b"[{}]"):
                self.refused(await self.ask(route, data=data), (route.name, data), "INVALID_FIELD")
            for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "application/json; charset=utf-16", "x"):
                answer = await self.ask(route, data=b"{}", headers={"Content-Type": kind})
                self.refused(answer, (route.name, kind), "UNSUPPORTED_MEDIA_TYPE")
            answer = await self.ask(route, data=b"{}", headers={"Content-Encoding": "gzip"})
            self.refused(answer, route.name, "UNSUPPORTED_MEDIA_TYPE")

    async def test_nasty_values_in_every_field(self) -> None:
        """Either taken for what they are, or refused: never a fault."""
        good = {
            "POST /api/sendBulk": {"sender": "Beta", "recipients": [{"msisdn": "962788123456"}], "message": "Hello"},
            "POST /api/dlrCallback": RECEIPT,
            "POST /api/v1/users": {"username": "new", "password": "a good one"},
            "POST /api/v1/customers": {"name": "New"},
            "POST /api/v1/users/change-password": {"password": "Wrong@123", "new_password": "a good one"},
            "POST /api/v1/users/disable-2fa": {"password": "Wrong@123", "otp_code": "123456"},
        }
        for route in self.with_body():
            body = OPERATIONS[route.name].body or {}
            for name in body["properties"]:
                for value in NASTY:
                    answer = await self.ask(route, body={**good.get(route.name, {}), name: value})
                    self.assertLess(answer.status, 500, (route.name, name, value, answer.json))
                    self.assertNotIn("Traceback", repr(answer.json))

    async def test_nasty_values_of_a_recipient(self) -> None:
        [route] = [r for r in self.table if r.path == "/api/sendBulk"]
        for name in ("msisdn", "message", "variables"):
            for value in (*NASTY, {"N": "a\0b"}, {"\0": "x"}, {"N": [1]}, {"N": 1e308}, {"N" * 70: 1}):
                recipient = {"msisdn": "962788123456", "message": "Hello %N%", "variables": {"N": 1}, name: value}
                for body in ({"sender": "Beta", "recipients": [recipient]}, {"sender": "Beta", "recipients": [value]}):
                    answer = await self.ask(route, body=body)
                    self.assertLess(answer.status, 500, (name, value, answer.json))


class PathsTest(BadInputCase):
    async def test_queries(self) -> None:
        for route in self.table:
            for name in OPERATIONS[route.name].query:
                for value in ("", "%00", "%ff", "x" * 5000, "1&" + name + "=2", "-1", "1e5", "9223372036854775808", "%27", "[]",
                        "%F0%9F%98%80"):
                    answer = await self.ask(route, query=f"?{name}={value}")
                    self.assertLess(answer.status, 500, (route.name, name, value))
                    if value in ("%00", "%ff", "1&" + name + "=2"):
                        self.refused(answer, (route.name, name, value), "INVALID_FIELD")
            if OPERATIONS[route.name].query:
                self.refused(await self.ask(route, query="?nonsense=1"), route.name, "INVALID_FIELD")

    async def test_values_in_the_path(self) -> None:
        for route in self.table:
            if "{" not in route.path:
                continue
            before, _, rest = route.path.partition("{")
            after = rest.partition("}")[2]
            for value in ("0", "-1", "x", "%00", "%ff", "1.5", "9223372036854775807", "9223372036854775808", "9" * 100, "1%2F2",
                    "..", "%F0%9F%98%80",
                          "x" * 3000, "' OR 1=1", "+1", "%2e%2e", "1;2", "\u0661"):  # fmt: skip
                path = before + value.replace(" ", "%20").replace("\u0661", "%D9%A1") + after
                answer = await self.ask(route, path=path, body={"amount": 1} if "top-up" in path else None)
                self.refused(answer, (route.name, value))

    async def test_methods(self) -> None:
        for method in ("PUT", "TRACE", "OPTIONS", "PATCH", "DELETE", "BREW"):
            answer = await self.call(method, "/api/getBalance", key=self.key)
            self.refused(answer, method, "METHOD_NOT_ALLOWED")
            self.assertIn("GET", answer.headers.getRawHeaders("allow")[0])


class TokensTest(BadInputCase):
    """RFC 8725, over HTTP."""

    async def signed(self, head: dict[str, Any] | None = None, key: bytes | str | None = None, algorithm: str = "HS256",
            **claims: Any) -> str:
        signing = await Deferred.fromCoroutine(self.node.auth._keys.signing())
        body = jwt.decode(self.token, options={"verify_signature": False})
        body.update(claims)
        body = {name: value for name, value in body.items() if value is not ...}
        heads = {"kid": signing.kid, "typ": "at+jwt", **(head or {})}
        return jwt.encode(body, key if key is not None else signing.secret, algorithm=algorithm, headers=heads)

    async def status(self, token: str) -> Answer:
        return await self.call("GET", "/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})

    async def test_a_good_one_is_good(self) -> None:
        self.assertEqual((await self.status(await self.signed())).status, 200)

    async def test_confused_algorithms_and_none(self) -> None:
        signing = await Deferred.fromCoroutine(self.node.auth._keys.signing())
        for algorithm, key in (("HS384", signing.secret * 2), ("HS512", signing.secret * 2), ("HS256", b"\0" * 32), ("HS256", b"k" * 32)):
            self.refused(await self.status(await self.signed(key=key, algorithm=algorithm)), algorithm, "INVALID_TOKEN")
        _, claims, mark = (await self.signed()).split(".")
        for alg in ("none", "None", "nOnE", "HS512", "RS256", "ES256", "PS256", "EdDSA", "HS1", "", None, 5, ["HS256"], "hs256"):
            head = base64.urlsafe_b64encode(json.dumps({"alg": alg, "typ": "at+jwt", "kid": signing.kid}).encode()).rstrip(b"=").decode()
            for end in ("", mark):
                self.refused(await self.status(f"{head}.{claims}.{end}"), (alg, end), "INVALID_TOKEN")
        for head in ({"kid": "nobody"}, {"kid": "../../dev/null"}, {"kid": "' OR 1=1"}, {"jwk": {"kty": "oct", "k": "AAAA"}, "kid": "x"},
                     {"jku": "http://127.0.0.1/", "kid": "x"}, {"typ": "JWT"}, {"typ": "rt+jwt"}):  # fmt: skip
            self.refused(await self.status(await self.signed(head)), head, "INVALID_TOKEN")

    async def test_times_parties_and_types(self) -> None:
        now = int(self.node.wall.seconds())
        for claims in (
            {"exp": now - 1}, {"exp": 0}, {"exp": -1}, {"exp": "9999999999"}, {"exp": 1e300}, {"exp": ...}, {"nbf": now + 60},
            {"nbf": ...},
            {"iat": now + 60}, {"iat": "now"}, {"aud": "protei-bulk"}, {"aud": ["x"]}, {"aud": ...}, {"iss": "https://evil"},
            {"iss": ...},
            {"typ": "refresh"}, {"typ": ...}, {"sub": str(self.ids["anna"])}, {"sub": "x"}, {"sub": ...}, {"sid": "x"}, {"sid": ...},
            {"jti": "x"}, {"jti": ...}, {"sub": str(2**70)}, {"sid": "\0"}, {"sid": "x" * 500},
        ):  # fmt: skip
            self.refused(await self.status(await self.signed(**claims)), claims, "INVALID_TOKEN")

    async def test_tampered_cut_and_nonsense(self) -> None:
        head, claims, mark = self.token.split(".")
        other = base64.urlsafe_b64encode(orjson.dumps({"sub": "1"})).rstrip(b"=").decode()
        for token in (
            f"{head}.{other}.{mark}", f"{head}.{claims}.{mark[:-1]}", f"{head}.{claims}.{mark}A", f"{head}.{claims}",
            f"{head}..{mark}", ".",
            "..", "...", "a.b.c", "x" * 5000, "e30.e30.e30", self.token + "." + mark, f"{claims}.{head}.{mark}", "\u00e9",
            "bnVsbA.e30.", "W10.e30.",
        ):  # fmt: skip
            self.refused(await self.status(token), token[:40], "INVALID_TOKEN")
        for header in ("Bearer", "Bearer ", "Basic", "Basic x", "Digest a", f"bearer{self.token}", f"Token {self.token}", ""):
            answer = await self.call("GET", "/api/v1/users/me", headers={"Authorization": header})
            self.refused(answer, header, "INVALID_TOKEN")
            self.assertIn("Bearer", answer.headers.getRawHeaders("www-authenticate")[0])

    async def test_a_refresh_token_as_access_and_twice(self) -> None:
        login = (await self.login("anna")).json
        self.refused(await self.status(login["refresh_token"]), "refresh as access", "INVALID_TOKEN")
        self.assertEqual((await self.call("POST", "/api/refresh", {"refresh_token": login["refresh_token"]})).status, 200)
        again = await self.call("POST", "/api/refresh", {"refresh_token": login["refresh_token"]})
        self.refused(again, "refresh twice", "INVALID_TOKEN")
        for body in ({"refresh_token": ""}, {"refresh_token": 5}, {"refresh_token": "x" * 3000}, {"refresh_token": None}, {"token": "x"}):
            self.refused(await self.call("POST", "/api/refresh", body), body)

    async def test_another_nodes_secret(self) -> None:
        stranger = Node(self, b"z" * 32)
        self.refused(await self.status(await stranger.token("anna")), "stranger", "INVALID_TOKEN")


class CredentialsTest(BadInputCase):
    async def test_a_code_twice(self) -> None:
        token = await self.node.token("anna")
        secret = (await self.call("POST", "/api/v1/users/enable-2fa", token=token)).json["secret"]
        code = self.code(secret, -1)
        self.assertEqual((await self.call("POST", "/api/v1/users/enable-2fa", {"otp_code": code}, token=token)).status, 200)
        await self.heard()
        for again in (code, self.code(secret, -2), "000000", "12345", "1234567", "abcdef", " ", "\u0661\u0662\u0663\u0664\u0665\u0666"):
            answer = await self.login("anna", otp_code=again)
            self.refused(answer, again, "INVALID_OTP", "TOO_MANY_ATTEMPTS")

    async def test_api_keys(self) -> None:
        for key in (self.key.upper(), self.key[:-1], self.key + "a", self.key[::-1], "x" * 48, " ", "\u00e9" * 48, "x" * 5000,
                "null", f'"{self.key}"'):
            answer = await self.call("GET", "/api/getBalance", headers={"Authorization": f"Bearer {key}"})
            self.refused(answer, key[:50], "INVALID_CREDENTIALS")

    async def test_basic(self) -> None:
        for raw in (b"bill", b"bill:", b":", b":x", b"bill:\xff", b"bill\0:x", b"b" * 5000 + b":x", b"bill:" + b"x" * 6000,
                PASSWORD.encode()):
            header = "Basic " + base64.b64encode(raw).decode()
            self.refused(await self.call("GET", "/api/getBalance", headers={"Authorization": header}), raw[:20], "INVALID_CREDENTIALS",
                         "TOO_MANY_ATTEMPTS")  # fmt: skip
        for header in ("Basic", "Basic !", "Basic ====", "Basic YQ"):
            self.refused(await self.call("GET", "/api/getBalance", headers={"Authorization": header}), header, "INVALID_CREDENTIALS")

    async def test_logins(self) -> None:
        for body in (
            {"username": "\0", "password": "x"}, {"username": "anna\0", "password": PASSWORD}, {"username": "anna", "password": "\0"},
            {"username": "anna", "password": "x" * 1025}, {"username": "x" * 101, "password": "x"}, {"username": "anna"},
            {"password": "x"},
            {"username": ["anna"], "password": PASSWORD}, {"username": "anna", "password": {"$ne": ""}},
            {"username": "' OR 1=1 --", "password": "x"},
            {"username": "ANNA", "password": PASSWORD}, {"username": "anna ", "password": PASSWORD}, {"username": "anna",
            "password": PASSWORD.lower()},
            {"username": "anna", "password": PASSWORD, "role": "ADMIN"}, {"username": "anna", "password": PASSWORD, "otp_code": 123456},
        ):  # fmt: skip
            self.refused(await self.call("POST", "/api/login", body), body)
