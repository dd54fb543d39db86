"""Texts from ESMEs of every alphabet to SMSCs of every alphabet, and long messages in every form, end to end."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.fast import Fields
from protei_bulk.text import alphabets, gsm, headers, shifts
from tests.support.esme import Esme
from tests.support.gateway import PASSWORD, Gateway, eventually

_SMSCS = {
    "gsm7": "", "gsm7-packed": 'alphabet = "gsm7-packed"', "latin1": 'alphabet = "latin1"', "ascii": 'alphabet = "ascii"',
    "utf8": 'alphabet = "utf8"', "sar": 'long_messages = "sar"', "payload": 'long_messages = "payload"',
    "udh": 'long_messages = "udh"\nreference_bits = 16', "turkish": 'national_shifts = ["turkish"]',
}  # fmt: skip
_ROUTES = "".join(f'[[route]]\nname = "{id}"\norder = 1\nto = ["{id}"]\n[route.match]\nsender = ["{id}"]\n' for id in _SMSCS)
#: what each ESME can say
_TEXTS = {
    "gsm7": "5 £ é [€] {}~ Δ", "gsm7-packed": "5 £ é [€] {}~ Δ", "latin1": "5 £ é [x] â", "utf8": "5 £ é [€] да 😀", "ascii": "5 [x] `~",
}  # fmt: skip
_LONG = "0123456789 [x] " * 20  # 300 characters, 340 septets: three parts
_UDH, _SAR = 0x40, (0x020C, 0x020E, 0x020F)


class Texts(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = gateway = Gateway(_ROUTES)
        self.addCleanup(gateway.stop)
        for id, settings in _SMSCS.items():
            gateway.simulate(id, "--octets", "--delay", "0.1", settings=settings)
        gateway.accounts(dict.fromkeys(_TEXTS, ()), ["gsm7"])
        changing = [gateway.administer("user", "set", name, f"smpp_alphabet={name}", "max_parts=4") for name in _TEXTS]
        self.assertEqual([c.wait(60) for c in changing], [0] * len(_TEXTS))
        for command in changing:
            command.communicate()
        gateway.start()
        self.seen: dict[str, int] = {}

    def esme(self, name: str) -> Esme:
        esme = Esme(self.gateway.smpp_port)
        self.addCleanup(esme.socket.close)
        self.assertEqual(esme.bind(name, PASSWORD), 0)
        return esme

    def taken(self, smsc: str, count: int) -> list[Fields]:
        """The next submit_sm that an SMSC took."""
        ledger = self.gateway.simulators[smsc].ledger
        skip = self.seen.get(smsc, 0)

        def lines() -> list[bytes]:
            text = ledger.read_text() if ledger.exists() else ""
            return [bytes.fromhex(line.split()[2]) for line in text.splitlines() if line.startswith("O ")][skip:]

        found: list[bytes] = eventually(lambda: len(lines()) >= count and lines(), f"{count} at {smsc}", 20)
        self.assertEqual(len(found), count)
        self.seen[smsc] = skip + count
        return [fast.decode_sm(body, 0, len(body)) for body in found]

    def text(self, f: Fields, alphabet: str) -> str:
        udh, body = self.parted(f)
        return alphabets.decode_body(body, f[14], alphabet, udh) or ""

    def parted(self, f: Fields) -> tuple[bytes, bytes]:
        body = f[16] or (f[17] or {}).get(0x0424, b"")
        length = body[0] + 1 if f[7] & _UDH else 0
        return body[:length], body[length:]

    def test_from_end_to_end(self) -> None:
        self._every_alphabet_to_every_other()
        self._long_texts()
        self._parts_of_esmes()
        self._http()

    def _every_alphabet_to_every_other(self) -> None:
        for name, text in _TEXTS.items():
            with self.esme(name) as esme:
                body = gsm.pack_body(gsm.encode(text)) if name == "gsm7-packed" else alphabets.encode_body(text, 0, name)
                for smsc in alphabets.DEFAULTS:
                    self.assertEqual(esme.submitted("962788123456", body, source=smsc)[0], 0)
                for smsc in alphabets.DEFAULTS:
                    (f,) = self.taken(smsc, 1)
                    self.assertEqual(self.text(f, smsc), text, (name, smsc))
        shown = self.gateway.query("SELECT message_text, count(*)::int FROM messages GROUP BY 1")
        self.assertEqual(dict(shown), {t: 5 * sum(1 for x in _TEXTS.values() if x == t) for t in _TEXTS.values()})

    def _long_texts(self) -> None:
        """Given as message_payload: one message, one receipt, whatever the form."""
        with self.esme("gsm7") as esme:
            septets = gsm.encode(_LONG)
            for smsc in ("gsm7", "sar", "udh", "payload"):
                pdu = fast.encode_sm(
                    commands.SUBMIT_SM, esme.next(), b"", 5, 0, smsc, 1, 1, "962788123456", 0, 0, 0, b"", b"", 1, 0, 0, 0, septets
                )
                esme.send(pdu)
                self.assertEqual(esme.wait(commands.SUBMIT_SM | commands.RESP, esme.sequence)[1], 0)
                parts = self.taken(smsc, 1 if smsc == "payload" else 3)
                self.assertEqual("".join(self.text(f, "gsm7") for f in parts), _LONG)
                if smsc == "payload":
                    self.assertEqual((parts[0][16], (parts[0][17] or {})[0x0424]), (b"", septets))
                elif smsc == "sar":
                    self.assertEqual([(f[17] or {})[0x020F] for f in parts], [b"\1", b"\2", b"\3"])
                else:
                    places = [headers.concatenation(self.parted(f)[0]) for f in parts]
                    self.assertEqual([p and p[1:] for p in places], [(3, 1), (3, 2), (3, 3)])
                    self.assertEqual({len(self.parted(f)[0]) for f in parts}, {7 if smsc == "udh" else 6})
                _, _, _, receipt = esme.wait(commands.DELIVER_SM)
                self.assertIn(b"stat:DELIVRD", receipt)
            wholes = self.gateway.query("SELECT smsc_id, segments, parts FROM messages WHERE segments = 3 ORDER BY message_id")
            self.assertEqual(wholes, [("gsm7", 3, None), ("sar", 3, None), ("udh", 3, None), ("payload", 3, 1)])
            # More parts than the account may have.
            status, _ = esme.submitted("962788123456", b"x" * 250, source="gsm7")
            self.assertEqual(status, 0)
            self.taken("gsm7", 2)
            esme.send(
                fast.encode_sm(
                    commands.SUBMIT_SM, esme.next(), b"", 5, 0, "gsm7", 1, 1, "962788123456", 0, 0, 0, b"", b"", 1, 0, 0, 0, b"x" * 613
                )
            )
            self.assertEqual(esme.wait(commands.SUBMIT_SM | commands.RESP, esme.sequence)[1], 0x01)

    def _parts_of_esmes(self) -> None:
        def submit(esme: Esme, smsc: str, esm_class: int, body: bytes, tlvs: dict[int, bytes] | None = None) -> None:
            esme.send(
                fast.encode_sm(
                    commands.SUBMIT_SM, esme.next(), b"", 5, 0, smsc, 1, 1, "962788123456", esm_class, 0, 0, b"", b"", 0, 0, 0, 0, body,
                    fast.encode_tlvs(tlvs or {}),
                )
            )  # fmt: skip
            self.assertEqual(esme.wait(commands.SUBMIT_SM | commands.RESP, esme.sequence)[1], 0)

        place = dict(zip(_SAR, (b"\1\2", b"\2", b"\1"), strict=True))
        with self.esme("gsm7") as esme:
            submit(esme, "sar", _UDH, b"\5\0\3\x07\2\1part")
            (f,) = self.taken("sar", 1)
            self.assertEqual((f[7], f[16], f[17]), (0, b"part", {**place, 0x020C: b"\0\x07"}))
            submit(esme, "udh", 0, b"part", place)
            (f,) = self.taken("udh", 1)
            self.assertEqual((f[7], f[16], f[17]), (_UDH, b"\6\x08\4\1\2\2\1part", None))
            submit(esme, "gsm7", 0, b"part", place)
            (f,) = self.taken("gsm7", 1)
            self.assertEqual((f[7], f[16], f[17]), (0, b"part", place))
            submit(esme, "gsm7-packed", _UDH, b"\x08\0\3\x07\2\1\x24\1\1\x1bs\x1bi")  # Turkish, by a single shift
            (f,) = self.taken("gsm7-packed", 1)
            self.assertEqual(self.text(f, "gsm7-packed"), "şı")
        self.assertEqual(self.gateway.query("SELECT count(*) FROM messages WHERE message_text = 'şı'"), [(1,)])

    def _http(self) -> None:
        def send(smsc: str, text: str, **more: Any) -> tuple[int, Any]:
            order = {"sender": smsc, "recipients": [{"msisdn": "962788123456", "message": text}], "encoding": "AUTO", **more}
            return self.gateway.post("/api/sendBulk", "gsm7", order)

        self.assertEqual(send("gsm7", "“Smart” – yes…", smart=True)[0], 200)
        (f,) = self.taken("gsm7", 1)
        self.assertEqual((f[14], f[16]), (0, b'"Smart" - yes...'))
        turkish = "İyi günler, şişe ığdır " * 4
        self.assertEqual(send("turkish", turkish)[0], 200)
        (f,) = self.taken("turkish", 1)
        udh, body = self.parted(f)
        self.assertEqual((f[14], shifts.decode(body, udh)), (0, turkish))
        self.assertEqual(send("gsm7", turkish)[0], 200)
        self.assertEqual({f[14] for f in self.taken("gsm7", 2)}, {8})
        status, answer = send("gsm7", "x" * 613)
        self.assertEqual((status, answer["errors"][0]["code"]), (422, "MESSAGE_TOO_LONG"))


class Crash(SynchronousTestCase):
    def test_receipts_of_messages_in_another_number_of_pdus(self) -> None:
        """The gateway is killed between what it sent and the receipts for it."""
        gateway = Gateway(_ROUTES.split("[[route]]\nname = \"ascii\"")[0])  # the first three
        self.addCleanup(gateway.stop)
        for id in ("gsm7", "gsm7-packed", "latin1"):
            settings = 'alphabet = "latin1"' if id == "latin1" else 'long_messages = "payload"'
            gateway.simulate(id, "--delay", "1.5", settings=settings)
        gateway.accounts({"ahmad": ()})
        gateway.start()
        with Esme(gateway.smpp_port) as esme:
            self.assertEqual(esme.bind("ahmad", PASSWORD), 0)
            whole = esme.submitted("962788123456", b"x" * 200, source="gsm7", registered=1)[1]  # two segments, one PDU
            split = esme.submitted("962788123456", b"\x1be" * 75, source="latin1", registered=1)[1]  # one segment, two PDUs
            sql = "SELECT message_id, segments, parts FROM messages WHERE status = 'SENT' ORDER BY message_id"
            eventually(lambda: gateway.query(sql) == [(whole, 2, 1), (split, 1, 2)], "both sent", 20)
            gateway.kill9()
        gateway.restart()
        with Esme(gateway.smpp_port) as esme:
            self.assertEqual(esme.bind("ahmad", PASSWORD), 0)
            told = set()
            for _ in range(2):
                _, _, _, body = esme.wait(commands.DELIVER_SM)
                self.assertIn(b"stat:DELIVRD", body)
                told.add((fast.decode_sm(body, 0, len(body))[17] or {})[0x001E].rstrip(b"\0").decode())
            self.assertEqual(told, {whole, split})
        self.assertEqual(gateway.query("SELECT DISTINCT status FROM messages"), [("DELIVERED",)])
        self.assertEqual([s.taken().total() for s in gateway.simulators.values()], [1, 0, 2])
