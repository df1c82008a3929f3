"""Whose run is next: limits per person and in total, and fairness between people.

Invariant: the next run belongs to whoever has the fewest running, and among those to whoever was served longest
ago; within one person's runs the order is the order of asking. Nothing here knows threads, locks or databases.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class FairQueue:
    """Runs that wait and runs that run, by owner; give and take keys (thread ids)."""

    limit: int
    limit_per_user: int
    _waiting: dict[str, deque[str]] = field(default_factory=dict)
    _running: dict[str, str] = field(default_factory=dict)
    _served: dict[str, int] = field(default_factory=dict)
    _turn: int = 0

    def put(self, user: str, key: str) -> None:
        self._waiting.setdefault(user, deque()).append(key)

    def take(self, is_ready: Callable[[str], bool]) -> str | None:
        """The next run that may begin now, which then counts as running; None when there is none."""
        if len(self._running) >= self.limit:
            return None
        counts = self._counts()
        users = [user for user in self._waiting if counts[user] < self.limit_per_user]
        for user in sorted(users, key=lambda user: (counts[user], self._served.get(user, 0))):
            key = next((key for key in self._waiting[user] if is_ready(key)), None)
            if key is not None:
                self._remove_waiting(user, key)
                self._running[key] = user
                self._turn += 1
                self._served[user] = self._turn
                return key
        return None

    def remove(self, user: str, key: str) -> bool:
        """Forget a run, waiting or running; False when it was not there."""
        if self._running.pop(key, None) is not None:
            return True
        if key in self._waiting.get(user, ()):
            self._remove_waiting(user, key)
            return True
        return False

    def place_of(self, key: str) -> int | None:
        """1 for the run that will begin next, 2 for the one after it; None when it does not wait."""
        return next((place for place, other in enumerate(self._order(), start=1) if other == key), None)

    def _order(self) -> Iterator[str]:
        """All that wait, in the order in which they will begin if nothing ends meanwhile."""
        counts, served, turn = self._counts(), dict(self._served), self._turn
        waiting = {user: deque(keys) for user, keys in self._waiting.items()}
        while waiting:
            user = min(waiting, key=lambda user: (counts[user], served.get(user, 0)))
            yield waiting[user].popleft()
            counts[user] += 1
            turn += 1
            served[user] = turn
            if not waiting[user]:
                del waiting[user]

    def _counts(self) -> defaultdict[str, int]:
        counts: defaultdict[str, int] = defaultdict(int)
        for user in self._running.values():
            counts[user] += 1
        return counts

    def _remove_waiting(self, user: str, key: str) -> None:
        self._waiting[user].remove(key)
        if not self._waiting[user]:
            del self._waiting[user]
