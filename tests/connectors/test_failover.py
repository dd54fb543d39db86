"""What becomes of messages when an SMSC is down, ill, or will not have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protei_bulk.connectors.connector import Connector
from protei_bulk.settings import Rewrite
from tests.connectors.base import NodeCase
from tests.connectors.fakes import Node, Wire, message, refuses, took

LONG = {"body": b"x" * 200, "segments": 2}
BOTH = ("a", "b")
SYSERR, SUBMITFAIL, DSTADR = 0x08, 0x45, 0x0B


def digits(wire: Wire) -> str:
    return "".join(p.fields["destination_addr"][-1] for p in wire.submits())


class Down(NodeCase):
    def test_what_waits_moves_within_half_a_second_and_keeps_its_order(self) -> None:
        _, wire = self.node.up("a", window=2, reconnect_min=60.0)
        _, other = self.node.up("b")
        self.node.fleet.dispatch([message(n, candidates=BOTH) for n in range(1, 8)])
        self.assertEqual(digits(wire), "12")
        wire.loseConnection()
        self.assertEqual(digits(other), "")
        self.node.turn(0.5)
        self.assertEqual(digits(other), "1234567")
        self.assertEqual(self.node.store.queue, [])

    def test_new_ones_go_to_the_other_at_once(self) -> None:
        _, wire = self.node.up("a", reconnect_min=60.0)
        self.node.up("b")
        wire.loseConnection()
        m = message(1, smsc="", candidates=BOTH)
        self.node.fleet.place(m)
        self.assertEqual((m.smsc, m.queued), ("b", False))

    def test_a_bind_that_comes_back_in_time_keeps_them(self) -> None:
        _, wire = self.node.up("a", window=1, reconnect_min=0.1)
        _, other = self.node.up("b")
        self.node.fleet.dispatch([message(n, candidates=BOTH) for n in (1, 2)])
        wire.loseConnection()
        self.node.turn(0.2)
        self.node.wire("a").bind_ok()
        self.node.turn(1.0)
        self.assertEqual((digits(self.node.wire("a")), digits(other)), ("1", ""))

    def test_more_than_the_other_has_room_for_waits_in_its_queue(self) -> None:
        _, wire = self.node.up("a", window=1, reconnect_min=60.0)
        b, other = self.node.up("b", window=1, queue_memory=2)
        self.node.fleet.dispatch([message(n, candidates=BOTH) for n in range(1, 8)])
        wire.loseConnection()
        self.node.turn(0.5)
        self.assertEqual(digits(other), "1")
        self.assertEqual([m.id[-1] for m in b.lane], ["2"])
        self.assertEqual([(r["i"][-1], r["q"]) for r in self.node.store.queue], [(str(n), "b") for n in range(3, 8)])
        self.assertTrue(b.backlogged)

    def test_those_without_another_candidate_stay_in_their_order(self) -> None:
        a, wire = self.node.up("a", window=1, reconnect_min=60.0)
        self.node.up("b")
        self.node.fleet.dispatch([message(n, candidates=BOTH if n % 2 else ("a",)) for n in range(1, 7)])
        wire.loseConnection()
        self.node.turn(0.5)
        self.assertEqual([m.id[-1] for m in a.lane], ["2", "4", "6"])
        self.node.turn(4.5)
        self.assertEqual([(r["i"][-1], r["q"]) for r in self.node.store.queue], [("2", "a"), ("4", "a"), ("6", "a")])

    def test_what_may_have_gone_out_is_held_where_nothing_may_go_twice(self) -> None:
        _, wire = self.node.up("a", window=1, reconnect_min=60.0, outcome_unknown="hold")
        _, other = self.node.up("b")
        self.node.fleet.dispatch([message(n, candidates=BOTH) for n in (1, 2)])
        wire.loseConnection()
        self.node.turn(0.5)
        self.assertEqual(digits(other), "2")
        self.assertEqual([(r["i"][-1], r["q"], r["h"]) for r in self.node.store.queue], [("1", "a", True)])

    def test_taken_out_of_the_configuration(self) -> None:
        _, wire = self.node.up("a", window=1)
        self.node.up("b")
        self.node.fleet.dispatch([message(1), message(2)])
        wire.clear()
        self.node.fleet.remove(["a"])
        self.node.turn(0.0)
        m = message(3, smsc="", candidates=BOTH)
        self.node.fleet.place(m)
        self.assertEqual(m.smsc, "b")
        self.node.fleet.dispatch([message(4)])  # placed before, committed after
        self.node.turn(40.0)
        self.assertEqual(sorted(r["i"][-1] for r in self.node.store.queue), ["1", "2", "4"])


class Refusing(NodeCase):
    def pair(self, **settings: Any) -> tuple[Wire, Wire]:
        return self.node.up("a", **settings)[1], self.node.up("b", **settings)[1]

    def test_for_a_while_by_one_then_by_the_other_then_it_waits(self) -> None:
        a, b = self.pair()
        m = message(1, candidates=BOTH)
        self.node.fleet.dispatch([m])
        a.say(refuses(a.submits()[0].sequence, SYSERR))
        b.say(refuses(b.submits()[0].sequence, SYSERR))
        self.assertEqual((digits(a), digits(b)), ("", ""))
        (row,) = self.node.store.queue
        self.assertEqual((row["q"], row["n"], row["w"] - self.node.clock.seconds()), ("b", 2, 2.0))

    def test_it_waits_longer_each_time_until_its_validity_ends(self) -> None:
        c, wire = self.node.up("a", retry_max=60.0)
        c.failures.validity = 200.0
        m = message(1)
        waits = []
        for _ in range(30):
            self.node.fleet.dispatch([m])
            found = wire.submits()
            if not found:
                break
            wire.say(refuses(found[0].sequence, SYSERR))
            self.node.turn()
            waits.append(self.node.store.queue[-1]["w"] - self.node.clock.seconds())
            self.node.turn(waits[-1])
        self.assertEqual(waits[:7], [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])
        self.assertAlmostEqual(sum(waits), 200.0)
        self.node.turn()
        self.assertEqual(self.node.store.status(m.id), "EXPIRED")
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["EXPIRED"])

    def test_waits_differ(self) -> None:
        for chance, wait in ((0.0, 1.5), (1.0, 2.5)):
            self.setUp()
            _, wire = self.node.up("a", chance=lambda chance=chance: chance)
            self.node.fleet.dispatch([message(1)])
            wire.say(refuses(wire.submits()[0].sequence, SYSERR))
            self.assertEqual(self.node.store.queue[0]["w"] - self.node.clock.seconds(), wait)

    def test_one_that_will_not_have_it_and_the_next(self) -> None:
        a, b = self.pair()
        m = message(1, candidates=BOTH)
        self.node.fleet.dispatch([m])
        a.say(refuses(a.submits()[0].sequence, SUBMITFAIL))
        (pdu,) = b.submits()
        b.say(took(pdu.sequence, "x"))
        self.node.turn()
        self.assertEqual((self.node.store.status(m.id), m.smsc, m.tried), ("SENT", "b", "a:REJECTD:069:"))

    def test_none_will_have_it(self) -> None:
        a, b = self.pair()
        self.node.fleet.dispatch([message(1, candidates=BOTH)])
        a.say(refuses(a.submits()[0].sequence, SUBMITFAIL))
        b.say(refuses(b.submits()[0].sequence, SUBMITFAIL))
        self.node.turn()
        self.assertEqual((digits(a), digits(b)), ("", ""))
        self.assertEqual(self.node.store.rows[-1], {"i": message(1).id, "z": "REJECTED", "d": "REJECTD", "e": "069"})

    def test_nobody_is_asked_again_after_a_while_either(self) -> None:
        a, b = self.pair()
        m = message(1, candidates=BOTH)
        self.node.fleet.dispatch([m])
        a.say(refuses(a.submits()[0].sequence, SUBMITFAIL))
        b.say(refuses(b.submits()[0].sequence, SYSERR))
        self.node.turn()
        self.assertEqual(digits(a), "")
        (row,) = self.node.store.queue
        self.assertEqual((row["q"], row["t"]), ("b", "a:REJECTD:069:"))

    def test_the_message_itself_is_wrong(self) -> None:
        a, b = self.pair()
        self.node.fleet.dispatch([message(1, candidates=BOTH)])
        a.say(refuses(a.submits()[0].sequence, DSTADR))
        self.node.turn()
        self.assertEqual((digits(b), self.node.store.status(message(1).id)), ("", "REJECTED"))

    def test_what_the_settings_say_of_a_code(self) -> None:
        a, b = self.pair(errors=((DSTADR, "next"), (0x400, "retry"), (SYSERR, "reject")))
        self.node.fleet.dispatch([message(n, candidates=BOTH) for n in (1, 2, 3)])
        first, second, third = a.submits()
        a.say(refuses(first.sequence, DSTADR), refuses(second.sequence, 0x400), refuses(third.sequence, SYSERR))
        self.node.turn()
        self.assertEqual(digits(b), "12")
        self.assertEqual(self.node.store.status(message(3).id), "REJECTED")

    def test_parts_of_an_attempt_that_is_over_do_not_touch_the_next(self) -> None:
        a, b = self.pair()
        m = message(1, candidates=BOTH, **LONG)
        self.node.fleet.dispatch([m])
        first, second = a.submits()
        a.say(refuses(first.sequence, SYSERR))
        one, two = b.submits()
        a.say(took(second.sequence, "from-a"))
        b.say(took(one.sequence, "1"), took(two.sequence, "2"))
        self.node.turn()
        self.assertEqual([(r["n"], r["q"], r["x"]) for r in self.node.store.parts], [(1, "b", "1"), (2, "b", "2")])
        self.assertEqual([r["z"] for r in self.node.store.rows], ["SENT"])
        self.assertEqual(self.node.store.queue, [])

    def test_parts_that_may_have_gone_out_are_held(self) -> None:
        a, b = self.pair(outcome_unknown="hold")
        self.node.fleet.dispatch([message(1, candidates=BOTH, **LONG)])
        a.say(refuses(a.submits()[0].sequence, SYSERR))
        self.assertEqual((digits(b), [(r["q"], r["h"]) for r in self.node.store.queue]), ("", [("a", True)]))


class Ill(NodeCase):
    """The breaker of a connector."""

    def ill(self, *candidates: str, count: int = 4, **settings: Any) -> tuple[Connector, Wire]:
        """An SMSC that has refused so many messages for a while, of those that it had been given."""
        c, wire = self.node.up("a", breaker_least=4, breaker_probes=2, window=20, **settings)
        self.node.fleet.dispatch([message(n, candidates=("a", *candidates)) for n in range(1, count + 1)])
        wire.say(*(refuses(p.sequence, SYSERR) for p in wire.submits()[:4]))
        return c, wire

    def test_it_is_left_alone_and_others_take_what_waits(self) -> None:
        _, other = self.node.up("b")
        c, wire = self.ill("b", count=30)
        self.assertEqual((c.health.sound, c.health.state(True), c.health.opened), (False, "DEGRADED", 1))
        self.assertEqual(sorted(int(p.fields["destination_addr"][-2:]) for p in other.submits()), [1, 2, 3, 4, *range(21, 31)])
        m = message(99, smsc="", candidates=("a", "b"))
        self.node.fleet.place(m)
        self.assertEqual((m.smsc, m.queued), ("b", False))
        self.assertEqual(digits(wire), "")

    def test_after_a_rest_a_few_are_tried_then_all(self) -> None:
        _, other = self.node.up("b")
        c, wire = self.ill("b")
        other.clear()
        self.node.turn(5.0)
        self.assertEqual(c.health.state(True), "PROBING")
        placed = []
        for n in range(10, 14):
            m = message(n, smsc="", candidates=("a", "b"))
            self.node.fleet.place(m)
            placed.append(m.smsc)
            self.node.fleet.dispatch([m])
        self.assertEqual(placed, ["a", "a", "b", "b"])
        wire.say(*(took(p.sequence, str(p.sequence)) for p in wire.submits()))
        self.assertEqual((c.health.sound, c.health.state(True)), (True, "BOUND"))
        m = message(20, smsc="", candidates=("a", "b"))
        self.node.fleet.place(m)
        self.assertEqual(m.smsc, "a")

    def test_a_try_that_fails_makes_the_rest_longer(self) -> None:
        c, wire = self.ill()
        self.node.store.queue.clear()
        self.node.turn(5.0)
        self.node.fleet.dispatch([message(50)])
        wire.say(refuses(wire.submits()[0].sequence, SYSERR))
        self.assertEqual((c.health.opened, c.health.wait()), (2, 10.0))
        self.assertEqual([r["i"][-2:] for r in self.node.store.queue], ["50"])

    def test_the_only_one_keeps_its_messages_until_it_is_tried(self) -> None:
        c, wire = self.ill(count=30)
        self.assertEqual(len(c.lane), 10)
        m = message(99, smsc="", candidates=("a",))
        self.node.fleet.place(m)
        self.assertEqual((m.smsc, m.queued, c.backlogged), ("a", True, True))
        self.node.turn(5.0)
        probes = wire.submits()
        self.assertEqual(len(probes), 2)
        self.assertEqual(self.node.store.named("claim")[1:], [])
        wire.say(*(took(p.sequence, str(p.sequence)) for p in probes))
        self.assertEqual(len(wire.submits()), 4)  # as many as the window has room for
        self.assertEqual(self.node.store.named("claim")[1:], ["a"])

    def test_throttling_is_no_illness(self) -> None:
        c, wire = self.node.up("a", breaker_least=4)
        self.node.fleet.dispatch([message(n) for n in range(1, 9)])
        wire.say(*(refuses(p.sequence, 0x58) for p in wire.submits()))
        self.assertTrue(c.health.sound)

    def test_neither_are_messages_that_are_wrong(self) -> None:
        c, wire = self.node.up("a", breaker_least=4)
        self.node.fleet.dispatch([message(n) for n in range(1, 9)])
        wire.say(*(refuses(p.sequence, DSTADR) for p in wire.submits()))
        self.assertTrue(c.health.sound)

    def test_silence_is(self) -> None:
        c, wire = self.node.up("a", breaker_least=4, response_timeout=3.0, enquire_link_interval=0.0, outcome_unknown="hold")
        self.node.fleet.dispatch([message(n) for n in range(1, 9)])
        for _ in range(8):
            self.node.turn(0.5)
        self.assertFalse(c.health.sound)

    def test_so_are_late_answers(self) -> None:
        c, wire = self.node.up("a", breaker_least=4, breaker_latency=2.0)
        self.node.fleet.dispatch([message(n) for n in range(1, 5)])
        self.node.turn(2.1)
        wire.say(*(took(p.sequence, str(p.sequence)) for p in wire.submits()))
        self.assertFalse(c.health.sound)
        self.node.turn()
        self.assertEqual([r["z"] for r in self.node.store.rows], ["SENT"] * 4)

    def test_good_answers_in_time_are_not(self) -> None:
        c, wire = self.node.up("a", breaker_least=4, breaker_latency=2.0)
        self.node.fleet.dispatch([message(n) for n in range(1, 5)])
        self.node.turn(1.9)
        wire.say(*(took(p.sequence, str(p.sequence)) for p in wire.submits()))
        self.assertTrue(c.health.sound)

    def test_switched_off(self) -> None:
        c, _ = self.ill(breaker_share=0.0)
        self.assertTrue(c.health.sound)

    def test_probes_of_a_bind_that_is_lost_do_not_block_the_next(self) -> None:
        c, wire = self.ill()
        self.node.turn(5.0)
        self.node.fleet.dispatch([message(n) for n in (50, 51)])
        wire.loseConnection()
        self.node.turn(1.0)
        self.node.wire("a").bind_ok()
        self.assertEqual(len(self.node.wire("a").submits()), 2)


class Rewriting(NodeCase):
    def out(self, rewrite: Rewrite, **values: Any) -> tuple[Any, ...]:
        _, wire = self.node.up("a")
        self.node.fleet.rewrite({"vip": rewrite})
        m = message(1, route="vip", **values)
        self.node.fleet.dispatch([m])
        f = wire.submits()[0].fields
        self.assertEqual((m.source, m.dest), (values.get("source", "Shop"), values.get("dest", "962790000001")))
        names = ("source_addr_ton", "source_addr_npi", "source_addr", "dest_addr_ton", "dest_addr_npi", "destination_addr")
        return tuple(f[name] for name in names)

    def test_sender_of_another_kind(self) -> None:
        self.assertEqual(self.out(Rewrite(sender="Brand"), source="12345", source_ton=1, source_npi=1)[:3], (5, 0, "Brand"))
        self.assertEqual(self.out(Rewrite(sender="12345"), source_ton=5)[:3], (0, 1, "12345"))
        self.assertEqual(self.out(Rewrite(sender="12345", source_ton=3, source_npi=8), source_ton=5)[:3], (3, 8, "12345"))

    def test_recipient(self) -> None:
        out = self.out(Rewrite(dest_strip="962", dest_add="00", dest_ton=2, dest_npi=8))
        self.assertEqual(out[3:], (2, 8, "00790000001"))
        self.assertEqual(self.out(Rewrite(dest_strip="963", dest_add="7"))[5], "7962790000001")

    def test_what_would_be_no_address_stays(self) -> None:
        self.assertEqual(self.out(Rewrite(dest_add="1" * 10))[5], "962790000001")
        self.assertEqual(self.out(Rewrite(dest_strip="962790000001"))[5], "962790000001")

    def test_parts_too_and_other_rules_not(self) -> None:
        _, wire = self.node.up("a")
        self.node.fleet.rewrite({"vip": Rewrite(sender="Brand")})
        self.node.fleet.dispatch([message(1, route="vip", **LONG), message(2, route="other"), message(3)])
        self.assertEqual([p.fields["source_addr"] for p in wire.submits()], ["Brand", "Brand", "Shop", "Shop"])

    def test_a_new_connector_has_the_rules(self) -> None:
        self.node.fleet.rewrite({"vip": Rewrite(sender="Brand")})
        _, wire = self.node.up("new")
        self.node.fleet.dispatch([message(1, smsc="new", route="vip")])
        self.assertEqual(wire.submits()[0].fields["source_addr"], "Brand")


class Stopped(NodeCase):
    """A campaign is stopped while an SMSC, or whoever asked for it, has a message of it."""

    def test_what_an_smsc_refuses_goes_to_no_other(self) -> None:
        for status in (SYSERR, SUBMITFAIL):
            self.node = Node(Path(self.mktemp()))
            self.addCleanup(self.node.journal.close)
            _, wire = self.node.up("a")
            _, other = self.node.up("b")
            self.node.fleet.dispatch([message(1, candidates=BOTH, campaign_id=7), message(2, candidates=BOTH, campaign_id=8)])
            self.node.fleet.holding.stop(frozenset({7}))
            wire.say(*(refuses(p.sequence, status) for p in wire.submits()))
            self.assertEqual(digits(other), "2", status)
            self.assertEqual([(r["i"][-1], r["k"], r["h"]) for r in self.node.store.queue], [("1", 7, True)])

    def test_what_was_taken_back_does_not_go_out_after_all(self) -> None:
        a, wire = self.node.up("a", window=1)
        self.node.fleet.dispatch([message(n, campaign_id=7) for n in (1, 2)])
        [m] = self.node.fleet.withdraw({message(2).id})
        self.node.fleet.holding.stop(frozenset({7}))
        self.assertEqual(self.node.fleet.give_back([m]), [])
        self.assertEqual((digits(wire), len(a.lane)), ("1", 0))
        self.assertEqual([(r["i"][-1], r["k"]) for r in self.node.store.queue], [("2", 7)])
