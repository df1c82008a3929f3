"""What people think of a session: star, tags, score and review, shown and changed in one line."""

from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.annotations import (
    SCORES,
    VERDICTS,
    Mark,
    add_tag,
    list_tags,
    remove_tag,
    set_note,
    set_review,
    set_score,
    set_star,
)
from core.ids import SessionId
from core.skein import Skein
from pages.parts.ui import state
from pages.parts.ui.text import plain, plain_lines

_VERDICT_WORDS = {"good": "👍 Good", "bad": "👎 Bad"}


def draw_star(skein: Skein, viewer: Viewer, session_id: SessionId, mark: Mark) -> None:
    """The viewer's star: filled or not; a click turns it."""
    st.button(
        "★" if mark.starred else "☆",
        key="session.star",
        help="Take your star off" if mark.starred else "Put your star on it",
        on_click=partial(_do, skein, partial(set_star, viewer, target_id=session_id, starred=not mark.starred)),
    )


def draw_marks(skein: Skein, viewer: Viewer, session_id: SessionId, mark: Mark) -> None:
    """The tags as chips, and behind a button what one can say of the session."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="session_marks"):
        for tag in dict.fromkeys(tag.name for tag in mark.tags):
            st.markdown(f":violet-badge[{plain(tag)}]", width="content")
        for review in mark.reviews:
            st.markdown(_VERDICT_WORDS[review.verdict] + f" · {plain(review.user_name)}", width="content")
        for score in mark.scores:
            st.markdown(f"**{score.score}/5** · {plain(score.user_name)}", width="content")
        with st.popover("Tags and review", icon=":material/sell:", type="tertiary"):
            _draw_tags(skein, viewer, session_id, mark)
            _draw_review(skein, viewer, session_id, mark)
    for said in (*mark.reviews, *mark.scores):
        if said.comment:
            st.caption(f"{plain(said.user_name)}: {plain_lines(said.comment)}")
    if mark.note:
        st.caption(f"Your note: {plain_lines(mark.note)}")


def _draw_tags(skein: Skein, viewer: Viewer, session_id: SessionId, mark: Mark) -> None:
    own = [tag.name for tag in mark.tags if tag.own]
    with skein.database.read() as db:
        known = list_tags(viewer, db)
    key = f"{state.SESSION_MARK}tags"
    state.put(key, own)
    st.multiselect(
        "Your tags",
        list(dict.fromkeys([*own, *known])),
        key=key,
        accept_new_options=True,
        placeholder="Choose or type a tag",
        on_change=lambda: _keep_tags(skein, viewer, session_id, own, state.get(key)),
    )


def _keep_tags(skein: Skein, viewer: Viewer, session_id: SessionId, before: list[str], now: list[str]) -> None:
    for tag in set(now) - set(before):
        _do(skein, partial(add_tag, viewer, target_id=session_id, tag=tag))
    for tag in set(before) - set(now):
        _do(skein, partial(remove_tag, viewer, target_id=session_id, tag=tag))


def _draw_review(skein: Skein, viewer: Viewer, session_id: SessionId, mark: Mark) -> None:
    """A form, so that verdict, score and words are kept together."""
    review = next((one for one in mark.reviews if one.own), None)
    score = next((one for one in mark.scores if one.own), None)
    key = f"{state.SESSION_MARK}{session_id}."
    with st.form("session.review", border=False):
        st.segmented_control(
            "Your review",
            list(VERDICTS),
            format_func=_VERDICT_WORDS.__getitem__,
            default=review.verdict if review else None,
            key=f"{key}verdict",
        )
        st.segmented_control("Your score", list(SCORES), default=score.score if score else None, key=f"{key}score")
        commented = review or score
        comment = commented.comment if commented else ""
        st.text_area("Why", value=comment, key=f"{key}comment")
        st.text_area("Note for yourself", value=mark.note, key=f"{key}note")
        st.form_submit_button("Keep", type="primary", on_click=_keep_review, args=(skein, viewer, session_id, key))


def _keep_review(skein: Skein, viewer: Viewer, session_id: SessionId, key: str) -> None:
    verdict, comment = state.get(f"{key}verdict") or "", state.get(f"{key}comment") or ""
    score, note = state.get(f"{key}score"), state.get(f"{key}note") or ""
    _do(skein, partial(set_review, viewer, session_id=session_id, verdict=verdict, comment=comment))
    words = "" if verdict else comment
    _do(skein, partial(set_score, viewer, target_id=session_id, score=score, comment=words))
    _do(skein, partial(set_note, viewer, target_id=session_id, note=note))


def _do(skein: Skein, deed: partial[object]) -> None:
    try:
        skein.database.write(lambda db: deed(db=db))
    except SkeinError as error:
        state.put(state.SESSION_NOTICE, str(error))
