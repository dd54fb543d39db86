"""ESMEs that ask too much, or do not read: bounded, told, and in the end given up."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model.message import Message
from protei_bulk.receipts.outcomes import Forward
from protei_bulk.smpp import commands, fast
from tests.channels.smpp.fakes import RESP, Peer, World, bind, submit

SUBMIT_RESP = commands.SUBMIT_SM | RESP


def receipts(count: int) -> list[Forward]:
    found = []
    for n in range(count):
        m = Message()
        m.user_id, m.id, m.source, m.dest = 7, f"MSG-{n:012d}", "Shop", "962788123456"
        found.append(Forward(m, "DELIVRD", "000", 0.0))
    return found


def block(peer: Peer) -> None:
    """The transport has more than it likes to write."""
    peer.transport.producer.pauseProducing()  # type: ignore[union-attr]


def drain(peer: Peer) -> None:
    peer.transport.producer.resumeProducing()  # type: ignore[union-attr]


class ExcessTest(SynchronousTestCase):
    def test_beyond_twice_the_window_is_throttled(self) -> None:
        world = World(window=2)
        world.intake.hold = True
        peer = world.bound()
        peer.send(b"".join(submit(n) for n in range(1, 8)))
        throttled = peer.read()
        self.assertEqual([(SUBMIT_RESP, 0x58, n) for n in (5, 6, 7)], [(p.command_id, p.status, p.sequence) for p in throttled])
        self.assertTrue(peer.transport.paused)
        world.intake.answer()
        self.assertEqual([(SUBMIT_RESP, 0)] * 4, peer.answers())
        self.assertFalse(peer.transport.paused)
        self.assertEqual(4, len(world.intake.messages))

    def test_other_requests_in_the_same_read_are_served(self) -> None:
        world = World(window=1)
        world.intake.hold = True
        peer = world.bound()
        peer.send(submit(1) + submit(2) + submit(3) + fast.header(commands.ENQUIRE_LINK, 0, 4))
        self.assertEqual([(SUBMIT_RESP, 0x58), (commands.ENQUIRE_LINK | RESP, 0)], peer.answers())

    def test_many_small_requests_are_no_excess(self) -> None:
        world = World(window=1)
        peer = world.bound()
        peer.send(b"".join(fast.header(commands.ENQUIRE_LINK, 0, n) for n in range(1, 50)))
        self.assertEqual(49, len(peer.read()))


class SlowReaderTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(write_timeout=30)
        self.world.start()
        self.peer = self.world.bound()
        self.session = self.peer.session

    def test_it_is_not_read_and_gets_no_receipts_until_it_reads(self) -> None:
        block(self.peer)
        block(self.peer)  # the transport says so with each write
        self.assertTrue(self.peer.transport.paused)
        self.assertEqual(0, self.session.deliver_room)
        self.world.delivery.forward(receipts(3))
        self.assertEqual([], self.peer.read())
        drain(self.peer)
        self.assertFalse(self.peer.transport.paused)
        self.assertEqual([(commands.DELIVER_SM, 0)] * 3, self.peer.answers())

    def test_another_bind_of_the_account_gets_them_meanwhile(self) -> None:
        other = self.world.bound()
        block(self.peer)
        self.world.delivery.forward(receipts(3))
        self.assertEqual(([], 3), (self.peer.read(), len(other.read())))

    def test_it_is_given_up(self) -> None:
        block(self.peer)
        self.world.wait(30)
        self.assertFalse(self.peer.ended)
        self.world.wait(2)
        self.assertTrue(self.peer.transport.aborted)

    def test_one_that_never_binds_too(self) -> None:
        peer = self.world.connect()
        block(peer)
        self.world.wait(10)
        self.assertTrue(peer.transport.aborted)

    def test_one_that_reads_now_and_then_stays(self) -> None:
        for _ in range(4):
            block(self.peer)
            self.world.wait(20)
            drain(self.peer)
        self.assertFalse(self.peer.ended)

    def test_two_reasons_not_to_read(self) -> None:
        self.world.intake.hold = True
        self.world.factory.settings = self.world.factory.settings.__class__(window=1)
        self.peer.send(submit(1) + submit(2))
        block(self.peer)
        self.world.intake.answer()
        self.assertTrue(self.peer.transport.paused)
        drain(self.peer)
        self.assertFalse(self.peer.transport.paused)

    def test_answers_that_we_do_not_read_are_not_late(self) -> None:
        """The database hangs for a while: an ESME whose deliver_sm_resp we do not read has done no wrong."""
        self.world.intake.hold = True
        self.world.factory.settings = evolve(self.world.factory.settings, window=1)
        self.world.delivery.forward(receipts(2))
        delivered = [p.sequence for p in self.peer.read() if p.command_id == commands.DELIVER_SM]
        self.peer.send(submit(1) + submit(2))
        self.world.wait(25)
        self.world.intake.answer()
        self.world.wait(1)
        for sequence in delivered:
            self.peer.request(commands.DELIVER_SM | RESP, sequence)
        self.world.wait(20)
        self.assertFalse(self.peer.ended)

    def test_the_end_is_not_kept_from_it(self) -> None:
        """A transport with a producer that is paused would never close."""
        block(self.peer)
        self.session.close()
        self.assertIsNone(self.peer.transport.producer)
        self.assertFalse(self.peer.transport.paused)
        self.assertTrue(self.peer.transport.disconnecting)
        self.world.wait(5)
        self.assertTrue(self.peer.transport.aborted)

    def test_closed_from_below(self) -> None:
        block(self.peer)
        self.peer.transport.disconnecting = True
        drain(self.peer)
        self.assertIsNone(self.peer.transport.producer)


class HalfClosedTest(SynchronousTestCase):
    def test_what_is_owed_is_still_written(self) -> None:
        world = World()
        world.intake.hold = True
        peer = world.bound()
        peer.submit()
        peer.session.readConnectionLost()
        self.assertFalse(peer.ended)
        self.assertFalse(world.delivery.reachable(7))
        world.intake.answer()
        self.assertEqual([(SUBMIT_RESP, 0)], peer.answers())
        self.assertTrue(peer.transport.disconnecting)

    def test_not_for_ever(self) -> None:
        world = World()
        world.intake.hold = True
        peer = world.bound()
        peer.submit()
        peer.session.readConnectionLost()
        world.wait(5)
        self.assertTrue(peer.transport.aborted)

    def test_nothing_is_owed(self) -> None:
        world = World()
        for peer in (world.bound(), world.connect()):
            peer.session.readConnectionLost()
            self.assertTrue(peer.transport.disconnecting)
            peer.lose()
        self.assertEqual(0, world.factory.count)
        self.assertEqual([], [c for c in world.clock.getDelayedCalls() if c.func.__name__ == "abort"])


class OneOctetTest(SynchronousTestCase):
    def test_an_octet_a_second_is_no_sign_of_life(self) -> None:
        world = World(enquire_link_interval=30.0, response_timeout=10.0)
        world.start()
        peer = world.bound()
        data = submit(1, b"x" * 200)
        for n in range(39):
            peer.send(data[n : n + 1])
            world.wait(1)
        self.assertEqual([(commands.ENQUIRE_LINK, 0)], peer.answers())
        self.assertFalse(peer.ended)
        world.wait(2)
        self.assertTrue(peer.transport.aborted)

    def test_before_the_bind(self) -> None:
        world = World()
        world.start()
        peer = world.connect()
        for octet in bind(1)[:12]:
            peer.send(bytes((octet,)))
            world.wait(1)
        self.assertTrue(peer.transport.aborted)


class CheckingTest(SynchronousTestCase):
    def test_the_time_that_a_password_takes_is_not_the_esmes(self) -> None:
        world = World(bind_timeout=10.0)
        world.start()
        world.auth.waiting = []
        peer = world.connect()
        peer.bind()
        world.wait(60)
        self.assertFalse(peer.ended)
        ((d, result),) = world.auth.waiting
        d.callback(result)
        self.assertEqual([(commands.BIND_TRANSCEIVER | RESP, 0)], peer.answers())
