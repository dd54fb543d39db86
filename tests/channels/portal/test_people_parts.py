"""Users, customers, rates and number lists of the portal: what needs no gateway."""

from __future__ import annotations

import contextlib
import io
from decimal import Decimal
from ipaddress import ip_network
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access import fields
from protei_bulk.access.one_time import one_time_password
from protei_bulk.access.password_policy import fault
from protei_bulk.channels.portal import customers, multipart, rates
from protei_bulk.channels.portal.number_lists import one_number, read_lines
from protei_bulk.channels.portal.user_form import (
    EVERY,
    FLAGS,
    fields_given,
    fields_of,
    may_set,
    permissions_of,
    read_fields,
    words,
)
from protei_bulk.channels.portal.user_texts import _WRONG
from protei_bulk.model.account import Account
from protei_bulk.model.permissions import MATRIX, ROLES, Permission, Scope
from protei_bulk.store.pages_money import DeckEntry

ACCOUNT = Account(
    7, "ahmad", 1, tags=("a", "b"), allowed_sender_ids=("MyCo*",), allowed_ips=(ip_network("10.0.0.0/8"), ip_network("192.0.2.1/32")),
    duplicate_seconds=60, dlr_callback_url="https://example.com/dlr", timezone="Asia/Amman",
)  # fmt: skip


class UserForm(SynchronousTestCase):
    def setUp(self) -> None:
        self.before = fields_of(ACCOUNT, {"email": "a@example.com"})

    def _given(self, scope: Scope, **typed: str) -> dict[str, Any]:
        """The form sent back as it was shown, but for `typed`."""
        sent = {k: ("1" if v is True else "" if v is False else v) for k, v in self.before.items()} | typed
        return fields_given(lambda name, most: str(sent.get(name, ""))[:most].strip(), self.before, scope)

    def test_what_is_shown_changes_nothing(self) -> None:
        for scope in (Scope.ALL, Scope.CUSTOMER):
            self.assertEqual(read_fields(self._given(scope), self.before, scope), ({}, set()))

    def test_changes_alone_are_written(self) -> None:
        found, wrong = read_fields(
            self._given(Scope.ALL, max_tps="50", allowed_ips="10.0.0.0/8\n::1", email="", can_use_http="", outbind_password="x"),
            self.before, Scope.ALL,
        )  # fmt: skip
        self.assertEqual(wrong, set())
        self.assertEqual(found, {
            "max_tps": 50, "allowed_ips": ["10.0.0.0/8", "::1"], "email": None, "can_use_http": False, "outbind_password": "x",
        })  # fmt: skip

    def test_a_customers_administrator_cannot_lift_limits(self) -> None:
        typed = {"max_tps": "0", "bind_type": "SMPP", "allowed_smsc": "", "tags": "gold", "transactional": "1", "velocity": "off",
                 "allowed_sender_ids": "", "smpp_require_tls": "1", "max_msg_per_day": "0", "email": "b@example.com"}  # fmt: skip
        found, wrong = read_fields(self._given(Scope.CUSTOMER, **typed), self.before, Scope.CUSTOMER)
        self.assertEqual((found, wrong), ({"email": "b@example.com"}, set()))
        self.assertFalse(any(may_set(name, Scope.OWN) for name in EVERY))

    def test_every_fault_is_found_and_said(self) -> None:
        typed = {"max_tps": "-1", "timezone": "Mars/Base", "allowed_ips": "nowhere", "dlr_callback_url": "ftp://x", "role": "GOD",
                 "duplicate_seconds": "99999999", "outbind_port": "99999", "email": "nobody", "velocity": "=1+1",
                 "tags": "x" * 65}  # fmt: skip
        found, wrong = read_fields(self._given(Scope.ALL, **typed), self.before, Scope.ALL)
        self.assertEqual((found, wrong), ({}, set(typed)))
        self.assertLessEqual((set(EVERY) | set(fields.CUSTOMER_FIELDS)) - {*FLAGS, "campaign_approval"}, set(_WRONG))

    @given(st.text(max_size=30))
    @settings(deadline=None)
    def test_any_text_is_taken_or_refused(self, text: str) -> None:
        for name in EVERY:
            read_fields(self._given(Scope.ALL, **{name: text}), self.before, Scope.ALL)
        words(text)

    def test_permissions_are_those_of_the_matrix(self) -> None:
        for role in ROLES:
            found = {p: s for _, group in permissions_of(evolve(ACCOUNT, role=role)) for p, s, _ in group}
            self.assertEqual(found, {p: row[ROLES.index(role)] for p, row in MATRIX.items()})
        closed = {p: c for _, group in permissions_of(evolve(ACCOUNT, bind_type="WEB_ONLY")) for p, _, c in group}
        self.assertTrue(closed[Permission.SEND])

    def test_one_time_passwords_are_good_ones(self) -> None:
        made = {one_time_password() for _ in range(100)}
        self.assertEqual(len(made), 100)
        self.assertFalse(any(fault(p, "ahmad") for p in made))


