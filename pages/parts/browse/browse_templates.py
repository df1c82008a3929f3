"""The templates of sessions: a list of them, and a form to write or change one, or to make one from a session.

Invariant: only one's own templates change; of somebody's shared one there is a copy to be made.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.templates import (
    LONGEST_MESSAGE,
    MOST_MESSAGES,
    Draft,
    TemplateRow,
    delete_template,
    draft_of_session,
    list_templates,
    save_template,
)
from core.ids import SessionId, TemplateId
from core.skein import Skein
from pages.parts.ui import state
from pages.parts.ui.dialogs import forget
from pages.parts.ui.format import counted
from pages.parts.ui.text import plain, plain_lines, shortened

_NEW = "new"
_EDITED = f"{state.BROWSE_DRAFT}edited"
_USUAL = ""


def draw_templates(skein: Skein, viewer: Viewer) -> None:
    """The list; or the form, while one of them is open."""
    edited = state.get(_EDITED)
    with skein.database.read() as db:
        row = next((row for row in list_templates(viewer, db) if row.template_id == edited), None)
    if row is not None or edited == _NEW:
        _draw_one(skein, viewer, row)
    else:
        _draw_list(skein, viewer)


def _draw_list(skein: Skein, viewer: Viewer) -> None:
    with skein.database.read() as db:
        rows = list_templates(viewer, db)
    if not rows:
        st.info(
            "A template keeps a title, an agent with its settings, and first messages, to start sessions from.",
            icon=":material/article:",
        )
    for row in rows:
        _draw_row(skein, viewer, row)
    st.button("New template", icon=":material/add:", key="browse.template.new", on_click=_open, args=(_NEW,))


def _draw_row(skein: Skein, viewer: Viewer, row: TemplateRow) -> None:
    is_own = row.user_id == viewer.user_id
    with st.container(horizontal=True, vertical_alignment="center", gap="small", border=True):
        with st.container(width="stretch", gap=None):
            st.markdown(f"**{plain(shortened(row.name, 80))}**")
            whose = "yours" if is_own else f"by {plain(row.user_name)}"
            shared = ", shared with everyone" if row.shared and is_own else ""
            said = counted(len(row.messages), "message")
            st.caption(f"{plain(row.agent_id)} · {said} · {whose}{shared}")
        st.button(
            "Edit" if is_own else "Copy",
            key=f"browse.template.edit.{row.template_id}",
            icon=":material/edit:" if is_own else ":material/content_copy:",
            on_click=_open,
            args=(str(row.template_id),),
        )
        if is_own:
            st.button(
                "",
                key=f"browse.template.drop.{row.template_id}",
                icon=":material/delete:",
                type="tertiary",
                help="Delete this template",
                on_click=_drop,
                args=(skein, viewer, row.template_id),
            )


def _open(template_id: str) -> None:
    state.put(_EDITED, template_id)


def _close() -> None:
    state.take(_EDITED)


def _drop(skein: Skein, viewer: Viewer, template_id: TemplateId) -> None:
    with state.problems(state.BROWSE_NOTICE):
        skein.database.write(lambda db: delete_template(viewer, db, template_id))


def _draw_one(skein: Skein, viewer: Viewer, row: TemplateRow | None) -> None:
    st.button(
        "All templates", icon=":material/arrow_back:", type="tertiary", key="browse.template.back", on_click=_close
    )
    draft = Draft(row.title, row.agent_id, row.settings, row.messages) if row else Draft()
    own = row if row is not None and row.user_id == viewer.user_id else None
    key = _key_of(row.template_id if row else _NEW)
    name = row.name if row else ""
    shared = bool(own and own.shared)
    draw_form(skein, viewer, draft, key=key, name=name, shared=shared, before=own, then=_close)


def draw_from_session(skein: Skein, viewer: Viewer, session_id: SessionId) -> None:
    """The form, filled with what was said first in a session."""
    key = _key_of(session_id)
    try:
        with skein.database.read() as db:
            draft = draft_of_session(viewer, db, session_id)
    except SkeinError as error:
        st.error(plain_lines(str(error)))
        return
    draw_form(skein, viewer, draft, key=key, name=shortened(draft.title, 80), then=_say_kept)


def _say_kept() -> None:
    forget()
    state.put(state.BROWSE_DONE, "The template is kept; start from it under New.")
    st.rerun()


def draw_form(
    skein: Skein,
    viewer: Viewer,
    draft: Draft,
    *,
    key: str,
    then: Callable[[], None],
    name: str = "",
    shared: bool = False,
    before: TemplateRow | None = None,
) -> None:
    """The fields of a template, which is kept in place of the one it was ``before``; what comes ``then``."""
    if problem := state.take(state.BROWSE_PROBLEM):
        st.error(plain_lines(problem))
    st.text_input("Name", value=name, max_chars=80, key=f"{key}.name")
    st.text_input("Title of the sessions", value=draft.title, max_chars=200, key=f"{key}.session_title")
    settings = _draw_agent(skein, draft, key)
    _draw_messages(draft, key)
    st.toggle("Everyone may start from it", value=shared, key=f"{key}.shared")
    st.button(
        "Save",
        key="browse.template.save",
        type="primary",
        on_click=_save,
        args=(skein, viewer, key, settings),
        kwargs={"before": before, "then": then},
    )


def _save(
    skein: Skein,
    viewer: Viewer,
    key: str,
    settings: dict[str, Any],
    *,
    before: TemplateRow | None,
    then: Callable[[], None],
) -> None:
    """Keep what the fields hold; where that cannot be, they stay as they are."""
    model = state.get(f"{key}.model")
    said = [state.get(f"{key}.message.{number}") or "" for number in range(MOST_MESSAGES)]
    draft = Draft(
        state.get(f"{key}.session_title") or "",
        state.get(f"{key}.agent"),
        settings | ({"model": model} if model else {}),
        [text for text in said if text.strip()],
    )
    name, shared = state.get(f"{key}.name") or "", bool(state.get(f"{key}.shared"))
    with state.problems(state.BROWSE_PROBLEM):
        skein.database.write(lambda db: _keep(viewer, db, name, draft, shared=shared, before=before))
        then()


def _keep(viewer: Viewer, db: Db, name: str, draft: Draft, *, shared: bool, before: TemplateRow | None) -> None:
    kept = save_template(viewer, db, name=name, draft=draft, shared=shared)
    if before is not None and kept != before.template_id:
        delete_template(viewer, db, before.template_id)


def _draw_agent(skein: Skein, draft: Draft, key: str) -> dict[str, Any]:
    """Who answers, with which model; gives the other settings, which are kept as they are."""
    agents = [agent.agent_id for agent in skein.agents.list() if agent.graph is not None]
    agents = agents if draft.agent_id in agents else [draft.agent_id, *agents]
    models = {_USUAL: "As usual"} | {model.name: model.label for model in skein.chat_models.offered()}
    settings = dict(draft.settings or {})
    model = str(settings.pop("model", _USUAL))
    models.setdefault(model, model)
    left, right = st.columns(2)
    agent_id = left.selectbox("Agent", agents, agents.index(draft.agent_id), key=f"{key}.agent")
    right.selectbox(
        "Model", list(models), list(models).index(model), format_func=models.__getitem__, key=f"{key}.model"
    )
    if agent_id != draft.agent_id:
        return {}  # another agent's settings mean nothing to this one
    if settings:
        told = ", ".join(f"{plain(name)} {plain(shortened(str(it), 60))}" for name, it in settings.items())
        st.caption(f"Also kept: {told}")
    return settings


def _draw_messages(draft: Draft, key: str) -> None:
    """A field for each message, and an empty one for the next."""
    for number in range(MOST_MESSAGES):
        value = draft.messages[number] if number < len(draft.messages) else ""
        text = st.text_area(
            f"Message {number + 1}",
            value=value,
            height=80,
            max_chars=LONGEST_MESSAGE,
            key=f"{key}.message.{number}",
            placeholder="" if number else "What is said first; empty to begin without a message",
        )
        if not text.strip() and number >= len(draft.messages):
            return


def _key_of(name: str) -> str:
    return f"{state.BROWSE_DRAFT}{name}"
