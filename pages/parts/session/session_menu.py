"""What can be done with a session as a whole, in one menu: only what its viewer may do is offered."""

import streamlit as st

from core.access.viewer import Viewer
from core.history.sessions import SessionRow, rename_session
from core.history.templates import draft_of_session, save_template
from core.skein import Skein
from pages.parts.browse.browse_bulk import ARCHIVE, DELETE, EXPORT, UNARCHIVE, open_deed
from pages.parts.ui.dialogs import want_chosen, wanted
from pages.parts.ui.text_dialog import ask

_RENAME, _TEMPLATE = "Rename", "Save as template"
_KEY = "session.menu"


def draw_menu(skein: Skein, viewer: Viewer, row: SessionRow) -> None:
    """The menu, and the dialog of what was chosen in it."""
    is_own = viewer.may_change(row.user_id)
    ways = [EXPORT, _TEMPLATE]
    if is_own:
        ways.insert(0, _RENAME)
    if is_own or viewer.is_admin:
        ways += [UNARCHIVE if row.status == "archived" else ARCHIVE, DELETE]
    st.menu_button(
        "More", ways, key=_KEY, icon=":material/more_horiz:", type="tertiary", on_click=want_chosen, args=(_KEY,)
    )
    way = wanted(_KEY)
    if way == _RENAME:
        ask("Rename the session", "Title", lambda title: _rename(skein, viewer, row, title), value=row.title)
    elif way == _TEMPLATE:
        hint = (
            "It keeps title, agent, settings and what was said first; find it under New session on the Browse page."
        )
        ask("Save as template", "Name", lambda name: _save(skein, viewer, row, name), value=row.title, hint=hint)
    elif way:
        open_deed(skein, viewer, [row.session_id], way)


def _rename(skein: Skein, viewer: Viewer, row: SessionRow, title: str) -> None:
    skein.database.write(lambda db: rename_session(viewer, db, row.session_id, title))


def _save(skein: Skein, viewer: Viewer, row: SessionRow, name: str) -> None:
    with skein.database.read() as db:
        draft = draft_of_session(viewer, db, row.session_id)
    skein.database.write(lambda db: save_template(viewer, db, name=name, draft=draft))
