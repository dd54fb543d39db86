"""Gathering and measuring, in real child processes."""

from __future__ import annotations

from tests.campaigns.recipients_case import RecipientsCase


class GatherTest(RecipientsCase):
    async def test_typed_numbers(self) -> None:
        pk = await self.draft({"numbers": "0791234567, +962 79 123 4567\n0781111111;+966501234567\nabc\n079", "country": ""})
        found = await self.gathered(pk)
        self.assertEqual((found["state"], found["version"], found["done"], found["accepted"]), ("done", 3, 6, 3), found)
        self.assertEqual(found["refused"], {"DUPLICATE": 1, "NOT_A_NUMBER": 1, "TOO_SHORT": 1})
        self.assertEqual(found["countries"], {"JO": 2, "SA": 1})
        self.assertEqual(await self.blocks(pk), [("JO", 2, [["962791234567"], ["962781111111"]]), ("SA", 1, [["966501234567"]])])
        self.assertEqual(await self.refusals(pk), [
            (1, "+962 79 123 4567", "DUPLICATE"), (3, "abc", "NOT_A_NUMBER"), (4, "079", "TOO_SHORT"),
        ])  # fmt: skip
        self.assertEqual(await self.db.query("SELECT p.gathered, c.total_recipients FROM campaign_plans p, campaigns c"), [(3, 3)])

    async def test_file_with_variables(self) -> None:
        key = await self.upload(b"phone;name;city\n0791234567;Ahmad;Amman\n0791234568;;Irbid\n;;\n9.62788E+11;Sara;\n")
        pk = await self.draft({"upload": key, "mapping": {
            "header": True, "number": 0, "variables": {"NAME": 1, "CITY": 2}, "delimiter": ";", "encoding": "utf-8"}})  # fmt: skip
        found = await self.gathered(pk)
        self.assertEqual(found["variables"], {"NAME": 1, "CITY": 2}, found)
        self.assertEqual(await self.blocks(pk), [("JO", 2, [
            ["962791234567", {"NAME": "Ahmad", "CITY": "Amman"}], ["962791234568", {"CITY": "Irbid"}]])])  # fmt: skip
        self.assertEqual(await self.refusals(pk), [(5, "9.62788E+11", "SCIENTIFIC")])

    async def test_measure(self) -> None:
        pk = await self.draft({"numbers": "0791234567\n0791234568\n0781111111"}, message_content="Hello " * 40)
        await self.recipients.gather(pk)
        found = await self.measured(pk)
        self.assertEqual((found["state"], found["recipients"], found["segments"]), ("done", 3, 6), found)
        self.assertEqual(found["histogram"], [["9627811", 2, 1], ["9627912", 2, 2]])
        self.assertEqual(len(found["samples"]), 3)
