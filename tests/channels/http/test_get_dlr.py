from __future__ import annotations

from typing import Any

from protei_bulk.store.deliveries import CampaignRef, Delivery
from tests.channels.http.support import NOW, Answer, HttpCase

CAMPAIGN = "CAMP-0123456789AB"


def delivery(n: int, status: str = "DELIVERED", stat: str | None = "DELIVRD", error: str | None = "000") -> Delivery:
    return Delivery(f"MSG-0000000000{n:02}", "962788123456", status, stat, NOW, NOW + 5 if stat else None, error)


class GetDlrTest(HttpCase):
    def setUp(self) -> None:
        super().setUp()
        self.reports.campaigns[CAMPAIGN, 7] = CampaignRef(9, CAMPAIGN, 3, "MSG-0", "MSG-Z")
        self.reports.deliveries = [delivery(1), delivery(2, "FAILED", "UNDELIV", "0B"), delivery(3, "QUEUED", None, None)]

    def ask(self, **body: Any) -> Answer:
        return self.call("POST", "/api/getDLR", body)

    def test_as_the_specification_has_it(self) -> None:
        answer = self.ask(campaign_id=CAMPAIGN, limit=100)
        self.assertEqual(answer.status, 200)
        self.assertEqual((answer.json["status"], answer.json["total"]), ("SUCCESS", 3))
        self.assertNotIn("next_cursor", answer.json)
        self.assertEqual(
            answer.json["records"][0],
            {
                "message_id": "MSG-000000000001", "msisdn": "962788123456", "status": "DELIVERED", "dlr_status": "DELIVRD",
                "submitted_at": "2027-01-15T08:00:00Z", "delivered_at": "2027-01-15T08:00:05Z", "error_code": None,
            },
        )  # fmt: skip
        self.assertEqual(answer.json["records"][1]["error_code"], "0B")
        self.assertEqual(answer.json["records"][2]["delivered_at"], None)
        # Not one row beyond the campaign's own is looked for.
        self.assertEqual(self.reports.asked[0]["limit"], 3)

    def test_pages(self) -> None:
        first = self.ask(campaign_id=CAMPAIGN, limit=2).json
        self.assertEqual((len(first["records"]), first["total"]), (2, 3))
        second = self.ask(campaign_id=CAMPAIGN, limit=2, cursor=first["next_cursor"]).json
        self.assertEqual([r["message_id"] for r in second["records"]], ["MSG-000000000003"])
        self.assertNotIn("next_cursor", second)
        self.assertEqual(self.reports.asked[-1], {"campaign": 9, "user": 7, "after": "MSG-000000000002", "limit": 1,
                                                  "msisdn": None, "status": None})  # fmt: skip

    def test_nothing_left(self) -> None:
        answer = self.ask(campaign_id=CAMPAIGN, cursor="MSG-000000000003.3")
        self.assertEqual((answer.json["records"], answer.json["total"]), ([], 3))
        self.assertEqual(self.reports.asked, [])

    def test_narrowed(self) -> None:
        answer = self.ask(campaign_id=CAMPAIGN, msisdn="+962788123456", status="delivered", limit=2)
        self.assertEqual(self.reports.asked[0]["msisdn"], "962788123456")
        self.assertEqual((self.reports.asked[0]["status"], self.reports.asked[0]["limit"]), ("DELIVERED", 3))
        self.assertEqual(answer.json["total"], 2)
        self.assertIn("next_cursor", answer.json)

    def test_by_ids(self) -> None:
        answer = self.ask(message_id="MSG-000000000002", message_ids=["MSG-000000000001", "x"])
        self.assertEqual((answer.json["total"], len(answer.json["records"])), (2, 2))
        self.assertEqual(self.reports.asked[0]["ids"], ["MSG-000000000002", "MSG-000000000001", "x"])
        self.assertEqual((self.reports.asked[0]["user"], self.reports.asked[0]["campaign"]), (7, None))
        self.ask(message_id="MSG-000000000002", campaign_id=CAMPAIGN)
        self.assertEqual(self.reports.asked[1]["campaign"], 9)
        self.assertEqual(self.ask(message_ids=[]).json["total"], 0)

    def test_unknown_or_somebody_elses(self) -> None:
        self.reports.campaigns["CAMP-OTHER", 8] = CampaignRef(10, "CAMP-OTHER", 3, "MSG-0", "MSG-Z")
        for campaign in ("CAMP-OTHER", "CAMP-NONE", "x"):
            self.problem(self.ask(campaign_id=campaign), 404, "CAMPAIGN_NOT_FOUND")

    def test_faults(self) -> None:
        for path, body in {
            "$.campaign_id": {}, "$.limit": {"campaign_id": CAMPAIGN, "limit": 1001}, "$.status": {"campaign_id": CAMPAIGN, "status": "X"},
            "$.cursor": {"campaign_id": CAMPAIGN, "cursor": "x"}, "$.message_ids": {"message_ids": "x"},
            "$.message_ids[0]": {"message_ids": [5]}, "$.msisdn": {"campaign_id": CAMPAIGN, "msisdn": []},
            "$.message_id": {"message_id": 5},
        }.items():  # fmt: skip
            self.assertEqual(self.problem(self.ask(**body), 422, "INVALID_FIELD")["path"], path)
        for limit in (0, True, "5", 1.5):
            self.problem(self.ask(campaign_id=CAMPAIGN, limit=limit), 422, "INVALID_FIELD")
        self.problem(self.call("POST", "/api/getDLR", [1]), 422, "INVALID_FIELD")
