from __future__ import annotations

import json

from protei_bulk.model.long import LongMessage, LongPart
from protei_bulk.model.message import Message
from protei_bulk.receipts.outcomes import Part
from tests.connectors.base import NodeCase
from tests.connectors.fakes import message


class Acks:
    def __init__(self) -> None:
        self.sequences: list[int] = []

    def acknowledge(self, sequences: list[int]) -> None:
        self.sequences += sequences


class Batches(NodeCase):
    def test_a_quick_receipt_melts_into_the_row(self) -> None:
        m, link = message(1), Acks()
        self.node.outcomes.sent(m, "x", 0)
        self.node.outcomes.receipt(m, "DELIVRD", "000", link, 4)
        self.node.turn()
        self.assertEqual(self.node.store.rows, [{"i": m.id, "z": "DELIVERED", "q": "a", "x": "x", "d": "DELIVRD", "e": "000"}])
        self.assertEqual((link.sequences, self.node.notes.count), ([4], 1))

    def test_a_final_state_stays_within_a_batch(self) -> None:
        m = message(1)
        self.node.outcomes.receipt(m, "DELIVRD", "000", None, 0)
        self.node.outcomes.sent(m, "x", 0)
        self.node.outcomes.receipt(m, "ENROUTE", "001", None, 0)
        self.node.turn()
        (row,) = self.node.store.rows
        self.assertEqual((row["z"], row["d"], row["e"], row["x"]), ("DELIVERED", "DELIVRD", "000", "x"))

    def test_a_store_that_fails_keeps_everything(self) -> None:
        m, link = message(1, dlr_url="https://shop/dlr"), Acks()
        self.node.store.broken = True
        self.node.outcomes.sent(m, "x", 0)
        self.node.turn()
        self.node.outcomes.receipt(m, "DELIVRD", "000", link, 4)
        drained = self.node.outcomes.drained()
        for _ in range(5):
            self.node.turn(1.0)
        self.assertEqual((link.sequences, self.node.notes.count, self.node.forwards.receipts), ([], 0, []))
        self.assertEqual(self.node.outcomes.oldest(), m.id)
        self.assertNoResult(drained)
        self.node.store.broken = False
        self.node.turn(5.0)
        self.successResultOf(drained)
        self.assertEqual([r["z"] for r in self.node.store.rows], ["SENT", "DELIVERED"])
        self.assertEqual((link.sequences, self.node.notes.count, len(self.node.forwards.receipts)), ([4], 1, 1))
        self.assertEqual((len(self.node.store.callbacks), self.node.wakes.count), (1, 1))
        self.assertIsNone(self.node.outcomes.oldest())

    def test_what_comes_during_a_commit_is_the_next_batch(self) -> None:
        self.node.store.hold = True
        for n in (1, 2, 3):
            self.node.outcomes.sent(message(n), "x", 0)
            self.node.turn()
        self.assertEqual([len(rows) for rows in self.node.store.named("advance")], [1])
        self.node.store.release()
        self.assertEqual([len(rows) for rows in self.node.store.named("advance")], [1, 2])

    def test_out_of_the_queue_once_sent_or_failed(self) -> None:
        a, b = message(1, queued=True), message(2, queued=True)
        self.node.outcomes.sent(a, "x", 0)
        self.node.outcomes.failed(b, "REJECTED", "011")
        self.node.turn()
        self.assertEqual(self.node.store.dequeued, [a.id, b.id])

    def test_after_commit(self) -> None:
        seen: list[int] = []
        self.node.store.hold = True
        self.node.outcomes.sent(message(1), "x", 0)
        self.node.outcomes.after_commit(lambda: seen.append(1))
        self.node.turn()
        self.assertEqual(seen, [])
        self.node.store.release()
        self.assertEqual(seen, [1])

    def test_nothing_to_wait_for(self) -> None:
        self.successResultOf(self.node.outcomes.drained())


