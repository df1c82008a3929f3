"""Deeds on many sessions: what is chosen, what a deed would touch, and then the deed, with its progress.

Invariant: a deed is done to exactly the sessions that its preview counted, whatever fits the filter meanwhile.
"""

import time
from collections.abc import Callable
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.annotations import list_tags
from core.history.browse.counting import count_changed
from core.history.sessions import UNDO, get_session, rename_session
from core.ids import SessionId
from core.records import bulk
from core.records.bulk import Action, Done, Preview, Wanted
from core.skein import Skein
from pages.parts.browse.browse_selection import choose_every, choose_none, chosen, chosen_ids, is_every
from pages.parts.browse.browse_templates import draw_from_session
from pages.parts.browse.browse_url import OF_ONE, Place
from pages.parts.browse.export_view import draw_export
from pages.parts.ui import state
from pages.parts.ui.address import change
from pages.parts.ui.dialogs import draw_problem, finish, open_dialog, want_chosen, wanted
from pages.parts.ui.format import count, counted, size
from pages.parts.ui.long_action import Report, do_with_bar
from pages.parts.ui.text import plain_lines
from pages.parts.ui.text_dialog import ask

MOST = 10_000
"""Sessions are counted up to this many."""
TAG, UNTAG = "Tag", "Take a tag off"
ARCHIVE, UNARCHIVE, EXPORT, DELETE = "Archive", "Take out of the archive", "Export", "Delete"
_WAYS: dict[str, Action] = {
    TAG: "tag",
    UNTAG: "tag",
    ARCHIVE: "archive",
    UNARCHIVE: "archive",
    EXPORT: "export",
    DELETE: "delete",
}
_ICONS = {TAG: "sell", ARCHIVE: "archive", EXPORT: "download", DELETE: "delete"}
_RENAME, _TEMPLATE = "Rename", "Make a template"
_OF_ONE = (_RENAME, _TEMPLATE)
_MENU, _TAG = "browse.bulk", "browse.bulk.tag"
_ROUNDS = 5
_Deed = Callable[[Report], Done]


def draw_bar(skein: Skein, viewer: Viewer, place: Place, total: int) -> None:
    """How many sessions there are, how many of them are chosen, and what can be done with those."""
    number = total if is_every(place) else len(chosen_ids())
    if not number:
        with st.container(width="stretch"):
            st.markdown(f"##### {_total(total)}")
        if total:
            st.button(
                "Choose all",
                icon=":material/select_all:",
                key="browse.choose_all",
                type="tertiary",
                help="Choose every session that fits the filter, on all pages",
                on_click=choose_every,
                args=(place,),
            )
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="browse_chosen"):
        st.markdown(f"##### {_chosen_words(number, total, place)}", width="content")
        if not is_every(place) and total > number:
            label = f"Choose all {_capped(total)}"
            st.button(label, key="browse.choose_all", type="tertiary", on_click=choose_every, args=(place,))
        st.button("None", key="browse.none", type="tertiary", icon=":material/close:", on_click=choose_none)
    sessions = chosen(place)
    ways = [*_WAYS, *(_OF_ONE if number == 1 and not is_every(place) else ())]
    st.menu_button(
        "With these",
        ways,
        key=_MENU,
        icon=":material/checklist:",
        type="primary",
        on_click=want_chosen,
        args=(_MENU,),
    )
    way = wanted(_MENU)
    if way in _OF_ONE:
        _open_one(skein, viewer, SessionId(chosen_ids()[0]), str(way))
    elif way and sessions is not None:
        open_deed(skein, viewer, sessions, way)


def _open_one(skein: Skein, viewer: Viewer, session_id: SessionId, way: str) -> None:
    if way == _TEMPLATE:
        open_dialog("New template", draw_from_session, skein, viewer, session_id, width="medium")
        return
    try:
        with skein.database.read() as db:
            title = get_session(viewer, db, session_id).title
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        return

    def rename(typed: str) -> None:
        skein.database.write(lambda db: rename_session(viewer, db, session_id, typed))

    ask("Rename the session", "Title", rename, value=title)


def _total(total: int) -> str:
    return f"{_capped(total)} sessions" if total >= MOST else counted(total, "session")


def _capped(total: int) -> str:
    return f"{count(MOST)}+" if total >= MOST else count(total)


def _chosen_words(number: int, total: int, place: Place) -> str:
    if is_every(place):
        return f"All {_capped(total)} chosen"
    return f"{count(number)} chosen"


def open_deed(skein: Skein, viewer: Viewer, wanted: Wanted, way: str) -> None:
    """Open the dialog that shows what a deed would touch, and does it when that is confirmed."""
    try:
        found = bulk.preview(viewer, skein.database, wanted, _WAYS[way])
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        return
    open_dialog(f"{way}: {counted(found.sessions, 'session')}", _draw, skein, viewer, way, found)


def _draw(skein: Skein, viewer: Viewer, way: str, found: Preview) -> None:
    st.markdown(describe(found))
    for note in notes(found, way):
        st.caption(note)
    if not found.sessions:
        return
    if way == EXPORT:
        draw_export(skein, viewer, found.ids)
        return
    name = _draw_tag(skein, viewer, way) if way in {TAG, UNTAG} else ""
    is_ready = bool(name) or way not in {TAG, UNTAG}
    bar = st.empty()
    st.button(
        _button(way, found),
        key="browse.bulk.do",
        type="primary",
        disabled=not is_ready,
        on_click=finish,
        args=(partial(_do, viewer, skein, way, found, bar),),
    )
    draw_problem()


