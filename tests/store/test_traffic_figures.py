"""What is kept of traffic for pages: of campaigns and of accounts, folded once a second."""

from __future__ import annotations

import json
from typing import Any

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from tests.support.postgres import fresh_database


class Figures(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = psycopg2.connect(fresh_database())
        self.connection.autocommit = True
        self.addCleanup(self.connection.close)
        self.sql = self.connection.cursor()
        self.customer = self.one("INSERT INTO customers (name) VALUES ('x') RETURNING id")
        self.user = self.one(
            "INSERT INTO users (username, password_hash, customer_id, role, timezone)"
            " VALUES ('u', 'x', %s, 'SENDER', 'Asia/Kolkata') RETURNING id",
            self.customer,
        )
        self.campaign = self.one(
            "INSERT INTO campaigns (campaign_id, user_id, customer_id, submission_channel) VALUES ('C1', %s, %s, 'WEB') RETURNING id",
            self.user, self.customer,
        )  # fmt: skip

    def ask(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        self.sql.execute(sql, params)
        return list(self.sql.fetchall()) if self.sql.description else []

    def one(self, sql: str, *params: Any) -> Any:
        return self.ask(sql, *params)[0][0]

    def store(self, numbers: list[str]) -> list[str]:
        ids = []
        for n, to in enumerate(numbers):
            id = self.one("SELECT message_id_at(now()) || lpad(%s::text, 8, '0')", n)
            self.ask(
                "INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status)"
                " VALUES (%s, %s, %s, 'me', %s, 'x', 'WEB', 'QUEUED')",
                id, self.campaign, self.user, to,
            )  # fmt: skip
            ids.append(id)
        self.ask("INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted, segments) VALUES (%s, %s, %s, %s)",
                 self.user, self.campaign, len(ids), len(ids))  # fmt: skip
        return ids

    def advance(self, rows: list[dict[str, Any]]) -> None:
        self.ask("SELECT advance_messages(%s, NULL, NULL, NULL, NULL, NULL, NULL, NULL)", json.dumps(rows))

    def test_each_message_is_counted_once_in_each_dimension(self) -> None:
        ids = self.store(["962781", "962782", "12125550100", "447700900000"])
        self.ask("SELECT roll_up_counters()")
        self.advance([{"i": i, "z": "SENT", "q": "A" if n < 3 else "B", "x": f"x{n}"} for n, i in enumerate(ids)])
        receipts = [{"i": ids[0], "z": "DELIVERED", "d": "DELIVRD"}, {"i": ids[1], "z": "FAILED", "d": "UNDELIV", "e": "011"},
                    {"i": ids[3], "z": "EXPIRED", "d": "EXPIRED"}]  # fmt: skip
        self.advance(receipts)
        self.advance(receipts)
        self.ask("SELECT roll_up_counters()")
        self.assertEqual(
            self.ask("SELECT smsc_id, country, reason, sent, delivered, failed FROM campaign_figures ORDER BY 1, 2, 3"),
            [("A", "1", "", 1, 0, 0), ("A", "962", "", 2, 1, 0), ("A", "962", "011", 0, 0, 1),
             ("B", "44", "", 1, 0, 0), ("B", "44", "EXPIRED", 0, 0, 1)],
        )  # fmt: skip
        expected = [
            ("C", "WEB", 4, 4, 1, 2), ("N", "1", 0, 1, 0, 0), ("N", "44", 0, 1, 0, 1), ("N", "962", 0, 2, 1, 1),
            ("R", "011", 0, 0, 0, 1), ("R", "EXPIRED", 0, 0, 0, 1), ("S", "A", 0, 3, 1, 1), ("S", "B", 0, 1, 0, 1),
        ]  # fmt: skip
        for table in ("tbl_traffic_hours", "tbl_traffic_days"):
            found = self.ask(f"SELECT dim, value, sum(accepted)::int, sum(sent)::int, sum(delivered)::int, sum(failed)::int FROM {table}"
                             " GROUP BY 1, 2 ORDER BY 1, 2")  # fmt: skip
            self.assertEqual(found, expected, table)
        for table in ("campaign_times", "tbl_pulse"):
            self.assertEqual(self.ask(f"SELECT sum(accepted)::int, sum(sent)::int, sum(delivered)::int, sum(failed)::int FROM {table}"),
                             [(4, 4, 1, 2)], table)  # fmt: skip
        self.assertEqual(
            self.ask("SELECT DISTINCT day = (now() AT TIME ZONE 'Asia/Kolkata')::date FROM tbl_traffic_days"), [(True,)]
        )

    def test_minutes_become_hours_and_old_rows_go(self) -> None:
        for minutes in (0, 5, 5 * 1440, 5 * 1440 + 1):
            self.ask("INSERT INTO campaign_times (campaign_id, at, accepted, sent, delivered, failed) VALUES"
                     " (%s, date_trunc('day', now()) + interval '5 minutes' - make_interval(mins => %s), 1, 2, 3, 4)",
                     self.campaign, minutes)  # fmt: skip
        for days in (0, 36, 400):
            self.ask("INSERT INTO tbl_traffic_hours VALUES (%s, 'C', now() - make_interval(days => %s), 'WEB', 1, 1, 1, 1, 1)",
                     self.user, days)  # fmt: skip
            self.ask("INSERT INTO tbl_traffic_days VALUES (%s, 'C', current_date - %s, 'WEB', 1, 1, 1, 1, 1)", self.user, days)
        self.ask("SELECT keep_traffic()")
        self.ask("SELECT keep_traffic()")
        found = self.ask("SELECT grain, sum(accepted)::int, count(*) FROM campaign_times GROUP BY 1 ORDER BY 1")
        self.assertEqual(found, [("H", 2, 1), ("M", 2, 2)])
        self.assertEqual((self.one("SELECT count(*) FROM tbl_traffic_hours"), self.one("SELECT count(*) FROM tbl_traffic_days")), (1, 2))

    def test_calling_codes(self) -> None:
        numbers = ["12125550100", "79001234567", "201001234567", "962781234567", "44", "7", ""]
        found = self.ask("SELECT n, calling_code(n) FROM unnest(%s) AS n", numbers)
        self.assertEqual([c for _, c in found], ["1", "7", "20", "962", "44", "7", ""])
