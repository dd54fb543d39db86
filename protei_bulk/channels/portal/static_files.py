"""The portal's own style sheets, scripts and pictures: read at the start, served from memory, kept by browsers for a year."""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from attrs import frozen

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "csv": "text/csv; charset=utf-8",
}


@frozen
class StaticFile:
    body: bytes
    content_type: str
    mark: str  # of its content: part of its address, so that a new version has another


class StaticFiles:
    """By path below ``static/``."""

    def __init__(self, folder: Traversable | None = None) -> None:
        self._files: dict[str, StaticFile] = {}
        self._read(folder or resources.files("protei_bulk.channels.portal").joinpath("static"), "")
        # Scripts import each other by plain names: one mark for all keeps them together.
        self._all = hashlib.sha256("".join(f.mark for f in self._files.values()).encode()).hexdigest()[:12]

    def _read(self, folder: Traversable, path: str) -> None:
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            name = f"{path}{entry.name}"
            if entry.is_dir():
                self._read(entry, name + "/")
            elif (kind := _TYPES.get(entry.name.rpartition(".")[2])) is not None:
                body = entry.read_bytes()
                self._files[name] = StaticFile(body, kind, hashlib.sha256(body).hexdigest()[:12])

    def address(self, name: str) -> str:
        """Where a page finds a file. Raises KeyError for one that is not there."""
        self._files[name]
        return f"/static/{self._all}/{name}"

    def get(self, mark: str, name: str) -> StaticFile | None:
        """None for what is not there; an old mark gets today's file."""
        return self._files.get(name)

    def is_current(self, mark: str) -> bool:
        return mark == self._all
