from __future__ import annotations

from typing import Any

from attrs import evolve

from protei_bulk.access.results import AuthResult
from protei_bulk.model import message as refusals
from tests.channels.http.support import AHMAD, NOW, Answer, HttpCase

TWO = [
    {"msisdn": "962788123456", "message": "Hello Ahmad!", "variables": {"NAME": "Ahmad"}},
    {"msisdn": "962779234567", "message": "Hello Fatima!", "variables": {"NAME": "Fatima"}},
]


class SendBulkCase(HttpCase):
    def send(self, **values: Any) -> Answer:
        body = {"sender": "MyCompany", "recipients": TWO, "message": "Hello %NAME%", **values}
        return self.call("POST", "/api/sendBulk", {k: v for k, v in body.items() if v is not ...})

    def account(self, **values: Any) -> None:
        self.auth.keys["key"] = AuthResult(True, evolve(AHMAD, **values))

    def rejected(self, **values: Any) -> tuple[str, str]:
        """The one rejection of a request that fails whole: (code, text)."""
        answer = self.send(**values)
        self.assertEqual((answer.status, answer.json["status"]), (422, "FAILED"), answer.body)
        self.assertIsNone(answer.json["campaign_id"])
        [error] = answer.json["errors"]
        return error["code"], error["error"]


