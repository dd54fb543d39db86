"""node's `smpp` as oracle, for all PDUs of 3.4 and 5.0 and all their optional parameters: both ways, octet for octet."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.cli.quickstart import _die_with
from protei_bulk.smpp import codec, commands, fast, statuses, tags
from protei_bulk.smpp.codec import Pdu
from protei_bulk.smpp.fields import CString, Destinations, Failures, FieldSpec, Octets, Whole
from protei_bulk.smpp.pdus import LAYOUTS
from tests.interop.far_end import NODE_SMPP, PEERS
from tests.support import programs
from tests.support.once import Once

#: as it calls what we call otherwise
NAMES = {"destinations": "dest_address", "unsuccess_smes": "unsuccess_sme", "destination_port": "dest_port"}
#: of which it reads several in one PDU
SEVERAL = {
    "callback_num_pres_ind", "callback_num_atag", "callback_num", "broadcast_area_identifier", "broadcast_error_status",
}  # fmt: skip
#: what it reads as whole numbers or text of other lengths than the specification's
PECULIAR: dict[int, st.SearchStrategy[bytes]] = {
    tags.SOURCE_TELEMATICS_ID: st.binary(min_size=2, max_size=2),
    tags.DEST_ADDR_NP_COUNTRY: st.binary(min_size=4, max_size=4),
    tags.BROADCAST_END_TIME: st.just(b"261124120000000+"),
    tags.MESSAGE_PAYLOAD: st.binary(min_size=1, max_size=1500),
    tags.ALERT_ON_MESSAGE_DELIVERY: st.binary(min_size=1, max_size=1),
    tags.CALLBACK_NUM_ATAG: st.binary(min_size=1, max_size=65),
}
#: text of 5.0 without an end, which it reads as ASCII; the numbers of a callback too
ASCII = {
    tags.BROADCAST_CONTENT_TYPE_INFO, tags.BROADCAST_SERVICE_GROUP, tags.SOURCE_NODE_ID, tags.DEST_NODE_ID,
    tags.DEST_ADDR_NP_INFORMATION, tags.CALLBACK_NUM, tags.BROADCAST_AREA_IDENTIFIER,
}  # fmt: skip
BINARY = 4  # data_coding: it leaves such a message as it is


class Bridge:
    """The process that encodes and decodes."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            programs.node(NODE_SMPP).command(PEERS / "codec.js"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=_die_with(os.getpid()),
        )  # fmt: skip
        atexit.register(self.stop)

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()
        found: dict[str, Any] = json.loads(self._child.stdout.readline())
        assert "error" not in found, found["error"]
        return found

    def stop(self) -> None:
        self._child.kill()
        self._child.communicate()


bridge = Once(Bridge)

ascii_text = st.characters(min_codepoint=1, max_codepoint=126)
octet = st.integers(0, 255)


def text(most: int) -> st.SearchStrategy[str]:
    return st.text(ascii_text, max_size=most)


def field(spec: FieldSpec) -> st.SearchStrategy[Any]:
    if spec.name in ("schedule_delivery_time", "validity_period", "final_date"):
        return st.sampled_from(["", "261124120000000+", "300101000000500+"])
    if spec.name == "data_coding":
        return st.just(BINARY)
    if spec.name == "esm_class":
        return st.integers(0, 0x3F)
    if isinstance(spec, Whole):
        return st.integers(0, 256**spec.octets - 1)
    if isinstance(spec, CString):
        return text(spec.most)
    if isinstance(spec, Octets):
        return st.binary(max_size=254)
    if isinstance(spec, Destinations):
        return st.lists(st.one_of(text(20), st.tuples(octet, octet, text(20))), max_size=5)
    assert isinstance(spec, Failures)
    return st.lists(st.tuples(octet, octet, text(20), st.integers(0, 0xFFFFFFFF)), max_size=5)


