from __future__ import annotations

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.observe.traces import Traces
from protei_bulk.smpp import fast


@frozen
class Row:
    kind: str
    name: str
    seconds: float


class Table:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.broken = False
        self.held: list[Deferred[list[Row]]] | None = None
        self.asked = 0

    def active(self) -> Deferred[list[Row]]:
        self.asked += 1
        if self.broken:
            return fail(OSError("gone"))
        if self.held is not None:
            d: Deferred[list[Row]] = Deferred()
            self.held.append(d)
            return d
        return succeed(list(self.rows))


class TracesTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.table = Table()
        self.lines: list[str] = []
        self.traces = Traces(self.table, self.clock, self.lines.append)
        self.told = 0
        self.traces.subscribe(self.tell)

    def tell(self) -> None:
        self.told += 1

    def on(self, *rows: Row) -> None:
        self.table.rows = list(rows)
        self.traces.changed()

    def test_on_and_off(self) -> None:
        self.assertIsNone(self.traces.get("USER", "ahmad"))
        self.on(Row("USER", "ahmad", 60.0))
        trace = self.traces.get("USER", "ahmad")
        assert trace is not None
        self.assertIsNone(self.traces.get("SMSC", "ahmad"))
        trace.wrote(fast.header(0x15, 0, 1), "x")
        self.assertEqual(["x out enquire_link seq=1"], self.lines)
        self.on()
        self.assertIsNone(self.traces.get("USER", "ahmad"))
        self.assertEqual(2, self.told)

    def test_it_ends_by_itself(self) -> None:
        self.on(Row("USER", "ahmad", 60.0), Row("SMSC", "Zain", 120.0))
        self.clock.pump([1.0] * 61)
        self.assertIsNone(self.traces.get("USER", "ahmad"))
        self.assertIsNotNone(self.traces.get("SMSC", "Zain"))
        self.clock.pump([1.0] * 61)
        self.assertIsNone(self.traces.get("SMSC", "Zain"))
        self.assertEqual(3, self.told)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_a_longer_one_goes_on(self) -> None:
        self.on(Row("USER", "ahmad", 60.0))
        first = self.traces.get("USER", "ahmad")
        self.clock.advance(30)
        self.on(Row("USER", "ahmad", 60.0))
        self.clock.pump([1.0] * 45)
        self.assertIs(first, self.traces.get("USER", "ahmad"))
        self.assertEqual(1, self.told)

    def test_what_was_left_out_is_said_when_nothing_more_comes(self) -> None:
        self.on(Row("USER", "ahmad", 60.0))
        trace = self.traces.get("USER", "ahmad")
        assert trace is not None
        for n in range(1, 301):
            trace.wrote(fast.header(0x15, 0, n), "x")
        self.clock.advance(1)
        self.assertEqual(201, len(self.lines))
        self.assertEqual("user ahmad: 100 more suppressed", self.lines[-1])

    def test_a_change_while_one_is_read(self) -> None:
        self.table.held = []
        self.on(Row("USER", "ahmad", 60.0))
        self.traces.changed()
        self.traces.changed()
        self.assertEqual(1, self.table.asked)
        self.table.held.pop().callback([])
        self.table.held.pop().callback([Row("USER", "ahmad", 60.0)])
        self.assertIsNotNone(self.traces.get("USER", "ahmad"))
        self.assertEqual(2, self.table.asked)

    def test_the_database_is_away(self) -> None:
        self.table.broken = True
        self.on(Row("USER", "ahmad", 60.0))
        self.table.broken = False
        self.clock.advance(1)
        self.assertIsNotNone(self.traces.get("USER", "ahmad"))

    def test_the_end(self) -> None:
        self.on(Row("USER", "ahmad", 60.0))
        self.traces.close()
        self.traces.changed()
        self.assertEqual(([], 1), (self.clock.getDelayedCalls(), self.table.asked))
