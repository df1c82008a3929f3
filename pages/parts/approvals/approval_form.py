"""Deciding an approval where it stands: approve, edit, answer or refuse, as it allows.

A pause is continued, as it is or with another state, or stopped.

Invariant: what a form holds is read in the callback that sends it, and stays as typed until it is taken.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.approvals import ApprovalRow
from core.history.interrupts import Action, Decision
from core.runs.decisions import find_obstacle
from core.skein import Skein
from pages.parts.approvals.approval_fields import (
    SCOPES,
    draw_answer,
    draw_decision,
    draw_scope,
    read_answer,
    read_decision,
    read_scope,
    scopes_for,
    widget_key,
)
from pages.parts.approvals.approval_sending import is_too_late, send, send_at_once, start_anew, stop
from pages.parts.approvals.approval_texts import in_a_line, options_of, visible
from pages.parts.forms.state_edits import draw_edits, read_edits, typed_edits
from pages.parts.ui import state
from pages.parts.ui.text import plain, plain_lines, shortened

_NAMES = {"approve": "Approve", "edit": "Edit", "answer": "Answer", "refuse": "Refuse"}
_INBOX_NAMES = {"approve": "Accept", "edit": "Edit arguments", "answer": "Respond", "refuse": "Ignore"}
_ICONS = {"edit": "edit", "answer": "reply", "refuse": "block"}
_SEND = {"edit": "Approve with these arguments", "answer": "Send the answer", "refuse": "Refuse"}
_INBOX_SEND = {"edit": "Accept with these arguments", "answer": "Send the response", "refuse": "Ignore"}
_LONGEST_OPTION = 80


def draw_form(skein: Skein, viewer: Viewer, row: ApprovalRow) -> None:
    """What this person can do about what waits, or why they cannot."""
    if row.user_id != viewer.user_id and not viewer.is_admin:
        st.caption(f":material/lock: Only {plain(row.user_name)} or an admin can decide this.")
        return
    if obstacle := find_obstacle(skein.engine, row):
        _draw_obstacle(skein, viewer, row, obstacle)
        return
    actions = row.actions
    _draw_runs_again(row)
    if row.kind == "pause":
        _draw_pause(skein, viewer, row)
    elif not actions:
        _draw_question(skein, viewer, row)
    elif len(actions) == 1:
        _draw_one(skein, viewer, row, actions[0])
    else:
        _draw_several(skein, viewer, row, actions)
    _draw_refused(row)


def _draw_runs_again(row: ApprovalRow) -> None:
    """LangGraph begins the whole step anew: whoever lets it go on should know what then happens twice."""
    if not row.runs_again:
        return
    names = ", ".join(f"**{plain(visible(tool, 120))}**" for tool in row.runs_again)
    st.warning(
        f"When this goes on, its whole step begins anew, so that these tools run a second time: {names}.",
        icon=":material/replay:",
    )


def holds_typing(row: ApprovalRow) -> bool:
    """Whether its form may hold what somebody is typing, which drawing the page without it would lose."""
    has_fields = row.kind != "pause" and len(row.actions) != 1
    return has_fields or bool(state.get(widget_key(row, "opened")))


def _name_of(action: Action | None, kind: str) -> str:
    """What a decision is called, in the words of the form that asks for it."""
    return (_INBOX_NAMES if action is not None and action.is_inbox else _NAMES)[kind]


# -- one tool call ------------------------------------------------------------------------------------------


def _draw_one(skein: Skein, viewer: Viewer, row: ApprovalRow, action: Action) -> None:
    opened = state.get(widget_key(row, "opened"))
    if opened in action.allowed and opened in _SEND:
        _draw_opened(skein, viewer, row, action, opened)
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if "approve" in action.allowed:
            _draw_approve(skein, viewer, row, action)
        for kind in (kind for kind in _SEND if kind in action.allowed):
            _draw_opener(row, kind, _name_of(action, kind))
        _draw_stop(skein, viewer, row)


def _draw_opener(row: ApprovalRow, kind: str, name: str) -> None:
    st.button(
        name,
        icon=f":material/{_ICONS[kind]}:",
        key=widget_key(row, kind),
        on_click=state.put,
        args=(widget_key(row, "opened"), kind),
    )


def _draw_approve(skein: Skein, viewer: Viewer, row: ApprovalRow, action: Action) -> None:
    st.button(
        _name_of(action, "approve"),
        icon=":material/check:",
        type="primary",
        key=widget_key(row, "approve"),
        on_click=partial(send_at_once, skein, viewer, row, Decision("approve")),
    )
    scopes = {f"Always allow it {SCOPES[scope]}": scope for scope in scopes_for(viewer, row)}
    menu = widget_key(row, "always")
    st.menu_button(
        "Always allow",
        list(scopes),
        icon=":material/done_all:",
        key=menu,
        help="Approve this, and do not ask again about this tool",
        on_click=lambda: _submit(skein, viewer, row, [(Decision("approve"), [])], scope=scopes[state.get(menu)]),
    )


def _draw_opened(skein: Skein, viewer: Viewer, row: ApprovalRow, action: Action | None, kind: str) -> None:
    """The fields of one kind of decision, and the way back."""
    asks_scope = kind == "refuse" and action is not None
    send_name = (_INBOX_SEND if action is not None and action.is_inbox else _SEND)[kind]

    def submit() -> None:
        scope = read_scope(row) if asks_scope else None
        _submit(skein, viewer, row, [read_decision(row, action, kind)], scope=scope)

    with st.form(widget_key(row, f"form.{kind}"), border=False):
        draw_decision(row, action, kind)
        if asks_scope:
            draw_scope(viewer, row, "Always deny it")
        with st.container(horizontal=True, gap="small"):
            st.form_submit_button(send_name, type="primary", key=widget_key(row, f"send.{kind}"), on_click=submit)
            st.form_submit_button(
                "Back",
                type="tertiary",
                key=widget_key(row, f"back.{kind}"),
                on_click=state.take,
                args=(widget_key(row, "opened"),),
            )


def _submit(
    skein: Skein,
    viewer: Viewer,
    row: ApprovalRow,
    read: Sequence[tuple[Decision, list[str]]],
    *,
    scope: str | None = None,
) -> None:
    """Send what was read of the fields; what does not fit is said below them, and all stays as it was typed."""
    if is_too_late(skein, viewer, row):
        return
    refused = [problem for _, problems in read for problem in problems]
    decisions = [decision for decision, _ in read]
    if not refused and (problem := send(skein, viewer, row, decisions, scope=scope)):
        refused = [problem]
    if refused:
        state.put(state.APPROVALS_REFUSED, (row.approval_id, refused))


def _draw_refused(row: ApprovalRow) -> None:
    approval_id, problems = state.get(state.APPROVALS_REFUSED) or ("", [])
    if approval_id != row.approval_id:
        return
    state.take(state.APPROVALS_REFUSED)
    for problem in problems:
        st.error(plain_lines(problem), icon=":material/error:")


# -- several tool calls -------------------------------------------------------------------------------------


def _draw_several(skein: Skein, viewer: Viewer, row: ApprovalRow, actions: Sequence[Action]) -> None:
    """A choice for each of them, and then one form with what the choices ask for; they are sent together."""
    kinds = [_draw_choice(row, number, action) for number, action in enumerate(actions)]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if all("approve" in action.allowed for action in actions):
            st.button(
                f"{_name_of(actions[0], 'approve')} all",
                icon=":material/done_all:",
                key=widget_key(row, "approve"),
                on_click=partial(send_at_once, skein, viewer, row, Decision("approve"), times=len(actions)),
            )
        _draw_stop(skein, viewer, row)
    if not all(kinds):
        st.caption("Decide about each of them; the decisions are sent together.")
        return
    chosen = [(action, kind or "") for action, kind in zip(actions, kinds, strict=True)]

    def submit() -> None:
        read = [read_decision(row, action, kind, number=number) for number, (action, kind) in enumerate(chosen)]
        _submit(skein, viewer, row, read, scope=read_scope(row))

    with st.form(widget_key(row, "form.several"), border=False):
        for number, (action, kind) in enumerate(chosen):
            _draw_named(row, action, kind, number)
        draw_scope(viewer, row, "Always do the same")
        st.form_submit_button(
            "Send the decisions", type="primary", key=widget_key(row, "send.several"), on_click=submit
        )


def _draw_choice(row: ApprovalRow, number: int, action: Action) -> str | None:
    return st.segmented_control(
        f"{number + 1}. {plain(visible(action.tool, 120))}",
        list(action.allowed),
        format_func=partial(_name_of, action),
        key=widget_key(row, f"choice.{number}"),
    )


def _draw_named(row: ApprovalRow, action: Action, kind: str, number: int) -> None:
    if kind in _SEND:
        st.markdown(
            f"**{number + 1}. {plain(visible(action.tool, 120))}** :small[{_name_of(action, kind).lower()}]"
        )
    draw_decision(row, action, kind, number=number)


# -- questions, pauses, and what nobody can decide ------------------------------------------------------------


def _draw_question(skein: Skein, viewer: Viewer, row: ApprovalRow) -> None:
    if state.get(widget_key(row, "opened")) == "refuse":
        st.caption("The agent cannot go on without an answer: to refuse it ends the run.")
        _draw_opened(skein, viewer, row, None, "refuse")
        return
    options = options_of(row.value)
    if options:
        _draw_options(skein, viewer, row, options)

    def submit() -> None:
        answer, problems = read_answer(row)
        _submit(skein, viewer, row, [(Decision("answer", answer=answer), problems)])

    with st.form(widget_key(row, "form.question"), border=False):
        draw_answer(row, "Or in your own words" if options else "Your answer")
        st.form_submit_button(
            "Send the answer", type="primary", key=widget_key(row, "send.question"), on_click=submit
        )
    _draw_opener(row, "refuse", _NAMES["refuse"])


def _draw_options(skein: Skein, viewer: Viewer, row: ApprovalRow, options: Sequence[Any]) -> None:
    with st.container(horizontal=True, gap="small"):
        for number, option in enumerate(options):
            st.button(
                plain(shortened(in_a_line(option), _LONGEST_OPTION)) or "(empty)",
                key=widget_key(row, f"option.{number}"),
                on_click=partial(send_at_once, skein, viewer, row, Decision("answer", answer=option)),
            )


def _draw_pause(skein: Skein, viewer: Viewer, row: ApprovalRow) -> None:
    if state.get(widget_key(row, "opened")) == "edit":
        _draw_state(skein, viewer, row)
        return
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Continue",
            icon=":material/play_arrow:",
            type="primary",
            key=widget_key(row, "approve"),
            on_click=partial(send_at_once, skein, viewer, row, Decision("approve")),
        )
        _draw_opener(row, "edit", "Edit the state")
        st.button(
            "Stop",
            icon=":material/stop:",
            key=widget_key(row, "refuse"),
            help="End the run here; what has been said is kept",
            on_click=partial(send_at_once, skein, viewer, row, Decision("refuse")),
        )


def _draw_state(skein: Skein, viewer: Viewer, row: ApprovalRow) -> None:
    """The parts of the state that are to be other ones when it goes on."""
    key = widget_key(row, "state.field")
    try:
        step = skein.engine.get_state(viewer, row.thread_id)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        return
    st.caption("What is changed here holds when it goes on, in the same thread; all else stays as it is.")
    parts = draw_edits(skein, row.agent_id, step, key=key)

    def submit() -> None:
        edits, problems = read_edits(typed_edits(parts, key=key), step.values)
        if not edits and not problems:
            problems = ["Nothing has been changed yet; change a part of the state, or go back and continue."]
        _submit(skein, viewer, row, [(Decision("edit", arguments=edits), problems)])

    with st.container(horizontal=True, gap="small"):
        st.button(
            "Continue with this state",
            icon=":material/play_arrow:",
            type="primary",
            key=widget_key(row, "send.state"),
            on_click=submit,
        )
        st.button(
            "Back",
            type="tertiary",
            key=widget_key(row, "back.state"),
            on_click=state.take,
            args=(widget_key(row, "opened"),),
        )


def _draw_stop(skein: Skein, viewer: Viewer, row: ApprovalRow) -> None:
    st.button(
        "Stop",
        icon=":material/stop:",
        type="tertiary",
        key=widget_key(row, "stop"),
        help="End the run without a decision; what has been said is kept",
        on_click=partial(stop, skein, viewer, row),
    )


def _draw_obstacle(skein: Skein, viewer: Viewer, row: ApprovalRow, obstacle: str) -> None:
    st.warning(plain_lines(obstacle), icon=":material/link_off:")
    with st.container(horizontal=True, gap="small"):
        if row.user_id == viewer.user_id:
            st.button(
                "Try again",
                icon=":material/refresh:",
                key=widget_key(row, "retry"),
                help="Ends this run and answers the message anew, from its last state",
                on_click=partial(start_anew, skein, viewer, row),
            )
        _draw_stop(skein, viewer, row)
