"""Two nodes on one database: who is bound where, sessions ended from elsewhere, limits that hold over both, traces in both logs."""

from __future__ import annotations

import atexit
import json
import subprocess
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands
from tests.support.esme import Esme
from tests.support.gateway import PASSWORD, Gateway, eventually

BINDFAIL = 0x0D


class SessionsTest(SynchronousTestCase):
    _shared: ClassVar[tuple[Gateway, Gateway] | None] = None

    def setUp(self) -> None:
        if SessionsTest._shared is None:
            SessionsTest._shared = self.started()
        self.one, self.two = SessionsTest._shared

    @staticmethod
    def started() -> tuple[Gateway, Gateway]:
        smpp = "bind_attempts_per_minute = 5\nresponse_timeout = 3.0\nenquire_link_interval = 1.0"
        one = Gateway(node="one", smpp=smpp)
        atexit.register(one.stop)
        one.simulate("SMSC1")
        one.accounts({"ahmad": ("--max-binds", "3"), "omar": (), "laila": ()})
        one.start()
        two = Gateway(node="two", smpp=smpp, beside=one)
        atexit.register(two.stop)
        two.write_config()
        two.start()
        return one, two

    def run_cli(self, *arguments: str) -> str:
        command: subprocess.Popen[str] = self.one.administer(*arguments)
        out, err = command.communicate(timeout=60)
        self.assertEqual(0, command.returncode, err)
        return out

    def sessions(self, user: str) -> list[dict[str, Any]]:
        return [row for row in json.loads(self.run_cli("session", "list", "--json")) if row["system_id"] == user]

    def bound(self, gateway: Gateway, user: str, kind: int = commands.BIND_TRANSCEIVER) -> Esme:
        esme = Esme(gateway.smpp_port)
        self.addCleanup(esme.socket.close)
        self.assertEqual(0, esme.bind(user, PASSWORD, kind))
        return esme

    def refused(self, gateway: Gateway, user: str) -> int:
        with Esme(gateway.smpp_port) as esme:
            return esme.bind(user, PASSWORD)

    def test_a_session_is_ended_on_the_node_that_has_it(self) -> None:
        here, there = self.bound(self.one, "omar"), self.bound(self.two, "omar", commands.BIND_RECEIVER)
        rows = {row["node_id"]: row for row in self.sessions("omar")}
        self.assertEqual({"TRANSCEIVER", "RECEIVER"}, {row["bind_type"] for row in rows.values()})
        number = next(row["session_id"] for row in rows.values() if row["bind_type"] == "RECEIVER")
        self.assertIn("being disconnected", self.run_cli("session", "disconnect", str(number)))  # by the configuration of the other
        self.assertEqual(commands.UNBIND, there.ends()[-1][0])
        self.assertEqual(0, here.submitted("962781234567")[0])
        self.assertEqual(1, len(self.sessions("omar")))

    def test_the_limit_of_an_account_holds_over_both_nodes(self) -> None:
        first, _, third = self.bound(self.one, "ahmad"), self.bound(self.two, "ahmad"), self.bound(self.two, "ahmad")
        self.assertEqual([BINDFAIL, BINDFAIL], [self.refused(self.one, "ahmad"), self.refused(self.two, "ahmad")])
        first.socket.close()
        eventually(lambda: self.refused(self.two, "ahmad") == 0, "room for another")
        # A node that dies keeps nobody out, though its rows are there.
        third.socket.close()
        self.bound(self.two, "ahmad")
        self.two.kill9()
        eventually(lambda: self.refused(self.one, "ahmad") == 0, "the dead node's sessions forgotten", 40.0)
        self.two.start()
        codes = (
            "SELECT DISTINCT details ->> 'code' FROM tbl_permission_audit"
            " WHERE action = 'BIND_SMPP' AND result <> 'SUCCESS' AND details ->> 'system_id' = 'ahmad'"
        )
        self.assertEqual([("TOO_MANY_SESSIONS",)], self.one.query(codes))

    def test_guesses_lock_out_whoever_makes_them(self) -> None:
        """Five failures a minute of a name and address: neither the customer elsewhere nor his neighbour notices."""

        def tried(user: str, password: str, address: str) -> int:
            with Esme(self.one.smpp_port, source=address) as esme:
                return esme.bind(user, password)

        guesses = [tried("omar", f"guess{n}", "127.0.0.2") for n in range(7)]
        self.assertEqual([0x0E] * 5 + [BINDFAIL] * 2, guesses)
        self.assertEqual(BINDFAIL, tried("omar", PASSWORD, "127.0.0.2"))  # or it would tell that this is the one
        self.assertEqual(0, tried("omar", PASSWORD, "127.0.0.1"))
        self.assertEqual(0, tried("laila", PASSWORD, "127.0.0.2"))

    def test_a_silent_peer_is_dropped(self) -> None:
        with Esme(self.one.smpp_port, answers=False) as esme:
            self.assertEqual(0, esme.bind("omar", PASSWORD))
            self.assertIn(commands.ENQUIRE_LINK, [found[0] for found in esme.ends()])
        eventually(lambda: not self.sessions("omar"), "its row closed")

    def test_both_nodes_trace_until_they_are_told_not_to(self) -> None:
        self.run_cli("trace", "on", "--user", "laila")
        self.run_cli("trace", "on", "--smsc", "SMSC1")
        for gateway in (self.one, self.two):
            eventually(lambda g=gateway: "trace of smsc SMSC1: on" in self.log(g), "heard")
            esme = self.bound(gateway, "laila")
            self.assertEqual(0, esme.submitted("962781234567", b"The PIN is 4711", registered=1)[0])
            esme.wait(commands.DELIVER_SM)
            esme.request(commands.UNBIND)
            esme.ends()
            log = self.log(gateway)
            for shown in ("in  bind_transceiver seq=1 system_id='laila' password=(12 octets)", "out bind_transceiver_resp seq=1 ESME_ROK",
                          "in  submit_sm seq=2", "short_message=(15 octets)", "out submit_sm_resp seq=2 ESME_ROK message_id='MSG-",
                          "in  unbind"):  # fmt: skip
                self.assertIn(shown, log)
            for secret in ("4711", PASSWORD):
                self.assertNotIn(secret, log)
        both = self.log(self.one) + self.log(self.two)  # the connector runs on one of them
        for shown in ("SMSC1:", " out submit_sm seq=", " in  submit_sm_resp", " in  deliver_sm seq=", "stat:DELIVRD"):
            self.assertIn(shown, both)
        self.run_cli("trace", "off")
        for gateway in (self.one, self.two):
            eventually(lambda g=gateway: "trace of user laila: off" in self.log(g), "heard of the end")
            before = self.log(gateway).count(" seq=")
            self.assertEqual(0, self.bound(gateway, "laila").submitted("962781234567")[0])
            self.assertEqual(before, self.log(gateway).count(" seq="))

    @staticmethod
    def log(gateway: Gateway) -> str:
        return gateway.process.log.read_text(errors="replace")
