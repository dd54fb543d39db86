"""Times (SMPP 3.4 section 7.1.1): `YYMMDDhhmmsstnnp`, absolute with a quarter-hour offset or relative."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone


def parse(text: str, now: float) -> float:
    """Unix seconds that a time stands for; 0.0 for an empty one. Raises ValueError.

    A relative time counts months of 30 days and years of 365.
    """
    if not text:
        return 0.0
    if len(text) != 16 or not text[:15].isdigit():
        raise ValueError(f"not an SMPP time: {text!r}")
    year, month, day, hour, minute, second, tenth, quarters = (
        int(text[0:2]), int(text[2:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:12]),
        int(text[12]), int(text[13:15]),
    )  # fmt: skip
    if text[15] == "R":
        days = year * 365 + month * 30 + day
        return now + days * 86_400 + hour * 3600 + minute * 60 + second
    if text[15] not in "+-" or quarters > 48:
        raise ValueError(f"not an SMPP time: {text!r}")
    offset = timedelta(minutes=15 * quarters) * (1 if text[15] == "+" else -1)
    return datetime(
        2000 + year, month, day, hour, minute, second, tenth * 100_000, tzinfo=timezone(offset)
    ).timestamp()


def absolute(unix: float) -> str:
    """A time in UTC, to the second; "" for 0.0."""
    return datetime.fromtimestamp(unix, UTC).strftime("%y%m%d%H%M%S") + "000+" if unix else ""


def relative(seconds: float) -> bytes:
    """A relative time of at most 63 days, the longest that a GSM validity period holds."""
    s = min(max(1, int(seconds)), 63 * 86_400)
    days, s = divmod(s, 86_400)
    months, days = divmod(days, 30)
    return b"00%02d%02d%02d%02d%02d000R" % (months, days, s // 3600, s // 60 % 60, s % 60)