class AcceptedTest(SendBulkCase):
    def test_the_specifications_example(self) -> None:
        answer = self.send(
            message="Default message template: Hello %NAME%", encoding="GSM7", priority="NORMAL",
            dlr_url="https://myapp.com/dlr", campaign_name="Summer Promo", schedule_time="2025-01-20T10:00:00",
        )  # fmt: skip
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            answer.json,
            {
                "status": "SUCCESS", "campaign_id": "CAMP-0123456789AB", "total_recipients": 2, "accepted": 2, "rejected": 0,
                "message": "Campaign created successfully. 2 messages queued, 0 rejected.", "errors": [],
            },
        )  # fmt: skip
        [campaign] = self.intake.campaigns
        self.assertEqual(
            campaign,
            {
                "account": AHMAD, "channel": "HTTP_API", "name": "Summer Promo", "sender": "MyCompany",
                "content": "Default message template: Hello %NAME%", "encoding": "GSM7", "priority": "NORMAL",
                "dlr_url": "https://myapp.com/dlr", "schedule_time": None,
            },
        )  # fmt: skip
        [(action, success, event)] = self.audit.events
        self.assertEqual((action, success, event["user_id"]), ("MESSAGES_SUBMITTED", True, AHMAD.user_id))
        self.assertEqual(event["details"], {"campaign_id": "CAMP-0123456789AB", "accepted": 2, "rejected": 0})
        first, second = self.intake.messages
        self.assertEqual((first.text, first.body, first.data_coding), ("Hello Ahmad!", b"Hello Ahmad!", 0))
        self.assertEqual((first.source, first.source_ton, first.source_npi), ("MyCompany", 5, 0))
        self.assertEqual((first.dest, first.dest_ton, first.dest_npi), ("962788123456", 1, 1))
        self.assertEqual((first.channel, first.campaign_id, first.registered, first.priority), ("HTTP_API", 1, 1, 1))
        self.assertEqual((first.dlr_url, first.not_before, first.segments), ("https://myapp.com/dlr", 0.0, 1))
        self.assertEqual((first.sequence, second.sequence), (0, 1))

    def test_the_least_there_can_be(self) -> None:
        answer = self.send(recipients=[{"msisdn": "+962788123456"}], message="Hi")
        self.assertEqual(answer.json["accepted"], 1)
        [m] = self.intake.messages
        self.assertEqual((m.dest, m.dlr_url), ("962788123456", None))

    def test_variables_in_both_texts(self) -> None:
        recipients = [
            {"msisdn": "962788123456", "variables": {"NAME": "Ahmad", "N": 3}},
            {"msisdn": "962788123456", "message": "%N%% off, %NAME%: 50% off", "variables": {"NAME": "%N%", "N": 2.5}},
        ]
        self.assertEqual(self.send(recipients=recipients).json["accepted"], 2)
        self.assertEqual([m.text for m in self.intake.messages], ["Hello Ahmad", "2.5% off, %N%: 50% off"])

    def test_encodings(self) -> None:
        for encoding, text, coding, body, segments in (
            ("GSM7", "a€", 0, b"a\x1be", 1), ("UCS2", "aЖ", 8, b"\0a\x04\x16", 1), ("unicode", "a", 8, b"\0a", 1),
            ("LATIN1", "é", 3, b"\xe9", 1), ("AUTO", "é", 0, b"\x05", 1), ("AUTO", "Ж", 8, b"\x04\x16", 1),
            ("GSM7", "x" * 161, 0, b"x" * 161, 2), ("UCS2", "x" * 71, 8, b"\0x" * 71, 2),
        ):  # fmt: skip
            self.assertEqual(self.send(recipients=[{"msisdn": "962788123456", "message": text}], encoding=encoding).status, 200)
            m = self.intake.messages[-1]
            self.assertEqual((m.text, m.data_coding, m.body, m.segments, m.udh), (text, coding, body, segments, b""))

    def test_smart(self) -> None:
        """What only typography keeps out of the GSM alphabet goes into it; all or nothing."""
        for encoding, text, sent, coding in (
            ("GSM7", "It’s “5 €”…", 'It\'s "5 €"...', 0), ("UCS2", "naïve", "naive", 0),
            ("AUTO", "‘Ж’", "‘Ж’", 8), ("AUTO", "a–b", "a-b", 0),
        ):  # fmt: skip
            recipients = [{"msisdn": "962788123456", "message": text}] * 2
            self.assertEqual(self.send(recipients=recipients, encoding=encoding, smart=True).json["accepted"], 2)
            for m in self.intake.messages[-2:]:
                self.assertEqual((m.text, m.data_coding), (sent, coding))
        self.send(recipients=[{"msisdn": "962788123456", "message": "a–b"}], encoding="AUTO", smart=False)
        self.assertEqual(self.intake.messages[-1].text, "a–b")
        code, _ = self.rejected(recipients=[{"msisdn": "962788123456", "message": "‘Ж’"}], smart=True)
        self.assertEqual(code, "INVALID_TEXT")

    def test_tags(self) -> None:
        for tags, found in ((["otp", "vip"], ("otp", "vip")), ([], ()), (None, ()), (..., ())):
            self.assertEqual(self.send(tags=tags).status, 200)
            self.assertEqual(self.intake.messages[-1].tags, found)
        for tags, path in (("otp", "$.tags"), (["a"] * 21, "$.tags"), (["a", 1], "$.tags[1]"), ([""], "$.tags[0]"), (["a\0"], "$.tags[0]")):
            answer = self.send(tags=tags)
            self.assertEqual((answer.status, answer.json["path"]), (422, path))

    def test_priorities(self) -> None:
        for name, lane in (("LOW", 0), ("normal", 1), ("HIGH", 2), ("URGENT", 3), (None, 1)):
            self.send(priority=name)
            self.assertEqual(self.intake.messages[-1].priority, lane)

    def test_senders(self) -> None:
        for sender, source, ton, npi in (
            ("962700000001", "962700000001", 1, 1), ("+962700000001", "962700000001", 1, 1), ("90900", "90900", 1, 1),
            ("My Company!", "My Company!", 5, 0),
        ):  # fmt: skip
            self.assertEqual(self.send(sender=sender).status, 200)
            m = self.intake.messages[-1]
            self.assertEqual((m.source, m.source_ton, m.source_npi), (source, ton, npi))

    def test_schedule_in_the_accounts_time_zone(self) -> None:
        for given, when in (
            ("2027-01-16T10:00:00", NOW + 86_400 - 3600), ("2027-01-16T10:00:00Z", NOW + 86_400 + 7200),
            ("2027-01-16T10:00:00+03:00", NOW + 86_400 - 3600), ("2027-01-15T08:00:00", 0.0),
        ):  # fmt: skip
            self.assertEqual(self.send(schedule_time=given).status, 200)
            self.assertEqual(self.intake.messages[-1].not_before, when)
            self.assertEqual(self.intake.campaigns[-1]["schedule_time"], when or None)

    def test_partly(self) -> None:
        self.intake.refuse = {1: refusals.QUOTA_EXCEEDED, 3: refusals.NO_ROUTE}
        recipients = [{"msisdn": "962788123456", "message": "x"}] * 4 + [{"msisdn": "12x", "message": "x"}]
        answer = self.send(recipients=recipients)
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            (answer.json["status"], answer.json["total_recipients"], answer.json["accepted"], answer.json["rejected"]),
            ("SUCCESS", 5, 2, 3),
        )
        self.assertEqual(answer.json["message"], "Campaign created successfully. 2 messages queued, 3 rejected.")
        self.assertEqual([(e["index"], e["code"]) for e in answer.json["errors"]],
                         [(1, "QUOTA_EXCEEDED"), (3, "NO_ROUTE"), (4, "INVALID_MSISDN")])  # fmt: skip
        self.assertEqual(answer.json["errors"][0]["msisdn"], "962788123456")
        self.assertEqual(answer.json["errors"][0]["error"], "Daily quota exceeded")
        self.assertEqual(self.reports.failed, [])

    def test_many_recipients_in_slices(self) -> None:
        recipients = [{"msisdn": f"9627{i:08}"} for i in range(12_345)]
        answer = self.send(recipients=recipients, message="x")
        self.assertEqual((answer.status, answer.json["accepted"]), (200, 12_345))
        self.assertLessEqual(self.intake.most_in_a_turn, 500)
        self.assertEqual([m.sequence for m in self.intake.messages], list(range(12_345)))

    def test_no_more_at_once_than_the_database_takes(self) -> None:
        self.intake.held = []
        recipients = [{"msisdn": f"9627{i:08}"} for i in range(8000)]
        d = self.start("POST", "/api/sendBulk", {"sender": "A", "recipients": recipients, "message": "x"})
        for _ in range(100):
            self.http.flush()
            self.clock.advance(0)
        self.assertLess(len(self.intake.messages), 6000)
        held, self.intake.held = self.intake.held, None
        origin = held[0].origin
        assert origin is not None
        origin.answered(held)
        for _ in range(100):
            self.http.flush()
            self.clock.advance(0)
        self.assertEqual(self.successResultOf(d).code, 200)
        self.assertEqual(len(self.intake.messages), 8000)


