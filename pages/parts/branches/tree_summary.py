"""What is said of the marks of a conversation's tree: one summary for the picture, its tooltips, and the list.

Pure data. Invariant: what several messages of a mark say together is never better than what one of them says: the
worst status counts, and what has no price is not taken for nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.history.tree import Node, Tree
from core.ids import MessageId
from pages.parts.branches.tree_layout import Layout, Mark
from pages.parts.ui.format import counted, milliseconds, total_cost

# The worst first: what a mark of several messages shows.
STATUSES = ("failed", "lost", "stopped", "waiting", "running", "queued", "done")
_BADNESS = {status: place for place, status in enumerate(STATUSES)}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the tree itself does not hold of a message; a cost of None is unpriced, of 0 free."""

    label: str = ""
    cost_usd: float | None = None
    author: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a mark's messages are together; names by how often they occur, ``seconds`` None while none is over."""

    label: str
    status: str
    agents: tuple[str, ...]
    models: tuple[str, ...]
    authors: tuple[str, ...]
    seconds: float | None
    cost_usd: float | None
    unpriced: int
    count: int

    @property
    def cost(self) -> str:
        return total_cost(self.cost_usd or 0, calls=self.count, unpriced=self.unpriced)

    @property
    def took(self) -> str:
        return milliseconds(None if self.seconds is None else self.seconds * 1_000)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list view; ``indent`` counts the forks at which it leaves the line above it, not messages."""

    mark: Mark
    indent: int
    on_path: bool
    label: str
    status: str
    agent: str
    cost: str
    seconds: float | None
    author: str


NOTHING = Facts()


def summarise(mark: Mark, tree: Tree, facts: Mapping[MessageId, Facts]) -> Summary:
    """What the messages of a mark are together."""
    if mark.count == 1:
        return _of_one(tree.nodes[mark.key], facts.get(mark.key, NOTHING))
    nodes = [tree.nodes[one] for one in mark.ids]
    told = [facts.get(one, NOTHING) for one in mark.ids]
    seconds = [node.seconds for node in nodes if node.seconds is not None]
    costs = [fact.cost_usd for fact in told if fact.cost_usd is not None]
    return Summary(
        label=f"{counted(mark.count, 'message')}: {told[0].label}",
        status=min((node.status for node in nodes), key=lambda status: _BADNESS.get(status, 0)),
        agents=_by_use(node.agent_id for node in nodes),
        models=_by_use(node.model for node in nodes),
        authors=_by_use(fact.author for fact in told),
        seconds=sum(seconds) if seconds else None,
        cost_usd=sum(costs) if costs else None,
        unpriced=mark.count - len(costs),
        count=mark.count,
    )


def _of_one(node: Node, fact: Facts) -> Summary:
    return Summary(
        fact.label,
        node.status,
        (node.agent_id,),
        (node.model,) if node.model else (),
        (fact.author,) if fact.author else (),
        node.seconds,
        fact.cost_usd,
        int(fact.cost_usd is None),
        1,
    )


def _by_use(names: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(name for name, _ in Counter(filter(None, names)).most_common())


def rows_of(tree: Tree, layout: Layout, facts: Mapping[MessageId, Facts]) -> list[Row]:
    """The marks as lines to read: what branches off stands below its fork, indented, before the line goes on."""
    below: dict[int | None, list[int]] = {}
    for place, mark in enumerate(layout.marks):
        if mark.parent is None:
            below.setdefault(None, []).append(place)
    for parent, child in layout.links:
        below.setdefault(parent, []).append(child)
    rows: list[Row] = []
    waiting = [(place, 0) for place in reversed(below.get(None, []))]
    while waiting:
        place, indent = waiting.pop()
        mark = layout.marks[place]
        rows.append(_to_row(mark, indent, summarise(mark, tree, facts)))
        # A mark's links come in the order of its children, the one that keeps the lane first.
        waiting += [(child, indent + (layout.marks[child].y != mark.y)) for child in _reading(below.get(place, []))]
    return rows


def _reading(children: list[int]) -> list[int]:
    """As a stack: the one that keeps the lane at the bottom, the first of the others on top."""
    return children[:1] + children[:0:-1]


def _to_row(mark: Mark, indent: int, said: Summary) -> Row:
    return Row(
        mark,
        indent,
        mark.on_path,
        said.label,
        said.status,
        ", ".join(said.agents),
        said.cost,
        said.seconds,
        ", ".join(said.authors),
    )
