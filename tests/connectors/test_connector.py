from __future__ import annotations

from typing import Any

from protei_bulk.model.message import Message
from tests.connectors.base import NodeCase
from tests.connectors.fakes import Wire, link_of, message, receipt, refuses, took

LONG = {"body": b"x" * 200, "segments": 2}


def last_digits(wire: Wire) -> str:
    return "".join(p.fields["destination_addr"][-1] for p in wire.submits())


class Pace(NodeCase):
    def test_tps(self) -> None:
        _, wire = self.node.up(max_tps=20)
        self.node.fleet.dispatch([message(n) for n in range(1, 101)])
        sent = len(wire.submits())
        self.assertEqual(sent, 2)  # a tenth of a second's worth at once
        for _ in range(200):
            self.node.turn(0.01)
        sent += len(wire.submits())
        self.assertTrue(40 <= sent <= 42, sent)

    def test_tps_counts_segments(self) -> None:
        _, wire = self.node.up(max_tps=20)
        self.node.fleet.dispatch([message(n, **LONG) for n in range(1, 101)])
        for _ in range(200):
            self.node.turn(0.01)
        sent = len(wire.submits())
        self.assertTrue(38 <= sent <= 43, sent)

    def test_the_window_counts_segments(self) -> None:
        c, wire = self.node.up(window=5)
        self.node.fleet.dispatch([message(n, **LONG) for n in (1, 2, 3, 4)])
        self.assertEqual(last_digits(wire), "112233")  # at most one message beyond
        self.assertEqual([m.id[-1] for m in c.lane], ["4"])

    def test_a_message_longer_than_the_window_goes(self) -> None:
        _, wire = self.node.up(window=1)
        self.node.fleet.dispatch([message(1, **LONG)])
        self.assertEqual(last_digits(wire), "11")

    def test_throttling_pauses_and_keeps_the_order(self) -> None:
        c, wire = self.node.up(window=3)
        self.node.fleet.dispatch([message(n) for n in range(1, 7)])
        a, b, d = wire.submits()
        wire.say(refuses(b.sequence, 0x58), refuses(a.sequence, 0x58), refuses(d.sequence, 0x14))
        self.assertEqual(wire.submits(), [])
        self.assertEqual([m.id[-1] for m in c.lane], list("123456"))
        self.node.turn(0.05)
        self.assertEqual(wire.submits(), [])
        self.node.turn(0.06)
        self.assertEqual(last_digits(wire), "123")
        self.assertEqual((c.throttled, c.rejected), (3, 0))

    def test_the_pause_grows_and_ends_with_success(self) -> None:
        c, wire = self.node.up(window=1)
        self.node.fleet.dispatch([message(1)])
        pauses = []
        for _ in range(8):
            (a,) = wire.submits()
            wire.say(refuses(a.sequence, 0x58))
            pauses.append(c._pause)
            self.node.turn(c._pause + 0.001)
        self.assertEqual(pauses, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
        (a,) = wire.submits()
        wire.say(took(a.sequence, "x"))
        self.assertEqual(c._pause, 0.0)

    def test_too_late(self) -> None:
        _, wire = self.node.up()
        now = self.node.clock.seconds()
        self.node.fleet.dispatch([message(1, valid_until=now), message(2, valid_until=now + 60)])
        self.assertEqual(last_digits(wire), "2")
        self.node.turn()
        self.assertEqual(self.node.store.status(message(1).id), "EXPIRED")
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["EXPIRED"])


