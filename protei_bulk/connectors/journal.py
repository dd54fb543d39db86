"""What an SMSC has taken, noted in a local file before anything else is done about it.

Between an SMSC's answer and the commit that records it lies a batch or two. Without a
note, a gateway killed in between would send those messages again: far more than the
windows hold. One write(2) a turn costs next to nothing and survives the death of the
process; it is not synced, so after a loss of power the batches in flight count as unknown too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote

_LONGEST = 64  # characters of an id
_ESCAPED = "e"  # a fifth field: the SMSC's id is percent-encoded, for it holds what separates


def _escape(line: str) -> str:
    message, smsc, rest = line[:-1].split("\t", 2)
    id, _, part = rest.rpartition("\t")
    return f"{message}\t{smsc}\t{quote(id, safe='')}\t{part}\t{_ESCAPED}\n"


def _fields(line: bytes) -> list[str] | None:
    """Message, SMSC, SMSC's id and part; None for a line that is none, or that no column holds: one such must not stop the start."""
    fields = line.decode("utf-8", "replace").split("\t")
    if len(fields) == 5 and fields[4] == _ESCAPED:
        fields = [*fields[:2], unquote(fields[2]), fields[3]]
    if len(fields) != 4 or len(max(fields, key=len)) > _LONGEST or "\0" in "".join(fields):
        return None
    return fields


class SentJournal:
    """Lines `message_id TAB smsc TAB smsc_message_id TAB part`, in files that go once all in them is committed.

    A part reads `2/3` where the message went out in another number of parts than it has segments; `0/1` is a whole one.
    """

    def __init__(self, folder: Path, *, rotate_at: int = 8 << 20) -> None:
        self._folder = folder
        self._rotate_at = rotate_at
        self._number = 0
        self._fd = -1
        self._size = 0
        self._torn = False  # the last write ended within a line
        self.written = 0
        self.recorded = 0
        self._old: list[tuple[Path, int]] = []  # file, and how many entries must be committed before it goes
        self._path = folder / "sent.0"
        self.totals: dict[str, int] = {}  # of what `open` found: the parts of messages that went out in another number of them
        self.told: Callable[[], None] = lambda: None  # called when more is recorded
        self.unclean = False  # the last process did not end in order

    def open(self) -> list[tuple[str, str, str, int]]:
        """Reads what an earlier process left, (message, smsc, SMSC's id, part), and begins a new file.

        Call `recovered()` once that is in the database.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        left: list[tuple[str, str, str, int]] = []
        files = sorted((p for p in self._folder.glob("sent.*") if p.suffix[1:].isdigit()), key=lambda p: int(p.suffix[1:]))
        for path in files:
            for line in path.read_bytes().split(b"\n")[:-1]:  # the last is empty, or was cut off while being written
                fields = _fields(line)
                if fields is None:
                    continue
                part, _, total = fields[3].partition("/")
                if part.isascii() and part.isdigit() and len(part) <= 3:
                    left.append((fields[0], fields[1], fields[2], int(part)))
                    if total.isdigit():
                        self.totals[fields[0]] = int(total)
        self._left_files = files
        self.unclean = bool(files)
        self._number = int(files[-1].suffix[1:]) if files else 0
        self._begin()
        return left

    def recovered(self) -> None:
        for path in self._left_files:
            path.unlink(missing_ok=True)
        self._left_files = []

    def _begin(self) -> None:
        self._number += 1
        self._path = self._folder / f"sent.{self._number}"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
        self._size = 0
        self._torn = False

    def write(self, lines: list[str]) -> None:
        """Notes a turn's answers. Raises OSError where the disk is full: the link then is to be dropped."""
        self.written += len(lines)  # on failure too: they are recorded, and counted by `committed`
        text = "".join(lines)
        if text.count("\t") != 3 * len(lines) or text.count("\n") != len(lines):
            text = "".join([_escape(line) if line.count("\t") != 3 or line.count("\n") != 1 else line for line in lines])
        data = ("\n" + text if self._torn else text).encode("utf-8", "replace")
        view = memoryview(data)
        self._torn = True
        while view:
            view = view[os.write(self._fd, view) :]
        self._torn = False
        self._size += len(data)
        if self._size >= self._rotate_at:
            os.close(self._fd)
            self._old.append((self._path, self.written))
            self._begin()

    def committed(self, entries: int) -> None:
        """So many more entries are in the database, in the order in which they were written."""
        self.recorded += entries
        while self._old and self._old[0][1] <= self.recorded:
            self._old.pop(0)[0].unlink(missing_ok=True)
        self.told()

    @property
    def clean(self) -> bool:
        """Whether everything in it is in the database."""
        return self.recorded >= self.written

    def close(self) -> None:
        """Forgets everything where everything is committed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if self.clean:
                for path in [p for p, _ in self._old] + [self._path]:
                    path.unlink(missing_ok=True)
