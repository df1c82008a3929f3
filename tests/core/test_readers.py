"""Readers of live runs: each hears all, in order; all together draw no more than they may."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from core.runs.log import RunLog
from core.runs.readers import MOST_FRAMES, Readers

PACE = 0.001


def spoken() -> RunLog:
    run_log = RunLog()
    run_log.append("token", "talk", "a")
    return run_log


class TestAReader:
    def test_is_given_everything_once_and_the_end(self) -> None:
        run_log, readers = spoken(), Readers()
        following = readers.follow(run_log, 0, PACE)
        heard = next(following)
        run_log.append("node", "talk", {})
        run_log.append("token", "talk", "b")
        run_log.close(run_log.seal({"status": "done"}))
        heard += [event for events in following for event in events]
        assert [(event.seq, event.kind) for event in heard] == [(1, "token"), (2, "node"), (3, "token"), (4, "end")]

    def test_is_first_woken_by_words(self) -> None:
        run_log = RunLog()
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(next, Readers().follow(run_log, 0, PACE))
            run_log.append("state", None, {})
            run_log.append("node", "talk", {"phase": "start"})
            run_log.append("token", "talk", "a")
            assert [event.kind for event in first.result(10)][:2] == ["state", "node"]

    def test_is_told_of_what_is_quiet_when_nothing_else_comes(self) -> None:
        run_log = RunLog()
        run_log.append("state", None, {})
        assert [event.kind for event in run_log.wait(0, timeout=0.01)] == ["state"]

    def test_of_a_run_that_goes_on_is_given_what_was_before(self) -> None:
        before = spoken().after(0)
        assert RunLog(before).wait(0, timeout=1_000) == before


class TestAllReadersTogether:
    def test_are_slower_where_they_are_very_many(self) -> None:
        readers, run_log = Readers(), spoken()
        with ExitStack() as reading:
            for _ in range(MOST_FRAMES // 10):
                next(reading.enter_context(closing(readers.follow(run_log, 0, PACE))))
            assert readers.pace(0.05) == 0.1
            assert readers.pace(0.2) == 0.2
        assert readers.pace(0.05) == 0.05

    def test_are_not_slowed_down_by_who_draws_nothing(self) -> None:
        readers, run_log = Readers(), spoken()
        with ExitStack() as reading:
            for _ in range(MOST_FRAMES):
                next(reading.enter_context(closing(readers.follow(run_log, 0, 0.0))))
            assert readers.pace(0.05) == 0.05
        assert readers.pace(0.0) == 0.0
