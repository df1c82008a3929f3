"""From what LangGraph says while it runs to the few plain events of the log.

Text comes from a callback handler (cheaper per token than stream mode ``messages``), all else from the parts of
one ``astream`` pass. Invariant: only the answering node's text becomes ``token``; two models that speak at the
same time never mix in one answer, the later one is an ``aside``. What streams is a preview: when the run has come
to its end, ``conclude`` sets right where the answer is another. And nothing here changes what the graph computes.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphInterrupt

from core.calls.chunks import ChunkUsage, split_content
from core.outside import TextInPieces, clean_text, fit_text, read_failure
from core.runs.events import VOICE, Event, EventKind, plain
from core.runs.gate import RunStoppedError
from core.runs.log import RunLog
from core.runs.loop import is_on_loop
from core.runs.reruns import Reruns
from core.runs.tool_events import LONGEST_RESULT, ToolEvents, Working, messages_in, read_end, read_error

TOOL_NODE = "tools"
PARAGRAPH = "\n\n"
REFUSED_AFTER_STOP = "The run was stopped before this began; it was not run."
# How LangChain's own middleware marks the calls that it makes for itself.
_INTERNAL = "lc_internal_call"
_UNKNOWN: Any = object()
_LONGEST_NAME = 200


@dataclass
class _Speaker:
    """One model call that is being listened to; ``voice`` names what it says beside the answer.

    ``fills_form``: it was asked for data of a given form, and writes no text, nor calls a tool, for people to see.
    """

    node: str
    answers: bool
    fills_form: bool = False
    spoke: bool = False
    thought: bool = False
    voice: str = ""
    words: list[str] = field(default_factory=list)
    usage: ChunkUsage = field(default_factory=ChunkUsage)
    shown: TextInPieces = field(default_factory=TextInPieces)
    shown_thoughts: TextInPieces = field(default_factory=TextInPieces)


class Recorder(BaseCallbackHandler):
    """Writes one run's events to its log, and keeps what its end needs: answer, usage, finish reason.

    ``inner_nodes`` are those of which earlier runs have shown that what their models say is not the answer; it is
    kept up to date at the end. ``values`` is the graph's state at its newest checkpoint.
    """

    run_inline = True
    raise_error = False
    # Of no concern here; to be called for each step costs. (Tools are heard where agents are.)
    ignore_chain = ignore_retriever = ignore_retry = ignore_custom_event = True

    def __init__(
        self,
        log: RunLog,
        *,
        answer_nodes: Iterable[str] | None = None,
        inner_nodes: set[str] | None = None,
        tool_nodes: Collection[str] = (),
    ) -> None:
        self.log = log
        self.answer: list[str] = []
        self.values: Any = _UNKNOWN
        self.written: tuple[str, ...] = ()
        self.is_closed = False
        self.usage = {"input_tokens": 0, "output_tokens": 0}
        self.has_usage = False
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.interrupts: list[Any] = []
        self.paused = False
        self._reruns = Reruns(tool_nodes)
        self._answer_nodes = frozenset(answer_nodes) if answer_nodes is not None else None
        self._speakers: dict[UUID, _Speaker] = {}
        self._speaking: UUID | None = None
        self._last_spoken: UUID | None = None
        self._inner_nodes = inner_nodes if inner_nodes is not None else set()
        self._seen: set[str] = set()
        # By node what its models have said, flat: any node may give these words on in a message of its own.
        self._said: dict[str, set[str]] = {}
        self._writers: dict[str, bool] = {}
        self._before: set[str] = set()
        self._begun_with = ""
        self._voices: dict[str, UUID] = {}
        self._tasks: dict[str, Working] = {}
        self._length = 0
        self._tools = ToolEvents(lambda name, told: self._write("tool", name, told), lambda: self._length)

    @property
    def runs_again(self) -> Mapping[str, Sequence[str]]:
        """By the id of an interrupt: the tools that run a second time when it goes on."""
        return self._reruns.by_interrupt

    @property
    def working_node(self) -> str | None:
        """The node that began last and has not ended."""
        return next((task.name for task in reversed(list(self._tasks.values()))), None)

    def carry(self, said: Iterable[str], *, known: Collection[str] = ()) -> None:
        """Begin the answer with what the thread that is retried had said before the point it goes on from.

        ``known`` are the ids of the messages that stand in its state there.
        """
        for text in said:
            self._say("", text, apart=bool(self.answer))
        self._seen.update(known)
        if known and self._answer_nodes is not None:
            # Which of them are answers is not known any more; what was said of them is.
            self._before = set(known)
            self._begun_with = "".join(self.answer)

    @property
    def knows_values(self) -> bool:
        return self.values is not _UNKNOWN

    def is_of_answer(self, message: BaseMessage) -> bool:
        """Whether a message of the final state may be a part of this run's answer."""
        own = message.id or ""
        return own not in self._before and self._writers.get(own, True)

    def conclude(self, answer: str) -> None:
        """The run has come to its end: ``answer`` is what it came to, also where other words were streamed."""
        answer = fit_text(answer).strip()
        if not answer:
            return
        if self._begun_with:
            answer = f"{self._begun_with}{PARAGRAPH}{answer}"
        flat = _flat(answer)
        for node, texts in self._said.items():
            # One that was heard once answers; what else it asks its models is its own business.
            if any(words in flat for words in texts):
                self._inner_nodes.discard(node)
            else:
                self._inner_nodes.add(node)
        if not self.answer:
            self._say("", answer, apart=False)
        elif _flat("".join(self.answer)) != flat:
            self.answer[:] = [answer]
            self._write("answer", None, answer)

    def resume(self, events: Sequence[Event]) -> None:
        """Go on behind the part of the log that ended as waiting; what is said next is a paragraph of its own."""
        for event in events:
            match event.kind:
                case "token":
                    self._keep(event.payload)
                case "tool":
                    self._tools.resume(event)
                case "end":
                    self._take_up(event.payload)

    def _take_up(self, end: Mapping[str, Any]) -> None:
        self.finish_reason, self.model = end.get("finish_reason"), end.get("model")
        if usage := end.get("usage"):
            self.has_usage, self.usage = True, dict(usage)

    # -- the parts of astream ---------------------------------------------------------------------------

    def take(self, part: Mapping[str, Any]) -> None:
        """One part of ``astream(version="v2")``."""
        match part["type"]:
            case "tasks":
                self._task(part["ns"], part["data"])
            case "updates":
                self._update(part["data"])
            case "custom":
                node = part["ns"][-1].split(":")[0] if part["ns"] else None
                self._write("progress", node, plain(part["data"]))
            case "checkpoints":
                self._checkpoint(part["data"])

    def _task(self, ns: tuple[str, ...], data: Mapping[str, Any]) -> None:
        if "triggers" in data:
            self._tasks[data["id"]] = Working(data["name"])
            self._reruns.start(ns, data)
            if not ns:
                self._seen.update(message.id for message in messages_in(data["input"]) if message.id)
            self._write("node", data["name"], {"phase": "start", "task": data["id"], "ns": list(ns)})
            return
        messages = messages_in(data["result"])
        self._tools.answered(messages)
        places = (*(part.split(":")[0] for part in ns), data["name"])
        may_answer = self._may_answer(data["name"], places)
        for message in messages:
            if message.id:
                # The innermost graph tells first whose it is.
                self._writers.setdefault(message.id, may_answer)
        if not ns and isinstance(data["result"], Mapping):
            self.written = tuple(data["result"])
        if not ns and may_answer:
            self._unstreamed_answer(data["name"], messages)
        task = self._tasks.pop(data["id"], None)
        payload = {"phase": "end", "task": data["id"], "ns": list(ns), "ms": task.ms if task else None}
        self._reruns.end(ns, data)
        if data.get("interrupts"):
            payload["waits"] = True
        if data.get("error"):
            payload["error"] = read_failure(data["error"], LONGEST_RESULT)
        self._write("node", data["name"], payload)

    def _update(self, data: Any) -> None:
        interrupts = data.get("__interrupt__") if isinstance(data, Mapping) else None
        if interrupts is not None and not interrupts:
            # A stop that the graph was compiled with asks nothing.
            self.paused = True
        for interrupt in interrupts or ():
            if all(interrupt.id != known["id"] for known in self.interrupts):
                self.interrupts.append({"id": interrupt.id, "value": plain(interrupt.value)})

    def edited(self, checkpoint_id: str) -> None:
        """The state was edited before the first step."""
        self._write("state", None, {"checkpoint_id": checkpoint_id, "ns": "", "step": None, "next": []})

    def _checkpoint(self, data: Mapping[str, Any]) -> None:
        where = (data.get("config") or {}).get("configurable", {})
        if not where.get("checkpoint_ns"):
            self.values = data.get("values")
            if (data.get("metadata") or {}).get("source") == "input":
                self._before = {message.id for message in messages_in(self.values) if message.id}
        payload = {
            "checkpoint_id": where.get("checkpoint_id"),
            "ns": where.get("checkpoint_ns", ""),
            "step": (data.get("metadata") or {}).get("step"),
            "next": list(data.get("next") or ()),
        }
        self._write("state", None, payload)

    def _unstreamed_answer(self, node: str, messages: list[BaseMessage]) -> None:
        """A node's own AIMessage that no model streamed is part of the answer too."""
        for message in messages:
            if isinstance(message, AIMessage) and message.id not in self._seen and message.text:
                if message.id:
                    self._seen.add(message.id)
                words = _flat(message.text)
                if not any(words in texts for texts in self._said.values()):
                    self._say(node, message.text, apart=bool(self.answer))

    # LangChain streams a call only where a handler has these two. LangGraph asks for more: a handler that inherits
    # from its protocol has it run nodes another way, in which a subgraph's output schema does not count.
    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
        return output

    # -- callbacks: models ------------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.is_closed and not is_on_loop():
            self.refuse(run_id, "model", None)
            raise RunStoppedError("The run was stopped; the model was not asked.")
        node = str((metadata or {}).get("langgraph_node") or "")
        places = tuple(
            place.split(":")[0] for place in str((metadata or {}).get("langgraph_checkpoint_ns", "")).split("|")
        )
        fills_form = "ls_structured_output_format" in (kwargs.get("options") or {})
        is_inner = bool(tags and TAG_NOSTREAM in tags) or _INTERNAL in (metadata or {}) or node in self._inner_nodes
        answers = self._may_answer(node, places) and not fills_form and not is_inner
        self._speakers[run_id] = _Speaker(node, answers, fills_form)

    def on_llm_new_token(
        self, token: str | list[str | dict[str, Any]], *, chunk: Any = None, run_id: UUID, **kwargs: Any
    ) -> None:
        if (speaker := self._speakers.get(run_id)) is None:
            return
        message = getattr(chunk, "message", None)
        # Of a list of blocks, a model may tell no more than the text as its token.
        content = getattr(message, "content", token)
        text, thought = split_content(content, getattr(message, "additional_kwargs", None))
        if thought:
            self._think(speaker, thought)
        if text:
            self._hear(run_id, speaker, text)
        if usage := getattr(message, "usage_metadata", None):
            speaker.usage.hear(usage)
        calls = getattr(message, "tool_call_chunks", None)
        if calls and not speaker.fills_form:
            self._tools.hear(run_id, calls)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        speaker = self._speakers.pop(run_id, None)
        for generations in response.generations:
            for generation in generations:
                if speaker is not None and isinstance(generation, ChatGeneration):
                    self._conclude(run_id, speaker, generation.message)
        self._fall_silent(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        if (speaker := self._speakers.pop(run_id, None)) is not None:
            self._show_rest(run_id, speaker)
        self._tools.conclude(run_id)
        self._fall_silent(run_id)

    def _conclude(self, run_id: UUID, speaker: _Speaker, message: BaseMessage) -> None:
        text, thought = split_content(message.content, message.additional_kwargs)
        if thought and not speaker.thought:
            self._think(speaker, thought)
        if text and not speaker.spoke:
            self._hear(run_id, speaker, text)
        self._show_rest(run_id, speaker)
        if not speaker.fills_form:
            self._tools.conclude(run_id, message)
        if speaker.answers and not speaker.voice:
            # What was said beside is heard again, as a part of the answer, when a node makes it its message.
            self._seen.update({message.id} if message.id else ())
        if message.id and TOOL_NODE not in speaker.node:
            self._writers.setdefault(message.id, self._may_answer(speaker.node, (speaker.node,)))
        if speaker.words:
            self._said.setdefault(speaker.node, set()).add(_flat("".join(speaker.words)))
        if not speaker.answers:
            return
        self.finish_reason = _read_name(message.response_metadata.get("finish_reason")) or self.finish_reason
        self.model = _read_name(message.response_metadata.get("model_name")) or self.model
        # What comes out of LangChain's cache may have a cost of nothing, and no counts.
        usage = speaker.usage.whole or getattr(message, "usage_metadata", None) or {}
        taken, said = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
        if taken or said:
            self.has_usage = True
            self.usage["input_tokens"] += taken
            self.usage["output_tokens"] += said

    def _think(self, speaker: _Speaker, thought: str) -> None:
        speaker.thought = True
        self._show_thought(speaker, speaker.shown_thoughts.take(thought))

    def _show_thought(self, speaker: _Speaker, thought: str) -> None:
        if thought := clean_text(thought):
            self._write("thought", speaker.node or None, thought)

    def _hear(self, run_id: UUID, speaker: _Speaker, text: str) -> None:
        speaker.spoke = True
        if not speaker.fills_form:
            speaker.words.append(text)
        self._show(run_id, speaker, speaker.shown.take(text))

    def _show(self, run_id: UUID, speaker: _Speaker, text: str) -> None:
        if not text:
            return
        if speaker.voice or not speaker.answers or self._speaking not in {None, run_id}:
            self._hear_beside(run_id, speaker, clean_text(text))
            return
        apart = bool(self.answer) and self._last_spoken != run_id
        self._speaking = self._last_spoken = run_id
        self._say(speaker.node, text, apart=apart)

    def _show_rest(self, run_id: UUID, speaker: _Speaker) -> None:
        """Show what was held back because it might have been the beginning of a secret."""
        self._show_thought(speaker, speaker.shown_thoughts.rest())
        self._show(run_id, speaker, speaker.shown.rest())

    def show_rest(self) -> None:
        """The run is at its end: show what was held back of models that have not come to theirs."""
        for run_id, speaker in list(self._speakers.items()):
            self._show_rest(run_id, speaker)

    def _hear_beside(self, run_id: UUID, speaker: _Speaker, text: str) -> None:
        """Two that speak at the same time have a voice each, also where they are of one node."""
        if not speaker.voice:
            busy = {one.voice for one in list(self._speakers.values())}
            names = (speaker.node if n == 1 else f"{speaker.node}{VOICE}{n}" for n in count(1))
            speaker.voice = next(name for name in names if name not in busy)
            if self._voices.setdefault(speaker.voice, run_id) != run_id:
                text = PARAGRAPH + text
            self._voices[speaker.voice] = run_id
        self._write("aside", speaker.voice, text)

    def _say(self, node: str, text: str, *, apart: bool) -> None:
        text = clean_text(PARAGRAPH + text if apart else text)
        if text:
            self._keep(text)
            self._write("token", node or None, text)

    def _keep(self, text: str) -> None:
        self.answer.append(text)
        self._length += len(text)

    def _fall_silent(self, run_id: UUID) -> None:
        if self._speaking == run_id:
            self._speaking = None

    def _may_answer(self, node: str, places: tuple[str, ...]) -> bool:
        if self._answer_nodes is not None:
            return node in self._answer_nodes
        return TOOL_NODE not in places

    # -- callbacks: tools -------------------------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
        self._reruns.begin_tool(run_id, name, str((metadata or {}).get("langgraph_checkpoint_ns") or ""))
        self._tools.start(run_id, name, input_str if inputs is None else inputs, kwargs.get("tool_call_id"))

    async def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._tools.end(run_id, await read_end(output))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        if isinstance(error, GraphInterrupt):
            self._reruns.tool_asks(run_id)
            self._tools.end(run_id, {"waits": True})
        else:
            self._tools.end(run_id, read_error(error))

    def refuse(self, run_id: UUID, name: str, args: Any, call_id: str | None = None) -> None:
        """The run was stopped, and a plain function of it has asked for one more tool or model."""
        self._tools.start(run_id, name, args, call_id)
        self._tools.end(run_id, {"error": REFUSED_AFTER_STOP})

    def _write(self, kind: EventKind, node: str | None, payload: Any) -> None:
        self.log.append(kind, node, payload)


def _read_name(said: object) -> str | None:
    """A short word of a server's, whatever it sent in its place."""
    return read_failure(said, _LONGEST_NAME) if said else None


def _flat(text: str) -> str:
    """The text without what paragraphs and lines add to it, for comparing what was said with what was kept."""
    return "".join(text.split())
