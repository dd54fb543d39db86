"""Uploads, and what is dropped when its time is over."""

from __future__ import annotations

from twisted.internet.defer import DeferredList

from protei_bulk.access.ports import NOBODY
from protei_bulk.store.contacts import Contacts, NameTaken
from protei_bulk.store.pages import Reach
from protei_bulk.store.uploads import Uploads
from tests.store.database import DatabaseCase


class UploadsTest(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user = await self.ahmad()
        [(self.customer,)] = await self.db.query("SELECT customer_id FROM users")
        self.uploads, self.contacts = Uploads(self.db), Contacts(self.db)

    async def test_pieces(self) -> None:
        key = await self.uploads.open(self.user, self.customer, "x" * 300, 25, 10, hours=1, most=5)
        assert key is not None
        upload = await self.uploads.get(Reach(user_id=self.user), key)
        assert upload is not None
        self.assertEqual((upload.pieces, [upload.length(n) for n in (-1, 0, 1, 2, 3)], len(upload.name)), (3, [0, 10, 10, 5, 0], 200))
        self.assertTrue(await self.uploads.put(key, 2, bytes(range(5))))
        self.assertTrue(await self.uploads.put(key, 2, b"\x00\xff'\\x"))  # once more: the last one holds
        self.assertEqual(await self.uploads.received(key), [2])
        [(body,)] = await self.db.query("SELECT body FROM tbl_upload_pieces")
        self.assertEqual(bytes(body), b"\x00\xff'\\x")
        await self.db.query("UPDATE uploads SET state = 'ready'")
        self.assertFalse(await self.uploads.put(key, 1, b"x" * 10))
        for reach in (Reach(user_id=self.user + 1), Reach(customer_id=self.customer + 1)):
            self.assertIsNone(await self.uploads.get(reach, key))
            self.assertFalse(await self.uploads.remove(reach, key))
        self.assertTrue(await self.uploads.remove(Reach(), key))
        self.assertEqual(await self.db.query("SELECT * FROM tbl_upload_pieces"), [])

    async def test_many_at_once(self) -> None:
        opened = [self.uploads.open(self.user, self.customer, "a.csv", 10, 10, hours=1, most=3) for _ in range(8)]
        results = await DeferredList(opened)
        self.assertEqual(sum(key is not None for _, key in results), 3)

    async def test_time_is_over(self) -> None:
        key = await self.uploads.open(self.user, self.customer, "a.csv", 10, 10, hours=1, most=3)
        assert key is not None
        await self.uploads.put(key, 0, b"0123456789")
        gone = await self.contacts.make(self.customer, "Gone", [], actor=NOBODY)
        kept = await self.contacts.make(self.customer, "Kept", [], actor=NOBODY)
        for list_id in (gone, kept):
            await self.contacts.put(self.customer, list_id, ("962790000001", "", {}), actor=NOBODY)
        removal, _ = await self.contacts.take_out(self.customer, kept, ["962790000001"], actor=NOBODY)
        await self.contacts.remove(self.customer, gone, actor=NOBODY)
        await self.uploads.tend()
        self.assertEqual(await self.db.query("SELECT (SELECT count(*) FROM uploads), (SELECT count(*) FROM contact_lists)"), [(1, 2)])
        await self.db.query("UPDATE uploads SET expires_at = now() - interval '1 second'")
        self.assertIsNone(await self.uploads.get(Reach(), key))
        await self.db.query("UPDATE contact_lists SET removed_at = removed_at - interval '25 hours'")
        await self.db.query("UPDATE contacts_removed SET removed_at = now() - interval '25 hours'")
        await self.uploads.tend()
        counts = "SELECT (SELECT count(*) FROM uploads), (SELECT count(*) FROM tbl_upload_pieces), (SELECT count(*) FROM contact_lists)"
        self.assertEqual(await self.db.query(counts), [(0, 0, 1)])
        self.assertEqual(await self.contacts.put_back(self.customer, kept, removal, actor=NOBODY), 0)

    async def test_a_name_that_was_taken_meanwhile(self) -> None:
        first = await self.contacts.make(self.customer, "Friends", [], actor=NOBODY)
        await self.contacts.remove(self.customer, first, actor=NOBODY)
        await self.contacts.make(self.customer, "FRIENDS", [], actor=NOBODY)
        with self.assertRaises(NameTaken):
            await self.contacts.restore(self.customer, first, actor=NOBODY)

    async def test_sizes(self) -> None:
        key = await self.contacts.make(self.customer, "Friends", [], actor=NOBODY)
        for n in range(3):
            self.assertTrue(await self.contacts.put(self.customer, key, (f"96279000000{n}", "", {}), actor=NOBODY))
        self.assertFalse(await self.contacts.put(self.customer, key, ("962790000001", "", {}), actor=NOBODY))
        self.assertFalse(await self.contacts.put(self.customer, key, ("962790000001", "", {}), "962790000002", actor=NOBODY))
        self.assertFalse(await self.contacts.put(self.customer + 1, key, ("962790000009", "", {}), actor=NOBODY))  # of another customer
        await self.contacts.take_out(self.customer, key, ["962790000000", "962790000001", "1"], actor=NOBODY)
        self.assertEqual(await self.db.query("SELECT size FROM contact_lists"), [(1,)])
