"""Campaigns that the gateway expands: to the end, paused, cancelled, out of quota, over a crash."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from twisted.trial.unittest import TestCase

from tests.support.campaigns import plan
from tests.support.gateway import Gateway, Simulator, eventually

_gateway: Gateway | None = None
_smsc: Simulator | None = None


def _shared() -> tuple[Gateway, Simulator]:
    global _gateway, _smsc
    if _gateway is None or _smsc is None or not _gateway.process.running:
        _gateway = Gateway()
        _smsc = _gateway.simulate("SMSC1")
        _gateway.accounts({"ahmad": ("--sender", "MyCompany"), "quota": ("--max-per-day", "500")})
        _gateway.start()
    return _gateway, _smsc


def numbers(prefix: str, count: int) -> list[str]:
    return [f"9627{prefix}{n:06d}" for n in range(count)]


def sent_to(smsc: Simulator, who: list[str]) -> int:
    taken = smsc.taken()
    return sum(taken[n] for n in who)


def state(g: Gateway, campaign: int) -> dict[str, Any]:
    names = ("status", "status_reason", "accepted_total", "sent_total", "delivered_count", "failed_count", "refused_count")
    [row] = g.query(f"SELECT {', '.join(names)} FROM campaigns WHERE id = %s", (campaign,))
    return dict(zip(names, row, strict=True))


def wait(g: Gateway, campaign: int, status: str) -> dict[str, Any]:
    return dict(eventually(lambda: (s := state(g, campaign))["status"] == status and s, f"{status}: {campaign}"))


class CampaignTests(TestCase):
    def test_everybody_gets_a_text_of_their_own(self) -> None:
        g, smsc = _shared()
        who = numbers("11", 1500)
        campaign, _ = plan(
            g.dsn, who, text="Hi %NAME%, %SUM%", variables=[{"NAME": f"n{i}"} if i else {} for i in range(1500)],
            defaults={"SUM": "5"},
        )  # fmt: skip
        self.assertEqual(wait(g, campaign, "COMPLETED"), {
            "status": "COMPLETED", "status_reason": "", "accepted_total": 1499, "sent_total": 1499, "delivered_count": 1499,
            "failed_count": 0, "refused_count": 1,
        })  # fmt: skip
        self.assertEqual(
            g.query("SELECT given, code, detail FROM campaign_refusals WHERE campaign_id = %s", (campaign,)),
            [(who[0], "MISSING_VARIABLE", "NAME")],
        )
        self.assertEqual(
            g.query("SELECT count(DISTINCT message_text), min(submission_channel) FROM messages WHERE campaign_id = %s", (campaign,)),
            [(1499, "WEB")],
        )
        taken = smsc.taken()
        self.assertEqual(Counter({n: taken[n] for n in who[1:]}), Counter(who[1:]))
        self.assertEqual(g.query("SELECT total, pending, queued, sent, delivered, failed, progress_percentage FROM get_campaign_stats(%s)",
                                 (campaign,)), [(1500, 0, 0, 0, 1499, 1, 100)])  # fmt: skip

    def test_it_starts_at_its_time(self) -> None:
        g, _ = _shared()
        [(soon,)] = g.query("SELECT now() + interval '2 seconds'")
        campaign, _ = plan(g.dsn, numbers("12", 10), schedule_time=soon)
        wait(g, campaign, "COMPLETED")
        [(early,)] = g.query("SELECT count(*) FROM messages WHERE campaign_id = %s AND submitted_at < %s", (campaign, soon))
        self.assertEqual(early, 0)

    def test_a_pause_holds_what_waits_and_a_resumption_sends_it(self) -> None:
        g, smsc = _shared()
        who = numbers("13", 3000)
        campaign, _ = plan(g.dsn, who, max_tps=200)
        eventually(lambda: state(g, campaign)["sent_total"] > 100, "under way")
        self._set(g, campaign, "PAUSED")
        time.sleep(1.5)
        before = sent_to(smsc, who)
        self.assertLess(before, 2000)
        time.sleep(1.0)
        self.assertEqual(sent_to(smsc, who), before)
        g.execute("UPDATE campaigns SET max_tps = 0 WHERE id = %s", (campaign,))
        self._set(g, campaign, "RUNNING")
        wait(g, campaign, "COMPLETED")
        taken = smsc.taken()
        self.assertEqual({n: taken[n] for n in who}, dict.fromkeys(who, 1))

    def test_a_cancelled_one_sends_no_more_and_gives_money_back(self) -> None:
        g, smsc = _shared()
        who = numbers("14", 3000)
        campaign, _ = plan(g.dsn, who, max_tps=200)
        eventually(lambda: state(g, campaign)["sent_total"] > 100, "under way")
        self._set(g, campaign, "CANCELLED", draining=True)
        eventually(lambda: not g.query("SELECT 1 FROM campaigns WHERE id = %s AND draining", (campaign,)), "drained")
        now = state(g, campaign)
        self.assertEqual(now["status"], "CANCELLED")
        self.assertEqual(now["accepted_total"], now["delivered_count"] + now["failed_count"])
        self.assertEqual(g.query("SELECT count(*) FROM tbl_message_queue WHERE held_for = %s", (campaign,)), [(0,)])
        self.assertEqual(sent_to(smsc, who), now["sent_total"])

    def test_a_quota_that_is_used_up_pauses_it_and_another_lets_it_go_on(self) -> None:
        g, smsc = _shared()
        who = numbers("15", 800)
        campaign, _ = plan(g.dsn, who, user="quota")
        self.assertEqual(wait(g, campaign, "PAUSED")["status_reason"], "QUOTA_EXCEEDED")
        eventually(lambda: state(g, campaign)["accepted_total"] == 500, "all of the quota")
        self.assertEqual(state(g, campaign)["refused_count"], 0)
        g.execute("UPDATE users SET max_msg_per_day = 1000 WHERE username = 'quota'")
        wait(g, campaign, "COMPLETED")
        taken = smsc.taken()
        self.assertEqual({n: taken[n] for n in who}, dict.fromkeys(who, 1))

    def test_sending_hours_of_the_recipient(self) -> None:
        g, _ = _shared()
        [(closed_from, closed_to)] = g.query(
            "SELECT (now() AT TIME ZONE 'Asia/Amman' + interval '2 hours')::time,"
            " (now() AT TIME ZONE 'Asia/Amman' + interval '3 hours')::time"
        )
        campaign, _ = plan(g.dsn, numbers("16", 10), window_from=closed_from, window_to=closed_to)
        wait(g, campaign, "RUNNING")
        time.sleep(2.5)
        self.assertEqual(state(g, campaign)["accepted_total"], 0)
        g.execute("UPDATE campaign_plans SET window_from = NULL WHERE campaign_id = %s", (campaign,))
        self._set(g, campaign, "PAUSED")
        time.sleep(0.5)
        self._set(g, campaign, "RUNNING")
        wait(g, campaign, "COMPLETED")

    def test_a_crash_in_the_middle_loses_nothing_and_makes_no_second_message(self) -> None:
        g, smsc = _shared()
        who = numbers("17", 20_000)
        campaign, _ = plan(g.dsn, who, max_tps=4000)
        eventually(lambda: g.query("SELECT count(*) FROM messages WHERE campaign_id = %s", (campaign,))[0][0] > 4000, "under way")
        g.kill9()
        g.restart()
        now = wait(g, campaign, "COMPLETED")
        self.assertEqual((now["accepted_total"], now["delivered_count"], now["refused_count"]), (20_000, 20_000, 0))
        self.assertEqual(
            g.query("SELECT count(*), count(DISTINCT to_addr) FROM messages WHERE campaign_id = %s", (campaign,)), [(20_000, 20_000)]
        )
        taken = smsc.taken()
        twice = sum(1 for n in who if taken[n] > 1)
        self.assertEqual(sum(1 for n in who if not taken[n]), 0)
        self.assertLess(twice, 200, "no more than were in the windows")

    def test_an_orderly_stop_in_the_middle_makes_nothing_twice(self) -> None:
        g, smsc = _shared()
        who = numbers("18", 8000)
        campaign, _ = plan(g.dsn, who, max_tps=3000)
        eventually(lambda: state(g, campaign)["sent_total"] > 500, "under way")
        g.terminate()
        g.restart()
        wait(g, campaign, "COMPLETED")
        taken = smsc.taken()
        self.assertEqual({n: taken[n] for n in who}, dict.fromkeys(who, 1))

    def _set(self, g: Gateway, campaign: int, status: str, draining: bool = False) -> None:
        g.execute("UPDATE campaigns SET status = %s, draining = %s, status_at = now() WHERE id = %s", (status, draining, campaign))
