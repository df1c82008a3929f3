"""What was typed while the answer above was still being written: three ways to go on, and none loses it."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.history.messages import NewMessage
from core.ids import ConversationId
from core.runs.branching import edit
from core.skein import Skein
from pages.parts.chat.attachments import Given, draw_names
from pages.parts.chat.more_inputs import MoreInputs
from pages.parts.ui import state
from pages.parts.ui.open_branch import Opened, go_to
from pages.parts.ui.text import as_written


def draw_held_back(
    skein: Skein, viewer: Viewer, opened: Opened, more: MoreInputs, *, send: Callable[[Given], None]
) -> bool:
    """What is kept for this conversation with the ways to send it, and whether there is anything."""
    here, head = opened.conversation_id, opened.head
    if unsent := state.take(state.UNSENT):
        state.hold_back(here, unsent)
    text, files = state.held_back(here), state.held_files(here)
    if not text:
        return False
    with st.container(border=True, key="chat_held_back"):
        is_live = head is not None and head.is_live
        st.caption("The answer is still being written. Your message is kept:" if is_live else "Not sent yet:")
        st.html(as_written(text))
        draw_names(files)
        with st.container(horizontal=True):
            if head is not None and is_live:
                _draw_choices(skein, viewer, opened, text, more)
            else:
                st.button(
                    "Send it",
                    icon=":material/send:",
                    key="chat.held.send",
                    type="primary",
                    on_click=partial(_send, here, send),
                )
            st.button("Discard", key="chat.held.drop", type="tertiary", on_click=partial(state.release, here))
    return True


def _send(here: ConversationId | None, send: Callable[[Given], None]) -> None:
    files = state.held_files(here)
    send(Given(state.release(here), files))


def _draw_choices(skein: Skein, viewer: Viewer, opened: Opened, text: str, more: MoreInputs) -> None:
    start = partial(_start, skein, viewer, opened, text, more)
    st.button(
        "Send after it", icon=":material/schedule:", key="chat.held.wait", on_click=start, kwargs={"way": "wait"}
    )
    st.button(
        "Stop it and send", icon=":material/stop:", key="chat.held.stop", on_click=start, kwargs={"way": "stop"}
    )
    st.button(
        "Ask beside it",
        icon=":material/call_split:",
        key="chat.held.beside",
        on_click=start,
        kwargs={"way": "beside"},
    )


def _start(skein: Skein, viewer: Viewer, opened: Opened, text: str, more: MoreInputs, *, way: str) -> None:
    branch, head = opened.branch, opened.head
    assert head is not None  # noqa: S101 - it is what the message waits for
    files = state.held_files(head.conversation_id)
    with state.problems():
        if way == "beside":
            added = edit(skein.engine, viewer, head.message_id, text, files=files, when_busy="wait")
        else:
            inputs = more.take()
            if way == "stop":
                skein.engine.stop(viewer, head.thread_id)
            message = NewMessage(
                text,
                conversation_id=head.conversation_id,
                parent_message_id=head.message_id,
                branch_id=branch.branch_id if branch else None,
                agent_id=head.agent_id,
                config=head.settings | inputs,
                files=files,
            )
            added = skein.engine.start(viewer, message, when_busy="wait")
            more.forget()
        state.release(head.conversation_id)
        go_to(added)
