"""The list of recent conversations beside the chat: find one, begin one, see which is being answered."""

import streamlit as st

from core.access.viewer import Viewer
from core.history.conversations import ConversationRow, list_conversations, restore_conversation
from core.ids import ConversationId
from core.skein import Skein
from pages.parts import state
from pages.parts.opened import open_last, point_at
from pages.parts.text import plain, shortened

_PAGE = 30
_REFRESH_SECONDS = 2.0


def draw_conversation_list(skein: Skein, viewer: Viewer, current: ConversationId | None) -> None:
    """Draws into the sidebar; the rows look after themselves while something of the viewer's is running."""
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
        busy = bool(skein.engine.active(viewer))
        st.fragment(_draw_rows, run_every=_REFRESH_SECONDS if busy else None)(skein, viewer, current)


def _draw_rows(skein: Skein, viewer: Viewer, current: ConversationId | None) -> None:
    search = state.get(state.SEARCH) or ""
    pages = state.get(state.PAGES) or 1
    with skein.database.read() as db:
        rows = list_conversations(viewer, db, search=search, limit=_PAGE * pages + 1)
    if not rows:
        st.caption("Nothing is called that." if search else "Your conversations will be listed here.")
    with st.container(gap=None, key="chat_list"):
        for row in rows[: _PAGE * pages]:
            chosen = st.button(
                label(row),
                key=f"chat.open.{row.conversation_id}",
                type="secondary" if row.conversation_id == current else "tertiary",
                icon=icon(row),
                width="stretch",
                wrap=False,
            )
            if chosen:
                open_last(skein, viewer, row.conversation_id)
                # A click here runs only these rows anew; it is the page that has to be.
                st.rerun(scope="app")
    if len(rows) > _PAGE * pages:
        st.button("Show more", key="chat.more", type="tertiary", on_click=state.put, args=(state.PAGES, pages + 1))


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
        st.caption(f"Deleted “{title[:40]}”.")
        if st.button("Undo", icon=":material/undo:", key="chat.undo", width="stretch"):
            state.take(state.DELETED)
            with state.problems():
                skein.database.write(lambda db: restore_conversation(viewer, db, conversation_id))
                open_last(skein, viewer, conversation_id)
            st.rerun()
