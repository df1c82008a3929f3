"""Whose run is next: nobody's twenty keep another's one waiting, and no limit is passed."""

import hypothesis.strategies as st
from hypothesis import given

from core.runs.fair_queue import FairQueue

USERS = ("ann", "bob", "cid")
STEP = st.tuples(st.sampled_from(["put", "put", "take", "end", "drop"]), st.sampled_from(USERS), st.integers(0, 9))


def ready(_key: str) -> bool:
    return True


def queued(queue: FairQueue, **counts: int) -> FairQueue:
    for user, count in counts.items():
        for number in range(count):
            queue.put(user, f"{user}{number}")
    return queue


class TestFairness:
    def test_one_is_not_kept_waiting_by_another_ones_twenty(self) -> None:
        queue = queued(FairQueue(1, 1), ann=20)
        assert queue.take(ready) == "ann0"
        queue.put("bob", "bob0")
        assert (queue.place_of("bob0"), queue.place_of("ann1")) == (1, 2)
        queue.remove("ann", "ann0")
        assert queue.take(ready) == "bob0"

    def test_whoever_has_fewest_running_is_next(self) -> None:
        queue = queued(FairQueue(10, 5), ann=5, bob=5)
        assert [queue.take(ready) for _ in range(4)] == ["ann0", "bob0", "ann1", "bob1"]

    def test_one_that_is_not_ready_lets_the_next_pass(self) -> None:
        queue = queued(FairQueue(1, 1), ann=2)
        assert queue.take(lambda key: key != "ann0") == "ann1"
        assert queue.place_of("ann0") == 1

    def test_each_ones_own_come_in_the_order_of_asking(self) -> None:
        queue = queued(FairQueue(9, 9), ann=9)
        assert [queue.take(ready) for _ in range(9)] == [f"ann{n}" for n in range(9)]


class TestLimits:
    @given(st.integers(1, 4), st.integers(1, 3), st.lists(STEP, max_size=60))
    def test_hold_and_nothing_is_lost_or_run_twice(
        self, limit: int, per_user: int, steps: list[tuple[str, str, int]]
    ) -> None:
        queue, waiting, running, number = FairQueue(limit, per_user), dict.fromkeys(USERS, 0), {}, 0
        for what, user, pick in steps:
            if what == "put":
                number += 1
                queue.put(user, f"{user}-{number}")
                waiting[user] += 1
            elif what == "end" and running:
                key = sorted(running)[pick % len(running)]
                assert queue.remove(running.pop(key), key)
            elif what == "drop":
                assert queue.remove(user, "never asked for") is False
            elif (key := queue.take(ready)) is not None:
                owner = key.split("-")[0]
                fewest = min(list(running.values()).count(name) for name in USERS if waiting[name])
                assert list(running.values()).count(owner) == fewest
                assert key not in running
                running[key] = owner
                waiting[owner] -= 1
            assert len(running) <= limit
            assert all(list(running.values()).count(name) <= per_user for name in USERS)
            assert {name: len(queue._waiting.get(name, ())) for name in USERS} == waiting
        if sum(waiting.values()) and len(running) < limit:
            open_for = [u for u in USERS if waiting[u] and list(running.values()).count(u) < per_user]
            assert (queue.take(ready) is not None) == bool(open_for)


class TestPlaces:
    @given(st.lists(st.sampled_from(USERS), max_size=20), st.integers(0, 5))
    def test_say_the_order_in_which_they_begin(self, asked: list[str], begun: int) -> None:
        queue = FairQueue(1_000, 1_000)
        for number, user in enumerate(asked):
            queue.put(user, f"{user}-{number}")
        for _ in range(begun):
            queue.take(ready)
        keys = [f"{user}-{number}" for number, user in enumerate(asked)]
        places = {key: place for key in keys if (place := queue.place_of(key)) is not None}
        order = []
        while (key := queue.take(ready)) is not None:
            order.append(key)
        assert order == sorted(places, key=lambda key: places[key])
        assert sorted(places.values()) == list(range(1, len(order) + 1))

    def test_of_what_does_not_wait_there_is_none(self) -> None:
        queue = queued(FairQueue(1, 1), ann=1)
        assert queue.take(ready) == "ann0"
        assert (queue.place_of("ann0"), queue.place_of("nobody")) == (None, None)