class Errors(NodeCase):
    def test_for_good(self) -> None:
        c, wire = self.node.up()
        self.node.fleet.dispatch([message(1, dlr_url="https://shop/dlr")])
        wire.say(refuses(wire.submits()[0].sequence, 0x0B))
        self.node.turn()
        self.assertEqual(self.node.store.rows, [{"i": message(1).id, "z": "REJECTED", "d": "REJECTD", "e": "011"}])
        self.assertEqual(len(self.node.store.callbacks), 1)
        self.assertEqual(c.rejected, 1)

    def test_one_that_passes_goes_to_the_next_candidate(self) -> None:
        _, wire = self.node.up("a")
        _, other = self.node.up("b")
        self.node.fleet.dispatch([message(1, candidates=("a", "b"))])
        wire.say(refuses(wire.submits()[0].sequence, 0x08))
        self.assertEqual(last_digits(other), "1")

    def test_one_that_passes_waits_in_the_queue(self) -> None:
        _, wire = self.node.up()
        self.node.fleet.dispatch([message(1)])
        wire.say(refuses(wire.submits()[0].sequence, 0x08))
        (row,) = self.node.store.queue
        now = self.node.clock.seconds()
        self.assertEqual((row["i"], row["n"], row["h"], row["w"] - now, row["e"] - now), (message(1).id, 1, False, 2.0, 48 * 3600))

    def test_no_answer_sends_again(self) -> None:
        _, wire = self.node.up(response_timeout=3.0, enquire_link_interval=0.0)
        m = message(1)
        self.node.fleet.dispatch([m])
        wire.clear()
        for _ in range(5):
            self.node.turn(1.0)
        self.assertEqual(last_digits(wire), "1")
        self.assertEqual(m.attempts, 1)

    def unanswered(self, **values: Any) -> Message:
        """One that went out, without an answer in time."""
        _, wire = self.node.up(response_timeout=3.0, enquire_link_interval=0.0)
        m = message(1, **values)
        self.node.fleet.dispatch([m])
        wire.clear()
        for _ in range(5):
            self.node.turn(1.0)
        return m

    def test_no_answer_again_and_again_waits_longer_and_longer(self) -> None:
        m = self.unanswered(attempts=4)
        (row,) = self.node.store.queue
        self.assertEqual((row["i"], row["a"], row["h"]), (m.id, 5, False))
        self.assertTrue(25.0 < row["w"] - self.node.clock.seconds() <= 32.0, row)

    def test_no_answer_ever_is_a_failure(self) -> None:
        m = self.unanswered(attempts=7, queued=True)
        self.assertEqual(self.node.store.rows, [{"i": m.id, "z": "FAILED", "d": "UNDELIV", "e": "NOANSWER"}])
        self.assertEqual(([f.stat for f in self.node.forwards.receipts], self.node.store.dequeued), (["UNDELIV"], [m.id]))
        self.assertIsNone(self.node.fleet.oldest())

    def test_no_answer_until_its_validity_ends_is_an_expiry(self) -> None:
        m = self.unanswered(attempts=7, valid_until=self.node.clock.seconds() + 2.0)
        self.assertEqual((self.node.store.status(m.id), [f.stat for f in self.node.forwards.receipts]), ("EXPIRED", ["EXPIRED"]))

    def test_binds_that_end_each_time_use_up_the_attempts(self) -> None:
        c, wire = self.node.up()
        c.lost(link_of(wire), [message(n, attempts=7) for n in range(3)])
        self.node.turn()
        self.assertEqual([r["z"] for r in self.node.store.rows], ["FAILED"] * 3)

    def test_no_answer_holds(self) -> None:
        c, wire = self.node.up(response_timeout=3.0, enquire_link_interval=0.0, outcome_unknown="hold")
        self.node.fleet.dispatch([message(1)])
        wire.clear()
        self.node.store.broken = True
        for _ in range(6):
            self.node.turn(1.0)
        self.assertEqual(c.oldest(), message(1).id)
        self.node.store.broken = False
        self.node.turn(1.0)
        self.assertEqual([(r["i"], r["h"]) for r in self.node.store.queue], [(message(1).id, True)])
        self.assertEqual(last_digits(wire), "")
        self.assertIsNone(c.oldest())

    def test_a_disk_that_is_full_drops_the_link_and_keeps_what_was_taken(self) -> None:
        _, wire = self.node.up()
        self.node.fleet.dispatch([message(1)])
        (a,) = wire.submits()

        def full(lines: list[str]) -> None:
            raise OSError("No space left on device")

        self.patch(self.node.journal, "write", full)
        wire.say(took(a.sequence, "x"))
        self.node.turn()
        self.assertTrue(wire.aborted)
        self.assertEqual(self.node.store.status(message(1).id), "SENT")
        self.flushLoggedErrors()


