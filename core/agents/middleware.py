"""What the shipped tool-using agents share: the model of the run, and what becomes of a tool that fails.

Invariant: an error made for people is told to the model, which may mend it; any other fails the run.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import ModelRequest, ModelResponse, ToolErrorMiddleware, wrap_model_call
from langchain.agents.middleware.types import AgentMiddleware
from langgraph.prebuilt.tool_node import ToolCallRequest

from core.agents.demo import DemoChatModel
from core.agents.workspace import WorkContext
from core.errors import SkeinError

NO_MODEL = DemoChatModel()
"""What ``create_agent`` is built with; ``use_run_model`` puts the run's model in its place."""


@wrap_model_call
async def _use_run_model(
    request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
) -> ModelResponse[Any]:
    context: WorkContext = request.runtime.context
    model = context.chat_models.get(context.model, temperature=context.temperature)
    return await handler(request.override(model=model))


def _tell(error: Exception, _request: ToolCallRequest) -> str | None:
    return str(error) if isinstance(error, SkeinError) else None


use_run_model: AgentMiddleware[Any, Any] = _use_run_model
tell_model: AgentMiddleware[Any, Any] = ToolErrorMiddleware(_tell)
