"""The parts of a readable page, as Markdown and as HTML that needs nothing but a browser.

Invariant: a text given to a part is text: in HTML every character of it is shown and none is markup; in Markdown a
quote reads as the Markdown that it is, inside of its own block.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from core.records.telling import inline, quoted


class Link(NamedTuple):
    """A place on the same page."""

    text: str
    anchor: str


class Entry(NamedTuple):
    """A line of an outline; ``column`` is how far in it stands."""

    column: int
    link: Link
    text: str


@dataclass(frozen=True)
class Heading:
    level: int
    text: str
    anchor: str = ""


@dataclass(frozen=True)
class Facts:
    """Short lines about what stands above; empty ones are left out."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Quote:
    """What somebody, or a model, said."""

    text: str


@dataclass(frozen=True)
class Note:
    """A word that is to be seen, and what it is about."""

    word: str
    text: str


@dataclass(frozen=True)
class Outline:
    entries: tuple[Entry, ...]


Part = Heading | Facts | Quote | Note | Outline
_MOST_COLUMNS = 12
# A line that would begin a list, a heading underline or an indented block by its first characters.
_BEGINNING = re.compile(r"^(?:\d+(?=[.)])|(?=[-+=]))")


def to_markdown(parts: Iterable[Part]) -> str:
    """The page as Markdown."""
    return "\n\n".join(text for part in parts if (text := _in_markdown(part))) + "\n"


def _in_markdown(part: Part) -> str:
    match part:
        case Heading(level, text, _):
            return f"{'#' * level} {inline(text)}"
        case Facts(lines):
            return "\n".join(f"- {_line(line)}" for line in lines if line)
        case Quote(text):
            return quoted(text)
        case Note(word, text):
            return f"**{inline(word)}.** {_line(text)}"
        case Outline(entries):
            return "\n".join(f"{_indent(one.column)}- {_line(f'{one.link.text} {one.text}')}" for one in entries)


def _line(text: str) -> str:
    """The text as it stands in a line of its own."""
    return _BEGINNING.sub(r"\g<0>\\", inline(text))


def _indent(column: int) -> str:
    return "  " * min(column, _MOST_COLUMNS)


def to_html(parts: Iterable[Part]) -> str:
    """The page as HTML: one file without scripts, that asks for nothing."""
    listed = list(parts)
    title = next((part.text for part in listed if isinstance(part, Heading)), "Session")
    body = (line for part in listed for line in _in_html(part))
    return "\n".join([_HEAD.format(title=escape(title)), *body, _END])


def _in_html(part: Part) -> Iterator[str]:
    match part:
        case Heading(level, text, anchor):
            place = f' id="{escape(anchor)}"' if anchor else ""
            yield f"<h{level}{place}>{escape(text)}</h{level}>"
        case Facts(lines):
            yield "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines if line) + "</ul>"
        case Quote(text):
            yield f"<blockquote>{escape(text)}</blockquote>"
        case Note(word, text):
            yield f"<p><strong>{escape(word)}.</strong> {escape(text)}</p>"
        case Outline(entries):
            yield "<nav>"
            for one in entries:
                place = f"c{min(one.column, _MOST_COLUMNS)}"
                link = f'<a href="#{escape(one.link.anchor)}">{escape(one.link.text)}</a>'
                yield f'<div class="{place}">{link} {escape(one.text)}</div>'
            yield "</nav>"


_COLUMNS = "".join(f".c{column}{{margin-left:{column * 1.5}em}}" for column in range(_MOST_COLUMNS + 1))
_HEAD = (
    """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root{{color-scheme:light dark}}
body{{max-width:50em;margin:2em auto;padding:0 1em;font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}}
blockquote{{margin:0;padding:.5em 1em;border-left:3px solid #8888;white-space:pre-wrap}}
h2{{margin-top:2.5em;border-bottom:1px solid #8888}}
h3{{margin-top:2em}}
ul,nav{{font-size:.9em}}
"""
    + _COLUMNS.replace("{", "{{").replace("}", "}}")
    + """
</style>
</head>
<body>"""
)
_END = "</body>\n</html>\n"
