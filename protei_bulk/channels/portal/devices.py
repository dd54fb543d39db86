"""What a User-Agent says of a browser, in the few words by which people know their devices. Pure."""

from __future__ import annotations

#: what it contains -> name; the first that fits, for most pretend to be others too
_BROWSERS = (
    ("Edg/", "Edge"), ("EdgA/", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser/", "Samsung Internet"), ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"), ("CriOS/", "Chrome"), ("HeadlessChrome/", "Chrome"), ("Chrome/", "Chrome"), ("Safari/", "Safari"),
    ("curl/", "curl"), ("Python", "Python"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("CrOS", "ChromeOS"), ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)  # fmt: skip


def device(agent: str | None) -> tuple[str, str]:
    """(browser, system); each "" where it does not say."""
    text = agent or ""
    return (
        next((name for mark, name in _BROWSERS if mark in text), ""),
        next((name for mark, name in _SYSTEMS if mark in text), ""),
    )
