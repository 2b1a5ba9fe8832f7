"""The node's side of a link: what is sent of many busy agents at once."""

import inspect
import json

import pytest

from hyperpi.errors import CursorCompacted
from hyperpi.frames import BATCH_BYTES, FrameQueue
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.agents import Agents
from node.link import Link
from node.roster import Roster

GRPC_BYTES = 4 << 20  # a larger message ends the stream


@pytest.fixture
def agents() -> Agents:
    roster = Roster()
    for number in range(20):
        roster.expect(
            instance=f"i-{number}",
            kind="pi",
            name="site",
            cwd="/",
            project=None,
            request_id=f"r-{number}",
            now=1.0,
        )
    return Agents(roster, node="n-den", node_name="den")


@pytest.fixture
async def link(agents: Agents) -> Link:
    """A link with an open stream that nothing reads yet."""
    parameters = inspect.signature(Link).parameters.values()
    parts = {p.name: lambda *_: None for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    made = Link(agents, None, None, None, **parts)  # type: ignore[arg-type]  # no part of it is asked here
    made._queue = FrameQueue()
    return made


def emit(agents: Agents, agent: str, count: int, size: int) -> None:
    log = agents.log_of(agent)
    event = json.dumps({"type": "text_delta", "message_id": "m", "block": 0, "delta": "x" * size}).encode()
    log.ingest(log.acked + 1, [event] * count, "2026-01-05T10:00:00.000Z")


def subscribe(link: Link, agent: str, number: int, epoch: str = "", seq: int = 0) -> None:
    link._streams.subscribe(mesh_pb2.Subscribe(subscription=number, agent=agent, epoch=epoch, seq=seq))


def batches(link: Link) -> list[list[mesh_pb2.NodeFrame]]:
    """Everything that is to be sent, as the writer would send it."""
    found = []
    while frames := link._pending(link._queue):
        found.append(frames)
    return found


async def test_what_many_busy_agents_have_to_say_fits_the_stream_and_none_waits_for_the_others(link, agents):
    ids = [record.id for record in agents.roster]
    for number, agent in enumerate(ids):
        epoch = agents.log_of(agent).ring.epoch
        emit(agents, agent, 40, 50_000)
        subscribe(link, agent, number + 1, epoch, 0)

    sent: dict[str, list[int]] = {agent: [] for agent in ids}
    all_batches = batches(link)
    for frames in all_batches:
        assert mesh_pb2.NodeBatch(frames=frames).ByteSize() < GRPC_BYTES / 2
        for frame in frames:
            if frame.WhichOneof("frame") == "events":
                run = frame.events
                sent[run.agent] += range(run.first_seq, run.first_seq + len(run.events_json))
    assert all(seqs == list(range(1, 41)) for seqs in sent.values())

    begun = [f.events.agent for frames in all_batches for f in frames if f.WhichOneof("frame") == "events"]
    assert set(begun[: len(ids)]) == set(ids)


async def test_a_late_watcher_is_sent_what_it_lacks_alone_and_then_what_all_get(link, agents):
    agent = next(iter(agents.roster)).id
    epoch = agents.log_of(agent).ring.epoch
    subscribe(link, agent, 1)
    emit(agents, agent, 3, 10)
    batches(link)
    subscribe(link, agent, 2, epoch, 1)
    emit(agents, agent, 1, 10)
    runs = [f.events for frames in batches(link) for f in frames if f.WhichOneof("frame") == "events"]
    assert [(run.subscription, run.first_seq, len(run.events_json)) for run in runs] == [(2, 2, 2), (0, 4, 1)]


async def test_a_cursor_of_another_epoch_begins_at_the_head_with_a_gap(link, agents):
    agent = next(iter(agents.roster)).id
    emit(agents, agent, 3, 10)
    subscribe(link, agent, 1, "e-other", 2)
    (opened,) = [f.subscribed for frames in batches(link) for f in frames]
    assert (opened.gap, opened.seq, opened.epoch) == (True, 3, agents.log_of(agent).ring.epoch)


async def test_a_ring_that_outran_the_link_ends_the_watch_instead_of_leaving_a_hole(link, agents):
    agent = next(iter(agents.roster)).id
    subscribe(link, agent, 1)
    batches(link)
    emit(agents, agent, 30, BATCH_BYTES // 2)
    with pytest.raises(CursorCompacted):
        agents.log_of(agent).ring.since(0, 1)
    kinds = [f.WhichOneof("frame") for frames in batches(link) for f in frames]
    assert kinds == ["reset"]
    emit(agents, agent, 1, 10)
    assert batches(link) == []
