"""Long messages that ESMEs split, and receipts, end to end: every form, one way, one receipt or several, over a crash and two nodes."""

from __future__ import annotations

import re
from typing import Any

import psycopg2
import smpplib.client
import smpplib.consts
import smpplib.gsm
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, fast, tags
from protei_bulk.smpp.codec import Pdu
from protei_bulk.smpp.fast import Fields
from protei_bulk.text import headers
from tests.support.esme import Esme
from tests.support.gateway import PASSWORD, Gateway, _output, eventually

TEXT = "".join(f"{n:03d} of a text that is long. " for n in range(14))  # 392 septets: three parts
_UDHI = 0x40


def routes(*smscs: str) -> str:
    """Each SMSC has the sender of its name."""
    return "".join(f'[[route]]\nname = "{id}"\norder = 1\nto = ["{id}"]\n[route.match]\nsender = ["{id}"]\n' for id in smscs)


class Case(SynchronousTestCase):
    gateway: Gateway

    def begin(self, smscs: dict[str, tuple[str, ...]], settings: str = "", **users: str) -> None:
        """`smscs`: its lines of configuration, then the simulator's options. `users`: what `receipts` they have."""
        self.gateway = gateway = Gateway(settings or routes(*smscs))
        self.addCleanup(gateway.stop)
        self.seen: dict[str, int] = {}
        for id, (lines, *options) in smscs.items():
            gateway.simulate(id, "--octets", *options, settings=lines)
        gateway.accounts(dict.fromkeys(users, ()), list(users))
        for name, receipts in users.items():
            _output(gateway.administer("user", "set", name, f"receipts={receipts}"))
        gateway.start()

    def esme(self, user: str, gateway: Gateway | None = None, kind: int = commands.BIND_TRANSCEIVER, version: int = 0x34) -> Esme:
        esme = Esme((gateway or self.gateway).smpp_port)
        self.addCleanup(esme.socket.close)
        self.assertEqual(esme.bind(user, PASSWORD, kind, version=version), 0)
        return esme

    def part(self, esme: Esme, number: int, total: int = 3, *, source: str, reference: int = 7, form: str = "udh",
             dest: str = "962788123456", registered: int = 1, text: str = TEXT) -> str:  # fmt: skip
        """Submits one part; its message_id."""
        octets = text.encode()[(number - 1) * 150 : number * 150] if number < total else text.encode()[(number - 1) * 150 :]
        tlvs, esm_class = b"", 0
        if form == "udh":
            octets, esm_class = headers.header(headers.concatenation_element(reference, total, number)) + octets, _UDHI
        else:
            tlvs = fast.encode_tlvs({0x020C: reference.to_bytes(2, "big"), 0x020E: bytes((total,)), 0x020F: bytes((number,))})
        sequence = esme.next()
        esme.send(
            fast.encode_sm(
                commands.SUBMIT_SM, sequence, b"", 5, 0, source, 1, 1, dest, esm_class, 0, 0, b"", b"", registered, 0, 0, 0, octets, tlvs
            )
        )
        _, status, _, body = esme.wait(commands.SUBMIT_SM | commands.RESP, sequence)
        self.assertEqual(status, 0)
        return fast.response_id(body, 0, len(body))

    def taken(self, smsc: str, count: int, seconds: float = 20) -> list[Fields]:
        """The next submit_sm that an SMSC took."""
        ledger = self.gateway.simulators[smsc].ledger
        skip = self.seen.get(smsc, 0)

        def lines() -> list[bytes]:
            text = ledger.read_text() if ledger.exists() else ""
            return [bytes.fromhex(line.split()[2]) for line in text.splitlines() if line.startswith("O ")][skip:]

        found: list[bytes] = eventually(lambda: len(lines()) >= count and lines(), f"{count} at {smsc}", seconds)
        self.assertEqual(len(found), count)
        self.seen[smsc] = skip + count
        return [fast.decode_sm(body, 0, len(body)) for body in found]

    def receipts(self, esme: Esme, count: int) -> list[tuple[str, str, str, str]]:
        """(id, sub and dlvrd, stat, err) of the next receipts; and no more come at once."""
        found = []
        for _ in range(count):
            pdu = esme.delivered()
            self.assertEqual(pdu.fields["esm_class"], 4)
            text = pdu.fields["short_message"].decode()
            m = re.match(r"id:(\S+) sub:(\d{3}) dlvrd:(\d{3}) submit date:\d{10} done date:\d{10} stat:([A-Z]{7}) err:(\d{3}) text:", text)
            assert m is not None, text
            self.assertEqual(pdu.tlvs[tags.RECEIPTED_MESSAGE_ID], m[1].encode() + b"\0")
            found.append((m[1], f"{m[2]}/{m[3]}", m[4], m[5]))
        return sorted(found)

    def nothing_more(self, *esmes: Esme) -> None:
        for esme in esmes:
            self.assertFalse(esme.has_delivery())


