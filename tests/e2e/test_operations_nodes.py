"""Operations where more than one node, a restart, or the SMSC's side of outbind is involved."""

from __future__ import annotations

import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, fast, statuses, times
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.framer import Framer
from protei_bulk.text.receipt import parse_receipt
from tests.e2e.test_operations import submit
from tests.support.esme import RESP, Esme, whole
from tests.support.gateway import PASSWORD, Gateway, eventually, free_port


class Scheduled(SynchronousTestCase):
    def test_goes_out_in_time_after_a_restart(self) -> None:
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        smsc = gateway.simulate("SMSC1")
        gateway.accounts({"ahmad": ()})
        gateway.start()
        due = time.time() + 6
        with Esme(gateway.smpp_port) as esme:
            self.assertEqual(0, esme.bind("ahmad", PASSWORD))
            schedule = {"schedule_delivery_time": times.absolute(due), "registered_delivery": 0}
            ids = [esme.ask(submit(f"9627900000{n:02d}", **schedule)).fields["message_id"] for n in range(20)]
        gateway.kill9()
        gateway.start()
        gateway.wait_empty()
        late = gateway.query(
            "SELECT extract(epoch FROM sent_at)::float8 - %s FROM messages WHERE message_id = ANY (%s)", (int(due), ids)
        )
        self.assertEqual(20, len(smsc.taken()))
        self.assertTrue(all(seconds >= 0 for (seconds,) in late), late)


class TwoNodes(SynchronousTestCase):
    def test_one_cancels_what_the_other_holds(self) -> None:
        first = Gateway()
        self.addCleanup(first.stop)
        smsc = first.simulate("SMSC1", "--late", "1", settings="window = 1")
        first.accounts({"ahmad": ()})
        first.start()
        second = Gateway()
        self.addCleanup(second.stop)
        second.dsn, second.simulators, second._smsc_settings = first.dsn, dict(first.simulators), first._smsc_settings
        second.write_config()
        second.config.write_text(second.config.read_text().replace('name = "e2e"', 'name = "other"'))
        second.start()
        with Esme(first.smpp_port) as here, Esme(second.smpp_port) as there:
            self.assertEqual(0, here.bind("ahmad", PASSWORD, commands.BIND_TRANSMITTER))
            self.assertEqual(0, there.bind("ahmad", PASSWORD, commands.BIND_TRANSCEIVER))
            dests = {here.ask(submit(str(962790000000 + n))).fields["message_id"]: str(962790000000 + n) for n in range(30)}
            # By its id, then all of one recipient, out of the memory of the node that has accepted them.
            by_id, by_dest = list(dests)[-1], list(dests)[-2]
            self.assertEqual(0, there.ask(Pdu(commands.CANCEL_SM, fields={"message_id": by_id})).status)
            fields = {"source_addr": "MyCompany", "destination_addr": dests[by_dest]}
            self.assertEqual(0, there.ask(Pdu(commands.CANCEL_SM, fields=fields)).status)
            for id in (by_id, by_dest):
                self.assertEqual(4, here.ask(Pdu(commands.QUERY_SM, fields={"message_id": id})).fields["message_state"])
            self.assertEqual(0, there.ask(Pdu(commands.CANCEL_SM, fields={"message_id": list(dests)[10]})).status)
            replaced = there.ask(Pdu(commands.REPLACE_SM, fields={"message_id": list(dests)[11], "short_message": b"other"}))
            self.assertEqual(0, replaced.status)
            told = set()
            while len(told) < 3:
                pdu = there.delivered()
                receipt = parse_receipt(pdu.fields["short_message"], pdu.tlvs, pdu.fields["esm_class"])
                assert receipt is not None
                if receipt.stat == "DELETED":
                    told.add(receipt.id)
            self.assertEqual({by_id, by_dest, list(dests)[10]}, told)
        second.terminate()
        eventually(lambda: len(smsc.taken()) >= 5, "some sent")
        self.assertEqual([0, 0, 0], [smsc.taken()[dests[id]] for id in (by_id, by_dest, list(dests)[10])])


