"""An artifact changed by hand: what is typed becomes its next version, with its author.

Invariant: a version that came meanwhile is never hidden by another, and what was typed is kept until it is saved or
given up.
"""

import secrets
from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.history.artifact_content import is_text
from core.history.artifacts import Ref, VersionRow, read_content, write_version
from core.history.task_plan import text_to_plan, write_plan
from core.skein import Skein
from pages.parts.artifacts.artifact_list import Shelf, read_shelf
from pages.parts.artifacts.artifact_view import LONGEST_TEXT, comparable, draw_difference
from pages.parts.ui import state
from pages.parts.ui.open_branch import load
from pages.parts.ui.text import plain, plain_lines

_HEIGHT = 320
_PLAN_HINT = "The title, then a line for each step: `[ ]` open, `[~]` in progress, `[x]` done, `[!]` failed"


def can_edit(shelf: Shelf, row: VersionRow) -> bool:
    """Whether the branch has the artifact, and this version of it is text that a person can type."""
    has_it = shelf.may_edit and shelf.find(row.artifact_id) is not None
    return has_it and is_text(row.media_type) and row.size <= LONGEST_TEXT


def is_editing(artifact_id: str) -> bool:
    return state.get(f"{state.ARTIFACT_DRAFT}{artifact_id}") is not None


def begin_edit(skein: Skein, viewer: Viewer, row: VersionRow, base: VersionRow) -> None:
    """Edit what this version holds, as the next one after the ``base``, which the branch has now."""
    with state.problems(), skein.database.read() as db:
        text, token = comparable(row, read_content(viewer, db, row.ref)), secrets.token_hex(4)
        state.put(f"{state.ARTIFACT_DRAFT}{row.artifact_id}", (base.version, token))
        state.put(f"{state.ARTIFACT_TEXT}{token}", text)


def draw_edit(skein: Skein, viewer: Viewer, shelf: Shelf, versions: Sequence[VersionRow]) -> None:
    """The field, and what stands in the way of saving it: what somebody else made meanwhile is shown first."""
    newest = versions[-1]
    base, token = state.get(f"{state.ARTIFACT_DRAFT}{newest.artifact_id}")
    current = shelf.find(newest.artifact_id)
    is_behind = current is not None and current.version != base
    if current is not None and is_behind:
        _draw_meanwhile(skein, viewer, current, versions, base)
    st.text_area(
        _PLAN_HINT if newest.kind == "task_plan" else "The next version",
        height=_HEIGHT,
        key=f"{state.ARTIFACT_TEXT}{token}",
        persist_state="session",
    )
    is_free = current is not None and shelf.may_edit
    if not is_free:
        st.info("It can be saved when the answer is complete; what you typed is kept.", icon=":material/info:")
    with st.container(horizontal=True):
        version = current.version if current is not None else 0
        st.button(
            f"Save after version {version}" if is_behind else "Save",
            key=f"chat.artifact.save.{version}",
            type="primary",
            disabled=not is_free,
            on_click=partial(_save, skein, viewer, newest.artifact_id, version),
        )
        st.button("Cancel", key="chat.artifact.cancel", type="tertiary", on_click=partial(_end, newest.artifact_id))
    if problem := state.take(state.ARTIFACT_PROBLEM):
        st.warning(plain_lines(problem), icon=":material/info:")


def _draw_meanwhile(
    skein: Skein, viewer: Viewer, current: VersionRow, versions: Sequence[VersionRow], base: int
) -> None:
    st.warning(
        f"Meanwhile version {current.version} was made by {plain(current.user_name)}; "
        "nothing was saved yet, and what you typed is kept below.",
        icon=":material/info:",
    )
    older = next((row for row in versions if row.version == base), None)
    if older is not None:
        with st.expander(f"What changed in version {current.version}", type="compact"):
            draw_comparison(skein, viewer, older, current)


def draw_comparison(skein: Skein, viewer: Viewer, older: VersionRow, newer: VersionRow) -> None:
    """What differs between two versions."""
    with skein.database.read() as db:
        old, new = (read_content(viewer, db, row.ref) for row in (older, newer))
    draw_difference(older, old, newer, new)


def _save(skein: Skein, viewer: Viewer, artifact_id: str, version: int) -> None:
    """Save what is typed as the next one after this version, unless another one has come since it was drawn.

    A click that leaves the artifact may come together with this one, and be called before it.
    """
    with state.problems(state.ARTIFACT_PROBLEM):
        shelf = read_shelf(skein, viewer, load(skein, viewer))
        current = shelf.find(artifact_id)
        if current is None or current.version != version or not shelf.may_edit or not is_editing(artifact_id):
            return
        _, token = state.get(f"{state.ARTIFACT_DRAFT}{artifact_id}")
        ref = _write(skein, viewer, shelf, current, state.get(f"{state.ARTIFACT_TEXT}{token}") or "")
        _end(artifact_id)
        if st.query_params.get("artifact") == artifact_id:
            st.query_params["version"] = str(ref.version)


def _write(skein: Skein, viewer: Viewer, shelf: Shelf, current: VersionRow, typed: str) -> Ref:
    content = write_plan(text_to_plan(typed)) if current.kind == "task_plan" else typed.encode("utf-8", "ignore")
    return skein.database.write(
        lambda db: write_version(
            viewer,
            db,
            session_id=current.session_id,
            kind=current.kind,
            name=current.name,
            content=content,
            media_type=current.media_type,
            artifact_id=current.artifact_id,
            base_version=current.version,
            thread_id=shelf.thread_id,
            by_hand=True,
        )
    )


def _end(artifact_id: str) -> None:
    _, token = state.take(f"{state.ARTIFACT_DRAFT}{artifact_id}")
    state.take(f"{state.ARTIFACT_TEXT}{token}")
