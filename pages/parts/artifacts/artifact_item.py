"""One artifact in the panel: its versions, what one holds, what changed in it, and how to take or change it."""

from collections.abc import Sequence
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.history.artifact_content import is_text
from core.history.artifacts import VersionRow, download, read_content
from core.skein import Skein
from pages.parts.artifacts.artifact_edit import begin_edit, can_edit, draw_comparison, draw_edit, is_editing
from pages.parts.artifacts.artifact_list import Shelf, of_branch
from pages.parts.artifacts.artifact_url import ALL, describe_version, file_name, show_artifact, version_wanted
from pages.parts.artifacts.artifact_view import draw_content, icon_of
from pages.parts.ui import state
from pages.parts.ui.days import zone
from pages.parts.ui.open_branch import open_at
from pages.parts.ui.text import plain


def draw_one(skein: Skein, viewer: Viewer, shelf: Shelf, versions: Sequence[VersionRow]) -> None:
    """The version that the address names, else the one that the branch has, else the newest."""
    own, offered = shelf.find(versions[-1].artifact_id), of_branch(shelf, versions)
    row = _chosen([*offered, *versions], own)
    _draw_head(row)
    if own is None or row not in offered:
        st.caption("This branch does not have this version: it was made in another one.")
        offered = list(versions)
    _draw_versions(offered, row, own)
    _draw_where(skein, viewer, row)
    if is_editing(row.artifact_id):
        draw_edit(skein, viewer, shelf, versions)
        return
    is_read = is_text(row.media_type) or row.media_type.startswith("image/")
    with skein.database.read() as db:
        content = read_content(viewer, db, row.ref) if is_read else b""
    with st.container(horizontal=True):
        _draw_ways(skein, viewer, shelf, row, own)
    shown, different = _draw_tabs(offered)
    with shown:
        draw_content(row, content)
    if different is not None:
        with different:
            _draw_changes(skein, viewer, offered, row)


def _chosen(versions: Sequence[VersionRow], own: VersionRow | None) -> VersionRow:
    number = version_wanted()
    return next((row for row in versions if row.version == number), own or versions[-1])


def _draw_head(row: VersionRow) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "All artifacts",
            icon=":material/arrow_back:",
            key="chat.artifact.back",
            type="tertiary",
            on_click=partial(show_artifact, ALL),
        )
        st.space("stretch")
        draw_close()
    st.markdown(f"##### {icon_of(row)} {plain(row.name)}")


def _draw_versions(versions: Sequence[VersionRow], row: VersionRow, own: VersionRow | None) -> None:
    tz, key = zone(), f"{state.ARTIFACT_WIDGET}version"
    names = {
        each.version: describe_version(each, tz)
        + (" · this branch has it" if own is not None and each.version == own.version else "")
        for each in reversed(versions)
    }
    state.put(key, row.version)
    st.selectbox(
        f"Version (of {len(versions)})",
        list(names),
        format_func=lambda version: names.get(version, str(version)),
        key=key,
        label_visibility="collapsed",
        on_change=lambda: show_artifact(row.artifact_id, state.get(key)),
    )


def _draw_where(skein: Skein, viewer: Viewer, row: VersionRow) -> None:
    if row.message_id is None:
        return
    # A button: a link to the page that is open changes what it shows, but not its address.
    st.button(
        "Made by hand after this message" if row.by_hand else "Made in the answer to this message",
        icon=":material/forum:",
        key="chat.artifact.where",
        type="tertiary",
        on_click=partial(open_at, skein, viewer, row.message_id),
    )


def _draw_ways(skein: Skein, viewer: Viewer, shelf: Shelf, row: VersionRow, own: VersionRow | None) -> None:
    st.download_button(
        "Download",
        data=partial(download, viewer, skein.database, row.ref),
        file_name=file_name(row),
        mime=row.media_type,
        icon=":material/download:",
        key="chat.artifact.download",
        on_click="ignore",
    )
    if own is not None and can_edit(shelf, row):
        st.button(
            "Edit",
            icon=":material/edit:",
            key="chat.artifact.edit",
            help="What you type becomes the next version",
            on_click=partial(begin_edit, skein, viewer, row, own),
        )


def _draw_tabs(versions: Sequence[VersionRow]) -> tuple[DeltaGenerator, DeltaGenerator | None]:
    if len(versions) == 1:
        return st.container(), None
    shown, different = st.tabs(["View", "What changed"])
    return shown, different


def _draw_changes(skein: Skein, viewer: Viewer, versions: Sequence[VersionRow], row: VersionRow) -> None:
    others = {each.version: each for each in versions if each.version != row.version}
    before = st.selectbox(
        "Since",
        list(others),
        index=_place_before(list(others), row),
        format_func=lambda version: f"Version {version}",
        key=f"{state.ARTIFACT_WIDGET}since.{row.ref}",
    )
    draw_comparison(skein, viewer, others[before], row)


def _place_before(numbers: Sequence[int], row: VersionRow) -> int:
    """Where the version stands that this one was made from, else the one before it, else the first."""
    if row.base_version in numbers:
        return numbers.index(row.base_version)
    earlier = [number for number in numbers if number < row.version]
    return numbers.index(earlier[-1]) if earlier else 0


def draw_close() -> None:
    """The way out of the panel."""
    st.button(
        "Close",
        icon=":material/close:",
        key="chat.artifact.close",
        type="tertiary",
        on_click=partial(show_artifact, None),
    )
