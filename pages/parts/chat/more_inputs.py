"""What else an agent can be given with a message: a fold beside the field to type in, where its schema has more.

Invariant: what was filled in goes along with the next message and then begins anew; nothing is drawn for agents
that take no more than a text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.errors import BadInputError
from core.history.turns import INPUTS
from core.skein import Skein
from pages.parts.forms.schema_fields import spelled
from pages.parts.forms.schema_form import draw_fields, read_fields
from pages.parts.ui import state
from pages.parts.ui.open_branch import Opened
from pages.parts.ui.popovers import draw_popover
from pages.parts.ui.text import plain, shortened

_LONGEST, _MOST = 80, 6


@dataclass(frozen=True)
class MoreInputs:
    """The fields of one agent in one conversation, as this page has them."""

    schema: dict[str, Any] | None
    place: str

    def draw(self) -> None:
        """The fold, closed; nothing where there are no fields."""
        if self.schema is not None:
            draw_popover("More inputs", self._draw_fields, icon=":material/list_alt:", key=f"{self.place}.fold")

    def _draw_fields(self) -> None:
        kept = self._kept
        st.caption("Goes along with your next message.")
        filled = draw_fields(self.schema, key=self._key, value=kept)
        state.put(self.place, (self._serial, filled.value or {}))
        for problem in filled.problems:
            st.warning(plain(problem), icon=":material/info:")

    def take(self) -> dict[str, Any]:
        """What is filled in, as a part of a message's config; BadInputError says what of it does not fit."""
        if self.schema is None:
            return {}
        filled = read_fields(self.schema, key=self._key, value=self._kept)
        if filled.problems:
            raise BadInputError(f"More inputs need a change: {filled.problems[0]}")
        return {INPUTS: filled.value} if filled.value else {}

    def forget(self) -> None:
        """Begin anew, for what was filled in has gone along."""
        if self.schema is not None:
            state.put(self.place, (self._serial + 1, {}))

    @property
    def _serial(self) -> int:
        return (state.get(self.place) or (0, {}))[0]

    @property
    def _kept(self) -> dict[str, Any]:
        return (state.get(self.place) or (0, {}))[1]

    @property
    def _key(self) -> str:
        return f"{self.place}.{self._serial}"


def find_more_inputs(skein: Skein, opened: Opened, agent_id: str, *, is_own: bool) -> MoreInputs:
    """What an agent can be given here, by whoever the conversation is of."""
    place = f"{state.MORE_INPUTS}{agent_id}.{opened.conversation_id or 'new'}"
    return MoreInputs(skein.agents.more_inputs(agent_id) if is_own else None, place)


def draw_given(inputs: Mapping[str, Any]) -> None:
    """What else came with a question, below it."""
    if inputs:
        shown = [f"{plain(shortened(name, 40))}: {_words(value)}" for name, value in list(inputs.items())[:_MOST]]
        more = f" · and {len(inputs) - _MOST} more" if len(inputs) > _MOST else ""
        st.caption(f":material/list_alt: {' · '.join(shown)}{more}")


def _words(value: Any) -> str:
    text = value if isinstance(value, str) else spelled(value)
    return plain(" ".join(shortened(text, _LONGEST).split()))
