"""What a model is given below any turn agrees with what people saw, and is never missing or said twice."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from sqlalchemy import update
from sqlmodel import col

from core.access.viewer import Viewer
from core.history.turns import UNFINISHED, Turn, get_path
from core.runs.branching import retry
from core.runs.lineage import INTERRUPTED, as_messages, missing_messages
from core.skein import Skein, open_skein
from core.tables import Thread, utc_now
from tests.conftest import make_person
from tests.core.support import answered, ask, graph_settings, wait_for_tokens
from tests.graphs import showcase

Shown = list[tuple[str, str]]
_numbers = itertools.count()


def turn(content: str, answer: str, status: str = "stopped", **changes: object) -> Turn:
    values: dict[str, object] = dict.fromkeys(Turn.__dataclass_fields__)
    values |= {
        "message_id": f"id of {content}",
        "content": content,
        "answer": answer,
        "status": status,
        "depth": 0,
        "created_at": utc_now(),
        "config": {},
        **changes,
    }
    return Turn(**values)  # type: ignore[arg-type]


def human(content: str) -> HumanMessage:
    return HumanMessage(content, id=f"id of {content}")


def calling(text: str, *ids: str) -> AIMessage:
    return AIMessage(text, tool_calls=[{"name": "f", "args": {}, "id": own} for own in ids])


def shown(messages: list[AnyMessage]) -> Shown:
    return [(message.type, message.text) for message in messages]


class TestTheTranscriptAsMessages:
    def test_says_which_answers_were_interrupted(self) -> None:
        turns = [turn("a", "b", "done"), turn("c", "d", "stopped"), turn("e", "", "failed"), turn("f", "g", "lost")]
        assert shown(as_messages(turns)) == [
            ("human", "a"),
            ("ai", "b"),
            ("human", "c"),
            ("ai", f"d\n\n{INTERRUPTED}"),
            ("human", "e"),
            ("ai", INTERRUPTED),
            ("human", "f"),
            ("ai", f"g\n\n{INTERRUPTED}"),
        ]


class TestWhatIsMissing:
    def missing(self, state: list[AnyMessage], base: Turn, *after: Turn, resumed: bool = False) -> Shown:
        return shown(missing_messages(state, base, resumed=resumed, after=after))

    def test_is_the_whole_turn_where_its_first_step_was_never_kept(self) -> None:
        state: list[AnyMessage] = [human("above"), AIMessage("there")]
        assert self.missing(state, turn("q", "half")) == [("human", "q"), ("ai", f"half\n\n{INTERRUPTED}")]

    def test_is_the_answer_where_only_the_question_was_kept(self) -> None:
        assert self.missing([human("q")], turn("q", "half")) == [("ai", f"half\n\n{INTERRUPTED}")]
        assert self.missing([human("q")], turn("q", "")) == [("ai", INTERRUPTED)]

    def test_is_nothing_where_the_answer_was_kept(self) -> None:
        assert self.missing([human("q"), AIMessage("whole")], turn("q", "whole")) == []

    def test_is_what_was_said_after_the_answer_that_was_kept(self) -> None:
        state: list[AnyMessage] = [human("q"), AIMessage("first")]
        assert self.missing(state, turn("q", "first\n\nsecond ha")) == [("ai", f"second ha\n\n{INTERRUPTED}")]

    def test_is_a_result_for_each_call_that_was_left_open(self) -> None:
        state: list[AnyMessage] = [
            human("q"),
            calling("Let me look.", "1", "2"),
            ToolMessage("r", tool_call_id="1"),
        ]
        missing = missing_messages(state, turn("q", "Let me look."), resumed=False, after=())
        assert shown(missing) == [("tool", INTERRUPTED), ("ai", INTERRUPTED)]
        assert [m.tool_call_id for m in missing if isinstance(m, ToolMessage)] == ["2"]

    def test_does_not_say_twice_what_stands_before_a_tools_result(self) -> None:
        state: list[AnyMessage] = [human("q"), calling("Let me look.", "1"), ToolMessage("r", tool_call_id="1")]
        assert self.missing(state, turn("q", "Let me look.\n\nIt is")) == [("ai", f"It is\n\n{INTERRUPTED}")]

    def test_of_a_resumed_retry_is_found_behind_the_first_ones_question(self) -> None:
        state: list[AnyMessage] = [human("q of the first thread")]
        assert self.missing(state, turn("q", "half"), resumed=True) == [("ai", f"half\n\n{INTERRUPTED}")]

    def test_has_all_turns_after_it(self) -> None:
        after = [turn("b", "x", "lost"), turn("c", "y", "done")]
        assert self.missing([human("a"), AIMessage("whole")], turn("a", "whole"), *after) == shown(
            as_messages(after)
        )


@pytest.fixture(scope="module")
def skein(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Skein]:
    folder = tmp_path_factory.mktemp("lineage")
    opened = open_skein(graph_settings(folder, f"sqlite:///{folder / 'skein.db'}"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def alice(skein: Skein) -> Viewer:
    return make_person(skein, "alice")


def run(skein: Skein, viewer: Viewer, what: str, under: Turn | None) -> Turn:
    """Say something that makes the graph do so, carry it to its end, and give the turn."""
    text = f"{what} {next(_numbers)}"
    begun = ask(skein, viewer, text, under=under, agent="script")
    if what == "hangs":
        wait_for_tokens(skein, viewer, begun.thread_id, 3)
        skein.engine.stop(viewer, begun.thread_id)
    return answered(skein, viewer, begun.thread_id)


def lose(skein: Skein, viewer: Viewer, one: Turn) -> Turn:
    """As if the process had been killed just before it wrote the end down."""
    lost = update(Thread).where(col(Thread.thread_id) == one.thread_id).values(status="lost")
    skein.database.write(lambda db: db.execute(lost))
    return answered(skein, viewer, one.thread_id)


def path_of(skein: Skein, viewer: Viewer, one: Turn) -> list[Turn]:
    with skein.database.read() as db:
        return get_path(viewer, db, one.message_id)


def check(seen: list[AnyMessage], path: list[Turn]) -> None:
    """What the model was given is the path: each person's words once, each answer as it was seen."""
    assert [m.text for m in seen if m.type == "human"] == [one.content for one in path]
    rounds: list[list[AnyMessage]] = []
    for message in seen:
        if message.type == "human":
            rounds.append([])
        else:
            rounds[-1].append(message)
    assert rounds[-1] == []
    for one, said in zip(path[:-1], rounds[:-1], strict=True):
        check_round(one, said)


