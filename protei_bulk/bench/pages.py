"""How long each page of the portal takes with many messages stored. They are made by SQL, with the roll-ups that they would have left."""

from __future__ import annotations

import contextlib
import re
import statistics
import time
from typing import Any

import psycopg2

from protei_bulk.bench.campaign import Portal
from protei_bulk.bench.esme import LoadError
from protei_bulk.bench.stack import CUSTOMER, Stack

DAYS, USERS, TIMES = 20, 40, 7
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

_ENDS = "count(*) FILTER (WHERE status = 'DELIVERED'), count(*) FILTER (WHERE status = 'FAILED')"
_ROLL_UPS = f"""
    INSERT INTO tbl_traffic_days SELECT user_id, d.dim, (submitted_at AT TIME ZONE 'UTC')::date, d.value,
        count(*) FILTER (WHERE d.dim = 'C'), count(*) FILTER (WHERE d.dim = 'C'), count(*) FILTER (WHERE d.dim <> 'R'), {_ENDS}
    FROM messages, LATERAL (
        VALUES ('C', submission_channel), ('S', smsc_id), ('N', calling_code(to_addr)), ('R', error_code)) d (dim, value)
    WHERE d.value IS NOT NULL GROUP BY 1, 2, 3, 4 ON CONFLICT DO NOTHING;
    INSERT INTO tbl_traffic_hours SELECT user_id, 'C', date_trunc('hour', submitted_at), submission_channel, count(*), count(*),
        count(*), {_ENDS}
    FROM messages GROUP BY 1, 2, 3, 4 ON CONFLICT DO NOTHING;
    INSERT INTO campaign_figures SELECT campaign_id, smsc_id, calling_code(to_addr), COALESCE(error_code, ''), count(*), {_ENDS}
    FROM messages GROUP BY 1, 2, 3, 4 ON CONFLICT DO NOTHING;
    INSERT INTO campaign_times SELECT campaign_id, date_trunc('hour', submitted_at), 'H', count(*), count(*), {_ENDS}
    FROM messages GROUP BY 1, 2 ON CONFLICT DO NOTHING;
    UPDATE campaigns c SET total_recipients = n, accepted_total = n, sent_total = n, delivered_count = d, failed_count = f
    FROM (SELECT campaign_id, sum(sent) AS n, sum(delivered) AS d, sum(failed) AS f FROM campaign_figures GROUP BY 1) x
    WHERE x.campaign_id = c.id;
    INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type, messages_sent, messages_delivered, messages_failed)
    SELECT t.user_id, u.customer_id, t.day, 'DAILY', sum(segments), sum(delivered), sum(failed) FROM tbl_traffic_days t
    JOIN users u ON u.id = t.user_id WHERE t.dim = 'C' GROUP BY 1, 2, 3 ON CONFLICT DO NOTHING"""


def measure(messages: int) -> dict[str, Any]:
    """Milliseconds of each page, for an administrator who sees everything and for a sender. Raises LoadError, OSError."""
    with Stack(1000) as stack:
        stack.administer("user", "add", ADMIN, "--customer", CUSTOMER, "--password", "-", "--role", "ADMIN", text=stack.password)
        begun = time.monotonic()
        with contextlib.closing(psycopg2.connect(stack.dsn())) as db:
            count, example = _fill(db, messages)
        filled = time.monotonic() - begun
        pages: dict[str, dict[str, list[float]]] = {}
        for name in (ADMIN, SENDER):
            portal = Portal(f"http://127.0.0.1:{stack.http}")
            portal.login(name, stack.password)
            pages[name] = _all(portal, example)
    rows = [
        {"page": page, "who": "admin" if who == ADMIN else "sender", "median": statistics.median(times), "max": max(times)}
        for who, timed in pages.items()
        for page, times in timed.items()
    ]
    return {"messages": count, "filled": filled, "pages": rows}


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
    cursor.execute(_ROLL_UPS)
    cursor.execute("ANALYZE")
    cursor.execute("SELECT count(*) FROM messages")
    (count,) = cursor.fetchone()
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


def _all(portal: Portal, example: dict[str, str]) -> dict[str, list[float]]:
    """Every page of the menu, and those that ask most."""
    first = portal.get("/")
    menu = re.findall(r'<li><a href="(/[a-z/-]*)"', first.partition("<nav")[2].partition("</nav>")[0])
    number, campaign = example["number"], example["campaign"]
    more = [
        f"/campaigns/{campaign}", "/campaigns?sort=recipients", "/campaigns?q=day", f"/messages/{example['message']}",
        f"/messages?q={number}",
        f"/messages?campaign={campaign}", "/messages?status=FAILED", "/analytics?period=today", "/analytics?period=30", "/account",
    ]  # fmt: skip
    times: dict[str, list[float]] = {}
    for path in dict.fromkeys([*menu, *more]):
        portal.get(path)  # the first time, its template is compiled
        times[_plain(path, example)] = [_timed(portal, path) for _ in range(TIMES)]
    return times


def _timed(portal: Portal, path: str) -> float:
    begun = time.perf_counter()
    portal.get(path)
    return (time.perf_counter() - begun) * 1000


def _plain(path: str, example: dict[str, str]) -> str:
    for name, value in example.items():
        path = path.replace(value, f"<{name}>")
    return path
