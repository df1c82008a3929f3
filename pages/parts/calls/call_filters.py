"""The Calls page's filter bar: window, search, filters, and chips of what narrows; all of it is the address.

Invariant: a widget's value is put from the address before it is drawn, and written there by its callback, so the
two never disagree. Nothing is remembered elsewhere.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import streamlit as st

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.panels.analytics import TopBy, read_choices, read_top
from core.skein import Skein
from core.tables import CALL_STATUSES
from pages.parts.calls.call_url import CUSTOM, NARROWING, WINDOWS, Place
from pages.parts.ui import state
from pages.parts.ui.address import change
from pages.parts.ui.chart_parts import WEEKDAYS
from pages.parts.ui.format import milliseconds
from pages.parts.ui.text import plain, shortened

Choices = Mapping[str, Mapping[str, str]]
"""For each list of the filter some values, each with what people call it."""
_LABELS = {
    "users": "User",
    "sessions": "Session",
    "agents": "Agent",
    "agent_keys": "Agent in the graph",
    "nodes": "Node",
    "models": "Model",
    "statuses": "Status",
    "error_types": "Error",
}
_MISSING = "(none)"
_NAMED: dict[str, TopBy] = {"users": "user", "sessions": "session"}
_MOST_SESSIONS = 50
_SAME_ROWS = {"after", "by", "call", "times", "top"}
_STATUSES = {"started": "running", "ok": "ok", "error": "error", "cancelled": "cancelled", "lost": "lost"}


def go(changes: Mapping[str, Iterable[str]]) -> None:
    """Change the address; what changes the rows of the table leaves its later pages for the first."""
    change(changes, without=() if changes.keys() <= _SAME_ROWS else ("after",))


def draw_window(place: Place) -> None:
    """The presets, and for a window of one's own its two ends, in the viewer's time zone."""
    with st.container(horizontal=True, vertical_alignment="center", key="calls_window"):
        _put("window", place.window)
        st.segmented_control(
            "Time window",
            list(WINDOWS),
            format_func=lambda window: WINDOWS[window][0],
            key=f"{state.CALLS_WIDGET}window",
            required=True,
            label_visibility="collapsed",
            on_change=partial(_choose_window, place),
        )
        if place.window == CUSTOM:
            for name, label, moment in (
                ("since", "From", place.wanted.since),
                ("until", "Until", place.wanted.until),
            ):
                _draw_end(place, name, label, moment)


def _draw_end(place: Place, name: str, label: str, moment: datetime | None) -> None:
    _put(name, moment.astimezone(place.tz).replace(tzinfo=None, second=0, microsecond=0) if moment else None)
    st.datetime_input(
        f"{label} ({place.tz.key})",
        key=f"{state.CALLS_WIDGET}{name}",
        value=None,
        format="YYYY-MM-DD",
        width=230,
        on_change=partial(_write_end, place, name),
    )


def _choose_window(place: Place) -> None:
    window = _get("window") or place.window
    if window != CUSTOM:
        go({"window": [window], "since": [], "until": []})
        return
    since, until = place.span or (None, place.now)
    go({"window": [], **CallFilter(since=since, until=until.replace(second=0, microsecond=0)).to_query()})


def _write_end(place: Place, name: str) -> None:
    """What was typed is a wall-clock time in the zone of the page."""
    typed = _get(name)
    moment = typed.replace(tzinfo=place.tz).astimezone(UTC) if typed else None
    go({name: CallFilter(since=moment).to_query().get("since", [])})


def read_names(skein: Skein, viewer: Viewer, place: Place) -> Choices:
    """What people call the users and sessions that the page is narrowed to."""
    found: dict[str, Mapping[str, str]] = {}
    with skein.database.read() as db:
        for name, by in _NAMED.items():
            if values := getattr(place.narrowed, name):
                only = CallFilter(since=place.wanted.since, until=place.wanted.until, **{name: values})
                rows = read_top(viewer, db, only, place.tz, by, limit=len(values))
                found[name] = dict(zip(rows["key"], rows["label"], strict=True))
    return found


def _read_choices(skein: Skein, viewer: Viewer, place: Place) -> Choices:
    """What occurs in the window; of sessions those that cost most."""
    window = CallFilter(since=place.wanted.since, until=place.wanted.until)
    with skein.database.read() as db:
        choices = read_choices(viewer, db, window)
        top = read_top(viewer, db, window, place.tz, "session", limit=_MOST_SESSIONS)
    lists = {name: getattr(choices, name) for name in _LABELS if name not in {"users", "sessions", "statuses"}}
    return {
        "users": choices.users,
        "sessions": {key: label for key, label in zip(top["key"], top["label"], strict=True) if key},
        **{name: dict(zip(values, values, strict=True)) for name, values in lists.items()},
    }


def draw_filters(skein: Skein, viewer: Viewer, place: Place, names: Choices) -> None:
    """Search, and the lists of values to narrow by; the lists stand in a menu, and are read when it is opened."""
    with st.container(horizontal=True, vertical_alignment="center", key="calls_filters"):
        _put("text", place.narrowed.text)
        st.text_input(
            "Search prompts and answers",
            key=f"{state.CALLS_WIDGET}text",
            placeholder="Search prompts and answers",
            icon=":material/search:",
            label_visibility="collapsed",
            max_chars=300,
            width="stretch",
            on_change=lambda: go({"text": [_get("text").strip()] if _get("text").strip() else []}),
        )
        with st.popover(
            "Filters", icon=":material/filter_list:", width="content", key="calls.filters", on_change="rerun"
        ) as menu:
            if menu.open:
                choices = _read_choices(skein, viewer, place)
                for name, label in _LABELS.items():
                    if name != "users" or viewer.reads_all:
                        _draw_list(place, name, label, {**choices.get(name, {}), **names.get(name, {})})
                _draw_attributed(place)


def _draw_list(place: Place, name: str, label: str, choices: Mapping[str, str]) -> None:
    chosen = list(getattr(place.narrowed, name))
    options = list(CALL_STATUSES) if name == "statuses" else list(choices)
    _put(name, chosen)
    st.multiselect(
        label,
        [*options, *(value for value in chosen if value not in options)],
        key=f"{state.CALLS_WIDGET}{name}",
        format_func=lambda value: name_of(name, value, choices),
        placeholder="Any",
        select_all=False,
        on_change=lambda: go({name: _get(name)}),
    )


def _draw_attributed(place: Place) -> None:
    words = {"yes": "Attributed", "no": "Unattributed"}
    _put("attributed", next(iter(place.narrowed.to_query().get("attributed", [])), None))
    st.segmented_control(
        "Attribution",
        list(words),
        format_func=words.__getitem__,
        key=f"{state.CALLS_WIDGET}attributed",
        on_change=lambda: go({"attributed": [_get("attributed")] if _get("attributed") else []}),
    )


def draw_chips(place: Place, names: Choices) -> None:
    """One button for each thing that narrows; it takes that away."""
    chips = list(_chips(place.narrowed, names))
    if not chips:
        return
    with st.container(horizontal=True, gap="small", key="calls_chips"):
        for number, (words, changes) in enumerate(chips):
            st.button(
                words,
                key=f"calls.chip.{number}",
                icon=":material/close:",
                icon_position="right",
                help="No longer narrow by this",
                on_click=go,
                args=(changes,),
            )
        st.button(
            "Clear all",
            key="calls.clear",
            type="tertiary",
            on_click=go,
            args=(dict.fromkeys(NARROWING, ()),),
        )


def _chips(narrowed: CallFilter, names: Choices) -> Iterable[tuple[str, dict[str, list[str]]]]:
    for name, label in _LABELS.items():
        values = getattr(narrowed, name)
        for value in values:
            named = shortened(name_of(name, value, names.get(name, {})), 36)
            yield f"{label}: {plain(named)}", {name: [other for other in values if other != value]}
    for name, words in _SINGLE.items():
        value = getattr(narrowed, name)
        if value is not None and value != "":
            yield plain(words(value)), {name: []}


_SINGLE: dict[str, Callable[..., str]] = {
    "attributed": lambda value: "Attributed" if value else "Unattributed",
    "thread": lambda value: f"Thread: …{value[-8:]}",
    "message": lambda value: f"Message: …{value[-8:]}",
    "weekday": lambda value: f"On: {WEEKDAYS[value]}",
    "hour": lambda value: f"Hour: {value:02}:00 to {value:02}:59",
    "min_ms": lambda value: f"Took at least {milliseconds(value)}",
    "max_ms": lambda value: f"Took under {milliseconds(value)}",
    "text": lambda value: f"Text: {shortened(value, 36)}",
}


def name_of(name: str, value: str, choices: Mapping[str, str]) -> str:
    """What people call a value of one of the lists."""
    if name == "statuses":
        return _STATUSES.get(value, value)
    return choices.get(value) or value or _MISSING


def _put(name: str, value: object) -> None:
    state.put(f"{state.CALLS_WIDGET}{name}", value)


def _get(name: str) -> Any:
    return state.get(f"{state.CALLS_WIDGET}{name}")
