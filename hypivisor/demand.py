"""Who watches what: an agent's events cross the mesh only while somebody asks for them. Pure."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from hyperpi.address import AgentId

Watcher = TypeVar("Watcher")


class Demand(Generic[Watcher]):
    """Watchers per agent, in the order in which they came."""

    def __init__(self) -> None:
        self._watchers: dict[AgentId, dict[Watcher, None]] = {}

    def add(self, agent: AgentId, watcher: Watcher) -> int:
        """One more; returns how many there are now."""
        watchers = self._watchers.setdefault(agent, {})
        watchers[watcher] = None
        return len(watchers)

    def remove(self, agent: AgentId, watcher: Watcher) -> int:
        """One less; returns how many are left. Harmless when repeated."""
        watchers = self._watchers.get(agent, {})
        watchers.pop(watcher, None)
        if not watchers:
            self._watchers.pop(agent, None)
        return len(watchers)

    def of(self, agent: AgentId) -> Sequence[Watcher]:
        """Everybody who watches an agent; safe to change demand while iterating."""
        return tuple(self._watchers.get(agent, ()))

    def agents(self) -> Sequence[AgentId]:
        """Every agent that somebody watches."""
        return tuple(self._watchers)
