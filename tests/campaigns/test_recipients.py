"""Gathering and measuring, in real child processes."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import deferLater

from protei_bulk.campaigns import recipients
from protei_bulk.store.gathering import Connection
from protei_bulk.store.recipient_jobs import GATHER, RecipientJobs
from tests.campaigns.recipients_case import RecipientsCase
from tests.campaigns.sheets import Formula, xlsx

PLAIN: dict[str, Any] = {"header": False, "number": 0, "variables": {}, "delimiter": ",", "encoding": "utf-8"}


async def pause(seconds: float = 0.02) -> None:
    await deferLater(reactor, seconds)  # type: ignore[arg-type]


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
        self.assertEqual(await self.db.query("SELECT * FROM tbl_recipient_jobs"), [])

    async def test_file_with_variables(self) -> None:
        key = await self.upload(b"phone;name;city\n0791234567;Ahmad;Amman\n0791234568;;Irbid\n;;\n9.62788E+11;Sara;\n")
        pk = await self.draft({"upload": key, "mapping": {
            "header": True, "number": 0, "variables": {"NAME": 1, "CITY": 2}, "delimiter": ";", "encoding": "utf-8"}})  # fmt: skip
        found = await self.gathered(pk)
        self.assertEqual(found["variables"], {"NAME": 1, "CITY": 2}, found)
        self.assertEqual(await self.blocks(pk), [("JO", 2, [
            ["962791234567", {"NAME": "Ahmad", "CITY": "Amman"}], ["962791234568", {"CITY": "Irbid"}]])])  # fmt: skip
        self.assertEqual(await self.refusals(pk), [(5, "9.62788E+11", "SCIENTIFIC")])

    async def test_what_files_hold_is_text(self) -> None:
        """Octets that mean something to COPY, JSON, spreadsheets or browsers are just octets."""
        names = ["\\N", "\\.", "a\tb", 'q"uote', "<script>", "=1+1", "x\x00y", "\u202eevil", "back\\slash", "لينا"]
        body = "".join(f'079000000{n},"{name.replace(chr(34), chr(34) * 2)}"\n' for n, name in enumerate(names)) + '"\\N",x\n\\.,y\n'
        key = await self.upload(body.encode())
        pk = await self.draft({"upload": key, "mapping": {**PLAIN, "variables": {"N": 1}}})
        found = await self.gathered(pk)
        self.assertEqual((found["state"], found["accepted"]), ("done", 10), found)
        [(_, _, block)] = await self.blocks(pk)
        self.assertEqual([r[1]["N"] for r in block], [n.replace("\t", " ").replace("\0", " ") for n in names])
        self.assertEqual(await self.refusals(pk), [(11, "\\N", "NOT_A_NUMBER"), (12, "\\.", "NOT_A_NUMBER")])

    async def test_workbook(self) -> None:
        key = await self.upload(xlsx(Notes=[["x"]], People=[
            ["phone", "name"], [791234567, "Ahmad"], ["٠٧٩١٢٣٤٥٦٨", Formula("A1")], ["9.62788E+11", "x"], [None, None], ["", "y"],
        ]))  # fmt: skip
        pk = await self.draft({"upload": key, "mapping": {"header": True, "number": 0, "variables": {"NAME": 1}, "sheet": 1}})
        self.assertEqual((await self.gathered(pk))["state"], "done")
        self.assertEqual(await self.blocks(pk), [("JO", 2, [["962791234567", {"NAME": "Ahmad"}], ["962791234568", {"NAME": "42"}]])])
        self.assertEqual(await self.refusals(pk), [(4, "9.62788E+11", "SCIENTIFIC"), (6, "", "EMPTY")])

    async def test_all_sources_in_order(self) -> None:
        await self.db.query(
            "INSERT INTO contact_lists (customer_id, name, groups) SELECT %s, n, g::jsonb FROM (VALUES ('a', '[]'), ('b', '[\"VIP\"]'),"
            " ('gone', '[\"VIP\"]')) AS x (n, g)", (self.customer,),
        )  # fmt: skip
        await self.db.query("UPDATE contact_lists SET removed_at = now() WHERE name = 'gone'")
        await self.db.query("INSERT INTO customers (name) VALUES ('Other')")
        await self.db.query("INSERT INTO contact_lists (customer_id, name, groups) SELECT max(id), 'theirs', '[\"VIP\"]' FROM customers")
        for name, number, who in (
            ("a", "962790000001", "Sara"), ("a", "962790000002", ""), ("b", "962790000003", ""), ("gone", "962790000004", ""),
            ("theirs", "962790000005", ""),
        ):  # fmt: skip
            await self.db.query(
                "INSERT INTO contacts SELECT list_id, %s, %s, %s::jsonb FROM contact_lists WHERE name = %s",
                (number, who, json.dumps({"CITY": "Irbid"} if who else {}), name),
            )
        keys = [k for (k,) in await self.db.query("SELECT list_id FROM contact_lists WHERE name IN ('a', 'theirs') ORDER BY 1")]
        upload = await self.upload(b"0790000002\n")
        pk = await self.draft({"upload": upload, "mapping": PLAIN, "lists": keys, "groups": ["VIP"], "numbers": "0790000003\n0790000006"})
        found = await self.gathered(pk)
        self.assertEqual((found["accepted"], found["refused"]), (4, {"DUPLICATE": 2}), found)
        self.assertEqual(await self.blocks(pk), [("JO", 4, [
            ["962790000002"], ["962790000001", {"CITY": "Irbid", "NAME": "Sara"}], ["962790000003"], ["962790000006"]])])  # fmt: skip

    async def test_files_of_others(self) -> None:
        upload = await self.upload(b"0790000002\n")
        pk = await self.draft({"upload": upload, "mapping": PLAIN})
        colleague = await self.accounts.create_user("lina", "Demo", "hash", {})
        await self.db.query("UPDATE uploads SET user_id = %s", (colleague,))
        found = await self.gathered(pk)
        self.assertEqual((found["state"], found["error"]), ("failed", "UPLOAD_GONE"))
        await self.db.query("UPDATE users SET role = 'CUSTOMER_ADMIN' WHERE username = 'ahmad'")
        self.assertEqual((await self.gathered(pk))["state"], "done")
        await self.db.query("UPDATE uploads SET customer_id = 99")
        self.assertEqual((await self.gathered(pk))["error"], "UPLOAD_GONE")

    async def test_many_blocks(self) -> None:
        key = await self.upload(b"".join(b"079%07d\n96650%07d\n" % (n, n) for n in range(2500)), piece=10_000)
        pk = await self.draft({"upload": key, "mapping": PLAIN})
        self.assertEqual((await self.gathered(pk))["countries"], {"JO": 2500, "SA": 2500})
        blocks = await self.blocks(pk)
        self.assertEqual([(c, n) for c, n, _ in blocks], [("JO", 1000), ("SA", 1000)] * 2 + [("JO", 500), ("SA", 500)])
        self.assertEqual(len({r[0] for _, _, block in blocks for r in block}), 5000)

    # --- guards

    async def _guards(self) -> None:
        rows = [
            {"c": customer, "n": 962790000000 + n, "s": sender, "o": True, "r": "API"}
            for n, customer, sender in ((1, self.customer, ""), (2, self.customer, "shop"), (3, self.customer, "Bank"), (4, 99, ""))
        ]
        await self.db.query("SELECT record_opt_outs(%s::json)", (json.dumps(rows),))
        await self.db.query(
            "INSERT INTO tbl_blacklist (customer_id, number, is_prefix, active) VALUES (0, 962790000005, FALSE, TRUE),"
            " (%s, 962790000006, FALSE, TRUE), (99, 962790000007, FALSE, TRUE),"
            " (0, 96278, TRUE, TRUE), (0, 96279, TRUE, FALSE)", (self.customer,),
        )  # fmt: skip

    _NUMBERS = "".join(f"079000000{n}\n" for n in range(1, 9)) + "0781234567"

    async def test_opted_out_and_blacklisted(self) -> None:
        await self._guards()
        pk = await self.draft({"numbers": self._NUMBERS})
        self.assertEqual((await self.gathered(pk))["refused"], {"OPTED_OUT": 2, "BLACKLISTED": 3})
        self.assertEqual([g[-1] + c[0] for _, g, c in await self.refusals(pk)], ["1O", "2O", "5B", "6B", "7B"])
        await self.db.query("UPDATE users SET transactional = TRUE")
        self.assertEqual((await self.gathered(pk))["refused"], {"BLACKLISTED": 3})  # and what was gathered before is gone
        self.assertEqual(len(await self.refusals(pk)), 3)

    async def test_more_guards_than_are_read_at_once(self) -> None:
        await self._guards()
        db = Connection(self.dsn)
        self.addCleanup(db.close)
        numbers = [962790000000 + n for n in range(1, 9)] + [962781234567]
        few = db.guard(self.customer, "Shop", False)
        many = evolve(few, all=None)
        expected = {962790000001: "OPTED_OUT", 962790000002: "OPTED_OUT", 962790000005: "BLACKLISTED", 962790000006: "BLACKLISTED",
                    962781234567: "BLACKLISTED"}  # fmt: skip
        self.assertEqual((few.hits(numbers), many.hits(numbers)), (expected, expected))

    async def test_nobody_waits_behind_all_of_another(self) -> None:
        key = await self.upload(b"".join(b"079%07d\n" % n for n in range(20_000)))
        mine = [await self.draft({"upload": key, "mapping": PLAIN}) for _ in range(4)]
        [(other,)] = await self.db.query("INSERT INTO customers (name) VALUES ('Other') RETURNING id")
        theirs = await self.draft({"numbers": "0790000001"})
        await self.db.query("UPDATE campaigns SET customer_id = %s WHERE id = %s", (other, theirs))
        for pk in (*mine, theirs):
            await self.recipients.gather(pk)
        begun: list[int] = []
        while len(begun) < 5:
            begun += [subject for _, subject in self.recipients._running if subject not in begun]
            self.assertLessEqual(self.recipients.running, 2)
            await pause(0.005)
        self.assertEqual(begun, [*mine[:2], theirs, *mine[2:]])

    # --- what goes wrong

    async def test_too_many_rows(self) -> None:
        pk = await self.draft({"numbers": "0790000001\n0790000002\n0790000003"})
        self.assertEqual((await self.gathered(pk))["state"], "done")
        self.recipients = self.make(max_rows=2)
        found = await self.gathered(pk)
        self.assertEqual((found["state"], found["error"]), ("failed", "TOO_MANY_ROWS"))
        self.assertEqual(len(await self.blocks(pk)), 1)  # what was there before is still

    async def test_a_file_that_is_none(self) -> None:
        for body, error in ((b"%PDF-1.4", "NOT_A_TABLE"), (b'0790000001,"open\n2\n', "QUOTE_NOT_CLOSED"), (b"PK\x03\x04", "BROKEN_XLSX")):
            pk = await self.draft({"upload": await self.upload(body), "mapping": PLAIN})
            found = await self.gathered(pk)
            self.assertEqual((found["state"], found["error"]), ("failed", error))
            self.assertEqual(await self.blocks(pk), [])

    async def test_memory_has_a_limit(self) -> None:
        """A million different numbers do not fit into what this child may have: told so, at once, not tried again."""
        key = await self.upload(b"".join(b"079%07d\n" % n for n in range(300_000)))
        self.recipients = self.make(memory_megabytes=100)
        found = await self.gathered(await self.draft({"upload": key, "mapping": PLAIN}))
        self.assertEqual((found["state"], found["error"]), ("failed", "TOO_MUCH"))
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    async def test_only_drafts(self) -> None:
        pk = await self.draft({"numbers": "0790000001"})
        await self.db.query("UPDATE campaigns SET status = 'RUNNING'")
        self.assertFalse(await self.recipients.gather(pk))
        self.assertFalse(await self.recipients.gather(pk + 1))

    async def test_released_while_it_is_gathered(self) -> None:
        """What runs keeps the recipients with which it was released."""
        pk = await self.draft({"numbers": "0790000001"})
        await self.gathered(pk)
        key = await self.upload(b"".join(b"079%07d\n" % n for n in range(50_000)))
        draft = json.dumps({"recipients": {"upload": key, "mapping": PLAIN}})
        await self.db.query("UPDATE campaign_plans SET draft = %s::jsonb", (draft,))
        await self.recipients.gather(pk)
        while not self.recipients.running:
            await pause()
        await self.db.query("UPDATE campaigns SET status = 'APPROVED'")
        while self.recipients.running:
            await pause()
        self.assertEqual(await self.blocks(pk), [("JO", 1, [["962790000001"]])])
        self.assertEqual(await self.db.query("SELECT * FROM tbl_recipient_jobs"), [])

    async def _long(self) -> int:
        """One that takes a while."""
        key = await self.upload(b"".join(b"079%07d,Sara\n" % n for n in range(100_000)))
        pk = await self.draft({"upload": key, "mapping": {**PLAIN, "variables": {"NAME": 1}}})
        await self.recipients.gather(pk)
        while not self.children():
            await pause()
        return pk

    def children(self) -> list[int]:
        return [c.transport.pid for c in self.recipients._running.values() if c.transport is not None and c.transport.pid]

    async def test_cancelled(self) -> None:
        pk = await self._long()
        await self.recipients.cancel(pk)
        found = await self.until("SELECT gathering FROM campaign_plans WHERE campaign_id = %s", pk)
        self.assertEqual(found["state"], "cancelled")
        while self.recipients.running:
            await pause()
        self.assertEqual(await self.blocks(pk), [])

    async def test_begun_anew(self) -> None:
        pk = await self._long()
        first = self.children()
        draft = json.dumps({"recipients": {"numbers": "0781234567"}})
        await self.db.query("UPDATE campaign_plans SET draft = %s::jsonb, version = 4", (draft,))
        found = await self.gathered(pk)
        self.assertEqual((found["version"], found["accepted"]), (4, 1))
        self.assertEqual(await self.blocks(pk), [("JO", 1, [["962781234567"]])])
        self.assertFalse(any(os.path.exists(f"/proc/{pid}") for pid in first))

    async def test_two_nodes(self) -> None:
        """Told on another node: this one's child ends without a trace."""
        pk = await self._long()
        await RecipientJobs(self.db, 2).begin(GATHER, pk)  # and that node dies
        while self.recipients.running:
            await pause()
        self.assertEqual(await self.blocks(pk), [])
        await self.db.query("UPDATE tbl_recipient_jobs SET beat_at = now() - interval '1 minute'")
        await self.recipients._look_once()
        found = await self.until("SELECT gathering FROM campaign_plans WHERE campaign_id = %s", pk)
        self.assertEqual((found["state"], found["accepted"]), ("done", 100_000))

    async def test_killed_each_time(self) -> None:
        self.patch(recipients.log, "error", lambda *a, **k: None)
        pk = await self._long()
        for _ in range(recipients.ATTEMPTS):
            while not (pids := self.children()):
                await pause()
            os.kill(pids[0], signal.SIGKILL)
            while pids == self.children():
                await pause()
        found = await self.until("SELECT gathering FROM campaign_plans WHERE campaign_id = %s", pk)
        self.assertEqual((found["state"], found["error"]), ("failed", "FAILED"))
        self.assertEqual(await self.blocks(pk), [])

    async def test_restart(self) -> None:
        pk = await self._long()
        await self.recipients.stop()
        self.assertEqual(await self.blocks(pk), [])
        self.recipients = self.make()
        self.recipients.start()
        found = await self.until("SELECT gathering FROM campaign_plans WHERE campaign_id = %s", pk)
        self.assertEqual((found["state"], found["accepted"]), ("done", 100_000))


