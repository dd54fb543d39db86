from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.inbound import figures, inbox
from protei_bulk.model import ids
from protei_bulk.model.message import Message
from protei_bulk.settings import Inbound, MoMatch, MoRule, MoTarget
from protei_bulk.smpp import statuses, tags
from tests.inbound.fakes import FakeLink, World


def mo_id(n: int) -> str:
    """Of the time that the tests begin at."""
    return f"MO-{ids.first_at(1_800_000_000_000)[4:-1]}{n}"


ONE = mo_id(1)


def part(number: int, body: bytes = b"x", total: int = 2, reference: int = 7) -> bytes:
    return bytes((5, 0, 3, reference, total, number)) + body


def set_row(id: str, number: int, body: bytes, total: int, have: int) -> tuple[Any, ...]:
    return (id, "A", "962790000001", "12345", 8, 7, total, have, number, 0, 0, 0, 0, None, body, None, 5.0)


class BatchTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(
            MoRule("web", MoTarget(url="https://x/y"), match=MoMatch(keyword=("web",))),
            MoRule("ahmad", MoTarget(user="ahmad"), match=MoMatch(keyword=("stop",))),
        )
        self.store, self.link, self.inbox = self.world.store, self.world.link, self.world.inbox

    def test_acknowledged_after_the_commit(self) -> None:
        self.store.hold = True
        one, two = self.world.say(), self.world.say(b"hello")
        self.world.turn()
        self.assertEqual((self.link.acknowledged, self.inbox.waiting), ([], 2))
        self.store.release()
        self.assertEqual((self.link.acknowledged, self.inbox.waiting), ([one, two], 0))
        self.assertEqual(len(self.store.batches), 1)

    def test_the_next_batch_gathers_meanwhile(self) -> None:
        self.store.hold = True
        self.world.say(b"1")
        self.world.turn()
        self.world.say(b"2")
        self.world.say(b"3")
        self.store.hold = False
        self.store.release()
        self.world.turn()
        self.assertEqual([[r["tx"] for r in b] for b in self.store.batches], [["1"], ["2", "3"]])
        ids = [r["i"] for b in self.store.batches for r in b]
        self.assertEqual(ids, sorted(ids))

    def test_routed(self) -> None:
        for text in (b"Stop", b"WEB page", b"other"):
            self.world.say(text)
        self.world.turn()
        stop, web, other = self.store.batches[0]
        self.assertEqual((stop["ru"], stop["un"]), ("ahmad", "ahmad"))
        self.assertEqual((web["ru"], web["w"], web["cb"]), ("web", "https://x/y", {"text": "WEB page"}))
        self.assertEqual((other["ow"], "ru" in other), (True, False))
        self.assertEqual((self.world.woken, self.world.calls), ([7], 1))
        self.assertEqual((self.inbox.counts["routed"], self.inbox.counts["unrouted"]), (2, 1))
        self.assertEqual(self.inbox.received, {"A": 3})

    def test_other_rules(self) -> None:
        self.inbox.change([MoRule("new", MoTarget(user="new"))], Inbound(reassembly_seconds=5))
        self.world.say()
        self.world.turn()
        self.assertEqual(self.store.batches[0][0]["ru"], "new")

    def test_the_database_is_away(self) -> None:
        self.store.broken = True
        sequence = self.world.say()
        for _ in range(20):
            self.world.turn(1.0)
        self.assertEqual((self.link.acknowledged, self.link.refused), ([], []))
        self.store.broken = False
        self.world.turn(5.0)
        self.assertEqual((self.link.acknowledged, len(self.store.batches)), ([sequence], 1))

    def test_one_that_cannot_be_stored_harms_no_other(self) -> None:
        self.store.poison = "bad"
        for text in (b"1", b"2", b"bad", b"4", b"5"):
            self.world.say(text)
        for _ in range(60):
            self.world.turn(0.2)
        self.assertEqual(sorted(self.link.acknowledged), [1, 2, 4, 5])
        self.assertEqual(self.link.refused, [(3, statuses.ESME_RX_R_APPN)])
        self.assertEqual((self.inbox.waiting, self.inbox.counts["refused"]), (0, 1))

    def test_too_many_wait(self) -> None:
        self.patch(inbox, "_MOST_WAITING", 2)
        self.store.hold = True
        self.assertEqual([self.world.say(b"%d" % n) for n in range(3)], [1, 2, -statuses.ESME_RMSGQFUL])
        self.assertEqual(self.world.say(b"0"), 4)  # sent again: it waits already

    def test_too_long(self) -> None:
        self.assertEqual(self.world.say(b"x" * 40_000), -statuses.ESME_RINVMSGLEN)

    def test_a_link_that_fails_keeps_nobody_from_its_answer(self) -> None:
        class Broken(FakeLink):
            def acknowledge(self, sequences: list[int]) -> None:
                raise OSError

        self.world.say(b"1", link=Broken())
        two = self.world.say(b"2")
        self.world.turn()
        self.assertEqual(self.link.acknowledged, [two])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_drained(self) -> None:
        self.store.hold = True
        self.world.say()
        self.world.turn()
        d = self.inbox.drained()
        self.assertNoResult(d)
        self.store.release()
        self.successResultOf(d)

    def test_figures(self) -> None:
        self.world.say()
        self.world.turn()
        read = {f[0]: list(f[3]()) for f in [*figures.counters(lambda: self.inbox, lambda: 9), *figures.gauges(lambda: self.inbox)]}
        self.assertEqual(read["protei_mo_received"], [(("A",), 1)])
        self.assertEqual((read["protei_mo_routed"], read["protei_mo_delivered"]), ([((), 1)], [((), 9)]))


class AgainTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.store, self.link, self.inbox = self.world.store, self.world.link, self.world.inbox
        self.inbox.start()
        self.addCleanup(self.inbox.stop)

    def test_before_the_commit_it_is_one_message(self) -> None:
        self.store.hold = True
        other = FakeLink()
        self.world.say()
        self.world.say()
        self.world.say(link=other)
        self.world.turn()
        self.store.hold = False
        self.store.release()
        self.assertEqual((self.link.acknowledged, other.acknowledged), ([1, 2], [3]))
        self.assertEqual((len(self.store.batches[0]), self.inbox.counts["duplicates"]), (1, 2))

    def test_an_answer_on_a_living_line_has_arrived(self) -> None:
        self.world.say()
        self.world.turn()
        digest = self.store.batches[0][0]["h"]
        self.world.turn(1.0)
        self.assertEqual(self.store.sure, [])
        self.world.turn(1.0)
        self.world.turn(1.0)
        self.assertEqual(self.store.sure, [digest])

    def test_not_on_one_that_broke(self) -> None:
        self.world.say()
        self.world.turn()
        self.link.alive = False
        self.world.turn(5.0)
        self.assertEqual(self.store.sure, [])

    def test_nor_where_it_came_late(self) -> None:
        self.store.hold = True
        self.world.say()
        self.world.turn(6.0)
        self.store.hold = False
        self.store.release()
        self.world.turn(5.0)
        self.assertEqual(self.store.sure, [])

    def test_nor_for_parts(self) -> None:
        self.world.say(part(1), esm_class=0x40)
        self.world.turn(5.0)
        self.assertEqual(self.store.sure, [])

    def test_what_goes_by_the_clock(self) -> None:
        for _ in range(610):
            self.world.turn(1.0)
        self.assertEqual((self.store.calls.count("forget"), self.store.calls.count("partitions 30")), (10, 1))

    def test_the_clock_goes_on_without_a_database(self) -> None:
        self.store.broken = True
        for _ in range(10):
            self.world.turn(1.0)
        self.store.broken = False
        self.world.turn(2.0)
        self.assertEqual(self.inbox.pending_parts, 3)


class PartsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(MoRule("ahmad", MoTarget(user="ahmad")))
        self.store, self.inbox = self.world.store, self.world.inbox

    def test_whoever_stores_the_last_one_finishes(self) -> None:
        self.store.set_rows = [set_row(ONE, 1, b"one ", 2, 2), set_row(ONE, 2, b"two", 2, 2)]
        self.store.complete = [ONE]
        self.world.say(part(2), esm_class=0x40)
        self.world.turn()
        self.world.turn()
        (row,) = self.store.finished
        self.assertEqual((row["i"], row["tx"], row["s"], row["ms"], row["hv"], row["un"]), (ONE, "one two", 2, 0, 2, "ahmad"))
        self.assertEqual(self.world.woken, [7])

    def test_two_with_one_number_begin_two_messages(self) -> None:
        self.world.say(part(1, b"a"), esm_class=0x40)
        self.world.say(part(1, b"b"), esm_class=0x40)
        self.world.say(part(2, b"b"), esm_class=0x40)
        self.world.say(part(1, b"a", reference=8), esm_class=0x40)
        self.world.turn()
        self.world.turn()
        self.assertEqual([[r["b"] for r in b] for b in self.store.batches], [["61", "62", "61"], ["62"]])
        self.assertEqual(self.world.link.acknowledged, [1, 3, 4, 2])

    def test_the_look_finishes_what_is_due(self) -> None:
        self.store.set_rows = [set_row(ONE, 2, b"two", 2, 1)]
        self.store.due_sets = [[ONE]]
        self.inbox.start()
        self.addCleanup(self.inbox.stop)
        (row,) = self.store.finished
        self.assertEqual((row["tx"], row["s"], row["ms"]), ("two", 2, 1))
        self.assertEqual((self.inbox.counts["incomplete"], self.inbox.pending_parts), (1, 3))

    def test_page_after_page(self) -> None:
        self.patch(inbox, "_SETS", 2)
        self.store.due_sets = [[ONE, mo_id(2)], [mo_id(3), mo_id(4)], [mo_id(5)]]
        self.store.set_rows = [set_row(mo_id(n), 1, b"x", 2, 1) for n in range(1, 6)]
        self.inbox.start()
        self.addCleanup(self.inbox.stop)
        self.assertEqual(len(self.store.finished), 5)

    def test_one_from_the_day_before_yesterday(self) -> None:
        old = "MO-" + ids.first_at(1_800_000_000_000 - 2 * 86_400_000)[4:]
        self.store.set_rows = [set_row(old, 1, b"x", 2, 1)]
        self.store.due_sets = [[old]]
        self.inbox.start()
        self.addCleanup(self.inbox.stop)
        (row,) = self.store.finished
        self.assertEqual(row["si"], old)
        self.assertEqual(ids.time_ms(row["i"]), 1_800_000_000_000)

    def test_one_that_another_node_has_finished(self) -> None:
        self.store.complete = [ONE]
        self.world.say(part(2), esm_class=0x40)
        self.world.turn()
        self.world.turn()
        self.assertEqual((self.store.finished, self.store.calls.count("finish")), ([], 0))

    def test_one_that_cannot_be_finished_keeps_no_other_waiting(self) -> None:
        self.store.set_rows = [set_row(mo_id(n), 1, b"bad" if n == 2 else b"x", 2, 1) for n in (1, 2, 3)]
        self.store.poison = "bad"
        self.store.due_sets = [[mo_id(n) for n in (1, 2, 3)]]
        self.inbox.start()
        self.addCleanup(self.inbox.stop)
        self.assertEqual([r["i"] for r in self.store.finished], [mo_id(1), mo_id(3)])

    def test_finishing_fails(self) -> None:
        self.store.set_rows = [set_row(ONE, 1, b"x", 2, 2)]
        self.store.complete = [ONE]
        self.world.say(part(2), esm_class=0x40)
        self.store.hold = True
        self.world.turn()
        self.store.hold, self.store.broken = False, True
        self.store.release()
        self.world.turn()
        self.assertEqual(self.store.finished, [])
        self.store.broken = False
        self.store.due_sets = [[ONE]]
        self.inbox.start()
        self.addCleanup(self.inbox.stop)
        self.assertEqual(len(self.store.finished), 1)


class AnswersTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.store = self.world.store
        m = Message()
        m.id, m.user_id, m.channel = "MSG-1", 42, "SMPP"
        self.store.known = [("A", "4711", m, "SENT", 0)]

    def row(self, **values: Any) -> dict[str, Any]:
        self.world.say(b"read", **values)
        self.world.turn()
        self.world.turn(1.0)
        return self.store.batches[-1][0]

    def test_by_the_smscs_id(self) -> None:
        for kind in (0x08, 0x10, 0x18):
            row = self.row(esm_class=kind, tlvs={tags.RECEIPTED_MESSAGE_ID: b"4711\0"})
            self.assertEqual((row["u"], row["e"], row["tl"]["30"]), (42, kind, b"MSG-1\0".hex()))
            self.assertNotIn("ow", row)
        self.assertEqual(self.world.link.acknowledged, [1, 2, 3])

    def test_sooner_than_the_submit_sm_resp_is_recorded(self) -> None:
        known, self.store.known = self.store.known, []
        self.world.say(b"read", esm_class=0x10, tlvs={tags.RECEIPTED_MESSAGE_ID: b"4711\0"})
        self.world.turn()
        self.store.known = known
        self.world.turn(1.0)
        self.assertEqual(self.store.batches[0][0]["u"], 42)

    def test_in_another_base(self) -> None:
        row = self.row(esm_class=0x10, tlvs={tags.RECEIPTED_MESSAGE_ID: b"1267\0"}, message_id="decimal-to-hex")
        self.assertEqual(row["u"], 42)

    def test_by_the_esmes_reference(self) -> None:
        self.store.by_reference = [("962790000001", "0007", "MSG-0", 41, "SMPP"), ("962790000001", "0007", "MSG-2", 43, "SMPP")]
        row = self.row(esm_class=0x10, tlvs={tags.USER_MESSAGE_REFERENCE: b"\0\7"})
        self.assertEqual((row["u"], row["tl"]), (43, {"516": "0007"}))

    def test_nobody_known(self) -> None:
        for tlvs in ({}, {tags.RECEIPTED_MESSAGE_ID: b"99"}, {tags.USER_MESSAGE_REFERENCE: b"\0\1"}, {tags.RECEIPTED_MESSAGE_ID: b""}):
            row = self.row(esm_class=0x18, tlvs=tlvs)
            self.assertEqual((row["ow"], "u" in row, row["e"]), (True, False, 0x18))

    def test_sent_by_http(self) -> None:
        self.store.known[0][2].channel = "HTTP_API"
        self.assertNotIn("u", self.row(esm_class=0x10, tlvs={tags.RECEIPTED_MESSAGE_ID: b"4711"}))

    def test_the_database_is_away(self) -> None:
        self.store.broken = True
        self.world.say(esm_class=0x10, tlvs={tags.RECEIPTED_MESSAGE_ID: b"4711"})
        for _ in range(10):
            self.world.turn(1.0)
        self.assertEqual(self.world.link.acknowledged, [])
        self.assertNoResult(self.world.inbox.drained())
        self.store.broken = False
        self.world.turn(5.0)
        self.world.turn()
        self.assertEqual((self.world.link.acknowledged, self.store.batches[0][0]["u"]), ([1], 42))
