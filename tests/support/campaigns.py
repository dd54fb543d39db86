"""Planned campaigns put straight into the database, for tests of what comes after the wizard."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Sequence
from typing import Any

import psycopg2

_names = itertools.count(1)


def plan(dsn: str, numbers: Sequence[str], *, text: str = "Hello", state: str = "APPROVED", user: str = "ahmad", block: int = 1000,
         variables: Sequence[dict[str, str]] = (), country: str = "JO", **columns: Any) -> tuple[int, str]:  # fmt: skip
    """(number, public id) of a campaign to these numbers. `columns`: further ones of campaigns and campaign_plans."""
    public = f"CAMP-TEST{next(_names):08d}"
    recipients = [[n, variables[i]] if variables else [n] for i, n in enumerate(numbers)]
    plans = {"smart", "defaults", "tags", "window_from", "window_to", "window_days", "window_zone", "valid_minutes", "submitted_by"}
    values = {"sender_id": "MyCompany", "name": public, "encoding": "AUTO", "priority": "NORMAL", "planned": True, **columns}
    of_plan = {k: values.pop(k) for k in list(values) if k in plans}
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, customer_id FROM users WHERE username = %s", (user,))
        user_id, customer_id = cursor.fetchone() or (0, 0)
        names = ["campaign_id", "user_id", "customer_id", "submission_channel", "message_content", "total_recipients", *values]
        cursor.execute(
            f"INSERT INTO campaigns ({', '.join(names)}, status) VALUES ({', '.join(['%s'] * len(names))}, 'DRAFT') RETURNING id",
            (public, user_id, customer_id, "WEB", text, len(numbers), *values.values()),
        )
        [number] = cursor.fetchone() or (0,)
        names = ["campaign_id", *of_plan]
        cursor.execute(
            f"INSERT INTO campaign_plans ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})",
            (number, *(json.dumps(v) if isinstance(v, dict) else v for v in of_plan.values())),
        )
        for n, begin in enumerate(range(0, len(recipients), block), 1):
            part = recipients[begin : begin + block]
            cursor.execute(
                "INSERT INTO campaign_blocks (campaign_id, block, country, size, recipients) VALUES (%s, %s, %s, %s, %s)",
                (number, n, country, len(part), json.dumps(part)),
            )
        cursor.execute("UPDATE campaigns SET status = %s WHERE id = %s", (state, number))
    return number, public
