"""What happened to a message, step by step, from what is stored of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from attrs import field, frozen

from protei_bulk.channels.portal.meanings import meaning

Say = Callable[..., str]
_BAD = ("FAILED", "REJECTED", "EXPIRED")


@frozen
class Step:
    """kind: good, bad, warn or "". facts: (label, value), the value as it stands in the books."""

    title: str
    at: datetime | None = None
    kind: str = ""
    text: str = ""
    facts: tuple[tuple[str, str], ...] = field(default=())


def story(m: dict[str, Any], _: Say, operator: bool) -> list[Step]:
    """`m`: of Inspection.message(). Others than an operator are not told of SMSCs, nor of what they call a message."""
    before = [_accepted(m, _), *_routed(m, _, operator), *_waits(m, _, operator), *_attempts(m, _, operator)]
    return [*before, *_sent(m, _, operator), *_ended(m, _), *_told(m, _)]


def moment(value: Any) -> datetime | None:
    """From what PostgreSQL writes into JSON."""
    if not value or not isinstance(value, str) or value == "infinity":
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _accepted(m: dict[str, Any], _: Say) -> Step:
    channel = {"SMPP": "SMPP", "HTTP_API": "HTTP API", "WEB": _("the portal"), "SCHEDULER": _("the scheduler")}
    facts = [(_("User"), m["username"] or "")]
    if m.get("shown_id"):
        facts.append((_("Id told to the sender"), m["shown_id"]))
    title = _("Accepted over %(channel)s", channel=channel.get(m["submission_channel"], m["submission_channel"]))
    return Step(title, moment(m["submitted_at"]), "good", facts=tuple(facts))


def _routed(m: dict[str, Any], _: Say, operator: bool) -> list[Step]:
    if not operator or not m.get("route"):
        return []
    text = _("No rule matched: the default took it.") if m["route"] == "default" else ""
    return [Step(_("Routed by the rule %(rule)s", rule=m["route"]), kind="good", text=text)]


def _waits(m: dict[str, Any], _: Say, operator: bool) -> list[Step]:
    q = m.get("queue")
    if not q:
        return []
    facts = [(_("SMSC"), q["smsc_id"])] if operator else []
    if q.get("attempts"):
        facts.append((_("Attempts"), str(q["attempts"])))
    if q.get("refusals"):
        facts.append((_("Refused for a while"), str(q["refusals"])))
    due = moment(q["due_at"])
    if q["due_at"] == "infinity":
        return [Step(_("Held until somebody releases it"), kind="warn", facts=tuple(facts))]
    title = _("Scheduled") if m["status"] == "SCHEDULED" else _("Waits in the queue")
    return [Step(title, due, "warn" if q.get("refusals") else "", _("due then") if due else "", tuple(facts))]


def _attempts(m: dict[str, Any], _: Say, operator: bool) -> list[Step]:
    """Those in vain, of which the time is not kept."""
    steps = []
    for word in (m.get("tried") or "").split():
        smsc, stat, err, id = (word.split(":") + ["", "", ""])[:4]
        refused = stat == "REJECTD" and not id
        facts = [(_("State"), stat)]
        if err.strip("0"):
            facts.append((_("Error"), _coded(err, refused, _)))
        if operator and id:
            facts.append((_("Id at the SMSC"), id))
        name = _("Tried in vain by %(smsc)s", smsc=smsc) if operator else _("Tried in vain, and sent another way")
        steps.append(Step(name, kind="warn", facts=tuple(facts)))
    return steps


def _sent(m: dict[str, Any], _: Say, operator: bool) -> list[Step]:
    at = moment(m.get("sent_at"))
    if at is None:
        return []
    facts = []
    if operator and m.get("smpp_msg_id"):
        facts.append((_("Id at the SMSC"), m["smpp_msg_id"]))
    title = _("Taken by %(smsc)s", smsc=m["smsc_id"]) if operator and m.get("smsc_id") else _("Taken by the mobile network")
    if m.get("attempts", 0) > 1:
        facts.append((_("Attempts"), str(m["attempts"])))
    return [Step(title, at, "good", facts=tuple(facts))]


def _ended(m: dict[str, Any], _: Say) -> list[Step]:
    stat = m.get("dlr_status")
    if not stat:
        return []
    refused = moment(m.get("sent_at")) is None
    facts = []
    if (m.get("error_code") or "").strip("0"):
        facts.append((_("Error"), _coded(m["error_code"], refused, _)))
    at = moment(m.get("delivered_at")) or moment(m.get("ended_at"))
    kind = "good" if m["status"] == "DELIVERED" else "bad" if m["status"] in _BAD else ""
    if refused:
        return [Step(_("Ended without being sent: %(state)s", state=stat), at, kind, facts=tuple(facts))]
    return [Step(_("Receipt: %(state)s", state=stat), at, kind, facts=tuple(facts))]


def _told(m: dict[str, Any], _: Say) -> list[Step]:
    """Callbacks, and receipts that wait for an ESME."""
    steps = []
    for b in m.get("callbacks") or []:
        url = (_("Address"), b["url"])
        tries = (_("Attempts"), str(b["attempts"]))
        if b["status"] == "DELIVERED":
            steps.append(Step(_("Callback delivered"), moment(b.get("delivered_at")), "good", facts=(url, tries)))
            continue
        why = ((_("Answer"), b["last_error"]),) if b.get("last_error") else ()
        if b["status"] == "PARKED":
            text = _("It stays parked until it is sent again.")
            steps.append(Step(_("Callback given up"), moment(b["created_at"]), "bad", text, (url, tries, *why)))
        else:
            kind = "warn" if why else ""
            steps.append(Step(_("Callback waits"), moment(b["next_attempt_at"]), kind, _("next attempt then"), (url, tries, *why)))
    for o in m.get("deliver_outbox") or []:
        text = _("It is delivered as soon as a receiver of the account is bound.")
        steps.append(Step(_("Receipt waits for the SMPP client"), moment(o["created_at"]), "warn", text))
    return steps


def _coded(code: str, refused: bool, _: Say) -> str:
    words = meaning(code, refused, _)
    return f"{code} · {words}" if words else code
