"""From what ``langgraph.json`` points to, to a graph that can run: a graph itself, or a factory that makes one.

A factory is called as LangGraph's own server calls it: with nothing, a ``config``, a ``runtime`` or both, known by
annotation or name; it may be asynchronous, and give a graph or an (asynchronous) context manager of one.
Invariant: what a factory opened for a run is closed when the run is over, however it ends.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph._internal._serde import build_serde_allowlist
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import _ExecutionRuntime, _ReadRuntime

from core.agents.limits import copy_graph
from core.errors import BadInputError

Graph = Pregel[Any, Any, Any, Any]
Factory = Callable[..., Any]
_Call = Callable[..., Awaitable[Any]]
_NOBODY = "nobody"


@dataclass(frozen=True)
class FactoryUser:
    """Whom a graph is made for, as LangGraph's ``BaseUser``."""

    identity: str
    permissions: Sequence[str] = ()

    @property
    def is_authenticated(self) -> bool:
        return self.identity != _NOBODY

    @property
    def display_name(self) -> str:
        return self.identity

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in set(self)

    def __iter__(self) -> Iterator[str]:
        return iter(("identity", "display_name", "is_authenticated", "permissions"))


@dataclass(frozen=True)
class Given:
    """What a factory is given: LangGraph's config, and its server runtime."""

    config: RunnableConfig
    runtime: Any


def for_reading(store: BaseStore) -> Given:
    """What a factory is given when its graph is only looked at: an empty config, and nobody's runtime."""
    runtime: Any = _ReadRuntime(access_context="assistants.read", user=FactoryUser(_NOBODY), store=store)
    return Given({"configurable": {}}, runtime)


def for_running(store: BaseStore, configurable: dict[str, Any], *, user_id: str, context: Any) -> Given:
    """What a factory is given for one run of its graph."""
    runtime: Any = _ExecutionRuntime(
        access_context="threads.create_run", user=FactoryUser(user_id or _NOBODY), store=store, context=context
    )
    return Given({"configurable": configurable}, runtime)


def is_factory(found: Any) -> bool:
    return callable(found) and not isinstance(found, (StateGraph, Pregel))


@asynccontextmanager
async def build(factory: Factory, given: Given, *, aside: bool = True) -> AsyncIterator[Graph]:
    """Call the factory; its graph can be used until the context ends. What a factory raises is passed on.

    A synchronous one may take its time (reading files, asking servers): it is called ``aside``, on another thread.
    """
    args, named = _arguments(factory, given)
    call = asyncio.to_thread if aside and not inspect.iscoroutinefunction(factory) else _call_here
    async with AsyncExitStack() as stack:
        yield as_graph(await _opened(await call(factory, *args, **named), stack, call))


async def _call_here(function: Factory, *args: Any, **named: Any) -> Any:
    return function(*args, **named)


def as_graph(made: Any) -> Graph:
    """A compiled graph of what a module or a factory gave; BadInputError when that is no graph."""
    if isinstance(made, StateGraph):
        return made.compile()
    if isinstance(made, Pregel):
        return _with_own_types(made)
    raise BadInputError(
        f"It is a {type(made).__name__[:80]}, and neither a graph (StateGraph, compiled graph, entrypoint) "
        f"nor a function that makes one."
    )


def _with_own_types(graph: Graph) -> Graph:
    """The graph with the types that its checkpoints may hold, which ``with_config`` forgets."""
    if getattr(graph, "_serde_allowlist", None) is not None or not isinstance(graph, CompiledStateGraph):
        return graph
    builder = graph.builder
    known = build_serde_allowlist(schemas=list(builder.schemas), channels=builder.channels)
    return copy_graph(graph, _serde_allowlist=known)


async def _opened(made: Any, stack: AsyncExitStack, call: _Call) -> Any:
    """The graph itself, once it is awaited or its context entered; the stack leaves that again."""
    if isinstance(made, (StateGraph, Pregel)):
        return made
    if inspect.isawaitable(made):
        return await _opened(await made, stack, call)
    if hasattr(made, "__aenter__"):
        return await _opened(await stack.enter_async_context(made), stack, call)
    if hasattr(made, "__enter__"):
        entered = await call(made.__enter__)
        stack.push_async_exit(lambda *error: call(made.__exit__, *error))
        return await _opened(entered, stack, call)
    return made


def _arguments(factory: Factory, given: Given) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    named: dict[str, Any] = {}
    parameters = [one for one in inspect.signature(factory).parameters.values() if one.kind not in _REST]
    for parameter in parameters:
        value = _value_for(parameter, given, is_only=len(parameters) == 1)
        if value is None:
            continue
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            args.append(value)
        else:
            named[parameter.name] = value
    return args, named


_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _value_for(parameter: inspect.Parameter, given: Given, *, is_only: bool) -> Any:
    """The config or the runtime; None for what has a default of its own."""
    # As text, since an annotation may be a text itself, of a name that is imported for type checking only.
    annotation = str(parameter.annotation)
    if "ServerRuntime" in annotation or "_ExecutionRuntime" in annotation:
        return given.runtime
    if "RunnableConfig" in annotation:
        return given.config
    if parameter.name in {"runtime", "config"}:
        return given.runtime if parameter.name == "runtime" else given.config
    if parameter.default is not inspect.Parameter.empty:
        return None
    if is_only:
        return given.config
    raise BadInputError(
        f"Its factory takes {parameter.name!r}, which nobody can give it; it may take a config and a runtime."
    )
