"""Parts put together: in their order, the missing ones left out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protei_bulk.inbound.message import Mo, set_text


def join(parts: Sequence[tuple[Any, ...]]) -> Mo:
    """The message of one set; `parts` are rows of InboundStore.sets(), at least one, by number.

    Its header and TLVs are those of the first part. Parts that differ in data_coding become text in UCS-2.
    """
    m = Mo()
    m.id, m.smsc, m.source, m.dest, _, m.reference, m.parts, have, _, types, m.data_coding, m.esm_class, m.protocol_id, udh, *_ = parts[0]
    m.missing = m.parts - have
    m.source_ton, m.source_npi, m.dest_ton, m.dest_npi = types >> 24 & 255, types >> 16 & 255, types >> 8 & 255, types & 255
    m.udh = udh or b""
    m.tlvs = {int(tag): bytes.fromhex(value) for tag, value in (parts[0][15] or {}).items()}
    m.received = max(row[16] for row in parts)
    if all(row[10] == m.data_coding for row in parts):
        m.body = b"".join([row[14] for row in parts])
        set_text(m)
        return m
    texts = []
    for row in parts:
        m.body, m.data_coding = row[14], row[10]
        set_text(m)
        texts.append(m.text if m.text is not None else m.body.decode("latin-1").replace("\0", " "))
    m.text = "".join(texts)
    m.body, m.data_coding = m.text.encode("utf-16-be", "replace"), 8
    return m
