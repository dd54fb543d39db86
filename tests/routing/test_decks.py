from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.routing.decks import Deck, Rate

_DIGITS = st.text("0123", max_size=3)
_RATES = st.lists(
    st.builds(
        lambda network, prefix, price, begin: Rate(network, "" if network else prefix, None if price is None else Decimal(price), begin),
        st.sampled_from(("", "", "416", "41601")), _DIGITS, st.one_of(st.none(), st.integers(0, 9)), st.sampled_from((-1.0, 5.0, 10.0)),
    ),
    max_size=12, unique_by=lambda r: (r.network, r.prefix, r.valid_from),
)  # fmt: skip


def naive(rates: list[Rate], now: float, dest: str, network: str) -> Decimal | None:
    """Every entry that is in force, the best of them."""
    newest: dict[tuple[str, str], Rate] = {}
    for r in rates:
        known = newest.get((r.network, r.prefix))
        if r.valid_from <= now and (known is None or known.valid_from < r.valid_from):
            newest[r.network, r.prefix] = r
    fits = []
    for r in newest.values():
        mine = bool(network) and r.network in (network, network[:3]) if r.network else dest.startswith(r.prefix)
        if r.price is not None and mine:
            fits.append(r)
    best = max(fits, key=lambda r: (bool(r.network), len(r.network), len(r.prefix)), default=None)
    return None if best is None else best.price


class DeckTest(SynchronousTestCase):
    @settings(deadline=None, max_examples=300)
    @given(_RATES, st.floats(0, 20), st.text("0123", min_size=3, max_size=6), st.sampled_from(("", "41601", "41603", "23410")))
    def test_as_naively(self, rates: list[Rate], now: float, dest: str, network: str) -> None:
        deck = Deck(rates, now)
        self.assertEqual(naive(rates, now, dest, network), deck.price(dest, lambda _: network))
        later = [r.valid_from for r in rates if r.valid_from > now]
        self.assertEqual(min(later, default=float("inf")), deck.changes_at)

    def test_nobody_asks_for_a_network_without_prices_of_networks(self) -> None:
        def network(dest: str) -> str:
            raise AssertionError(dest)

        self.assertEqual(Decimal(2), Deck([Rate("", "96", Decimal(2))], 0).price("962", network))
        self.assertIsNone(Deck([], 0).price("962", network))

    def test_free_is_a_price(self) -> None:
        deck = Deck([Rate("", "", Decimal(1)), Rate("", "962", Decimal(0))], 0)
        self.assertEqual((Decimal(0), Decimal(1)), (deck.price("962790000001", str), deck.price("44", str)))