class FormsTest(Case):
    def test_forms(self) -> None:
        forms = {form: (f'long_messages = "{form}"',) for form in ("udh", "sar", "payload")}
        forms["impatient"] = ('long_messages = "payload"\njoin_seconds = 1',)
        self.begin({"submitted": ("",), **forms}, each="part", merged="message")
        self._each_form_to_each_form()
        self._smpplibs_parts()
        self._in_any_order_and_with_other_messages_between()
        self._incomplete_ones()

    def _each_form_to_each_form(self) -> None:
        smscs = [smsc for smsc in self.gateway.simulators if smsc != "impatient"]
        for user in ("each", "merged"):
            with self.esme(user) as esme:
                for form, smsc in ((form, smsc) for form in ("udh", "sar") for smsc in smscs):
                    ids = [self.part(esme, n, source=smsc, form=form) for n in (1, 2, 3)]
                    self.check(smsc, form)
                    if user == "each":
                        self.assertEqual(self.receipts(esme, 3), [(id, "001/001", "DELIVRD", "000") for id in ids])
                    else:
                        self.assertEqual(self.receipts(esme, 1), [(ids[2], "003/003", "DELIVRD", "000")])
                self.nothing_more(esme)
        # All of it is recorded: one row a part, the SMSC's id, and which belong together.
        counts = "count(*), count(DISTINCT long_id), count(DISTINCT smpp_msg_id)"
        rows = self.gateway.query(f"SELECT {counts} FROM messages WHERE status = 'DELIVERED'")
        self.assertEqual(rows, [(48, 16, 40)])
        self.assertEqual(self.gateway.query("SELECT count(*) FROM tbl_long_receipts"), [(0,)])
        shown = _output(self.gateway.administer("message", "show", ids[0], "--json"))
        for id in ids:
            self.assertIn(id, shown)

    def check(self, smsc: str, form: str) -> None:
        """What the SMSC got."""
        if smsc == "payload":
            [f] = self.taken(smsc, 1)
            self.assertEqual((f[16], (f[17] or {})[0x0424], f[7]), (b"", TEXT.encode(), 0))
            return
        found = self.taken(smsc, 3)
        as_udh = smsc == "udh" or (smsc == "submitted" and form == "udh")
        for number, f in enumerate(found, 1):
            if as_udh:
                self.assertEqual((f[7], f[16][:6]), (_UDHI, bytes((5, 0, 3, 7, 3, number))))
            else:
                self.assertEqual((f[7], (f[17] or {})[0x020F]), (0, bytes((number,))))
        self.assertEqual("".join(f[16][6 if as_udh else 0 :].decode() for f in found), TEXT)

    def _smpplibs_parts(self) -> None:
        """As smpplib's documentation does it."""
        for user, smsc in (("each", "submitted"), ("each", "payload"), ("merged", "submitted"), ("merged", "payload")):
            client = smpplib.client.Client("127.0.0.1", self.gateway.smpp_port, allow_unknown_opt_params=True)
            ids: list[str] = []
            receipts: list[Any] = []
            client.set_message_sent_handler(lambda pdu, ids=ids: ids.append(pdu.message_id.decode()))
            client.set_message_received_handler(lambda pdu, receipts=receipts: receipts.append(pdu) or 0)
            client.connect()
            client.bind_transceiver(system_id=user, password=PASSWORD)
            parts, coding, flag = smpplib.gsm.make_parts(TEXT)
            for part in parts:
                client.send_message(
                    source_addr_ton=5, source_addr=smsc, dest_addr_ton=1, destination_addr="962788123456", short_message=part,
                    data_coding=coding, esm_class=flag, registered_delivery=True,
                )  # fmt: skip
            expected = 3 if user == "each" else 1
            while len(ids) < 3 or len(receipts) < expected:
                client.read_once()
            told = [(p.receipted_message_id.decode().rstrip("\0"), p.message_state) for p in receipts]
            self.assertEqual(sorted(told), [(id, 2) for id in (sorted(ids) if user == "each" else ids[-1:])])
            client.unbind()
            client.disconnect()
            self.taken(smsc, 1 if smsc == "payload" else 3)

    def _in_any_order_and_with_other_messages_between(self) -> None:
        with self.esme("merged") as esme:
            order = [(3, 1), (1, 2), (2, 1), (3, 2), (1, 1), (2, 2)]
            ids = {(r, n): self.part(esme, n, source="payload", reference=r, dest=f"96278812345{r}") for n, r in order}
            status, plain = esme.submitted("962788999999", source="payload", registered=1)
            self.assertEqual(status, 0)
            texts = sorted((f[17] or {}).get(0x0424, f[16]) for f in self.taken("payload", 3))
            self.assertEqual(texts, sorted([TEXT.encode(), TEXT.encode(), b"Hello"]))
            expected = [(ids[1, 3], "003/003"), (ids[2, 3], "003/003"), (plain, "001/001")]
            self.assertEqual(self.receipts(esme, 3), sorted((*e, "DELIVRD", "000") for e in expected))

    def _incomplete_ones(self) -> None:
        with self.esme("merged") as esme:
            ids = [self.part(esme, n, source="impatient") for n in (1, 3)]
            self.assertEqual([f[16][:6] for f in self.taken("impatient", 2)], [bytes((5, 0, 3, 7, 3, n)) for n in (1, 3)])
            delivered = "SELECT count(*) FROM messages WHERE status = 'DELIVERED' AND from_addr = 'impatient'"
            eventually(lambda: self.gateway.query(delivered) == [(2,)], "delivered")
            self.nothing_more(esme)
            self.age()
            self.assertEqual(self.receipts(esme, 1), [(ids[1], "002/002", "DELIVRD", "000")])

    def age(self) -> None:
        """Their time is over: the gateway's next look tells of them."""
        with psycopg2.connect(self.gateway.dsn) as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE tbl_long_receipts SET due_at = now()")
        connection.close()


