"""The analyst's tools: small tables and charts of a person's own messages, sessions and calls.

Invariant: each asks core with the workspace's viewer, who is a member: nobody else's rows are in any answer. Days
are those of UTC.
"""

from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pandas as pd
from langchain.tools import ToolRuntime, tool
from pydantic import Field
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.agents.tools import own
from core.agents.tools.showing import MOST_ROWS, Shown, show_chart, show_table
from core.agents.tools.state import WorkState
from core.agents.workspace import WorkContext
from core.calls.filters import CallFilter
from core.calls.panels.analytics import read_series, read_top
from core.tables import utc_now

Runtime = ToolRuntime[WorkContext, WorkState]
Days = Annotated[int | None, Field(ge=1, le=3_660, description="Only so many days up to now; all without it")]
CallsBy = Literal["model", "agent", "node", "session", "day"]
Measure = Literal["messages", "calls", "tokens", "cost"]
_MOST_FOUND = 50
_EXCERPT = 160
_UTC = ZoneInfo("UTC")
_COUNTED_BY = "day: 每天, 日期, daily; agent: 智能体, 代理; session: 会话; status: 状态, done, failed"
_CALLS_BY = "model: 模型; agent: 智能体, 代理; node: 节点; session: 会话; day: 每天, 日期, daily"
_MEASURES = "messages: 消息, 说; calls: 调用; tokens: 词元; cost: 费用, 花费, 多少钱, dollars, money, spend"
_SUMS = ["calls", "errors", "tokens", "cost_usd", "unpriced"]


@tool(response_format="content_and_artifact")
async def count_messages(
    runtime: Runtime, by: Annotated[own.CountedBy, Field(description=_COUNTED_BY)] = "day", days: Days = None
) -> Shown:
    """Count how many messages the person wrote, in all and by day, agent, session or status. 多少消息, 消息数量."""
    workspace = runtime.context.workspace
    rows = await workspace.read(lambda db: own.count_messages(workspace.viewer, db, by, since=_since(days)))
    told, shown = show_table("Messages", [by, "messages"], rows)
    return f"Messages in all: {sum(count for _, count in rows)}\n\n{told}", shown


@tool(response_format="content_and_artifact")
async def search_messages(
    query: Annotated[str, Field(min_length=1, max_length=200, description="Words that must all occur")],
    runtime: Runtime,
    days: Days = None,
) -> Shown:
    """Search the person's own messages and answers for words, and find where they were said. 搜索, 查找消息."""
    workspace = runtime.context.workspace
    found = await workspace.read(
        lambda db: own.search_messages(workspace.viewer, db, query, since=_since(days), limit=_MOST_FOUND)
    )
    rows = [[one.created_at, one.title, _around(one.content, query), _around(one.answer, query)] for one in found]
    return show_table(f"Messages with “{query[:80]}”", ["at", "session", "said", "answer"], rows)


@tool(response_format="content_and_artifact")
async def list_sessions(runtime: Runtime) -> Shown:
    """List the person's own sessions with their numbers of conversations and messages. 列出会话."""
    workspace = runtime.context.workspace
    found = await workspace.read(lambda db: own.list_sessions(workspace.viewer, db, limit=MOST_ROWS))
    columns = ["session", "conversations", "messages", "first at", "last at"]
    return show_table("Sessions", columns, [list(row) for row in found])


@tool(response_format="content_and_artifact")
async def summarize_calls(
    runtime: Runtime, by: Annotated[CallsBy, Field(description=_CALLS_BY)] = "model", days: Days = None
) -> Shown:
    """Sum up the person's own calls: errors, tokens, dollars by model, agent, node, session or day. 调用, 词元."""
    workspace = runtime.context.workspace
    rows = await workspace.read(lambda db: _sums_by(workspace.viewer, db, by, days))
    told, shown = show_table(f"Calls by {by}", [by, *_SUMS], rows)
    return f"{told}{_unpriced(rows)}", shown


@tool(response_format="content_and_artifact")
async def show_costs(runtime: Runtime, days: Days = None) -> Shown:
    """Show what the person's own calls cost, by day and model, as a table of dollars. 费用, 花费, 多少钱."""
    workspace = runtime.context.workspace
    found = await workspace.read(lambda db: _series(workspace.viewer, db, days))
    names = ["at", "model", "calls", "cost_usd", "unpriced"]
    rows = [[f"{at:%Y-%m-%d}", *rest] for at, *rest in found[names].itertuples(index=False)]
    told, shown = show_table("Costs by day and model", ["day", *names[1:]], rows)
    total = f"Cost in all: ${sum(row[3] for row in rows):.6f}"
    return f"{total}\n\n{told}{_unpriced(rows)}", shown


@tool(response_format="content_and_artifact")
async def draw_chart(
    what: Annotated[Measure, Field(description=_MEASURES)],
    runtime: Runtime,
    by: Annotated[Literal["day", "model", "agent"], Field(description=_CALLS_BY)] = "day",
    days: Days = None,
) -> Shown:
    """Draw a bar chart of messages, calls, tokens or costs by day, model or agent. 图表, 画图, 曲线."""
    workspace = runtime.context.workspace
    rows = await workspace.read(lambda db: _measured(workspace.viewer, db, what, by, days))
    key = "day" if what == "messages" and by == "model" else by
    return show_chart(f"{what.capitalize()} by {key}", [key, _MEASURED.get(what, what)], rows)


_MEASURED = {"cost": "cost_usd"}


def _measured(viewer: Viewer, db: Db, what: Measure, by: Literal["day", "model", "agent"], days: int | None) -> Any:
    if what == "messages":
        # Which model answered is known of calls only.
        return own.count_messages(viewer, db, "day" if by == "model" else by, since=_since(days))
    place = 1 + _SUMS.index(_MEASURED.get(what, what))
    return [[row[0], row[place]] for row in _sums_by(viewer, db, by, days)]


def _sums_by(viewer: Viewer, db: Db, by: CallsBy, days: int | None) -> list[list[Any]]:
    """Per key: calls, errors, tokens, cost_usd and unpriced; days in their order, else the most costly first."""
    if by == "day":
        found = _series(viewer, db, days)
        found = found.assign(tokens=found["input_tokens"] + found["output_tokens"])
        together = found.groupby("at", as_index=False)[_SUMS].sum()
        return [[f"{row[0]:%Y-%m-%d}", *row[1:]] for row in together[["at", *_SUMS]].itertuples(index=False)]
    top = read_top(viewer, db, CallFilter(since=_since(days)), _UTC, by, limit=MOST_ROWS)
    return [list(row) for row in top[["label", *_SUMS]].itertuples(index=False)]


def _series(viewer: Viewer, db: Db, days: int | None) -> pd.DataFrame:
    return read_series(viewer, db, CallFilter(since=_since(days)), _UTC)


def _since(days: int | None) -> datetime | None:
    """When the first of so many days began, today being the last."""
    if days is None:
        return None
    return datetime.combine(utc_now().date() - timedelta(days=days - 1), time(), tzinfo=UTC)


def _unpriced(rows: list[list[Any]]) -> str:
    count = sum(row[-1] for row in rows)
    return f"\n\nWithout a known price, and not in these sums: {count} calls." if count else ""


def _around(text: str, query: str) -> str:
    """The place in a text where the first of the words stands, else its beginning."""
    low = text.casefold()
    at = min((place for word in query.casefold().split() if (place := low.find(word)) >= 0), default=0)
    start = max(at - _EXCERPT // 3, 0)
    end = start + _EXCERPT
    return ("…" if start else "") + " ".join(text[start:end].split()) + ("…" if end < len(text) else "")
