"""Whose runs an engine carries out: where a project has a process of its own, its agents' are left to that.

Invariant: every agent is in the share of one process's engine, and of no other engine that process started.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, not_
from sqlmodel import col

from core.tables import Thread


@dataclass(frozen=True)
class Share:
    """These agents ``alone``, or all but these; as it comes, all."""

    agents: frozenset[str] = frozenset()
    alone: bool = False

    def has(self, agent_id: str) -> bool:
        return (agent_id in self.agents) is self.alone

    @property
    def where(self) -> ColumnElement[bool]:
        """The threads of its agents."""
        named = col(Thread.agent_id).in_(sorted(self.agents))
        return named if self.alone else not_(named)


ALL = Share()
