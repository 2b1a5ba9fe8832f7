"""Outgoing frames of a stream, batched: one write per batch decides the throughput.

The queue is bounded in bytes; its policy is *end the stream*, since both ends can link again and resume.
Bulk, which may wait, has lanes of its own behind everything else; their policy is *refuse*.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from google.protobuf.message import Message

from hyperpi.errors import Overloaded

Frame = TypeVar("Frame", bound=Message)

BATCH_BYTES = 512 << 10  # a message above 4 MiB kills a gRPC stream; half a MiB is already one write in 2,000
MAX_QUEUED_BYTES = 32 << 20  # minutes of control frames; a peer this far behind is not reading
MAX_LANE_BYTES = 1 << 20  # of bulk from one sender: several times what an honest one has under way


class FrameQueue(Generic[Frame]):
    """Frames in order, taken in batches by the stream's one writer."""

    def __init__(self, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        self.wake = asyncio.Event()
        self._frames: deque[tuple[int, Frame]] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._overflow = False
        self._lanes: dict[str, deque[tuple[int, Frame]]] = {}  # the one whose turn is next comes first
        self._lane_bytes: dict[str, int] = {}

    def put(self, frame: Frame) -> None:
        """Queue a frame. When the queue is full the stream ends instead: `take` raises Overloaded."""
        size = frame.ByteSize()
        if self._bytes + size > self._max_bytes:
            self._overflow = True
        else:
            self._frames.append((size, frame))
            self._bytes += size
        self.wake.set()

    def put_bulk(self, lane: str, frame: Frame) -> bool:
        """Queue a frame that may wait; False when its lane is full. Lanes take turns, a frame a batch."""
        size = frame.ByteSize()
        waiting = self._lane_bytes.get(lane, 0)
        if waiting + size > MAX_LANE_BYTES:
            return False
        self._lanes.setdefault(lane, deque()).append((size, frame))
        self._lane_bytes[lane] = waiting + size
        self.wake.set()
        return True

    def take(self) -> list[Frame]:
        """The next batch, maybe empty. Raises Overloaded once the queue has overflowed."""
        if self._overflow:
            raise Overloaded("the other side does not keep up")
        batch: list[Frame] = []
        size = 0
        while self._frames and (not batch or size + self._frames[0][0] <= BATCH_BYTES):
            frame_size, frame = self._frames.popleft()
            batch.append(frame)
            size += frame_size
        self._bytes -= size
        if self._lanes:
            batch.append(self._take_bulk())
        return batch

    def _take_bulk(self) -> Frame:
        lane = next(iter(self._lanes))
        waiting = self._lanes.pop(lane)
        size, frame = waiting.popleft()
        self._lane_bytes[lane] -= size
        if waiting:
            self._lanes[lane] = waiting  # behind the others
        else:
            del self._lane_bytes[lane]
        return frame