class Refused(NodeCase):
    """The database will not have a row."""

    def batch(self, n: int) -> Acks:
        link = Acks()
        for i in range(n):
            self.node.outcomes.sent(message(i, queued=True), f"x{i}", 0)
            self.node.outcomes.receipt(message(i, dlr_url="https://shop/dlr"), "DELIVRD", f"{i:03d}", link, i)
        self.node.turn()
        return link

    def test_the_one_at_fault_harms_no_other(self) -> None:
        self.node.store.poison = {"'x13'"}
        link = self.batch(20)
        rows = {r["i"]: r for r in self.node.store.rows}
        self.assertEqual(len(rows), 20)
        self.assertEqual([r["x"] for r in rows.values() if "x" in r], [f"x{i}" for i in range(20) if i != 13])
        self.assertEqual(rows[message(13).id], {"i": message(13).id, "z": "DELIVERED"})
        self.assertEqual((link.sequences, self.node.notes.count, self.node.outcomes.set_aside), (list(range(20)), 20, 1))
        self.assertEqual(len(self.node.forwards.receipts), 20)
        self.assertEqual(len(self.node.store.callbacks), 20)
        self.assertEqual(sorted(self.node.store.dequeued), [message(i).id for i in range(20)])
        journals = {f.journal.id for f in self.node.forwards.receipts if f.journal}
        self.assertEqual(len(journals), len(self.node.store.named("advance")))
        self.successResultOf(self.node.outcomes.drained())

    def test_a_callback_at_fault_goes_alone(self) -> None:
        self.node.store.poison = {"https://shop/dlr"}
        link = self.batch(1)
        self.assertEqual([r["z"] for r in self.node.store.rows], ["DELIVERED"])
        self.assertEqual((len(self.node.store.callbacks), len(self.node.forwards.receipts), link.sequences), (0, 1, [0]))
        self.assertEqual(self.node.outcomes.set_aside, 1)

    def test_one_that_cannot_be_recorded_at_all_is_set_aside(self) -> None:
        self.node.store.poison = {message(1).id}
        link = self.batch(3)
        self.assertEqual([r["i"] for r in self.node.store.rows], [message(0).id, message(2).id])
        self.assertEqual((link.sequences, self.node.outcomes.set_aside), ([0, 1, 2], 1))
        self.assertEqual([f.message.id for f in self.node.forwards.receipts], [message(0).id, message(2).id])
        self.assertIsNone(self.node.outcomes.oldest())

    def test_an_outage_in_between_loses_nothing(self) -> None:
        self.node.store.poison = {"'x1'"}
        self.node.store.broken = True
        link = self.batch(2)
        self.node.store.calls.clear()
        self.node.outcomes.failed(message(5), "REJECTED", "011")
        self.node.turn(5.0)
        self.assertEqual((self.node.store.rows, link.sequences), ([], []))
        self.node.store.broken = False
        self.node.turn(5.0)
        self.assertEqual([r["i"] for r in self.node.store.rows], [message(0).id, message(1).id, message(5).id])
        self.assertEqual(link.sequences, [0, 1])


class Journals(NodeCase):
    def test_a_row_without_receipts_goes_after_the_commit(self) -> None:
        m = message(1, dlr_url="https://shop/dlr", registered=0)
        self.node.outcomes.receipt(m, "DELIVRD", "000", None, 0)
        self.node.turn()
        self.assertEqual((len(self.node.store.callbacks), len(self.node.forwards.settled)), (1, 1))
        self.node.forwards.here = False
        self.node.outcomes.receipt(message(2), "DELIVRD", "000", None, 0)
        self.node.turn()
        self.assertEqual((len(self.node.store.outbox), len(set(self.node.forwards.settled))), (1, 2))


class Telling(NodeCase):
    def told(self, registered: int, stat: str, **values: object) -> list[str]:
        before = len(self.node.forwards.receipts)
        self.node.outcomes.receipt(message(1, registered=registered, **values), stat, "000", None, 0)
        self.node.turn()
        return [f.stat for f in self.node.forwards.receipts[before:]]

    def test_registered_delivery(self) -> None:
        cases = {
            0: [], 1: ["DELIVRD", "UNDELIV"], 2: ["UNDELIV"], 3: ["DELIVRD"],
            0x10: ["ENROUTE"], 0x11: ["DELIVRD", "UNDELIV", "ENROUTE"],
        }  # fmt: skip
        for registered, expected in cases.items():
            seen = [s for stat in ("DELIVRD", "UNDELIV", "ENROUTE") for s in self.told(registered, stat)]
            self.assertEqual(seen, expected, registered)

    def test_http_messages_go_to_no_esme(self) -> None:
        self.assertEqual(self.told(1, "DELIVRD", channel="HTTP_API"), [])

    def test_an_esme_that_is_away(self) -> None:
        self.node.forwards.here = False
        self.assertEqual(self.told(1, "DELIVRD"), [])
        self.assertEqual(self.node.store.outbox, [{"u": 7, "i": message(1).id, "s": "DELIVRD", "e": "000"}])

    def test_callbacks(self) -> None:
        self.told(0, "ENROUTE", dlr_url="https://shop/dlr", channel="HTTP_API")
        self.assertEqual(self.node.store.callbacks, [])
        self.told(0, "UNDELIV", dlr_url="https://shop/dlr", channel="HTTP_API")
        (row,) = self.node.store.callbacks
        self.assertEqual((row["u"], row["i"], row["w"]), (7, message(1).id, "https://shop/dlr"))
        self.assertEqual(row["p"]["fields"][3:5], ("UNDELIV", "000"))
        self.assertIsNone(row["p"]["fields"][-1])


