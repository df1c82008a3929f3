"""Trying an agent on its page: what is safe with it in Skein, what is not, and why."""

from functools import partial

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.checking.apart import TRIALS, check_apart
from core.checking.check import Finding, Safety
from core.skein import Skein
from pages.parts.ui import state
from pages.parts.ui.long_action import Report, do_with_bar
from pages.parts.ui.text import plain, plain_lines

_MARKS = {Safety.SAFE: "✓ safe", Safety.UNSAFE: "✗ not safe", Safety.UNTRIED: "– not tried"}
_COLUMNS = {
    "what": "What was tried",
    "safety": st.column_config.TextColumn("How it went", width="small"),
    "why": "Why",
}


def draw_trial(skein: Skein, viewer: Viewer, agent_id: str) -> None:
    """The button, and what the last trial in this tab has found."""
    st.caption(
        "Runs it in Skein and outside, on a database that is thrown away, against a model server that answers by a "
        "script; stops, kills and forks it. Its tools are really called."
    )
    place = st.empty()
    st.button(
        "Try it",
        icon=":material/labs:",
        key="agents.try",
        on_click=partial(_try, skein, viewer, agent_id, place),
    )
    if problem := state.take(state.AGENT_PROBLEM):
        st.warning(plain_lines(problem), icon=":material/info:")
    found = state.get(_key(agent_id))
    if found:
        st.table(table_of(found).set_index("Tried"))


def table_of(found: list[Finding]) -> pd.DataFrame:
    """A row for each finding."""
    rows = [{"Tried": one.what, "Result": _MARKS[one.safety], "Why": plain(one.why)} for one in found]
    return pd.DataFrame(rows)


def _try(skein: Skein, viewer: Viewer, agent_id: str, place: DeltaGenerator) -> None:
    found: list[Finding] = []

    def deed(report: Report) -> None:
        for finding in check_apart(skein, viewer, agent_id):
            found.append(finding)
            report(len(found), TRIALS)

    with state.problems(state.AGENT_PROBLEM):
        do_with_bar(place, deed, noun="trial", begin=f"Trying {plain(agent_id)}")
    state.put(_key(agent_id), found)


def _key(agent_id: str) -> str:
    return f"{state.AGENT_TRIAL}{agent_id}"
