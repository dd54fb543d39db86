"""A campaign as a marketer makes it: a file is uploaded, the wizard gone through, and it runs to its end; if asked for, over a kill -9."""

from __future__ import annotations

import contextlib
import http.cookiejar
import json
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

from protei_bulk.bench import backlog, processes
from protei_bulk.bench.esme import SENDER, LoadError
from protei_bulk.bench.stack import USER, Stack

_PATIENCE = 900.0  # seconds for all of it
_TEXT = "Dear %NAME%, our summer offer ends on Thursday. Show this message in any shop."


def measure(recipients: int, *, kill: bool = False) -> dict[str, Any]:
    """Seconds of each stage, messages a second, memory in MiB. Raises LoadError, OSError."""
    with Stack(1000, queue_memory=20_000) as stack:
        run = _Run(stack, recipients)
        return run.go(kill)


def urgent(recipients: int) -> dict[str, Any]:
    """Urgent messages by SMPP beside a campaign, to an SMSC that takes backlog.TPS a second. Times in ms. Raises LoadError, OSError."""
    with Stack(1000, smsc=f"max_tps = {backlog.TPS}", queue_memory=20_000, delay=0.0) as stack:
        run = _Run(stack, recipients)
        campaign = run.submit()
        run.until_accepted(campaign, min(recipients // 2, 2 * backlog.TPS))
        found = backlog.urgent_beside(stack)
        status, accepted, figures = run.figures()
    return {"recipients": recipients, "status": status, "accepted": accepted, **figures, "smsc_tps": backlog.TPS, "urgent": found}


class _Run:
    def __init__(self, stack: Stack, recipients: int) -> None:
        self._stack, self._count = stack, recipients
        self._portal = Portal(f"http://127.0.0.1:{stack.http}")
        self._marks: list[tuple[str, float]] = []
        self._memory: list[float] = []
        self._pages: list[float] = []
        self._begun = 0.0

    def submit(self) -> str:
        """Its public id."""
        self._portal.login(USER, self._stack.password)
        self._begun = time.monotonic()
        path = self._draft()
        self._mark("wizard")
        self._portal.post(f"{path}/review", go="submit", version=self._version(f"{path}/review"))
        return path.split("/")[2]

    def until_accepted(self, campaign: str, count: int) -> None:
        end = time.monotonic() + _PATIENCE
        while self.figures()[1] < count:
            if time.monotonic() > end:
                raise LoadError(f"{campaign} does not begin")
            time.sleep(0.1)

    def go(self, kill: bool) -> dict[str, Any]:
        campaign = self.submit()
        begun = self._begun
        killed = self._watch(campaign, kill)
        ended = time.monotonic()
        self._mark("sent and delivered")
        stages, before = {}, begun
        for name, at in self._marks:
            stages[name], before = at - before, at
        self._stack.stop()
        return {
            "recipients": self._count, "seconds": ended - begun, "rate": self._count / (ended - begun), "stages": stages,
            "sending_rate": self._count / stages["sent and delivered"], "peak_mib": max(self._memory), "killed": killed,
            "page_ms": {"count": len(self._pages), "median": sorted(self._pages)[len(self._pages) // 2], "max": max(self._pages)},
            **self._final, **self._taken(),
        }  # fmt: skip

    def _mark(self, name: str) -> None:
        self._marks.append((name, time.monotonic()))

    # --- the wizard

    def _draft(self) -> str:
        p = self._portal
        p.get("/campaigns/create")
        p.post("/campaigns/create", name="Summer", sender=SENDER, priority="NORMAL", go="next", version="0")
        path = p.path.rpartition("/")[0]
        upload = self._upload()
        columns = {"header": True, "number": 0, "variables": {"NAME": 1}, "country": "JO", "delimiter": ",", "encoding": "utf-8"}
        version = self._version(f"{path}/recipients")
        p.post(f"{path}/recipients", upload=str(upload), mapping=json.dumps(columns), country="JO", go="check", version=version)
        self._until(f"{path}/recipients", "gathering")
        self._mark("recipients gathered")
        p.post(f"{path}/message", text=_TEXT, encoding="AUTO", smart="1", go="next", version=self._version(f"{path}/message"))
        p.post(f"{path}/schedule", when="now", go="next", version=self._version(f"{path}/schedule"))
        p.get(f"{path}/review")
        self._until(f"{path}/review", "measured")
        return path

    def _upload(self) -> int:
        file = self._stack.folder / "recipients.csv"
        with file.open("w") as out:
            out.write("phone,name\n")
            for n in range(self._count):
                out.write(f"96278{n:07d},Name {n}\n")
        self._mark("file written")
        p = self._portal
        made = p.json("POST", "/uploads", {"name": file.name, "size": file.stat().st_size})
        for n, piece in enumerate(_pieces(file, made["piece"])):
            p.json("PUT", f"/uploads/{made['id']}/{n}", piece)
        p.json("POST", f"/uploads/{made['id']}/done", {})
        self._mark("uploaded")
        while p.json("GET", f"/uploads/{made['id']}")["state"] != "ready":
            time.sleep(0.1)
        return int(made["id"])

    def _version(self, path: str) -> str:
        page = self._portal.get(path)
        found = re.search(r'name="version" value="(\d+)"', page)
        if found is None:
            raise LoadError(f"{path} has no form: {page[:300]}")
        return found[1]

    def _until(self, path: str, what: str) -> None:
        """Until the child process has done its work."""
        end = time.monotonic() + _PATIENCE
        with contextlib.closing(psycopg2.connect(self._stack.dsn())) as db, db.cursor() as cursor:
            db.autocommit = True
            while time.monotonic() < end:
                cursor.execute(f"SELECT {what} ->> 'state', {what} ->> 'error' FROM campaign_plans ORDER BY campaign_id DESC LIMIT 1")
                row = cursor.fetchone() or (None, None)
                if row[0] == "done":
                    return
                if row[0] == "failed":
                    raise LoadError(f"{what}: {row[1]}")
                time.sleep(0.1)
        raise LoadError(f"{what} takes longer than {_PATIENCE:.0f} s")

    # --- while it runs

    def _watch(self, campaign: str, kill: bool) -> float | None:
        """Looks at its page as a browser does, until it is completed; kills the gateway in the middle. When that was, in seconds."""
        stop = threading.Event()
        pages = threading.Thread(target=self._look, args=(f"/campaigns/{campaign}", stop), daemon=True)
        pages.start()
        begun, killed = time.monotonic(), None
        try:
            while time.monotonic() - begun < _PATIENCE:
                self._memory.append(processes.peak_memory(self._stack.pid("gateway")))
                status, accepted, figures = self.figures()
                if kill and killed is None and accepted > self._count // 3:
                    self._stack.kill("gateway")
                    killed = time.monotonic() - begun
                    self._stack.start_gateway()
                if status in ("COMPLETED", "PAUSED", "CANCELLED"):
                    self._final = {"status": status, **figures}
                    return killed
                time.sleep(0.2)
        finally:
            stop.set()
            pages.join(30)
        raise LoadError(f"the campaign is not over after {_PATIENCE:.0f} s")

    def figures(self) -> tuple[str, int, dict[str, int]]:
        try:
            with contextlib.closing(psycopg2.connect(self._stack.dsn())) as db, db.cursor() as cursor:
                cursor.execute(
                    "SELECT status, accepted_total, delivered_count, failed_count, refused_count FROM campaigns"
                    " WHERE planned ORDER BY id DESC LIMIT 1"
                )
                status, accepted, delivered, failed, refused = cursor.fetchone() or ("", 0, 0, 0, 0)
        except psycopg2.OperationalError:  # it ended with the gateway
            return "", 0, {}
        return str(status), int(accepted), {"accepted": accepted, "delivered": delivered, "failed": failed, "refused": refused}

    def _look(self, path: str, stop: threading.Event) -> None:
        while not stop.wait(0.5):
            begun = time.monotonic()
            with contextlib.suppress(OSError):
                self._portal.get(path)
                self._pages.append(1000 * (time.monotonic() - begun))

    def _taken(self) -> dict[str, int]:
        """What the SMSC has seen."""
        taken = Counter(line.split()[2] for line in self._stack.ledger.read_text().splitlines() if line.startswith("S"))
        return {"missing": self._count - len(taken), "twice": sum(n - 1 for n in taken.values())}


def _pieces(file: Path, size: int) -> Iterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(size):
            yield piece


class Portal:
    """A browser without scripts."""

    def __init__(self, base: str) -> None:
        self._base, self._csrf, self.path = base, "", ""
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def login(self, user: str, password: str) -> None:
        self.get("/login")
        page = self.post("/login", username=user, password=password)
        if self.path.startswith("/login"):
            raise LoadError(f"no login: {page[:300]}")

    def get(self, path: str) -> str:
        page = self._ask("GET", path, None).decode()
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        if token:
            self._csrf = token[1]
        return page

    def post(self, path: str, **fields: str) -> str:
        body = urllib.parse.urlencode({"csrf": self._csrf, **fields}).encode()
        return self._ask("POST", path, body, "application/x-www-form-urlencoded").decode()

    def json(self, method: str, path: str, body: Any = None) -> Any:
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return json.loads(self._ask(method, path, data, kind))

    def _ask(self, method: str, path: str, body: bytes | None, kind: str = "") -> bytes:
        request = urllib.request.Request(self._base + path, body, method=method)
        request.add_header("Origin", self._base)
        if kind:
            request.add_header("Content-Type", kind)
            request.add_header("X-CSRF-Token", self._csrf)
        try:
            with self._opener.open(request, timeout=60) as answer:
                self.path = urllib.parse.urlsplit(answer.url).path
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise LoadError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None
