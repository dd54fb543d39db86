"""Hypothesis strategies made from the layouts themselves: any value that a field may hold."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from protei_bulk.smpp.codec import Pdu
from protei_bulk.smpp.fields import CString, Destinations, Failures, FieldSpec, Octets, Whole
from protei_bulk.smpp.pdus import LAYOUTS

octet = st.integers(0, 255)
words = st.integers(0, 0xFFFFFFFF)
tlvs = st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=20), max_size=4)


def text(most: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=most)


def value(spec: FieldSpec) -> st.SearchStrategy[Any]:
    if isinstance(spec, Whole):
        return st.integers(0, 256**spec.octets - 1)
    if isinstance(spec, CString):
        return text(spec.most)
    if isinstance(spec, Octets):
        return st.binary(max_size=255)
    if isinstance(spec, Destinations):
        return st.lists(st.one_of(text(20), st.tuples(octet, octet, text(20))), max_size=5)
    assert isinstance(spec, Failures)
    return st.lists(st.tuples(octet, octet, text(20), words), max_size=5)


def pdu(command_id: int) -> st.SearchStrategy[Pdu]:
    layout = LAYOUTS[command_id]
    fields = st.fixed_dictionaries({spec.name: value(spec) for spec in layout})
    return st.builds(Pdu, st.just(command_id), words, words, fields, tlvs if layout else st.just({}))


def pdus() -> st.SearchStrategy[Pdu]:
    return st.sampled_from(sorted(LAYOUTS)).flatmap(pdu)
