"""Look into a thread: its checkpoints, what each holds, what its log tells. For whoever may read the thread.

What is stored is read as it is, off the engine's loop and without running anything; the agent's graph, if it can
still be loaded, only tells how a DeltaChannel's updates add up. Invariant: looking changes nothing, and every use
asks first whether this viewer may.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph._internal._typing import MISSING
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel
from sqlalchemy import func
from sqlmodel import Session as Db
from sqlmodel import col, select

from core.access.viewer import Viewer
from core.agents.registry import Agents
from core.checkpoints.inspect import Checkpoint, State
from core.checkpoints.replaying import replay
from core.checkpoints.stored import Namespace, StoredCheckpoints, open_stored
from core.checkpoints.values import Loads
from core.database import Database
from core.errors import NotFoundError, SkeinError
from core.history.turns import Turn, get_turn_of_thread
from core.ids import SessionId, ThreadId, UserId
from core.runs.events import TEXT_KINDS, Event
from core.runs.history import why_no_state
from core.tables import Conversation, RunEvent, Session, User

Graph = Pregel[Any, Any, Any, Any]


@dataclass(frozen=True)
class Inspector:
    """What looking into threads needs."""

    database: Database
    saver: BaseCheckpointSaver[Any]
    agents: Agents
    checkpoints_path: Path

    def list_namespaces(self, viewer: Viewer, thread_id: ThreadId) -> list[Namespace]:
        """The graphs of a thread that have checkpoints: its own first, then its subgraphs by their time."""
        with self._open(viewer, thread_id) as (_, stored):
            return stored.list_namespaces(thread_id)

    def list_ids(self, viewer: Viewer, thread_id: ThreadId, ns: str = "") -> list[str]:
        """The ids of a graph's checkpoints, oldest first.

        Of those that a DeltaChannel rests on, and that the thread therefore has a copy of, none is its own.
        """
        with self._open(viewer, thread_id) as (turn, stored):
            ids = stored.list_ids(thread_id, ns)
            source = turn.source_checkpoint_id
            if ns or source not in ids:
                return ids
            above = stored.list_ancestors(thread_id, ns, source)
            own = [one for one in ids if one not in {source, *above}]
            return own if above and own else ids

    def read_checkpoints(
        self, viewer: Viewer, thread_id: ThreadId, ns: str, ids: Collection[str]
    ) -> list[Checkpoint]:
        """These checkpoints as lines of a list, oldest first, with sizes and who wrote, but no values."""
        with self._open(viewer, thread_id) as (_, stored):
            return stored.read_checkpoints(thread_id, ns, ids, loads=self.saver.serde.loads_typed)

    def read_state(self, viewer: Viewer, thread_id: ThreadId, ns: str, checkpoint_id: str) -> State:
        """A checkpoint with all its values; NotFoundError says why when it is not there."""
        with self._open(viewer, thread_id) as (turn, stored):
            graph = self._graph(turn.agent_id)
            loads: Loads = getattr(graph and graph.checkpointer, "serde", self.saver.serde).loads_typed
            replays = _Replays(_channels(graph, ns))
            state = stored.read_state(thread_id, ns, checkpoint_id, loads=loads, replays=replays)
        if state is None:
            with self.database.read() as db:
                raise NotFoundError(why_no_state(db, turn, checkpoint_id))
        return state

    @contextmanager
    def _open(self, viewer: Viewer, thread_id: ThreadId) -> Iterator[tuple[Turn, StoredCheckpoints]]:
        with self.database.read() as db:
            turn = get_turn_of_thread(viewer, db, thread_id)
        with open_stored(self.database, self.checkpoints_path) as stored:
            yield turn, stored

    def _graph(self, agent_id: str) -> Graph | None:
        try:
            return self.agents.compiled(agent_id, self.saver)
        except SkeinError:
            return None


@dataclass(frozen=True)
class _Replays:
    """Adds updates up as the graph's own channels do, or by what they are where it has none of that name."""

    channels: Mapping[str, Any]

    def __call__(self, name: str, has_seed: bool, seed: Any, updates: list[Any]) -> Any:
        channel = self.channels.get(name)
        if not isinstance(channel, DeltaChannel):
            return replay(seed, updates)
        begun = channel.from_checkpoint(seed if has_seed else MISSING)
        begun.replay_writes([("", name, update) for update in updates])
        return begun.get()


def _channels(graph: Graph | None, ns: str) -> Mapping[str, Any]:
    """The channels of the graph whose checkpoints stand in a namespace; none where that is not known."""
    if graph is None or not ns:
        return {} if graph is None else graph.channels
    names = [part.partition(":")[0] for part in ns.split("|") if not part.isdigit()]
    wanted = "|".join(names)
    found = dict(graph.get_subgraphs(namespace=wanted, recurse=True)).get(wanted)
    return found.channels if isinstance(found, Pregel) else {}


@dataclass(frozen=True)
class ThreadFacts:
    """What stands around a thread: its turn, where that belongs, and who the people are."""

    turn: Turn
    session_id: SessionId
    owner_id: UserId
    session_title: str
    conversation_title: str
    started_by: str


def describe_thread(viewer: Viewer, db: Db, thread_id: ThreadId) -> ThreadFacts:
    """A thread with what stands around it; NotFoundError when it is not there for this viewer."""
    turn = get_turn_of_thread(viewer, db, thread_id)
    query = (
        select(  # type: ignore[call-overload]
            Session.session_id, Session.user_id, Session.title, Conversation.title, User.name
        )
        .select_from(Conversation)
        .join(Session, col(Session.session_id) == Conversation.session_id)
        .join(User, col(User.user_id) == turn.user_id)
        .where(Conversation.conversation_id == turn.conversation_id)
    )
    session_id, owner_id, session_title, title, name = db.exec(query).one()
    return ThreadFacts(turn, SessionId(session_id), UserId(owner_id), session_title, title, name)


def list_events(
    viewer: Viewer, db: Db, thread_id: ThreadId, *, after: int = 0, kinds: Collection[str] = (), limit: int = 100
) -> list[Event]:
    """A page of what the log of a thread tells, of these kinds or of all, oldest first.

    Neighbouring pieces of one text come as one event with all of them; ``after`` is the last one's ``seq``.
    """
    get_turn_of_thread(viewer, db, thread_id)
    query = select(RunEvent).where(RunEvent.thread_id == thread_id, col(RunEvent.seq) > after)
    if kinds:
        query = query.where(col(RunEvent.kind).in_(list(kinds)))
    rows = db.exec(query.order_by(col(RunEvent.seq)).limit(limit))
    return [Event(row.seq, row.at_ms, row.kind, row.node, _whole(row)) for row in rows]  # type: ignore[arg-type]


def _whole(row: RunEvent) -> Any:
    return "".join(text for _, text in row.payload) if row.kind in TEXT_KINDS else row.payload


def count_events(viewer: Viewer, db: Db, thread_id: ThreadId) -> dict[str, int]:
    """How many events of each kind `list_events` has of a thread."""
    get_turn_of_thread(viewer, db, thread_id)
    query = select(RunEvent.kind, func.count()).where(RunEvent.thread_id == thread_id).group_by(RunEvent.kind)
    return dict(db.exec(query).all())


def count_told(viewer: Viewer, db: Db, thread_id: ThreadId) -> int:
    """How many checkpoints of its own graph a thread's log tells of, be they still stored or not."""
    get_turn_of_thread(viewer, db, thread_id)
    query = select(RunEvent.payload).where(RunEvent.thread_id == thread_id, RunEvent.kind == "state")
    return len({told.get("checkpoint_id") for told in db.exec(query) if not told.get("ns")})
