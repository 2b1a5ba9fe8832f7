"""Who watches what: events and rows cross the mesh only while somebody asks for them. Pure."""

from collections.abc import Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key")  # what is watched: an agent, or a bank
Watcher = TypeVar("Watcher")


class Demand(Generic[Key, Watcher]):
    """Watchers per key, in the order in which they came."""

    def __init__(self) -> None:
        self._watchers: dict[Key, dict[Watcher, None]] = {}

    def add(self, key: Key, watcher: Watcher) -> int:
        """One more; returns how many there are now."""
        watchers = self._watchers.setdefault(key, {})
        watchers[watcher] = None
        return len(watchers)

    def remove(self, key: Key, watcher: Watcher) -> int:
        """One less; returns how many are left. Harmless when repeated."""
        watchers = self._watchers.get(key, {})
        watchers.pop(watcher, None)
        if not watchers:
            self._watchers.pop(key, None)
        return len(watchers)

    def of(self, key: Key) -> Sequence[Watcher]:
        """Everybody who watches it; safe to change demand while iterating."""
        return tuple(self._watchers.get(key, ()))

    def watched(self) -> Sequence[Key]:
        """Everything that somebody watches."""
        return tuple(self._watchers)
