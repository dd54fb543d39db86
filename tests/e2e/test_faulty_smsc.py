"""SMSCs that throttle, refuse, stay silent, hang up or write ids another way: nobody loses a message by it."""

from __future__ import annotations

import atexit
from collections import Counter
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.support.esme import Load, load
from tests.support.gateway import PASSWORD, Gateway, eventually

WINDOW = 50  # of each of these SMSCs
#: each is the one SMSC of a user with its name in small letters: options of the simulator, settings of the connector
FAULTS: dict[str, tuple[tuple[str, ...], str]] = {
    "THROTTLES": (("--throttle", "300"), ""),
    "REFUSES": (("--error", "ESME_RINVDSTADR:10"), ""),
    "PASSES": (("--error", "ESME_RSYSERR:3"), ""),
    "SILENT": (("--lose", "5"), "response_timeout = 1.0"),
    "LATE": (("--late", "0.3", "--delay", "0"), ""),
    "HANGSUP": (("--drop-after", "200"), ""),
    "HEX": (("--hex-ids",), 'message_id = "decimal-to-hex"'),
    "PARTIAL": (("--intermediate", "--fail", "50", "--mo-every", "0.05", "--mo-text", "Olá, 你好"), ""),
}


class Faults(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if Faults._shared is None:
            Faults._shared = self.started()
        self.gateway = Faults._shared

    @staticmethod
    def started() -> Gateway:
        gateway = Gateway()
        atexit.register(gateway.stop)
        for name, (options, settings) in FAULTS.items():
            gateway.simulate(name, *options, settings=f"window = {WINDOW}\n{settings}")
        gateway.accounts({name.lower(): ("--smsc", name) for name in FAULTS})
        gateway.start()
        return gateway

    def sent(self, smsc: str, messages: int, expected: dict[str, int | None]) -> tuple[Load, Counter[str]]:
        """Sends through this SMSC until every message is in a state of `expected`; then those numbers must be true."""
        user = smsc.lower()
        result = load(self.gateway.smpp_port, user, PASSWORD, messages=messages, sessions=2, registered=1)
        self.assertEqual((len(result.acknowledged), result.refused), (messages, 0))

        def states() -> dict[str, int]:
            return dict(
                self.gateway.query(
                    "SELECT m.status, count(*) FROM messages m JOIN users u ON u.id = m.user_id"
                    " WHERE u.username = %s GROUP BY m.status",
                    (user,),
                )
            )

        eventually(lambda: states().keys() <= expected.keys() and sum(states().values()) == messages, "all final", 30)
        found = states()
        for state, count in expected.items():
            if count is not None:
                self.assertEqual(found.get(state, 0), count, found)
        # Nothing is left to tell, and what was told was told once.
        eventually(lambda: self.gateway.query("SELECT count(*) FROM tbl_deliver_outbox") == [(0,)], "an empty outbox", 10)
        self.assertEqual(Counter(result.receipts), Counter(list(result.acknowledged)))
        taken = self.gateway.simulators[smsc].taken()
        return result, taken

    def once(self, result: Load, taken: Counter[str]) -> None:
        self.assertEqual(taken, Counter(list(result.acknowledged.values())))

    def test_one_that_throttles(self) -> None:
        self.once(*self.sent("THROTTLES", 600, {"DELIVERED": 600}))

    def test_one_that_refuses_some(self) -> None:
        result, taken = self.sent("REFUSES", 500, {"DELIVERED": None, "REJECTED": None})
        self.assertEqual(max(taken.values()), 1)
        refused = self.gateway.query("SELECT count(*) FROM messages WHERE status = 'REJECTED' AND error_code = '011'")
        self.assertEqual(refused, [(len(result.acknowledged) - len(taken),)])
        self.assertGreater(refused[0][0], 0)

    def test_one_that_is_out_of_order_for_a_while(self) -> None:
        self.once(*self.sent("PASSES", 300, {"DELIVERED": 300}))

    def test_one_that_does_not_always_answer(self) -> None:
        result, taken = self.sent("SILENT", 300, {"DELIVERED": 300})
        self.assertEqual(taken.keys(), set(result.acknowledged.values()))
        self.assertGreater(taken.total(), 300)  # outcome_unknown = "resend"

    def test_one_whose_receipts_overtake_its_answers(self) -> None:
        self.once(*self.sent("LATE", 300, {"DELIVERED": 300}))

    def test_one_that_hangs_up(self) -> None:
        result, taken = self.sent("HANGSUP", 1000, {"DELIVERED": 1000})
        self.assertEqual(taken.keys(), set(result.acknowledged.values()))
        dropped = taken.total() // 200
        self.assertGreater(dropped, 3)
        self.assertLessEqual(taken.total() - len(taken), dropped * WINDOW)

    def test_one_that_writes_ids_another_way(self) -> None:
        self.once(*self.sent("HEX", 300, {"DELIVERED": 300}))

    def test_one_that_notifies_fails_and_forwards_what_telephones_send(self) -> None:
        result, taken = self.sent("PARTIAL", 400, {"DELIVERED": None, "FAILED": None})
        self.once(result, taken)
        failed = self.gateway.query("SELECT count(*) FROM messages WHERE status = 'FAILED' AND dlr_status = 'UNDELIV'")
        self.assertTrue(100 < failed[0][0] < 300, failed)
