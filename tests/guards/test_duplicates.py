"""Duplicates against a plain list of what was taken, and within their memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.guards.duplicates import Duplicates, key_of
from protei_bulk.model.message import Message
from protei_bulk.smpp import tags

WINDOWS = (5, 20, 20, 60, 5, 60)  # of the keys
STEP = st.tuples(st.integers(0, 5), st.floats(0, 30), st.booleans())


def message(dest: str = "962790000001", body: bytes = b"Hello") -> Message:
    m = Message()
    m.dest, m.body = dest, body
    return m


class Windows(SynchronousTestCase):
    @settings(deadline=None, max_examples=300)
    @given(st.lists(STEP, max_size=60))
    def test_exact_while_there_is_room(self, steps: list[tuple[int, float, bool]]) -> None:
        made, taken, now = Duplicates(), {}, 1000.0
        for key, passes, refused in steps:
            now, window = now + passes, WINDOWS[key]
            first = key not in taken or now - taken[key] >= window
            self.assertEqual(made.take(key, window, now), first)
            if first:
                taken[key] = now
                if refused:  # by somebody else, later
                    made.forget(key)
                    del taken[key]
        self.assertEqual(made.early, 0)

    @settings(deadline=None)
    @given(st.integers(2, 50), st.lists(st.integers(0, 200), max_size=300))
    def test_bounded_and_never_wrong(self, most: int, keys: list[int]) -> None:
        made, taken = Duplicates(most), set()
        for now, key in enumerate(keys):
            if not made.take(key, 10_000, float(now)):
                self.assertIn(key, taken)
            taken.add(key)
            self.assertLessEqual(len(made), most + 1)

    def test_what_is_the_same(self) -> None:
        same = key_of(1, message())
        self.assertEqual(same, key_of(1, message()))
        others = [key_of(2, message()), key_of(1, message("962790000002")), key_of(1, message(body=b"Hello!"))]
        for n in (1, 2):
            m = message()
            m.udh = bytes((5, 0, 3, 7, 2, n))
            others.append(key_of(1, m))
            m = message()
            m.tlvs = {tags.SAR_MSG_REF_NUM: b"\0\7", tags.SAR_TOTAL_SEGMENTS: b"\2", tags.SAR_SEGMENT_SEQNUM: bytes((n,))}
            others.append(key_of(1, m))
        self.assertEqual(len({same, *others}), 1 + len(others))
        m = message()
        m.tlvs = {tags.USER_MESSAGE_REFERENCE: b"\0\1"}  # an ESME's own count of its messages
        self.assertEqual(key_of(1, m), same)
