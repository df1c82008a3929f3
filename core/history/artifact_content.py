"""What an artifact may be called and hold: checked once, before it is written.

Invariant: what is kept under a media type is of that type as far as its first bytes, or its encoding, tell; so a
picture is never a page in disguise, and text can be read as UTF-8.
"""

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

from core.errors import BadInputError
from core.history.task_plan import read_plan
from core.tables import ARTIFACT_KINDS, clean_text

LARGEST_CONTENT = 10_000_000
LONGEST_NAME = 200
# Each with how a file of it begins, or nothing where that cannot be told.
MEDIA_TYPES: Mapping[str, re.Pattern[bytes] | None] = MappingProxyType(
    {
        "text/markdown": None,
        "text/plain": None,
        "text/csv": None,
        "application/json": None,
        "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
        "image/jpeg": re.compile(rb"\xff\xd8\xff"),
        "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
        "image/gif": re.compile(rb"GIF8[79]a"),
        "application/pdf": re.compile(rb"%PDF-"),
        "application/octet-stream": None,
    }
)


def is_text(media_type: str) -> bool:
    """Whether content of this type is text in UTF-8."""
    return media_type.startswith("text/") or media_type == "application/json"


def check_content(kind: str, content: bytes, media_type: str) -> None:
    """BadInputError when it is too large, not of a known type, or not what its type says."""
    if kind not in ARTIFACT_KINDS:
        raise BadInputError(f"An artifact is one of {', '.join(ARTIFACT_KINDS)}; please choose one of these.")
    if media_type not in MEDIA_TYPES:
        raise BadInputError(
            f"An artifact has one of the types {', '.join(MEDIA_TYPES)}; please choose one of these."
        )
    if len(content) > LARGEST_CONTENT:
        raise BadInputError(
            f"An artifact holds at most {LARGEST_CONTENT // 1_000_000} MB; this one has {len(content):,} bytes."
        )
    if kind == "task_plan":
        _check_plan(content, media_type)
    elif is_text(media_type):
        _check_text(content)
    elif (beginning := MEDIA_TYPES[media_type]) is not None and not beginning.match(content):
        raise BadInputError(f"This is not a file of the type {media_type}; please choose another one.")


def clean_name(name: str) -> str:
    """The name in one line and one Unicode form, without control characters; BadInputError when it does not fit."""
    composed = unicodedata.normalize("NFC", clean_text(name))
    name = " ".join("".join(_shown(character) for character in composed).split())
    if not name or len(name) > LONGEST_NAME:
        raise BadInputError(f"An artifact needs a name of 1 to {LONGEST_NAME} characters; please type one.")
    return name


def _shown(character: str) -> str:
    """The character, a space for a line break or tab, nothing for what controls how others are shown."""
    if character.isspace():
        return " "
    controls = unicodedata.category(character) == "Cc" or unicodedata.bidirectional(character) in _DIRECTIONS
    return "" if controls else character


def _check_plan(content: bytes, media_type: str) -> None:
    if media_type != "application/json":
        raise BadInputError("A task plan is of the type application/json; please write it as JSON.")
    read_plan(content)


def _check_text(content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError:
        raise BadInputError("This text is not in UTF-8; please save it as UTF-8 and try again.") from None


# What makes text run the other way, so that a name can look like another.
_DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
