"""Fair queues beside their definition: a backlogged flow has its share within one message, and nobody's order changes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model.message import Message
from protei_bulk.pacing.fair import FairQueue


def message(customer: int, campaign: int = 0, segments: int = 1) -> Message:
    m = Message()
    m.customer_id, m.campaign_id, m.segments = customer, campaign, segments
    return m


arrivals = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2), st.integers(1, 4)), max_size=80)
turns = st.lists(st.integers(1, 7), max_size=40)


class Fair(SynchronousTestCase):
    @given(arrivals, turns)
    @settings(deadline=None)
    def test_all_come_out_once_and_in_the_order_of_their_campaign(self, added: list[tuple[int, int, int]], taken: list[int]) -> None:
        queue = FairQueue(lambda customer: float(customer))
        waiting = [message(*a) for a in added]
        out: list[Message] = []
        position = 0
        for n in taken:
            for m in waiting[position : position + 5]:
                queue.add(m)
            position = min(len(waiting), position + 5)
            got = queue.take(n)
            self.assertLessEqual(len(got), n)
            out += got
            self.assertEqual(len(queue), position - len(out))
            self.assertEqual(len(list(queue)), len(queue))
        for m in waiting[position:]:
            queue.add(m)
        out += queue.take(1000)
        self.assertEqual(len(queue), 0)
        self.assertEqual({id(m) for m in out}, {id(m) for m in waiting})
        for flow in {(m.customer_id, m.campaign_id) for m in waiting}:
            mine = [id(m) for m in waiting if (m.customer_id, m.campaign_id) == flow]
            self.assertEqual([id(m) for m in out if (m.customer_id, m.campaign_id) == flow], mine)

    @given(st.dictionaries(st.integers(1, 5), st.integers(1, 4), min_size=2, max_size=4), st.data())
    @settings(deadline=None)
    def test_backlogged_customers_have_their_shares_within_one_message(self, weights: dict[int, int], data: st.DataObject) -> None:
        queue = FairQueue(lambda customer: float(weights[customer]))
        longest = 1
        for customer in weights:
            for _ in range(120):
                segments = data.draw(st.integers(1, 3)) if data.draw(st.booleans()) else 1
                longest = max(longest, segments)
                queue.add(message(customer, data.draw(st.integers(0, 1)), segments))
        served = dict.fromkeys(weights, 0)
        for _ in range(100):
            m = queue.pop()
            served[m.customer_id] += m.segments
            normalized = [served[c] / weights[c] for c in weights]
            self.assertLessEqual(max(normalized) - min(normalized), longest * (1 / min(weights.values()) + 1e-9) * 2)

    def test_weights_one_one_two(self) -> None:
        weights = {1: 1.0, 2: 1.0, 3: 2.0}
        queue = FairQueue(weights.__getitem__)
        for customer in (1, 2, 3):
            for _ in range(1000):
                queue.add(message(customer))
        first = queue.take(1000)
        self.assertEqual([sum(m.customer_id == c for m in first) for c in (1, 2, 3)], [250, 250, 500])

    def test_one_that_was_idle_has_saved_up_nothing(self) -> None:
        queue = FairQueue(lambda _: 1.0)
        for _ in range(1000):
            queue.add(message(1))
        queue.take(500)
        for _ in range(1000):
            queue.add(message(2))
        self.assertEqual(abs(sum(m.customer_id == 2 for m in queue.take(100)) - 50) <= 1, True)

    def test_campaigns_of_a_customer_share_evenly(self) -> None:
        queue = FairQueue(lambda _: 1.0)
        for campaign in (1, 2):
            for _ in range(100):
                queue.add(message(1, campaign))
        for _ in range(100):
            queue.add(message(2, 3))
        first = queue.take(100)
        self.assertEqual([sum(m.campaign_id == c for m in first) for c in (1, 2, 3)], [25, 25, 50])
