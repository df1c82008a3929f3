"""What the inspector looks at: a thread with its graphs and the ids of its states, and which of them is chosen."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from core.access.viewer import Viewer
from core.checkpoints.stored import Namespace
from core.history.turns import Turn
from core.ids import ThreadId
from core.runs.inspecting import Inspector, ThreadFacts, describe_thread
from core.skein import Skein
from pages.parts.inspector.inspector_url import Place
from pages.parts.ui.days import zone


@dataclass(frozen=True)
class OpenThread:
    """A thread that is looked into; ``ids`` are the states of the graph that the address names, oldest first."""

    skein: Skein
    viewer: Viewer
    facts: ThreadFacts
    place: Place
    namespaces: list[Namespace]
    ids: list[str]
    tz: ZoneInfo

    @property
    def turn(self) -> Turn:
        return self.facts.turn

    @property
    def is_own(self) -> bool:
        return self.viewer.may_change(self.facts.owner_id)

    @property
    def inspector(self) -> Inspector:
        return inspector_of(self.skein)


def inspector_of(skein: Skein) -> Inspector:
    return Inspector(skein.database, skein.saver, skein.agents, skein.settings.checkpoints_path)


def open_thread(skein: Skein, viewer: Viewer, thread_id: ThreadId, place: Place) -> OpenThread:
    """A thread as it is now; NotFoundError when it is not there for this viewer."""
    with skein.database.read() as db:
        facts = describe_thread(viewer, db, thread_id)
    inspector = inspector_of(skein)
    return OpenThread(
        skein,
        viewer,
        facts,
        place,
        inspector.list_namespaces(viewer, thread_id),
        inspector.list_ids(viewer, thread_id, place.ns),
        zone(),
    )


def find_chosen(opened: OpenThread) -> int | None:
    """The place of the state that the address names, the last one where it names none; None when it is gone."""
    wanted = opened.place.checkpoint
    if not wanted:
        return len(opened.ids) - 1
    return opened.ids.index(wanted) if wanted in opened.ids else None