class Parts(NodeCase):
    def test_both_throttled_go_again_once(self) -> None:
        c, wire = self.node.up()
        m = message(1, **LONG)
        self.node.fleet.dispatch([m])
        a, b = wire.submits()
        wire.say(refuses(a.sequence, 0x58), refuses(b.sequence, 0x58))
        self.node.turn(0.2)
        again = wire.submits()
        self.assertEqual([p.fields["short_message"] for p in again], [p.fields["short_message"] for p in (a, b)])
        wire.say(took(again[0].sequence, "1"), took(again[1].sequence, "2"))
        self.node.turn(10.0)
        self.assertEqual((wire.submits(), len(c.lane)), ([], 0))
        self.assertEqual([r["z"] for r in self.node.store.rows], ["SENT"])

    def test_one_throttled_waits_alone(self) -> None:
        _, wire = self.node.up()
        self.node.fleet.dispatch([message(1, **LONG)])
        a, b = wire.submits()
        wire.say(took(a.sequence, "1"), refuses(b.sequence, 0x58))
        self.node.turn(0.2)
        (again,) = wire.submits()
        self.assertEqual(again.fields["short_message"], b.fields["short_message"])

    def test_both_refused_end_once(self) -> None:
        c, wire = self.node.up()
        self.node.fleet.dispatch([message(1, **LONG)])
        a, b = wire.submits()
        wire.say(refuses(a.sequence, 0x0B), refuses(b.sequence, 0x0B))
        self.node.turn()
        self.assertEqual((c.rejected, [f.stat for f in self.node.forwards.receipts]), (1, ["REJECTD"]))

    def test_both_refused_for_a_while_are_queued_once(self) -> None:
        _, wire = self.node.up()
        self.node.fleet.dispatch([message(1, **LONG)])
        a, b = wire.submits()
        wire.say(refuses(a.sequence, 0x08))
        wire.say(refuses(b.sequence, 0x08))
        self.assertEqual([(r["i"], r["n"]) for r in self.node.store.queue], [(message(1).id, 1)])

    def test_one_taken_one_refused(self) -> None:
        _, wire = self.node.up()
        self.node.fleet.dispatch([message(1, **LONG)])
        a, b = wire.submits()
        wire.say(refuses(b.sequence, 0x0B))
        wire.say(took(a.sequence, "1"), receipt(9, "1"))
        self.node.turn()
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["REJECTD"])
        self.assertEqual(self.node.store.status(message(1).id), "REJECTED")

    def test_a_lost_link_gives_a_message_back_once(self) -> None:
        c, wire = self.node.up()
        self.node.fleet.dispatch([message(1, **LONG), message(2)])
        wire.loseConnection()
        self.assertEqual([m.id[-1] for m in c.lane], ["1", "2"])
        self.node.turn(1.0)
        self.node.wire().bind_ok()
        self.assertEqual(last_digits(self.node.wire()), "112")

    def test_all_parts_final_make_one_receipt_and_the_worst_counts(self) -> None:
        _, wire = self.node.up()
        self.node.fleet.dispatch([message(1, **LONG)])
        a, b = wire.submits()
        wire.say(took(b.sequence, "2"), took(a.sequence, "1"))
        wire.say(receipt(8, "1", "UNDELIV", "005"))
        self.node.turn()
        self.assertEqual(self.node.forwards.receipts, [])
        wire.say(receipt(9, "2"))
        self.node.turn()
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["UNDELIV"])
        self.assertEqual(self.node.store.status(message(1).id), "FAILED")
        self.assertEqual({(r["n"], r["z"]) for r in self.node.store.parts} - {(1, "SENT"), (2, "SENT")}, {(1, "FAILED"), (2, "DELIVERED")})


class Queueing(NodeCase):
    def down(self, *candidates: str) -> None:
        _, wire = self.node.up("a", reconnect_min=60.0)
        self.node.fleet.dispatch([message(n, candidates=("a", *candidates)) for n in (1, 2)])
        wire.loseConnection()
        self.node.turn(0.4)

    def test_five_seconds_without_a_bind(self) -> None:
        self.down()
        self.node.turn(4.5)
        self.assertEqual(self.node.store.queue, [])
        self.node.turn(0.2)
        self.assertEqual([r["i"][-1] for r in self.node.store.queue], ["1", "2"])
        self.assertIsNone(self.node.fleet.oldest())

    def test_the_next_candidate_takes_over(self) -> None:
        _, other = self.node.up("b")
        self.down("b")
        self.assertEqual(last_digits(other), "")
        self.node.turn(0.2)
        self.assertEqual(last_digits(other), "12")
        self.assertEqual(self.node.store.queue, [])

    def test_a_queue_that_fails_keeps_them_in_memory(self) -> None:
        self.down()
        self.node.turn(4.5)
        self.node.store.broken = True
        self.node.turn(0.2)
        self.assertEqual(self.node.fleet.oldest(), message(1).id)
        # The rows may be there all the same: nothing goes out of memory before the database has answered.
        self.assertEqual(len(self.node.fleet.connectors["a"].lane), 0)
        self.node.store.broken = False
        self.node.turn(1.0)
        self.assertEqual([r["i"][-1] for r in self.node.store.queue], ["1", "2"])
        self.assertIsNone(self.node.fleet.oldest())

    def test_claims_when_bound_and_when_something_is_due(self) -> None:
        self.node.store.claimable = [message(1, queued=True)]
        c, wire = self.node.up()
        self.assertEqual(self.node.store.named("claim"), ["a"])
        self.assertFalse(c.backlogged)
        wire.clear()
        self.node.store.claimable = [message(2, queued=True)]
        self.node.turn(1.0)
        (b,) = wire.submits()
        wire.say(took(b.sequence, "x"))
        self.node.turn()
        self.assertEqual(self.node.store.dequeued, [message(2).id])

    def test_refills_a_whole_claim_at_a_time(self) -> None:
        self.node.store.claimable = [message(n, queued=True) for n in range(1, 2501)]
        c, wire = self.node.up(window=10)
        self.assertEqual(len(c.lane), 2490)
        self.assertFalse(c.backlogged)

    def test_a_claim_that_fails_is_made_again(self) -> None:
        self.node.store.broken = True
        c, _ = self.node.up()
        self.assertTrue(c.backlogged)
        self.node.store.broken = False
        self.node.turn(1.0)
        self.assertFalse(c.backlogged)

    def test_a_claim_that_comes_after_the_bind_is_lost(self) -> None:
        self.node.store.claimable = [message(1, queued=True)]
        self.node.store.hold = True
        _, wire = self.node.up(reconnect_min=60.0)
        wire.loseConnection()
        self.node.turn(6.0)
        self.node.store.hold = False
        self.node.store.release()
        self.node.turn(5.0)
        self.assertEqual([r["i"] for r in self.node.store.queue], [message(1).id])
