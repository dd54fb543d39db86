from __future__ import annotations

import base64
from unittest import TestCase

from protei_bulk.callbacks.signing import account_secret, shown_secret, signature_headers


class SigningTest(TestCase):
    def test_the_example_of_standard_webhooks(self) -> None:
        secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        headers = signature_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
        self.assertEqual(headers, {"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="})

    def test_both_while_they_change(self) -> None:
        new, old = account_secret(b"n" * 32, 7, 2), account_secret(b"n" * 32, 7, 1)
        both = signature_headers([new, old], "dlr_1", 1, b"{}")["webhook-signature"].split(" ")
        each = [signature_headers([s], "dlr_1", 1, b"{}")["webhook-signature"] for s in (new, old)]
        self.assertEqual(both, each)

    def test_nobody_has_anothers(self) -> None:
        secrets = {account_secret(node * 32, user, version) for node in (b"n", b"m") for user in (1, 2, 21) for version in (1, 2, 11)}
        self.assertEqual((len(secrets), {len(s) for s in secrets}), (18, {32}))

    def test_as_libraries_take_it(self) -> None:
        self.assertEqual(shown_secret(b"abc"), "whsec_YWJj")
