"""The review: sessions that failed or were expensive and that nobody has looked through yet, one after another.

What is shown is where the address's ``after`` is in the list; a verdict takes the session out of the list and goes
on behind it. Invariant: a key or click judges the session that was on the screen, no other; a score and a verdict
that are typed so quickly that they reach us at once, in either order, are both kept.
"""

from dataclasses import replace

import streamlit as st
from sqlmodel import Session as Db

from core.access.activity import record_look
from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.annotations import LONGEST_NOTE, set_review, set_score
from core.history.browse.filters import EXPENSIVE_USD, SessionFilter
from core.history.browse.lines import Page, SessionLine
from core.history.browse.listing import count_sessions, list_sessions
from core.history.browse.orders import Order
from core.history.browse.orders import Place as Behind
from core.history.browse.review import list_telling_turns
from core.history.turns import Turn
from core.ids import SessionId
from core.skein import Skein
from pages.parts.browse.browse_query import go
from pages.parts.browse.browse_rows import cost_of, describe_threads, moment, title_of
from pages.parts.browse.browse_url import Place
from pages.parts.ui import state
from pages.parts.ui.answer_text import as_markdown
from pages.parts.ui.format import count, counted, dollars
from pages.parts.ui.page_paths import CHAT
from pages.parts.ui.text import as_written, plain, plain_lines, shortened

_ORDER = Order("active")
_MOST = 1_000
_LONGEST = 6_000
_FAILED = ("failed", "lost")
_VERDICTS = (("Good", "good", "G", ":material/thumb_up:"), ("Bad", "bad", "B", ":material/thumb_down:"))


def to_review(wanted: SessionFilter) -> SessionFilter:
    """Of what is looked for, that which waits for a review."""
    return replace(wanted, reviewed=False, worrying=True)


def draw_review(skein: Skein, viewer: Viewer, place: Place) -> None:
    """The session whose turn it is, why it is, what was said last in it, and the verdict."""
    wanted = to_review(place.wanted)
    try:
        with skein.database.read() as db:
            page = list_sessions(viewer, db, wanted, _ORDER, after=place.after, limit=1)
            total = count_sessions(viewer, db, wanted, most=_MOST)
            turns = list_telling_turns(viewer, db, SessionId(page.rows[0].session_id)) if page.rows else []
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        st.button("To the first", key="browse.review.restart", on_click=go, args=({"after": []},))
        return
    if not page.rows:
        _draw_none(place, total)
        return
    line = page.rows[0]
    record_look(
        viewer,
        skein.database,
        "session.read",
        target_id=line.session_id,
        owner_id=line.user_id,
        session_id=line.session_id,
    )
    left = f"{count(_MOST)}+" if total >= _MOST else count(total)
    st.caption(
        f"{left} to review: sessions in which something failed, or that cost {dollars(EXPENSIVE_USD)} or more, and "
        "that have no verdict yet. The filter above narrows them."
    )
    with st.container(border=True, key="browse_review"):
        _draw_head(line, place)
        _draw_verdict(skein, viewer, line, page)
    for turn in turns:
        _draw_turn(turn)


def _draw_none(place: Place, total: int) -> None:
    if place.after and total:
        st.info(f"That was the last one; {count(total)} were passed over.", icon=":material/last_page:")
        st.button("Begin again", key="browse.review.again", type="primary", on_click=go, args=({"after": []},))
        return
    narrowed = " that fits the filter" if place.query else ""
    st.success(f"Nothing{narrowed} waits for a review.", icon=":material/task_alt:")


def _draw_head(line: SessionLine, place: Place) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        with st.container(width="stretch", gap=None):
            st.markdown(f"##### {plain(title_of(line.title))}")
            st.caption(
                f"{plain(line.user_name)} · {moment(line.last_active_at, place.tz)} · "
                f"{counted(line.messages, 'message')} · {describe_threads(line.threads)} · "
                f"{cost_of(line.cost_usd, calls=line.calls, unpriced=line.unpriced)}"
            )
        st.button(
            "Open",
            icon=":material/open_in_full:",
            key="browse.review.open",
            help="The whole session",
            on_click=go,
            args=({"session": [line.session_id]},),
        )
    st.markdown(" ".join(f":orange-badge[{plain(reason)}]" for reason in reasons(line)))


def _behind(line: SessionLine) -> str:
    """The place behind a session, also behind the last one."""
    return _ORDER.cursor_at(Behind(line.last_active_at, line.session_id))


