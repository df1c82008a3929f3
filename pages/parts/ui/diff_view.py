"""What differs, drawn: words of two texts, and keys of two states.

Invariant: what differs is marked by a line as well as by colour, and text stands there as it is, never as HTML or
Markdown.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import streamlit as st

from core.history.differences import Change, Piece, word_differences
from pages.parts.ui.format import counted
from pages.parts.ui.text import plain, shortened, unturned

_SHORT, _MOST = 160, 40
_STYLE = """<style>
.skein-words { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.6; }
.skein-words del { background: rgba(224, 79, 95, 0.18); text-decoration: line-through; }
.skein-words ins { background: rgba(20, 163, 148, 0.22); text-decoration: underline; text-underline-offset: 3px; }
</style>"""
_MARKS = {"new": ("add", "green"), "gone": ("remove", "red"), "changed": ("edit", "orange")}
_TAGS = {"gone": "del", "new": "ins"}


def words_html(pieces: Iterable[Piece], *, without: str = "") -> str:
    """The pieces as HTML; ``without`` leaves out what is gone, or what is new."""
    return "".join(_piece_html(piece) for piece in pieces if piece.kind != without)


def _piece_html(piece: Piece) -> str:
    tag, text = _TAGS.get(piece.kind), escape(unturned(piece.text))
    return f"<{tag}>{text}</{tag}>" if tag else text


def draw_words(pieces: Sequence[Piece], *, without: str = "") -> None:
    html = words_html(pieces, without=without)
    st.html(f'{_STYLE}<div class="skein-words">{html}</div>')


def draw_changes(changes: Sequence[Change], *, key: str) -> None:
    """What changed in a state, one line each; long values are shortened, with the whole below."""
    for number, change in enumerate(changes[:_MOST]):
        _draw_change(change, key=f"{key}.{number}")
    if len(changes) > _MOST:
        st.caption(f"… and {counted(len(changes) - _MOST, 'more change')}; the full state has them.")


def _draw_change(change: Change, *, key: str) -> None:
    icon, color = _MARKS[change.kind]
    with st.container(gap="xxsmall", key=key):
        st.markdown(f":{color}-badge[:material/{icon}: {change.kind}] **{plain(change.path or 'the state')}**")
        if isinstance(change.before, str) and isinstance(change.after, str):
            draw_words(word_differences(change.before, change.after))
            return
        values = {"before": change.before, "after": change.after}
        for name, value in values.items():
            if value is not None or change.kind == "changed":
                kind = "gone" if name == "before" else "new"
                if change.kind != "changed":
                    kind = "same"
                draw_words([Piece(kind, in_words(value))])
        whole = {name: value for name, value in values.items() if is_long(value)}
        if whole:
            with st.expander("All of it", type="compact", on_change="rerun", key=f"{key}.all") as fold:
                if fold.open:
                    st.json(whole if len(whole) > 1 else next(iter(whole.values())), expanded=2)


def in_words(value: Any) -> str:
    """A value in a line: a message as who said what, a collection as how much is in it, text as it is."""
    if isinstance(value, str):
        return shortened(value, _SHORT) or "(empty text)"
    if isinstance(value, dict):
        if isinstance(content := value.get("content"), str) and (value.get("type") or value.get("role")):
            return f"{value.get('type') or value.get('role')}: {shortened(content, _SHORT) or '(nothing)'}"
        return "{ " + shortened(", ".join(map(str, value)), _SHORT) + " }" if value else "{ }"
    if isinstance(value, list):
        return counted(len(value), "item")
    return shortened(str(value), _SHORT)


def is_long(value: Any) -> bool:
    """Whether a line cannot tell all of a value."""
    return isinstance(value, dict | list) or (isinstance(value, str) and len(value) > _SHORT)
