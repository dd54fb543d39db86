"""What an SMSC has taken, noted in a local file before anything else is done about it.

Between an SMSC's answer and the commit that records it lies a batch or two. Without a
note, a gateway killed in between would send those messages again: far more than the
windows hold. One write(2) a turn costs next to nothing and survives the death of the
process; it is not synced, so after a loss of power the batches in flight count as unknown too.
"""

from __future__ import annotations

import os
from pathlib import Path


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
        self._written = 0
        self._committed = 0
        self._old: list[tuple[Path, int]] = []  # file, and how many entries must be committed before it goes
        self._path = folder / "sent.0"
        self.totals: dict[str, int] = {}  # of what `open` found: the parts of messages that went out in another number of them
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
                fields = line.decode("utf-8", "replace").split("\t")
                if len(fields) != 4:
                    continue
                part, _, total = fields[3].partition("/")
                if part.isdigit():
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

    def write(self, lines: list[str]) -> None:
        """Notes a turn's answers. Raises OSError where the disk is full: the link then is to be dropped."""
        self._written += len(lines)  # on failure too: they are recorded, and counted by `committed`
        data = "".join(lines).encode()
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self._size += len(data)
        if self._size >= self._rotate_at:
            os.close(self._fd)
            self._old.append((self._path, self._written))
            self._begin()

    def committed(self, entries: int) -> None:
        """So many more entries are in the database, in the order in which they were written."""
        self._committed += entries
        while self._old and self._old[0][1] <= self._committed:
            self._old.pop(0)[0].unlink(missing_ok=True)

    def close(self) -> None:
        """Forgets everything where everything is committed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if self._committed >= self._written:
                for path in [p for p, _ in self._old] + [self._path]:
                    path.unlink(missing_ok=True)