class MeasureTest(RecipientsCase):
    async def test_without_variables(self) -> None:
        pk = await self.draft({"numbers": "0791234567\n0791234568\n0781111111"}, message_content="Hello " * 40)
        await self.recipients.gather(pk)
        found = await self.measured(pk)  # after the gathering, which was told before
        self.assertEqual((found["state"], found["recipients"], found["segments"]), ("done", 3, 6), found)
        self.assertEqual(found["histogram"], [["9627811", 2, 1], ["9627912", 2, 2]])
        self.assertEqual(len(found["samples"]), 3)

    async def test_with_variables(self) -> None:
        body = "0791234567,Ahmad\n0791234568,\n0791234569,لينا\n0781111111," + "x" * 190 + "\n"
        pk = await self.draft(
            {"upload": await self.upload(body.encode()), "mapping": {**PLAIN, "variables": {"NAME": 1}}}, message_content="Hello %NAME%!"
        )
        await self.gathered(pk)
        found = await self.measured(pk)
        self.assertEqual((found["recipients"], found["missing"], found["without"], found["segments"]), (4, {"NAME": 1}, 1, 4), found)
        self.assertEqual(found["histogram"], [["9627811", 2, 1], ["9627912", 1, 2]])
        self.assertEqual((found["samples"][0], found["longest"]), (["962791234567", "Hello Ahmad!"], 197))
        await self.db.query("UPDATE campaign_plans SET defaults = '{\"NAME\": \"friend\"}'")
        found = await self.measured(pk)
        self.assertEqual((found["missing"], found["segments"]), ({}, 5))

    async def test_what_cannot_be_sent(self) -> None:
        pk = await self.draft({"numbers": "0791234567"}, message_content="Grüße 🎉", encoding="GSM7")
        await self.gathered(pk)
        self.assertEqual((await self.measured(pk))["unencodable"], 1)

    async def test_gathered_anew(self) -> None:
        pk = await self.draft({"numbers": "0791234567"})
        await self.gathered(pk)
        await self.measured(pk)
        await self.gathered(pk)
        self.assertEqual(await self.db.query("SELECT measured FROM campaign_plans"), [(None,)])  # it was for others
