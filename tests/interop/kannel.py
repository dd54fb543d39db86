"""Kannel: a bearerbox with an SMPP connection to each port given, and a smsbox that takes messages by HTTP."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from tests.support import programs
from tests.support.gateway import PASSWORD, eventually, free_port
from tests.support.programs import Program, Tree
from tests.support.web import Web

PACKAGES = ("kannel", "kannel-extras")


@frozen
class Account:
    """One SMPP connection of the bearerbox."""

    user: str
    port: int
    certificate: Path | None = None  # of the other side: over TLS then


class Kannel:
    """Started by its making, ended by `stop`. `web.asked` has the receipts (/dlr) and the messages from mobiles (/mo)."""

    def __init__(self, accounts: Mapping[str, Account], *, reply: str = "") -> None:
        """`reply` is what the smsbox answers to each message from a mobile, instead of telling `web`."""
        self.tree: Tree = programs.debian(*PACKAGES)
        self.folder = Path(tempfile.mkdtemp(prefix="protei-kannel-"))
        self.web = Web()
        self._dummy = socket.socket()
        self.box_port, self.admin_port, self.sms_port = free_port(), free_port(), free_port()
        self.accounts, self.reply = accounts, reply
        config = self.folder / "kannel.conf"
        config.write_text(self._configuration())
        self.processes = [
            Program(self.folder, name, self.tree.command(f"usr/sbin/{name}", str(config))) for name in ("bearerbox", "smsbox")
        ]
        try:
            for process, port in zip(self.processes, (self.box_port, self.sms_port), strict=True):
                process.start()
                eventually(lambda process=process, port=port: self._listens(process, port), f"{process.log.stem} listening")
            eventually(lambda: self._status().count("<status>online") == len(accounts), "bound")
        except AssertionError as error:
            said = self.processes[0].last_lines()
            self.stop()
            raise AssertionError(f"{error}\n{said}") from None

    def send(self, account: str, fields: Mapping[str, object]) -> str:
        """By the sendsms interface, with a receipt to /dlr; what it answers. `fields` as Kannel names them."""
        url = f"{self.web.url}/dlr?kind=%d&id=%F&to=%p&from=%P&text=%A"
        query = {"username": "tester", "password": "secret", "smsc": account, "charset": "UTF-8", "dlr-mask": 31, "dlr-url": url, **fields}
        return self._get(f"http://127.0.0.1:{self.sms_port}/cgi-bin/sendsms?" + urllib.parse.urlencode(query))

    def drive(self, port: int, count: int) -> Program:
        """Kannel's drive_smpp, started: an SMSC on this port that sends so many messages from a mobile."""
        # It ends when nobody listens where it expects a bearerbox, and takes no other port for that. What listens need
        # not answer. Others who run this test share the port, and somebody else's listener does as well.
        with contextlib.suppress(OSError):
            self._dummy.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._dummy.bind(("127.0.0.1", 13001))
            self._dummy.listen(64)
        arguments = ("-p", str(port), "-m", str(count), "-v", "0")
        program = Program(self.folder, "drive_smpp", self.tree.command("usr/lib/kannel/test/drive_smpp", *arguments))
        program.start()
        return program

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.end(signal.SIGKILL)
        self._dummy.close()
        self.web.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listens(self, process: Program, port: int) -> bool:
        if not process.running:
            raise AssertionError(f"{process.log.stem} ended:\n{process.last_lines()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def _status(self) -> str:
        return self._get(f"http://127.0.0.1:{self.admin_port}/status.xml?password=secret")

    def _get(self, url: str) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=20) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()

    def _configuration(self) -> str:
        text = f"""
group = core
admin-port = {self.admin_port}
admin-interface = 127.0.0.1
admin-password = secret
admin-allow-ip = 127.0.0.1
smsbox-port = {self.box_port}
smsbox-interface = 127.0.0.1
box-allow-ip = 127.0.0.1
dlr-storage = internal
log-level = 0
"""
        for name, account in self.accounts.items():
            text += f"""
group = smsc
smsc = smpp
smsc-id = {name}
allowed-smsc-id = {name}
host = 127.0.0.1
port = {account.port}
transceiver-mode = true
smsc-username = {account.user}
smsc-password = {PASSWORD[:8]}
system-type = ""
reconnect-delay = 1
"""
            if account.certificate is not None:
                text += "use-ssl = true\n"
        told = f'get-url = "{self.web.url}/mo?from=%p&to=%P&text=%b&coding=%c&udh=%u&smsc=%i"\nmax-messages = 0'
        service = f'text = "{self.reply}"\nmax-messages = 1' if self.reply else told
        return text + f"""
group = smsbox
bearerbox-host = 127.0.0.1
bearerbox-port = {self.box_port}
sendsms-port = {self.sms_port}
sendsms-interface = 127.0.0.1
log-level = 0

group = sendsms-user
username = tester
password = secret
concatenation = true
max-messages = 10
user-allow-ip = 127.0.0.1

group = sms-service
keyword = default
catch-all = true
assume-plain-text = true
{service}
"""