class CustomerForm(SynchronousTestCase):
    def test_columns(self) -> None:
        row = {"name": "A", "credit_limit": Decimal("10.500000"), "currency": "JOD", "timezone": "UTC", "weight": Decimal("1.000"),
               "charge_on": "ACCEPT", "default_country": "", "allowed_countries": ["JO"], "blocked_countries": [],
               "campaign_approval": False}  # fmt: skip
        before = customers.fields_of(row)
        self.assertEqual((before["credit_limit"], before["weight"], before["allowed_countries"]), ("10.5", "1", "JO"))
        self.assertEqual(customers.read_fields(before, before), ({}, set()))
        found, wrong = customers.read_fields(
            {**before, "allowed_countries": "jo, SA", "default_country": "jo", "campaign_approval": True, "credit_limit": "-1",
             "weight": "0"}, before,
        )  # fmt: skip
        self.assertEqual(found, {"allowed_countries": ["JO", "SA"], "default_country": "JO", "campaign_approval": True})
        self.assertEqual(wrong, {"credit_limit", "weight"})


class NumberLists(SynchronousTestCase):
    def test_numbers_as_people_write_them(self) -> None:
        for text, found in (
            ("+962 79 123-4567", (962791234567, False)), ("00962791234567", (962791234567, False)), ("88210*", (88210, True)),
            ("\u200e+962(79)1234567", (962791234567, False)),
            ("12", None), ("0", None), ("*", None), ("٩٦٢", None), ("1" * 19, None), ("x", None),
        ):  # fmt: skip
            self.assertEqual(one_number(text, True), found, text)
        self.assertIsNone(one_number("88210*", False))

    def test_a_file(self) -> None:
        found = read_lines("\ufeffnumber;reason\n962791234567;=1+1\n\n#no\n'+962791234567'\nx1\n8821*\n", True)
        self.assertEqual((found.numbers, found.prefixes, found.bad, found.faults), ([962791234567], [8821], [(6, "x1")], 1))

    @given(st.text(max_size=200))
    @settings(deadline=None)
    def test_any_file(self, text: str) -> None:
        found = read_lines(text, True)
        self.assertTrue(all(0 < n < 10**18 for n in (*found.numbers, *found.prefixes)))


class _Request:
    def __init__(self, body: bytes, kind: str) -> None:
        self.content, self._kind = io.BytesIO(body), kind

    def getHeader(self, name: str) -> str:  # noqa: N802
        return self._kind


def _form(*parts: tuple[str, str, bytes]) -> bytes:
    """(name, file name, content)"""
    out = b""
    for name, file, content in parts:
        more = f'; filename="{file}"' if file else ""
        out += f'--xx\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"
    return out + b"--xx--\r\n"


KIND = "multipart/form-data; boundary=xx"


class Multipart(SynchronousTestCase):
    def _read(self, body: bytes, kind: str = KIND, most: int = 10_000) -> multipart.Form:
        return multipart.read_form(_Request(body, kind), most)  # type: ignore[arg-type]

    def test_fields_and_a_file(self) -> None:
        form = self._read(_form(("text", "", b"typed\r\nx"), ("file", "../../a.csv", "é;1\r\n".encode())))
        self.assertEqual((form.text("text"), form.content("text"), form.text("none")), ("typed\r\nx", "é;1\n", ""))
        self.assertEqual(self._read(_form(("text", "", b"typed\r\nx"), ("file", "", b""))).content("text"), "typed\nx")

    def test_alphabets_of_files(self) -> None:
        for content in ("é1".encode("utf-8-sig"), "é1".encode(), "é1".encode("utf-16"), "é1".encode("cp1252")):
            self.assertEqual(multipart.decoded(content), "é1", content)
        self.assertNotIn("\0", multipart.decoded(b"a\0b"))

    def test_no_such_form(self) -> None:
        for kind in ("", "text/plain", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 300):
            self.assertRaises(multipart.BadForm, self._read, b"", kind)
        self.assertRaises(multipart.BadForm, self._read, _form(("text", "", b"x" * 20_000)))
        self.assertRaises(multipart.BadForm, self._read, _form(*[(f"f{n}", "", b"") for n in range(40)]))

    def test_the_token_comes_first(self) -> None:
        def token(body: bytes, kind: str = KIND) -> str:
            return multipart.first_token(_Request(body, kind))  # type: ignore[arg-type]

        self.assertEqual(token(_form(("csrf", "", b"00ff"), ("text", "", b"x"))), "00ff")
        for body in (_form(("text", "", b"x"), ("csrf", "", b"00ff")), _form(("csrf", "a.txt", b"00ff")), b"", b"--xx\r\n",
                     _form(("csrf", "", b"f" * 1000)), _form(("csrf", "", b"<script>"))):  # fmt: skip
            self.assertEqual(token(body), "", body[:80])
        self.assertEqual(token(_form(("csrf", "", b"00ff")), "text/plain"), "")

    @given(st.binary(max_size=300))
    @settings(deadline=None)
    def test_any_body(self, body: bytes) -> None:
        for given_ in (body, b"--xx\r\n" + body, _form(("a", "b", body))):
            with contextlib.suppress(multipart.BadForm):
                self._read(given_).content("text")


class Rates(SynchronousTestCase):
    def test_cursors_come_back(self) -> None:
        for e in (DeckEntry(1, "", "962", None, None, "NOW"), DeckEntry(1, "41601", "", Decimal(1), None, "NOW")):
            self.assertEqual(rates._after(rates._cursor(e)), (e.mccmnc, e.prefix, "-infinity"))
        for bad in ("", "a.b.c", "1.2", "1.2.yesterday", "1" * 30 + "..-infinity"):
            self.assertIsNone(rates._after(bad), bad)
