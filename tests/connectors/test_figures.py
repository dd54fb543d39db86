"""What a node writes of its connectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from protei_bulk.connectors.figures import EVERY, ConnectorFigures, shown_settings
from protei_bulk.settings import Smsc
from tests.connectors.base import NodeCase
from tests.connectors.fakes import message, receipt, refuses, took


class Rows:
    def __init__(self) -> None:
        self.calls: list[tuple[int, str, dict[str, Any], list[dict[str, Any]]]] = []
        self.broken = False

    def report(self, node: int, version: str, figures: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Deferred[int]:
        if self.broken:
            return fail(OSError("away"))
        self.calls.append((node, version, figures, list(rows)))
        return succeed(1)


class Figures(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.rows = Rows()
        self.figures = ConnectorFigures(
            self.rows, self.node.fleet, self.node.clock, 4, "1.2", lambda: ({"a": 12.0}, {"a": 3.5}), lambda: {"intake": 1}
        )

    def report(self) -> dict[str, Any]:
        self.figures.report().addErrback(lambda f: f.trap(OSError))
        return self.rows.calls[-1][3][0] if self.rows.calls and self.rows.calls[-1][3] else {}

    def test_throughput_errors_latency_and_counts(self) -> None:
        _, wire = self.node.up("a", window=10)
        self.report()
        for n in range(1, 31):
            self.node.fleet.dispatch([message(n)])
            (pdu,) = wire.submits()
            self.node.turn(0.1)
            wire.say(took(pdu.sequence, f"x{n}") if n % 10 else refuses(pdu.sequence, 0x0B))
            self.node.turn()
        wire.say(receipt(1, "x1"), receipt(2, "x2", "UNDELIV"), receipt(3, "x3", "ACCEPTD"))
        row = self.report()
        figures = row["f"]
        self.assertEqual((row["q"], row["s"], row["d"], row["u"], row["r"]), ("a", 27, 1, 1, 3))
        self.assertAlmostEqual(figures["tps"], 9.0, delta=0.5)
        self.assertAlmostEqual(figures["errors"], 0.1, delta=0.01)
        self.assertAlmostEqual(figures["latency"], 0.1, delta=0.01)
        self.assertEqual(figures["error"], "submit_sm: ESME_RINVDSTADR")
        self.assertEqual((figures["state"], figures["depth"], figures["age"]), ("BOUND", 12.0, 3.5))
        self.assertEqual([b["kind"] for b in figures["binds"]], ["transceiver"])
        json.dumps(row)

    def test_differences_are_told_once(self) -> None:
        _, wire = self.node.up("a")
        self.node.fleet.dispatch([message(1)])
        wire.say(took(wire.submits()[0].sequence, "x"))
        self.assertEqual(self.report()["s"], 1)
        self.assertEqual(self.report()["s"], 0)

    def test_what_could_not_be_written_is_told_the_next_time(self) -> None:
        _, wire = self.node.up("a")
        self.node.fleet.dispatch([message(1)])
        wire.say(took(wire.submits()[0].sequence, "x"))
        self.rows.broken = True
        self.report()
        self.rows.broken = False
        row = self.report()
        self.assertEqual((row["s"], row["c"]["id"]), (1, "a"))
        self.assertNotIn("c", self.report())

    def test_only_connectors_that_run_here(self) -> None:
        self.node.connector("a", start=False)
        self.report()
        self.assertEqual([(c[0], c[1], c[2], c[3]) for c in self.rows.calls], [(4, "1.2", {"intake": 1}, [])])

    def test_what_waits_by_priority(self) -> None:
        self.node.connector("a")
        self.node.fleet.dispatch([message(1), message(2, priority=3), message(3, priority=3)])
        self.assertEqual((self.report()["f"]["lane"], self.report()["f"]["lanes"]), (3, [0, 1, 0, 2]))

    def test_why_there_is_no_bind(self) -> None:
        self.node.connector("a")
        self.node.wire("a").bind_ok(0x0E)
        figures = self.report()["f"]
        self.assertEqual((figures["state"], figures["error"]), ("DOWN", "bind: ESME_RINVPASWD"))

    def test_old_counts_are_forgotten(self) -> None:
        self.node.up("a")
        for _ in range(60):
            self.report()
            self.node.turn(EVERY)
        self.assertLess(len(self.figures._known["a"].past), 25)

    def test_no_passwords(self) -> None:
        shown = shown_settings(Smsc("a", "h", 1, password="secret-1", outbind_password="secret-2"))
        self.assertNotIn("secret", json.dumps(shown))
        self.assertNotIn("password", " ".join(shown))
        self.assertEqual((shown["host"], shown["max_tps"]), ("h", 0))
