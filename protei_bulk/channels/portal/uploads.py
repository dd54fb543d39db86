"""Files that come in pieces: what static/js/upload.js talks to. Answers are JSON, errors {"code", "text"}."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from twisted.internet.defer import DeferredSemaphore

from protei_bulk.campaigns.recipients import Recipients
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.reasons import file_reason
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model.permissions import Permission
from protei_bulk.settings import Settings
from protei_bulk.store.uploads import Upload, Uploads

PIECE = 1024**2  # octets, where http.max_body lets that through
AT_ONCE = 4  # pieces in memory; others wait in their files


class UploadPages:
    def __init__(self, shell: Shell, uploads: Uploads, recipients: Recipients, settings: Callable[[], Settings]) -> None:
        self._shell, self._uploads, self._recipients, self._settings = shell, uploads, recipients, settings
        self._places = DeferredSemaphore(AT_ONCE)

    def pages(self) -> list[Page]:
        may = Permission.SEND
        return [
            Page("POST", "/uploads", may, self.open),
            Page("GET", "/uploads/{id}", may, self.state, watching=True),
            Page("PUT", "/uploads/{id}/{piece}", may, self.put),
            Page("POST", "/uploads/{id}/done", may, self.done),
            Page("POST", "/uploads/{id}/preview", may, self.again),
            Page("POST", "/uploads/{id}/remove", may, self.remove),
        ]

    async def open(self, visit: Visit) -> Answer:
        settings = self._settings()
        given = _document(visit)
        name, size = given.get("name"), given.get("size")
        if not isinstance(name, str) or type(size) is not int or size < 0:
            return _error(400, "BAD_REQUEST", "name and size")
        name = "".join(c for c in name if c.isprintable())[:200] or "file"
        most = settings.uploads.max_megabytes
        if size == 0:
            return _error(422, "EMPTY_FILE", file_reason(visit, "EMPTY_FILE"))
        if size > most * 1024**2:
            return _error(413, "FILE_TOO_LARGE", file_reason(visit, "FILE_TOO_LARGE", str(most)))
        piece = min(PIECE, settings.http.max_body)
        key = await self._uploads.open(
            visit.who.user_id, visit.who.customer_id, name, size, piece, hours=settings.uploads.hours, most=settings.uploads.per_user
        )
        if key is None:
            return _error(409, "TOO_MANY_UPLOADS", file_reason(visit, "TOO_MANY_UPLOADS"))
        return _answer({"id": key, "state": "open", "piece": piece, "pieces": -(-size // piece), "received": []}, 201)

    async def state(self, visit: Visit) -> Answer:
        upload = await self._find(visit)
        if upload is None:
            return _gone(visit)
        return _answer(await self._shown(visit, upload))

    async def put(self, visit: Visit) -> Answer:
        upload = await self._find(visit)
        if upload is None:
            return _gone(visit)
        given = visit.places["piece"]
        piece = int(given) if given.isascii() and given.isdigit() and len(given) < 8 else -1
        expected = upload.length(piece)
        if upload.state != "open" or not expected:
            return _error(409, "NO_SUCH_PIECE", file_reason(visit, "INCOMPLETE"))
        await self._places.acquire()
        try:
            body = visit.request.content.read(expected + 1)
            if len(body) != expected:
                return _error(400, "WRONG_LENGTH", file_reason(visit, "INCOMPLETE"))
            taken = await self._uploads.put(upload.upload_id, piece, body)
        finally:
            self._places.release()
        return _answer({"piece": piece}) if taken else _error(409, "NO_SUCH_PIECE", file_reason(visit, "INCOMPLETE"))

    async def done(self, visit: Visit) -> Answer:
        upload = await self._find(visit)
        if upload is None:
            return _gone(visit)
        if upload.state == "open" and not await self._recipients.preview(upload.upload_id):
            return _error(409, "INCOMPLETE", file_reason(visit, "INCOMPLETE"))
        upload = await self._find(visit)
        return _gone(visit) if upload is None else _answer(await self._shown(visit, upload), 202)

    async def again(self, visit: Visit) -> Answer:
        """Looks into it as the reader says."""
        upload, given = await self._find(visit), _document(visit)
        if upload is None:
            return _gone(visit)
        sheet = given.get("sheet")
        form: dict[str, Any] = {"delimiter": str(given.get("delimiter"))[:1], "encoding": str(given.get("encoding"))[:20]}
        if upload.preview is not None and upload.preview.get("kind") == "xlsx":
            form = {"sheet": sheet if type(sheet) is int and 0 <= sheet < 1000 else 0}
        if not await self._recipients.preview(upload.upload_id, form):
            return _error(409, "INCOMPLETE", file_reason(visit, "INCOMPLETE"))
        return _answer({"id": upload.upload_id, "state": "checking"}, 202)

    async def remove(self, visit: Visit) -> Answer:
        upload = await self._find(visit)
        if upload is not None:
            await self._uploads.remove(reach_of(visit), upload.upload_id)
        return _answer({})

    async def _find(self, visit: Visit) -> Upload | None:
        given = visit.places["id"]
        if not (given.isascii() and given.isdigit() and len(given) < 19):
            return None
        return await self._uploads.get(reach_of(visit), int(given))

    async def _shown(self, visit: Visit, upload: Upload) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": upload.upload_id, "name": upload.name, "size": upload.size, "piece": upload.piece_size, "pieces": upload.pieces,
            "state": upload.state,
        }  # fmt: skip
        if upload.state == "open":
            shown["received"] = await self._uploads.received(upload.upload_id)
        elif upload.state == "ready":
            shown["preview"] = upload.preview
        elif upload.state == "refused":
            shown |= {"code": upload.code, "text": file_reason(visit, upload.code, upload.detail)}
        return shown


def _document(visit: Visit) -> Mapping[str, Any]:
    try:
        found = orjson.loads(visit.request.content.read(10_000))
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _answer(document: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(orjson.dumps(document), status, "application/json", headers=(("Cache-Control", "no-store"),))


def _error(status: int, code: str, text: str) -> Answer:
    return _answer({"code": code, "text": text}, status)


def _gone(visit: Visit) -> Answer:
    return _error(404, "UPLOAD_GONE", file_reason(visit, "UPLOAD_GONE"))
