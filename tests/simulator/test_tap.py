"""The command line of the simulator, and the service that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThread
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from protei_bulk.simulator.tap import Options, makeService
from tests.support.esme import Esme, submit_sm


def options(*arguments: str) -> Options:
    parsed = Options()
    parsed.parseOptions(arguments)
    return parsed


class CommandLine(SynchronousTestCase):
    def test_by_default_it_listens_on_loopback_and_behaves(self) -> None:
        parsed = options()
        self.assertEqual((parsed["port"], parsed["interface"], parsed["delay"]), (2776, "127.0.0.1", 0.5))
        faults = ("fail", "throttle", "lose", "late", "drop-after", "receipt-first", "duplicate", "mo-every", "hex-ids")
        self.assertEqual({name: parsed[name] for name in faults}, dict.fromkeys(faults, 0))

    def test_errors_by_number_and_name(self) -> None:
        for text, expected in (
            ("0x0b:10", (0x0B, 10.0)),
            ("88:2.5", (0x58, 2.5)),
            ("ESME_RSYSERR:1", (0x08, 1.0)),
            ("ESME_RTHROTTLED", (0x58, 100.0)),
        ):
            self.assertEqual(options("--error", text)["error"], expected)

    def test_what_makes_no_sense_is_refused(self) -> None:
        for arguments in (
            ("--fail", "101"), ("--lose", "-1"), ("--duplicate", "nan"), ("--delay", "-1"), ("--late", "inf"),
            ("--throttle", "-1"), ("--drop-after", "x"), ("--error", "ESME_NONE:1"), ("--error", "0:5"),
            ("--error", "8:200"), ("--mo-text", "x" * 40000), ("--unknown", "1"),
        ):  # fmt: skip
            with self.assertRaises(UsageError, msg=arguments):
                options(*arguments)


class TheService(TestCase):
    timeout = 30

    def started(self, *arguments: str) -> tuple[Any, Any]:
        service = makeService(options(*arguments))
        listening: list[Any] = []
        listen = reactor.listenTCP

        def remembered(*args: Any, **kwargs: Any) -> Any:
            listening.append(listen(*args, **kwargs))
            return listening[-1]

        self.patch(reactor, "listenTCP", remembered)
        service.privilegedStartService()
        service.startService()
        return service, listening[0].getHost()

    async def test_submits_end_in_the_ledger(self) -> None:
        ledger = Path(self.mktemp())
        service, host = self.started("--port", "0", "--ledger", str(ledger), "--delay", "0")
        self.assertEqual(host.host, "127.0.0.1")

        def use() -> list[tuple[int, str]]:
            with Esme(host.port) as esme:
                self.assertEqual(esme.bind("gateway", "secret"), 0)
                return [esme.submitted(f"96278800000{i}") for i in range(2)]

        (_, first), (_, second) = await deferToThread(use)
        await service.stopService()
        self.assertEqual(ledger.read_text(), f"S {first} 962788000000\nS {second} 962788000001\n")
        # Another start gives other ids, and keeps the ledger.
        service, host = self.started("--port", "0", "--ledger", str(ledger))
        (_, third), _ = await deferToThread(use)
        await service.stopService()
        self.assertGreater(int(third), int(second))
        self.assertEqual(ledger.read_text().count("\n"), 4)

    async def test_with_the_octets_of_each_submit(self) -> None:
        ledger = Path(self.mktemp())
        service, host = self.started("--port", "0", "--ledger", str(ledger), "--octets")

        def use() -> str:
            with Esme(host.port) as esme:
                self.assertEqual(esme.bind("gateway", "secret"), 0)
                return esme.submitted("962788000000")[1]

        id = await deferToThread(use)
        await service.stopService()
        body = submit_sm(1, "962788000000", b"Hello")[16:]
        self.assertEqual(ledger.read_text(), f"S {id} 962788000000\nO {id} {body.hex()}\n")

    async def test_a_port_in_use(self) -> None:
        service, host = self.started("--port", "0")
        with self.assertRaises(CannotListenError):
            makeService(options("--port", str(host.port))).privilegedStartService()
        await service.stopService()
