"""What a graph came to, as the text of an answer: read from its final values, whatever their shape.

Invariant: nothing here knows a graph; what it gives is read from its output schema, its state and their names.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.pregel import Pregel
from pydantic import BaseModel
from pydantic_core import to_json

from core.agents.inputs import MESSAGES, find_key
from core.agents.shapes import read_input, read_output, takes_messages

Graph = Pregel[Any, Any, Any, Any]
PARAGRAPH = "\n\n"
# Where LangChain's create_agent puts what it was asked to give in a form.
_STRUCTURED = "structured_response"
# The names under which people keep what comes of a question, the most telling first.
_ANSWERED = (
    *("answer", "output", "response", "final", "reply", "result", "combined", "report", "summary", "completion"),
    *("generation", "improved", "solution"),
)
# How langgraph-supervisor marks the words by which an agent only gives the floor back.
_HANDOFF_BACK = "__is_handoff_back"
_MOST_COLUMNS = 12
_MOST_CELL = 200
_CELL = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Question:
    """What the answer is to: the question, the id that its message has in the state, and which messages count.

    ``written`` are the parts of the state that the last step wrote, where that is known.
    """

    text: str = ""
    message_id: str | None = None
    counts: Callable[[BaseMessage], bool] = lambda message: True  # noqa: ARG005
    written: Collection[str] = ()


def find_answer(graph: Graph, values: Any, *, key: str | None = None, asked: Question | None = None) -> str:
    """The text of the answer in a graph's final values; "" when there is none.

    Of a conversation it is what models wrote since the question. ``key`` is the part of the state that holds it,
    where an operator says so.
    """
    asked = asked or Question()
    fields = _as_fields(values)
    if fields is None:
        return _text(values, asked) or _as_block(values)
    if key is not None:
        return _text(fields.get(key), asked) or _as_block(fields.get(key))
    output = read_output(graph)
    given = {name: fields[name] for name in output if name in fields} or dict(fields)
    shape = read_input(graph)
    question = find_key(shape)
    is_text = question is not None and not takes_messages((shape.fields or {})[question], question)
    told = {name: text for name, value in given.items() if (text := _text(value, asked))}
    if is_text and (not asked.text or told.get(str(question)) == asked.text.strip()):
        told.pop(str(question), None)
    found = _choose(told, output, asked, question if is_text else None) or _as_block(given.get(_STRUCTURED))
    return found or _as_block(_made(given, str(question)))


def _choose(told: Mapping[str, str], output: Sequence[str], asked: Question, echo: str | None) -> str:
    """Of several texts: the messages', then the most telling name's, then what was written last, and so on.

    The part that held the question comes last, unless it was written last.
    """
    if told.get(MESSAGES):
        return told[MESSAGES]
    others = {name: text for name, text in told.items() if name != echo}
    for word in _ANSWERED:
        named = [name for name in others if word in name.lower().split("_")]
        if named:
            return told[named[-1]]
    last = [name for name in told if name in asked.written]
    if last:
        return told[last[-1]]
    own = [others[name] for name in output if name in others]
    if own:
        return own[-1]
    return max(others.values(), key=len, default="") or told.get(str(echo), "")


def _made(given: Mapping[str, Any], question: str) -> Any:
    """The one structured value that a graph made where it wrote no text at all; None for none, or several."""
    made = [
        value
        for name, value in given.items()
        if name != question and value and (_as_fields(value) is not None or _is_rows(value))
    ]
    return made[0] if len(made) == 1 else None


def _as_fields(values: Any) -> Mapping[str, Any] | None:
    if isinstance(values, Mapping):
        return values
    if isinstance(values, BaseMessage):
        return None
    if isinstance(values, BaseModel) or (is_dataclass(values) and not isinstance(values, type)):
        return vars(values)
    return None


def _text(value: Any, asked: Question) -> str:
    """The text that a value is or holds; of messages, what models wrote since the question."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, BaseMessage):
        return "" if isinstance(value, HumanMessage) else str(value.text).strip()
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return _text_of_list(value, asked)
    return ""


def _text_of_list(values: Sequence[Any], asked: Question) -> str:
    if any(isinstance(value, BaseMessage) for value in values):
        own = [place for place, value in enumerate(values) if _is_question(value, asked.message_id)]
        humans = [place for place, value in enumerate(values) if isinstance(value, HumanMessage)]
        places = own or humans
        since = values[places[-1] + 1 :] if places else values
        texts = [str(one.text).strip() for one in since if _is_answer(one) and asked.counts(one)]
        return PARAGRAPH.join(text for text in texts if text)
    texts = [value for value in values if isinstance(value, str)]
    return PARAGRAPH.join(texts) if len(texts) == len(values) else ""


def _is_question(value: Any, message_id: str | None) -> bool:
    return message_id is not None and isinstance(value, BaseMessage) and value.id == message_id


def _is_answer(value: Any) -> bool:
    return isinstance(value, AIMessage) and not value.response_metadata.get(_HANDOFF_BACK)


def _as_block(value: Any) -> str:
    """A structured value as Markdown: a table where it is rows of plain cells, else JSON."""
    if value is None or value == "":
        return ""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if _is_rows(value):
        return _as_table(value)
    text = to_json(value, indent=2, fallback=repr, inf_nan_mode="null").decode()
    return f"```json\n{text}\n```"


def _is_rows(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    rows = [row.model_dump() if isinstance(row, BaseModel) else row for row in value]
    names = list(rows[0]) if isinstance(rows[0], Mapping) else []
    if not 0 < len(names) <= _MOST_COLUMNS:
        return False
    return all(isinstance(row, Mapping) and list(row) == names and all(map(_is_cell, row.values())) for row in rows)


def _is_cell(value: Any) -> bool:
    return isinstance(value, _CELL) and len(str(value)) <= _MOST_CELL


def _as_table(rows: Sequence[Any]) -> str:
    plain = [row.model_dump() if isinstance(row, BaseModel) else row for row in rows]
    lines = [list(plain[0]), ["---"] * len(plain[0]), *(row.values() for row in plain)]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return " ".join(text.replace("|", "\\|").split())
