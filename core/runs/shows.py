"""What a tool gives to be drawn: tables, charts and pictures, made safe and small enough to be kept in an event.

A tool's message shows what its artifact lists, ``{"shows": [{"type": "table" | "chart" | "image", ...}]}``, and the
pictures among its content blocks. Invariant: what comes out is plain data of bounded size that loads nothing from
anywhere: tables are scalars, a chart holds its own rows (see ``charts``), a picture was decoded and drawn anew.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from typing import Any, TypeGuard

from langchain_core.messages import ToolMessage
from PIL import Image, ImageOps

from core.errors import BadInputError
from core.outside import read_failure
from core.runs.charts import safe_cell, safe_chart
from core.runs.events import readable

MOST_SHOWS = 5
MOST_ROWS = 200
MOST_COLUMNS = 30
LONGEST_CELL = 500
MOST_PIXELS = 20_000_000
WIDEST = 1_024
LARGEST_IMAGE = 150_000
_LARGEST_GIVEN = 30_000_000
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
_LONGEST_TITLE = 200
# Each try is smaller than the one before: how wide, and how well.
_TRIES = ((WIDEST, 85), (WIDEST, 65), (768, 60), (512, 50), (256, 40))


def has_shows(message: ToolMessage) -> bool:
    """Whether there is anything to be drawn; quickly."""
    return next(_given(message), None) is not None


def safe_shows(message: ToolMessage) -> list[dict[str, Any]]:
    """What is to be drawn, safe and bounded; in place of what was refused ``{"type": "refused", "reason"}``.

    table: columns, rows, note · chart: spec, note · image: media_type, base64; each perhaps with a title.
    """
    given = list(islice(_given(message), MOST_SHOWS + 1))
    shows = [_safe(one) for one in given[:MOST_SHOWS]]
    if len(given) > MOST_SHOWS:
        shows.append(_refused(f"Only the first {MOST_SHOWS} things to show are kept of one result."))
    return shows


def _given(message: ToolMessage) -> Iterator[Any]:
    artifact = message.artifact
    shows = artifact.get("shows") if isinstance(artifact, Mapping) else None
    yield from shows if isinstance(shows, (list, tuple)) else ()
    for block in message.content if isinstance(message.content, list) else ():
        if isinstance(block, Mapping) and block.get("type") in {"image", "image_url"}:
            yield _from_block(block)


def _from_block(block: Mapping[str, Any]) -> dict[str, Any]:
    """A content block in LangChain's or OpenAI's form."""
    if block["type"] == "image":
        return {"type": "image", "base64": block.get("base64"), "media_type": block.get("mime_type")}
    url = block.get("image_url")
    url = url.get("url") if isinstance(url, Mapping) else url
    head, _, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    is_data = head.startswith("data:") and head.endswith(";base64")
    return {"type": "image", "base64": data if is_data else None, "media_type": head[5:-7] if is_data else None}


def _safe(show: Any) -> dict[str, Any]:
    try:
        return _checked(show)
    except BadInputError as error:
        return _refused(read_failure(error, 300))
    except Exception as error:  # noqa: BLE001 - a stranger's data; what else is wrong with it is no harm to the run
        return _refused(f"Something to show was left out: it cannot be read ({type(error).__name__}).")


def _checked(show: Any) -> dict[str, Any]:
    kind = show.get("type") if isinstance(show, Mapping) else None
    match kind:
        case "table":
            safe = _safe_table(show)
        case "chart":
            safe = safe_chart(show.get("spec"))
        case "image":
            safe = _safe_image(show)
        case _:
            raise BadInputError("Something to show was left out: it is neither a table, a chart nor an image.")
    title = readable(show["title"], _LONGEST_TITLE) if isinstance(show.get("title"), str) else ""
    return {"type": kind, **({"title": title} if title else {}), **safe}


def _refused(reason: str) -> dict[str, Any]:
    return {"type": "refused", "reason": reason}


# -- tables ---------------------------------------------------------------------------------------------


def _safe_table(show: Mapping[str, Any]) -> dict[str, Any]:
    columns, rows = show.get("columns"), show.get("rows")
    if not _is_list(columns) or not _is_list(rows):
        raise BadInputError("A table was left out: it needs a list of columns and a list of rows.")
    kept = columns[:MOST_COLUMNS]
    safe: dict[str, Any] = {
        "columns": _distinct([readable(str(name), LONGEST_CELL) for name in kept]),
        "rows": [_safe_row(row, kept) for row in rows[:MOST_ROWS]],
    }
    if len(rows) > MOST_ROWS or len(columns) > MOST_COLUMNS:
        safe["note"] = (
            f"{len(safe['rows']):,} of {len(rows):,} rows and {len(kept):,} of {len(columns):,} columns are kept."
        )
    return safe


def _safe_row(row: Any, columns: Sequence[Any]) -> list[Any]:
    if isinstance(row, Mapping):
        return [safe_cell(row.get(name), LONGEST_CELL) for name in columns]
    cells = [safe_cell(cell, LONGEST_CELL) for cell in (row[: len(columns)] if _is_list(row) else [row])]
    return cells + [None] * (len(columns) - len(cells))


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (list, tuple))


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, each with a number where it was there before: a table cannot have two columns of one name."""
    found: list[str] = []
    for name in names:
        number, wanted = 1, name
        while wanted in found:
            number += 1
            wanted = f"{name} ({number})"
        found.append(wanted)
    return found


# -- pictures -------------------------------------------------------------------------------------------


def _safe_image(show: Mapping[str, Any]) -> dict[str, Any]:
    if "svg" in str(show.get("media_type")).lower():
        raise BadInputError("An image was left out: SVG can carry scripts; please give a PNG, JPEG, GIF or WebP.")
    media_type, content = _shrunk(_open_image(_decoded(show.get("base64"))))
    return {"media_type": media_type, "base64": base64.b64encode(content).decode()}


def _shrunk(image: Image.Image) -> tuple[str, bytes]:
    """As PNG, which keeps every line sharp, where that is small enough; else as JPEG."""
    image.thumbnail((WIDEST, WIDEST), reducing_gap=2.0)
    content = _saved(image, "PNG")
    if len(content) <= LARGEST_IMAGE:
        return "image/png", content
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    for width, quality in _TRIES:
        flat.thumbnail((width, width), reducing_gap=2.0)
        content = _saved(flat, "JPEG", quality=quality)
        if len(content) <= LARGEST_IMAGE:
            break
    return "image/jpeg", content


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def _decoded(data: Any) -> bytes:
    if not isinstance(data, str) or not data:
        raise BadInputError("An image was left out: it is not given in base64; addresses are not loaded.")
    if len(data) > _LARGEST_GIVEN:
        raise BadInputError(f"An image was left out: it is larger than {_LARGEST_GIVEN // 1_000_000} MB.")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadInputError("An image was left out: it is not base64.") from None


def _open_image(content: bytes) -> Image.Image:
    """The first picture of it, upright, with nothing but its pixels."""
    try:
        image: Image.Image = Image.open(BytesIO(content), formats=_FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise Image.DecompressionBombError
        image.draft("RGB", (WIDEST, WIDEST))
        image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadInputError(f"An image was left out: it has more than {MOST_PIXELS:,} pixels.") from None
    except Exception:  # noqa: BLE001 - a broken picture fails in whatever way its format's reader does
        raise BadInputError("An image was left out: it is no whole PNG, JPEG, GIF or WebP.") from None
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    return ImageOps.exif_transpose(image).convert("RGBA" if has_alpha else "RGB")
