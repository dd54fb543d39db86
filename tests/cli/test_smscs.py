"""Orders for connectors from the command line."""

from __future__ import annotations

from tests.cli.test_main import Case


class Orders(Case):
    def test_pause_rate_and_new_binds(self) -> None:
        self.ok("smsc", "pause", "SMSC1", "--reason", "maintenance")
        self.assertIn("paused already", self.refused(1, "smsc", "pause", "SMSC1"))
        self.ok("smsc", "rate", "SMSC1", "50")
        self.ok("smsc", "reconnect", "SMSC1")
        sql = "SELECT paused, reason, max_tps, reconnects FROM tbl_smsc_orders"
        self.assertEqual(self.query(sql), [(True, "maintenance", 50, 1)])
        self.ok("smsc", "resume", "SMSC1")
        self.ok("smsc", "rate", "SMSC1")
        self.assertEqual(self.query(sql), [(False, "", None, 1)])
        self.assertIn("not paused", self.refused(1, "smsc", "resume", "SMSC1"))
        self.assertIn("no [[smsc]]", self.refused(1, "smsc", "pause", "Other"))
        self.refused(2, "smsc", "rate", "SMSC1", "fast")
