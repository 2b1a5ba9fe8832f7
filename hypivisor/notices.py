"""What front ends are told beside the roster: notices for viewers who follow their topics.

Each front end reads its own share. Policy: one that does not read is ended, and comes back to a whole roster.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hyperpi.errors import Overloaded
from hyperpi.wire.hyperpi.v1 import mesh_pb2

MAX_NOTICES = 10_000  # of one front end that does not read


class Inbox:
    """One front end's share."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._pending: list[mesh_pb2.Notice] = []

    def put(self, notice: mesh_pb2.Notice) -> None:
        """Keep it until it is taken."""
        if len(self._pending) <= MAX_NOTICES:
            self._pending.append(notice)
        self._wake()

    def take(self) -> list[mesh_pb2.Notice]:
        """What has come since. Raises Overloaded once too much has."""
        if len(self._pending) > MAX_NOTICES:
            raise Overloaded("too many unread notices")
        taken, self._pending = self._pending, []
        return taken


class Notices:
    """Passes every notice to every front end; each knows its viewers."""

    def __init__(self) -> None:
        self._inboxes: list[Inbox] = []

    @contextmanager
    def inbox(self, wake: Callable[[], None]) -> Iterator[Inbox]:
        """A share of what is told as long as the block lasts. `wake` is called for each notice."""
        made = Inbox(wake)
        self._inboxes.append(made)
        try:
            yield made
        finally:
            self._inboxes.remove(made)

    def put(self, notice: mesh_pb2.Notice) -> None:
        """Pass a notice on."""
        for inbox in self._inboxes:
            inbox.put(notice)

    def tell(self, topic: str, method: str) -> None:
        """Pass on that something has happened, and nothing more."""
        self.put(mesh_pb2.Notice(topic=topic, method=method, params_json=b"{}"))
