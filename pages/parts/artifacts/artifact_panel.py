"""The panel beside the chat: the artifacts that the opened branch has, and one of them with its versions.

``?artifact=all`` opens the list, ``?artifact=art_...`` the version that the branch has, ``&version=3`` that one.
Invariant: looking changes nothing.
"""

from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.errors import BadInputError, NotFoundError, SkeinError
from core.history.artifacts import Ref, VersionRow, list_named, list_versions
from core.ids import to_artifact_id
from core.skein import Skein
from pages.parts.artifacts.artifact_item import draw_close, draw_one
from pages.parts.artifacts.artifact_list import Shelf
from pages.parts.artifacts.artifact_url import ALL, describe_version, is_open, show_artifact, version_wanted
from pages.parts.artifacts.artifact_view import icon_of
from pages.parts.ui.days import zone
from pages.parts.ui.open_branch import Opened, open_at
from pages.parts.ui.text import plain, plain_lines, shortened

_WIDTH = "27rem"
# Beside the chat where there is room, and a drawer over it where there is none. Its ground is the theme's own.
_STYLE = f"""<style>
.st-key-chat_artifacts {{
  position: fixed; z-index: 100; top: 3.75rem; right: 0; bottom: 0; width: min({_WIDTH}, 100vw);
  padding: 0.8rem 1rem 1.5rem; overflow: hidden auto; flex-wrap: nowrap; background: light-dark(#ffffff, #0f1514);
  border: 1px solid color-mix(in srgb, currentColor 16%, transparent); border-width: 1px 0 0 1px;
}}
.st-key-chat_artifacts > * {{ flex-shrink: 0; }}
.st-key-chat_artifacts [class*="st-key-chat_artifact_line_"] button {{
  justify-content: flex-start; padding: 0; text-align: left;
}}
.st-key-chat_artifacts [class*="st-key-chat_artifact_line_"] button > div {{ justify-content: flex-start; }}
.st-key-chat_artifact_markdown :is(h1, h2, h3) {{ font-size: 1.25rem; padding: 0.4rem 0; }}
@media (min-width: 1200px) {{
  .st-key-chat_artifacts {{ width: {_WIDTH}; }}
  [data-testid="stAppViewContainer"]:has(.st-key-chat_artifacts) {{ padding-right: {_WIDTH}; }}
}}
</style>"""


def draw_artifacts_button(shelf: Shelf) -> None:
    """The way to the panel and back; nothing where there are no artifacts."""
    if not shelf and not is_open():
        return
    st.button(
        f"Artifacts ({len(shelf)})",
        icon=":material/inventory_2:",
        key="chat.artifacts",
        type="tertiary",
        help="What the agents made and what was attached, beside the chat",
        on_click=partial(show_artifact, None if is_open() else ALL),
    )


def draw_artifacts(skein: Skein, viewer: Viewer, opened: Opened, shelf: Shelf) -> None:
    """The panel, when the address opens it; a link to an artifact alone opens the conversation that made it."""
    if not is_open():
        return
    if opened.session_id is None:
        _open_where_it_was_made(skein, viewer)
        return
    with st.container(key="chat_artifacts", gap="small"):
        st.html(_STYLE)
        versions = _read_wanted(skein, viewer, opened)
        if versions:
            draw_one(skein, viewer, shelf, versions)
        else:
            _draw_list(shelf)


def _open_where_it_was_made(skein: Skein, viewer: Viewer) -> None:
    try:
        with skein.database.read() as db:
            versions = list_versions(viewer, db, to_artifact_id(st.query_params["artifact"]))
    except SkeinError:
        show_artifact(None)
        return
    made_in = [row.message_id for row in versions if row.message_id is not None]
    if made_in:
        open_at(skein, viewer, made_in[-1])
    if "branch" in st.query_params:
        st.rerun()


def _read_wanted(skein: Skein, viewer: Viewer, opened: Opened) -> list[VersionRow]:
    """The versions of the artifact that the address names; none for the list, or when it is not of this session."""
    wanted, number = st.query_params["artifact"], version_wanted()
    if wanted == ALL:
        return []
    try:
        artifact_id = to_artifact_id(wanted)
        with skein.database.read() as db:
            versions = list_versions(viewer, db, artifact_id)
            if number is not None and number not in {row.version for row in versions}:
                versions += list_named(viewer, db, [Ref(artifact_id, number)])
    except (BadInputError, NotFoundError) as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        return []
    return sorted((row for row in versions if row.session_id == opened.session_id), key=lambda row: row.version)


def _draw_list(shelf: Shelf) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("##### Artifacts", width="stretch")
        draw_close()
    if shelf.problem:
        st.warning(plain_lines(shelf.problem), icon=":material/info:")
    if not shelf:
        st.caption("Nothing yet: what the agents make and what you attach will be here.")
    for row in shelf.named:
        _draw_line(row)
    if shelf.shared:
        st.caption("Shared by the session")
    for row in shelf.shared:
        _draw_line(row)


def _draw_line(row: VersionRow) -> None:
    with st.container(gap=None, key=f"chat_artifact_line_{row.artifact_id}"):
        st.button(
            plain(shortened(row.name, 80)),
            icon=icon_of(row),
            key=f"chat.artifact.open.{row.artifact_id}",
            type="tertiary",
            on_click=partial(show_artifact, row.artifact_id),
        )
        st.caption(plain(describe_version(row, zone())))
