"""The tools that read and write artifacts: the task plan, results, and results that are published.

Invariant: a tool reads only what its thread's state names (or what a person has made of that by hand) and what the
session's other conversations share, never what another branch made; what it writes counts once the state names it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from langchain.tools import ToolRuntime, tool
from langchain_core.messages import ToolMessage
from langgraph.types import Command
from pydantic import Field
from sqlmodel import Session as Db

from core.agents.tools.showing import show_table
from core.agents.tools.state import WorkState
from core.agents.workspace import WorkContext, Workspace
from core.errors import BadInputError, NotFoundError
from core.history.artifact_content import is_text
from core.history.artifacts import (
    Ref,
    VersionRow,
    find_named,
    find_shared,
    list_named,
    read_content,
    resolve_all,
    write_version,
)
from core.history.task_plan import Line, Step, StepStatus, TaskPlan, read_plan, write_plan
from core.ids import ArtifactId

Runtime = ToolRuntime[WorkContext, WorkState]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Numbers = list[int]
PUBLISHED = "published/"
LONGEST_READ = 20_000
_MARKS: dict[StepStatus, str] = {"open": " ", "doing": "…", "done": "x", "failed": "!"}


@dataclass(frozen=True)
class _Work:
    """What is written: as a version of the artifact that it goes on from, else as a new one."""

    kind: Literal["task_plan", "result", "file"]
    name: str
    content: bytes
    media_type: str
    base: Ref | None = None


# -- the task plan --------------------------------------------------------------------------------------


@tool
async def make_task_plan(
    title: Name,
    steps: Annotated[list[Line], Field(min_length=1, max_length=50, description="What is to be done, in order")],
    runtime: Runtime,
) -> Command[Any]:
    """Write down the plan of work before beginning it. 制定计划."""
    workspace = runtime.context.workspace
    plan = TaskPlan(title=title, steps=[Step(text=text) for text in steps])
    ref = await workspace.write(lambda db: _write(workspace, db, _plan_work(plan, None)))
    return _done(runtime, f"The plan is kept.\n\n{_as_text(plan)}", task_plan_id=str(ref))


@tool
async def update_task_plan(
    done: Annotated[Numbers, Field(description="The numbers of the steps that are done, from 1")],
    runtime: Runtime,
    doing: Annotated[Numbers, Field(description="Those that are being worked on")] = [],  # noqa: B006 - never changed
    failed: Annotated[Numbers, Field(description="Those that could not be done")] = [],  # noqa: B006
    more_steps: Annotated[list[Line], Field(description="Steps to add at the end")] = [],  # noqa: B006
) -> Command[Any]:
    """Say how far the plan has come: change the status of its steps, or add steps. 更新计划."""
    workspace, named = runtime.context.workspace, runtime.state.get("task_plan_id")
    statuses: dict[StepStatus, Numbers] = {"doing": doing, "failed": failed, "done": done}

    def work(db: Db) -> tuple[TaskPlan, Ref]:
        base = next((one.ref for one in _own(workspace, db, {"task_plan_id": named})), None)
        if base is None:
            raise NotFoundError("There is no task plan yet; make one with make_task_plan first.")
        plan = _changed(read_plan(read_content(workspace.viewer, db, base)), statuses, more_steps)
        return plan, _write(workspace, db, _plan_work(plan, base))

    plan, ref = await workspace.write(work)
    return _done(runtime, f"The plan is up to date.\n\n{_as_text(plan)}", task_plan_id=str(ref))


def _changed(plan: TaskPlan, statuses: dict[StepStatus, Numbers], more: Sequence[str]) -> TaskPlan:
    steps = [*plan.steps, *(Step(text=text) for text in more)]
    for status, numbers in statuses.items():
        for number in numbers:
            if not 1 <= number <= len(steps):
                raise BadInputError(f"The plan has no step {number}; its steps are 1 to {len(steps)}.")
            steps[number - 1] = Step(text=steps[number - 1].text, status=status)
    return TaskPlan(title=plan.title, steps=steps)


def _plan_work(plan: TaskPlan, base: Ref | None) -> _Work:
    return _Work("task_plan", plan.title[:200], write_plan(plan), "application/json", base)


def _as_text(plan: TaskPlan) -> str:
    lines = [f"{number}. [{_MARKS[step.status]}] {step.text}" for number, step in enumerate(plan.steps, start=1)]
    return "\n".join([plan.title, "", *lines])


# -- results --------------------------------------------------------------------------------------------


@tool
async def write_result(
    name: Name,
    content: Annotated[str, Field(min_length=1)],
    runtime: Runtime,
    media_type: Literal["text/markdown", "text/plain", "text/csv", "application/json"] = "text/markdown",
) -> Command[Any]:
    """Keep a result of the work under a name; the same name again makes a new version of it. 写下结果."""
    workspace, state = runtime.context.workspace, dict(runtime.state)

    def work(db: Db) -> Ref:
        base = _newest_called(name, "result", _own(workspace, db, state))
        return _write(workspace, db, _Work("result", name, content.encode(), media_type, base))

    ref = await workspace.write(work)
    return _done(runtime, f"The result “{name}” is kept as {ref}.", result_artifact_ids=[str(ref)])


@tool
async def publish_result(
    name: Annotated[Name, Field(description="The name of the result to publish")],
    title: Annotated[Name, Field(description="What it is to be called among what is published")],
    runtime: Runtime,
) -> Command[Any]:
    """Publish a result as final: put a copy of it among the files of the session. 发布结果."""
    workspace, state = runtime.context.workspace, dict(runtime.state)

    def work(db: Db) -> Ref:
        own = _own(workspace, db, state)
        source = _find(name, [one for one in own if one.kind != "task_plan"])
        content, published = read_content(workspace.viewer, db, source.ref), f"{PUBLISHED}{title}"[:200]
        base = _newest_called(published, "file", own)
        return _write(workspace, db, _Work("file", published, content, source.media_type, base))

    ref = await workspace.write(work)
    return _done(runtime, f"“{name}” is published as “{PUBLISHED}{title}” ({ref}).", result_artifact_ids=[str(ref)])


# -- reading --------------------------------------------------------------------------------------------


@tool
async def read_artifact(
    name: Annotated[Name, Field(description="Its name, or its version as list_artifacts gives it")],
    runtime: Runtime,
) -> str:
    """Read an artifact of this session by its name: a plan, a result or a file. 读取成果."""
    workspace, state = runtime.context.workspace, dict(runtime.state)

    def work(db: Db) -> tuple[VersionRow, bytes]:
        found = _find(name, _visible(workspace, db, state))
        return found, read_content(workspace.viewer, db, found.ref)

    version, content = await workspace.read(work)
    if not is_text(version.media_type):
        return f"{version.name} is a {version.media_type} of {version.size:,} bytes, which cannot be read as text."
    text = content.decode()
    more = f"\n\n[{len(text) - LONGEST_READ:,} more characters]" if len(text) > LONGEST_READ else ""
    return text[:LONGEST_READ] + more


@tool(response_format="content_and_artifact")
async def list_artifacts(runtime: Runtime) -> tuple[str, dict[str, Any]]:
    """List the artifacts of this session: plans, results and files. 列出成果, 文件."""
    workspace, state = runtime.context.workspace, dict(runtime.state)
    found = await workspace.read(lambda db: _visible(workspace, db, state))
    rows = [[one.name, one.kind, str(one.ref), one.size, f"{one.created_at:%Y-%m-%d %H:%M}"] for one in found]
    return show_table("Artifacts", ["name", "kind", "version", "bytes", "at (UTC)"], rows)


# -- what they share ------------------------------------------------------------------------------------


def _own(workspace: Workspace, db: Db, state: dict[str, Any]) -> list[VersionRow]:
    """What the thread has: the versions that its state names, or what a person has made of them since."""
    current = resolve_all(db, find_named(state), workspace.threads).values()
    found = list_named(workspace.viewer, db, current)
    return [one for one in found if one.session_id == workspace.session_id]


def _visible(workspace: Workspace, db: Db, state: dict[str, Any]) -> list[VersionRow]:
    own = _own(workspace, db, state)
    known = {one.artifact_id for one in own}
    shared = find_shared(workspace.viewer, db, workspace.session_id, workspace.conversation_id)
    others = [one.ref for one in shared if one.artifact_id not in known]
    current = resolve_all(db, others, workspace.threads)
    return [*own, *list_named(workspace.viewer, db, [current[ref] for ref in others])]


def _find(name: str, among: Sequence[VersionRow]) -> VersionRow:
    wanted = name.strip().casefold()
    found = [
        one for one in among if wanted in {text.casefold() for text in (one.name, str(one.ref), one.artifact_id)}
    ]
    if not found:
        names = ", ".join(sorted({one.name for one in among})[:20]) or "none yet"
        raise NotFoundError(f"There is no artifact called “{name[:80]}” here; the names are: {names}.")
    return found[-1]


def _newest_called(name: str, kind: str, among: Sequence[VersionRow]) -> Ref | None:
    wanted = name.strip().casefold()
    return next((one.ref for one in reversed(among) if one.kind == kind and one.name.casefold() == wanted), None)


def _write(workspace: Workspace, db: Db, work: _Work) -> Ref:
    artifact_id: ArtifactId | None = work.base.artifact_id if work.base else None
    return write_version(
        workspace.viewer,
        db,
        session_id=workspace.session_id,
        kind=work.kind,
        name=work.name,
        content=work.content,
        media_type=work.media_type,
        artifact_id=artifact_id,
        base_version=work.base.version if work.base else None,
        thread_id=workspace.thread_id,
    )


def _done(runtime: Runtime, text: str, **named: Any) -> Command[Any]:
    return Command(update={**named, "messages": [ToolMessage(text, tool_call_id=runtime.tool_call_id or "")]})
