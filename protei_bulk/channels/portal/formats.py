"""How numbers, money and times are shown: in the reader's language and zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision

from protei_bulk.channels.portal.i18n import Language


def formats(language: Language, zone: ZoneInfo, now: Callable[[], float]) -> dict[str, Callable[..., str]]:
    """Jinja filters for one reader. Digits are those of ASCII in every language: they are numbers to be copied."""
    babel = language.babel

    def number(value: Any) -> str:
        return "" if value is None else format_decimal(value, locale=babel, numbering_system="latn")

    def percent(value: Any) -> str:
        if value is None:
            return "–"
        digits = "#,##0.0%" if 0 < abs(value) < 0.9995 else "#,##0%"
        return format_percent(value, digits, locale=babel, numbering_system="latn")

    def money(value: Any, currency: str = "USD") -> str:
        return "" if value is None else money_text(Decimal(value), currency, babel)

    def when(value: Any, style: str = "medium") -> str:
        at = _moment(value)
        return "" if at is None else format_datetime(at.astimezone(zone), _STYLES[style], locale=babel).translate(_ASCII_DIGITS)

    def day(value: date) -> str:
        """A day that is one whatever the zone."""
        return format_date(value, _STYLES["day"], locale=babel).translate(_ASCII_DIGITS)

    def ago(value: Any) -> str:
        at = _moment(value)
        if at is None:
            return ""
        since = at - datetime.fromtimestamp(now(), UTC)
        return format_timedelta(since, locale=babel, add_direction=True, threshold=1.2).translate(_ASCII_DIGITS)

    def duration(seconds: Any) -> str:
        if seconds is None:
            return ""
        return format_timedelta(timedelta(seconds=max(1, round(seconds))), locale=babel, threshold=2).translate(_ASCII_DIGITS)

    def iso(value: Any) -> str:
        at = _moment(value)
        return "" if at is None else at.astimezone(UTC).isoformat(timespec="seconds")

    return {"number": number, "percent": percent, "money": money, "when": when, "day": day, "ago": ago, "duration": duration, "iso": iso}


_STYLES = {
    "medium": "d MMM yyyy, HH:mm:ss",
    "minute": "d MMM yyyy, HH:mm",
    "day": "d MMM yyyy",
    "time": "HH:mm:ss",
    "field": "yyyy-MM-dd'T'HH:mm",
}
_ASCII_DIGITS = {**{0x660 + d: str(d) for d in range(10)}, **{0x6F0 + d: str(d) for d in range(10)}}


def money_text(amount: Decimal, currency: str, babel: Locale) -> str:
    """With as many decimals as the currency has, and never fewer than the amount needs; at most 6."""
    digits = max(get_currency_precision(currency), min(6, -int(amount.normalize().as_tuple().exponent)))
    form = f"¤¤\u00a0#,##0.{'0' * digits}" if digits else "¤¤\u00a0#,##0"
    said = format_currency(amount, currency, f"{form};-{form}", locale=babel, currency_digits=False, numbering_system="latn")
    return f"\u2066{said}\u2069" if babel.text_direction == "rtl" else said  # isolated: its sign stays before it


def _moment(value: Any) -> datetime | None:
    """From Unix seconds or a datetime; a naive one is in UTC."""
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.fromtimestamp(float(value), UTC)
