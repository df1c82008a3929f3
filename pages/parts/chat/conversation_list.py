"""The list of recent conversations beside the chat: find one, begin one, see which is being answered.

Invariant: it is drawn with the page; while an answer is written only its own row is drawn again, in its place.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.history.conversations import ConversationRow, list_conversations, restore_conversation
from core.ids import ConversationId
from core.skein import Skein
from pages.parts.ui import state
from pages.parts.ui.open_branch import open_last, point_at
from pages.parts.ui.text import plain, shortened

_PAGE = 30


@dataclass(frozen=True)
class OwnRow:
    """The place of the open conversation's row, or of a new one's; none where the list does not show it."""

    skein: Skein
    viewer: Viewer
    place: DeltaGenerator | None
    shown: ConversationRow | None = None

    def draw(self, row: ConversationRow, *, when: str) -> None:
        """Draw it again as it is now; ``when`` tells apart those of one run."""
        if self.place is not None:
            with self.place:
                _draw_row(self.skein, self.viewer, row, is_current=True, suffix=f".{when}")

    def draw_ended(self) -> None:
        """Take the mark of what was being answered off, when it was there."""
        if self.shown is not None and self.shown.is_live:
            self.draw(replace(self.shown, is_live=False), when="ended")


def draw_conversation_list(skein: Skein, viewer: Viewer, current: ConversationId | None) -> OwnRow:
    """Draws into the sidebar, and gives the place of the row that changes with what is said here."""
    with st.sidebar:
        st.button(
            "New chat",
            icon=":material/add:",
            key="chat.new",
            type="primary",
            width="stretch",
            help="Ctrl + Shift + O",
            shortcut="Ctrl+Shift+O",
            on_click=point_at,
            args=(None, None),
        )
        st.text_input(
            "Find a conversation",
            key=state.SEARCH,
            placeholder="Find by title",
            icon=":material/search:",
            label_visibility="collapsed",
        )
        _draw_undo(skein, viewer)
        return _draw_rows(skein, viewer, current)


def _draw_rows(skein: Skein, viewer: Viewer, current: ConversationId | None) -> OwnRow:
    search = state.get(state.SEARCH) or ""
    pages = state.get(state.PAGES) or 1
    with skein.database.read() as db:
        rows = list_conversations(viewer, db, search=search, limit=_PAGE * pages + 1)
    own: DeltaGenerator | None = None
    shown: ConversationRow | None = None
    with st.container(gap=None, key="chat_list"):
        if current is None and not search:
            own = st.empty()
        if not rows and own is not None:
            own.caption("Your conversations will be listed here.")
        elif not rows:
            st.caption("Nothing is called that.")
        for row in rows[: _PAGE * pages]:
            is_current = row.conversation_id == current
            if is_current:
                own, shown = st.empty(), row
            with own if own is not None and is_current else nullcontext():
                _draw_row(skein, viewer, row, is_current=is_current)
    if len(rows) > _PAGE * pages:
        st.button("Show more", key="chat.more", type="tertiary", on_click=state.put, args=(state.PAGES, pages + 1))
    return OwnRow(skein, viewer, own, shown)


def _draw_row(skein: Skein, viewer: Viewer, row: ConversationRow, *, is_current: bool, suffix: str = "") -> None:
    st.button(
        label(row),
        key=f"chat.open.{row.conversation_id}{suffix}",
        type="secondary" if is_current else "tertiary",
        icon=icon(row),
        width="stretch",
        wrap=False,
        on_click=partial(open_last, skein, viewer, row.conversation_id),
    )


def label(row: ConversationRow) -> str:
    """The title as a line of the list, without what Markdown would take for its own."""
    return plain(shortened(row.title or "Untitled", 36))


def icon(row: ConversationRow) -> str | None:
    if row.is_live:
        return "spinner"
    return ":material/front_hand:" if row.is_waiting else None


def _draw_undo(skein: Skein, viewer: Viewer) -> None:
    deleted = state.get(state.DELETED)
    if not deleted:
        return
    conversation_id, title = deleted
    with st.container(border=True, gap="small"):
        st.caption(f"Deleted “{plain(shortened(title, 40))}”.")
        st.button(
            "Undo",
            icon=":material/undo:",
            key="chat.undo",
            width="stretch",
            on_click=partial(_undo, skein, viewer, conversation_id),
        )


def _undo(skein: Skein, viewer: Viewer, conversation_id: ConversationId) -> None:
    state.take(state.DELETED)
    with state.problems():
        skein.database.write(lambda db: restore_conversation(viewer, db, conversation_id))
        open_last(skein, viewer, conversation_id)
