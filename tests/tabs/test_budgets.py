"""What the chat costs a tab and the server, counted over real websockets: one line per case.

``reads`` are statements that read the database, ``frames`` the messages to the browser besides those that carry the
growing text, ``to_first`` those up to the first word. A change that needs more edits its line, and says why.
"""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from bench.tabs import Tab
from core.access.viewer import Viewer
from core.ids import (
    new_branch_id,
    new_conversation_id,
    new_message_id,
    new_session_id,
    new_thread_id,
)
from core.skein import Skein
from core.tables import Branch, Conversation, Message, Session, Thread, utc_now
from tests.counting import counting
from tests.tabs.conftest import Served


@dataclass(frozen=True)
class Budget:
    reads: int
    frames: int
    to_first: int = 0


# Of the reads two look up who is there: for the line itself, and for the run of the page.
OPEN_NEW = Budget(reads=4, frames=36)
OPEN_LONG = Budget(reads=10, frames=160)  # ten turns of twelve frames
BEGIN = Budget(reads=2, frames=37, to_first=18)  # with title, menu, the way to the tree, and the address
GO_ON = Budget(reads=2, frames=31, to_first=16)


class TestOpening:
    async def test_a_new_chat(self, served: Served) -> None:
        _, cookie = served.make_person("opens")
        opened = await opening(served, cookie)
        assert (opened.reads <= OPEN_NEW.reads, opened.frames <= OPEN_NEW.frames) == (True, True), opened

    async def test_a_conversation_costs_the_same_however_long_it_is(self, served: Served) -> None:
        viewer, cookie = served.make_person("talks long")
        branches = [make_conversation(served.skein, viewer, turns) for turns in (20, 2_000)]
        short, long = [await opening(served, cookie, query=f"branch={branch}") for branch in branches]
        for one in (short, long):
            assert (one.reads <= OPEN_LONG.reads, one.frames <= OPEN_LONG.frames) == (True, True), one
        assert long.drawn == short.drawn

    async def test_a_link_leads_to_any_message_of_a_long_one(self, served: Served) -> None:
        viewer, cookie = served.make_person("follows links")
        branch = make_conversation(served.skein, viewer, 300)
        message = message_at(served.skein, branch, depth=40)
        async with served.tabs(1, cookie, query=f"branch={branch}&message={message}") as [tab]:
            assert questions(tab) == [f"question {n}" for n in range(31, 41)]
            await tab.click("Show the next 10")
            await tab.wait_until_drawn()
            assert questions(tab) == [f"question {n}" for n in range(41, 51)]
            await tab.click("Show 10 earlier")
            await tab.wait_until_drawn()
            assert questions(tab) == [f"question {n}" for n in range(31, 51)]
        async with served.tabs(1, cookie, query=f"message={message}") as [tab]:
            assert questions(tab)[-1] == "question 40"


class TestAsking:
    @pytest.mark.parametrize("turns", [0, 20, 2_000])
    async def test_costs_the_same_however_much_was_said(self, served: Served, turns: int) -> None:
        viewer, cookie = served.make_person(f"asks below {turns}")
        query = f"branch={make_conversation(served.skein, viewer, turns)}" if turns else ""
        async with served.tabs(1, cookie, query=query) as [tab]:
            # What was made for the test has no states yet: the first run begins with all that was said.
            first = await asking(served, tab)
            assert turns or fits(first, BEGIN), first
            for _ in range(2):
                cost = await asking(served, tab)
                assert fits(cost, GO_ON), cost


@dataclass(frozen=True)
class Cost:
    reads: int
    frames: int
    to_first: int
    runs: list[int]
    readers: list[str]


def fits(cost: Cost, budget: Budget) -> bool:
    is_cheap = cost.reads <= budget.reads and cost.frames <= budget.frames and cost.to_first <= budget.to_first
    return is_cheap and cost.runs == [0, 1]


@dataclass(frozen=True)
class Opening:
    """What opening a page cost, and how many blocks and elements it has."""

    reads: int
    frames: int
    drawn: int
    readers: list[str] = field(compare=False)


async def opening(served: Served, cookie: str, **where: str) -> Opening:
    await served.quiet()
    with counting(served.skein.database) as spent:
        async with served.tabs(1, cookie, **where) as [tab]:
            return Opening(spent.reads, tab.frames, tab.page.count(), spent.readers)


async def asking(served: Served, tab: Tab) -> Cost:
    await settled(tab)
    await served.quiet()
    with counting(served.skein.database) as spent:
        answer = await tab.ask("40 tokens")
    assert (answer.lost(40), answer.problems) == (0, [])
    runs = [len(run) for run in answer.runs]
    return Cost(spent.reads, answer.frames - answer.text_frames, answer.frames_to_first, runs, spent.readers)


async def settled(tab: Tab) -> None:
    """Let the server know that the tab has all of its page: its last message has gone out when this is answered."""
    await tab.ping()


def make_conversation(skein: Skein, viewer: Viewer, turns: int) -> str:
    """A conversation of so many turns, as it would be stored; gives its branch."""
    now, session, conversation = utc_now() - timedelta(days=1), new_session_id(), new_conversation_id()
    rows: list[object] = [
        Session(session_id=session, user_id=viewer.user_id, title="Long", created_at=now, updated_at=now),
        Conversation(
            conversation_id=conversation, session_id=session, title="Long", created_at=now, updated_at=now
        ),
    ]
    messages, threads, parent, parent_thread = [], [], None, None
    for depth in range(turns):
        message, thread = new_message_id(), new_thread_id()
        messages.append(
            Message(
                message_id=message,
                conversation_id=conversation,
                parent_message_id=parent,
                content=f"question {depth}",
                answer=f"answer {depth}",
                depth=depth,
                created_at=now,
            )
        )
        threads.append(
            Thread(
                thread_id=thread,
                message_id=message,
                user_id=viewer.user_id,
                kind="continue" if parent else "first",
                name="",
                parent_thread_id=parent_thread,
                agent_id="assistant",
                agent_version="",
                config={},
                status="done",
                lease_epoch=1,
                created_at=now,
                started_at=now,
                ended_at=now,
            )
        )
        parent, parent_thread = message, thread
    branch = Branch(
        branch_id=new_branch_id(),
        conversation_id=conversation,
        head_message_id=parent,
        user_id=viewer.user_id,
        name="main",
        created_at=now,
        updated_at=now,
    )
    branch_id = str(branch.branch_id)
    for some in ([rows[0]], [rows[1]], messages, threads, [branch]):
        skein.database.write(lambda db, some=some: db.add_all(some))
    return branch_id


def message_at(skein: Skein, branch_id: str, *, depth: int) -> str:
    from sqlmodel import select

    with skein.database.read() as db:
        conversation = db.exec(select(Branch.conversation_id).where(Branch.branch_id == branch_id)).one()
        wanted = select(Message.message_id).where(Message.conversation_id == conversation, Message.depth == depth)
        return str(db.exec(wanted).one())


def questions(tab: Tab) -> list[str]:
    return [text for text in tab.page.texts() if text.startswith("question ")]
