"""When the price of a message is the customer's no more. Pure.

It is taken from the balance with the acceptance, in the same transaction. SUBMIT: for good. ACCEPT: reserved until an SMSC
has taken the message. DELIVERY: reserved until it is delivered. What ends otherwise is released: it goes back to the balance.
"""

from __future__ import annotations

from collections.abc import Mapping

POLICIES = ("SUBMIT", "ACCEPT", "DELIVERY")

UNTIL_DELIVERED = "D"

#: policy -> messages.charge of a priced message; advance_messages() in the schema settles it
RESERVED: Mapping[str, str | None] = {"SUBMIT": None, "ACCEPT": "A", "DELIVERY": UNTIL_DELIVERED}
