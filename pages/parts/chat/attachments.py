"""Files in the chat: taken with what is typed, and shown below the question that they came with.

Invariant: of a file that cannot be taken one sentence says why, and neither the words nor other files are lost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import streamlit as st

from core.access.viewer import Viewer
from core.agents.attachments import check
from core.errors import BadInputError
from core.history.artifacts import Ref, VersionRow, download, read_content
from core.history.files import MOST_FILES, Attachment, attached_refs
from core.history.turns import Turn
from core.ids import ConversationId
from core.skein import Skein
from pages.parts.artifacts.artifact_url import file_name
from pages.parts.ui import state
from pages.parts.ui.text import plain, plain_lines, shortened
from pages.parts.ui.uploads import NO_LIMIT_MB, refusal_of

_LONGEST_NAME = 32
_THUMBNAIL = 160


@dataclass(frozen=True)
class Given:
    """What is to be sent: words, and the files that go with them."""

    text: str
    files: tuple[Attachment, ...] = ()


def draw_input(on_sent: Callable[[], None]) -> None:
    """The field to type in; ``on_sent`` is called as soon as something was, to take it with ``take_sent``."""
    st.chat_input(
        "Message the agent",
        key=state.INPUT,
        accept_file="multiple",
        max_upload_size=NO_LIMIT_MB,
        on_submit=on_sent,
    )


def take_sent(conversation_id: ConversationId | None) -> Given | None:
    """What was just sent, for the input's callback.

    None where a file of it cannot be taken, or where it belongs to what is held back: then it is kept there.
    """
    sent = state.get(state.INPUT)
    if not sent:
        return None
    joins = not sent.text.strip() and bool(state.held_back(conversation_id))
    held = len(state.held_files(conversation_id)) if joins else 0
    files, problems = _check_all(sent.files, MOST_FILES - held)
    state.say_of_files(conversation_id, " ".join(problems))
    text = sent.text if sent.text.strip() or joins else ", ".join(file.name for file in files)
    if not problems and not joins:
        return Given(text, files)
    if text or files:
        state.hold_back(conversation_id, text, files)
    return None


def _check_all(uploads: Sequence[Any], room: int) -> tuple[tuple[Attachment, ...], list[str]]:
    """Those that can be taken, and a sentence for each that cannot."""
    files, problems = list[Attachment](), list[str]()
    for upload in uploads[:room]:
        try:
            data = upload.getvalue()
            if refused := refusal_of(upload.name, data):
                problems.append(refused)
            else:
                files.append(check(upload.name, data))
        except BadInputError as error:
            problems.append(str(error))
    if left := uploads[room:]:
        names = ", ".join(_short(upload.name) for upload in left)
        problems.append(f"At most {MOST_FILES} files go with a message; left out: {names}.")
    return tuple(files), problems


def draw_problem(conversation_id: ConversationId | None) -> None:
    """What is wrong with the files that were sent last."""
    if problem := state.said_of_files(conversation_id):
        st.warning(plain_lines(problem), icon=":material/attach_file_off:")


def draw_names(files: Sequence[Attachment]) -> None:
    """The files that are kept to be sent, by their names."""
    if files:
        names = " · ".join(plain(_short(file.name)) for file in files)
        st.caption(f":material/attach_file: {names}")


def draw_files(skein: Skein, viewer: Viewer, turn: Turn, rows: Mapping[Ref, VersionRow]) -> None:
    """The files of a question: pictures small, and each to be downloaded."""
    refs = attached_refs(turn.config)
    if not refs:
        return
    with st.container(horizontal=True, gap="small", key=f"chat_files_{turn.thread_id}"):
        for number, ref in enumerate(refs):
            row = rows.get(ref)
            if row is None:
                st.caption(":material/attach_file_off: deleted file", width="content")
            else:
                _draw_file(skein, viewer, row, f"chat.file.{turn.thread_id}.{number}")


def _draw_file(skein: Skein, viewer: Viewer, row: VersionRow, key: str) -> None:
    is_picture = row.media_type.startswith("image/")
    with st.container(width=_THUMBNAIL + 40 if is_picture else "content", gap="xsmall"):
        if is_picture:
            with skein.database.read() as db:
                content = read_content(viewer, db, row.ref)
            _draw_picture(content)
        st.download_button(
            f"{plain(_short(row.name))} · {_size(row.size)}",
            data=partial(download, viewer, skein.database, row.ref),
            file_name=file_name(row),
            mime=row.media_type,
            key=key,
            icon=":material/image:" if is_picture else ":material/attach_file:",
            type="tertiary",
            help=f"Download {plain(row.name)}",
            on_click="ignore",
        )


def _draw_picture(content: bytes) -> None:
    try:
        st.image(content, width=_THUMBNAIL)
    except Exception:  # noqa: BLE001 - a library for pictures fails in many ways on a broken one
        st.caption("This picture cannot be shown.")


def _short(name: str) -> str:
    """The name, cut before its ending where it is long."""
    path = PurePosixPath(name)
    return f"{shortened(path.stem, _LONGEST_NAME - len(path.suffix[:8]))}{path.suffix[:8]}"


def _size(size: int) -> str:
    if size < 1_000:
        return f"{size} B"
    return f"{size / 1_000:,.0f} KB" if size < 1_000_000 else f"{size / 1_000_000:,.1f} MB"