class OneWayTest(Case):
    def test_round_robin_does_not_split_a_message(self) -> None:
        route = '[[route]]\nname = "rr"\norder = 1\nto = ["A", "B", "C"]\nstrategy = "round-robin"\n'
        self.begin({"A": ("",), "B": ("",), "C": ('long_messages = "payload"',)}, route, ahmad="part")
        esme = self.esme("ahmad")
        for n in range(12):
            for number in (1, 2, 3):
                self.part(esme, number, source="MyCompany", reference=n, dest=f"9627881234{n:02d}", registered=0)
        self.gateway.wait_empty()
        rows = self.gateway.query("SELECT to_addr, count(DISTINCT smsc_id), count(*), min(smsc_id) FROM messages GROUP BY 1")
        self.assertEqual({r[1:3] for r in rows}, {(1, 3)})
        self.assertEqual({smsc: sum(1 for r in rows if r[3] == smsc) for smsc in "ABC"}, {"A": 4, "B": 4, "C": 4})
        for smsc, count in (("A", 12), ("B", 12), ("C", 4)):
            self.taken(smsc, count)

    def test_an_smsc_that_goes_takes_no_part_along(self) -> None:
        route = '[[route]]\nname = "f"\norder = 1\nto = ["A", "B"]\n'
        self.begin({"A": ("",), "B": ('long_messages = "payload"',)}, route, ahmad="message")
        self.gateway.simulators["A"].end(9)
        eventually(lambda: self.gateway.readyz()["smsc"]["A"] == "DOWN", "A is down")
        esme = self.esme("ahmad")
        ids = [self.part(esme, n, source="MyCompany") for n in (1, 2, 3)]
        [f] = self.taken("B", 1)
        self.assertEqual((f[17] or {})[0x0424], TEXT.encode())
        self.assertEqual(self.receipts(esme, 1), [(ids[2], "003/003", "DELIVRD", "000")])


