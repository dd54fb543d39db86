"""The catalogues hold every text of the portal, and nothing that its values do not fit into."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.portal.i18n import load_languages
from tests.support.catalogues import read, texts

_PLACE = re.compile(r"%\((\w+)\)s")


class Catalogues(SynchronousTestCase):
    def test_every_text_is_translated(self) -> None:
        wanted = {m.id for m in texts() if m.id}
        for code in load_languages():
            if code == "en":
                continue
            known = {tuple(m.id) if isinstance(m.id, list) else m.id: m for m in read(code) if m.id}
            self.assertEqual(sorted(map(str, wanted - known.keys())), [], "run bin/translate")
            for id, message in known.items():
                said = message.string if isinstance(message.string, list | tuple) else (message.string,)
                self.assertTrue(all(said), f"{code}: {id} is not translated")

    def test_values_have_their_places(self) -> None:
        for code in load_languages():
            if code == "en":
                continue
            for message in read(code):
                if isinstance(message.id, str) and message.id:
                    self.assertEqual(set(_PLACE.findall(message.id)), set(_PLACE.findall(str(message.string))), message.id)
                elif message.id:
                    for form in message.string:
                        self.assertLessEqual(set(_PLACE.findall(form)), set(_PLACE.findall(message.id[1])), form)

    def test_plurals_in_arabic(self) -> None:
        arabic = load_languages()["ar"]
        said = [arabic.ngettext("%(num)s entry on this page", "%(num)s entries on this page", n) for n in (0, 1, 2, 3, 11, 100)]
        self.assertEqual(len(set(said)), 6)
        self.assertIn("11", said[4])
