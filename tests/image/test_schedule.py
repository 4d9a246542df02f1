"""Which layer a lane takes next: large ones first, commits base first, and nobody waits for ever."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from wclayer.image.schedule import Schedule, Step, Stopped


def test_one_lane_goes_base_first() -> None:
    schedule = Schedule([5, 9, 7], largest_first=False)
    seen: list[Step] = []
    held: set[int] = set()
    while (step := schedule.next_step(held, 2)) is not None:
        seen.append(step)
        if step.action == "pour":
            held.add(step.layer)
        else:
            held.remove(step.layer)
            schedule.settle(step.layer)
    assert seen == [Step(action, layer) for layer in range(3) for action in ("pour", "commit")]
    assert schedule.error is None


def test_the_largest_are_poured_first_and_what_is_there_already_before_them() -> None:
    schedule = Schedule([5, 0, 7, 9], largest_first=True)
    assert [schedule.next_step((), 9) for _ in range(4)] == [Step("pour", layer) for layer in (1, 3, 2, 0)]


def test_those_of_about_the_same_size_come_base_first() -> None:
    schedule = Schedule([100, 10_000, 10_100, 9_900, 50_000], largest_first=True)
    assert [schedule.next_step((), 9) for _ in range(5)] == [Step("pour", layer) for layer in (4, 1, 2, 3, 0)]


def test_a_lane_that_holds_all_it_may_pours_the_lowest_missing_layer() -> None:
    schedule = Schedule([1, 2, 3, 4], largest_first=True)
    assert schedule.next_step((), 2) == Step("pour", 3)
    assert schedule.next_step({3}, 2) == Step("pour", 2)
    assert schedule.next_step({3, 2}, 2) == Step("pour", 0)
    assert schedule.next_step({3, 2, 0}, 2) == Step("commit", 0)
    schedule.settle(0)
    assert schedule.next_step({3, 2}, 2) == Step("pour", 1)


def test_a_commit_waits_for_the_layers_below() -> None:
    schedule = Schedule([1, 2], largest_first=True)
    assert schedule.next_step((), 1) == Step("pour", 1)
    assert schedule.next_step((), 1) == Step("pour", 0)
    got: list[Step | None] = []
    waiting = threading.Thread(target=lambda: got.append(schedule.next_step({1}, 1)))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    schedule.settle(0)
    waiting.join(30)
    assert got == [Step("commit", 1)]


def test_after_a_failure_only_what_lies_below_goes_on() -> None:
    schedule = Schedule([1, 2, 3, 4], largest_first=True)
    for layer in (3, 2):
        assert schedule.next_step((), 9) == Step("pour", layer)
    second, third = ValueError("second"), ValueError("third")
    schedule.fail(3, third)
    schedule.fail(2, second)
    assert schedule.error is second
    schedule.check(1)
    schedule.check(2)
    with pytest.raises(Stopped):
        schedule.check(3)
    assert schedule.next_step({3}, 1) == Step("pour", 1)
    assert schedule.next_step({1}, 1) == Step("pour", 0)
    assert schedule.next_step((), 1) is None
    schedule.settle(0)
    assert schedule.next_step({1}, 1) == Step("commit", 1)
    schedule.settle(1)
    assert schedule.next_step({3}, 1) is None


def test_an_interruption_stops_all() -> None:
    schedule = Schedule([1, 2], largest_first=True)
    schedule.fail(1, ValueError())
    stop = KeyboardInterrupt()
    schedule.fail(-1, stop)
    assert schedule.next_step((), 9) is None
    assert schedule.error is stop
    with pytest.raises(Stopped):
        schedule.check(0)


@pytest.mark.parametrize("seed", range(20))
def test_any_number_of_lanes_of_any_capacity_come_to_an_end(seed: int) -> None:
    dice = random.Random(seed)
    count = dice.randint(1, 12)
    schedule = Schedule([dice.randint(0, 5) for _ in range(count)], largest_first=True)
    bad = dice.sample(range(count), min(dice.randint(0, 2), count))
    committed: list[int] = []

    def lane(capacity: int) -> None:
        held: set[int] = set()
        while (step := schedule.next_step(held, capacity)) is not None:
            if step.action == "pour":
                held.add(step.layer)
                continue
            held.remove(step.layer)
            if step.layer in bad:
                schedule.fail(step.layer, ValueError(step.layer))
            else:
                committed.append(step.layer)
                schedule.settle(step.layer)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(lane, dice.randint(1, 3)) for _ in range(dice.randint(1, 4))]:
            future.result(60)
    assert committed == list(range(min([count, *bad])))
    assert (str(schedule.error) if bad else None) == (str(min(bad)) if bad else None)
