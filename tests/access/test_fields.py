from __future__ import annotations

import contextlib
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access import fields
from protei_bulk.access.fields import FieldError, customer_fields, user_fields
from protei_bulk.store.accounts import CUSTOMER_COLUMNS, USER_COLUMNS


class Users(SynchronousTestCase):
    def test_text_and_json_come_out_alike(self) -> None:
        for name, text, value in (
            ("max_tps", "50", 50),
            ("can_use_smpp", "no", False),
            ("allowed_ips", "192.168.1.0/24, 10.0.0.50", ["192.168.1.0/24", "10.0.0.50"]),
            ("allowed_smsc", '["SMSC1", "SMSC2"]', ["SMSC1", "SMSC2"]),
            ("allowed_sender_ids", "", []),
            ("role", "admin", "ADMIN"),
            ("smpp_alphabet", "gsm7-packed", "gsm7-packed"),
            ("smart_encoding", "yes", True),
            ("max_parts", "255", 255),
            ("receipts", "message", "message"),
            ("timezone", "Asia/Amman", "Asia/Amman"),
            ("dlr_callback_url", "", None),
        ):
            self.assertEqual(user_fields({name: text}), {name: value})
            self.assertEqual(user_fields({name: value}), {name: value})

    def test_other_spellings(self) -> None:
        self.assertEqual(user_fields({"max-per-day": "0"}), {"max_msg_per_day": 0})

    def test_mistakes_name_the_field(self) -> None:
        for name, value in (
            ("max_tps", "-1"), ("max_tps", "x"), ("max_tps", str(2**31)), ("max_tps", True), ("max_tps", "٣"),
            ("can_use_smpp", "perhaps"), ("allowed_ips", "10.0.0.0/33"), ("allowed_ips", "host"),
            ("allowed_smsc", "[1]"), ("allowed_smsc", "[broken"), ("allowed_smsc", 5), ("role", "KING"),
            ("status", ""), ("bind_type", "TELEX"), ("timezone", "Mars/Base"), ("timezone", "/etc/passwd"),
            ("timezone", "Asia"), ("dlr_callback_url", "ftp://x"), ("email", "x"), ("password", ""),
            ("password", "x" * 129), ("allowed_sender_ids", "x" * 22), ("nonsense", "1"), ("user_id", "2"),
            ("smpp_alphabet", "ucs2"), ("smpp_alphabet", None), ("smart_encoding", "2"), ("max_parts", "256"), ("max_parts", "-1"),
            ("receipts", "none"), ("receipts", 1),
        ):  # fmt: skip
            with self.assertRaisesRegex(FieldError, f"^{name}: "):
                user_fields({name: value})

    def test_a_password_is_not_repeated(self) -> None:
        with self.assertRaises(FieldError) as caught:
            user_fields({"password": "\0hunter2"})
        self.assertNotIn("hunter2", str(caught.exception))

    def test_the_same_twice(self) -> None:
        with self.assertRaises(FieldError):
            user_fields({"max_tps": 1, "max-tps": 2})

    def test_every_field_is_a_column(self) -> None:
        self.assertEqual({*fields.USER_FIELDS} - {"password"}, {*USER_COLUMNS} - {"password_hash", "smpp_password_hash"})
        self.assertEqual({*fields.CUSTOMER_FIELDS}, {*CUSTOMER_COLUMNS})

    def test_names(self) -> None:
        self.assertEqual(fields.username("ahmad"), "ahmad")
        self.assertEqual(fields.username("Renée"), "Renée")
        twins = ("\uff41hmad", "Rene\u0301e", "\ufb01eld", "\u2126hm", "\U0001d41admin", "a\u200bb", "a\u202eb", "a\xadb",
                 "\xa0a", "a\u3000")  # fmt: skip
        for bad in ("", "a:b", " a", "a\n", "x" * 101, None, *twins):
            self.assertRaises(FieldError, fields.username, bad)

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(
        st.sampled_from(sorted(fields.USER_FIELDS)),
        st.text() | st.integers() | st.lists(st.text()) | st.none(),
    )
    def test_anything_is_read_or_refused(self, name: str, value: object) -> None:
        with contextlib.suppress(FieldError):
            user_fields({name: value})


class Customers(SynchronousTestCase):
    def test_money(self) -> None:
        self.assertEqual(customer_fields({"balance": "25000.50"}), {"balance": Decimal("25000.50")})
        self.assertEqual(customer_fields({"balance": "-1"}), {"balance": Decimal(-1)})
        for bad in ("", "x", "NaN", "Infinity", "1e12", "0.0000001", True, None, "9" * 5000):
            self.assertRaises(FieldError, customer_fields, {"balance": bad})
        self.assertRaises(FieldError, customer_fields, {"credit_limit": "-1"})

    def test_currency(self) -> None:
        self.assertEqual(customer_fields({"currency": "jod"}), {"currency": "JOD"})
        self.assertRaises(FieldError, customer_fields, {"currency": "dinar"})
