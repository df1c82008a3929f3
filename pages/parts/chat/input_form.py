"""The form in the chat of an agent that needs more than a text, in the place of the field to type in.

What is filled in is sent as a JSON object, which is what the message then says.

Invariant: what does not fit is said at its field, and all stays as it was filled in until it is sent.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.agents.input_form import InputForm, read_text, write_text
from core.errors import SkeinError
from core.skein import Skein
from pages.parts.chat.attachments import Given
from pages.parts.forms.schema_form import draw_fields, read_fields, say_at_fields
from pages.parts.ui import state
from pages.parts.ui.open_branch import Opened
from pages.parts.ui.text import plain, plain_lines, shortened

# The conversation stays in sight above the form, however many fields that has.
_STYLE = """<style>
.st-key-chat_input_fields {
  max-height: 38vh; overflow-y: auto; overflow-x: hidden; padding: 0.25rem 0.5rem 0.25rem 0; gap: 0.5rem;
}
.st-key-chat_input_fields > * { flex-shrink: 0; }
</style>"""


def draw_input_form(
    skein: Skein, opened: Opened, agent_id: str, form: InputForm, *, send: Callable[[Given], None]
) -> None:
    """The fields, begun with what the agent was last given here but for what was said, and the way to send them."""
    key, value = _begun(opened, agent_id, form)
    refused_key, said = state.take(state.INPUT_REFUSED) or ("", {})
    said = said if refused_key == key else {}

    def submit() -> None:
        _submit(skein, agent_id, form, key=key, value=value, send=send)

    st.html(_STYLE)
    # Below what was said it is folded, so that the answer can be read on a small screen too.
    is_open = not opened.turns or bool(said)
    with (
        st.expander(
            f"Message to {plain(shortened(agent_id, 60))}",
            icon=":material/list_alt:",
            expanded=is_open,
            key=f"{key}.fold",
        ),
        st.form(f"{key}.form", border=False),
    ):
        with st.container(key="chat_input_fields"):
            draw_fields(form.schema, key=key, value=value, said=said)
        for sentence in said.get("", ()):
            st.error(plain_lines(sentence), icon=":material/error:")
        st.form_submit_button("Send", icon=":material/send:", type="primary", key=f"{key}.send", on_click=submit)


def _begun(opened: Opened, agent_id: str, form: InputForm) -> tuple[str, Any]:
    """The key of the widgets, new below each message, and what they begin with."""
    head = opened.head
    key = f"{state.INPUT_WIDGET}{agent_id}.{head.message_id if head else 'new'}"
    return key, read_text(form, head.content) if head is not None and head.agent_id == agent_id else None


def _submit(
    skein: Skein, agent_id: str, form: InputForm, *, key: str, value: Any, send: Callable[[Given], None]
) -> None:
    """Send what the fields hold, or have said at each what the agent does not take."""
    filled = read_fields(form.schema, key=key, value=value)
    said = filled.unread
    if not said:
        try:
            said = say_at_fields(form.schema, skein.agents.input_problems(agent_id, filled.value), key=key)
        except SkeinError as error:
            said = {"": [str(error)]}
    if said:
        state.put(state.INPUT_REFUSED, (key, said))
    else:
        send(Given(write_text(filled.value)))