class RejectedRecipientTest(SendBulkCase):
    def test_numbers(self) -> None:
        for msisdn in ("123456789", "1234567890123456", "96278 8123456", "", "+", "++962788123456", "96278812345a", "٠١٢٣٤٥٦٧٨٩"):
            code, _ = self.rejected(recipients=[{"msisdn": msisdn, "message": "x"}])
            self.assertEqual(code, "INVALID_MSISDN", msisdn)
        self.assertEqual(self.intake.campaigns, [])

    def test_a_number_without_quotes(self) -> None:
        self.assertEqual(self.send(recipients=[{"msisdn": 962788123456, "message": "x"}]).status, 200)

    def test_no_text(self) -> None:
        for message in (None, ""):
            code, _ = self.rejected(recipients=[{"msisdn": "962788123456"}], message=message)
            self.assertEqual(code, "NO_MESSAGE")

    def test_a_variable_without_a_value(self) -> None:
        code, text = self.rejected(recipients=[{"msisdn": "962788123456", "variables": {"name": "x"}}])
        self.assertEqual((code, text), ("MISSING_VARIABLE", "The variable NAME has no value"))

    def test_what_gsm_lacks(self) -> None:
        code, text = self.rejected(recipients=[{"msisdn": "962788123456", "message": "ab Ж"}])
        self.assertEqual(code, "INVALID_TEXT")
        self.assertEqual(text, "'Ж' (U+0416) at position 4 cannot be encoded in GSM7")
        code, text = self.rejected(recipients=[{"msisdn": "962788123456", "message": "€"}], encoding="LATIN1")
        self.assertIn("U+20AC", text)

    def test_too_long(self) -> None:
        for text in ("x" * 39_016, "x" * 40_001):
            code, _ = self.rejected(recipients=[{"msisdn": "962788123456", "message": text}])
            self.assertEqual(code, "MESSAGE_TOO_LONG")

    def test_nul_would_break_everybodys_batch(self) -> None:
        code, _ = self.rejected(recipients=[{"msisdn": "962788123456", "message": "a\0b"}], encoding="UCS2")
        self.assertEqual(code, "INVALID_TEXT")
        variables = {"NAME": "\0"}
        code, _ = self.rejected(recipients=[{"msisdn": "962788123456", "variables": variables}], encoding="AUTO")
        self.assertEqual(code, "INVALID_TEXT")