class Parts(NodeCase):
    def test_the_worst_counts(self) -> None:
        m = message(1, segments=3)
        for n in (1, 2, 3):
            self.node.outcomes.sent(m, f"x{n}", n)
        for n, stat in ((1, "DELIVRD"), (2, "EXPIRED"), (3, "DELIVRD")):
            self.node.outcomes.receipt(Part(m, n, b"", b""), stat, "000", None, 0)
        self.node.turn()
        (row,) = self.node.store.rows
        self.assertEqual((row["z"], row["x"]), ("EXPIRED", "x1"))
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["EXPIRED"])
        self.assertEqual([r["z"] for r in self.node.store.parts], ["DELIVERED", "EXPIRED", "DELIVERED"])
        self.assertEqual(self.node.notes.count, 3)

    def test_receipts_before_the_last_answer(self) -> None:
        m = message(1, segments=2)
        self.node.outcomes.sent(m, "x1", 1)
        self.node.outcomes.receipt(Part(m, 1, b"", b""), "DELIVRD", "000", None, 0)
        self.node.turn()
        self.assertEqual(self.node.store.rows, [])
        self.node.outcomes.sent(m, "x2", 2)
        self.node.outcomes.receipt(Part(m, 2, b"", b""), "DELIVRD", "000", None, 0)
        self.node.turn()
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["DELIVRD"])


class RegisteredDelivery(NodeCase):
    """What ESMEs are told, by its bits."""

    def told(self, registered: int, *states: str, **values: object) -> list[tuple[str, str]]:
        m = message(1, registered=registered, **values)
        for stat in states:
            self.node.outcomes.receipt(m, stat, "000", None, 0)
        self.node.turn()
        found, self.node.forwards.receipts = self.node.forwards.receipts, []
        return [(f.message.id, f.stat) for f in found]

    def test_final_states(self) -> None:
        id = message(1).id
        for bits in (0, 0x0C):
            bad = ("UNDELIV", "EXPIRED", "REJECTD", "DELETED", "UNKNOWN", "SKIPPED")
            for stat, to in (("DELIVRD", (1, 3)), *((s, (1, 2)) for s in bad)):
                for asked in range(4):
                    self.assertEqual(self.told(asked | bits, stat), [(id, stat)] if asked in to else [], (asked, stat))

    def test_intermediate_ones_where_asked_for(self) -> None:
        id = message(1).id
        for asked in (0, 1, 2, 3):
            self.assertEqual(self.told(asked, "ENROUTE", "ACCEPTD"), [])
        self.assertEqual(self.told(0x11, "ENROUTE", "ACCEPTD", "DELIVRD"), [(id, "ENROUTE"), (id, "ACCEPTD"), (id, "DELIVRD")])
        self.assertEqual(self.told(0x10, "ENROUTE", "DELIVRD"), [(id, "ENROUTE")])

    def test_refused_by_the_smsc(self) -> None:
        for asked, to in ((0, 0), (1, 1), (2, 1), (3, 0), (0x10, 0)):
            self.node.outcomes.failed(message(1, registered=asked), "REJECTED", "069")
            self.node.turn()
            found, self.node.forwards.receipts = self.node.forwards.receipts, []
            self.assertEqual([(f.stat, f.err, f.payload) for f in found], [("REJECTD", "069", {"c": 1})] * to)

    def test_other_channels_have_no_esme(self) -> None:
        self.assertEqual(self.told(0x11, "ENROUTE", "DELIVRD", channel="HTTP_API"), [])


