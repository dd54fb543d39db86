from __future__ import annotations

from protei_bulk.smpp import commands, fast, statuses
from tests.connectors.base import NodeCase
from tests.connectors.fakes import link_of, message, receipt, refuses, took


class Binding(NodeCase):
    def test_the_bind_carries_the_settings(self) -> None:
        self.node.connector(system_id="gw", password="pw", system_type="x")
        wire = self.node.wire()
        (bind,) = wire.pdus()
        self.assertTrue(wire.no_delay)
        self.assertEqual(bind.command_id, commands.BIND_TRANSCEIVER)
        self.assertEqual((bind.fields["system_id"], bind.fields["password"], bind.fields["interface_version"]), ("gw", "pw", 0x34))

    def test_nothing_is_sent_before_the_answer(self) -> None:
        c = self.node.connector()
        wire = self.node.wire()
        wire.clear()
        c.add(message(1))
        c.pump()
        self.assertEqual(wire.pdus(), [])
        self.assertFalse(c.live)
        wire.bind_ok()
        self.assertTrue(c.live)
        self.assertEqual(len(wire.submits()), 1)

    def test_a_refused_bind_does_not_hammer(self) -> None:
        self.node.connector(reconnect_min=1.0, reconnect_max=8.0)
        wires = self.node.endpoints["a"].wires
        at = []
        for _ in range(60):
            if not wires[-1].closed:
                at.append(self.node.clock.seconds())
                wires[-1].bind_ok(statuses.ESME_RBINDFAIL)
                self.assertTrue(wires[-1].aborted)
            self.node.turn(0.5)
        gaps = [b - a for a, b in zip(at, at[1:], strict=False)]
        self.assertEqual(gaps[:5], [1.0, 2.0, 4.0, 8.0, 8.0])

    def test_an_accepted_bind_begins_the_back_off_anew(self) -> None:
        self.node.connector(reconnect_min=1.0, reconnect_max=60.0)
        wires = self.node.endpoints["a"].wires
        for delay in (1.0, 2.0, 4.0):
            wires[-1].bind_ok(statuses.ESME_RINVPASWD)
            self.node.turn(delay)
        self.assertEqual(len(wires), 4)
        wires[-1].bind_ok()
        wires[-1].loseConnection()
        self.node.turn(1.0)
        self.assertEqual(len(wires), 5)

    def test_a_bind_without_an_answer_is_dropped_and_tried_again(self) -> None:
        self.node.connector(response_timeout=10.0)
        self.node.turn(9.9)
        self.assertFalse(self.node.wire().aborted)
        self.node.turn(0.1)
        self.assertTrue(self.node.wire(n=0).aborted)
        self.node.turn(1.0)
        self.assertEqual(len(self.node.endpoints["a"].wires), 2)

    def test_a_generic_nack_refuses_a_bind(self) -> None:
        self.node.connector()
        self.node.wire().say(fast.header(commands.GENERIC_NACK, statuses.ESME_RINVCMDID, 1))
        self.assertTrue(self.node.wire().aborted)

    def test_the_connection_goes_before_the_answer(self) -> None:
        self.node.connector()
        self.node.wire().loseConnection()
        self.node.turn(1.0)
        self.assertEqual(len(self.node.endpoints["a"].wires), 2)


