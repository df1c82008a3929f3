"""``langgraph.json`` as read: which graphs are named there, where they are, and what is said about each.

The keys are LangGraph's own (``graphs``, ``dependencies``; ``path`` and ``description`` of a graph) and a few
optional ones of ours. Invariant: an entry that is wrong spoils no other; only a file that cannot be read at all
is an error. ``env`` is not read: secrets come from the settings.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.agents.limits import LONGEST_TIMEOUT, MOST_ATTEMPTS, MOST_STEPS
from core.errors import BadInputError
from core.settings import CallText


class Entry(BaseModel):
    """One graph, as ``langgraph.json`` describes it; ``node_timeout`` in seconds, ``retry`` in attempts.

    ``from_skein`` names settings of the graph's own that are left to Skein's options of the same name.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    path: str
    description: str | None = None
    answer_nodes: tuple[str, ...] | None = None
    call_text: CallText | None = None
    recursion_limit: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    node_timeout: float | None = Field(default=None, gt=0, le=LONGEST_TIMEOUT)
    retry: int | None = Field(default=None, ge=1, le=MOST_ATTEMPTS)
    input_key: str | None = None
    output_key: str | None = None
    from_skein: tuple[Literal["model", "temperature"], ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The graphs by id, not yet checked, and the folder that their paths start from."""

    folder: Path
    graphs: Mapping[str, Any]
    dependencies: tuple[str, ...] = ()


def read_manifest(path: Path) -> Manifest:
    """Read the file; BadInputError says what it should look like."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        graphs = dict(data["graphs"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInputError(
            f"{path} cannot be read as a langgraph.json ({type(error).__name__}: {error}); it needs an object "
            f'like {{"graphs": {{"id": "path/file.py:variable"}}}}.'
        ) from None
    named = data.get("dependencies")
    dependencies = tuple(one for one in named if isinstance(one, str)) if isinstance(named, list) else ()
    return Manifest(path.parent.resolve(), graphs, dependencies)


def read_entry(described: Any) -> Entry:
    """What is said about one graph; BadInputError names the key that is wrong."""
    try:
        return Entry.model_validate({"path": described} if isinstance(described, str) else described)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}" if place else first["msg"]
        raise BadInputError(
            f'Its entry in langgraph.json is wrong ({said}); it should be like "path/file.py:variable" '
            f'or {{"path": "path/file.py:variable", "description": "..."}}.'
        ) from None


def find_description(described: Any) -> str:
    """What people read about a graph, also while it is not there; "" when nothing is said."""
    text = described.get("description") if isinstance(described, dict) else None
    return text if isinstance(text, str) else ""


def reach_dependencies(manifest: Manifest) -> None:
    """Let Python find the modules of the folders named as dependencies, as LangGraph's own server does."""
    # Behind everything else, so that no folder of a team can stand in for a module of ours or of Python's.
    for folder in (manifest.folder, *(manifest.folder / name for name in manifest.dependencies)):
        place = str(folder.resolve())
        if folder.is_dir() and place not in sys.path:
            sys.path.append(place)