class Details(NodeCase):
    """What a receipt says beside state and error, in memory, in the journal and in the outbox."""

    def test_nothing_unusual(self) -> None:
        self.node.outcomes.receipt(message(1), "DELIVRD", "000", None, 0)
        self.node.turn()
        (f,) = self.node.forwards.receipts
        self.assertIsNone(f.payload)

    def test_parameters_of_the_smscs_receipt(self) -> None:
        self.node.outcomes.receipt(message(1), "UNDELIV", "034", None, 0, {0x0423: b"\3\0\x22"})
        self.node.outcomes.receipt(message(2), "DELIVRD", "000", None, 0)
        self.node.turn()
        self.assertEqual([f.payload for f in self.node.forwards.receipts], [{"t": {"1059": "030022"}}, None])
        (journal,) = self.node.store.journals
        self.assertEqual(json.loads(journal), [
            [message(1).id, 7, "UNDELIV", "034", {"t": {"1059": "030022"}}], [message(2).id, 7, "DELIVRD", "000"],
        ])  # fmt: skip
        self.node.forwards.here = False
        self.node.outcomes.receipt(message(1), "UNDELIV", "034", None, 0, {0x0423: b"\3\0\x22"})
        self.node.turn()
        self.assertEqual([row["p"] for row in self.node.store.outbox], [{"t": {"1059": "030022"}}])

    def split(self, *states: tuple[str, str]) -> tuple[str, str, object]:
        m = message(1, segments=len(states))
        for number, (stat, err) in enumerate(states, 1):
            self.node.outcomes.receipt(Part(m, number, b"", b""), stat, err, None, 0)
        self.node.turn()
        (f,) = self.node.forwards.receipts
        self.node.forwards.receipts = []
        return f.stat, f.err, f.payload

    def test_parts_are_counted_and_the_worst_has_its_error(self) -> None:
        self.assertEqual(self.split(("DELIVRD", "000"), ("DELIVRD", "000")), ("DELIVRD", "000", {"n": 2, "k": 2}))
        self.assertEqual(self.split(("UNDELIV", "005"), ("DELIVRD", "000"), ("DELIVRD", "000")), ("UNDELIV", "005", {"n": 3, "k": 2}))
        self.assertEqual(self.split(("DELIVRD", "000"), ("EXPIRED", "009"), ("REJECTD", "088")), ("REJECTD", "088", {"n": 3, "k": 1}))
        self.assertEqual(self.split(("REJECTD", "088"), ("EXPIRED", "009")), ("REJECTD", "088", {"n": 2, "k": 0}))

    def test_in_another_number_of_parts_than_segments(self) -> None:
        m = message(1, segments=3, parts=1)  # message_payload
        self.node.outcomes.receipt(m, "DELIVRD", "000", None, 0)
        self.node.turn()
        self.assertEqual(self.node.forwards.receipts[0].payload, {"n": 3, "k": 3})

    def test_the_first_parts_intermediate_state_is_the_messages(self) -> None:
        m = message(1, segments=2, registered=0x11)
        for number in (1, 2):
            self.node.outcomes.receipt(Part(m, number, b"", b""), "ENROUTE", "000", None, 0)
        self.node.turn()
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["ENROUTE"])


class Together(NodeCase):
    """Parts of ESMEs that have one receipt, and messages that went out as one."""

    def part(self, number: int, **values: object) -> Message:
        return message(number, long=LongPart(LongMessage("MSG-1"), number, 2, True), **values)

    def test_one_receipt_is_the_databases_affair(self) -> None:
        self.node.store.whole = [7]
        self.node.outcomes.receipt(self.part(1), "DELIVRD", "000", None, 0)
        self.node.outcomes.failed(self.part(2, registered=0), "EXPIRED", "EXPIRED")
        self.node.turn()
        self.assertEqual((self.node.forwards.receipts, self.node.store.merges, self.node.forwards.woken), ([], ["MSG-1"], [7]))

    def test_not_final_not_merged(self) -> None:
        self.node.outcomes.receipt(self.part(1), "ENROUTE", "000", None, 0)
        self.node.turn()
        self.assertEqual(self.node.store.merges, [])

    def test_a_receipt_for_all_that_went_out_as_one(self) -> None:
        whole, link = Message(), Acks()
        whole.joined = (message(1), message(2))
        self.assertTrue(self.node.outcomes.receipt(whole, "DELIVRD", "000", link, 4))
        self.node.turn()
        self.assertEqual([(f.message.id, f.stat) for f in self.node.forwards.receipts], [(m.id, "DELIVRD") for m in whole.joined])
        self.assertEqual([r["z"] for r in self.node.store.rows], ["DELIVERED"] * 2)
        self.assertEqual(link.sequences, [4])

    def test_a_row_at_fault_takes_its_merge_along(self) -> None:
        self.node.store.poison = {"'x13'"}
        for n in range(20):
            m = message(n, long=LongPart(LongMessage(f"MSG-L{n}"), 1, 2, True))
            self.node.outcomes.sent(m, f"x{n}", 0)
            self.node.outcomes.receipt(m, "DELIVRD", "000", None, 0)
        self.node.turn()
        self.assertEqual(sorted(self.node.store.merges), sorted(f"MSG-L{n}" for n in range(20)))
