from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model import message
from protei_bulk.smpp import commands, tags
from tests.channels.smpp.fakes import AHMAD, RESP, World, submit

TX, RX, TRX = commands.BIND_TRANSMITTER, commands.BIND_RECEIVER, commands.BIND_TRANSCEIVER
SUBMIT_RESP = commands.SUBMIT_SM | RESP
LINK, LINK_RESP = commands.ENQUIRE_LINK, commands.ENQUIRE_LINK | RESP


class BindTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def test_every_kind(self) -> None:
        for command, kind in ((TX, "TRANSMITTER"), (RX, "RECEIVER"), (TRX, "TRANSCEIVER")):
            peer = self.world.connect()
            peer.bind(command)
            (answer,) = peer.read()
            self.assertEqual((command | RESP, 0, 1), (answer.command_id, answer.status, answer.sequence))
            self.assertEqual("protei-bulk", answer.fields["system_id"])
            self.assertEqual({tags.SC_INTERFACE_VERSION: b"\x34"}, answer.tlvs)
            self.assertEqual(kind, self.world.auth.asked[-1]["bind_type"])

    def test_a_peer_of_3_3_gets_no_tlvs(self) -> None:
        peer = self.world.connect()
        peer.bind(TRX, version=0x33)
        self.assertEqual({}, peer.read()[0].tlvs)

    def test_a_wrong_password(self) -> None:
        peer = self.world.connect()
        peer.bind(password="wrong")
        self.assertEqual([(TRX | RESP, 0x0E)], peer.answers())
        self.assertTrue(peer.transport.disconnecting)

    def test_other_reasons_are_bind_failures(self) -> None:
        for code in ("NOT_PERMITTED", "IP_NOT_ALLOWED", "SUSPENDED", "TOO_MANY_ATTEMPTS"):
            self.world.auth.code = code
            peer = self.world.connect()
            peer.bind(password="wrong")
            self.assertEqual([(TRX | RESP, 0x0D)], peer.answers())

    def test_a_second_bind(self) -> None:
        peer = self.world.bound()
        peer.bind(TX)
        self.assertEqual([(TX | RESP, 0x05)], peer.answers())
        peer.submit()
        self.assertEqual([(SUBMIT_RESP, 0)], peer.answers())

    def test_the_database_is_away(self) -> None:
        self.world.auth.broken = OSError("gone")
        peer = self.world.connect()
        peer.bind()
        self.assertEqual([(TRX | RESP, 0x08)], peer.answers())
        self.assertTrue(peer.transport.disconnecting)

    def test_what_is_sent_while_the_password_is_checked(self) -> None:
        self.world.auth.waiting = []
        peer = self.world.connect()
        peer.bind()
        peer.submit()
        peer.bind()
        self.assertEqual([(SUBMIT_RESP, 0x04), (TRX | RESP, 0x04)], peer.answers())
        ((d, result),) = self.world.auth.waiting
        d.callback(result)
        self.assertEqual([(TRX | RESP, 0)], peer.answers())

    def test_a_peer_that_left_before_the_answer_leaves_no_session(self) -> None:
        self.world.start()
        self.world.auth.waiting = []
        peer = self.world.connect()
        peer.bind()
        peer.lose()
        ((d, result),) = self.world.auth.waiting
        d.callback(result)
        self.world.wait(1)
        self.assertEqual(["token-1"], self.world.rows.ended)
        self.assertFalse(self.world.delivery.reachable(7))

    def test_a_cut_off_bind(self) -> None:
        peer = self.world.connect()
        peer.send(bytes.fromhex("00000012 00000009 00000000 00000001 4141"))
        ((command, status),) = peer.answers()
        self.assertEqual(TRX | RESP, command)
        self.assertNotEqual(0, status)
        self.assertTrue(peer.ended)  # as after any bind that is refused

    def test_the_node_is_busy(self) -> None:
        self.world.auth.code = "BUSY"
        peer = self.world.connect()
        peer.bind(password="wrong")
        self.assertEqual([(TRX | RESP, 0x08)], peer.answers())


class PermissionTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def test_submit_before_bind(self) -> None:
        peer = self.world.connect()
        peer.submit()
        self.assertEqual([(SUBMIT_RESP, 0x04)], peer.answers())
        self.assertTrue(peer.ended)
        self.assertEqual([], self.world.intake.messages)

    def test_a_receiver_does_not_submit(self) -> None:
        peer = self.world.bound(RX)
        peer.submit()
        self.assertEqual([(SUBMIT_RESP, 0x04)], peer.answers())
        self.assertEqual([], self.world.intake.messages)
        self.assertFalse(peer.ended)

    def test_a_transmitter_gets_no_receipts(self) -> None:
        peer = self.world.bound(TX)
        self.assertFalse(self.world.delivery.reachable(7))
        self.assertEqual(0, peer.session.deliver_room)

    def test_an_unknown_command(self) -> None:
        peer = self.world.bound()
        peer.request(0x0777, 42)
        (answer,) = peer.read()
        self.assertEqual((commands.GENERIC_NACK, 0x03, 42), (answer.command_id, answer.status, answer.sequence))
        self.assertFalse(peer.ended)

    def test_broadcasts_are_of_5_0_and_not_offered(self) -> None:
        for version, answer in ((0x34, lambda _: (commands.GENERIC_NACK, 0x03)), (0x50, lambda c: (c | RESP, 0x101))):
            peer = self.world.connect()
            peer.bind(version=version)
            peer.read()
            for command in (commands.BROADCAST_SM, commands.QUERY_BROADCAST_SM, commands.CANCEL_BROADCAST_SM):
                peer.request(command)
                self.assertEqual([answer(command)], peer.answers())
            self.assertFalse(peer.ended)

    def test_a_length_that_cannot_be(self) -> None:
        for length in (0, 15, 2**31, 2**32 - 1):
            peer = self.world.bound()
            peer.send(length.to_bytes(4, "big") + bytes(12))
            self.assertEqual([(commands.GENERIC_NACK, 0x02)], peer.answers())
            self.assertTrue(peer.ended)
            peer.submit()
            self.assertEqual([], peer.read())

    def test_what_came_before_a_broken_length_is_taken(self) -> None:
        peer = self.world.bound()
        peer.send(submit(9) + b"\0\0\0\x0f")
        self.assertEqual([(SUBMIT_RESP, 0), (commands.GENERIC_NACK, 0x02)], peer.answers())
        self.assertEqual(1, len(self.world.intake.messages))


class SubmitTest(SynchronousTestCase):
    def test_id_and_sequence(self) -> None:
        world = World()
        peer = world.bound(TX)
        peer.send(submit(77))
        (answer,) = peer.read()
        self.assertEqual((77, "MSG-000000000001"), (answer.sequence, answer.fields["message_id"]))

    def test_a_refusal(self) -> None:
        world = World()
        world.intake.hold = True
        peer = world.bound()
        peer.submit()
        world.intake.messages[0].refusal = message.QUOTA_EXCEEDED
        world.intake.answer()
        self.assertEqual([(SUBMIT_RESP, 0x45)], peer.answers())

    def test_tps_counts_segments(self) -> None:
        world = World()
        world.auth.account = evolve(AHMAD, max_tps=4)
        peer = world.bound()
        peer.send(submit(1, b"x" * 400, tlvs={}) + submit(2) + submit(3) + submit(4, b"x" * 161))
        self.assertEqual(
            [(SUBMIT_RESP, 0), (SUBMIT_RESP, 0), (SUBMIT_RESP, 0x58), (SUBMIT_RESP, 0x58)], peer.answers()
        )
        world.clock.advance(0.5)
        peer.submit(b"x" * 161)
        self.assertEqual([(SUBMIT_RESP, 0)], peer.answers())

    def test_another_rate_holds_at_once(self) -> None:
        world = World()
        peer = world.bound()
        world.factory.account_changed(evolve(AHMAD, max_tps=1), 7)
        peer.send(submit(1) + submit(2))
        self.assertEqual([(SUBMIT_RESP, 0), (SUBMIT_RESP, 0x58)], peer.answers())

    def test_a_full_window_pauses_reading(self) -> None:
        world = World(window=4)
        world.intake.hold = True
        peer = world.bound()
        peer.send(b"".join(submit(n) for n in range(1, 5)))
        self.assertFalse(peer.transport.paused)
        peer.submit()
        self.assertTrue(peer.transport.paused)
        for m in world.intake.held[:3]:
            peer.session.answered([m])
        self.assertFalse(peer.transport.paused)

    def test_answers_after_the_end_go_nowhere(self) -> None:
        world = World()
        world.intake.hold = True
        peer = world.bound()
        peer.submit()
        peer.lose()
        world.intake.answer()
        self.assertEqual([], peer.read())


