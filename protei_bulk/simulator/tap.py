"""twistd's side: `twistd -n protei-smsc --port 2776`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from math import isfinite
from typing import Any, TextIO

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import LoopingCall
from twisted.python import usage

from protei_bulk.simulator.behaviour import Behaviour, Faults
from protei_bulk.simulator.mobiles import FORMS, ORDERS, Mobiles
from protei_bulk.simulator.smsc import Smsc
from protei_bulk.smpp import statuses
from protei_bulk.text.segments import encode_text


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise ValueError("expected a percentage from 0 to 100")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not isfinite(value) or value < 0:
        raise ValueError("expected seconds from 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError("expected a whole number from 0")
    return value


def _version(text: str) -> int:
    known = {"3.3": 0x33, "3.4": 0x34, "5.0": 0x50}
    if text not in known:
        raise ValueError("expected 3.3, 3.4 or 5.0")
    return known[text]


def _error(text: str) -> tuple[int, float]:
    status, _, percent = text.partition(":")
    code = getattr(statuses, status) if status.startswith("ESME_") and hasattr(statuses, status) else int(status, 0)
    if not 0 < code <= 0xFFFFFFFF:
        raise ValueError("expected a command_status that says an error")
    return code, _share(percent or "100")


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return read


#: of an SME's answer (SMPP 3.4 section 5.2.12)
_ANSWERS = {"none": 0, "delivery": 0x08, "manual": 0x10, "abort": 0x18}


class Options(usage.Options):
    optParameters = [  # noqa: RUF012
        ["port", "p", 2776, "Port to listen on.", int],
        ["interface", "i", "127.0.0.1", "Address to listen on."],
        ["delay", "d", 0.5, "Seconds until the receipt.", _seconds],
        ["fail", None, 0, "Percent of receipts UNDELIV.", _share],
        ["throttle", None, 0, "submit_sm a second; more get ESME_RTHROTTLED. 0 is no limit.", _count],
        ["lose", None, 0, "Percent of submit_sm without an answer.", _share],
        ["late", None, 0, "Seconds until the answer to submit_sm.", _seconds],
        ["drop-after", None, 0, "Drop the connection each so many submit_sm.", _count],
        ["receipt-first", None, 0, "Percent of receipts before the answer.", _share],
        ["duplicate", None, 0, "Percent of receipts sent twice.", _share],
        ["error", None, (0, 0.0), "STATUS:PERCENT of submit_sm refused, as ESME_RSYSERR:10 or 0x08:10.", _error],
        ["smpp-version", None, 0x34, "interface_version: 3.3, 3.4 or 5.0.", _version],
        ["congestion", None, 0, "congestion_state of each submit_sm_resp, 1 to 100. 0 is none.", _share],
        ["mo-every", None, 0, "Seconds between mobile-originated messages. 0 is none.", _seconds],
        ["mo-source", None, "962790000001", "Their sender."],
        ["mo-destination", None, "12345", "Their recipient."],
        ["mo-text", None, "STOP", "Their text; {n} in it is the number of the message."],
        ["mo-count", None, 0, "How many of them. 0 is no end.", _count],
        ["mo-at-once", None, 1, "How many each time.", _count],
        ["mo-form", None, "udh8", f"How long ones are written: {', '.join(FORMS)}.", _one_of(*FORMS)],
        ["mo-order", None, "in-order", f"In which order their parts go out: {', '.join(ORDERS)}.", _one_of(*ORDERS)],
        ["mo-gap", None, 0, "Seconds between their parts.", _seconds],
        ["mo-repeat", None, 0, "Percent of their parts sent twice.", _share],
        ["sme-answer", None, "none", f"An SME's answer behind each receipt: {', '.join(_ANSWERS)}.", _one_of(*_ANSWERS)],
        ["ledger", "o", None, "File for a line `S <message_id> <dest>` each submit_sm taken."],
    ]
    optFlags = [  # noqa: RUF012
        ["hex-ids", "x", "Receipts write the id in hexadecimal."],
        ["octets", None, "After each line of the ledger another: `O <message_id> <body in hexadecimal>`."],
        ["intermediate", None, "An ENROUTE notification before each receipt."],
    ]

    def postOptions(self) -> None:  # noqa: N802
        try:
            encode_text(self["mo-text"], "AUTO")
        except ValueError as error:
            raise usage.UsageError(f"--mo-text: {error}") from None


class _Ledger(Service):
    """Flushes ten times a second, and at the end."""

    def __init__(self, file: TextIO, reactor: Any) -> None:
        self._file = file
        self._loop = LoopingCall(file.flush)
        self._loop.clock = reactor

    def startService(self) -> None:  # noqa: N802
        super().startService()  # type: ignore[no-untyped-call]
        self._loop.start(0.1)

    def stopService(self) -> None:  # noqa: N802
        self._loop.stop()
        self._file.close()


def makeService(options: Any) -> MultiService:  # noqa: N802
    """The simulator as a service."""
    from twisted.internet import reactor

    status, percent = options["error"]
    faults = Faults(
        delay=options["delay"], fail=options["fail"], throttle=options["throttle"], lose=options["lose"], late=options["late"],
        drop_after=options["drop-after"], hex_ids=bool(options["hex-ids"]), receipt_first=options["receipt-first"],
        duplicate=options["duplicate"], intermediate=bool(options["intermediate"]), error_status=status, error=percent,
        acknowledge=_ANSWERS[options["sme-answer"]],
    )  # fmt: skip
    parent = MultiService()
    note = None
    if options["ledger"]:
        file = open(options["ledger"], "a", encoding="ascii")  # noqa: SIM115
        _Ledger(file, reactor).setServiceParent(parent)  # type: ignore[no-untyped-call]
        note = file.write
    # A number of microseconds: an SMSC that starts again must not give an id that it gave before.
    smsc = Smsc(Behaviour(faults, random.random, int(time.time() * 1_000_000)), reactor, note, octets=bool(options["octets"]),
                version=options["smpp-version"], congestion=int(options["congestion"]))  # fmt: skip
    if options["mo-every"]:
        smsc.send_mo(
            Mobiles(
                options["mo-every"], options["mo-source"], options["mo-destination"], options["mo-text"], options["mo-count"],
                options["mo-at-once"], options["mo-form"], options["mo-order"], options["mo-gap"], options["mo-repeat"],
            )
        )  # fmt: skip
    endpoint = TCP4ServerEndpoint(reactor, options["port"], interface=options["interface"], backlog=128)
    server = StreamServerEndpointService(endpoint, smsc)
    server._raiseSynchronously = True  # a port in use ends the process with its reason
    server.setServiceParent(parent)
    return parent
