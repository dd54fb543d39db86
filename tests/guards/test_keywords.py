"""What is a stop word, and what only looks like one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.guards.keywords import LONGEST, Keywords, plain
from protei_bulk.settings import Guards

WORDS = Keywords(Guards().stop_words, Guards().start_words)


class Words(SynchronousTestCase):
    def test_stop(self) -> None:
        for text in (
            "STOP", "stop", " Stop. ", "«Stop!»", "ＳＴＯＰ", "stop   ALL",
            "إيقاف", "ايقاف", "أيقاف.", "إِيقَاف", "ايـــقاف", "إلغاء", "\u200fايقاف\u200e",
        ):  # fmt: skip
            self.assertIs(WORDS.read(text), True, text)

    def test_start(self) -> None:
        for text in ("START", "unstop", "إشتراك"):
            self.assertIs(WORDS.read(text), False, text)

    def test_neither(self) -> None:
        for text in ("", None, "Stop by tomorrow", "don't stop", "stopp", "...", "STOP" * 20):
            self.assertIsNone(WORDS.read(text), text)

    @settings(deadline=None)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        self.assertEqual(plain(plain(text)), plain(text))
        if len(text) > LONGEST:
            self.assertIsNone(WORDS.read(text))
