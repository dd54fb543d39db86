"""The database of a child process that reads recipients: one blocking connection, one transaction, COPY for what is many."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import psycopg2
import psycopg2.extensions
from attrs import frozen

from protei_bulk.store.recipient_jobs import Job

FEW = 200_000  # opt-outs and blacklisted numbers of a customer that are read at once
_COPY_AT = 1024**2  # octets that are sent at a time
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": " ", "\n": " ", "\r": " ", "\0": ""})

DatabaseError = psycopg2.Error


@frozen
class Plan:
    """A campaign as its recipients and its text need it. `status`: only a DRAFT is gathered."""

    draft: Mapping[str, Any]
    version: int
    status: str
    customer_id: int
    default_country: str
    sender: str
    transactional: bool
    text: str
    encoding: str
    smart: bool
    defaults: Mapping[str, str]
    user_id: int
    of_all: bool  # its maker administers the customer: files of colleagues are his, too


class Connection:
    """Nothing is kept before `finish`. Times out with the child, not by itself."""

    def __init__(self, dsn: str) -> None:
        options = "-c timezone=UTC -c jit=off -c lock_timeout=60s"
        self._db = psycopg2.connect(dsn, connect_timeout=10, application_name="protei-bulk recipients", options=options)
        self._run = self._db.cursor()

    def _rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self._run.execute(sql, params)
        return self._run.fetchall()

    def claim(self, job: Job) -> bool:
        """Whether it is ours still, and stays so until the end of the transaction. Before anything else is locked."""
        sql = "SELECT 1 FROM tbl_recipient_jobs WHERE kind = %s AND subject = %s AND token = %s FOR UPDATE"
        return bool(self._rows(sql, (job.kind, job.subject, job.token)))

    def finish(self, job: Job, report: Mapping[str, Any]) -> bool:
        """Commits with the last word of the job. False, and nothing is kept: it is ours no longer."""
        [(ours,)] = self._rows(
            "SELECT report_recipient_job(%s, %s, %s, %s::jsonb, TRUE)", (job.kind, job.subject, job.token, orjson.dumps(report).decode())
        )
        if ours:
            self._db.commit()
        else:
            self._db.rollback()
        return bool(ours)

    def close(self) -> None:
        self._db.close()

    def undo(self) -> None:
        """As if nothing had been written yet."""
        self._db.rollback()

    # --- campaigns

    def plan(self, pk: int) -> Plan | None:
        rows = self._rows(
            "SELECT p.draft, p.version, c.status, u.customer_id, k.default_country, COALESCE(c.sender_id, ''), u.transactional,"
            " COALESCE(c.message_content, ''), c.encoding, p.smart, p.defaults, c.user_id, u.role IN ('ADMIN', 'CUSTOMER_ADMIN')"
            " FROM campaign_plans p JOIN campaigns c ON c.id = p.campaign_id"
            " JOIN users u ON u.id = c.user_id JOIN customers k ON k.id = u.customer_id WHERE p.campaign_id = %s",
            (pk,),
        )
        return Plan(*rows[0]) if rows else None

    def keep_gathered(self, pk: int, version: int, total: int) -> bool:
        """False where it is no draft any more: what is there must stay then."""
        if not self._rows("SELECT 1 FROM campaigns WHERE id = %s AND planned AND status = 'DRAFT' FOR UPDATE", (pk,)):
            return False
        self._run.execute("UPDATE campaign_plans SET gathered = %s, measured = NULL WHERE campaign_id = %s", (version, pk))
        self._run.execute("UPDATE campaigns SET total_recipients = %s WHERE id = %s", (total, pk))
        return True

    def clear(self, pk: int) -> None:
        """Takes away what was gathered before."""
        self._run.execute("DELETE FROM campaign_blocks WHERE campaign_id = %s", (pk,))
        self._run.execute("DELETE FROM campaign_refusals WHERE campaign_id = %s AND stage = 'G'", (pk,))

    def blocks(self, pk: int) -> Iterator[list[list[Any]]]:
        """The recipients of a campaign, a block at a time."""
        with self._db.cursor("blocks") as cursor:
            cursor.itersize = 20
            cursor.execute("SELECT recipients FROM campaign_blocks WHERE campaign_id = %s ORDER BY block", (pk,))
            for (recipients,) in cursor:
                yield orjson.loads(recipients)

    # --- sources

    def upload(self, upload_id: int, customer_id: int | None, user_id: int | None = None) -> tuple[int, int] | None:
        """(octets, octets of a piece) of one that is there as a whole; None: whoever's."""
        rows = self._rows(
            "SELECT size, piece_size FROM uploads WHERE upload_id = %s AND (%s::bigint IS NULL OR customer_id = %s AND state = 'ready')"
            " AND (%s::bigint IS NULL OR user_id = %s)",
            (upload_id, customer_id, customer_id, user_id, user_id),
        )
        return (int(rows[0][0]), int(rows[0][1])) if rows else None

    def pieces(self, upload_id: int) -> Iterator[bytes]:
        n = 0
        while rows := self._rows("SELECT body FROM tbl_upload_pieces WHERE upload_id = %s AND piece = %s", (upload_id, n)):
            yield bytes(rows[0][0])
            n += 1

    def contacts_of(self, customer_id: int, lists: Sequence[int], groups: Sequence[str]) -> tuple[list[int], int]:
        """(ids, contacts of all) of the lists of a customer that were named, and of those of the groups that were."""
        rows = self._rows(
            "SELECT list_id, size FROM contact_lists WHERE customer_id = %s AND removed_at IS NULL"
            " AND (list_id = ANY(%s::bigint[]) OR groups ?| %s::text[]) ORDER BY list_id",
            (customer_id, list(lists), list(groups)),
        )
        order = {list_id: i for i, list_id in enumerate(lists)}
        rows.sort(key=lambda r: order.get(r[0], len(order)))
        return [int(r[0]) for r in rows], sum(int(r[1]) for r in rows)

    def contacts(self, list_id: int) -> Iterator[tuple[int, str, Mapping[str, str] | None]]:
        """As rows of a source; a name is the variable NAME where there is none of that name."""
        with self._db.cursor("contacts") as cursor:
            cursor.itersize = 5000
            sql = "SELECT msisdn, name, NULLIF(variables, '{}')::text FROM contacts WHERE list_id = %s ORDER BY msisdn"
            cursor.execute(sql, (list_id,))
            for msisdn, name, variables in cursor:
                values = {} if variables is None else orjson.loads(variables)
                if name and "NAME" not in values:
                    values["NAME"] = name
                yield 0, "+" + msisdn, values or None

    def guard(self, customer_id: int, sender: str, transactional: bool) -> Guards:
        """Opt-outs, unless what is sent is transactional, and the blacklists of the customer and of everybody."""
        senders = [] if transactional else ["", sender.lower()]
        sql = "SELECT number FROM tbl_blacklist WHERE customer_id IN (0, %s) AND is_prefix AND active"
        prefixes = frozenset(str(n) for (n,) in self._rows(sql, (customer_id,)))
        few, found = FEW + 1, []
        if senders:
            sql = "SELECT number FROM tbl_opt_out_state WHERE customer_id = %s AND sender = ANY(%s::text[]) AND opted_out LIMIT %s"
            found = [(n, "OPTED_OUT") for (n,) in self._rows(sql, (customer_id, senders, few))]
        if len(found) < few:
            sql = "SELECT number FROM tbl_blacklist WHERE customer_id IN (0, %s) AND NOT is_prefix AND active LIMIT %s"
            found += [(n, "BLACKLISTED") for (n,) in self._rows(sql, (customer_id, few))]
        return Guards(self._rows, customer_id, senders, dict(found) if len(found) < few else None, prefixes)

    # --- what is many

    def copy_blocks(self, pk: int) -> Copy:
        return Copy(self._run, "campaign_blocks (campaign_id, block, country, size, recipients)", str(pk))

    def copy_refusals(self, pk: int) -> Copy:
        return Copy(self._run, "campaign_refusals (campaign_id, stage, line, given, code)", f"{pk}\tG")

    def copy_contacts(self) -> Copy:
        self._run.execute("CREATE TEMP TABLE incoming (msisdn VARCHAR(20) COLLATE \"C\", name TEXT, variables TEXT) ON COMMIT DROP")
        return Copy(self._run, "incoming (msisdn, name, variables)", "")

    def merge_contacts(self, list_id: int) -> tuple[int, int]:
        """(new, changed) of what was copied: a name or value that is there now stays where the file has none."""
        if not self._rows("SELECT 1 FROM contact_lists WHERE list_id = %s AND removed_at IS NULL FOR UPDATE", (list_id,)):
            return 0, 0
        [(there,)] = self._rows("SELECT size FROM contact_lists WHERE list_id = %s", (list_id,))
        self._run.execute(
            "INSERT INTO contacts AS c (list_id, msisdn, name, variables)"
            " SELECT %s, msisdn, name, variables::jsonb FROM incoming ORDER BY msisdn ON CONFLICT (list_id, msisdn) DO UPDATE"
            " SET name = COALESCE(NULLIF(EXCLUDED.name, ''), c.name), variables = c.variables || EXCLUDED.variables"
            " WHERE (c.name, c.variables) IS DISTINCT FROM"
            " (COALESCE(NULLIF(EXCLUDED.name, ''), c.name), c.variables || EXCLUDED.variables)",
            (list_id,),
        )
        touched = self._run.rowcount
        [(now,)] = self._rows("SELECT size FROM contact_lists WHERE list_id = %s", (list_id,))
        return int(now) - int(there), touched - (int(now) - int(there))


