"""Events that a node has not acknowledged, numbered from 1 per instance. Pure: knows nothing of sockets.

Bounded by count and size. Over a bound all of it is dropped: the node sees the hole in the numbers, begins a
new ring and asks for a snapshot, which holds it anyway.
"""

from collections import deque
from dataclasses import dataclass

from hyperpi.contract import Json
from hyperpi.strict_json import encode

MAX_EVENTS = 5_000
MAX_BYTES = 4 << 20
BATCH_EVENTS = 256
BATCH_BYTES = 600_000  # a line has 1 MiB, and an event is a quarter of that at most
MERGED_CHARS = 16_384  # a delta grows by merging up to this

DELTAS = frozenset({"text_delta", "thinking_delta"})


@dataclass(slots=True)
class _Kept:
    event: Json
    size: int  # bytes, encoded


class Unacked:
    """What was told and may have to be told again. The last event has the number `next - 1`; no holes."""

    def __init__(self) -> None:
        self._next = 1
        self._kept: deque[_Kept] = deque()
        self._bytes = 0
        self._unsent = 1  # the first event that was not taken since the last `resume`

    @property
    def _first(self) -> int:
        return self._next - len(self._kept)

    def offer(self, event: Json) -> None:
        """Number and keep an event. A delta that goes on where the newest, still unsent one ends joins it."""
        last = self._kept[-1] if self._kept and self._unsent < self._next else None
        if last is not None and _goes_on(last.event, event):
            last.event = {**last.event, "delta": last.event["delta"] + event["delta"]}
            grown = len(encode(event["delta"])) - 2
            last.size += grown
            self._bytes += grown
        else:
            size = len(encode(event))
            self._kept.append(_Kept(event, size))
            self._next += 1
            self._bytes += size
        if len(self._kept) > MAX_EVENTS or self._bytes > MAX_BYTES:
            self.clear()

    def take(self) -> tuple[int, list[Json]] | None:
        """The next events that were not taken yet, and the number of the first; None when there are none."""
        batch: list[Json] = []
        size = 0
        start = self._unsent - self._first
        for place in range(start, min(start + BATCH_EVENTS, len(self._kept))):
            kept = self._kept[place]
            if batch and size + kept.size > BATCH_BYTES:
                break
            size += kept.size
            batch.append(kept.event)
        if not batch:
            return None
        first = self._unsent
        self._unsent += len(batch)
        return first, batch

    def acknowledge(self, number: int) -> None:
        """Everything up to this number is safe with the node."""
        while self._kept and self._first <= number:
            self._bytes -= self._kept.popleft().size
        self._unsent = max(self._unsent, self._first)

    def resume(self, acked: int) -> None:
        """A new connection: all that the node does not have is to be taken again.

        A number beyond our last one means that the node knows this instance from an earlier life; counting
        goes on behind it, so that nothing new is taken for a repetition.
        """
        if acked >= self._next:
            self._next = acked + 1 + len(self._kept)
        else:
            self.acknowledge(acked)
        self._unsent = self._first

    def clear(self) -> None:
        """Drop everything; its numbers are not used again."""
        self._kept.clear()
        self._bytes = 0
        self._unsent = self._next


def _goes_on(last: Json, event: Json) -> bool:
    return (
        event["type"] in DELTAS
        and last["type"] == event["type"]
        and last["message_id"] == event["message_id"]
        and last["block"] == event["block"]
        and len(last["delta"]) < MERGED_CHARS
    )