class CrashTest(Case):
    def test_kill_9_between_parts(self) -> None:
        self.begin({"A": ("",), "payload": ('long_messages = "payload"',)}, each="part", merged="message")
        esmes = {user: self.esme(user) for user in ("each", "merged")}
        ids: dict[tuple[str, str], list[str]] = {}
        for user, esme in esmes.items():
            for smsc in ("A", "payload"):
                ids[user, smsc] = [self.part(esme, 1, source=smsc, registered=0 if user == "merged" else 1)]
        self.taken("A", 2)
        self.gateway.kill9()
        self.gateway.restart()
        esmes = {user: self.esme(user) for user in esmes}
        for user, esme in esmes.items():
            for smsc in ("A", "payload"):
                ids[user, smsc] += [self.part(esme, n, source=smsc) for n in (2, 3)]
        # What waited for the other parts in memory waits for them again.
        self.assertEqual([(f[17] or {})[0x0424] for f in self.taken("payload", 2)], [TEXT.encode()] * 2)
        expected = sorted((id, "001/001", "DELIVRD", "000") for smsc in ("A", "payload") for id in ids["each", smsc])
        self.assertEqual(self.receipts(esmes["each"], 6), expected)
        expected = sorted((ids["merged", smsc][2], "003/003", "DELIVRD", "000") for smsc in ("A", "payload"))
        self.assertEqual(self.receipts(esmes["merged"], 2), expected)
        self.nothing_more(*esmes.values())
        rows = self.gateway.query("SELECT count(DISTINCT long_id), count(*) FROM messages WHERE status = 'DELIVERED'")
        self.assertEqual(rows, [(4, 12)])

    def test_killed_while_the_receipts_are_on_their_way(self) -> None:
        """The parts' receipts come before and after; the ESME is away meanwhile."""
        self.begin({"A": ("", "--delay", "0.5"), "payload": ('long_messages = "payload"', "--delay", "0.5")}, merged="message")
        esme = self.esme("merged")
        longs = []
        for n in range(10):
            smsc = ("A", "payload")[n % 2]
            longs.append([self.part(esme, number, source=smsc, reference=n, dest=f"9627881234{n:02d}") for number in (1, 2, 3)])
        self.gateway.kill9()
        self.gateway.restart()
        esme = self.esme("merged")
        self.assertEqual(self.receipts(esme, 10), sorted((ids[2], "003/003", "DELIVRD", "000") for ids in longs))
        self.nothing_more(esme)

    def test_the_parts_receipts_come_to_another_node(self) -> None:
        self.begin({"A": ("", "--delay", "2")}, merged="message", each="part")
        other = Gateway(self.gateway.settings, node="two", beside=self.gateway)
        self.addCleanup(other.stop)
        other.write_config()
        other.start()
        ids = {}
        for user in ("merged", "each"):
            esme = self.esme(user)
            ids[user] = [self.part(esme, n, source="A") for n in (1, 2, 3)]
        self.taken("A", 6)
        self.gateway.kill9()
        merged, each = self.esme("merged", other), self.esme("each", other)
        self.assertEqual(self.receipts(merged, 1), [(ids["merged"][2], "003/003", "DELIVRD", "000")])
        self.assertEqual(self.receipts(each, 3), [(id, "001/001", "DELIVRD", "000") for id in ids["each"]])
        self.nothing_more(merged, each)

    def test_an_esme_that_is_away(self) -> None:
        self.begin({"A": ("",)}, merged="message")
        esme = self.esme("merged", kind=commands.BIND_TRANSMITTER)
        ids = [self.part(esme, n, source="A") for n in (1, 2, 3)]
        eventually(lambda: self.gateway.query("SELECT count(*) FROM tbl_deliver_outbox") == [(1,)], "kept")
        self.gateway.kill9()
        self.gateway.restart()
        self.assertEqual(self.receipts(self.esme("merged"), 1), [(ids[2], "003/003", "DELIVRD", "000")])


