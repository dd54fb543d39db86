"""How long each page of the portal takes with many messages stored. They are made by SQL, and roll-ups of the
size that they would have left."""

from __future__ import annotations

import contextlib
import re
import statistics
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from protei_bulk.bench import processes
from protei_bulk.bench.campaign import Portal
from protei_bulk.bench.esme import LoadError
from protei_bulk.bench.stack import CUSTOMER, Stack

DAYS, USERS, TIMES = 20, 40, 15
ADMIN, SENDER = "bench-admin", "bench1"

#: what each day is made of: moments of a day, with as many messages each
_FILL = """INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status,
        smpp_msg_id, smsc_id, dlr_status, error_code, registered_delivery, submitted_at, sent_at, delivered_at, ended_at)
    SELECT p.prefix || lpad(s::text, 4, '0'), c.first + (n %% c.many), u.first + (n %% %(users)s), 'Sender' || n %% 5,
        CASE n %% 10 WHEN 0 THEN '96650' WHEN 1 THEN '44770' ELSE '96278' END || lpad((n * 7919 %% 2000000)::text, 7, '0'),
        'Our summer offer ends on Thursday. Show this message in any shop.', CASE WHEN n %% 3 = 0 THEN 'SMPP' ELSE 'HTTP_API' END,
        CASE WHEN n %% 25 = 0 THEN 'FAILED' ELSE 'DELIVERED' END, to_hex(%(day)s * 1000000 + n), 'SMSC' || 1 + n %% 3,
        CASE WHEN n %% 25 = 0 THEN 'UNDELIV' ELSE 'DELIVRD' END, CASE WHEN n %% 25 = 0 THEN lpad((n %% 7)::text, 3, '0') END, 1,
        p.at, p.at + interval '1 second', CASE WHEN n %% 25 <> 0 THEN p.at + interval '3 seconds' END, p.at + interval '3 seconds'
    FROM (SELECT row_number() OVER () - 1 AS k, left(message_id_at(at), 12) AS prefix, at FROM (
            SELECT date_trunc('day', now()) - make_interval(days => %(day)s) AS day) d,
            generate_series(day, day + interval '1439 minutes', make_interval(secs => 86340.0 / %(moments)s)) at) p
    CROSS JOIN generate_series(1, %(each)s) s, LATERAL (SELECT (p.k * %(each)s + s)::bigint AS n) x,
        (SELECT min(id) AS first FROM users WHERE username ~ '^bench[0-9]') u,
        (SELECT min(id) AS first, count(*) AS many FROM campaigns WHERE name = 'day ' || %(day)s) c
    WHERE p.at < now() ORDER BY 1"""

#: of each account, day and campaign: {each} messages, parted as the rows above are
_ROLL_UPS = """
    CREATE TEMP TABLE parts (dim, value, share, ended) AS VALUES ('C', 'SMPP', 0.333, 0.96), ('C', 'HTTP_API', 0.667, 0.96),
        ('S', 'SMSC1', 0.333, 0.96), ('S', 'SMSC2', 0.333, 0.96), ('S', 'SMSC3', 0.334, 0.96), ('N', '962', 0.8, 0.96),
        ('N', '966', 0.1, 0.96), ('N', '44', 0.1, 0.96);
    INSERT INTO parts SELECT 'R', lpad(n::text, 3, '0'), 0.04 / 7, 0 FROM generate_series(0, 6) n;
    CREATE TEMP TABLE days AS SELECT id AS campaign_id, user_id, customer_id, created_at AS at, %(each)s AS n, %(each)s / 24 AS hourly
        FROM campaigns WHERE name LIKE 'day %%';
    INSERT INTO tbl_traffic_days SELECT user_id, dim, at::date, value, n * share, n * share, n * share, n * share * ended,
        n * share * (1 - ended) FROM days, parts ON CONFLICT DO NOTHING;
    INSERT INTO tbl_traffic_hours SELECT user_id, dim, at + make_interval(hours => h), value, hourly * share, hourly * share,
        hourly * share, hourly * share * ended, hourly * share * (1 - ended) FROM days, parts, generate_series(0, 23) h
        ON CONFLICT DO NOTHING;
    INSERT INTO campaign_figures SELECT d.campaign_id, s.value, c.value, r.value, w.n * (r.value = '')::int, w.n * (r.value = '')::int,
        w.n * (r.value <> '')::int
        FROM days d, parts s, parts c, (SELECT value, share FROM parts WHERE dim = 'R' UNION ALL SELECT '', 0.96) r,
        LATERAL (SELECT (d.n * s.share * c.share * r.share)::int AS n) w WHERE s.dim = 'S' AND c.dim = 'N' ON CONFLICT DO NOTHING;
    INSERT INTO campaign_times SELECT campaign_id, at + make_interval(hours => h), 'H', hourly, hourly, hourly * 0.96, hourly * 0.04
        FROM days, generate_series(0, 23) h ON CONFLICT DO NOTHING;
    UPDATE campaigns c SET total_recipients = n, accepted_total = n, sent_total = n, delivered_count = n * 0.96, failed_count = n * 0.04
        FROM days d WHERE d.campaign_id = c.id;
    INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type, messages_sent, messages_delivered, messages_failed)
        SELECT user_id, customer_id, at::date, 'DAILY', n, n * 0.96, n * 0.04 FROM days ON CONFLICT DO NOTHING"""


