"""Jobs that wait: in order, with company where they can, and never longer than they said."""

import threading
from concurrent.futures import ThreadPoolExecutor

from core.jobs import JobQueue

LONG = 1_000.0


def taken(queue: JobQueue[str]) -> list[str]:
    return [queued.job for queued in queue.take()]


class TestAJob:
    def test_that_is_urgent_is_taken_with_all_that_wait_in_the_order_they_came(self) -> None:
        queue: JobQueue[str] = JobQueue()
        for job, within in (("a", LONG), ("b", LONG), ("c", 0.0), ("d", LONG)):
            queue.put(job, within=within)
        assert taken(queue) == ["a", "b", "c", "d"]

    def test_that_can_wait_is_taken_when_its_time_has_come(self) -> None:
        queue: JobQueue[str] = JobQueue()
        queue.put("long", within=LONG)
        queue.put("short", within=0.01)
        assert taken(queue) == ["long", "short"]

    def test_that_can_wait_wakes_nobody_before_an_urgent_one_comes(self) -> None:
        queue: JobQueue[str] = JobQueue()
        with ThreadPoolExecutor(1) as pool:
            taking = pool.submit(taken, queue)
            queue.put("a", within=LONG)
            queue.put("b", within=LONG)
            assert not taking.done()
            queue.put("c")
            assert taking.result(10)[:2] == ["a", "b"]

    def test_that_is_left_over_by_a_large_batch_is_taken_next(self) -> None:
        queue: JobQueue[str] = JobQueue()
        jobs = [f"{number}" for number in range(450)]
        for job in jobs:
            queue.put(job)
        batches = [taken(queue), taken(queue), taken(queue)]
        assert [len(batch) for batch in batches] == [200, 200, 50]
        assert [job for batch in batches for job in batch] == jobs

    def test_of_many_threads_is_taken_once(self) -> None:
        queue: JobQueue[int] = JobQueue()
        threads = [
            threading.Thread(
                target=lambda first=first: [queue.put(first + n, within=n % 2 / 100) for n in range(200)]
            )
            for first in range(0, 1_000, 200)
        ]
        for thread in threads:
            thread.start()
        found: list[int] = []
        while len(found) < 1_000:
            found += [queued.job for queued in queue.take()]
        assert sorted(found) == list(range(1_000))


class TestAClosedQueue:
    def test_gives_what_waits_and_then_nothing(self) -> None:
        queue: JobQueue[str] = JobQueue()
        queue.put("a", within=LONG)
        queue.close()
        assert queue.put("b") is None
        assert [taken(queue), taken(queue), taken(queue)] == [["a"], [], []]

    def test_lets_go_of_who_waits_for_a_job(self) -> None:
        queue: JobQueue[str] = JobQueue()
        with ThreadPoolExecutor(1) as pool:
            taking = pool.submit(taken, queue)
            queue.close()
            assert taking.result(10) == []
