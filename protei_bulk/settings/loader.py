"""Load a configuration file: syntax, then every value by its rule, then what must agree with what."""

from __future__ import annotations

import tomllib
from decimal import Decimal, InvalidOperation
from pathlib import Path

from protei_bulk.settings.reader import BAD, read_table
from protei_bulk.settings.routes import target_problems
from protei_bulk.settings.rules import shown
from protei_bulk.settings.schema import Settings


class SettingsError(ValueError):
    """The configuration cannot be used. problems: one line each, beginning with the path of the key."""

    def __init__(self, problems: list[str], source: str = "") -> None:
        self.problems = problems
        self.source = source
        super().__init__(problems, source)

    def __str__(self) -> str:
        lines = "\n".join(f"  {p}" for p in self.problems)
        return f"{self.source or 'configuration'} cannot be used:\n{lines}"


def load(path: str | Path) -> Settings:
    """Read a file. A missing or unreadable file is a SettingsError too.

    Relative paths in it count from its folder, or from the folder above when its folder is
    named etc, whatever the working directory.
    """
    file = Path(path)
    try:
        text = file.read_bytes().decode()
    except FileNotFoundError:
        raise SettingsError(["no such file"], str(path)) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"not UTF-8 text (octet {error.start})"], str(path)) from None
    except OSError as error:
        raise SettingsError([f"cannot be read: {error.strerror}"], str(path)) from None
    folder = file.resolve().parent
    return parse(text, base=folder.parent if folder.name == "etc" else folder, source=str(path))


def parse(text: str, *, base: Path | None = None, source: str = "") -> Settings:
    """Read TOML text; relative paths count from base (default: the working directory)."""
    try:
        table = tomllib.loads(text, parse_float=_decimal)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"not valid TOML: {error}"], source) from None
    problems: list[str] = []
    settings = read_table(Settings, table, "", base or Path.cwd(), problems)
    problems += _names(table, "smsc", "id") + _names(table, "route", "name") + _names(table, "mo", "name") + _targets(table)
    if settings is not BAD:
        problems += _agreement(settings)
    if problems:
        raise SettingsError(problems, source)
    return settings


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent out of reach, for one
        return Decimal("NaN")


def _rows(table: dict[str, object], key: str) -> list[tuple[int, dict[str, object]]]:
    rows = table.get(key)
    if not isinstance(rows, list):
        return []
    return [(n, row) for n, row in enumerate(rows, 1) if isinstance(row, dict)]


def _names(table: dict[str, object], section: str, key: str) -> list[str]:
    """Names given twice, on the raw table so that they show beside errors in the values."""
    first: dict[str, int] = {}
    problems = []
    for number, row in _rows(table, section):
        name = row.get(key)
        if isinstance(name, str) and first.setdefault(name, number) != number:
            problems.append(f"{section}.{number}.{key}: {shown(name)} is already {section}.{first[name]}")
    return problems


def _targets(table: dict[str, object]) -> list[str]:
    """Routes to an SMSC that is not there, or to none at all."""
    known = [row["id"] for _, row in _rows(table, "smsc") if isinstance(row.get("id"), str)]
    ids = [name for name in known if isinstance(name, str)]
    return [p for number, row in _rows(table, "route") for p in target_problems(row, ids, f"route.{number}")]


def _agreement(settings: Settings) -> list[str]:
    """What two values say together."""
    problems = []
    for path, tls in (("smpp.tls", settings.smpp.tls), ("http.tls", settings.http.tls)):
        for key in ("certificate", "private_key"):
            if tls.listen and getattr(tls, key) is None:
                problems.append(f"{path}.{key}: missing, and {path}.listen needs it")
    http = settings.http
    if http.redirect_to_https and not http.tls.listen and not http.public_url.startswith("https://"):
        problems.append("http.redirect_to_https: needs http.tls.listen, or a public_url that begins with https://")
    if settings.smpp.tls.require_client_certificate and settings.smpp.tls.client_ca is None:
        problems.append("smpp.tls.client_ca: missing, and require_client_certificate needs it")
    for number, rule in enumerate(settings.mo, 1):
        if not rule.to.user and not rule.to.url:
            problems.append(f"mo.{number}.to: expected a user, a url, or both")
    for number, smsc in enumerate(settings.smsc, 1):
        for key, other in (("tls_certificate", "tls_private_key"), ("tls_private_key", "tls_certificate")):
            if getattr(smsc, key) is None and getattr(smsc, other) is not None:
                problems.append(f"smsc.{number}.{key}: missing, and {other} needs it")
        for key in ("tls_ca", "tls_hostname", "tls_certificate"):
            if getattr(smsc, key) and not smsc.tls:
                problems.append(f"smsc.{number}.{key}: needs tls = true")
        if smsc.national_shifts and smsc.alphabet not in ("gsm7", "gsm7-packed"):
            problems.append(f'smsc.{number}.national_shifts: shifts are of septets, and alphabet = "{smsc.alphabet}" has none')
        if smsc.interface_version == "3.3" and smsc.long_messages in ("sar", "payload"):
            problems.append(f'smsc.{number}.long_messages: "{smsc.long_messages}" needs TLVs, which interface_version 3.3 has not')
        for most, least in (("reconnect_max", "reconnect_min"), ("retry_max", "retry_min"), ("breaker_rest_max", "breaker_rest")):
            high, low = getattr(smsc, most), getattr(smsc, least)
            if high < low:
                problems.append(f"smsc.{number}.{most}: expected at least {least} ({low:g}), got {high:g}")
    return problems
