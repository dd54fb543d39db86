"""To whom a message from a mobile goes: the first [[mo]] rule that matches, by `order`, then as written. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from attrs import frozen

from protei_bulk.model.account import matches_any
from protei_bulk.settings import MoRule


@frozen
class Target:
    """A user by name, a URL, or both."""

    rule: str
    user: str = ""
    url: str = ""


def fold(word: str) -> str:
    """A word without what does not count: case, and the forms in which Unicode can write the same letters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())


def keywords(text: str | None) -> tuple[str, ...]:
    """The first word of a text, folded, and once more without the signs around it: `STOP!`, or a mark that says right to left."""
    words = text.split(None, 1) if text else ()
    if not words:
        return ()
    word = fold(words[0])
    inner = [i for i, c in enumerate(word) if unicodedata.category(c)[0] in "LMN"]
    bare = word[inner[0] : inner[-1] + 1] if inner else ""
    return (word, bare) if bare and bare != word else (word,)


@frozen
class _Rule:
    rule: MoRule
    keywords: frozenset[str]
    target: Target


class MoRouter:
    def __init__(self, rules: Sequence[MoRule]) -> None:
        self.load(rules)

    def load(self, rules: Sequence[MoRule]) -> None:
        """Take other rules: the next message sees them."""
        self._rules = [
            _Rule(r, frozenset(map(fold, r.match.keyword)), Target(r.name, r.to.user, r.to.url))
            for r in sorted(rules, key=lambda r: r.order)
        ]
        self._by_keyword = any(r.keywords for r in self._rules)

    def route(self, smsc: str, source: str, dest: str, text: str | None) -> Target | None:
        """None where no rule says anything."""
        first = keywords(text) if self._by_keyword else ()
        for r in self._rules:
            m = r.rule.match
            if (
                matches_any(smsc, m.smsc)
                and matches_any(dest, m.dest)
                and matches_any(source, m.sender)
                and (not r.keywords or any(word in r.keywords for word in first))
            ):
                return r.target
        return None
