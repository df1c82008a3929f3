"""What a ``langgraph.json`` wants to be in the environment before its modules are imported, as ``env`` says.

Invariant: nothing that is set already is changed, and no secret is ever shown.
"""

import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from dotenv import dotenv_values

from core.agents.manifest import Manifest, is_there
from core.errors import BadInputError
from core.outside import find_secrets

_OURS = "SKEIN_"


def read_environment(manifest: Manifest) -> dict[str, str]:
    """The variables that a project names: an object's, or those of a file; BadInputError says what is wrong."""
    named = manifest.data.get("env")
    if not named:
        return {}
    if isinstance(named, dict):
        return {str(key): value if isinstance(value, str) else str(value) for key, value in named.items()}
    if not isinstance(named, str):
        raise BadInputError(f"{manifest.label}: env should be the path of a file, or an object.")
    file = manifest.folder / named
    if not is_there(file):
        raise BadInputError(f"{manifest.label}: there is no file {named[:200]} that env names.")
    try:
        return {key: value for key, value in dotenv_values(file).items() if value is not None}
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"{manifest.label}: the file {named} cannot be read ({type(error).__name__})."
        ) from None


def set_environment(manifests: Sequence[Manifest], *, apart: Container[Path] = ()) -> tuple[list[str], list[str]]:
    """Set what the projects name; gives what of it must not be shown, and a sentence for each that was not set.

    Those ``apart`` come last, and nothing is said of what they do not get here: their process has its own.
    """
    secrets: list[str] = []
    problems: list[str] = []
    set_by: dict[str, str] = {}
    for manifest in sorted(manifests, key=lambda one: one.file in apart):
        try:
            wanted = read_environment(manifest)
        except BadInputError as error:
            problems.append(str(error))
            continue
        secrets += find_secrets(wanted)
        for name, value in wanted.items():
            problem = _set(name, value, set_by)
            if problem and manifest.file not in apart:
                problems.append(f"{manifest.label}: {problem}")
            set_by.setdefault(name, manifest.label)
    return secrets, problems


def _set(name: str, value: str, set_by: Mapping[str, str]) -> str | None:
    """Set one that is not set yet; gives why it is not, in a sentence's end."""
    if name.startswith(_OURS):
        return f"{name} in its env is a setting of Skein's own, and left alone."
    try:
        now = os.environ.setdefault(name, value)
    except (OSError, ValueError):
        return f"{name} in its env cannot be set."
    if now == value:
        return None
    if name in set_by:
        return f"{name} has another value in {set_by[name]}, which holds for both; give one of them another name."
    return f"{name} in its env is not used: it is set already where Skein was started."