class Outbind(SynchronousTestCase):
    def test_an_esme_is_asked_to_fetch_its_receipts(self) -> None:
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        gateway.simulate("SMSC1")
        gateway.accounts({"ahmad": ()})
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(30)
            port = listener.getsockname()[1]
            setting = gateway.administer("user", "set", "ahmad", "outbind_host=127.0.0.1", f"outbind_port={port}", "outbind_password=pw")
            self.assertEqual(0, setting.wait(60))
            gateway.start()
            with Esme(gateway.smpp_port) as esme:
                self.assertEqual(0, esme.bind("ahmad", PASSWORD, commands.BIND_TRANSMITTER))
                id = esme.ask(submit("962790000001")).fields["message_id"]
            eventually(lambda: gateway.query("SELECT 1 FROM tbl_deliver_outbox"), "a receipt waits")
            connection, _ = listener.accept()
            with Esme.__new__(Esme) as esme:
                esme.socket, esme.framer, esme.answers, esme.sequence, esme.got = connection, Framer(), True, 0, []
                connection.settimeout(20)
                outbind = whole(esme.wait(commands.OUTBIND))
                self.assertEqual({"system_id": "protei-bulk", "password": "pw"}, outbind.fields)
                self.assertEqual(0, esme.bind("ahmad", PASSWORD, commands.BIND_RECEIVER))
                self.assertIn(f"id:{id} ".encode(), esme.delivered().fields["short_message"])
        eventually(lambda: not gateway.query("SELECT 1 FROM tbl_deliver_outbox"), "settled")

    def test_an_smsc_asks_us(self) -> None:
        port = free_port()
        gateway = Gateway("""
[[mo]]
name = "alerts"
[mo.match]
dest = ["12345"]
[mo.to]
user = "ahmad"
""")
        self.addCleanup(gateway.stop)
        gateway.simulate(
            "SMSC1", "--delay", "3600",
            settings=f'bind = "transmitter"\noutbind_listen = "tcp:{port}:interface=127.0.0.1"\noutbind_password = "pw"',
        )  # fmt: skip
        gateway.accounts({"ahmad": ()})
        gateway.start()
        with Esme(gateway.smpp_port) as esme:
            self.assertEqual(0, esme.bind("ahmad", PASSWORD))
            id = esme.ask(submit("962790000001")).fields["message_id"]
            eventually(lambda: gateway.query("SELECT 1 FROM messages WHERE status = 'SENT'"), "sent")
            [(smsc_id,)] = gateway.query("SELECT smpp_msg_id FROM messages")
            with Esme(port, answers=False) as stranger:
                stranger.send(encode(Pdu(commands.OUTBIND, 0, 1, {"system_id": "any", "password": "wrong"})))
                self.assertEqual([], stranger.ends())
            with Esme(port, answers=False) as smsc:
                smsc.send(encode(Pdu(commands.OUTBIND, 0, 1, {"system_id": "any", "password": "pw"})))
                bind = whole(smsc.wait(commands.BIND_RECEIVER))
                self.assertEqual("gateway", bind.fields["system_id"])
                smsc.send(encode(Pdu(commands.BIND_RECEIVER | RESP, 0, bind.sequence, {"system_id": "smsc"})))
                text = f"id:{smsc_id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 stat:DELIVRD err:000 text:".encode()
                addresses = (1, 1, "962790000001", 5, 0, "MyCompany")
                smsc.send(fast.encode_sm(commands.DELIVER_SM, 9, b"", *addresses, 4, 0, 0, b"", b"", 0, 0, 0, 0, text))
                self.assertEqual(statuses.ESME_ROK, smsc.wait(commands.DELIVER_SM | RESP, 9)[1])
                self.assertIn(f"id:{id} ".encode(), esme.delivered().fields["short_message"])
                smsc.send(encode(Pdu(commands.ALERT_NOTIFICATION, 0, 10, {"source_addr": "962790000001", "esme_addr": "12345"})))
                self.assertEqual("962790000001", whole(esme.wait(commands.ALERT_NOTIFICATION)).fields["source_addr"])
