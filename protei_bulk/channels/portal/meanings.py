"""What error codes of messages mean, in words.

Ours are words. A number is an SMPP command_status (SMPP 3.4, section 5.1.3) where the SMSC refused the message, and what the mobile
network said where it came in a receipt: networks do not agree on these, most use the numbers of MAP (3GPP TS 29.002, section 17.6).
"""

from __future__ import annotations

from collections.abc import Callable

from protei_bulk.smpp import statuses


def _n(text: str) -> str:
    """Marks a text for the catalogues."""
    return text


_OURS = {
    "NO_ROUTE": _n("No rule of routing takes this recipient."),
    "NO_ALLOWED_SMSC": _n("None of the SMSCs that this account may use was there."),
    "NO_ACCOUNT": _n("The account was deleted before the message went out."),
    "EXPIRED": _n("Its validity ended before it could be delivered."),
    "TOO_LONG": _n("It is longer than the SMSC takes."),
    "NOANSWER": _n("The SMSC did not answer, and nobody knows whether it has the message."),
    "OPTED_OUT": _n("The recipient does not want messages from this customer."),
    "BLACKLISTED": _n("The number is on a blacklist."),
    "CANCELLED": _n("It was cancelled before it went out."),
}  # fmt: skip
_NETWORK = {
    1: _n("Unknown subscriber: the number is not in use."), 5: _n("Unidentified subscriber."), 6: _n("The subscriber is absent."),
    8: _n("Roaming is not allowed."), 9: _n("Illegal subscriber."), 10: _n("The bearer service is not provisioned."),
    11: _n("The subscription does not allow messages."), 12: _n("The phone is barred."), 13: _n("The subscriber has barred messages."),
    21: _n("The network does not support it."), 27: _n("The phone is switched off or out of reach."), 28: _n("Incompatible terminal."),
    31: _n("The phone is busy with another message."), 32: _n("The phone has no room for messages, or refused this one."),
    34: _n("A failure within the network."), 36: _n("The network sent data that nobody expected."),
}  # fmt: skip
_STATUS = {
    statuses.ESME_RINVMSGLEN: _n("The length of the message is not allowed."),
    statuses.ESME_RINVSRCADR: _n("The sender is not allowed there."),
    statuses.ESME_RINVDSTADR: _n("The SMSC does not take this recipient."), statuses.ESME_RSYSERR: _n("A failure within the SMSC."),
    statuses.ESME_RMSGQFUL: _n("The queue of the SMSC was full."), statuses.ESME_RTHROTTLED: _n("Faster than the SMSC allows."),
    statuses.ESME_RSUBMITFAIL: _n("The SMSC refused it and did not say why."),
    statuses.ESME_RINVEXPIRY: _n("The SMSC does not take its validity."),
    statuses.ESME_RINVDCS: _n("The SMSC does not take its coding."),
}  # fmt: skip


def meaning(code: str | None, refused: bool, translate: Callable[[str], str]) -> str:
    """`refused`: by the SMSC at once, without a receipt. "" for no error and for what nobody can say."""
    if not code or not code.strip("0"):
        return ""
    if code in _OURS:
        return translate(_OURS[code])
    if not (code.isascii() and code.isdigit()) or len(code) > 9:
        return ""
    number = int(code)
    if refused:
        words = translate(_STATUS[number]) if number in _STATUS else ""
        return f"{statuses.name(number)} {words}".strip()
    return translate(_NETWORK[number]) if number in _NETWORK else ""
