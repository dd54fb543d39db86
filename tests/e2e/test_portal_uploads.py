"""Files of recipients as a browser sends them, piece by piece, to a running gateway; what becomes of them when things die."""

from __future__ import annotations

import atexit
import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.test_portal import Browser
from tests.support.gateway import Gateway, eventually


class Sender(Browser):
    """As upload.js asks."""

    def login(self, name: str, *rest: str) -> str:
        super().login(name, *rest)
        self.csrf = self.text.split('name="csrf" value="')[1].split('"')[0]
        return self.text

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json", **headers: str) -> dict[str, Any]:
        request = urllib.request.Request(self.base + path, body, method=method)
        request.add_header("Content-Type", kind)
        request.add_header("Origin", headers.pop("origin", self.base))
        request.add_header("X-CSRF-Token", headers.pop("csrf", self.csrf))
        self._ask(request)
        return json.loads(self.text) if self.headers["content-type"].startswith("application/json") else {}

    def open(self, name: str, size: int) -> dict[str, Any]:
        return self.ask("POST", "/uploads", json.dumps({"name": name, "size": size}).encode())

    def put(self, upload: dict[str, Any], n: int, body: bytes) -> dict[str, Any]:
        piece = body[n * upload["piece"] : (n + 1) * upload["piece"]]
        return self.ask("PUT", f"/uploads/{upload['id']}/{n}", piece, "application/octet-stream")

    def upload(self, name: str, body: bytes) -> dict[str, Any]:
        """Its last state."""
        upload = self.open(name, len(body))
        for n in range(upload["pieces"]):
            self.put(upload, n, body)
        self.ask("POST", f"/uploads/{upload['id']}/done", b"")
        return self.looked_into(upload["id"])

    def looked_into(self, key: int) -> dict[str, Any]:
        def over() -> dict[str, Any] | None:
            found = self.ask("GET", f"/uploads/{key}")
            return found if found["state"] in ("ready", "refused") else None

        found: dict[str, Any] = eventually(over, "looked into")
        return found


