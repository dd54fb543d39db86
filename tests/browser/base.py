"""The gateway that all browser tests share, with believable traffic in it; and their case."""

from __future__ import annotations

import atexit
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.browser import DESKTOP, Reader, executable
from tests.support.campaigns import plan
from tests.support.gateway import Gateway, _output, eventually
from tests.support.once import Once

#: what would run if a page put it where markup is read
SCRIPT = "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"


def _make() -> Gateway:
    executable()  # before a gateway is started for nothing
    gateway = Gateway('[[mo]]\nname = "all"\nto = { user = "ahmad" }')
    atexit.register(gateway.stop)
    gateway.simulate("SMSC1", "--mo-text", f"Yes please {SCRIPT}", "--mo-every", "0.2", "--mo-count", "2")
    gateway.accounts(
        {
            "ahmad": (), "sami": (), "chief": ("--role", "ADMIN", "--bind-type", "both"),
            "salma": ("--role", "CUSTOMER_ADMIN"), "huda": ("--role", "CUSTOMER_ADMIN"),
        },
        keys=("ahmad",),
    )  # fmt: skip
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace("[access]\n", '[access]\nsecond_factor = ["CUSTOMER_ADMIN"]\n', 1))
    gateway.start()
    rule, number = ("order=10", "to=SMSC1", "match.prefix=96279"), "962799999999"
    for command in (("route", "add", "zain", *rule), ("optout", "add", number, "--customer", "Demo"), ("blacklist", "add", number)):
        _output(gateway.administer(*command))
    _prepare(gateway)
    send(gateway, 12, "Your order is ready. Show this message at the counter.", "Orders of the morning")
    send(gateway, 3, "مرحبا، طلبك جاهز", f"Evening {SCRIPT}")
    gateway.wait_empty()
    return gateway


def _prepare(gateway: Gateway) -> None:
    """One of each thing that a page shows and nothing sends."""
    of_demo = "SELECT id, {} FROM customers WHERE name = 'Demo'"
    names = f"Friends {SCRIPT}"
    gateway.execute("UPDATE customers SET default_country = 'JO' WHERE name = 'Demo'")
    gateway.execute(f"INSERT INTO message_templates (customer_id, name, text) {of_demo.format('%s, %s')}", (names, f"Hi %NAME% {SCRIPT}"))
    gateway.execute(f"INSERT INTO contact_lists (customer_id, name, groups) {of_demo.format('%s, %s')}", (names, json.dumps([names])))
    gateway.execute("INSERT INTO contacts (list_id, msisdn, name) SELECT list_id, '962790000001', %s FROM contact_lists", (names,))
    for state in ("DRAFT", "PENDING_APPROVAL"):
        plan(gateway.dsn, ["962790000001"], name=f"{state} {SCRIPT}", state=state)


def send(gateway: Gateway, count: int, text: str, campaign: str, **more: Any) -> dict[str, Any]:
    recipients = [{"msisdn": f"96279{n:07d}"} for n in range(count)]
    body = {"sender": "MyCompany", "recipients": recipients, "message": text, "encoding": "AUTO", "campaign_name": campaign, **more}
    status, said = gateway.post("/api/sendBulk", "ahmad", json.dumps(body))
    if status >= 300:
        raise AssertionError(f"{status}: {said}")
    return dict(said)


the_gateway = Once(_make)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway: Gateway = the_gateway()

    def reader(self, name: str = "", *, width: int = DESKTOP, language: str = "en", theme: str = "light") -> Reader:
        """Somebody who has logged in under this name, or not."""
        reader = Reader(self, self.gateway.url, width=width, language=language, theme=theme)
        if name:
            reader.login(name)
        return reader

    def a_message(self) -> str:
        """The id of one that was delivered."""
        sql = "SELECT message_id FROM messages WHERE status = 'DELIVERED' LIMIT 1"
        return str(eventually(lambda: self.gateway.query(sql), "a message delivered")[0][0])
