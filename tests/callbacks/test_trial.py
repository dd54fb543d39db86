from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.callbacks.addresses import AddressRefused
from protei_bulk.callbacks.trial import Outcome, TooSoon, Trials
from protei_bulk.settings import Callbacks
from protei_bulk.store.callbacks import CallbackRow, SecretVersion

URL = "https://example.com/x"


class _Answer:
    def __init__(self, code: int) -> None:
        self.code = code

    def deliverBody(self, protocol: Any) -> None:  # noqa: N802
        protocol.connectionLost()


class TrialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.answers: list[Deferred[Any]] = []
        self.posted: list[tuple[str, bytes, dict[str, str]]] = []
        self.signed: list[CallbackRow] = []
        self.trials = Trials(self.clock, self.post, self.sign, lambda: Callbacks(timeout=5.0), lambda n: b"\1" * n)

    def post(self, url: str, *, data: bytes, headers: dict[str, str], allow_redirects: bool, unbuffered: bool) -> Deferred[Any]:
        self.assertFalse(allow_redirects)
        self.posted.append((url, data, headers))
        return self.answers.pop(0)

    def sign(self, row: CallbackRow, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        self.signed.append(row)
        return {"webhook-signature": f"v1,{webhook_id}"}

    def call(self, answer: Deferred[Any], user: int = 7, secret: SecretVersion = SecretVersion(), url: str = URL) -> Deferred[Outcome]:  # noqa: B008
        self.answers = [answer]
        return Deferred.fromCoroutine(self.trials.call(user, secret, url))

    def test_it_is_signed_and_says_that_it_is_one(self) -> None:
        outcome = self.successResultOf(self.call(succeed(_Answer(204)), secret=SecretVersion(3, 2_000_000.0)))
        self.assertEqual((outcome.status, outcome.error, outcome.good), (204, "", True))
        [(url, body, headers)] = self.posted
        self.assertEqual((url, headers["webhook-id"], headers["webhook-timestamp"]), (URL, "test_" + "01" * 8, "1000000"))
        self.assertEqual((json.loads(body)["test"], json.loads(body)["status"]), (True, "DELIVRD"))
        self.assertEqual((outcome.body, outcome.headers), (body, headers))
        [row] = self.signed
        self.assertEqual((row.user_id, row.version, row.overlap), (7, 3, True))

    def test_what_goes_wrong_is_told(self) -> None:
        for answer, status, error in (
            (succeed(_Answer(500)), 500, "HTTP 500"), (succeed(_Answer(302)), 302, "HTTP 302: redirects are not followed"),
            (fail(AddressRefused("10.0.0.1 has a private address")), 0, "AddressRefused: 10.0.0.1 has a private address"),
            (fail(ConnectionRefusedError("no")), 0, "ConnectionRefusedError: no"),
        ):  # fmt: skip
            outcome = self.successResultOf(self.call(answer))
            self.assertEqual((outcome.status, outcome.error, outcome.good), (status, error, False))
            self.clock.advance(3)

    def test_one_that_never_answers(self) -> None:
        outcome = self.call(Deferred())
        self.clock.advance(4.9)
        self.assertNoResult(outcome)
        self.clock.advance(0.1)
        found = self.successResultOf(outcome)
        self.assertEqual((found.status, found.error), (0, "TimeoutError: no answer within 5 s"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_address_that_is_none_is_not_called(self) -> None:
        outcome = self.successResultOf(self.call(succeed(_Answer(200)), url="http://u:p@example.com/"))
        self.assertEqual((outcome.status, self.posted), (0, []))

    def test_not_too_often(self) -> None:
        self.successResultOf(self.call(succeed(_Answer(200))))
        self.failureResultOf(self.call(succeed(_Answer(200))), TooSoon)
        self.successResultOf(self.call(succeed(_Answer(200)), user=8))
        self.clock.advance(3)
        self.successResultOf(self.call(succeed(_Answer(200))))
        self.assertEqual(len(self.posted), 3)
