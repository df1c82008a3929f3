"""How far a run may go: steps, seconds per node, attempts per node.

Invariant: a graph is copied, never changed, so that two runs of one graph may have different limits.

* *Steps* are LangGraph's recursion limit, given with the run's config: the graph's own (``with_config``), or
  LangGraph's usual one, where nobody chose another.
* *Seconds* are LangGraph's own ``TimeoutPolicy(run_timeout=)`` of each node. LangGraph refuses it for synchronous
  nodes when a graph is compiled, since a thread cannot be stopped; in an asynchronous run its watchdog works for
  them just as well: the run fails in time, and what the thread still writes is dropped. Only the thread itself
  goes on to its end, and a node that blocks the event loop is stopped once it lets go of it. The time counts for
  each attempt, and for a node that is a graph itself, for all of it.
* *Attempts* are a ``RetryPolicy``, which tries again after what may pass (a connection, a server's error, a
  timeout) and not after errors in the program.

A node's own policy stays as it is: whoever wrote the graph knew more.
"""

import copy
from typing import Any

from langgraph._internal._config import DEFAULT_RECURSION_LIMIT
from langgraph.constants import START
from langgraph.pregel import Pregel
from langgraph.pregel._read import PregelNode
from langgraph.types import RetryPolicy, TimeoutPolicy
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import BadInputError

Graph = Pregel[Any, Any, Any, Any]
LIMITS = "limits"
USUAL_STEPS = int(DEFAULT_RECURSION_LIMIT)
MOST_STEPS = 100_000
MOST_ATTEMPTS = 20
LONGEST_TIMEOUT = 86_400.0


class Limits(BaseModel):
    """How far one run may go; ``node_timeout`` is in seconds, None is without end."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    recursion_limit: int = Field(default=USUAL_STEPS, ge=1, le=MOST_STEPS)
    node_timeout: float | None = Field(default=None, gt=0, le=LONGEST_TIMEOUT)
    attempts: int = Field(default=1, ge=1, le=MOST_ATTEMPTS)


def own_limits(graph: Graph) -> Limits:
    """The limits that a graph brings with it."""
    own = (graph.config or {}).get("recursion_limit")
    return Limits(recursion_limit=min(own, MOST_STEPS)) if isinstance(own, int) and own > 0 else Limits()


def choose_limits(usual: Limits, chosen: Any) -> Limits:
    """The usual limits, with what was chosen for one run; BadInputError names the one that cannot be used."""
    if not isinstance(chosen, dict | None):
        raise BadInputError('The limits of a run have to be an object, like {"recursion_limit": 50}.')
    given = {name: value for name, value in (chosen or {}).items() if value is not None}
    try:
        return Limits.model_validate({**usual.model_dump(), **given})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name, said = first["loc"][0], first["msg"]
        raise BadInputError(f"The limit {name!r} cannot be used: {said[0].lower()}{said[1:]}.") from None


def copy_graph(graph: Graph, **changes: Any) -> Graph:
    """The graph with some attributes changed.

    Unlike ``Pregel.copy`` this loses nothing (which types its checkpoints may hold; how its state is read).
    """
    copied = copy.copy(graph)
    vars(copied).update(changes)
    return copied


def apply_limits(graph: Graph, limits: Limits) -> Graph:
    """The graph with these limits for every node that has none of its own."""
    if limits.attempts == 1 and limits.node_timeout is None:
        return graph
    changes: dict[str, Any] = {}
    if limits.attempts > 1:
        changes["retry_policy"] = (RetryPolicy(max_attempts=limits.attempts),)
    if limits.node_timeout is not None:
        policy = TimeoutPolicy.coerce(limits.node_timeout)
        changes["nodes"] = {name: _timed(name, node, policy) for name, node in graph.nodes.items()}
    return copy_graph(graph, **changes)


def _timed(name: str, node: PregelNode, policy: TimeoutPolicy | None) -> PregelNode:
    if name == START or node.timeout is not None:
        return node
    timed = copy.copy(node)
    timed.timeout = policy
    return timed