def measure(messages: int) -> dict[str, Any]:
    """Milliseconds of each page, for an administrator who sees everything and for a sender. Raises LoadError, OSError.

    `cpu`: of the gateway and of PostgreSQL together, the mean, which other programs on the machine change little. `best` and
    `median`: by the clock of the client.
    """
    with Stack(1000) as stack:
        stack.administer("user", "add", ADMIN, "--customer", CUSTOMER, "--password", "-", "--role", "ADMIN", text=stack.password)
        begun = time.monotonic()
        rows: list[dict[str, Any]] = []
        with contextlib.closing(psycopg2.connect(stack.dsn())) as db:
            count, example = _fill(db, messages)
            filled = time.monotonic() - begun
            for name, who in ((ADMIN, "admin"), (SENDER, "sender")):
                portal = Portal(f"http://127.0.0.1:{stack.http}")
                portal.login(name, stack.password)
                used = _Used(stack.pid("gateway"), db.cursor())
                rows += [{"page": page, "who": who, **figures} for page, figures in _all(portal, example, used).items()]
    return {"messages": count, "filled": filled, "pages": rows}


class _Used:
    """CPU seconds of the gateway and of what serves it in PostgreSQL."""

    def __init__(self, gateway: int, cursor: Any) -> None:
        self._gateway, self._cursor = gateway, cursor

    def __call__(self) -> float:
        self._cursor.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
        return processes.cpu(self._gateway) + sum(processes.cpu(pid) for (pid,) in self._cursor.fetchall())


def _fill(db: Any, messages: int) -> tuple[int, dict[str, str]]:
    """How many were made, and one of them to look at."""
    db.autocommit = True
    cursor = db.cursor()
    cursor.execute("SET synchronous_commit = off; SET work_mem = '128MB'; SELECT ensure_partitions(3, %s)", (DAYS,))
    cursor.execute(
        "INSERT INTO customers (name) SELECT 'Customer ' || n FROM generate_series(1, 10) n;"
        "INSERT INTO users (username, password_hash, customer_id, role) SELECT 'bench' || n, b.password_hash, k.id, 'SENDER'"
        " FROM generate_series(1, %s) n JOIN customers k ON k.name = 'Customer ' || 1 + n %% 10, users b WHERE b.username = %s",
        (USERS, ADMIN),
    )
    cursor.execute(
        "INSERT INTO campaigns (campaign_id, user_id, customer_id, submission_channel, name, sender_id, message_content, status,"
        " created_at, completed_at) SELECT 'CAMP-BENCH' || lpad((d * 1000 + u.id)::text, 6, '0'), u.id, u.customer_id, 'HTTP_API',"
        " 'day ' || d, 'Sender', 'Text', 'COMPLETED', x.day, x.day + interval '1 day' FROM generate_series(%s, 0, -1) d, users u,"
        " LATERAL (SELECT date_trunc('day', now()) - make_interval(days => d) AS day) x WHERE u.username ~ '^bench[0-9]'"
        " ORDER BY d DESC, u.id",
        (DAYS,),
    )
    each = 500
    for day in range(DAYS, -1, -1):
        cursor.execute(_FILL, {"users": USERS, "day": day, "each": each, "moments": max(1, messages // (DAYS + 1) // each + 1)})
    cursor.execute("SELECT count(*) FROM messages")
    (count,) = cursor.fetchone()
    cursor.execute(_ROLL_UPS, {"each": count // (USERS * (DAYS + 1))})
    cursor.execute("ANALYZE")
    cursor.execute(
        "SELECT m.message_id, m.to_addr, c.campaign_id FROM messages m JOIN campaigns c ON c.id = m.campaign_id"
        " JOIN users u ON u.id = m.user_id WHERE u.username = %s AND m.message_id < message_id_at(now() - interval '10 days')"
        " ORDER BY m.message_id DESC LIMIT 1",
        (SENDER,),
    )
    found = cursor.fetchone()
    if found is None:
        raise LoadError("no message was made")
    return int(count), dict(zip(("message", "number", "campaign"), found, strict=True))


def _all(portal: Portal, example: dict[str, str], used: Callable[[], float]) -> dict[str, dict[str, float]]:
    """Every page of the menu, and those that ask most."""
    first = portal.get("/")
    menu = re.findall(r'<li><a href="(/[a-z/-]*)"', first.partition("<nav")[2].partition("</nav>")[0])
    number, campaign = example["number"], example["campaign"]
    more = [
        f"/campaigns/{campaign}", "/campaigns?sort=recipients", "/campaigns?q=day", f"/messages/{example['message']}",
        f"/messages?q={number}",
        f"/messages?campaign={campaign}", "/messages?status=FAILED", "/analytics?period=today", "/analytics?period=30", "/account",
    ]  # fmt: skip
    found: dict[str, dict[str, float]] = {}
    for path in dict.fromkeys([*menu, *more]):
        portal.get(path)  # the first time, its template is compiled
        before = used()
        times = [_timed(portal, path) for _ in range(TIMES)]
        cpu = (used() - before) * 1000 / TIMES
        found[_plain(path, example)] = {"cpu": cpu, "best": min(times), "median": statistics.median(times), "max": max(times)}
    return found


def _timed(portal: Portal, path: str) -> float:
    begun = time.perf_counter()
    portal.get(path)
    return (time.perf_counter() - begun) * 1000


def _plain(path: str, example: dict[str, str]) -> str:
    for name, value in example.items():
        path = path.replace(value, f"<{name}>")
    return path