def _draw_tag(skein: Skein, viewer: Viewer, way: str) -> str:
    with skein.database.read() as db:
        tags = list(list_tags(viewer, db))
    if way == UNTAG and not tags:
        st.info("There is no tag to take off yet.", icon=":material/sell:")
        return ""
    return (
        st.selectbox(
            "Tag",
            tags,
            index=None,
            key=_TAG,
            accept_new_options=way == TAG,
            placeholder="Choose a tag, or type a new one" if way == TAG else "Choose a tag",
        )
        or ""
    )


def _button(way: str, found: Preview) -> str:
    return f"{way} ({counted(found.sessions, 'session')})"


def describe(found: Preview) -> str:
    """What is in the sessions, in one line."""
    inside = {
        "conversation": found.conversations,
        "message": found.messages,
        "thread": found.threads,
        "call": found.calls,
        "artifact": found.artifacts,
    }
    parts = [counted(number, noun) for noun, number in inside.items() if number]
    told = f"{', '.join(parts)}; {size(found.bytes)} of text and files" if parts else "nothing in it yet"
    return f"**{counted(found.sessions, 'session')}** with {told}."


def notes(found: Preview, way: str) -> list[str]:
    """What else one should know before doing it."""
    said = []
    if found.not_allowed:
        said.append(
            f":material/lock: {count(found.not_allowed)} more belong to somebody else and stay as they are; only "
            "their owner or an admin can do this."
        )
    if way == DELETE:
        if found.running or found.waiting:
            live = found.running + found.waiting
            said.append(f":material/stop_circle: {counted(live, 'run')} in them run or wait, and are stopped.")
        said.append(
            ":material/undo: For a minute this can be undone. Then messages, states, artifacts and texts of calls "
            "are taken away for good; the measures of the calls stay."
        )
    if way == ARCHIVE:
        said.append(":material/archive: Archived sessions leave the list, and stay readable; nothing is lost.")
    return said


def _do(viewer: Viewer, skein: Skein, way: str, found: Preview, bar: DeltaGenerator) -> None:
    name = state.get(_TAG) or ""
    deeds: dict[str, _Deed] = {
        TAG: lambda report: bulk.tag(viewer, skein.database, found.ids, name, progress=report),
        UNTAG: lambda report: bulk.tag(viewer, skein.database, found.ids, name, remove=True, progress=report),
        ARCHIVE: lambda report: bulk.archive(viewer, skein.database, found.ids, progress=report),
        UNARCHIVE: lambda report: bulk.archive(viewer, skein.database, found.ids, archived=False, progress=report),
        DELETE: lambda report: bulk.delete(viewer, skein.engine, found.ids, progress=report),
    }
    done = do_with_bar(bar, deeds[way], noun="session", begin="Beginning …")
    _count(skein)
    if way == DELETE and done.ids:
        state.put(state.BROWSE_DELETED, (time.time(), done.ids))
        if st.query_params.get("session") in done.ids:
            change(dict.fromkeys(OF_ONE, ()))
    state.put(state.BROWSE_DONE, say_done(way, done))
    choose_none()


def _count(skein: Skein) -> None:
    """Let the list show what was just done; of very many sessions the rest is counted in the background."""
    for _ in range(_ROUNDS):
        if not count_changed(skein.database):
            return


def say_done(way: str, done: Done) -> str:
    """What came of it, and of which sessions nothing came, and why."""
    words = {TAG: "Tagged", UNTAG: "Took the tag off", ARCHIVE: "Archived", DELETE: "Deleted"}
    said = f"{words.get(way, 'Took out of the archive')} {counted(len(done.ids), 'session')}."
    why = " ".join(f"{counted(number, 'session')}: {reason}" for reason, number in done.refused.items())
    return f"{said} Not done: {why}" if why else said


def draw_undo(skein: Skein, viewer: Viewer) -> None:
    """The way back from a deletion, for as long as there is one."""
    when, ids = state.get(state.BROWSE_DELETED) or (0.0, ())
    if not ids or time.time() - when > UNDO.total_seconds():
        state.take(state.BROWSE_DELETED)
        return
    with st.container(horizontal=True, vertical_alignment="center", key="browse_undo"):
        st.caption(f":material/delete: {counted(len(ids), 'session')} deleted.", width="content")
        st.button(
            "Undo",
            icon=":material/undo:",
            key="browse.undo",
            on_click=partial(_undo, skein, viewer, ids),
        )


def _undo(skein: Skein, viewer: Viewer, ids: tuple[SessionId, ...]) -> None:
    state.take(state.BROWSE_DELETED)
    with state.problems(state.BROWSE_NOTICE):
        done = bulk.restore(viewer, skein.database, ids)
        _count(skein)
        state.put(state.BROWSE_DONE, f"Brought back {counted(len(done.ids), 'session')}.")
        if done.refused:
            state.put(state.BROWSE_NOTICE, " ".join(done.refused))
