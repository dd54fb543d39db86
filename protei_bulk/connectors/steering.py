"""What operators order for connectors while they run: to send nothing for a while, to bind anew, another rate.

Orders are in the database. Every node knows them, whether it runs the connector or not, so that one which is paused stays so
on the next node that runs it. A paused connector keeps its binds: receipts and messages from mobiles still come. To
everybody else it looks as if it had none to send over: what waits goes to other candidates, or into the queue table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.logger import Logger

from protei_bulk.connectors.connector import Connector
from protei_bulk.connectors.fleet import Fleet
from protei_bulk.connectors.link import Link
from protei_bulk.pacing.rereading import Rereading
from protei_bulk.settings import Settings
from protei_bulk.store.smscs import Order

log = Logger()

AGAIN = 30.0  # seconds after which orders are read again, whatever was told
_GONE = 6.0  # seconds that binds have to end, until new ones are made all the same


class Store(Protocol):
    def orders(self) -> Deferred[dict[str, Order]]: ...


class Steering:
    """`settings` gives the node's configuration: what holds where nothing is ordered."""

    def __init__(self, store: Store, fleet: Fleet, clock: Any, settings: Callable[[], Settings]) -> None:
        self._store, self._fleet, self._clock, self._settings = store, fleet, clock, settings
        self.orders: dict[str, Order] = {}
        self._obeyed: dict[str, int] = {}  # the orders to bind anew that were followed
        self._rereading: Rereading[str] = Rereading("orders of operators", self._read, clock)

    async def start(self) -> None:
        """Before any connector runs. Raises what the store raises."""
        self.orders = await self._store.orders()
        self._obeyed = {id: order.reconnects for id, order in self.orders.items()}
        self.apply()

    def changed(self, payload: str) -> None:
        """Somebody has ordered something."""
        self._rereading.changed({payload})

    def look(self) -> Deferred[None]:
        """From time to time: a notification may have been missed."""
        self._rereading.changed({""})
        return succeed(None)

    def close(self) -> None:
        self._rereading.close()

    async def _read(self, _: set[str]) -> None:
        self.orders = await self._store.orders()
        self.apply()
        for id, order in self.orders.items():
            if order.reconnects > self._obeyed.get(id, 0):
                connector = self._fleet.connectors.get(id)
                if connector is not None and connector.running:
                    Deferred.fromCoroutine(reconnect(connector, self._clock)).addErrback(lambda f: log.failure("binding anew", f))
            self._obeyed[id] = order.reconnects

    def apply(self) -> None:
        """After each change of the configuration, too."""
        for connector in self._fleet.connectors.values():
            self.steer(connector)

    def steer(self, connector: Connector) -> None:
        """Makes a connector obey, also a new one."""
        order = self.orders.get(connector.id, Order(connector.id))
        configured = next((c.max_tps for c in self._settings().smsc if c.id == connector.id), connector.settings.max_tps)
        tps = configured if order.max_tps is None else order.max_tps
        if tps != connector.settings.max_tps:
            connector.change(evolve(connector.settings, max_tps=tps))
            log.info("{smsc}: {n} a second at most", smsc=connector.id, n=tps or "no limit")
        if order.paused and not connector.paused:
            pause(connector)
        elif connector.paused and not order.paused:
            resume(connector)


def pause(c: Connector) -> None:
    """Nothing more goes out; what was sent is still answered. What waits goes elsewhere, or into the queue table, at once."""
    c.paused = True
    c.senders.clear()
    log.warn("{smsc}: paused", smsc=c.id)
    if c.running:
        c.spill_unless_bound(0.0)


def resume(c: Connector) -> None:
    c.paused = False
    log.info("{smsc}: goes on", smsc=c.id)
    for link in c.links:
        c.may_send(link)
    c.pump()


async def reconnect(c: Connector, clock: Any) -> None:
    """Ends the binds once what they have sent is answered (or its time is over), and makes new ones at once."""
    log.warn("{smsc}: binds anew, as ordered", smsc=c.id)
    links = list(c.links)
    for link in links:
        link.draining = True
        if link in c.senders:
            c.senders.remove(link)
    if not c.senders:
        c.spill_unless_bound()
    await DeferredList([_emptied(link, c.settings.response_timeout, clock) for link in links])
    for link in links:
        link.unbind()
    for _ in range(int(_GONE / 0.2)):
        if not any(link in c.links for link in links):
            break
        await _later(0.2, clock)
    await c.dial_again()


def _emptied(link: Link, seconds: float, clock: Any) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    timer = clock.callLater(seconds, done.callback, None)

    def end(_: object) -> None:
        if timer.active():
            timer.cancel()
            done.callback(None)

    link.emptied().addBoth(end)
    return done


def _later(seconds: float, clock: Any) -> Deferred[None]:
    d: Deferred[None] = Deferred()
    clock.callLater(seconds, d.callback, None)
    return d
