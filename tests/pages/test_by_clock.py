"""Fragments that run by a clock, and tabs that the server wakes."""

import pytest
import streamlit as st

from pages.parts.ui import wake, watch
from pages.parts.ui.watch import draw_every, look_every


class RerunError(Exception):
    """The page was to be drawn anew."""


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch):
    """Begins a clock, and gives what its fragment runs each time, and a way to let seconds pass."""
    now = [100.0]
    begun: list[object] = []

    def fragment(function, run_every):
        begun.append(run_every)
        begun.append(function)
        return function

    def rerun(scope: str) -> None:
        raise RerunError(scope)

    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(st, "fragment", fragment)
    monkeypatch.setattr(st, "rerun", rerun)

    def begin(start, seconds, do):
        start(seconds, do)
        tick = begun[-1]
        return tick, lambda passed: now.__setitem__(0, now[0] + passed)

    return begin


class TestAClock:
    def test_looks_first_when_the_page_has_stood_for_so_long(self, ticks):
        looked: list[int] = []
        tick, wait = ticks(look_every, 4.0, lambda: looked.append(1))
        assert looked == []
        wait(4.0)
        tick()
        wait(4.0)
        tick()
        assert looked == [1, 1]

    def test_draws_at_once_and_again(self, ticks):
        drawn: list[int] = []
        tick, wait = ticks(draw_every, 1.0, lambda: drawn.append(1))
        wait(1.0)
        tick()
        assert drawn == [1, 1]

    def test_a_tick_of_the_page_before_has_the_whole_page_drawn_anew(self, ticks):
        tick, wait = ticks(look_every, 4.0, lambda: None)
        wait(0.5)
        with pytest.raises(RerunError, match="app"):
            tick()

    def test_without_a_clock_a_click_in_it_draws_only_it(self, ticks):
        drawn: list[int] = []
        tick, _ = ticks(draw_every, None, lambda: drawn.append(1))
        tick()
        assert drawn == [1, 1]


class TestATabThatIsWoken:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The tabs whose browsers were asked to draw their page; the one that is called "here" is there."""
        asked: list[str] = []
        held = type("Runtime", (), {"get_app_session": lambda _, name: object() if name == "here" else None})()
        monkeypatch.setattr(wake.runtime, "exists", lambda: True)
        monkeypatch.setattr(wake.runtime, "get_instance", lambda: held)
        monkeypatch.setattr(wake, "ask_to_run", asked.append)
        return asked

    def test_is_drawn_anew_when_there_is_something_new(self, asked):
        assert not wake._is_over("here", lambda: False)
        assert asked == []
        assert wake._is_over("here", lambda: True)
        assert asked == ["here"]

    def test_is_drawn_anew_when_it_cannot_be_looked_at(self, asked):
        def fail() -> bool:
            raise LookupError

        assert wake._is_over("here", fail)
        assert asked == ["here"]

    def test_that_is_gone_is_forgotten(self, asked):
        assert wake._is_over("gone", lambda: True)
        assert asked == []
