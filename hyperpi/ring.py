"""A bounded log of encoded events with an epoch and contiguous seq: the node's log, and its mirrors.

Readers hold a cursor, never a queue: what a slow one has not read costs nothing but the ring itself. Pure:
no clock, no I/O, no tasks.
"""

import bisect
from collections.abc import Callable, Iterable, Sequence

from hyperpi.errors import CursorCompacted
from hyperpi.event import Cursor

MAX_RING_BYTES = 4 << 20  # a viewer may be 1 MiB behind and still get every delta
MAX_RING_EVENTS = 20_000
EVENT_OVERHEAD_BYTES = 100  # of one small bytes object in a deque


class Ring:
    """Events (oldest, head] of one epoch. Appending beyond the bounds forgets the oldest."""

    def __init__(
        self,
        epoch: str,
        head: int = 0,
        *,
        max_bytes: int = MAX_RING_BYTES,
        max_events: int = MAX_RING_EVENTS,
    ) -> None:
        self.epoch = epoch
        self.head = head  # seq of the newest event, or where the log begins
        self._events: list[bytes] = []
        self._ends: list[int] = []  # bytes ever written, up to and including each event
        self._start = 0  # index of the oldest event still held; what lies before it is dropped in bulk
        self._written_bytes = 0
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._listeners: set[Callable[[], None]] = set()
        self._shared: tuple[int, int, bytes] | None = None

    @property
    def oldest(self) -> int:
        """A cursor at this seq still gets everything after it."""
        return self.head - (len(self._events) - self._start)

    def append(self, event: bytes) -> None:
        """Add the event whose seq is head + 1."""
        self.head += 1
        self._written_bytes += len(event) + EVENT_OVERHEAD_BYTES
        self._events.append(event)
        self._ends.append(self._written_bytes)
        while len(self._events) - self._start > 1 and self._is_over():
            self._events[self._start] = b""
            self._start += 1
        if self._start > 1_000 and self._start * 2 > len(self._events):
            del self._events[: self._start], self._ends[: self._start]
            self._start = 0

    def _is_over(self) -> bool:
        before_oldest = self._ends[self._start - 1] if self._start else self._ends[0] - len(self._events[0])
        held_bytes = self._written_bytes - before_oldest
        return held_bytes > self._max_bytes or len(self._events) - self._start > self._max_events

    def extend(self, first_seq: int, events: Sequence[bytes]) -> None:
        """Add a run from elsewhere; what is already here is skipped. Raises CursorCompacted on a hole."""
        if first_seq > self.head + 1:
            raise CursorCompacted(f"events {self.head + 1} to {first_seq - 1} are missing")
        for event in events[self.head + 1 - first_seq :]:
            self.append(event)
        self.wake()

    def holds(self, cursor: Cursor) -> bool:
        """Whether everything after the cursor is still here."""
        return cursor.epoch == self.epoch and self.oldest <= cursor.seq <= self.head

    def since(self, seq: int, max_bytes: int) -> list[bytes]:
        """The events after seq, as many as fit max_bytes (at least one). Raises CursorCompacted."""
        if seq < self.oldest:
            raise CursorCompacted(f"events before {self.oldest + 1} are no longer held")
        first = self._start + seq - self.oldest
        if first >= len(self._events):
            return []
        limit = self._ends[first] + max_bytes
        return self._events[first : max(first + 1, bisect.bisect_right(self._ends, limit, first))]

    def joined(self, seq: int, max_bytes: int) -> tuple[int, bytes]:
        """The events after seq joined by commas, and the seq of the last: viewers in step share the bytes."""
        if self._shared is not None and self._shared[0] == seq and self._shared[1] == self.head:
            return self.head, self._shared[2]
        events = self.since(seq, max_bytes)
        frame = b",".join(events)
        last = seq + len(events)
        if last == self.head:
            self._shared = (seq, last, frame)
        return last, frame

    def lag_bytes(self, seq: int) -> int:
        """How much a reader at seq has still to read, overheads included."""
        if seq >= self.head:
            return 0
        first = self._start + max(seq - self.oldest, 0)
        return self._written_bytes - self._ends[first] + len(self._events[first]) + EVENT_OVERHEAD_BYTES

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every `wake()`; a set, so the same listener counts once."""
        self._listeners.add(wake)

    def unlisten(self, wake: Callable[[], None]) -> None:
        """Stop calling `wake`."""
        self._listeners.discard(wake)

    def wake(self) -> None:
        """Tell every reader that there is something new, or that the ring is over."""
        for listener in tuple(self._listeners):
            listener()


def chunked(events: Iterable[bytes], max_bytes: int) -> Iterable[list[bytes]]:
    """Split events into lists of at most max_bytes (at least one event each)."""
    chunk: list[bytes] = []
    size = 0
    for event in events:
        if chunk and size + len(event) > max_bytes:
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += len(event)
    if chunk:
        yield chunk
