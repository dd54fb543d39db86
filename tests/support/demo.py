"""A gateway as it looks on a Thursday afternoon: three customers, campaigns in every state, two weeks of figures, messages both ways.

All names are invented. Everything here is for pictures and for looking around: no test relies on it.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
from typing import Any

import psycopg2

from protei_bulk.model import ids
from tests.support.campaigns import plan
from tests.support.gateway import PASSWORD, Gateway, _output, eventually

OPERATOR, MARKETER, APPROVER = "noura.ops", "layla.haddad", "omar.nasser"
_CUSTOMERS = (("Levant Market", "25000.50", "JOD"), ("Petra Bank", "118240", "JOD"), ("Jasmine Clinics", "940.25", "USD"))
_USERS = (
    (OPERATOR, "Petra Bank", ("--role", "ADMIN", "--email", "noura@petra.example")),
    (MARKETER, "Levant Market", ("--role", "CUSTOMER_ADMIN", "--email", "layla@levant.example")),
    (APPROVER, "Levant Market", ("--role", "CUSTOMER_ADMIN", "--email", "omar@levant.example")),
    ("shop-api", "Levant Market", ("--sender", "LevantMkt", "--max-per-day", "200000", "--bind-type", "http")),
    ("reports", "Levant Market", ("--role", "VIEWER", "--bind-type", "web_only")),
    ("otp-gateway", "Petra Bank", ("--sender", "PetraBank", "--max-tps", "200", "--bind-type", "smpp", "--allowed-ip", "10.20.0.0/16")),
    ("appointments", "Jasmine Clinics", ("--sender", "Jasmine",)),
)
_SMSCS = {"zain-1": ("--fail", "3"), "orange-1": ("--fail", "2"), "umniah-1": ("--error", "ESME_RSUBMITFAIL:2")}
_SHARES = {"zain-1": 0.5, "orange-1": 0.31, "umniah-1": 0.19}
_REASONS = {"006": 0.46, "027": 0.28, "001": 0.17, "032": 0.09}
_RULES = (
    ("zain", "order=10", "to=zain-1,orange-1", "match.prefix=96279", "price=0.021"),
    ("orange", "order=20", "to=orange-1,zain-1", "match.prefix=96277", "price=0.022"),
    ("umniah", "order=30", "to=umniah-1,orange-1", "match.prefix=96278", "price=0.02"),
    ("codes-first", "order=5", "to=zain-1", "match.user=otp-gateway", "match.prefix=96279"),
)
_ORDER = "Hello %NAME%, your order is on its way. Track it at levant.example/t"
_SALE = "Thursday only: 25% off everything for the garden. Show this message at any Levant Market. Reply STOP to end."
_RAMADAN = "عزيزي العميل، خصم ٢٠٪ على جميع المواد الغذائية حتى نهاية الأسبوع. ليفانت ماركت"
_INBOUND = (
    ("962791234567", "12345", "STOP", "ROUTED"), ("962779912345", "12345", "Is the offer valid in Irbid too?", "DELIVERED"),
    ("962788123456", "12345", "نعم، أريد الموعد يوم الأحد", "ROUTED"), ("962795550101", "98000", "VOTE 3", "UNROUTED"),
    ("962771200345", "12345", "Thank you!", "DELIVERED"),
)  # fmt: skip
_LISTS: tuple[tuple[str, list[str], int], ...] = (
    ("Loyalty club", ["Amman", "Gold"], 120), ("Irbid", ["North"], 48), ("Suppliers", [], 17), ("عملاء الزرقاء", ["North"], 33),
)  # fmt: skip
_UNWANTED = (
    ("optout", "add", "962791234567", "962788001122", "--customer", "Levant Market", "--note", "Answered STOP"),
    ("blacklist", "add", "962790000000", "--reason", "Complained to the regulator"),
    ("blacklist", "add", "88210*", "--reason", "Satellite"),
)
_NAMES = ("Ahmad", "Sara", "Yousef", "Rania", "Khaled", "Dana", "Tareq", "Hala")


def demo(settings: str = "") -> Gateway:
    """Started, with a campaign that runs. Whoever asked for it stops it."""
    chance = random.Random(7)
    gateway = Gateway(settings=settings, node="node1")
    for name, options in _SMSCS.items():
        gateway.simulate(name, *options)
    gateway.write_config()
    for name, balance, currency in _CUSTOMERS:
        add = ("customer", "add", name, "--balance", balance, "--credit-limit", "5000", "--currency", currency, "--timezone", "Asia/Amman")
        _output(gateway.administer(*add))
    for making in [gateway.administer("user", "add", name, "--password", PASSWORD, "--customer", c, *more) for name, c, more in _USERS]:
        _output(making)
    gateway.keys = {name: _output(gateway.administer("api-key", "new", name)) for name in ("shop-api", "appointments", MARKETER)}
    for rule in _RULES:
        _output(gateway.administer("route", "add", *rule))
    gateway.execute("UPDATE customers SET default_country = 'JO', campaign_approval = name = 'Levant Market'")
    gateway.start()
    _history(gateway, chance)
    _traffic(gateway, chance)
    _campaigns(gateway, chance)
    _inbound(gateway)
    _lists(gateway, chance)
    return gateway


def _number(chance: random.Random) -> str:
    return f"9627{chance.choice((7, 8, 9, 9))}{chance.randrange(1_000_000, 9_999_999)}"


def _traffic(gateway: Gateway, chance: random.Random) -> None:
    """Requests over HTTP, as programs make them."""
    for user, sender, text, name, count in (
        ("shop-api", "LevantMkt", "Your parcel is ready at the counter. Bring this message.", "Parcels of the morning", 60),
        ("appointments", "Jasmine", "Reminder: your appointment is tomorrow at 10:30. Reply 1 to confirm.", "Appointments of tomorrow", 25),
        ("shop-api", "LevantMkt", _RAMADAN, "Loyalty card holders", 40),
    ):
        recipients = [{"msisdn": _number(chance)} for _ in range(count)]
        body: dict[str, Any] = {"sender": sender, "recipients": recipients, "message": text, "encoding": "AUTO", "campaign_name": name}
        status, said = gateway.post("/api/sendBulk", user, json.dumps(body))
        if status >= 300:
            raise AssertionError(f"{status}: {said}")
    gateway.wait_empty()


def _campaigns(gateway: Gateway, chance: random.Random) -> None:
    """One in each state that the engine knows."""
    common: dict[str, Any] = {"user": MARKETER, "sender_id": "LevantMkt"}

    def numbers(count: int) -> list[str]:
        return sorted({_number(chance) for _ in range(count)})

    def named(count: int) -> list[dict[str, str]]:
        return [{"NAME": chance.choice(_NAMES)} for _ in range(count)]

    done = numbers(180)
    plan(gateway.dsn, done, text=_ORDER, variables=named(len(done)), name="Welcome to new customers", **common)
    plan(gateway.dsn, numbers(900), text=_SALE, name="Garden week: reminder", state="DRAFT", **common)
    plan(gateway.dsn, numbers(4200), text=_SALE, name="Garden week: all stores", state="PENDING_APPROVAL", **common)
    hours = {"window_from": "09:00", "window_to": "21:00"}
    weekend = plan(gateway.dsn, numbers(2400), text=_RAMADAN, name="عروض نهاية الأسبوع", state="DRAFT", **hours, **common)
    in_a_day = "status = 'APPROVED', schedule_time = date_trunc('hour', now()) + interval '20 hours'"
    gateway.execute(f"UPDATE campaigns SET {in_a_day} WHERE id = %s", (weekend[0],))
    stopped = plan(gateway.dsn, numbers(600), text=_SALE, name="Irbid opening", max_tps=40, **common)
    eventually(lambda: gateway.query("SELECT sent_total > 60 FROM campaigns WHERE id = %s", (stopped[0],)) == [(True,)], "some sent")
    why = "Wrong opening hours in the text"
    gateway.execute("UPDATE campaigns SET status = 'PAUSED', status_reason = %s WHERE id = %s", (why, stopped[0]))
    cancelled = plan(gateway.dsn, numbers(500), text=_SALE, name="Test of the new sender", state="DRAFT", **common)
    gateway.execute("UPDATE campaigns SET status = 'CANCELLED', completed_at = now() WHERE id = %s", (cancelled[0],))
    _minutes(gateway, chance)
    plan(gateway.dsn, numbers(12_000), text=_SALE, name="Garden week: loyalty club", max_tps=60, **common)


def _history(gateway: Gateway, chance: random.Random) -> None:
    """Roll-ups of the last weeks, as the gateway writes them."""
    rows: list[tuple[str, tuple[Any, ...]]] = []
    for user, usual, channel in ((MARKETER, 42_000, "WEB"), ("shop-api", 9_000, "HTTP_API"), ("otp-gateway", 64_000, "SMPP"),
                                 ("appointments", 1_200, "HTTP_API")):  # fmt: skip
        for days in range(31):
            sent = int(usual * chance.uniform(0.6, 1.25) * (0.45 if days % 7 == 4 else 1))
            failed = int(sent * chance.uniform(0.012, 0.035))
            delivered = int((sent - failed) * 0.985)
            rows.append((
                "INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type, messages_sent, messages_delivered,"
                " messages_failed) SELECT id, customer_id, current_date - %s, 'DAILY', %s, %s, %s FROM users WHERE username = %s"
                " ON CONFLICT DO NOTHING",
                (days, sent, delivered, failed, user),
            ))
            parts = [("C", channel, 1.0), ("N", "962", 0.94), ("N", "966", 0.06), *(("S", smsc, share) for smsc, share in _SHARES.items())]
            for dim, value, share in parts:
                rows.append((
                    "INSERT INTO tbl_traffic_days (user_id, dim, day, value, accepted, segments, sent, delivered, failed)"
                    " SELECT id, %s, current_date - %s, %s, %s, %s, %s, %s, %s FROM users WHERE username = %s ON CONFLICT DO NOTHING",
                    (dim, days, value, *(int(share * n) for n in (sent, sent * 1.2, sent, delivered, failed)), user),
                ))
            for reason, share in _REASONS.items():
                rows.append((
                    "INSERT INTO tbl_traffic_days (user_id, dim, day, value, accepted, segments, sent, delivered, failed)"
                    " SELECT id, 'R', current_date - %s, %s, 0, 0, 0, 0, %s FROM users WHERE username = %s ON CONFLICT DO NOTHING",
                    (days, reason, int(share * failed), user),
                ))
    for smsc, share in _SHARES.items():
        for days in range(1, 31):
            sent = int(116_000 * share * chance.uniform(0.7, 1.2))
            failed = int(sent * chance.uniform(0.01, 0.04))
            rows.append((
                "INSERT INTO tbl_smsc_usage (day, smsc_id, sent, delivered, failed, refused) VALUES (current_date - %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (days, smsc, sent, int((sent - failed) * 0.985), failed, failed // 6),
            ))
    _execute(gateway, rows)


def _minutes(gateway: Gateway, chance: random.Random) -> None:
    """What went out until a moment ago, as the dashboard draws it."""
    rows: list[tuple[str, tuple[Any, ...]]] = []
    [(campaign, user)] = gateway.query("SELECT id, user_id FROM campaigns WHERE name = 'Loyalty card holders'")
    for step in range(190):
        sent = int(5 * (52 + 14 * math.sin(step / 9) + chance.uniform(-5, 5)))
        rows.append((
            "INSERT INTO tbl_pulse (campaign_id, at, user_id, accepted, sent, delivered, failed) VALUES"
            " (%s, date_bin('5 seconds', now(), '2000-01-01Z') - %s * interval '5 seconds', %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (campaign, step, user, sent + chance.randrange(6), sent, int(0.96 * sent), int(0.02 * sent)),
        ))
    _execute(gateway, rows)


def _execute(gateway: Gateway, statements: list[tuple[str, tuple[Any, ...]]]) -> None:
    with contextlib.closing(psycopg2.connect(gateway.dsn)) as connection, connection, connection.cursor() as cursor:
        for sql, parameters in statements:
            cursor.execute(sql, parameters)


def _inbound(gateway: Gateway) -> None:
    [(now,)] = gateway.query("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    for n, (source, to, text, status) in enumerate(_INBOUND):
        id = ids.MO_PREFIX + ids.first_at(now - n * 420_000).rpartition("-")[2]
        gateway.execute(
            "INSERT INTO tbl_mo_messages (message_id, smsc_id, from_addr, to_addr, message_text, payload, data_coding, user_id, status,"
            " received_at) SELECT %s, 'zain-1', %s, %s, %s, %s, 8, CASE WHEN %s <> 'UNROUTED' THEN id END, %s,"
            " now() - %s * interval '7 minutes' FROM users WHERE username = %s",
            (id, source, to, text, text.encode("utf-16-be"), status, status, n, MARKETER),
        )


def _lists(gateway: Gateway, chance: random.Random) -> None:
    """Contacts, templates, and who wants no messages."""
    of = "FROM customers WHERE name = 'Levant Market'"
    for name, groups, count in _LISTS:
        gateway.execute(f"INSERT INTO contact_lists (customer_id, name, groups) SELECT id, %s, %s {of}", (name, json.dumps(groups)))
        [(made,)] = gateway.query("SELECT max(list_id) FROM contact_lists")
        add = "INSERT INTO contacts (list_id, msisdn, name, variables) VALUES (%s, %s, %s, %s)"
        cities = [json.dumps({"CITY": city}) for city in ("Amman", "Irbid", "Zarqa")]
        numbers = sorted({_number(chance) for _ in range(count)})
        _execute(gateway, [(add, (made, number, chance.choice(_NAMES), chance.choice(cities))) for number in numbers])
    for name, text in (("Order on its way", _ORDER), ("Weekly offer", _SALE), ("عرض نهاية الأسبوع", _RAMADAN)):
        gateway.execute(f"INSERT INTO message_templates (customer_id, name, text) SELECT id, %s, %s {of}", (name, text))
    for command in _UNWANTED:
        _output(gateway.administer(*command))
