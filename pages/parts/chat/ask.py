"""Saying something: it is taken at once, in the input's callback, and its answer drawn by one run of a fragment.

Below the turns that the page has drawn stands an empty slot, a fragment; to ask runs it, and it draws the new turn
to its end and the next slot below. Invariant: what was said is started before anything is drawn, and whatever a
slot cannot draw (several answers, files, another branch, a page that has not arrived whole), the page draws from
what is stored.
"""

from dataclasses import dataclass, replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.errors import BusyError, OutageError, SkeinError
from core.history.branches import BranchRow
from core.history.conversations import ConversationRow, default_title
from core.history.messages import Added, NewMessage
from core.history.positions import remember_position
from core.history.turns import INPUTS, Turn
from core.ids import BranchId
from core.runs.branching import fan_out
from core.skein import Skein
from core.tables import utc_now
from pages.parts.chat.agent_options import chosen_agent, chosen_config, forget_choice
from pages.parts.chat.answer import Show
from pages.parts.chat.attachments import Given, take_sent
from pages.parts.chat.chat_header import Header
from pages.parts.chat.conversation_list import OwnRow
from pages.parts.chat.more_inputs import MoreInputs
from pages.parts.chat.turn import About, draw_question, follow
from pages.parts.chat.variants import chosen_variants, forget_variants
from pages.parts.ui import draw_throttle, seam, state
from pages.parts.ui.guard import find_here
from pages.parts.ui.open_branch import Opened, go_to

# So many turns below those that the page has drawn; then the page is drawn again, with its newest turns.
_MOST_SLOTS = 40


@dataclass(frozen=True)
class Places:
    """The places of the page that change with what is said; ``row`` is the open conversation's in the list."""

    slots: DeltaGenerator
    stop: DeltaGenerator
    welcome: DeltaGenerator
    header: Header
    row: OwnRow


@dataclass(frozen=True)
class _Asked:
    """What was just said, and the turn that it is."""

    viewer: Viewer
    turn: Turn
    is_new: bool


