"""Files inside prompts and answers, as the record keeps them: their type, size and hash in place of their bytes.

Invariant: the hash is that of the file itself, as a version of an artifact has it, and so names what the model saw.
"""

import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any

_TYPE = r"[\w.+-]+/[\w.+-]+"
NOTE = re.compile(rf"\[{_TYPE}, [\d,]+ bytes, sha256 [0-9a-f]{{64}}\]")
_DATA_URL = re.compile(rf"data:({_TYPE})?[^,]{{0,200}};base64,", re.IGNORECASE)
_KEYS = ("base64", "data")
_TYPES = ("mime_type", "media_type")
_SPOKEN = {"text", "content"}
# A shorter one is as good as a note of it.
_SHORTEST = 200


def without_files(value: Any) -> Any:
    """The same messages or blocks with a note in the place of each file that is written out in Base64."""
    if isinstance(value, list):
        return [without_files(item) for item in value]
    # A dict is told at once, which an abstract class is not.
    if not isinstance(value, (dict, Mapping)) or _is_plain(value):
        return value
    media_type = next((str(value[name]) for name in _TYPES if value.get(name)), None)
    return {key: _noted(key, item, media_type) for key, item in value.items()}


def _is_plain(value: Mapping[Any, Any]) -> bool:
    """Whether nothing in a message can be a file, as in most."""
    for key, item in value.items():
        if type(item) is not str or (len(item) >= _SHORTEST and key not in _SPOKEN):
            return False
    return True


def _noted(key: Any, value: Any, media_type: str | None) -> Any:
    if not isinstance(value, str) or len(value) < _SHORTEST:
        return without_files(value)
    if key in _SPOKEN:
        return value
    if url := _DATA_URL.match(value):
        return _note(value[url.end() :], url[1] or media_type) or value
    return (_note(value, media_type) or value) if key in _KEYS and media_type else value


def _note(text: str, media_type: str | None) -> str | None:
    """What stands for a file; None when the text is not one in Base64."""
    try:
        content = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return None
    kind = media_type if media_type and re.fullmatch(_TYPE, media_type) else "application/octet-stream"
    return f"[{kind}, {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}]"
