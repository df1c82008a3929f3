"""The head of an open file: its name, what is to be known of it, and the ways out."""

import streamlit as st

from core.access.viewer import Viewer
from core.checkpoints.foreign.reading import Foreign
from core.records.others import forget_upload
from core.skein import Skein
from pages.parts.databases.foreign_url import Place, go
from pages.parts.inspector.inspector_values import size
from pages.parts.ui.text import plain


def draw_head(skein: Skein, viewer: Viewer, foreign: Foreign, place: Place) -> None:
    """The name of the file and the way back to the choice of one."""
    about = foreign.about()
    with st.container(horizontal=True, vertical_alignment="center", key="foreign_head"):
        title = f"{plain(about.name)} :small[:gray[{size(about.size_bytes)}, read-only]]"
        st.markdown(f"### :material/database: {title}", width="stretch")
        if viewer.is_admin:
            st.button(
                "Another file",
                icon=":material/folder_open:",
                key="databases.other",
                type="tertiary",
                on_click=lambda: _leave(skein, viewer, place),
            )
    if about.is_old:
        st.caption(
            ":material/history: An early version of LangGraph wrote it: subgraphs and writes were not stored then."
        )
    if about.is_open_elsewhere:
        st.caption(":material/sync: Another program may have it open; load the page again to see what is new.")


def _leave(skein: Skein, viewer: Viewer, place: Place) -> None:
    if place.file.startswith("upload:"):
        forget_upload(viewer, skein.settings, place.file)
    go(file="")
