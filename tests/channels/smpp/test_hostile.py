"""Whatever comes in over a connection: an answer or its end, never a failure in the log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, fast
from tests.channels.smpp.fakes import RESP, World, bind, submit

_cuts = st.lists(st.integers(0, 10_000), max_size=12)
_CONVERSATION = b"".join(
    [
        fast.header(commands.ENQUIRE_LINK, 0, 1),
        bind(2),
        submit(3),
        fast.header(commands.ENQUIRE_LINK, 0, 4),
        submit(5, b"x" * 300),
        fast.header(0x1234, 0, 6),
        bind(7),
        submit(8, b"abc", esm_class=0x40),
        fast.header(commands.DELIVER_SM | RESP, 0, 9),
        submit(10, b"\0A", data_coding=8),
        fast.header(commands.UNBIND, 0, 11),
    ]
)
_COMMANDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0xB, 0x15, 0x21, 0x102, 0x103, 0x111]
_commands = st.sampled_from([c | r for c in _COMMANDS for r in (0, RESP)] + [0x80000000])
_pdu = st.builds(
    lambda c, s, n, body: (16 + len(body)).to_bytes(4, "big") + fast.header(c, s, n)[4:] + body,
    _commands | st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=60),
)  # fmt: skip


def conversation(pieces: list[bytes]) -> list[tuple[int, int, int]]:
    world = World()
    peer = world.connect()
    for piece in pieces:
        peer.send(piece)
    return [(p.command_id, p.status, p.sequence) for p in peer.read()]


class HostileTest(SynchronousTestCase):
    @given(_cuts)
    def test_chunks_change_nothing(self, cuts: list[int]) -> None:
        borders = [0, *sorted(c % len(_CONVERSATION) for c in cuts), len(_CONVERSATION)]
        pieces = [_CONVERSATION[a:b] for a, b in zip(borders, borders[1:], strict=False) if a < b]
        answers = conversation(pieces)
        self.assertEqual(conversation([_CONVERSATION]), answers)
        self.assertEqual([1, 2, 3, 4, 5, 6, 7, 8, 10, 11], [a[2] for a in answers])
        self.assertEqual([0, 0, 0, 0, 0, 3, 5, 0x43, 0, 0], [a[1] for a in answers])

    def test_octet_by_octet(self) -> None:
        self.assertEqual(conversation([_CONVERSATION]), conversation([bytes((b,)) for b in _CONVERSATION]))

    @given(st.lists(st.binary(max_size=60), max_size=5), st.booleans())
    def test_garbage(self, pieces: list[bytes], is_bound: bool) -> None:
        self.survives(pieces, is_bound)

    @given(st.lists(_pdu, max_size=8), st.booleans())
    def test_garbage_in_frames(self, pieces: list[bytes], is_bound: bool) -> None:
        self.survives(pieces, is_bound)

    @given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
    def test_one_wrong_octet(self, at: int, octet: int, is_bound: bool) -> None:
        data = bytearray(_CONVERSATION)
        data[at % len(data)] = octet
        self.survives([bytes(data)], is_bound)

    def survives(self, pieces: list[bytes], is_bound: bool) -> None:
        world = World()
        world.start()
        peer = world.bound() if is_bound else world.connect()
        for piece in pieces:
            peer.send(piece)
        world.wait(2)
        peer.lose()
        world.wait(2)
        self.assertEqual([], self.flushLoggedErrors())
        self.assertEqual(0, world.factory.count)
        self.assertFalse(world.delivery.reachable(7))
