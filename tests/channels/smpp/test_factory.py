from __future__ import annotations

from ipaddress import ip_network

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands
from tests.channels.smpp.fakes import AHMAD, RESP, World

TRX = commands.BIND_TRANSCEIVER


class LimitsTest(SynchronousTestCase):
    def test_binds_of_an_account(self) -> None:
        world = World()
        world.start()
        world.auth.account = evolve(AHMAD, max_binds=2)
        one, _ = world.bound(), world.bound(commands.BIND_TRANSMITTER)
        third = world.connect()
        third.bind()
        self.assertEqual([(TRX | RESP, 0x0D)], third.answers())
        world.wait(1)
        self.assertEqual(["token-3"], world.rows.ended)
        one.lose()
        again = world.connect()
        again.bind()
        self.assertEqual([(TRX | RESP, 0)], again.answers())

    def test_the_default_of_the_node(self) -> None:
        world = World(max_binds_per_user=1)
        world.bound()
        second = world.connect()
        second.bind()
        self.assertEqual([(TRX | RESP, 0x0D)], second.answers())

    def test_connections(self) -> None:
        world = World(max_sessions=1)
        world.bound()
        self.assertTrue(world.connect().transport.aborted)
        self.assertEqual(1, world.factory.count)

    def test_connections_that_never_bind_keep_nobody_out(self) -> None:
        world = World(max_sessions=3)
        world.auth.waiting = []
        checked = world.connect()
        checked.bind()
        idle = [world.connect() for _ in range(3)]
        self.assertEqual([True, False, False], [peer.transport.aborted for peer in idle])
        self.assertEqual(3, world.factory.count)
        idle[0].lose()
        self.assertEqual(3, world.factory.count)
        ((d, result),) = world.auth.waiting
        d.callback(result)
        self.assertEqual([(TRX | RESP, 0)], checked.answers())

    def test_room_for_the_next_bind_at_once(self) -> None:
        """The row of a session that has ended is closed in the same turn: an ESME that comes back finds its place free."""
        world = World()
        peer = world.bound()
        peer.lose()
        world.clock.advance(0)
        self.assertEqual(["token-1"], world.rows.ended)


class ChangesTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.start()
        self.peer = self.world.bound()

    def test_a_forced_disconnect(self) -> None:
        other = self.world.bound()
        self.world.factory.disconnect("unknown")
        self.world.factory.disconnect("")
        self.world.factory.disconnect("token-1")
        self.assertEqual([(commands.UNBIND, 0)], self.peer.answers())
        self.assertTrue(self.peer.transport.disconnecting)
        self.assertFalse(other.ended)
        self.peer.lose()
        self.world.wait(1)
        self.assertEqual(["token-1"], self.world.rows.ended)

    def test_a_forced_disconnect_that_was_missed(self) -> None:
        """The connection that listens was lost for a while: "" says so."""
        other = self.world.bound()
        self.world.rows.disconnected = ["token-2", "token-9"]
        self.world.factory.disconnect("")
        self.assertEqual([(commands.UNBIND, 0)], other.answers())
        self.assertFalse(self.peer.ended)

    def test_what_ends_a_session(self) -> None:
        for changed in (
            None,
            evolve(AHMAD, status="SUSPENDED"),
            evolve(AHMAD, customer_status="SUSPENDED"),
            evolve(AHMAD, can_use_smpp=False),
            evolve(AHMAD, bind_type="HTTP"),
            evolve(AHMAD, smpp_require_tls=True),
            evolve(AHMAD, smpp_tls_identity="ahmad.example"),
            evolve(AHMAD, allowed_ips=(ip_network("10.9.0.0/16"),)),
        ):
            peer = self.world.bound()
            self.world.factory.account_changed(changed, 7)
            self.assertEqual([(commands.UNBIND, 0)], peer.answers())
            self.assertTrue(peer.transport.disconnecting)

    def test_other_accounts_stay(self) -> None:
        self.world.factory.account_changed(None, 8)
        self.assertFalse(self.peer.ended)

    def test_the_session_table(self) -> None:
        self.peer.submit()
        self.peer.submit()
        self.world.wait(5)
        self.assertEqual([[("token-1", 0.4, 2, 0)]], self.world.rows.activity)

    def test_ended_sessions_are_written_again_after_a_failure(self) -> None:
        self.world.rows.broken = True
        self.peer.lose()
        self.world.wait(2)
        self.world.rows.broken = False
        self.world.wait(1)
        self.assertEqual(["token-1"], self.world.rows.ended)

    def test_the_end_of_the_node(self) -> None:
        self.world.factory.close()
        self.assertTrue(self.peer.transport.disconnecting)
        self.assertTrue(self.world.connect().transport.aborted)
        self.peer.lose()
        self.world.factory.stop()
        self.assertEqual(["token-1"], self.world.rows.ended)
