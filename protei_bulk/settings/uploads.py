"""Files with recipients that people upload, and the processes that read them."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen

from protei_bulk.settings.rules import Whole


@frozen
class Uploads:
    max_megabytes: Annotated[int, Whole(1, 2048)] = 200  # of one file
    max_rows: Annotated[int, Whole(1, 20_000_000)] = 5_000_000  # of one campaign, from all sources
    per_user: Annotated[int, Whole(1, 1000)] = 5  # files that an account has at a time
    hours: Annotated[int, Whole(1, 24 * 30)] = 24  # that a file is kept
    processes: Annotated[int, Whole(1, 64)] = 2  # that read files and lists at a time, of one node
    memory_megabytes: Annotated[int, Whole(256, 65_536)] = 1024  # of one process
    unpacked_megabytes: Annotated[int, Whole(1, 16_384)] = 1024  # of an XLSX file
