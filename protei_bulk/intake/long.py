"""Parts of long messages as they come from ESMEs: which belong together, and that they go one way. Pure.

Each part is stored and answered on its own, for many ESMEs send the next only then. What binds them is in memory: the first
part decides about the route, the others follow it. After a restart the messages that still lack parts are read back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from attrs import evolve

from protei_bulk.model.account import Account
from protei_bulk.model.long import OWN_RECEIPT, LongMessage, place
from protei_bulk.model.message import Message
from protei_bulk.routing.rules import Decision

SECONDS = 600.0  # after its first part a message takes no more; tell_merged() waits longer than that
MOST = 50_000  # messages that lack parts; then the oldest take no more

_Key = tuple[int, str, str, int, int]  # user, sender, recipient, reference, total


class Routes(Protocol):
    def route(self, account: Account, m: Message) -> Decision: ...

    def candidates(self, decision: Decision, dest: str) -> tuple[str, ...]: ...


class _Group(LongMessage):
    """`have`: the octets of the parts that came, by number, as a hash."""

    __slots__ = ("decision", "have", "key", "merged", "started")

    def __init__(self, key: _Key, merged: bool, started: float, id: str = "", smsc: str = "") -> None:
        super().__init__(id, smsc)
        self.key, self.merged, self.started = key, merged, started
        self.have: dict[int, int] = {}
        self.decision: Decision | None = None


class LongMessages:
    """Call `decide`, and `placed` once the part has its id and its SMSC; `refused` where it is not stored after all."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._groups: OrderedDict[_Key, _Group] = OrderedDict()  # those that lack parts, the oldest first

    def __len__(self) -> int:
        return len(self._groups)

    def decide(self, account: Account, m: Message) -> Decision:
        """The route of a part, its SMSCs in the order in which they are tried: that of the parts before it, and first where these are.

        A number that was there already, with other octets, begins another message under the same reference.
        """
        part = m.long
        assert part is not None
        key = (account.user_id, m.source, m.dest, part.reference, part.total)
        self._expire(m.created)
        group = self._groups.get(key)
        if group is not None and group.have.get(part.number, hash(m.body)) != hash(m.body):
            del self._groups[key]
            group = None
        if group is None:
            group = _Group(key, account.receipts == "message", m.created)
        decision = group.decision
        if decision is None:
            found = self._routes.route(account, m)
            if found.refusal is not None:
                return found
            known = group.smsc in found.smscs  # read back after a restart
            smscs = found.smscs if known or found.strategy == "failover" else self._routes.candidates(found, m.dest)
            decision = group.decision = evolve(found, smscs=smscs, strategy="failover")
        if group.smsc != decision.smscs[0] and group.smsc in decision.smscs:
            smscs = (group.smsc, *(s for s in decision.smscs if s != group.smsc))
            decision = group.decision = evolve(decision, smscs=smscs)
        part.of, part.merged = group, group.merged
        if group.merged:
            m.registered |= OWN_RECEIPT
        return decision

    def placed(self, m: Message) -> None:
        part = m.long
        assert part is not None
        group = part.of
        assert isinstance(group, _Group)
        group.smsc = m.smsc
        if not group.id:
            group.id = m.id
        group.have[part.number] = hash(m.body)
        if len(group.have) < part.total:
            self._put(group)
        else:
            self._groups.pop(group.key, None)

    def refused(self, m: Message) -> None:
        """Its ESME may send it once more: then it still belongs to the others."""
        part = m.long
        if part is None or not isinstance(part.of, _Group):
            return
        group = part.of
        group.have.pop(part.number, None)
        if self._groups.setdefault(group.key, group) is group and not group.have:
            del self._groups[group.key]

    def read_back(self, parts: Iterable[Message], now: float) -> None:
        """What this node has taken lately, oldest first."""
        by_id: dict[str, _Group] = {}
        for m in parts:
            where = place(m.udh, m.tlvs)
            if m.long is None or where is None or now - m.created >= SECONDS:
                continue
            id, merged = m.long.of.id, m.long.merged
            key = (m.user_id, m.source, m.dest, where.reference, where.total)
            group = by_id.setdefault(id, _Group(key, merged, m.created, id))
            group.have[where.number] = hash(m.body)
            group.smsc = m.smsc
        for group in by_id.values():
            if len(group.have) < group.key[4]:
                self._groups[group.key] = group

    def _put(self, group: _Group) -> None:
        if group.key not in self._groups and len(self._groups) >= MOST:
            self._groups.popitem(last=False)
        self._groups[group.key] = group

    def _expire(self, now: float) -> None:
        groups = self._groups
        while groups:
            first = next(iter(groups.values()))
            if now - first.started < SECONDS:
                return
            del groups[first.key]
