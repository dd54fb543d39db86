from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp.window import MAX_SEQUENCE, Window


class AgainstAModel(RuleBasedStateMachine):
    """A window beside a plain list of (number, item, time of sending)."""

    def __init__(self) -> None:
        super().__init__()
        self.window: Window[int] = Window(3, first=MAX_SEQUENCE - 2)
        self.model: list[tuple[int, int, float]] = []
        self.now = 0.0
        self.count = 0

    @rule()
    def put(self) -> None:
        self.count += 1
        number = self.window.put(self.count, self.now)
        assert 1 <= number <= MAX_SEQUENCE
        assert number not in [n for n, _, _ in self.model]
        self.model.append((number, self.count, self.now))
        self.same()

    @rule(which=st.integers(0, 5))
    def pop(self, which: int) -> None:
        if which < len(self.model):
            number, item, _ = self.model.pop(which)
            assert self.window.pop(number) == item
            assert self.window.pop(number) is None
        self.same()

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        late = [item for _, item, at in self.model if self.now - at > 4]
        assert self.window.expired(self.now, 4) == late
        self.model = [m for m in self.model if m[1] not in late]
        self.same()

    def same(self) -> None:
        assert self.window.items() == [item for _, item, _ in self.model]
        assert self.window.free == max(0, 3 - len(self.model))
        assert len(self.window) == len(self.model)


class Windows(SynchronousTestCase):
    def test_against_a_model(self) -> None:
        run_state_machine_as_test(AgainstAModel)

    def test_numbers_begin_at_one_and_wrap(self) -> None:
        self.assertEqual(Window[str](1).put("a", 0), 1)
        w: Window[str] = Window(10, first=MAX_SEQUENCE)
        self.assertEqual([w.put(x, 0) for x in "ab"], [MAX_SEQUENCE, 1])

    def test_a_number_in_use_is_passed_over(self) -> None:
        w: Window[str] = Window(10, first=MAX_SEQUENCE)
        w.put("a", 0)
        w.put("b", 0)
        w._next = MAX_SEQUENCE  # as after a whole round
        self.assertEqual(w.put("c", 0), 2)
        self.assertEqual(w.pop(MAX_SEQUENCE), "a")

    def test_clear_gives_back_what_is_left(self) -> None:
        w: Window[str] = Window(10)
        for x in "abc":
            w.put(x, 0)
        w.pop(2)
        self.assertEqual(w.clear(), ["a", "c"])
        self.assertEqual(w.free, 10)
