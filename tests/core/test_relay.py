"""Frames about copies pass the hypivisor under the name of the node that the link proves, bounded, unkept."""

from dataclasses import dataclass, field

import pytest

from hyperpi.address import NodeId
from hyperpi.frames import MAX_LANE_BYTES, FrameQueue
from hyperpi.mesh_view import MeshView
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from hypivisor import relay
from hypivisor.registry import Registry

DEN, ATTIC, AWAY = NodeId("n-den"), NodeId("n-attic"), NodeId("n-away")


@dataclass
class End:
    node: NodeId
    queue: FrameQueue[mesh_pb2.HypivisorFrame] = field(default_factory=FrameQueue)

    def got(self) -> list[mesh_pb2.Mirror]:
        found = []
        while frames := self.queue.take():
            found += [frame.mirror for frame in frames]
        return found


@pytest.fixture
def registry() -> Registry:
    made = Registry(MeshView("home", "r-1"))
    made.link(DEN, "den", 1, {}, 0.0, 0.0)
    made.link(ATTIC, "attic", 1, {}, 0.0, 0.0)
    made.remember(AWAY, "away", {}, 0.0)
    return made


@pytest.fixture
async def ends() -> dict[NodeId, End]:
    return {DEN: End(DEN), ATTIC: End(ATTIC)}


@pytest.fixture
def grants() -> relay.Grants:
    return relay.Grants(lambda: 100.0)


def frame(node: NodeId, **body: object) -> mesh_pb2.Mirror:
    return mesh_pb2.Mirror(node=node, name="somebody else", stream=7, **(body or {"ack": {"bytes": 5}}))


async def test_a_frame_says_who_sent_it_whatever_its_sender_claims(registry, grants, ends):
    sent = frame(ATTIC)
    relay.pass_on(registry, grants, ends, ends[DEN], sent)
    (got,) = ends[ATTIC].got()
    assert (got.node, got.name, got.stream, got.ack.bytes) == (DEN, "den", 7, 5)
    assert ends[DEN].got() == []


@pytest.mark.parametrize(
    ("node", "why"), [(AWAY, "away is disconnected"), (NodeId("n-x"), "not in this mesh")]
)
async def test_who_cannot_be_reached_is_told_to_the_sender(registry, grants, ends, node, why):
    relay.pass_on(registry, grants, ends, ends[DEN], frame(node))
    (got,) = ends[DEN].got()
    assert (got.node, got.stream) == (node, 7) and why in got.end.reason


async def test_an_end_is_not_answered(registry, grants, ends):
    relay.pass_on(registry, grants, ends, ends[DEN], frame(AWAY, end={"reason": "enough"}))
    assert ends[DEN].got() == []


async def test_a_node_gets_no_copy_of_another_ones_disk(registry, grants, ends):
    relay.pass_on(registry, grants, ends, ends[DEN], frame(ATTIC, want={"of": AWAY}))
    assert ends[ATTIC].got() == []
    assert "for an admin to hand over" in ends[DEN].got()[0].end.reason
    for own in ("", DEN):
        relay.pass_on(registry, grants, ends, ends[DEN], frame(ATTIC, want={"of": own}))
    assert [got.node for got in ends[ATTIC].got()] == [DEN, DEN]


async def test_too_much_for_one_machine_is_refused_and_no_queue_grows(registry, grants, ends):
    for _ in range(100):
        relay.pass_on(registry, grants, ends, ends[DEN], frame(ATTIC, piece={"content": b"x" * 65_536}))
    passed = ends[ATTIC].got()
    assert sum(one.ByteSize() for one in passed) <= MAX_LANE_BYTES
    refused = ends[DEN].got()
    assert refused and all("too much" in one.end.reason for one in refused)
    assert len(passed) + len(refused) == 100


async def test_an_admin_may_hand_a_copy_to_another_machine_for_a_while(registry, ends):
    now = 100.0
    grants = relay.Grants(lambda: now)
    grants.allow(AWAY, DEN)
    relay.pass_on(registry, grants, ends, ends[DEN], frame(ATTIC, want={"of": AWAY}))
    assert [got.want.of for got in ends[ATTIC].got()] == [AWAY]
    relay.pass_on(registry, grants, ends, ends[ATTIC], frame(DEN, want={"of": AWAY}))
    assert ends[DEN].got() == [], "the other one was not allowed"
    now += relay.GRANT_S
    relay.pass_on(registry, grants, ends, ends[DEN], frame(ATTIC, want={"of": AWAY}))
    assert [got.WhichOneof("body") for got in ends[ATTIC].got()] == ["end"]