class Uploads(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if Uploads._shared is None:
            Uploads._shared = gateway = Gateway("[uploads]\nmax_megabytes = 4\nper_user = 4\n")
            atexit.register(gateway.stop)
            gateway.simulate("SMSC1")
            gateway.accounts({"ahmad": (), "lina": ()})
            gateway.start()
        self.gateway = Uploads._shared
        self.browser = Sender(f"http://127.0.0.1:{self.gateway.http_port}")
        self.browser.login("ahmad")
        self.rows("DELETE FROM uploads RETURNING 1")

    def rows(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        db = psycopg2.connect(self.gateway.dsn)
        try:
            with db, db.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall()
        finally:
            db.close()

    def draft(self, recipients: dict[str, Any]) -> int:
        [(pk,)] = self.rows(
            "WITH c AS (INSERT INTO campaigns (campaign_id, user_id, customer_id, name, submission_channel, status, planned, sender_id)"
            " SELECT 'CAMP-' || nextval('recipient_job_tokens'), id, customer_id, 'Sale', 'WEB', 'DRAFT', TRUE, 'Shop' FROM users"
            " WHERE username = 'ahmad' RETURNING id) INSERT INTO campaign_plans (campaign_id, draft, version)"
            " SELECT id, %s, 1 FROM c RETURNING campaign_id",
            (json.dumps({"recipients": recipients}),),
        )
        return int(pk)

    def begin(self, pk: int) -> None:
        """As if a node that is no more had begun it: the next start takes it up."""
        self.rows("SELECT begin_recipient_job('G', %s, (SELECT node_id FROM tbl_nodes), '{}')", (pk,))
        self.rows("UPDATE tbl_recipient_jobs SET beat_at = now() - interval '1 hour' WHERE subject = %s RETURNING 1", (pk,))

    def gathered(self, pk: int) -> dict[str, Any]:
        def over() -> dict[str, Any] | None:
            [(found,)] = self.rows("SELECT gathering FROM campaign_plans WHERE campaign_id = %s", (pk,))
            return found if found and found["state"] in ("done", "failed") else None

        found: dict[str, Any] = eventually(over, "gathered")
        return found

    def child(self) -> int:
        """The process that gathers."""
        assert self.gateway.process.child is not None
        tasks = Path(f"/proc/{self.gateway.process.child.pid}/task")
        for task in tasks.iterdir():
            for pid in (task / "children").read_text().split():
                if b"protei_bulk.campaigns.child" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        return 0

    # --- files

    def test_from_pieces_to_blocks(self) -> None:
        b, body = self.browser, b"mobile,first name\n" + b"".join(b"079%07d,Sara\n" % n for n in range(150_000))
        upload = b.open("people.csv", len(body))
        self.assertEqual((b.status, upload["pieces"], upload["received"]), (201, 3, []))
        b.put(upload, 2, body)
        b.put(upload, 0, body)
        self.assertEqual(b.ask("GET", f"/uploads/{upload['id']}")["received"], [0, 2])  # where one goes on
        self.assertEqual(b.ask("POST", f"/uploads/{upload['id']}/done", b"")["code"], "INCOMPLETE")
        b.put(upload, 1, body)
        b.put(upload, 1, body)  # the answer was lost: once more
        b.ask("POST", f"/uploads/{upload['id']}/done", b"")
        self.assertEqual(b.status, 202)
        preview = b.looked_into(upload["id"])["preview"]
        self.assertEqual((preview["delimiter"], preview["encoding"], preview["header"]), (",", "utf-8", True))
        self.assertEqual([c["name"] for c in preview["columns"]], ["mobile", "first name"])
        self.assertEqual(preview["mapping"], {"header": True, "number": 0, "variables": {"NAME": 1}})
        self.assertEqual(preview["rows_estimated"], 150_001)
        self.assertEqual(b.put(upload, 1, body)["code"], "NO_SUCH_PIECE")  # it is as it is now

        pk = self.draft({"upload": upload["id"], "mapping": {**preview["mapping"], "delimiter": ",", "encoding": "utf-8", "country": "JO"}})
        self.begin(pk)
        found = self.gathered(pk)
        self.assertEqual((found["state"], found["accepted"], found["variables"]), ("done", 150_000, {"NAME": 150_000}), found)
        self.assertEqual(self.rows("SELECT count(*), sum(size) FROM campaign_blocks WHERE campaign_id = %s", (pk,)), [(150, 150_000)])

    def test_what_is_refused(self) -> None:
        b = self.browser
        self.assertEqual((b.open("big.csv", 4 * 1024**2 + 1)["code"], b.status), ("FILE_TOO_LARGE", 413))
        self.assertEqual((b.open("none.csv", 0)["code"], b.status), ("EMPTY_FILE", 422))
        b.ask("POST", "/uploads", b"[]")
        self.assertEqual(b.status, 400)
        upload = b.open("people.csv", 10)
        self.assertEqual(b.ask("PUT", f"/uploads/{upload['id']}/0", b"x" * 9)["code"], "WRONG_LENGTH")
        self.assertEqual(b.ask("PUT", f"/uploads/{upload['id']}/0", b"x" * 11)["code"], "WRONG_LENGTH")
        self.assertEqual(b.ask("PUT", f"/uploads/{upload['id']}/1", b"x")["code"], "NO_SUCH_PIECE")
        b.ask("PUT", f"/uploads/{upload['id']}/-1", b"x")
        self.assertEqual(b.status, 409)
        for name in ("a", "b", "c"):
            b.open(name, 10)
        self.assertEqual((b.open("d", 10)["code"], b.status), ("TOO_MANY_UPLOADS", 409))
        b.ask("POST", f"/uploads/{upload['id']}/remove", b"")
        b.open("d", 10)
        self.assertEqual(b.status, 201)

    def test_room_for_the_next_one(self) -> None:
        """Files that nothing needs any more go first; those of drafts stay."""
        b = self.browser
        keys = [b.upload(f"{n}.csv", b"0791234567\n")["id"] for n in range(4)]
        self.draft({"upload": keys[0], "mapping": {}})
        new = b.upload("5.csv", b"0791234567\n")
        self.assertEqual(new["state"], "ready")
        self.assertEqual([k for (k,) in self.rows("SELECT upload_id FROM uploads ORDER BY 1")], [keys[0], keys[2], keys[3], new["id"]])
        self.assertEqual(b.ask("GET", f"/uploads/{keys[1]}")["code"], "UPLOAD_GONE")

    def test_of_others_and_from_other_sites(self) -> None:
        mine = self.browser.open("people.csv", 10)
        other = Sender(self.browser.base)
        other.login("lina")
        for method, path in (("GET", ""), ("PUT", "/0"), ("POST", "/done"), ("POST", "/preview"), ("POST", "/remove")):
            other.ask(method, f"/uploads/{mine['id']}{path}", None if method == "GET" else b"0123456789")
            self.assertIn(other.status, (200, 404) if path == "/remove" else (404,))
        self.assertEqual(self.browser.ask("GET", f"/uploads/{mine['id']}")["state"], "open")
        self.browser.ask("PUT", f"/uploads/{mine['id']}/0", b"0123456789", origin="https://evil.example")
        self.assertEqual(self.browser.status, 403)
        self.browser.ask("PUT", f"/uploads/{mine['id']}/0", b"0123456789", csrf="0" * 40)
        self.assertEqual(self.browser.status, 403)

    def test_reasons_in_words(self) -> None:
        b = self.browser
        for name, body, code, word in (
            ("a.pdf", b"%PDF-1.7 ...", "NOT_A_TABLE", "CSV"), ("a.xls", b"\xd0\xcf\x11\xe0rest", "NOT_A_TABLE", "old Excel"),
            ("a.xlsx", b"PK\x03\x04broken", "BROKEN_XLSX", "damaged"),
            ("a.csv", b'phone,name\n0791234567,"Sara\n0791234568,Omar\n', "QUOTE_NOT_CLOSED", "line 2"),
        ):  # fmt: skip
            found = b.upload(name, body)
            self.assertEqual((found["state"], found["code"]), ("refused", code), found)
            self.assertIn(word, found["text"])
        self.assertEqual(self.rows("SELECT count(*) FROM tbl_upload_pieces"), [(0,)])  # what was refused takes no room

    def test_report_of_refused(self) -> None:
        """As a file, for whoever sees the campaign; no cell of it is a formula."""
        pk = self.draft({"numbers": "+962 79 123 4567\n=1+1\n@SUM(A1)\n+962791234567", "country": ""})
        self.begin(pk)
        self.gathered(pk)
        [(key,)] = self.rows("SELECT campaign_id FROM campaigns WHERE id = %s", (pk,))
        lines = self.browser.get(f"/campaigns/{key}/refused.csv").splitlines()
        self.assertEqual(lines, [
            "\ufeffline,number,code,reason,detail", "2,'=1+1,NOT_A_NUMBER,Not a number,", "3,'@SUM(A1),NOT_A_NUMBER,Not a number,",
            "4,962791234567,DUPLICATE,Twice in the recipients,",
        ])  # fmt: skip
        other = Sender(self.browser.base)
        other.login("lina")
        other.get(f"/campaigns/{key}/refused.csv")
        self.assertEqual(other.status, 404)

    # --- what dies

    def test_child_and_gateway_killed(self) -> None:
        """kill -9 of the child: another one begins anew; of the gateway: the child goes too, and the next start goes on."""
        body = b"".join(b"079%07d,Sara\n" % n for n in range(190_000))
        upload = self.browser.upload("people.csv", body)
        mapping = {"header": False, "number": 0, "variables": {"N": 1}, "country": "JO", "delimiter": ",", "encoding": "utf-8"}
        pk = self.draft({"upload": upload["id"], "mapping": mapping})
        self.begin(pk)
        first = eventually(self.child, "a child")
        os.kill(first, signal.SIGKILL)
        second = eventually(lambda: self.child() not in (0, first) and self.child(), "another child")
        os.kill(second, signal.SIGSTOP)  # so that it is there still
        self.assertEqual(self.rows("SELECT count(*) FROM campaign_blocks WHERE campaign_id = %s", (pk,)), [(0,)])
        self.gateway.process.end(signal.SIGKILL)
        stat = Path(f"/proc/{second}/stat")
        eventually(lambda: not stat.exists() or stat.read_text().split()[2] == "Z", "the child's end")
        self.gateway.start()
        found = self.gathered(pk)
        self.assertEqual((found["state"], found["accepted"]), ("done", 190_000), found)
        self.assertEqual(self.rows("SELECT sum(size) FROM campaign_blocks WHERE campaign_id = %s", (pk,)), [(190_000,)])
