"""A task plan: what is to be done, step by step, and how far it has come; the content of a ``task_plan`` artifact.

Invariant: what is read or written as a plan fits the model, so that whoever shows or works through one need not
ask.
"""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from core.errors import BadInputError
from core.tables import canonical_json

LARGEST_PLAN = 1_000_000
StepStatus = Literal["open", "doing", "done", "failed"]


def _in_one_line(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value


Line = Annotated[str, BeforeValidator(_in_one_line), StringConstraints(min_length=1, max_length=2_000)]


class Step(BaseModel):
    """One thing to do, and how it stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Line
    status: StepStatus = "open"


class TaskPlan(BaseModel):
    """A title and at most 200 steps, in their order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Line
    steps: list[Step] = Field(default_factory=list, max_length=200)


def read_plan(content: bytes) -> TaskPlan:
    """The plan that the content (JSON) holds; BadInputError says what is wrong with one that does not fit."""
    if len(content) > LARGEST_PLAN:
        raise BadInputError(f"A task plan has at most {LARGEST_PLAN:,} bytes; please shorten it.")
    try:
        return TaskPlan.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "the plan"
        raise BadInputError(f"This is not a task plan ({place}: {first['msg']}); please correct that.") from None


def plan_to_text(plan: TaskPlan) -> str:
    """The plan as people write one: its title, then a line for each step, like ``[x] Pack``."""
    return "\n".join([plan.title, *(f"[{_MARKS[step.status]}] {step.text}" for step in plan.steps)])


def text_to_plan(text: str) -> TaskPlan:
    """The plan that people have written so; BadInputError says which line is none."""
    title, *lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    steps = [_to_step(line) for line in lines]
    return read_plan(canonical_json({"title": title, "steps": steps}).encode())


def _to_step(line: str) -> dict[str, str]:
    found = _STEP.fullmatch(line)
    if found is None or found[1] not in _STATUSES:
        marks = ", ".join(f"[{mark}] {status}" for status, mark in _MARKS.items())
        raise BadInputError(f"{line[:60]!r} is no step; begin each with its mark: {marks}.")
    return {"text": found[2], "status": _STATUSES[found[1]]}


def write_plan(plan: TaskPlan) -> bytes:
    """The plan as the content of an artifact."""
    return canonical_json(plan.model_dump(mode="json")).encode()


_MARKS: dict[StepStatus, str] = {"open": " ", "doing": "~", "done": "x", "failed": "!"}
_STATUSES = {mark: status for status, mark in _MARKS.items()}
_STEP = re.compile(r"(?:[-*] )?\[(.)\]\s*(.+)")