class TurnsTest(SynchronousTestCase):
    def test_two_at_once_are_served_one_after_the_other(self) -> None:
        world = World()
        one, two = world.bound(), world.bound()
        one.session.dataReceived(submit(1, b"x" * 4000))
        two.session.dataReceived(submit(1))
        two.session.dataReceived(submit(2))
        self.assertEqual((1, 0, False), (len(one.read()), len(two.read()), two.transport.paused))
        two.session.dataReceived(submit(3, b"x" * 17_000))
        self.assertTrue(two.transport.paused)
        world.clock.advance(0)
        self.assertEqual((3, False), (len(two.read()), two.transport.paused))

    def test_what_waits_is_served_before_a_half_closed_connection_ends(self) -> None:
        world = World()
        one, two = world.bound(), world.bound()
        one.session.dataReceived(submit(1, b"x" * 4000))
        two.session.dataReceived(submit(1))
        two.session.readConnectionLost()
        self.assertEqual(1, len(two.read()))
        world.clock.advance(0)
        self.assertEqual((2, []), (len(world.intake.messages), two.read()))

    def test_one_that_left_in_the_queue_is_not_served(self) -> None:
        world = World()
        one, two = world.bound(), world.bound()
        one.session.dataReceived(submit(1, b"x" * 4000))
        two.session.dataReceived(submit(1))
        two.lose()
        world.clock.advance(0)
        self.assertEqual(1, len(world.intake.messages))


class TimeTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.start()

    def test_enquire_link_from_the_peer(self) -> None:
        peer = self.world.bound()
        peer.request(LINK, 5)
        self.assertEqual([(LINK_RESP, 0)], peer.answers())

    def test_enquire_link_before_bind(self) -> None:
        peer = self.world.connect()
        peer.request(LINK, 5)
        self.assertEqual([(LINK_RESP, 0)], peer.answers())
        self.assertFalse(peer.ended)

    def test_a_silent_peer_is_asked_and_dropped(self) -> None:
        peer = self.world.bound()
        self.world.wait(30)
        self.assertEqual([(LINK, 0)], peer.answers())
        self.world.wait(9)
        self.assertFalse(peer.ended)
        self.world.wait(2)
        self.assertTrue(peer.transport.aborted)

    def test_one_that_answers_stays(self) -> None:
        peer = self.world.bound()
        for _ in range(5):
            self.world.wait(30)
            for pdu in peer.read():
                peer.request(LINK_RESP, pdu.sequence)
        self.assertFalse(peer.ended)

    def test_nobody_binds(self) -> None:
        peer = self.world.connect()
        self.world.wait(9)
        self.assertFalse(peer.ended)
        self.world.wait(1)
        self.assertTrue(peer.transport.aborted)

    def test_inactivity(self) -> None:
        world = World(inactivity_timeout=60.0, enquire_link_interval=0.0)
        world.start()
        peer = world.bound()
        for _ in range(59):
            world.wait(1)
            peer.request(LINK)
        self.assertFalse(peer.ended)
        world.wait(1)
        self.assertTrue(peer.transport.aborted)


class EndTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.start()

    def test_unbind(self) -> None:
        peer = self.world.bound()
        peer.request(commands.UNBIND, 9)
        self.assertEqual([(commands.UNBIND | RESP, 0)], peer.answers())
        self.assertTrue(peer.transport.disconnecting)
        self.assertFalse(self.world.delivery.reachable(7))

    def test_unbind_waits_for_what_is_being_stored(self) -> None:
        self.world.intake.hold = True
        peer = self.world.bound()
        peer.send(submit(1) + bytes.fromhex("00000010 00000006 00000000 00000009"))
        self.assertFalse(peer.transport.disconnecting)
        self.world.intake.answer()
        self.assertEqual([(commands.UNBIND | RESP, 0), (SUBMIT_RESP, 0)], peer.answers())
        self.assertTrue(peer.transport.disconnecting)

    def test_one_that_does_not_close_is_cut(self) -> None:
        peer = self.world.bound()
        peer.session.close()
        self.world.wait(5)
        self.assertTrue(peer.transport.aborted)
