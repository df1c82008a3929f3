"""The channels of a state that name artifacts: which versions a thread has is said here, and nowhere else.

Invariant: of one artifact a state names one version, the newest that the thread wrote or was given.
"""

from typing import Annotated, Any, NotRequired

from langchain.agents import AgentState
from typing_extensions import TypedDict

from core.agents.field_schemas import FILLED_BY_THE_GRAPH
from core.history.artifacts import parse_ref


def newer(old: str, new: str) -> str:
    """The version that is named last; of the same artifact the newer one, since tools may run side by side."""
    if not (old and new):
        return new or old
    before, after = parse_ref(old), parse_ref(new)
    return old if before.artifact_id == after.artifact_id and before.version > after.version else new


def merge(old: list[str], new: list[str]) -> list[str]:
    """One version of each artifact, in the order in which the artifacts came."""
    found: dict[str, str] = {}
    for ref in (*old, *new):
        artifact_id = parse_ref(ref).artifact_id
        found[artifact_id] = newer(found.get(artifact_id, ""), ref)
    return list(found.values())


class ArtifactChannels(TypedDict):
    """The artifacts that a thread has, each as ``art_...@3``."""

    task_plan_id: NotRequired[Annotated[str, FILLED_BY_THE_GRAPH, newer]]
    result_artifact_ids: NotRequired[Annotated[list[str], FILLED_BY_THE_GRAPH, merge]]


class WorkState(AgentState[Any], ArtifactChannels):
    """The messages and artifacts of an agent with tools."""
