"""smpp.pdu3 as oracle: what it encodes we read as it was meant, and what we encode it reads likewise, octet for octet.

Left out is what it cannot do: submit_multi, replace_sm, and optional parameters for which it has no encoder.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from smpp.pdu import constants, operations, pdu_types, smpp_time
from smpp.pdu.pdu_encoding import PDUEncoder
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import codec, commands, fast, tags, times
from protei_bulk.smpp.codec import Pdu

Pair = tuple[Any, Any]  # a value as smpp.pdu3 has it, and as we have it
Pairs = st.SearchStrategy[Pair]


def named(kind: Any, values: dict[str, int]) -> Pairs:
    """One of an enumeration."""
    return st.sampled_from([(kind[name], value) for name, value in values.items()])


def whole(least: int, most: int) -> Pairs:
    return st.integers(least, most).map(lambda n: (n, n))


def cstring(most: int) -> Pairs:
    octets = st.binary(max_size=most).map(lambda b: b.replace(b"\0", b"x"))
    return octets.map(lambda b: (b, b.decode("latin-1")))


def _time(moment: datetime, quarters: int) -> Pair:
    theirs = moment.replace(tzinfo=smpp_time.FixedOffset(15 * quarters) if quarters else None)
    tenth = moment.microsecond // 100_000
    return theirs, f"{moment:%y%m%d%H%M%S}{tenth}{abs(quarters):02}{'-' if quarters < 0 else '+'}"


moments = st.datetimes(datetime(2001, 1, 2), datetime(2067, 12, 30)).map(
    lambda d: d.replace(microsecond=d.microsecond // 100_000 * 100_000)
)
absolute = st.builds(_time, moments, st.integers(-47, 48))
relative = st.tuples(*(st.integers(0, n) for n in (99, 11, 30, 23, 59, 59))).map(
    lambda t: (smpp_time.SMPPRelativeTime(*t), "{:02}{:02}{:02}{:02}{:02}{:02}000R".format(*t))
)
never: Pairs = st.just((None, ""))
time = never | absolute | relative


def _esm_class(mode: Pair, kind: Pair, features: list[Pair]) -> Pair:
    value = mode[1] | kind[1]
    for _, bit in features:
        value |= bit
    return pdu_types.EsmClass(mode[0], kind[0], [f for f, _ in features]), value


def _registered(receipt: Pair, acks: list[Pair], intermediate: bool) -> Pair:
    value = receipt[1] | 0x10 * intermediate
    for _, bit in acks:
        value |= bit
    return pdu_types.RegisteredDelivery(receipt[0], [a for a, _ in acks], intermediate), value


def _message_class(coding: Pair, kind: Pair) -> Pair:
    data = pdu_types.DataCodingGsmMsg(coding[0], kind[0])
    return pdu_types.DataCoding(pdu_types.DataCodingScheme.GSM_MESSAGE_CLASS, data), 0xF0 | coding[1] | kind[1]


ton = named(pdu_types.AddrTon, constants.addr_ton_name_map)
npi = named(pdu_types.AddrNpi, constants.addr_npi_name_map)
coding = named(pdu_types.DataCodingDefault, constants.data_coding_default_name_map).map(
    lambda p: (pdu_types.DataCoding(pdu_types.DataCodingScheme.DEFAULT, p[0]), p[1])
) | st.builds(
    _message_class,
    named(pdu_types.DataCodingGsmMsgCoding, constants.data_coding_gsm_message_coding_name_map),
    named(pdu_types.DataCodingGsmMsgClass, constants.data_coding_gsm_message_class_name_map),
)

FIELDS: dict[str, Pairs] = {
    "system_id": cstring(15),
    "password": cstring(8),
    "system_type": cstring(12),
    "interface_version": whole(0, 255),
    "addr_ton": ton,
    "addr_npi": npi,
    "address_range": cstring(40),
    "service_type": cstring(5),
    "source_addr_ton": ton,
    "source_addr_npi": npi,
    "source_addr": cstring(20),
    "dest_addr_ton": ton,
    "dest_addr_npi": npi,
    "destination_addr": cstring(20),
    "esme_addr_ton": ton,
    "esme_addr_npi": npi,
    "esme_addr": cstring(64),
    "esm_class": st.builds(
        _esm_class,
        named(pdu_types.EsmClassMode, constants.esm_class_mode_name_map),
        named(pdu_types.EsmClassType, constants.esm_class_type_name_map),
        st.lists(named(pdu_types.EsmClassGsmFeatures, constants.esm_class_gsm_features_name_map), unique=True),
    ),
    "protocol_id": whole(0, 255),
    "priority_flag": named(pdu_types.PriorityFlag, constants.priority_flag_name_map),
    "schedule_delivery_time": time,
    "validity_period": time,
    "final_date": time,
    "registered_delivery": st.builds(
        _registered,
        named(pdu_types.RegisteredDeliveryReceipt, constants.registered_delivery_receipt_name_map),
        st.lists(
            named(pdu_types.RegisteredDeliverySmeOriginatedAcks, constants.registered_delivery_sme_originated_acks_name_map), unique=True
        ),
        st.booleans(),
    ),
    "replace_if_present_flag": named(pdu_types.ReplaceIfPresentFlag, constants.replace_if_present_flap_name_map),
    "data_coding": coding,
    "sm_default_msg_id": whole(0, 254),
    "short_message": st.binary(max_size=254).map(lambda b: (b, b)),
    "message_id": cstring(64),
    "message_state": named(pdu_types.MessageState, constants.message_state_name_map),
    "error_code": whole(1, 255) | st.just((None, 0)),
}
#: where a PDU has it otherwise
PECULIAR: dict[tuple[str, str], Pairs] = {
    ("deliver_sm", "schedule_delivery_time"): never,
    ("deliver_sm_resp", "message_id"): st.just((None, "")),
    ("data_sm", "source_addr"): cstring(64),
    ("data_sm", "destination_addr"): cstring(64),
    ("alert_notification", "source_addr"): cstring(64),
}


def octets(pairs: Pairs, size: int = 1) -> Pairs:
    """Of a whole number, as the value of an optional parameter."""
    return pairs.map(lambda p: (p[0], p[1].to_bytes(size, "big")))


def raw(least: int, most: int) -> Pairs:
    return st.binary(min_size=least, max_size=most).map(lambda b: (b, b))


def ended(most: int) -> Pairs:
    return cstring(most).map(lambda p: (p[0], p[0] + b"\0"))


def _subaddress(kind: Pair, value: bytes) -> Pair:
    return pdu_types.Subaddress(kind[0], value), bytes((kind[1],)) + value


def _callback(mode: Pair, number_ton: Pair, number_npi: Pair, digits: bytes) -> Pair:
    value = pdu_types.CallbackNum(mode[0], number_ton[0], number_npi[0], digits)
    return value, bytes((mode[1], number_ton[1], number_npi[1])) + digits


subunit = octets(named(pdu_types.AddrSubunit, constants.addr_subunit_name_map))
network = octets(named(pdu_types.NetworkType, constants.network_type_name_map))
bearer = octets(named(pdu_types.BearerType, constants.bearer_type_name_map))
subaddress = st.builds(
    _subaddress, named(pdu_types.SubaddressTypeTag, constants.subaddress_type_tag_name_map), st.binary(min_size=1, max_size=22)
)
octet, two = octets(whole(0, 255)), octets(whole(0, 0xFFFF), 2)
TLVS: dict[str, Pairs] = {
    "dest_addr_subunit": subunit,
    "source_addr_subunit": subunit,
    "dest_network_type": network,
    "source_network_type": network,
    "dest_bearer_type": bearer,
    "source_bearer_type": bearer,
    "dest_telematics_id": two,
    "qos_time_to_live": octets(whole(0, 0xFFFFFFFF), 4),
    "payload_type": octets(named(pdu_types.PayloadType, constants.payload_type_name_map)),
    "additional_status_info_text": ended(255),
    "receipted_message_id": ended(64),
    "privacy_indicator": octets(named(pdu_types.PrivacyIndicator, constants.privacy_indicator_name_map)),
    "source_subaddress": subaddress,
    "dest_subaddress": subaddress,
    "user_message_reference": two,
    "user_response_code": octet,
    "language_indicator": octets(named(pdu_types.LanguageIndicator, constants.language_indicator_name_map)),
    "source_port": two,
    "destination_port": two,
    "sar_msg_ref_num": two,
    "sar_total_segments": octet,
    "sar_segment_seqnum": octet,
    "sc_interface_version": octet,
    "display_time": octets(named(pdu_types.DisplayTime, constants.display_time_name_map)),
    "ms_availability_status": octets(named(pdu_types.MsAvailabilityStatus, constants.ms_availability_status_name_map)),
    "network_error_code": raw(3, 3),
    "message_payload": raw(1, 1500),
    "delivery_failure_reason": octets(named(pdu_types.DeliveryFailureReason, constants.delivery_failure_reason_name_map)),
    "more_messages_to_send": octets(named(pdu_types.MoreMessagesToSend, constants.more_messages_to_send_name_map)),
    "message_state": octets(named(pdu_types.MessageState, constants.message_state_name_map)),
    "callback_num": st.builds(
        _callback,
        named(pdu_types.CallbackNumDigitModeIndicator, constants.callback_num_digit_mode_indicator_name_map),
        ton,
        npi,
        st.binary(min_size=1, max_size=16),
    ),
    "number_of_messages": octets(whole(0, 99)),
    "sms_signal": raw(2, 2),
}
KINDS: list[str] = sorted(
    kind.commandId.name for kind in operations.PDUS.values()
    if kind.commandId is not None and all(name in FIELDS for name in kind.mandatoryParams)
)  # fmt: skip
OK = pdu_types.CommandStatus.ESME_ROK
STATUSES = {n: v for n, v in constants.command_status_name_map.items() if 0 < v <= 0xFF}
#: tags that makers use for their own (SMPP 3.4 section 5.3.2); smpp.pdu3 writes them and skips them when it reads
vendors = st.dictionaries(st.integers(0x1400, 0x3FFF), st.binary(min_size=1, max_size=30), max_size=3)


def number(kind: str) -> int:
    """command_id"""
    return int(constants.command_id_name_map[kind])


@st.composite
def requests(draw: Callable[[Any], Any], kind: str) -> tuple[Any, Pdu]:
    """One PDU of this kind, as theirs and as ours."""
    cls = operations.PDUS[pdu_types.CommandId[kind]]
    sequence = draw(st.integers(1, 0xFFFFFFFF))
    fields = {name: draw(PECULIAR.get((kind, name), FIELDS[name])) for name in cls.mandatoryParams}
    available = [name for name in cls.optionalParams if name in TLVS]
    chosen = draw(st.sets(st.sampled_from(available), max_size=5)) if available else set()
    options = {name: draw(TLVS[name]) for name in available if name in chosen}
    theirs = cls(sequence, OK, **{name: pair[0] for name, pair in (fields | options).items()})
    # Names that are both, as message_state of query_sm_resp, exist in one place a PDU.
    ours = Pdu(
        number(kind), 0, sequence, {name: pair[1] for name, pair in fields.items()},
        {constants.tag_name_map[name]: pair[1] for name, pair in options.items()},
    )  # fmt: skip
    return theirs, ours


def written(pdu: Any) -> bytes:
    """Encoded by smpp.pdu3."""
    return bytes(PDUEncoder().encode(pdu))


def read(data: bytes) -> Any:
    """Decoded by smpp.pdu3, which prints what it reads."""
    with contextlib.redirect_stdout(io.StringIO()):
        return PDUEncoder().decode(io.BytesIO(data))


class Oracle(SynchronousTestCase):
    def test_the_kinds_there_are(self) -> None:
        every = {kind.name for kind in operations.PDUS if kind is not None}
        self.assertEqual(every - set(KINDS), {"submit_multi", "submit_multi_resp", "replace_sm"})
        for name, tag in constants.tag_name_map.items():
            if name in TLVS:
                self.assertEqual(tags.name(tag), name)

    def agree(self, kind: str) -> None:
        @given(requests(kind), vendors)
        def check(pair: tuple[Any, Pdu], private: dict[int, bytes]) -> None:
            theirs, ours = pair
            data = written(theirs)
            self.assertEqual(codec.decode(data), ours)
            self.assertEqual(codec.encode(ours), data)
            again = read(codec.encode(ours))
            self.assertEqual((again.id, again.seqNum, again.status), (theirs.id, theirs.seqNum, theirs.status))
            self.assertEqual(written(again), data)
            if ours.fields:  # a PDU without a body takes no parameters
                theirs.custom_tlvs = [(tag, None, "OctetString", value) for tag, value in private.items()]
                found = codec.decode(written(theirs))
                self.assertEqual((found.fields, found.tlvs), (ours.fields, ours.tlvs | private))

        check()

    def test_errors_without_a_body(self) -> None:
        for kind in ("bind_transmitter_resp", "bind_receiver_resp", "bind_transceiver_resp", "submit_sm_resp", "generic_nack"):
            for name, status in STATUSES.items():
                theirs = operations.PDUS[pdu_types.CommandId[kind]](7, pdu_types.CommandStatus[name])
                data = written(theirs)
                self.assertEqual(codec.decode(data), Pdu(number(kind), status, 7))
                self.assertEqual(fast.header(number(kind), status, 7), data)
                self.assertEqual(read(fast.header(number(kind), status, 7)).status, theirs.status)

    @given(requests("submit_sm"))
    def test_the_fast_decoder(self, pair: tuple[Any, Pdu]) -> None:
        theirs, ours = pair
        data = written(theirs)
        found = fast.decode_sm(data, 16, len(data))
        self.assertEqual(list(found[:17]), [ours.fields[name] for name in operations.SubmitSM.mandatoryParams])
        self.assertEqual(found[17] or {}, ours.tlvs)

    @given(requests("deliver_sm"))
    def test_the_fast_encoder(self, pair: tuple[Any, Pdu]) -> None:
        theirs, ours = pair
        f = [ours.fields[name] for name in operations.DeliverSM.mandatoryParams]
        data = fast.encode_sm(
            commands.DELIVER_SM, ours.sequence, f[0].encode("latin-1"), *f[1:10], f[10].encode(), f[11].encode(), *f[12:],
            fast.encode_tlvs(ours.tlvs),
        )  # fmt: skip
        self.assertEqual(data, written(theirs))

    @given(moments, st.integers(-47, 48))
    def test_absolute_times(self, moment: datetime, quarters: int) -> None:
        theirs, ours = _time(moment, quarters)
        self.assertEqual(smpp_time.unparse(theirs), ours.encode())
        unix = (moment - timedelta(minutes=15 * quarters)).replace(tzinfo=UTC).timestamp()
        self.assertEqual(times.parse(ours, 0.0), unix)

    @given(st.floats(1, 63 * 86_400))
    def test_relative_times(self, seconds: float) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            t = smpp_time.parse(times.relative(seconds))
        days = t.years * 365 + t.months * 30 + t.days
        self.assertEqual(timedelta(days, t.seconds, hours=t.hours, minutes=t.minutes), timedelta(seconds=int(seconds)))


def _test(kind: str) -> Callable[[Oracle], None]:
    return lambda self: self.agree(kind)


for _kind in KINDS:
    setattr(Oracle, f"test_{_kind}", _test(_kind))
