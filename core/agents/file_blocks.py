"""Attached files as a model is given them: content blocks behind a message's own words, each under its name.

Invariant: what was written and what was attached can be told apart again, so that nobody takes the words of a file
for a person's.
"""

import base64
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.agents.pdf_text import read_pdf
from core.errors import BadInputError
from core.history.artifact_refs import Ref
from core.history.files import Attachment, read_files

LONGEST_TEXT = 200_000
_HEADING = re.compile(r"\n\n\[Attached file: (.+) \(([\w./+-]+)\)\]\n")
_DELETED = "\n\n[Attached file deleted]\n"


def content_blocks(text: str, files: Sequence[Attachment | None]) -> str | list[dict[str, Any]]:
    """A message's content: its text alone, or that and a block for each file (None: one that was deleted).

    Of the files' texts together ``LONGEST_TEXT`` characters are given, with a note where one is cut.
    """
    if not files:
        return text
    texts = {place: _text_of(file) for place, file in enumerate(files) if file and not _is_picture(file)}
    room = _share({place: len(one) for place, one in texts.items()})
    blocks = [{"type": "text", "text": text}]
    for place, file in enumerate(files):
        blocks += _blocks(file, _cut(texts[place], room[place]) if place in texts else "")
    return blocks


def _blocks(file: Attachment | None, text: str) -> list[dict[str, Any]]:
    if file is None:
        return [{"type": "text", "text": _DELETED}]
    heading = f"\n\n[Attached file: {file.name} ({file.media_type})]\n"
    named = {"type": "text", "text": heading + text}
    if not _is_picture(file):
        return [named]
    data = base64.b64encode(file.content).decode()
    return [named, {"type": "image", "base64": data, "mime_type": file.media_type}]


def _is_picture(file: Attachment) -> bool:
    return file.media_type.startswith("image/")


def _text_of(file: Attachment) -> str:
    if file.media_type != "application/pdf":
        return file.content.decode("utf-8", "replace")
    try:
        return read_pdf(file.content)
    except BadInputError as error:
        return f"[It {error}]"


def _share(lengths: Mapping[int, int]) -> dict[int, int]:
    """How much of each is given: the short ones whole, and the long ones as much as each other."""
    left, room = LONGEST_TEXT, dict[int, int]()
    for done, place in enumerate(sorted(lengths, key=lengths.__getitem__)):
        room[place] = min(lengths[place], left // (len(lengths) - done))
        left -= room[place]
    return room


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return f"{text[:length]}\n[Cut here: these are the first {length:,} of {len(text):,} characters.]"


def with_files(
    viewer: Viewer, db: Db, messages: Sequence[AnyMessage], refs_of: Mapping[str, Collection[Ref]]
) -> list[AnyMessage]:
    """The messages, those of people with the files that are named for their ids, as far as the viewer may read."""
    return [_with_files(viewer, db, message, refs_of) for message in messages]


def _with_files(viewer: Viewer, db: Db, message: AnyMessage, refs_of: Mapping[str, Collection[Ref]]) -> AnyMessage:
    refs = refs_of.get(message.id or "")
    if not refs or not isinstance(message, HumanMessage):
        return message
    content: Any = content_blocks(str(message.text), read_files(viewer, db, refs))
    return message.model_copy(update={"content": content})


def words_in(message: BaseMessage) -> str:
    """What a person wrote, without the files that were attached to it."""
    first = message.content[0] if isinstance(message.content, list) and message.content else None
    is_ours = isinstance(first, dict) and any(_headings(message))
    return str(first.get("text", "")) if is_ours and isinstance(first, dict) else str(message.text)


def files_in(message: BaseMessage) -> list[tuple[str, str]]:
    """Name and type of each file that was attached to a message."""
    return [(found[1], found[2]) for found in _headings(message)]


def _headings(message: BaseMessage) -> Iterator[re.Match[str]]:
    for block in message.content[1:] if isinstance(message.content, list) else ():
        text = block.get("text") if isinstance(block, dict) else None
        if isinstance(text, str) and (found := _HEADING.match(text)):
            yield found
