"""A form drawn from a JSON schema: a widget for each property, a JSON text area for what has none.

Invariant: what nobody touches stays exactly as it is: what is absent stays absent (unless it is required and has a
default), and what no widget shows is kept. Titles and descriptions are other people's text and are shown as such.
"""

import datetime
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import streamlit as st

from core.json_schema import Mismatch, find_mismatches
from pages.parts.forms.schema_fields import MISSING, Field, fits, is_whole, place_of, read_field, spelled
from pages.parts.ui import state
from pages.parts.ui.text import plain, plain_lines, shortened

_UNSET = "Not set"
_LONG, _LONGEST_TITLE, _LONGEST_HELP, _LONGEST_CHOICE = 80, 120, 2_000, 200
_AREAS = {"textarea", "multiline", "multi-line", "markdown"}
_FIRST, _LAST = datetime.date(1, 1, 1), datetime.date(9999, 12, 31)


@dataclass(frozen=True)
class Filled:
    """What the form holds now, None when nothing; and a sentence in plain text for each thing that is wrong.

    ``unread`` are those about what could not be read at all, by the key of the widget.
    """

    value: Any
    problems: list[str] = field(default_factory=list)
    unread: dict[str, list[str]] = field(default_factory=dict)


# By a widget's key, what is wrong with what it holds; by "" what is wrong with no single one.
Said = Mapping[str, Sequence[str]]


def draw_fields(schema: dict[str, Any] | None, *, key: str, value: Any = None, said: Said | None = None) -> Filled:
    """Draw the schema's fields filled with the value, and give what they hold; inside of ``st.form`` and outside.

    ``value`` counts when the widgets of this ``key`` are first drawn: another value needs another key. A widget's
    own key is ``<key>.<property>``, of an object in it ``<key>.<property>.<property>``, of a lone value ``<key>.``.
    Below each widget stands what is ``said`` of it.
    """
    return _fill(schema, _Form(is_drawn=True, said=said or {}), key=key, value=value)


def say_at_fields(
    schema: dict[str, Any] | None, mismatches: Iterable[Mismatch], *, key: str
) -> dict[str, list[str]]:
    """What is wrong, by the widget of this form that holds it, as ``draw_fields`` takes it."""
    said: dict[str, list[str]] = {}
    for path, problem in mismatches:
        place, rest = _find_widget(read_field(schema), path, key)
        inside = f"{'.'.join(map(str, rest))} " if rest else ""
        sentence = f"{inside}{problem}."
        said.setdefault(place, []).append(sentence[:1].upper() + sentence[1:])
    return said


def _find_widget(root: Field, path: Sequence[str | int], key: str) -> tuple[str, Sequence[str | int]]:
    """The key of the widget for the place, "" for none, and what of the path is left inside of it."""
    if root.kind != "object":
        return f"{key}.", path
    here, at = root, ""
    for depth, name in enumerate(path):
        inner = next((one for one in here.fields if one.name == name), None)
        if inner is None:
            return at, path[depth:]
        here, at = inner, _key(at or key, inner)
    return at, ()


def read_fields(schema: dict[str, Any] | None, *, key: str, value: Any = None) -> Filled:
    """What the fields hold that were drawn with the same arguments; for use in callbacks."""
    return _fill(schema, _Form(is_drawn=False), key=key, value=value)


@dataclass(frozen=True)
class _Form:
    """Whether the widgets are to be drawn, or only what they hold is wanted; and what is wrong with that."""

    is_drawn: bool
    unread: dict[str, list[str]] = field(default_factory=dict)
    said: Said = field(default_factory=dict)

    def say(self, key: str) -> None:
        """Below the widget that was just drawn: what is wrong with what it holds."""
        for sentence in self.said.get(key, ()):
            st.markdown(f":small[:red[:material/error: {plain(sentence)}]]")


def _fill(schema: dict[str, Any] | None, form: _Form, *, key: str, value: Any) -> Filled:
    root = read_field(schema)
    if root.kind == "object" and isinstance(value, dict | None):
        held = _fill_inside(root, value or {}, key, form)
    else:
        held = _fill_one(root, MISSING if value is None else value, f"{key}.", form)
    held = None if held is MISSING else held
    unread = [sentence for sentences in form.unread.values() for sentence in sentences]
    return Filled(held, unread or find_mismatches(schema or {}, held), form.unread)


