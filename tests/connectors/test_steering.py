"""What operators order while connectors run."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, succeed

from protei_bulk.connectors.connector import Connector
from protei_bulk.connectors.steering import Steering
from protei_bulk.settings import Settings, Smsc
from protei_bulk.smpp import commands
from protei_bulk.store.smscs import Order
from tests.connectors.base import NodeCase
from tests.connectors.fakes import Wire, message, receipt, refuses, took

BOTH = ("a", "b")


class Orders:
    def __init__(self) -> None:
        self.rows: dict[str, Order] = {}
        self.broken = False

    def orders(self) -> Deferred[dict[str, Order]]:
        if self.broken:
            raise OSError("the database is away")
        return succeed(dict(self.rows))


class SteeringCase(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.rows = Orders()
        self.settings = Settings(smsc=(Smsc("a", "smsc", 2775), Smsc("b", "smsc", 2775)))
        self.steering = Steering(self.rows, self.node.fleet, self.node.clock, lambda: self.settings)
        self.addCleanup(self.steering.close)

    def order(self, smsc: str = "a", **values: object) -> None:
        self.rows.rows[smsc] = evolve(self.rows.rows.get(smsc, Order(smsc)), **values)
        self.steering.changed(smsc)
        self.node.turn()

    def sent(self, wire: Wire) -> str:
        return "".join(p.fields["destination_addr"][-1] for p in wire.submits())


class Pausing(SteeringCase):
    def test_what_waits_goes_to_the_other_and_so_does_what_comes(self) -> None:
        a, wire = self.node.up("a", window=2)
        _, other = self.node.up("b")
        self.node.fleet.dispatch([message(n, candidates=BOTH) for n in range(1, 6)])
        self.assertEqual(self.sent(wire), "12")
        self.order(paused=True)
        self.assertEqual(self.sent(other), "345")
        self.assertEqual((a.state, a.live, len(a.links)), ("PAUSED", False, 1))
        m = message(6, smsc="", candidates=BOTH)
        self.node.fleet.place(m)
        self.assertEqual(m.smsc, "b")

    def test_without_another_it_waits_in_the_queue_and_is_taken_up_later(self) -> None:
        a, wire = self.node.up("a", window=1)
        self.node.fleet.dispatch([message(n) for n in (1, 2, 3)])
        self.order(paused=True)
        self.assertEqual([r["i"][-1] for r in self.node.store.queue], ["2", "3"])
        before = len(self.node.store.named("claim"))
        self.node.turn(20.0)
        self.assertEqual(len(self.node.store.named("claim")), before)
        (pdu,) = wire.submits()
        wire.say(took(pdu.sequence, "x1"))
        self.node.store.claimable = [message(n) for n in (2, 3)]
        self.order(paused=False)
        self.assertEqual((a.state, self.sent(wire)), ("BOUND", "2"))

    def test_answers_and_receipts_still_come(self) -> None:
        _, wire = self.node.up("a")
        self.node.fleet.dispatch([message(1)])
        (pdu,) = wire.submits()
        self.order(paused=True)
        wire.say(took(pdu.sequence, "x1"), receipt(9, "x1"))
        self.node.turn()
        self.assertEqual(self.node.store.status(message(1).id), "DELIVERED")

    def test_what_the_smsc_refuses_for_now_does_not_stay_in_memory(self) -> None:
        a, wire = self.node.up("a")
        self.node.fleet.dispatch([message(1)])
        (pdu,) = wire.submits()
        self.order(paused=True)
        wire.say(refuses(pdu.sequence, 0x58))
        for _ in range(16):
            self.node.turn(0.5)
        self.assertEqual(len(a.lane), 0)
        self.assertEqual([r["i"][-1] for r in self.node.store.queue], ["1"])

    def test_a_part_that_is_throttled_waits_for_its_bind(self) -> None:
        """The other parts are at the SMSC: as a whole it would go twice."""
        _, wire = self.node.up("a")
        self.node.fleet.dispatch([message(1, body=b"x" * 200, segments=2)])
        first, second = wire.submits()
        self.order(paused=True)
        wire.say(took(first.sequence, "x1"), refuses(second.sequence, 0x58))
        self.node.turn(1.0)
        self.assertEqual(wire.submits(), [])
        self.order(paused=False)
        self.node.turn(1.0)
        self.assertEqual(len(wire.submits()), 1)

    def test_a_bind_that_comes_meanwhile_sends_nothing(self) -> None:
        a, wire = self.node.up("a", reconnect_min=0.1)
        self.order(paused=True)
        wire.loseConnection()
        self.node.turn(1.0)
        self.node.wire("a").bind_ok()
        self.node.wire("a").clear()
        self.node.fleet.dispatch([message(1)])
        self.node.turn(1.0)
        self.assertEqual(self.sent(self.node.wire("a")), "")
        self.assertEqual((len(a.links), a.senders), (1, []))
        self.order(paused=False)
        self.assertEqual(len(a.senders), 1)

    def test_it_holds_for_a_connector_that_is_made_later(self) -> None:
        self.order(paused=True, max_tps=7)
        made = self.node.connector("a", start=False)
        self.steering.steer(made)
        self.assertEqual((made.paused, made.settings.max_tps), (True, 7))

    def test_receivers_are_no_senders_afterwards(self) -> None:
        a = self.node.connector("a", bind="receiver")
        self.order(paused=True)
        self.order(paused=False)
        self.assertEqual(a.senders, [])


class Rates(SteeringCase):
    def test_another_rate_at_once_and_back(self) -> None:
        a, _ = self.node.up("a")
        self.order(max_tps=20)
        self.assertEqual((a.settings.max_tps, a.bucket.rate), (20, 20))
        self.order(max_tps=None)
        self.assertEqual(a.settings.max_tps, 0)

    def test_no_limit_where_one_is_configured(self) -> None:
        self.settings = Settings(smsc=(Smsc("a", "smsc", 2775, max_tps=5),))
        a, _ = self.node.up("a", max_tps=5)
        self.order(max_tps=0)
        self.assertEqual(a.settings.max_tps, 0)
        self.order(max_tps=None)
        self.assertEqual(a.settings.max_tps, 5)

    def test_a_reload_of_the_configuration_does_not_undo_it(self) -> None:
        a, _ = self.node.up("a")
        self.order(max_tps=20)
        a.change(evolve(a.settings, max_tps=0, window=7))
        self.steering.apply()
        self.assertEqual((a.settings.max_tps, a.settings.window), (20, 7))


class Anew(SteeringCase):
    def start(self, **settings: object) -> tuple[Connector, Wire]:
        found = self.node.up("a", **settings)
        self.success(self.steering.start())
        return found

    def success(self, coroutine: object) -> None:
        self.successResultOf(Deferred.fromCoroutine(coroutine))  # type: ignore[arg-type]

    def test_binds_end_after_their_answers_and_come_back_at_once(self) -> None:
        a, wire = self.start(reconnect_min=60.0)
        self.node.fleet.dispatch([message(1)])
        (pdu,) = wire.submits()
        self.order(reconnects=1)
        self.node.fleet.dispatch([message(2)])
        self.assertEqual((wire.pdus(), a.senders), ([], []))  # nothing new, no unbind yet
        wire.say(took(pdu.sequence, "x1"))
        self.node.turn(0.1)
        self.assertEqual([p.command_id for p in wire.pdus()], [commands.UNBIND])
        wire.loseConnection()
        self.node.turn(0.3)
        self.assertEqual(len(self.node.endpoints["a"].wires), 2)
        self.node.wire("a").bind_ok()
        self.assertIn("2", self.sent(self.node.wire("a")))

    def test_what_is_ordered_meanwhile_does_not_use_the_binds_that_end(self) -> None:
        _, wire = self.start(reconnect_min=60.0)
        self.node.fleet.dispatch([message(1)])
        (pdu,) = wire.submits()
        self.order(reconnects=1)
        self.order(paused=True)
        self.order(paused=False)
        self.order(reconnects=2)
        self.node.fleet.dispatch([message(2)])
        wire.say(took(pdu.sequence, "x1"))
        self.node.turn(0.1)
        self.assertEqual([p.command_id for p in wire.pdus()], [commands.UNBIND])

    def test_a_bind_that_is_back_before_the_others_are_gone_stays(self) -> None:
        a, first = self.start(binds=2, reconnect_min=0.1)
        second = self.node.wire("a", 0)
        self.node.fleet.dispatch([message(1)])
        busy, idle = (first, second) if first.value() else (second, first)
        (pdu,) = busy.submits()
        self.order(reconnects=1)
        self.node.turn(0.1)
        idle.loseConnection()  # the SMSC ends it
        self.node.turn(0.3)
        back = self.node.wire("a")
        back.bind_ok()
        back.clear()
        self.node.fleet.dispatch([message(2)])
        self.assertEqual(self.sent(back), "2")
        busy.say(took(pdu.sequence, "x1"))
        self.node.turn(0.1)
        busy.loseConnection()
        self.node.turn(0.3)
        self.assertEqual((back.closed, a.live), (False, True))

    def test_answers_that_do_not_come_are_not_waited_for(self) -> None:
        _, wire = self.start(response_timeout=5.0, enquire_link_interval=0.0, outcome_unknown="hold")
        self.node.fleet.dispatch([message(1)])
        wire.clear()
        self.order(reconnects=1)
        for _ in range(12):
            self.node.turn(0.5)
        self.assertIn(commands.UNBIND, [p.command_id for p in wire.pdus()])
        self.assertEqual([r["h"] for r in self.node.store.queue], [True])

    def test_one_that_waits_to_connect_does_so_at_once(self) -> None:
        _, wire = self.start(reconnect_min=60.0, reconnect_max=60.0)
        wire.loseConnection()
        self.node.turn(1.0)
        self.assertEqual(len(self.node.endpoints["a"].wires), 1)
        self.order(reconnects=1)
        self.node.turn(0.5)
        self.assertEqual(len(self.node.endpoints["a"].wires), 2)

    def test_old_orders_are_not_followed_by_a_node_that_starts(self) -> None:
        self.rows.rows["a"] = Order("a", reconnects=5)
        _, wire = self.start()
        self.order(max_tps=3)
        self.node.turn(1.0)
        self.assertEqual((wire.pdus(), wire.closed), ([], False))

    def test_a_connector_that_runs_elsewhere_is_left_alone(self) -> None:
        self.node.connector("a", start=False)
        self.success(self.steering.start())
        self.order(reconnects=1)
        self.node.turn(1.0)
        self.assertEqual(self.node.endpoints["a"].wires, [])
        self.order(reconnects=1)  # it is not followed later either, when the lease comes here

    def test_a_paused_one_stays_paused(self) -> None:
        a, wire = self.start(reconnect_min=0.1)
        self.order(paused=True)
        self.order(reconnects=1)
        self.node.turn(0.1)
        wire.loseConnection()
        self.node.turn(0.5)
        self.node.wire("a").bind_ok()
        self.assertEqual((a.state, a.senders), ("PAUSED", []))

    def test_while_the_database_is_away_the_last_orders_hold(self) -> None:
        a, _ = self.start()
        self.order(paused=True)
        self.rows.broken = True
        self.order(paused=False)
        self.assertTrue(a.paused)
        self.rows.broken = False
        self.node.turn(2.5)
        self.assertFalse(a.paused)