class ReceiptsTest(Case):
    def setUp(self) -> None:
        self.begin(
            {"good": ("", "--intermediate"), "bad": ("", "--fail", "100"), "refuses": ("", "--error", "ESME_RINVDSTADR:100"),
             "split": ("",), "old": ('interface_version = "3.3"', "--smpp-version", "3.3")},
            ahmad="part",
        )  # fmt: skip

    def submit(self, esme: Esme, source: str, registered: int, **more: Any) -> tuple[str, Pdu]:
        fields = {
            "source_addr_ton": 5, "source_addr": source, "dest_addr_ton": 1, "dest_addr_npi": 1, "destination_addr": "962788123456",
            "registered_delivery": registered, "short_message": b"Hello\nthere", **more,
        }  # fmt: skip
        pdu = Pdu(commands.SUBMIT_SM, fields=fields, tlvs=fields.pop("tlvs", {}))
        answer = esme.ask(pdu)
        self.assertEqual(answer.status, 0)
        return answer.fields["message_id"], pdu

    def told(self, esme: Esme) -> tuple[str, str, int, dict[int, bytes]]:
        pdu = esme.delivered()
        text = pdu.fields["short_message"].decode()
        found = re.match(r"id:(\S+) .* stat:(\S+) err:(\S+) text:Hello there$", text)
        assert found is not None, text
        self.assertEqual((pdu.fields["source_addr"], pdu.fields["source_addr_ton"], pdu.fields["dest_addr_ton"]), ("962788123456", 1, 5))
        return found[1], f"{found[2]} {found[3]}", pdu.fields["esm_class"], pdu.tlvs

    def test_receipts(self) -> None:
        esme = self.esme("ahmad")
        self._registered_delivery(esme)
        self._what_else_they_say(esme)
        self._versions()
        self._split_here(esme)

    def _registered_delivery(self, esme: Esme) -> None:
        ids = {}
        for source in ("good", "bad", "refuses"):
            for asked in (0, 1, 2, 3, 0x10, 0x11):
                ids[self.submit(esme, source, asked)[0]] = source, asked
        expected = {
            "good": {1: ["DELIVRD"], 3: ["DELIVRD"], 0x10: ["ENROUTE"], 0x11: ["ENROUTE", "DELIVRD"]},
            "bad": {1: ["UNDELIV"], 2: ["UNDELIV"], 0x11: ["UNDELIV"]},
            "refuses": {1: ["REJECTD"], 2: ["REJECTD"], 0x11: ["REJECTD"]},
        }
        found: dict[str, dict[int, list[str]]] = {}
        for _ in range(sum(len(states) for by in expected.values() for states in by.values())):
            id, state, esm_class, _ = self.told(esme)
            source, asked = ids[id]
            self.assertEqual(esm_class, 0x20 if "ENROUTE" in state else 0x04)
            found.setdefault(source, {}).setdefault(asked, []).append(state.split()[0])
        self.assertEqual(found, expected)
        self.nothing_more(esme)
        # Sorted: what comes while a connector has just bound, and still looks for older ones, may be overtaken.
        self.assertEqual(sorted(f[12] for f in self.taken("good", 6)), [0, 1, 1, 1, 0x11, 0x11])
        _, pdu = self.submit(esme, "good", 0x0C)  # acknowledgements of the SME
        self.assertEqual([f[12] for f in self.taken("good", 1)], [0x0C])

    def _what_else_they_say(self, esme: Esme) -> None:
        mine = {tags.USER_MESSAGE_REFERENCE: b"\0\x2a", tags.SOURCE_SUBADDRESS: b"\xa01"}
        id, _ = self.submit(esme, "bad", 1, service_type="CMT", tlvs=mine)
        pdu = esme.delivered()
        self.assertIn(b" sub:001 dlvrd:000 ", pdu.fields["short_message"])
        self.assertIn(b" stat:UNDELIV err:005 ", pdu.fields["short_message"])
        self.assertEqual(pdu.fields["service_type"], "CMT")
        self.assertEqual(pdu.tlvs, {
            tags.RECEIPTED_MESSAGE_ID: id.encode() + b"\0", tags.MESSAGE_STATE: b"\5", tags.NETWORK_ERROR_CODE: b"\3\0\5",
            tags.USER_MESSAGE_REFERENCE: b"\0\x2a", tags.DEST_SUBADDRESS: b"\xa01",
        })  # fmt: skip
        # The same for an ESME that is away, and after a crash.
        esme.request(commands.UNBIND)
        esme.wait(commands.UNBIND | commands.RESP)
        transmitter = self.esme("ahmad", kind=commands.BIND_TRANSMITTER)
        kept, _ = self.submit(transmitter, "bad", 1, tlvs={tags.USER_MESSAGE_REFERENCE: b"\0\x2b"})
        eventually(lambda: self.gateway.query("SELECT count(*) FROM tbl_deliver_outbox") == [(1,)], "kept")
        self.gateway.kill9()
        self.gateway.restart()
        again = self.esme("ahmad", kind=commands.BIND_RECEIVER)
        told = self.told(again)
        self.assertEqual(told[:2], (kept, "UNDELIV 005"))
        self.assertEqual((told[3][tags.NETWORK_ERROR_CODE], told[3][tags.USER_MESSAGE_REFERENCE]), (b"\3\0\5", b"\0\x2b"))
        again.request(commands.UNBIND)
        again.wait(commands.UNBIND | commands.RESP)

    def _versions(self) -> None:
        for version, tlvs, error in ((0x33, False, None), (0x34, True, None), (0x50, True, b"\7\0\x0b")):
            esme = self.esme("ahmad", version=version)
            id, _ = self.submit(esme, "refuses", 1)
            if version == 0x33:
                self.assertRegex(id, r"^[0-9A-F]{8}$")
            told = self.told(esme)
            self.assertEqual(told[:2], (id, "REJECTD 011"))
            self.assertEqual((bool(told[3]), told[3].get(tags.NETWORK_ERROR_CODE)), (tlvs, error))
            esme.request(commands.UNBIND)
            esme.wait(commands.UNBIND | commands.RESP)

    def _split_here(self, _: Esme) -> None:
        """What the gateway has split has one receipt, and its parts counted."""
        esme = self.esme("ahmad")
        id, _pdu = self.submit(esme, "split", 1, short_message=b"", tlvs={tags.MESSAGE_PAYLOAD: TEXT.encode()})
        pdu = esme.delivered()
        self.assertIn(f"id:{id} sub:003 dlvrd:003 ".encode(), pdu.fields["short_message"])
        self.nothing_more(esme)

