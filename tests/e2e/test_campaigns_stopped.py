"""Campaigns that are stopped while their SMSC is away, or while no node runs."""

from __future__ import annotations

import signal
import time
from collections import Counter

from twisted.trial.unittest import TestCase

from tests.support.campaigns import plan
from tests.support.gateway import Gateway, Simulator, eventually


class StoppedTests(TestCase):
    def gateway(self) -> tuple[Gateway, Simulator]:
        """With an SMSC that is away by now."""
        g = Gateway()
        self.addCleanup(g.stop)
        smsc = g.simulate("SMSC1")
        g.accounts({"ahmad": ("--sender", "MyCompany")})
        g.start()
        smsc.end(signal.SIGKILL)
        return g, smsc

    def queued(self, g: Gateway) -> int:
        return int(g.query("SELECT count(*) FROM tbl_message_queue WHERE claimed_by IS NULL")[0][0])

    def test_a_cancelled_one_is_over_although_its_smsc_is_away(self) -> None:
        g, smsc = self.gateway()
        who = [f"96271{n:07d}" for n in range(700)]
        campaign, _ = plan(g.dsn, who)
        eventually(lambda: self.queued(g) == 700, "waiting for the SMSC")
        g.execute("UPDATE campaigns SET status = 'CANCELLED', draining = TRUE, status_at = now() WHERE id = %s", (campaign,))
        eventually(lambda: g.query("SELECT draining FROM campaigns WHERE id = %s", (campaign,)) == [(False,)], "drained")
        self.assertEqual(
            g.query("SELECT status, count(*) FROM messages WHERE campaign_id = %s GROUP BY 1", (campaign,)), [("DELETED", 700)]
        )
        self.assertEqual(
            g.query("SELECT accepted_total, sent_total, failed_count, failed_unsent FROM campaigns WHERE id = %s", (campaign,)),
            [(700, 0, 700, 700)],
        )
        self.assertEqual(self.queued(g), 0)
        smsc.start()
        g.wait_bound()
        time.sleep(1.0)
        self.assertEqual(smsc.taken(), Counter())

    def test_one_that_is_paused_while_no_node_runs_sends_nothing_at_the_start(self) -> None:
        g, smsc = self.gateway()
        who = [f"96272{n:07d}" for n in range(300)]
        campaign, _ = plan(g.dsn, who)
        eventually(lambda: self.queued(g) == 300, "waiting for the SMSC")
        g.terminate()
        smsc.start()
        g.execute("UPDATE campaigns SET status = 'PAUSED' WHERE id = %s", (campaign,))
        g.restart()
        eventually(lambda: g.query("SELECT count(*) FROM tbl_message_queue WHERE held_for = %s", (campaign,)) == [(300,)], "held")
        self.assertEqual(smsc.taken(), Counter())
        g.execute("UPDATE campaigns SET status = 'RUNNING' WHERE id = %s", (campaign,))
        eventually(lambda: g.query("SELECT status FROM campaigns WHERE id = %s", (campaign,)) == [("COMPLETED",)], "completed")
        self.assertEqual(smsc.taken(), Counter(who))
