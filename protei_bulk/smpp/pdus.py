"""The layout of every PDU of SMPP 3.4 (section 4) and 5.0 (section 4) as data: encoder and decoder both walk it."""

from __future__ import annotations

from protei_bulk.smpp import commands as c
from protei_bulk.smpp import statuses as s
from protei_bulk.smpp.fields import CString, Destinations, Failures, FieldSpec, Octets, Whole

_MESSAGE_ID = CString("message_id", 64, s.ESME_RINVMSGID)
_SERVICE = CString("service_type", 5, s.ESME_RINVSERTYP)
_SOURCE: tuple[FieldSpec, ...] = (
    Whole("source_addr_ton"),
    Whole("source_addr_npi"),
    CString("source_addr", 20, s.ESME_RINVSRCADR),
)
_SOURCE_65: tuple[FieldSpec, ...] = (
    Whole("source_addr_ton"),
    Whole("source_addr_npi"),
    CString("source_addr", 64, s.ESME_RINVSRCADR),
)
_DEST: tuple[FieldSpec, ...] = (
    Whole("dest_addr_ton"),
    Whole("dest_addr_npi"),
    CString("destination_addr", 20, s.ESME_RINVDSTADR),
)
_DEST_65: tuple[FieldSpec, ...] = (
    Whole("dest_addr_ton"),
    Whole("dest_addr_npi"),
    CString("destination_addr", 64, s.ESME_RINVDSTADR),
)
_TIMES: tuple[FieldSpec, ...] = (
    CString("schedule_delivery_time", 16, s.ESME_RINVSCHED),
    CString("validity_period", 16, s.ESME_RINVEXPIRY),
)
_BODY: tuple[FieldSpec, ...] = (
    Whole("esm_class"),
    Whole("protocol_id"),
    Whole("priority_flag"),
    *_TIMES,
    Whole("registered_delivery"),
    Whole("replace_if_present_flag"),
    Whole("data_coding"),
    Whole("sm_default_msg_id"),
    Octets("short_message"),
)
_BIND: tuple[FieldSpec, ...] = (
    CString("system_id", 15, s.ESME_RINVSYSID),
    CString("password", 64, s.ESME_RINVPASWD),
    CString("system_type", 12, s.ESME_RINVSYSTYP),
    Whole("interface_version", default=0x34),
    Whole("addr_ton"),
    Whole("addr_npi"),
    CString("address_range", 40),
)
_BIND_RESP: tuple[FieldSpec, ...] = (CString("system_id", 15),)
_SM: tuple[FieldSpec, ...] = (_SERVICE, *_SOURCE, *_DEST, *_BODY)

#: mandatory fields; optional parameters may follow any of them
LAYOUTS: dict[int, tuple[FieldSpec, ...]] = {
    c.BIND_RECEIVER: _BIND,
    c.BIND_TRANSMITTER: _BIND,
    c.BIND_TRANSCEIVER: _BIND,
    c.BIND_RECEIVER | c.RESP: _BIND_RESP,
    c.BIND_TRANSMITTER | c.RESP: _BIND_RESP,
    c.BIND_TRANSCEIVER | c.RESP: _BIND_RESP,
    c.OUTBIND: (CString("system_id", 15), CString("password", 64)),
    c.UNBIND: (),
    c.UNBIND | c.RESP: (),
    c.GENERIC_NACK: (),
    c.ENQUIRE_LINK: (),
    c.ENQUIRE_LINK | c.RESP: (),
    c.SUBMIT_SM: _SM,
    c.SUBMIT_SM | c.RESP: (_MESSAGE_ID,),
    c.DELIVER_SM: _SM,
    c.DELIVER_SM | c.RESP: (_MESSAGE_ID,),
    c.SUBMIT_MULTI: (_SERVICE, *_SOURCE, Destinations("destinations"), *_BODY),
    c.SUBMIT_MULTI | c.RESP: (_MESSAGE_ID, Failures("unsuccess_smes")),
    c.DATA_SM: (
        _SERVICE,
        *_SOURCE_65,
        *_DEST_65,
        Whole("esm_class"),
        Whole("registered_delivery"),
        Whole("data_coding"),
    ),
    c.DATA_SM | c.RESP: (_MESSAGE_ID,),
    c.QUERY_SM: (_MESSAGE_ID, *_SOURCE),
    c.QUERY_SM | c.RESP: (
        _MESSAGE_ID,
        CString("final_date", 16),
        Whole("message_state"),
        Whole("error_code"),
    ),
    c.CANCEL_SM: (_SERVICE, _MESSAGE_ID, *_SOURCE, *_DEST),
    c.CANCEL_SM | c.RESP: (),
    c.REPLACE_SM: (
        _MESSAGE_ID,
        *_SOURCE,
        *_TIMES,
        Whole("registered_delivery"),
        Whole("sm_default_msg_id"),
        Octets("short_message"),
    ),
    c.REPLACE_SM | c.RESP: (),
    c.ALERT_NOTIFICATION: (
        *_SOURCE_65,
        Whole("esme_addr_ton"),
        Whole("esme_addr_npi"),
        CString("esme_addr", 64),
    ),
    # 5.0 section 4.4
    c.BROADCAST_SM: (
        _SERVICE,
        *_SOURCE,
        _MESSAGE_ID,
        Whole("priority_flag"),
        *_TIMES,
        Whole("replace_if_present_flag"),
        Whole("data_coding"),
        Whole("sm_default_msg_id"),
    ),
    c.BROADCAST_SM | c.RESP: (_MESSAGE_ID,),
    c.QUERY_BROADCAST_SM: (_MESSAGE_ID, *_SOURCE),
    c.QUERY_BROADCAST_SM | c.RESP: (_MESSAGE_ID,),
    c.CANCEL_BROADCAST_SM: (_SERVICE, _MESSAGE_ID, *_SOURCE),
    c.CANCEL_BROADCAST_SM | c.RESP: (),
}