def check_round(one: Turn, said: list[AnyMessage]) -> None:
    answers = [m for m in said if isinstance(m, AIMessage)]
    assert said[-1] in answers
    words = " ".join(m.text.removesuffix(INTERRUPTED) for m in answers).split()
    if one.kind != "retry":
        assert words == one.answer.split()
    if one.status != "done" and words != " ".join(m.text for m in answers).split():
        assert said[-1].text.endswith(INTERRUPTED)
    for place, message in enumerate(said):
        calls = [call["id"] for call in message.tool_calls] if isinstance(message, AIMessage) else []
        results = [m.tool_call_id for m in said[place + 1 : place + 1 + len(calls)] if isinstance(m, ToolMessage)]
        assert results == calls


class TestUnderAnUnfinishedParent:
    @pytest.mark.parametrize(
        ("what", "status", "words"),
        [
            ("early", "failed", INTERRUPTED),
            ("half", "failed", f"w1 w2 w3\n\n{INTERRUPTED}"),
            ("hangs", "stopped", f"w1 w2 w3\n\n{INTERRUPTED}"),
            ("late", "failed", "w1 w2 w3"),
        ],
    )
    def test_the_model_is_given_the_words_people_saw(
        self, skein: Skein, alice: Viewer, what: str, status: str, words: str
    ) -> None:
        parent = run(skein, alice, what, None)
        assert parent.status == status
        child = run(skein, alice, "done", parent)
        assert shown(showcase.SEEN[child.content]) == [
            ("human", parent.content),
            ("ai", words),
            ("human", child.content),
        ]

    def test_an_open_call_gets_a_result(self, skein: Skein, alice: Viewer) -> None:
        parent = run(skein, alice, "calls", None)
        child = run(skein, alice, "done", parent)
        assert [kind for kind, _ in shown(showcase.SEEN[child.content])] == ["human", "ai", "tool", "ai", "human"]
        check(showcase.SEEN[child.content], [parent, child])

    def test_one_that_was_stopped_while_it_waited_is_told_too(self, skein: Skein, alice: Viewer) -> None:
        root = run(skein, alice, "done", None)
        blocked = [ask(skein, alice, f"hangs {next(_numbers)}", agent="script") for _ in range(4)]
        queued = ask(skein, alice, "never begun", under=root, agent="script")
        skein.engine.stop(alice, queued.thread_id)
        queued = answered(skein, alice, queued.thread_id)
        for one in blocked:
            skein.engine.stop(alice, one.thread_id)
            answered(skein, alice, one.thread_id)
        child = run(skein, alice, "done", queued)
        assert (queued.status, queued.started_at) == ("stopped", None)
        check(showcase.SEEN[child.content], [root, queued, child])

    def test_one_that_waits_for_a_person_is_told_too(self, skein: Skein, alice: Viewer) -> None:
        parent = answered(skein, alice, ask(skein, alice, "ask 2 tokens", agent="showcase").thread_id)
        assert parent.status == "waiting"
        child = run_echo(skein, alice, parent, agent="showcase")
        assert child.status == "done"


def run_echo(skein: Skein, viewer: Viewer, under: Turn, *, agent: str) -> Turn:
    return answered(skein, viewer, ask(skein, viewer, "2 tokens more", under=under, agent=agent).thread_id)


class TestAnotherAgent:
    def test_is_given_the_transcript(self, skein: Skein, alice: Viewer) -> None:
        first = run(skein, alice, "done", None)
        second = run(skein, alice, "half", first)
        other = answered(skein, alice, ask(skein, alice, "over to you", under=second, agent="echo").thread_id)
        assert other.parent_thread_id is None
        check(showcase.SEEN["over to you"], [first, second, other])
        back = run(skein, alice, "done", other)
        check(showcase.SEEN[back.content], [first, second, other, back])


STEP = st.tuples(
    st.sampled_from(["done", "early", "half", "hangs", "late", "later", "calls", "retry", "lose"]),
    st.integers(0, 100),
)


class TestAnyTree:
    @hypothesis_settings(
        max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.lists(STEP, min_size=1, max_size=8))
    def test_gives_the_model_every_ones_words_once(
        self, skein: Skein, alice: Viewer, steps: list[tuple[str, int]]
    ) -> None:
        turns = [run(skein, alice, "done", None)]
        for what, pick in steps:
            at = pick % len(turns)
            if what == "lose":
                turns[at] = lose(skein, alice, turns[at])
            elif what == "retry" and turns[at].status in UNFINISHED:
                retried = retry(skein.engine, alice, turns[at].thread_id)
                turns.append(answered(skein, alice, retried.thread_id))
                assert turns[-1].status == "done"
            elif what != "retry":
                turns.append(run(skein, alice, what, turns[at]))
        for one in turns:
            child = run(skein, alice, "done", one)
            check(showcase.SEEN[child.content], path_of(skein, alice, child))
