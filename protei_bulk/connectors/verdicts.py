"""What an SMSC's command_status to a submit_sm means for the message (SMPP 3.4 section 5.1.3, 5.0 section 4.7.6). Pure.

`[[smsc]] errors` says otherwise for one SMSC. A code that neither table knows, a vendor's own as a rule, is
permanent: a message must not circle for two days because of a code that nobody has looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from protei_bulk.smpp import statuses as s


class Verdict(Enum):
    """Values are the words of the settings."""

    PAUSE = "pause"  # slow down, and send the message again: no fault of anybody's
    RETRY = "retry"  # passes by itself: the next candidate now, or the same again later
    NEXT = "next"  # this SMSC will not have it: each other candidate once, then it is rejected
    REJECT = "reject"  # nobody will have it


def _each(verdict: Verdict, *codes: int) -> dict[int, Verdict]:
    return dict.fromkeys(codes, verdict)


DEFAULTS: Mapping[int, Verdict] = {
    # the same thing said by different makers: more than it takes now
    **_each(Verdict.PAUSE, s.ESME_RTHROTTLED, s.ESME_RMSGQFUL),
    # our bind is about to end, or the SMSC or what is behind it is ill for a while
    **_each(Verdict.RETRY, s.ESME_RINVBNDSTS, s.ESME_RSYSERR, s.ESME_RX_T_APPN, s.ESME_RSERTYPUNAVAIL),
    # fails without saying why: another SMSC may do better, the same one again hardly
    **_each(Verdict.NEXT, s.ESME_RSUBMITFAIL, s.ESME_RDELIVERYFAILURE, s.ESME_RUNKNOWNERR, s.ESME_RX_P_APPN, s.ESME_RX_R_APPN),
    # what our contract with this SMSC does not hold: sender, service, network, option
    **_each(
        Verdict.NEXT, s.ESME_RINVSRCADR, s.ESME_RINVSRCTON, s.ESME_RINVSRCNPI, s.ESME_RINVSERTYP, s.ESME_RINVSYSTYP,
        s.ESME_RPROVNOTALLWD, s.ESME_RPROHIBITED, s.ESME_RSERTYPUNAUTH, s.ESME_RSERTYPDENIED, s.ESME_ROPTPARNOTALLWD,
        s.ESME_RINVREGDLVFLG, s.ESME_RINVPRTFLG, s.ESME_RINVCMDID, s.ESME_RALYBND, s.ESME_RBINDFAIL, s.ESME_RINVPASWD,
        s.ESME_RINVSYSID,
    ),
    # the message itself: its length, recipient, coding, times, parameters
    **_each(
        Verdict.REJECT, s.ESME_RINVMSGLEN, s.ESME_RINVCMDLEN, s.ESME_RINVDSTADR, s.ESME_RINVDSTTON, s.ESME_RINVDSTNPI,
        s.ESME_RINVESMCLASS, s.ESME_RINVDCS, s.ESME_RINVSCHED, s.ESME_RINVEXPIRY, s.ESME_RINVDFTMSGID, s.ESME_RINVREPFLAG,
        s.ESME_RINVNUMMSGS, s.ESME_RINVOPTPARSTREAM, s.ESME_RINVPARLEN, s.ESME_RMISSINGOPTPARAM, s.ESME_RINVOPTPARAMVAL,
        s.ESME_RINVSRCADDRSUBUNIT, s.ESME_RINVDSTADDRSUBUNIT, s.ESME_RINVADR, s.ESME_RINVPARAM,
    ),
    # submit_multi, other operations, broadcasts: no answer to what we ask, so nothing that a second try would change
    **_each(
        Verdict.REJECT, s.ESME_RINVNUMDESTS, s.ESME_RINVDLNAME, s.ESME_RINVDESTFLAG, s.ESME_RINVSUBREP, s.ESME_RCNTSUBDL,
        s.ESME_RINVDLMEMBDESC, s.ESME_RINVDLMEMBTYP, s.ESME_RINVDLMODOPT, s.ESME_RINVMSGID, s.ESME_RCANCELFAIL,
        s.ESME_RREPLACEFAIL, s.ESME_RQUERYFAIL, s.ESME_RADDCUSTFAIL, s.ESME_RDELCUSTFAIL, s.ESME_RMODCUSTFAIL,
        s.ESME_RENQCUSTFAIL, s.ESME_RINVCUSTID, s.ESME_RINVCUSTNAME, s.ESME_RINVCUSTADR, s.ESME_RCUSTEXIST,
        s.ESME_RCUSTNOTEXIST, s.ESME_RADDDLFAIL, s.ESME_RMODDLFAIL, s.ESME_RDELDLFAIL, s.ESME_RVIEWDLFAIL,
        s.ESME_RLISTDLSFAIL, s.ESME_RPARAMRETFAIL, s.ESME_RINVBCASTFREQINT, s.ESME_RINVBCASTALIAS_NAME,
        s.ESME_RINVBCASTAREAFMT, s.ESME_RINVNUMBCAST_AREAS, s.ESME_RINVBCASTCNTTYPE, s.ESME_RINVBCASTMSGCLASS,
        s.ESME_RBCASTFAIL, s.ESME_RBCASTQUERYFAIL, s.ESME_RBCASTCANCELFAIL, s.ESME_RINVBCAST_REP, s.ESME_RINVBCASTSRVGRP,
        s.ESME_RINVBCASTCHANIND,
    ),
}  # fmt: skip


def verdicts(errors: Iterable[tuple[int, str]] = ()) -> Mapping[int, Verdict]:
    """The table of one SMSC; `errors` as its settings have them."""
    return {**DEFAULTS, **{code: Verdict(word) for code, word in errors}}


def verdict(status: int, table: Mapping[int, Verdict] = DEFAULTS) -> Verdict:
    """What a command_status means."""
    return table.get(status, Verdict.REJECT)
