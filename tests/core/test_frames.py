"""Frames of one stream: batches in order, bulk behind them, everything bounded."""

import pytest

from hyperpi.errors import Overloaded
from hyperpi.frames import BATCH_BYTES, MAX_LANE_BYTES, FrameQueue
from hyperpi.wire.hyperpi.v1 import mesh_pb2


def bulk(stream: int, size: int = 1000) -> mesh_pb2.HypivisorFrame:
    piece = mesh_pb2.MirrorPiece(content=b"x" * size)
    return mesh_pb2.HypivisorFrame(mirror=mesh_pb2.Mirror(stream=stream, piece=piece))


def beat(count: int) -> mesh_pb2.HypivisorFrame:
    return mesh_pb2.HypivisorFrame(heartbeat=mesh_pb2.Heartbeat(count=count))


def drained(queue: FrameQueue[mesh_pb2.HypivisorFrame]) -> list[list[int]]:
    """All batches: counts of beats, and streams of bulk as negative numbers."""
    batches = []
    while frames := queue.take():
        batches.append([f.heartbeat.count if f.HasField("heartbeat") else -f.mirror.stream for f in frames])
    return batches


async def test_what_is_urgent_goes_first_and_one_frame_of_bulk_with_each_batch() -> None:
    queue: FrameQueue[mesh_pb2.HypivisorFrame] = FrameQueue()
    for stream in (1, 1, 1):
        queue.put_bulk("den", bulk(stream))
    for count in (1, 2, 3):
        queue.put(beat(count))
    assert queue.wake.is_set()
    assert drained(queue) == [[1, 2, 3, -1], [-1], [-1]]


async def test_lanes_take_turns() -> None:
    queue: FrameQueue[mesh_pb2.HypivisorFrame] = FrameQueue()
    for stream in (11, 12, 13):
        queue.put_bulk("den", bulk(stream))
    queue.put_bulk("attic", bulk(21))
    queue.put_bulk("cellar", bulk(31))
    queue.put_bulk("attic", bulk(22))
    assert drained(queue) == [[-11], [-21], [-31], [-12], [-22], [-13]]


async def test_a_full_lane_refuses_and_harms_neither_the_others_nor_the_stream() -> None:
    queue: FrameQueue[mesh_pb2.HypivisorFrame] = FrameQueue()
    taken = 0
    while queue.put_bulk("den", bulk(1, 65_536)):
        taken += 65_536
    assert MAX_LANE_BYTES - 131_072 < taken <= MAX_LANE_BYTES
    assert queue.put_bulk("attic", bulk(2))
    queue.put(beat(1))
    batches = drained(queue)
    assert batches[0][0] == 1 and [-2] in batches
    assert queue.put_bulk("den", bulk(1)), "there is room again"


async def test_bulk_keeps_moving_while_there_is_always_something_urgent() -> None:
    queue: FrameQueue[mesh_pb2.HypivisorFrame] = FrameQueue()
    notice = mesh_pb2.HypivisorFrame(reply=mesh_pb2.Reply(call=1, result_json=b"x" * (BATCH_BYTES // 2)))
    for _ in range(4):
        queue.put_bulk("den", bulk(1, 65_536))
    seen = 0
    for _ in range(4):
        queue.put(notice)
        queue.put(notice)
        batch = queue.take()
        assert sum(frame.ByteSize() for frame in batch) < 2 * BATCH_BYTES
        seen += sum(frame.HasField("mirror") for frame in batch)
    assert seen == 4


async def test_bulk_does_not_hide_an_overflow() -> None:
    queue: FrameQueue[mesh_pb2.HypivisorFrame] = FrameQueue(max_bytes=10)
    queue.put_bulk("den", bulk(1))
    queue.put(mesh_pb2.HypivisorFrame(reply=mesh_pb2.Reply(call=1, result_json=b"x" * 100)))
    with pytest.raises(Overloaded):
        queue.take()
