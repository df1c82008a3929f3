"""Attached files, checked when they come.

What a file is, its bytes say; its name only tells one kind of text from another. Invariant: a picture is drawn anew
and small, so that nothing else rides along in it and a state stays small; all else that passes is text, or a PDF
whose text could be read.
"""

import io
import json
import re
from pathlib import PurePosixPath
from threading import BoundedSemaphore
from typing import Any

from PIL import Image, ImageOps

from core.agents.pdf_text import read_pdf
from core.errors import BadInputError
from core.history.artifact_content import MEDIA_TYPES, clean_name
from core.history.files import Attachment

LARGEST_FILE = 10_000_000
MOST_PIXELS = 50_000_000
LONGEST_SIDE = 1_568
_LARGEST_PICTURE = 600_000
_LONGEST_NAME = 120
_SUFFIXES = {"image/png": (".png",), "image/jpeg": (".jpg", ".jpeg"), "application/pdf": (".pdf",)}
_TEXTS = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".csv": "text/csv",
    ".tsv": "text/csv",
    ".json": "application/json",
}
_PAGES = {".html", ".htm", ".xhtml", ".svg", ".svgz"}
# Each comment is taken once for all: to try all ways to part them would take for ever.
_PAGE = re.compile(
    r"\s*(?:(?><\?xml.*?\?>|<!--.*?-->)\s*)*+<(?:!doctype\s+(?:html|svg)|html|svg|head|body|script)\b",
    re.IGNORECASE | re.DOTALL,
)
_CONTROLS = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Unpacked, a picture takes many times its size.
_turns = BoundedSemaphore(2)


def check(name: str, data: bytes) -> Attachment:
    """The file as it is kept; BadInputError says in one sentence why it cannot be attached."""
    name = _clean(name)
    if not data:
        raise BadInputError(f"“{name}” is empty; please choose another file.")
    if len(data) > LARGEST_FILE:
        raise BadInputError(
            f"“{name}” has {len(data) / 1_000_000:,.1f} MB; a file has at most {LARGEST_FILE // 1_000_000} MB."
        )
    media_type = _type_by_beginning(data)
    if media_type is None:
        return _as_text(name, data)
    return _as_pdf(name, data) if media_type == "application/pdf" else _as_picture(name, data, media_type)


def _clean(name: str) -> str:
    """The last part of a path, in one line, shortened in the middle so that its ending stays."""
    last = re.split(r"[/\\]", name)[-1][-1_000:]
    path = PurePosixPath(last)
    suffix = path.suffix[:12]
    short = path.stem[: _LONGEST_NAME - len(suffix)] + suffix
    try:
        return clean_name(short)
    except BadInputError:
        return "file"


def _type_by_beginning(data: bytes) -> str | None:
    found = (kind for kind, beginning in MEDIA_TYPES.items() if beginning is not None and beginning.match(data))
    return next(found, None)


def _as_pdf(name: str, data: bytes) -> Attachment:
    try:
        read_pdf(data)
    except BadInputError as error:
        raise BadInputError(f"“{name}” {error}") from None
    return Attachment(_named_as(name, "application/pdf"), "application/pdf", data)


def _as_picture(name: str, data: bytes, media_type: str) -> Attachment:
    try:
        with _turns, Image.open(io.BytesIO(data), formats=["PNG", "JPEG", "WEBP", "GIF"]) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise _too_many_pixels(name)
            shown = _in_eight_bits(picture)
            shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            kept, content = _encode(ImageOps.exif_transpose(shown), media_type)
    except BadInputError:
        raise
    except Image.DecompressionBombError:
        raise _too_many_pixels(name) from None
    except Exception:  # noqa: BLE001 - a library for pictures fails in many ways on a broken one
        raise BadInputError(f"“{name}” is a broken picture; please save it anew and attach that.") from None
    return Attachment(_named_as(name, kept), kept, content)


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """A grey picture of 16 bits in 8: Pillow itself cuts off what is above 255, which would leave it white."""
    if not picture.mode.startswith("I"):
        return picture
    return picture.convert("I").point(lambda value: value / 256).convert("L")


def _too_many_pixels(name: str) -> BadInputError:
    return BadInputError(
        f"“{name}” has more than {MOST_PIXELS // 1_000_000} million pixels; please make it smaller first."
    )


def _encode(picture: Image.Image, media_type: str) -> tuple[str, bytes]:
    """As PNG, or as JPEG what came as a photo or would be large; without anything that is not the picture."""
    is_clear = picture.has_transparency_data
    picture = picture.convert("RGBA" if is_clear else "RGB")
    picture.info.clear()
    if is_clear or media_type in {"image/png", "image/gif"}:
        content = _saved(picture, "PNG")
        if len(content) <= _LARGEST_PICTURE:
            return "image/png", content
    if is_clear:
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture.getchannel("A"))
        picture = white
    for quality in (85, 70, 50):
        content = _saved(picture, "JPEG", quality=quality)
        if len(content) <= _LARGEST_PICTURE:
            break
    return "image/jpeg", content


def _saved(picture: Image.Image, form: str, **how: Any) -> bytes:
    into = io.BytesIO()
    picture.save(into, form, **how)
    return into.getvalue()


def _named_as(name: str, media_type: str) -> str:
    """The name with an ending of its type: what is downloaded under it can then be opened."""
    path, endings = PurePosixPath(name), _SUFFIXES[media_type]
    return name if path.suffix.lower() in endings else f"{path.stem}{endings[0]}"


def _as_text(name: str, data: bytes) -> Attachment:
    suffix = PurePosixPath(name).suffix.lower()
    text = _decode(name, data)
    if not text.strip():
        raise BadInputError(f"“{name}” is empty; please choose another file.")
    if suffix in _PAGES or _PAGE.match(text[:2_000]):
        raise BadInputError(
            f"“{name}” is a web page or a drawing in SVG, which cannot be attached; attach its text or a picture."
        )
    media_type = _TEXTS.get(suffix, "text/plain")
    if media_type == "application/json" and not _is_json(text):
        media_type = "text/plain"
    return Attachment(name, media_type, text.encode())


def _decode(name: str, data: bytes) -> str:
    is_utf16 = data.startswith(_UTF16)
    if not is_utf16 and _CONTROLS.search(data):
        raise BadInputError(
            f"“{name}” is not of a type that can be attached: choose text, Markdown, CSV, JSON, source code, "
            f"a PDF, or a picture (PNG, JPEG, WebP, GIF)."
        )
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise BadInputError(f"“{name}” is not text in UTF-8; please save it as UTF-8 and attach that.") from None
    return text.replace("\0", "")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
