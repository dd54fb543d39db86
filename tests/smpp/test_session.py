from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands as c
from protei_bulk.smpp import session as t
from protei_bulk.smpp.statuses import ESME_RALYBND, ESME_RINVBNDSTS, ESME_RINVCMDID

_BINDS = (c.BIND_RECEIVER, c.BIND_TRANSMITTER, c.BIND_TRANSCEIVER)


class Server(SynchronousTestCase):
    def test_submitting(self) -> None:
        for command in (c.SUBMIT_SM, c.SUBMIT_MULTI, c.QUERY_SM, c.CANCEL_SM, c.REPLACE_SM):
            for state, status in (
                (t.OPEN, ESME_RINVBNDSTS), (t.BOUND_RX, ESME_RINVBNDSTS), (t.BOUND_TX, 0), (t.BOUND_TRX, 0),
                (t.UNBOUND, ESME_RINVBNDSTS), (t.CLOSED, ESME_RINVBNDSTS),
            ):  # fmt: skip
                self.assertEqual(t.check(t.SERVER, state, command), status, (state, c.name(command)))

    def test_binding_once(self) -> None:
        for command in _BINDS:
            self.assertEqual(t.check(t.SERVER, t.OPEN, command), 0)
            for state in (t.BOUND_RX, t.BOUND_TX, t.BOUND_TRX):
                self.assertEqual(t.check(t.SERVER, state, command), ESME_RALYBND)
            self.assertEqual(t.check(t.SERVER, t.UNBOUND, command), ESME_RINVBNDSTS)

    def test_what_only_an_smsc_sends(self) -> None:
        for command in (c.DELIVER_SM, c.OUTBIND, c.ALERT_NOTIFICATION, 0x12345):
            self.assertEqual(t.check(t.SERVER, t.BOUND_TRX, command), ESME_RINVCMDID)

    def test_enquire_link_at_any_time(self) -> None:
        for state in (t.OPEN, t.BOUND_RX, t.BOUND_TX, t.BOUND_TRX):
            self.assertEqual(t.check(t.SERVER, state, c.ENQUIRE_LINK), 0)


class Client(SynchronousTestCase):
    def test_deliveries(self) -> None:
        for state, status in (
            (t.OPEN, ESME_RINVBNDSTS),
            (t.BOUND_TX, ESME_RINVBNDSTS),
            (t.BOUND_RX, 0),
            (t.BOUND_TRX, 0),
        ):
            self.assertEqual(t.check(t.CLIENT, state, c.DELIVER_SM), status)

    def test_what_only_an_esme_sends(self) -> None:
        for command in (*_BINDS, c.SUBMIT_SM, c.QUERY_SM):
            self.assertEqual(t.check(t.CLIENT, t.BOUND_TRX, command), ESME_RINVCMDID)
