from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.connectors.fakes import Node


class NodeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = Node(Path(self.mktemp()))
        self.addCleanup(self.node.journal.close)
