from __future__ import annotations

import base64
from unittest import TestCase

from protei_bulk.callbacks.signing import shown_secret, signature_headers


class SigningTest(TestCase):
    def test_the_example_of_standard_webhooks(self) -> None:
        secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        headers = signature_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
        self.assertEqual(headers, {"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="})

    def test_as_libraries_take_it(self) -> None:
        self.assertEqual(shown_secret(b"abc"), "whsec_YWJj")