class Copy:
    """Rows for one table, sent about a megabyte at a time. Every row begins with `first`."""

    def __init__(self, cursor: Any, table: str, first: str) -> None:
        self._cursor, self._sql = cursor, f"COPY {table} FROM STDIN"
        self._first = first.encode()
        self._rows: list[bytes] = []
        self._octets = 0

    def add(self, *values: str | int | bytes) -> None:
        """Octets must be in UTF-8, without control characters."""
        fields = [self._first] if self._first else []
        for value in values:
            if isinstance(value, bytes):
                fields.append(value.replace(b"\\", b"\\\\"))
            elif isinstance(value, int):
                fields.append(b"%d" % value)
            else:
                fields.append(value.translate(_ESCAPES).encode("utf-8", "replace"))
        row = b"\t".join(fields)
        self._rows.append(row)
        self._octets += len(row) + 1
        if self._octets >= _COPY_AT:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._rows.append(b"")
            self._cursor.copy_expert(self._sql, io.BytesIO(b"\n".join(self._rows)))
            self._rows, self._octets = [], 0


@frozen
class Guards:
    """Who gets nothing from a customer under a sender. `all` None: too many, each batch is asked for."""

    rows: Any
    customer_id: int
    senders: Sequence[str]
    all: Mapping[int, str] | None
    prefixes: frozenset[str]

    def hits(self, numbers: Sequence[int]) -> Mapping[int, str]:
        known = self.all
        found = self._asked(numbers) if known is None else {n: known[n] for n in known.keys() & set(numbers)}
        if self.prefixes:
            prefixes, lengths = self.prefixes, sorted({len(p) for p in self.prefixes})
            for n in numbers:
                digits = str(n)
                if any(digits[:length] in prefixes for length in lengths):
                    found[n] = "BLACKLISTED"
        return found

    def _asked(self, numbers: Sequence[int]) -> dict[int, str]:
        found = {}
        if self.senders:
            sql = (
                "SELECT number FROM tbl_opt_out_state WHERE customer_id = %s AND sender = ANY(%s::text[]) AND opted_out"
                " AND number = ANY(%s::bigint[])"
            )
            found = {n: "OPTED_OUT" for (n,) in self.rows(sql, (self.customer_id, list(self.senders), list(numbers)))}
        sql = "SELECT number FROM tbl_blacklist WHERE customer_id IN (0, %s) AND NOT is_prefix AND active AND number = ANY(%s::bigint[])"
        found.update({n: "BLACKLISTED" for (n,) in self.rows(sql, (self.customer_id, list(numbers)))})
        return found
