"""A campaign over two nodes: one expands it, the SMSC may be the other's; whoever expands is killed, and the other goes on."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.support.campaigns import plan
from tests.support.gateway import Gateway, eventually


class NodesTest(TestCase):
    def test_another_node_goes_on(self) -> None:
        first = Gateway(node="one")
        self.addCleanup(first.stop)
        smsc = first.simulate("SMSC1")
        first.accounts({"ahmad": ("--sender", "MyCompany")})
        first.start()
        second = Gateway(node="two", beside=first)
        self.addCleanup(second.stop)
        second.write_config()
        second.start()
        who = [f"96277{n:07d}" for n in range(20_000)]
        campaign, _ = plan(first.dsn, who, max_tps=1500)

        def accepted() -> int:
            return int(first.query("SELECT accepted_total FROM campaigns WHERE id = %s", (campaign,))[0][0])

        eventually(lambda: accepted() > 3000, "under way")
        [(leader,)] = first.query(
            "SELECT n.name FROM tbl_leases l JOIN tbl_nodes n ON n.node_id = l.node_id WHERE l.resource = 'campaigns'"
        )
        {"one": first, "two": second}[leader].kill9()
        then = accepted()
        eventually(lambda: accepted() > then + 1000, "goes on at the other node")
        first.execute("UPDATE campaigns SET max_tps = 0 WHERE id = %s", (campaign,))
        eventually(lambda: first.query("SELECT status FROM campaigns WHERE id = %s", (campaign,)) == [("COMPLETED",)], "completed")
        self.assertEqual(
            first.query("SELECT count(*), count(DISTINCT to_addr) FROM messages WHERE campaign_id = %s", (campaign,)), [(20_000, 20_000)]
        )
        taken = smsc.taken()
        self.assertEqual(sum(1 for n in who if not taken[n]), 0)
        self.assertLess(sum(1 for n in who if taken[n] > 1), 200, "no more than were in the windows")