def _fill_one(field: Field, value: Any, key: str, form: _Form) -> Any:
    """One field; in and out goes its value, or MISSING."""
    if field.kind == "object" and (value is MISSING or value is None or fits(field, value)):
        return _fill_object(field, value, key, form)
    shown = field.default if value is MISSING else value
    if field.kind in {"object", "json"} or not (shown is MISSING or shown is None or fits(field, shown)):
        return _fill_json(field, value, key, form)
    begun = None if shown is MISSING else shown
    if form.is_drawn:
        _WIDGETS[field.kind](field, begun, key)
        form.say(key)
    now = _held(field, begun, key)
    if _is_same(field, now, begun):
        return untouched(field, value)
    return _emptied(field) if _is_empty(field, now) else now


def _is_empty(field: Field, value: Any) -> bool:
    return value is None or (field.kind != "choice" and value in ("", []))


def _is_same(field: Field, now: Any, begun: Any) -> bool:
    if _is_empty(field, now) or _is_empty(field, begun):
        return _is_empty(field, now) and _is_empty(field, begun)
    return spelled(now) == spelled(begun) or (field.kind == "number" and now == begun)


def untouched(field: Field, value: Any) -> Any:
    """What a field gives when nobody touches it: what it had, or its default when it must have something."""
    if field.kind == "object" and (fits(field, value) or (value is MISSING and field.is_required)):
        held = {} if value is MISSING else value
        inner = {one.name: untouched(one, held.get(one.name, MISSING)) for one in field.fields}
        return {**held, **{name: given for name, given in inner.items() if given is not MISSING}}
    if value is not MISSING or not field.is_required:
        return value
    return False if field.kind == "checkbox" and field.default is MISSING else field.default


def _emptied(field: Field) -> Any:
    """What a field gives once somebody has emptied it; without a value of its own it is left out."""
    if field.kind in {"choices", "words"}:
        return []
    must_say = field.is_required or field.default is not MISSING
    if must_say and field.is_nullable:
        return None
    return "" if must_say and field.kind == "text" else MISSING


def _held(field: Field, begun: Any, key: str) -> Any:
    """What a widget holds; what it was to begin with where it was not drawn yet."""
    now = state.get(key) if state.has(key) else begun
    if field.kind == "checkbox":
        return begun if bool(now) == bool(begun) else now
    return now.isoformat() if isinstance(now, datetime.date) else now


def _fill_object(field: Field, value: Any, key: str, form: _Form) -> Any:
    held = value if isinstance(value, dict) else {}
    if form.is_drawn:
        with st.container(border=True):
            st.markdown(f"**{_title(field)}**", help=_help(field))
            now = _fill_inside(field, held, key, form)
            form.say(key)
    else:
        now = _fill_inside(field, held, key, form)
    if not isinstance(value, dict) and not (value is MISSING and field.is_required):
        whole = untouched(Field(field.name, "object", field.schema, fields=field.fields), MISSING)
        return value if spelled(now) == spelled(whole) else now
    return now


def _fill_inside(field: Field, held: dict[str, Any], key: str, form: _Form) -> dict[str, Any]:
    """The fields of an object, and below them whatever else it holds."""
    names = {one.name for one in field.fields}
    now = {one.name: _fill_one(one, held.get(one.name, MISSING), _key(key, one), form) for one in field.fields}
    more = {name: value for name, value in held.items() if name not in names}
    if more:
        now |= _fill_more(more, f"{key}.~more", form)
    order = [*(name for name in held if name in now), *(name for name in now if name not in held)]
    return {name: now[name] for name in order if now[name] is not MISSING}


def _fill_more(more: dict[str, Any], key: str, form: _Form) -> dict[str, Any]:
    given = _fill_json(Field("More fields", "json", {}, is_required=False), more, key, form)
    if given is MISSING:
        return {}
    if not isinstance(given, dict):
        form.unread.setdefault(key, []).append("More fields must be a JSON object.")
        return more
    return given


def _fill_json(field: Field, value: Any, key: str, form: _Form) -> Any:
    default = field.schema.get("default", MISSING)
    shown = default if value is MISSING and default is not None else value
    begun = "" if shown is MISSING else json.dumps(shown, indent=2, ensure_ascii=False, default=str)
    if form.is_drawn:
        label = f"{_title(field)} :small[JSON]"
        height = 68 + 24 * min(12, begun.count("\n"))
        st.text_area(label, begun, key=key, help=_help(field), placeholder=_UNSET, height=height)
        form.say(key)
    text = ((state.get(key) if state.has(key) else begun) or "").strip()
    if text == begun.strip():
        return shown if value is MISSING and field.is_required else value
    if not text:
        return _emptied(field)
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        sentence = f"{shortened(field.title, _LONGEST_TITLE)} is not JSON{_where(error)}."
        form.unread.setdefault(key, []).append(sentence)
        return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


