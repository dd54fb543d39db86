"""A database with drafts and uploads in it, and Recipients that start real child processes."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import deferLater

from protei_bulk.campaigns.recipients import Recipients
from protei_bulk.settings import Uploads
from protei_bulk.store.recipient_jobs import RecipientJobs
from tests.store.database import DatabaseCase

PIECE = 1024**2


class RecipientsCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user = await self.ahmad()
        [(self.customer,)] = await self.db.query("SELECT customer_id FROM users")
        await self.db.execute("UPDATE customers SET default_country = 'JO'")
        self.settings = Uploads()
        self.jobs = RecipientJobs(self.db, 1)
        self.recipients = self.make()
        self.recipients.start()

    def make(self, **settings: Any) -> Recipients:
        values = evolve(self.settings, **settings)
        made = Recipients(self.jobs, reactor, self.dsn, lambda: values)
        self.addCleanup(made.stop)
        return made

    async def draft(self, recipients: dict[str, Any], **columns: Any) -> int:
        """The key of a campaign with this in its draft."""
        values = {"sender_id": "Shop", "message_content": "Hello", "encoding": "AUTO", **columns}
        [(pk,)] = await self.db.query(
            "INSERT INTO campaigns (campaign_id, user_id, customer_id, name, submission_channel, status, planned, sender_id,"
            " message_content, encoding)"
            " VALUES ('CAMP-' || nextval('recipient_job_tokens'), %s, %s, 'Sale', 'WEB', 'DRAFT', TRUE, %s, %s, %s) RETURNING id",
            (self.user, self.customer, values["sender_id"], values["message_content"], values["encoding"]),
        )
        await self.db.execute(
            "INSERT INTO campaign_plans (campaign_id, draft, version) VALUES (%s, %s, 3)", (pk, json.dumps({"recipients": recipients}))
        )
        return int(pk)

    async def upload(self, body: bytes, *, ready: bool = True, piece: int = PIECE) -> int:
        [(key,)] = await self.db.query(
            "INSERT INTO uploads (user_id, customer_id, name, size, piece_size, state, expires_at)"
            " VALUES (%s, %s, 'people.csv', %s, %s, %s, now() + interval '1 day') RETURNING upload_id",
            (self.user, self.customer, len(body), piece, "ready" if ready else "open"),
        )
        for n in range(0, len(body), piece):
            await self.db.execute("INSERT INTO tbl_upload_pieces VALUES (%s, %s, %s)", (key, n // piece, body[n : n + piece]))
        return int(key)

    async def until(self, sql: str, *params: Any) -> Any:
        """The JSON of a column, once its state says that it is over."""
        while True:
            [(found,)] = await self.db.query(sql, params)
            if found is not None and found["state"] not in ("waiting", "running"):
                return found
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]

    async def gathered(self, pk: int) -> dict[str, Any]:
        assert await self.recipients.gather(pk)
        found: dict[str, Any] = await self.until("SELECT gathering FROM campaign_plans WHERE campaign_id = %s", pk)
        return found

    async def measured(self, pk: int) -> dict[str, Any]:
        assert await self.recipients.measure(pk)
        found: dict[str, Any] = await self.until("SELECT measured FROM campaign_plans WHERE campaign_id = %s", pk)
        return found

    async def blocks(self, pk: int) -> list[tuple[str, int, list[Any]]]:
        rows = await self.db.query("SELECT country, size, recipients FROM campaign_blocks WHERE campaign_id = %s ORDER BY block", (pk,))
        return [(country, size, json.loads(recipients)) for country, size, recipients in rows]

    async def refusals(self, pk: int) -> list[tuple[int, str, str]]:
        return await self.db.query(
            "SELECT line, given, code FROM campaign_refusals WHERE campaign_id = %s AND stage = 'G' ORDER BY refusal_id", (pk,)
        )