class RefusedWholeTest(SendBulkCase):
    def fault(self, path: str, **values: Any) -> None:
        answer = self.send(**values)
        self.assertEqual(answer.status, 422, values)
        found = self.problem(answer, 422, "INVALID_FIELD")
        self.assertEqual(found["path"], path)
        self.assertTrue(found["detail"].startswith(path + ": "))
        self.assertEqual(self.intake.campaigns, [])

    def test_fields(self) -> None:
        for field, values in {
            "sender": (..., None, "", " ", 5, "Elevenchars!", "ümlaut", "1234567890123456", "a\nb", "x "),
            "recipients": (..., None, {}, [], "x"),
            "message": (5, ["x"]),
            "encoding": (5, "UTF8"),
            "smart": (1, "true", []),
            "priority": (1, "HIGHEST"),
            "campaign_name": (5, "x" * 201, "\0"),
            "schedule_time": ("tomorrow", 5, "2028-06-01T00:00:00", "2027-13-01"),
            "dlr_url": (
                5, "ftp://x.example", "https://", "x.example", "https://a b.example", "https://u:p@x.example/",
                "https://x.example:99999/", "https://x.example/\n", "https://é.example", "https://x.example/" + "x" * 500,
                "http://:80/", "https://[::1/",
            ),
        }.items():  # fmt: skip
            for value in values:
                self.fault(f"$.{field}", **{field: value})

    def test_urls_that_are_fine(self) -> None:
        for url in ("http://x.example", "https://x.example:8443/a?b=c#d", "https://[2001:db8::1]:8443/", "http://192.0.2.1/"):
            self.assertEqual(self.send(dlr_url=url).status, 200, url)

    def test_types_within_recipients(self) -> None:
        good = {"msisdn": "962788123456"}
        for path, bad in {
            "": "962788123456", ".msisdn": {}, ".message": {**good, "message": 5}, ".variables": {**good, "variables": []},
            ".variables.A": {**good, "variables": {"A": None}},
        }.items():  # fmt: skip
            self.fault("$.recipients[1]" + path, recipients=[good, bad])
        self.fault("$.recipients[0].msisdn", recipients=[{"msisdn": 1.5}])

    def test_no_object(self) -> None:
        self.problem(self.call("POST", "/api/sendBulk", ["x"]), 422, "INVALID_FIELD")

    def test_too_many(self) -> None:
        self.configure(max_recipients=1)
        self.problem(self.send(), 413, "TOO_MANY_RECIPIENTS")

    def test_sender_not_allowed(self) -> None:
        self.account(allowed_sender_ids=("MyBrand", "9627*"))
        found = self.problem(self.send(), 403, "SENDER_NOT_ALLOWED")
        self.assertEqual(found["detail"], "Sender ID not allowed")
        self.assertEqual(self.send(sender="+962788").status, 200)

    def test_not_permitted(self) -> None:
        for values in ({"can_use_api_bulk": False}, {"role": "VIEWER"}):
            self.account(**values)
            self.problem(self.send(), 403, "NOT_PERMITTED")

    def test_quota(self) -> None:
        self.intake.refuse_all = refusals.QUOTA_EXCEEDED
        answer = self.send()
        found = self.problem(answer, 429, "QUOTA_EXCEEDED")
        self.assertEqual(found["detail"], "Daily quota exceeded")
        self.assertEqual((found["total_recipients"], found["accepted"], found["rejected"]), (2, 0, 2))
        self.assertEqual(answer.header("retry-after"), str(13 * 3600))  # it is 11:00 in Amman
        self.assertEqual(self.reports.failed, [1])

    def test_money(self) -> None:
        self.intake.refuse_all = refusals.BALANCE_EXCEEDED
        self.problem(self.send(), 402, "INSUFFICIENT_BALANCE")

    def test_overload(self) -> None:
        for refusal in (refusals.QUEUE_FULL, refusals.SYSTEM_ERROR):
            self.intake.refuse_all = refusal
            answer = self.send()
            self.problem(answer, 503, refusal.code)
            self.assertEqual(answer.header("retry-after"), "5")

    def test_no_route(self) -> None:
        self.intake.refuse_all = refusals.NO_ROUTE
        answer = self.send()
        self.assertEqual((answer.status, answer.json["status"], answer.json["rejected"]), (422, "FAILED", 2))
        self.assertEqual(answer.json["message"], "No recipient was accepted. 0 messages queued, 2 rejected.")
        self.assertEqual(self.audit.requests[-1]["error"], "NO_ROUTE: No route to this destination")