def _where(error: Exception) -> str:
    return f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""


def _draw_text(field: Field, value: Any, key: str) -> None:
    most = field.schema.get("maxLength")
    most = most if is_whole(most) and 0 < most < 1_000_000 and most >= len(value or "") else None
    given = {
        "key": key,
        "help": _help(field),
        "max_chars": most,
        "placeholder": "" if field.is_required else _UNSET,
    }
    if _is_long(field, value or ""):
        st.text_area(_title(field), value, **given)
        return
    secret = field.schema.get("format") == "password" or field.schema.get("writeOnly") is True
    st.text_input(_title(field), value, type="password" if secret else "default", **given)


def _is_long(field: Field, value: str) -> bool:
    most = field.schema.get("maxLength")
    roomy = (is_whole(most) and most > 4 * _LONG) or str(field.schema.get("format")) in _AREAS
    return roomy or len(value) > _LONG or "\n" in value


def _draw_number(field: Field, value: Any, key: str) -> None:
    whole = field.kind == "integer"
    low, high = field.bound("minimum", "exclusiveMinimum"), field.bound("maximum", "exclusiveMaximum")
    if low is not None and high is not None and low > high:
        low = high = None
    begun = value if value is None or whole else float(value)
    state.begin(key, begun)
    st.number_input(
        _title(field),
        value=None,
        min_value=low if low is None or begun is None or low <= begun else None,
        max_value=high if high is None or begun is None or begun <= high else None,
        step=1 if whole else None,
        format=None if whole else "%.12g",
        key=key,
        help=_help(field),
        placeholder=_UNSET,
    )


def _draw_checkbox(field: Field, value: Any, key: str) -> None:
    st.checkbox(_title(field), bool(value), key=key, help=_help(field))


def _draw_date(field: Field, value: Any, key: str) -> None:
    state.begin(key, datetime.date.fromisoformat(value) if value else None)
    st.date_input(
        _title(field), None, min_value=_FIRST, max_value=_LAST, format="YYYY-MM-DD", key=key, help=_help(field)
    )


def _draw_choice(field: Field, value: Any, key: str) -> None:
    state.begin(key, None if value is None else field.choices[place_of(field, value) or 0])
    st.selectbox(
        _title(field),
        field.choices,
        index=None,
        format_func=_name_of_choice,
        placeholder=_UNSET,
        key=key,
        help=_help(field),
    )


def _draw_choices(field: Field, value: Any, key: str) -> None:
    st.multiselect(
        _title(field),
        field.choices,
        default=value or [],
        format_func=_name_of_choice,
        placeholder="None chosen",
        key=key,
        help=_help(field),
    )


def _draw_words(field: Field, value: Any, key: str) -> None:
    """A list of texts, each typed and entered."""
    st.multiselect(
        _title(field),
        value or [],
        default=value or [],
        accept_new_options=True,
        placeholder="Type, and press Enter after each",
        key=key,
        help=_help(field),
    )


_WIDGETS: dict[str, Callable[[Field, Any, str], None]] = {
    "text": _draw_text,
    "integer": _draw_number,
    "number": _draw_number,
    "checkbox": _draw_checkbox,
    "date": _draw_date,
    "choice": _draw_choice,
    "choices": _draw_choices,
    "words": _draw_words,
}


def _name_of_choice(choice: Any) -> str:
    if isinstance(choice, bool):
        return "Yes" if choice else "No"
    return shortened(choice if isinstance(choice, str) and choice else spelled(choice), _LONGEST_CHOICE)


def _key(key: str, field: Field) -> str:
    # Half a character could not be sent to a browser.
    name = field.name.encode("utf-8", "backslashreplace").decode()
    return f"{key}.{name.replace('~', '~0').replace('.', '~1')}"


def _title(field: Field) -> str:
    return plain(" ".join(shortened(field.title, _LONGEST_TITLE).split())) or "Value"


def _help(field: Field) -> str | None:
    return plain_lines(shortened(field.description, _LONGEST_HELP)) or None