def parameter(tag: int) -> st.SearchStrategy[bytes]:
    """Octets that this one may have."""
    if tag in PECULIAR:
        return PECULIAR[tag]
    rule = tags.RULES[tag]
    if rule.kind == tags.TEXT:
        return text(rule.most - 1).map(lambda t: t.encode() + b"\0")
    octets = st.binary(min_size=rule.least, max_size=min(rule.most, 100))
    return octets.map(lambda b: bytes(c & 0x7F for c in b)) if tag in ASCII else octets


def optional(command_id: int) -> st.SearchStrategy[dict[int, bytes]]:
    # It keeps fields and parameters of a PDU by their names alike.
    own = {spec.name for spec in LAYOUTS[command_id]}
    known = [tag for tag in sorted(tags.RULES) if tags.name(tag) not in own]
    return st.sets(st.sampled_from(known), max_size=6).flatmap(
        lambda chosen: st.fixed_dictionaries({tag: parameter(tag) for tag in sorted(chosen)})
    )


def pdus(command_id: int) -> st.SearchStrategy[Pdu]:
    layout = LAYOUTS[command_id]
    fields = st.fixed_dictionaries({spec.name: field(spec) for spec in layout})
    return st.builds(
        Pdu, st.just(command_id), st.just(0), st.integers(1, 0x7FFFFFFF), fields, optional(command_id) if layout else st.just({})
    )


def inward(pdu: Pdu) -> dict[str, Any]:
    """The fields and parameters as it takes them."""
    found = {NAMES.get(name, name): _taken(value) for name, value in pdu.fields.items()}
    for tag, value in pdu.tlvs.items():
        name, rule = NAMES.get(tags.name(tag), tags.name(tag)), tags.RULES[tag]
        taken: Any = f"hex:{value.hex()}"
        if rule.kind == tags.WHOLE or tag in (tags.DEST_ADDR_NP_COUNTRY, tags.USSD_SERVICE_OP):
            taken = int.from_bytes(value, "big")
        elif rule.kind == tags.TEXT:
            taken = value[:-1].decode()
        elif tag == tags.BROADCAST_END_TIME:
            taken = value.decode()
        found[name] = [taken] if name in SEVERAL else taken
    return found


def _taken(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"hex:{value.hex()}"
    if not isinstance(value, list):
        return value
    names = ("dest_addr_ton", "dest_addr_npi", "destination_addr", "error_status_code")
    return [{"dl_name": v} if isinstance(v, str) else dict(zip(names, v, strict=False)) for v in value]


class Oracle(SynchronousTestCase):
    def agree(self, command_id: int) -> None:
        ask, name = bridge().ask, commands.name(command_id)

        @given(pdus(command_id))
        def check(pdu: Pdu) -> None:
            ours = codec.encode(pdu)
            theirs = bytes.fromhex(ask({"encode": name, "sequence": pdu.sequence, "fields": inward(pdu)})["hex"])
            self.assertEqual(theirs, ours)
            self.assertEqual(codec.decode(theirs), pdu)
            found = ask({"decode": ours.hex()})
            self.assertEqual((found["command"], found["status"], found["sequence"]), (name, 0, pdu.sequence))
            for field, value in pdu.fields.items():
                if isinstance(value, int) or (isinstance(value, str) and not value.endswith("+")):
                    self.assertEqual(found["fields"][field], value)
            self.assertEqual(bytes.fromhex(found["again"]), ours)

        check()

    def test_errors(self) -> None:
        for status in (statuses.ESME_RTHROTTLED, statuses.ESME_RINVPASWD, 0x104, 0xFFFFFFFF):
            for command_id in sorted(c for c in LAYOUTS if c & commands.RESP):
                found = bridge().ask({"decode": fast.header(command_id, status, 5).hex()})
                self.assertEqual((found["command"], found["status"], found["sequence"]), (commands.name(command_id), status, 5))


def _test(command_id: int) -> Callable[[Oracle], None]:
    return lambda self: self.agree(command_id)


for _command_id in LAYOUTS:
    setattr(Oracle, f"test_{commands.name(_command_id)}", _test(_command_id))