def reasons(line: SessionLine) -> list[str]:
    """Why a session is to be looked through."""
    failed = [f"{counted(line.threads[name], 'thread')} {name}" for name in _FAILED if line.threads.get(name)]
    if line.cost_usd >= EXPENSIVE_USD:
        failed.append(f"cost {dollars(line.cost_usd)}")
    return failed


def _draw_verdict(skein: Skein, viewer: Viewer, line: SessionLine, page: Page[SessionLine]) -> None:
    key = f"{state.BROWSE_REVIEW}{line.session_id}"
    _draw_scores(skein, viewer, line, key)
    st.text_area(
        "Comment",
        key=f"{key}.comment",
        height=68,
        max_chars=LONGEST_NOTE,
        placeholder="Comment (optional)",
        label_visibility="collapsed",
    )
    with st.container(horizontal=True, gap="small", key="browse_verdict"):
        for label, verdict, letter, icon in _VERDICTS:
            st.button(
                label,
                icon=icon,
                key=f"browse.review.{verdict}",
                shortcut=letter,
                on_click=_judge,
                args=(skein, viewer, line, verdict),
            )
        st.button(
            "Skip",
            icon=":material/skip_next:",
            key="browse.review.skip",
            shortcut="S",
            on_click=go,
            args=({"after": [_behind(line)]},),
        )
        if page.previous is not None:
            st.button(
                "Back",
                icon=":material/skip_previous:",
                key="browse.review.back",
                type="tertiary",
                shortcut="Z",
                on_click=go,
                args=({"after": [page.previous]},),
            )


def _draw_scores(skein: Skein, viewer: Viewer, line: SessionLine, key: str) -> None:
    # A score that comes together with a verdict may be called after it: drawn anew, there is no verdict yet.
    state.take(state.BROWSE_VERDICT)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="browse_scores"):
        st.caption("Score", width="content")
        for score in range(1, 6):
            st.button(
                f"{score}",
                key=f"browse.review.score.{score}",
                type="primary" if state.get(f"{key}.score") == score else "secondary",
                shortcut=f"{score}",
                on_click=_score,
                args=(skein, viewer, SessionId(line.session_id), score),
            )


def _score(skein: Skein, viewer: Viewer, session_id: SessionId, score: int) -> None:
    """Choose a score; the same once more takes it back."""
    key = f"{state.BROWSE_REVIEW}{session_id}.score"
    if state.get(state.BROWSE_VERDICT) == session_id:
        with state.problems(state.BROWSE_NOTICE):
            skein.database.write(lambda db: set_score(viewer, db, session_id, score))
        return
    state.put(key, None if state.get(key) == score else score)


def _judge(skein: Skein, viewer: Viewer, line: SessionLine, verdict: str) -> None:
    """Keep the verdict, with score and comment, and go on behind the session, whichever way one came to it."""
    session_id = SessionId(line.session_id)
    key = f"{state.BROWSE_REVIEW}{session_id}"
    score, comment = state.get(f"{key}.score"), state.get(f"{key}.comment") or ""

    def judge(db: Db) -> None:
        if score:
            set_score(viewer, db, session_id, score)
        set_review(viewer, db, session_id, verdict, comment)

    with state.problems(state.BROWSE_NOTICE):
        skein.database.write(judge)
        state.put(state.BROWSE_VERDICT, session_id)
        state.take(f"{key}.score")
        go({"after": [_behind(line)]})
        state.put(state.BROWSE_DONE, f"Reviewed as {verdict}.")


def _draw_turn(turn: Turn) -> None:
    """What was asked, what was answered, and what went wrong."""
    with st.chat_message("user", avatar=":material/person:"):
        st.html(as_written(shortened(turn.content, _LONGEST)))
    with st.chat_message("assistant", avatar=":material/hub:"):
        if turn.answer:
            st.markdown(as_markdown(shortened(turn.answer, _LONGEST)))
        if turn.status != "done":
            why = ": ".join(part for part in (turn.error_type, turn.error_message) if part)
            sentence = f"{turn.status.capitalize()}{f': {why}' if why else ''}"
            st.error(plain_lines(shortened(sentence, _LONGEST)), icon=":material/error:")
        st.page_link(CHAT, label="In the chat", icon=":material/forum:", query_params={"message": turn.message_id})
