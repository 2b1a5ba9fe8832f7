"""Outgoing frames of a stream, batched: one write per batch decides the throughput.

The queue is bounded in bytes; its policy is *end the stream*, since both ends can link again and resume.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

from google.protobuf.message import Message

from hyperpi.errors import Overloaded

Frame = TypeVar("Frame", bound=Message)

BATCH_BYTES = 512 << 10  # a message above 4 MiB kills a gRPC stream; half a MiB is already one write in 2,000
MAX_QUEUED_BYTES = 32 << 20  # minutes of control frames; a peer this far behind is not reading


class FrameQueue(Generic[Frame]):
    """Frames in order, taken in batches by the stream's one writer."""

    def __init__(self, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        self.wake = asyncio.Event()
        self._frames: deque[tuple[int, Frame]] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._overflow = False

    def put(self, frame: Frame) -> None:
        """Queue a frame. When the queue is full the stream ends instead: `take` raises Overloaded."""
        size = frame.ByteSize()
        if self._bytes + size > self._max_bytes:
            self._overflow = True
        else:
            self._frames.append((size, frame))
            self._bytes += size
        self.wake.set()

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
        return batch
