"""The choice of a file: what the settings name, a path on the server, or a file that is brought along."""

from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.errors import BadInputError
from core.records.others import SETTING, keep_upload
from core.skein import Skein
from pages.parts.databases.foreign_url import go
from pages.parts.ui import state
from pages.parts.ui.text import plain, plain_lines
from pages.parts.ui.uploads import refusal_of

_LARGEST_MB = 200


def draw_start(skein: Skein, viewer: Viewer) -> None:
    """For admins: which file to look into."""
    st.markdown("### Other databases")
    st.caption(
        "Look into a SQLite file that any LangGraph program wrote: its threads, checkpoints, branches and "
        "messages. The file is only read, and none of its code is run."
    )
    if problem := state.take(state.FOREIGN_PROBLEM):
        st.warning(plain_lines(problem), icon=":material/error:")
    if skein.settings.open is not None:
        _draw_set(skein.settings.open.name)
    by_path, by_upload = st.columns(2, gap="medium")
    with by_path.container(border=True, height="stretch"):
        _draw_path()
    with by_upload.container(border=True, height="stretch"):
        _draw_upload(skein, viewer)


def _draw_set(name: str) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f":material/database: **{plain(name)}** :small[:gray[named by `SKEIN_OPEN`]]", width="stretch")
        st.button("Open", key="databases.set", type="primary", on_click=partial(go, file=SETTING))


def _draw_path() -> None:
    st.markdown("**On this server**")
    with st.form("databases.path_form", border=False):
        key = f"{state.FOREIGN_WIDGET}path"
        st.text_input("Path of the file", key=key, placeholder="checkpoints.sqlite", autocomplete="off")
        st.form_submit_button("Open", key="databases.path", on_click=lambda: _open_path(state.get(key) or ""))


def _open_path(path: str) -> None:
    if path.strip():
        go(file=path.strip())
    else:
        state.put(state.FOREIGN_PROBLEM, "Type the path of a SQLite file on this server.")


def _draw_upload(skein: Skein, viewer: Viewer) -> None:
    st.markdown("**From your computer**")
    key = f"{state.FOREIGN_WIDGET}upload"
    files = st.file_uploader(
        "The file, and its log (-wal) if there is one",
        accept_multiple_files=True,
        key=key,
        max_upload_size=_LARGEST_MB,
        help="Kept for a day, for you alone, and never changed",
    )
    st.button("Open", key="databases.upload", disabled=not files, on_click=_keep_upload, args=(skein, viewer, key))


def _keep_upload(skein: Skein, viewer: Viewer, key: str) -> None:
    with state.problems(state.FOREIGN_PROBLEM):
        files = {file.name: file for file in state.get(key) or ()}
        for name, file in files.items():
            if refused := refusal_of(name, file.getvalue()):
                raise BadInputError(refused)
        go(file=keep_upload(viewer, skein.settings, files))