class Talk:
    """What the page says next, and where; one for each time that the page is drawn."""

    def __init__(self, skein: Skein, opened: Opened, more: MoreInputs, *, show: Show) -> None:
        self._skein = skein
        self._opened = opened
        self._more = more
        self._show = show
        self._places: Places | None = None
        self._slots = 0
        self._asked: _Asked | None = None

    def take_sent(self) -> None:
        """Take what was typed and sent; the input's callback."""
        given = take_sent(self._opened.conversation_id)
        if given is not None:
            self.send(given)

    def take_example(self) -> None:
        """Take the example that was chosen; its callback."""
        example = state.take(state.EXAMPLE)
        if example:
            self.send(Given(example))

    def send_filled(self, given: Given) -> None:
        """The same for what was filled into a form: the page is drawn anew, for the form begins anew too."""
        self.send(given, in_slot=False)

    def send(self, given: Given, *, in_slot: bool = True) -> None:
        """Start the run at once; what cannot be sent is held back, never lost. For callbacks."""
        opened, viewer = self._opened, find_here()
        if viewer is None:
            state.hold_back(opened.conversation_id, given.text, given.files)
            return
        try:
            new = self._message(given)
            variants = chosen_variants(state.FAN)
            if variants:
                added = next(iter(fan_out(self._skein.engine, viewer, new, variants).values()))
            else:
                added = self._skein.engine.start(viewer, new)
        except SkeinError as error:
            self._hold_back(given, error)
            return
        forget_variants(state.FAN)
        is_new = opened.conversation is None
        if is_new:
            forget_choice()
        if INPUTS in new.config:
            # The fields begin anew, and they stand outside of the slot.
            self._more.forget()
            in_slot = False
        if st.query_params.get("branch") != added.branch_id or "message" in st.query_params:
            go_to(added)
        if in_slot and not variants and not given.files and self._can_draw(added):
            self._asked = _Asked(viewer, _as_turn(viewer, new, added), is_new)
            self._opened = _with_turn(opened, viewer, added, self._asked.turn)
            st.rerun(self._slot)

    def _hold_back(self, given: Given, error: SkeinError) -> None:
        head = self._opened.head
        is_busy = isinstance(error, BusyError) and not isinstance(error, OutageError)
        if not (is_busy and head is not None and head.is_live):
            state.put(state.PROBLEM, str(error))
        state.hold_back(self._opened.conversation_id, given.text, given.files)

    def _message(self, given: Given) -> NewMessage:
        opened, settings = self._opened, self._skein.settings
        head, agent_id = opened.head, chosen_agent(self._skein, opened)
        temperature = state.get(state.TEMPERATURE)
        offered = {
            "model": state.get(state.MODEL) or settings.default_model,
            "temperature": settings.temperature if temperature is None else temperature,
        }
        chosen = {name: offered[name] for name in self._skein.agents.takes(agent_id)}
        return NewMessage(
            given.text,
            conversation_id=opened.conversation_id,
            session_id=opened.session_id,
            parent_message_id=head.message_id if head else None,
            branch_id=_branch_id(opened),
            agent_id=agent_id,
            config=chosen | chosen_config(agent_id) | self._more.take(),
            files=given.files,
            is_next=head is not None,
        )

    def _can_draw(self, added: Added) -> bool:
        """Whether the turn stands right below what the browser has, in the branch that is shown."""
        opened = self._opened
        is_below = opened.session is None if opened.conversation is None else added.branch_id == _branch_id(opened)
        is_usual = not opened.fan and not opened.later and self._slots <= _MOST_SLOTS
        return self._places is not None and is_below and is_usual and seam.was_whole()

    # -- slots ------------------------------------------------------------------------------------------

    @property
    def _slot(self) -> str:
        return f"chat.slot.{self._slots}"

    def stand_below(self, opened: Opened, places: Places) -> None:
        """Draw the first slot; the page has drawn all else."""
        self._opened, self._places = opened, places
        self._draw_next(places)

    def _draw_next(self, places: Places) -> None:
        self._slots += 1
        with places.slots:
            st.fragment(self._draw_slot, key=self._slot)()

    def _draw_slot(self) -> None:
        asked, self._asked = self._asked, None
        if asked is None or self._places is None:
            return
        with seam.of_the_page():
            self._draw(asked, self._places)

    def _draw(self, asked: _Asked, places: Places) -> None:
        skein, viewer, turn = self._skein, asked.viewer, asked.turn
        with draw_throttle.drawing():
            if asked.is_new:
                places.welcome.empty()
            ways = draw_question(skein, viewer, turn, About())
            ended = follow(
                skein,
                viewer,
                turn,
                About(),
                show=self._show,
                stop=places.stop,
                ways=ways,
                meanwhile=lambda: self._draw_around(asked, places),
            )
        self._opened = replace(self._opened, head=ended, turns=[ended])
        places.row.draw(self._row(is_live=False), when="ended")
        self._draw_next(places)

    def _draw_around(self, asked: _Asked, places: Places) -> None:
        """What has changed on the page with what was said."""
        places.row.draw(self._row(is_live=True), when="live")
        branch = self._opened.branch
        if asked.is_new and branch is not None:
            places.header.draw(self._opened)
            self._skein.database.submit(lambda db: remember_position(asked.viewer, db, branch))

    def _row(self, *, is_live: bool) -> ConversationRow:
        conversation = self._opened.conversation
        assert conversation is not None  # noqa: S101 - something was said, so there is one
        return replace(conversation, is_live=is_live)


def _branch_id(opened: Opened) -> BranchId | None:
    return opened.branch.branch_id if opened.branch else None


def _as_turn(viewer: Viewer, new: NewMessage, added: Added) -> Turn:
    """The turn as it stands in the database from now on."""
    return Turn(
        added.message_id,
        added.conversation_id,
        new.parent_message_id,
        new.text,
        "",
        added.parent.depth + 1 if added.parent else 0,
        utc_now(),
        added.thread_id,
        viewer.user_id,
        added.kind,
        new.name,
        new.parent_thread_id or (added.parent.thread_id if added.parent else None),
        new.source_checkpoint_id,
        new.agent_id,
        added.config,
        "queued",
        None,
        None,
        None,
        None,
        None,
    )


def _with_turn(opened: Opened, viewer: Viewer, added: Added, turn: Turn) -> Opened:
    """The branch as it goes on with the turn, or begins with it."""
    now = utc_now()
    conversation = opened.conversation or ConversationRow(
        added.conversation_id, added.session_id, viewer.user_id, default_title(turn.content), now
    )
    begun = BranchRow(
        added.branch_id, added.conversation_id, turn.message_id, viewer.user_id, "main", now, now, None
    )
    branch = replace(opened.branch, head_message_id=turn.message_id) if opened.branch else begun
    return replace(opened, conversation=conversation, branch=branch, turns=[turn], head=turn)
