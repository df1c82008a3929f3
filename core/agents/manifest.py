"""``langgraph.json`` as read: which graphs are named there, where they are, and what is said about each.

The keys are LangGraph's own (``graphs``, ``dependencies``, ``env``, ``store``; ``path`` and ``description`` of a
graph) and a few optional ones of ours. Invariant: an entry that is wrong spoils no other, and of several files none
spoils another; only when none can be read at all, that is an error.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.agents.limits import LONGEST_TIMEOUT, MOST_ATTEMPTS, MOST_STEPS
from core.errors import BadInputError
from core.outside import read_failure
from core.settings import CallText

# Those in the second line say how an image is built for LangGraph's own server, which is of no concern here.
_KNOWN = {
    *("graphs", "dependencies", "env", "store", "skein", "$schema"),
    *("python_version", "pip_config_file", "pip_installer", "image_distro", "base_image", "api_version"),
}


LARGEST, MOST_GRAPHS = 1_000_000, 1_000


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
    """One file: its graphs by id, not yet checked, and all else that it says."""

    file: Path
    graphs: Mapping[str, Any]
    dependencies: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.file.parent

    @property
    def label(self) -> str:
        """What people call it by: the folder's name and the file's."""
        return f"{self.folder.name}/{self.file.name}"


def read_manifests(paths: Sequence[Path]) -> tuple[list[Manifest], list[str]]:
    """Read the files; gives what could be read, and a sentence for each that could not be.

    BadInputError, when that is none of them, says what the first should look like.
    """
    manifests, errors = [], []
    for path in dict.fromkeys(path.resolve() for path in paths):
        try:
            manifests.append(read_manifest(path))
        except BadInputError as error:
            errors.append(error)
    if errors and not manifests:
        raise errors[0]
    return manifests, [str(error) for error in errors]


def read_manifest(path: Path) -> Manifest:
    """Read the file; BadInputError says what it should look like."""
    try:
        data = _read_json(path)
        graphs = dict(data["graphs"].items())
    except (KeyError, TypeError, AttributeError):
        raise _unreadable(path, "it has no object of graphs") from None
    if len(graphs) > MOST_GRAPHS:
        raise _unreadable(path, f"it names {len(graphs):,} graphs, and Skein takes {MOST_GRAPHS:,}")
    named = data.get("dependencies")
    dependencies = tuple(one for one in named if isinstance(one, str)) if isinstance(named, list) else ()
    return Manifest(path.resolve(), graphs, dependencies, data)


def _read_json(path: Path) -> Any:
    """What stands in the file, whose texts can all be stored and shown."""
    if not is_there(path):
        raise _unreadable(path, "there is no such file")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise _unreadable(path, error.strerror or "it is no file") from None
    if len(content) > LARGEST:
        raise _unreadable(path, f"it is larger than {LARGEST:,} bytes")
    try:
        data = json.loads(content.decode("utf-8-sig"))
        json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        reason = f"it is no JSON: {error.msg.lower()} in line {error.lineno}, column {error.colno}"
        raise _unreadable(path, reason) from None
    except RecursionError:
        raise _unreadable(path, "it is nested too deeply") from None
    except UnicodeError:
        raise _unreadable(path, "it is no text in UTF-8") from None
    except ValueError:
        raise _unreadable(path, "it has a number that is too long") from None
    return data


def _unreadable(path: Path, reason: str) -> BadInputError:
    return BadInputError(
        f"{path} cannot be read as a langgraph.json ({reason}); it needs an object like "
        '{"graphs": {"id": "path/file.py:variable"}}.'
    )


def is_there(path: Path, *, folder: bool = False) -> bool:
    """Whether a file, or a folder, is at a path that somebody wrote, which may be one that no system has."""
    try:
        return path.is_dir() if folder else path.is_file()
    except (OSError, ValueError):
        return False


def name_agents(manifests: Sequence[Manifest]) -> dict[str, tuple[Manifest, str]]:
    """By the id that an agent is offered under: its file, and its id there.

    The first file that has an id keeps it; in a later one it has the folder's name before it, ``folder/id``, and a
    number behind it where that is taken too.
    """
    named: dict[str, tuple[Manifest, str]] = {}
    for manifest in manifests:
        for graph_id in manifest.graphs:
            agent_id, number = graph_id, 1
            while agent_id in named:
                agent_id = f"{manifest.folder.name}/{graph_id}" + (f"-{number}" if number > 1 else "")
                number += 1
            named[agent_id] = (manifest, graph_id)
    return named


def wants_process(manifest: Manifest) -> bool:
    """Whether the project's runs go to a process of its own; BadInputError when what is said of it is wrong."""
    ours = manifest.data.get("skein", {})
    if not isinstance(ours, dict) or ours.keys() - {"process"} or not isinstance(ours.get("process", False), bool):
        raise BadInputError(f'{manifest.label}: skein should be an object like {{"process": true}}.')
    return bool(ours.get("process"))


