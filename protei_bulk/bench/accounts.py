"""Many accounts at once, in a process of its own: `python -m protei_bulk.bench.accounts CONFIG COUNT`; their password on standard input.

The command line makes them one by one, each with a hash of its own; here they share one, and a known address (127.0.0.1),
as accounts have that were bound before.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from protei_bulk.access.passwords import password_hashes
from protei_bulk.bench.esme import SENDER
from protei_bulk.bench.stack import CUSTOMER
from protei_bulk.cli.node import Node
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.addresses import KnownAddressBook
from protei_bulk.store.pool import Database

_AT_A_TIME = 100


def name(number: int) -> str:
    return f"user{number}"


async def make(db: Database, count: int, hashes: dict[str, str | None]) -> None:
    """Users of the benchmark's customer, named by `name`."""
    accounts, book = Accounts(db), KnownAddressBook(db, reactor)
    for first in range(0, count, _AT_A_TIME):
        values = {"smpp_password_hash": hashes["smpp_password_hash"], "max_msg_per_day": 0, "allowed_sender_ids": [SENDER]}
        making: list[Deferred[int]] = [
            accounts.create_user(name(n), CUSTOMER, str(hashes["password_hash"]), values)
            for n in range(first, min(count, first + _AT_A_TIME))
        ]
        for user_id in await gatherResults(making):
            book.seen(user_id, "127.0.0.1")
    await book.drained()


def main(argv: Sequence[str]) -> int:
    node = Node(Path(argv[0]))
    hashes = password_hashes(sys.stdin.readline().rstrip("\n"), node.settings.access.bcrypt_cost)
    node.run(lambda db: make(db, int(argv[1]), hashes))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
