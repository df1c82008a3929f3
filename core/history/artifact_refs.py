"""How a version of an artifact is named: ``art_...@3`` in a state, an address, or a tool's argument.

Invariant: a name says one version for ever, and what is no name is never taken for one.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from core.errors import BadInputError
from core.ids import ArtifactId, to_artifact_id

_REF = re.compile(r"([^@]+)@([1-9]\d{0,8})", re.ASCII)


class Ref(NamedTuple):
    """One version of one artifact; as text ``art_...@3``."""

    artifact_id: ArtifactId
    version: int

    def __str__(self) -> str:
        return f"{self.artifact_id}@{self.version}"


def parse_ref(text: str) -> Ref:
    """Take ``art_...@3`` apart; BadInputError when it is not of that form."""
    found = _REF.fullmatch(text)
    if found is None:
        raise BadInputError("A version of an artifact is named like art_...@3; copy the whole name and try again.")
    return Ref(to_artifact_id(found[1]), int(found[2]))


def find_named(values: Any) -> set[Ref]:
    """The versions that a state names in ``task_plan_id`` and ``result_artifact_ids``, but for what is no name."""
    if not isinstance(values, Mapping):
        return set()
    results = values.get("result_artifact_ids")
    named = [values.get("task_plan_id"), *(results if isinstance(results, (list, tuple)) else ())]
    return {ref for text in named if isinstance(text, str) and (ref := _find_ref(text)) is not None}


def _find_ref(text: str) -> Ref | None:
    try:
        return parse_ref(text)
    except BadInputError:
        return None