class Traffic(NodeCase):
    def test_the_window_is_the_limit(self) -> None:
        c, wire = self.node.up(window=3)
        self.node.fleet.dispatch([message(n) for n in range(1, 11)])
        first = wire.submits()
        self.assertEqual(len(first), 3)
        wire.say(took(first[1].sequence, "x"))
        self.assertEqual(len(wire.submits()), 1)
        self.assertEqual(len(c.lane), 6)

    def test_answers_out_of_order_and_unknown_ones(self) -> None:
        _, wire = self.node.up()
        self.node.fleet.dispatch([message(1), message(2)])
        a, b = wire.submits()
        wire.say(took(b.sequence, "id-b"), took(4711, "nobody"), took(a.sequence, "id-a"), took(a.sequence, "again"))
        self.node.turn()
        self.assertEqual({r["i"][-1]: r["x"] for r in self.node.store.rows}, {"1": "id-a", "2": "id-b"})

    def test_answers_in_pieces(self) -> None:
        _, wire = self.node.up()
        self.node.fleet.dispatch([message(1)])
        (a,) = wire.submits()
        for octet in took(a.sequence, "slow"):
            wire.say(bytes([octet]))
        self.node.turn()
        self.assertEqual(self.node.store.rows[0]["x"], "slow")

    def test_a_lost_link_gives_back_in_order(self) -> None:
        c, wire = self.node.up()
        self.node.fleet.dispatch([message(n) for n in (1, 2, 3)])
        a, _, _ = wire.submits()
        wire.say(took(a.sequence, "1"))
        c.add(message(4))
        wire.loseConnection()
        self.assertEqual([m.id[-1] for m in c.lane], ["2", "3", "4"])
        self.node.turn(1.0)
        self.node.wire().bind_ok()
        self.assertEqual([p.fields["destination_addr"][-1] for p in self.node.wire().submits()], ["2", "3", "4"])

    def test_enquire_link_both_ways_and_a_silent_smsc(self) -> None:
        _, wire = self.node.up(enquire_link_interval=5.0, response_timeout=4.0)
        wire.say(fast.header(commands.ENQUIRE_LINK, 0, 9))
        (answer,) = wire.pdus()
        self.assertEqual((answer.command_id, answer.sequence), (commands.ENQUIRE_LINK | commands.RESP, 9))
        for _ in range(5):
            self.node.turn(1.0)
        (asked,) = wire.pdus()
        self.assertEqual(asked.command_id, commands.ENQUIRE_LINK)
        for _ in range(4):
            self.node.turn(1.0)
        self.assertTrue(wire.aborted)

    def test_garbage_closes_the_connection(self) -> None:
        _, wire = self.node.up()
        wire.say(b"\0\0\0\1garbage of some length")
        self.assertTrue(wire.aborted)

    def test_an_unknown_command_is_answered(self) -> None:
        _, wire = self.node.up()
        wire.say(fast.header(0x0077, 0, 5))
        (nack,) = wire.pdus()
        self.assertEqual((nack.command_id, nack.status, nack.sequence), (commands.GENERIC_NACK, statuses.ESME_RINVCMDID, 5))

    def test_a_generic_nack_refuses_its_message(self) -> None:
        c, wire = self.node.up()
        self.node.fleet.dispatch([message(1)])
        (a,) = wire.submits()
        wire.say(fast.header(commands.GENERIC_NACK, statuses.ESME_RINVCMDLEN, a.sequence))
        self.node.turn()
        self.assertEqual(self.node.store.status(message(1).id), "REJECTED")
        self.assertEqual(c.rejected, 1)

    def test_unbind_from_the_smsc(self) -> None:
        c, wire = self.node.up()
        wire.say(fast.header(commands.UNBIND, 0, 3))
        self.assertEqual(wire.pdus()[0].command_id, commands.UNBIND | commands.RESP)
        self.assertTrue(wire.closed)
        self.assertFalse(c.live)

    def test_what_is_no_receipt_is_refused(self) -> None:
        _, wire = self.node.up()
        wire.say(fast.encode_sm(commands.DELIVER_SM, 8, b"", 1, 1, "1", 0, 0, "2", 0, 0, 0, b"", b"", 0, 0, 0, 0, b"hello"))
        (answer,) = wire.pdus()
        self.assertEqual((answer.command_id, answer.status), (commands.DELIVER_SM | commands.RESP, statuses.ESME_RX_P_APPN))

    def test_deliver_sm_resp_only_after_the_commit(self) -> None:
        _, wire = self.node.up()
        self.node.fleet.dispatch([message(1)])
        (a,) = wire.submits()
        wire.say(took(a.sequence, "k"))
        self.node.turn()
        self.node.store.hold = True
        wire.say(receipt(55, "k"))
        self.node.turn()
        self.assertEqual(wire.pdus(), [])
        self.node.store.release()
        (answer,) = wire.pdus()
        self.assertEqual((answer.command_id, answer.sequence, answer.status), (commands.DELIVER_SM | commands.RESP, 55, 0))

    def test_no_answer_on_a_dead_link(self) -> None:
        _, wire = self.node.up()
        link = link_of(wire)
        wire.loseConnection()
        wire.clear()
        link.acknowledge([1])
        self.assertEqual(wire.value(), b"")

    def test_emptied(self) -> None:
        c, wire = self.node.up()
        self.node.fleet.dispatch([message(1), message(2)])
        a, b = wire.submits()
        done = c.stop_sending()
        self.assertNoResult(done)
        wire.say(took(a.sequence, "1"), refuses(b.sequence, 0x0B))
        self.successResultOf(done)