def find_unsupported(manifest: Manifest) -> str | None:
    """One sentence about the keys that Skein does nothing with; None when there are none."""
    keys = [key for key, value in manifest.data.items() if value and key not in _KNOWN]
    if not keys:
        return None
    return (
        f"{manifest.label}: Skein does not support {' and '.join(filter(None, [', '.join(keys[:-1]), keys[-1]]))}."
    )


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


@dataclass(frozen=True)
class Places:
    """Where a project's modules are: ``roots`` to search, and folders that are a package themselves.

    ``beside`` are the folders of its graphs' files: what is there may be imported by name as when the file is run.
    """

    roots: list[Path]
    packages: list[Path]
    beside: list[Path]
    problems: list[str]


def find_places(manifest: Manifest) -> Places:
    """The folders that a project's modules are imported from: its own, and those named as dependencies.

    Of each also its ``src``, where that is no package, and what its ``pyproject.toml`` says.
    """
    roots, packages, problems = [], [], []
    for folder in dict.fromkeys([manifest.folder, *((manifest.folder / one) for one in manifest.dependencies)]):
        if not is_there(folder, folder=True):  # the name of something that is installed
            continue
        place = folder.resolve()
        roots.append(place)
        if (place / "__init__.py").is_file():
            packages.append(place)
        if (place / "src").is_dir() and not (place / "src" / "__init__.py").is_file():
            roots.append(place / "src")
        try:
            roots += _declared_roots(place)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            problems.append(
                f"{manifest.label}: {place.name}/pyproject.toml cannot be read ({read_failure(error, 300)})."
            )
    files = [manifest.folder / place for place in map(_place_of, manifest.graphs.values())]
    beside = [
        file.resolve().parent for file in files if is_there(file.parent, folder=True) and "\0" not in file.name
    ]
    return Places(list(dict.fromkeys(roots)), packages, beside, problems)


def _place_of(described: Any) -> str:
    path = described.get("path") if isinstance(described, dict) else described
    return path.rpartition(":")[0] if isinstance(path, str) else ""


def _declared_roots(folder: Path) -> list[Path]:
    """The folders that the packages of a ``pyproject.toml`` are in, as the usual builders are told them."""
    file = folder / "pyproject.toml"
    if not file.is_file():
        return []
    tool = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    setuptools, hatch = tool.get("setuptools", {}), tool.get("hatch", {}).get("build", {})
    wheel = hatch.get("targets", {}).get("wheel", {})
    named: list[str] = []
    for package, place in setuptools.get("package-dir", {}).items():
        named.append(place if package == "" else str(Path(place).parent))
    packages = setuptools.get("packages", {})
    if isinstance(packages, dict):
        named += packages.get("find", {}).get("where", [])
    named += [str(Path(package).parent) for package in wheel.get("packages", [])]
    named += [*hatch.get("sources", []), *wheel.get("sources", [])]
    named += [package.get("from", ".") for package in tool.get("poetry", {}).get("packages", [])]
    named.append(tool.get("pdm", {}).get("build", {}).get("package-dir", "."))
    named.append(tool.get("uv", {}).get("build-backend", {}).get("module-root", "."))
    return [place for place in ((folder / name).resolve() for name in named) if place.is_dir()]
