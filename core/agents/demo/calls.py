"""Which tool the offline demo model calls: by rules that hold for any agent, made from words alone.

- ``tool_choice`` demands a tool or forbids all; of an enum it then takes the value whose line in the system prompt
  ("- data: numbers, counts, 多少") shares the most words with the question, "unclear" where none does, or two.
- "Work in this order: a, b, c" in a system prompt: these tools, each once, with arguments from the person's words.
- "Choose tools by ..." at the start of a line there: the tools whose names have a word of the question that no
  other name has; else the one whose name and description share the most words with it.
- Otherwise a tool that the question names.

Invariant: since a person last spoke, a tool is called at most once, so that every run comes to an end.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from core.agents.demo.arguments import Question, default_of, fill, object_in
from core.agents.demo.terms import most_alike, terms_of
from core.agents.demo.words import since_question
from core.agents.file_blocks import words_in

Tool = dict[str, Any]
_ORDER = re.compile(r"^Work in this order:\s*(.+)$", re.MULTILINE)
_BY_WORDS = re.compile(r"^Choose tools by\b", re.MULTILINE)


def find_call(messages: Sequence[BaseMessage], options: dict[str, Any]) -> tuple[str, str, str] | None:
    """Find the tool to call: its name, its arguments as JSON, and the call's id; None when it is time to speak."""
    tools = [tool["function"] for tool in options.get("tools") or () if "function" in tool]
    choice = _named(options.get("tool_choice"))
    if not tools or not messages or choice == "none":
        return None
    found = _find(tools, messages, choice)
    if found is None:
        return None
    name, arguments = found[0]["name"], json.dumps(found[1], ensure_ascii=False)
    seen = "\0".join([name, *(f"{message.type}:{message.text}" for message in messages)])
    return name, arguments, "call_" + hashlib.sha256(seen.encode(errors="replace")).hexdigest()[:16]


def _named(choice: object) -> object:
    return choice.get("function", {}).get("name") if isinstance(choice, dict) else choice


def _find(tools: Sequence[Tool], messages: Sequence[BaseMessage], choice: object) -> tuple[Tool, Any] | None:
    """The tool to call, and its arguments."""
    text = next((words_in(m) for m in reversed(messages) if isinstance(m, HumanMessage)), "")
    system = "\n".join(str(m.text) for m in messages if isinstance(m, SystemMessage))
    if choice and choice != "auto":
        return _demanded(tools, messages, choice, Question(text, system))
    called = {call["name"] for m in since_question(messages) if isinstance(m, AIMessage) for call in m.tool_calls}
    if order := _ORDER.search(system):
        return _filled(_next_in(order[1], tools, called), Question(text, system))
    if _BY_WORDS.search(system):
        known = frozenset(word for tool in tools for word in _words_of(tool))
        matching = (tool for tool in _matching(tools, text) if tool["name"] not in called)
        return _filled(next(matching, None), Question(text, system, known))
    return None if isinstance(messages[-1], ToolMessage) else _said(tools, text)


def _filled(tool: Tool | None, question: Question) -> tuple[Tool, Any] | None:
    return None if tool is None else (tool, fill(_schema(tool), question))


def _said(tools: Sequence[Tool], text: str) -> tuple[Tool, Any] | None:
    """The tool that a text names."""
    tool = next((one for one in tools if _says(text, one["name"])), None)
    return None if tool is None else (tool, object_in(text) or default_of(_schema(tool)))


def _schema(tool: Tool) -> dict[str, Any]:
    return tool.get("parameters") or {}


def _demanded(
    tools: Sequence[Tool], messages: Sequence[BaseMessage], choice: object, question: Question
) -> tuple[Tool, Any] | None:
    if isinstance(messages[-1], ToolMessage):
        return None
    tool = next((one for one in tools if choice is True or choice in ("any", "required", one["name"])), None)
    return None if tool is None else (tool, object_in(question.text) or default_of(_schema(tool), question))


def _says(text: str, name: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", text, re.IGNORECASE) is not None


def _next_in(order: str, tools: Sequence[Tool], called: Collection[str]) -> Tool | None:
    offered = {tool["name"]: tool for tool in tools}
    wanted = [name.strip(" .`") for name in order.split(",")]
    return next((offered[name] for name in wanted if name in offered and name not in called), None)


def _matching(tools: Sequence[Tool], text: str) -> list[Tool]:
    asked = terms_of(text)
    named = [tool for tool, own in _own_words(tools) if own & asked]
    if named:
        return named
    best = most_alike(asked, [_words_of(tool) for tool in tools])
    return [tools[best[0]]] if best else []


def _own_words(tools: Sequence[Tool]) -> Iterator[tuple[Tool, set[str]]]:
    """Each tool with the words of its name that no other tool's name has."""
    names = [terms_of(tool["name"]) for tool in tools]
    for place, tool in enumerate(tools):
        yield tool, names[place].difference(*names[:place], *names[place + 1 :])


def _words_of(tool: Tool) -> set[str]:
    return terms_of(f"{tool['name']} {tool.get('description', '')}")
