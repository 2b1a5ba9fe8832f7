"""The hypivisor's side of a link: whoever asks for an agent's events gets them, whoever leaves meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hyperpi.address import AgentId, NodeId
from hyperpi.errors import BadMessage, NodeUnreachable, NotFound
from hyperpi.event import Cursor, Reset
from hyperpi.mesh_view import MeshView
from hyperpi.roles import Caller
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from hypivisor.bank_demand import Bank
from hypivisor.link_service import LinkService
from hypivisor.node_link import NodeLink
from hypivisor.registry import Registry

DEN, LEAD = NodeId("n-den"), AgentId("a-lead")
REPORT = b'{"id":"a-lead","name":"lead","state":"idle","detail":null}'
MESH = "abcdefghijklmnop"


class Watching:
    """A front end's stream."""

    def __init__(self, viewers: int = 1) -> None:
        self.viewers = viewers
        self.seqs: list[int] = []
        self.gone = False
        self.resets: list[Reset] = []

    def events(self, run: mesh_pb2.EventRun) -> None:
        self.seqs += range(run.first_seq, run.first_seq + len(run.events_json))

    def reset(self, reset: Reset) -> None:
        self.resets.append(reset)

    def node_gone(self) -> None:
        self.gone = True


class SmallNode:
    """Answers a link as a node does, when told to: until then frames are on their way."""

    def __init__(self, service: LinkService, link: NodeLink) -> None:
        self._service = service
        self._link = link
        self.head = 0
        self.sent = 0  # up to here everything went to whoever watches
        self.watched = False
        self.viewers = 0
        self._on_their_way: list[mesh_pb2.NodeFrame] = []

    def emit(self) -> None:
        """Something happens."""
        self.head += 1
        if self.watched:
            self._events(self.sent, 0)
            self.sent = self.head

    def take(self) -> None:
        """Read everything that the hypivisor has sent."""
        for frame in self._link.queue.take():
            kind = frame.WhichOneof("frame")
            if kind == "subscribe":
                self._subscribe(frame.subscribe)
            elif kind == "unsubscribe":
                self.watched = False
            elif kind == "viewers":
                self.viewers = frame.viewers.viewers

    def arrive(self) -> None:
        """What is on its way to the hypivisor arrives."""
        frames, self._on_their_way = self._on_their_way, []
        for frame in frames:
            self._service._take(self._link, frame)

    def _subscribe(self, wanted: mesh_pb2.Subscribe) -> None:
        start = wanted.seq if wanted.epoch else self.head
        opened = mesh_pb2.Subscribed(subscription=wanted.subscription, epoch="e-1", seq=start)
        self._on_their_way.append(mesh_pb2.NodeFrame(subscribed=opened))
        if not self.watched:
            self.watched, self.sent = True, start
            if start < self.head:
                self._events(start, 0)
                self.sent = self.head
        elif start < self.sent:
            self._events(start, wanted.subscription)

    def _events(self, after: int, subscription: int) -> None:
        run = mesh_pb2.EventRun(
            agent=LEAD,
            epoch="e-1",
            first_seq=after + 1,
            events_json=[b"{}"] * (self.head - after),
            subscription=subscription,
        )
        self._on_their_way.append(mesh_pb2.NodeFrame(events=run))


class NoMemory:
    async def node_seen(self, _node: NodeId, _boot: int) -> str:
        return "den"

    def roster_changed(self, node: NodeId) -> None:
        pass


class Call:
    """One node's call of Link, as grpc serves it: with a certificate, and cut when the network says so."""

    def __init__(self, service: LinkService) -> None:
        self.frames: asyncio.Queue[mesh_pb2.NodeBatch | None] = asyncio.Queue()
        self.reads = asyncio.Event()  # whether the node takes what it is sent
        self.reads.set()
        self.task = asyncio.ensure_future(service.Link(self._batches(), self))

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"peer_spiffe_id": [f"spiffe://{MESH}/node/{DEN}".encode()]}

    async def write(self, _batch: mesh_pb2.HypivisorBatch) -> None:
        await self.reads.wait()

    async def _batches(self) -> AsyncIterator[mesh_pb2.NodeBatch]:
        while (batch := await self.frames.get()) is not None:
            yield batch


@pytest.fixture
def service() -> LinkService:
    registry = Registry(MeshView("home", "r-1"))
    registry.link(DEN, "den", 1, {}, 0.0, 0.0)
    registry.replace_agents(DEN, [{"id": LEAD, "name": "lead", "state": "idle", "detail": None}])
    memory = NoMemory()
    return LinkService(
        registry,
        memory,  # type: ignore[arg-type]  # a test of streams remembers nothing
        mesh_id=MESH,
        mesh_name="home",
        home=lambda: DEN,
        notice=lambda _: None,
    )


@pytest.fixture
def node(service: LinkService) -> SmallNode:
    link = service.links[DEN] = NodeLink(DEN)
    return SmallNode(service, link)


async def asked(service: LinkService, watcher: Watching, cursor: Cursor | None = None) -> asyncio.Task:
    task = asyncio.ensure_future(service.watch(LEAD, cursor, watcher))
    await asyncio.sleep(0)
    return task


async def watching(
    service: LinkService, node: SmallNode, watcher: Watching, cursor: Cursor | None = None
) -> None:
    task = await asked(service, watcher, cursor)
    node.take()
    node.arrive()
    await task
    node.take()


async def test_a_watcher_gets_everything_after_its_cursor_once(service, node):
    first, second = Watching(), Watching()
    await watching(service, node, first)
    for _ in range(3):
        node.emit()
    node.arrive()
    await watching(service, node, second, Cursor("e-1", 1))
    node.emit()
    node.arrive()

    assert first.seqs == [1, 2, 3, 4]
    assert second.seqs == [2, 3, 4]


async def test_the_node_stops_sending_when_the_last_watcher_leaves(service, node):
    watcher = Watching()
    await watching(service, node, watcher)
    assert service.registry.watchers == {LEAD: 1}
    service.unwatch(LEAD, watcher)
    service.unwatch(LEAD, watcher)
    node.take()
    assert not node.watched and service.registry.watchers == {}


async def test_a_node_is_told_how_many_follow_its_agent_over_all_front_ends(service, node):
    one, other = Watching(3), Watching(2)
    await watching(service, node, one)
    await watching(service, node, other)
    assert service.registry.watchers == {LEAD: 5} and node.viewers == 5
    one.viewers = 1
    service.count(LEAD)
    node.take()
    assert service.registry.watchers == {LEAD: 3} and node.viewers == 3
    service.unwatch(LEAD, other)
    node.take()
    assert service.registry.watchers == {LEAD: 1} and node.viewers == 1


async def test_the_viewers_of_an_agent_never_add_up_to_what_no_frame_can_say(service, node):
    one, two = Watching(viewers=2**32 - 1), Watching(viewers=2**32 - 1)
    await watching(service, node, one)
    await watching(service, node, two)
    assert service.registry.watchers == {LEAD: 1_000_000} and node.viewers == 1_000_000


async def test_who_asks_while_the_last_watcher_leaves_gets_events(service, node):
    leaving, coming = Watching(), Watching()
    await watching(service, node, leaving)
    task = await asked(service, coming)
    service.unwatch(LEAD, leaving)
    node.take()
    node.arrive()
    await task
    node.emit()
    node.take()
    node.arrive()

    assert coming.seqs == [1]


async def test_events_that_were_on_their_way_cost_a_newcomer_nothing(service, node):
    leaving, coming = Watching(), Watching()
    await watching(service, node, leaving)
    node.emit()  # on its way when nobody watches any more
    service.unwatch(LEAD, leaving)
    node.take()
    assert not node.watched
    task = await asked(service, coming, Cursor("e-1", 0))
    node.arrive()
    node.take()
    node.arrive()
    await task
    node.emit()
    node.take()
    node.arrive()

    assert coming.seqs == [1, 2]


async def test_a_newcomer_that_gives_up_does_not_leave_the_node_sending(service, node):
    coming = Watching()
    task = await asked(service, coming)
    node.take()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    node.take()
    node.arrive()
    node.emit()
    node.arrive()
    node.take()

    assert not node.watched and coming.seqs == []


async def test_watchers_are_told_that_an_epoch_is_over_and_that_a_node_has_gone(service, node):
    watcher = Watching()
    await watching(service, node, watcher)
    service._take(
        service.links[DEN],
        mesh_pb2.NodeFrame(reset=mesh_pb2.StreamReset(agent=LEAD, epoch="e-2", reason="new")),
    )
    assert watcher.resets == [Reset("e-2", "new")]
    service._closed(service.links[DEN])
    assert watcher.gone


async def test_an_agent_that_nobody_has_or_whose_node_is_away_cannot_be_watched(service):
    with pytest.raises(NodeUnreachable, match="den is online"):
        await service.watch(LEAD, None, Watching())
    with pytest.raises(NotFound):
        await service.watch(AgentId("a-none"), None, Watching())
    assert service.demand.watched() == ()


async def linked(service: LinkService) -> Call:
    """A node's stream, welcomed."""
    call = Call(service)
    hello = mesh_pb2.NodeFrame(hello=mesh_pb2.Hello(protocol=1, boot=2))
    call.frames.put_nowait(mesh_pb2.NodeBatch(frames=[hello]))
    async with asyncio.timeout(5):
        while DEN not in service.links:
            await asyncio.sleep(0)
    return call


@pytest.mark.parametrize("turns", range(8))
async def test_a_call_that_is_cut_at_any_moment_of_its_end_leaves_no_node_that_seems_online(service, turns):
    call = await linked(service)
    call.frames.put_nowait(None)
    for _ in range(turns):
        await asyncio.sleep(0)
    call.task.cancel()
    await asyncio.gather(call.task, return_exceptions=True)

    assert service.links == {}
    assert service.registry.nodes[DEN].state == "disconnected"


async def test_who_watches_over_a_stream_that_a_newer_one_replaces_is_told_to_ask_again(service, node):
    watcher = Watching()
    await watching(service, node, watcher)
    bank = asyncio.ensure_future(service.banks.watch(Bank(DEN, 8), whole=False))
    await asyncio.sleep(0)
    (asked,) = [
        f.watch_bank for f in service.links[DEN].queue.take() if f.WhichOneof("frame") == "watch_bank"
    ]
    service.links[DEN].replied(mesh_pb2.Reply(call=asked.call, result_json=b"{}"))
    looking = await bank
    older = service.links[DEN]
    hello = mesh_pb2.Hello(protocol=1, boot=2, agents=[mesh_pb2.AgentReport(agent=LEAD, agent_json=REPORT)])
    call = Call(service)
    call.frames.put_nowait(mesh_pb2.NodeBatch(frames=[mesh_pb2.NodeFrame(hello=hello)]))
    async with asyncio.timeout(5):
        while not (watcher.gone and looking.gone):
            await asyncio.sleep(0)
    assert service.links[DEN] is not older
    call.task.cancel()
    await asyncio.gather(call.task, return_exceptions=True)


async def test_a_node_that_is_cut_is_out_at_this_moment_although_it_reads_nothing(service, monkeypatch):
    monkeypatch.setattr("hypivisor.link_service.GOODBYE_S", 0.01)
    call = await linked(service)
    link = service.links[DEN]
    call.reads.clear()
    link.send(heartbeat=mesh_pb2.Heartbeat(count=1))
    await asyncio.sleep(0)
    service.cut(DEN, "revoked")
    assert link.over.is_set() and service.links == {}
    assert service.registry.nodes[DEN].state == "disconnected"
    service.registry.forget(DEN)
    call.frames.put_nowait(mesh_pb2.NodeBatch(frames=[mesh_pb2.NodeFrame(status=mesh_pb2.NodeStatus())]))
    async with asyncio.timeout(5):
        await call.task


async def test_a_node_that_does_not_read_for_long_is_cut(service, monkeypatch):
    monkeypatch.setattr("hypivisor.link_service.DISCONNECTED_S", 0.01)
    call = await linked(service)
    call.reads.clear()
    service.links[DEN].send(heartbeat=mesh_pb2.Heartbeat(count=1))
    async with asyncio.timeout(5):
        await call.task
    assert service.registry.nodes[DEN].state == "disconnected"


# --- a node that would speak for others ------------------------------------------------------------------

BREAKOUT = b'{"seq":1}]},"method":"mesh.changed","params":{"spoofed":[true'


@pytest.mark.parametrize("raw", [BREAKOUT, b"", b'{"seq":1', b'{"text":"\xff"}', b"{}{}", b"[" * 100_000])
@pytest.mark.parametrize("subscription", [0, 1])
async def test_events_that_reach_beyond_their_place_are_not_passed_on(service, node, raw, subscription):
    watcher = Watching()
    await watching(service, node, watcher)
    run = mesh_pb2.EventRun(
        agent=LEAD, epoch="e-1", first_seq=1, events_json=[b"{}", raw], subscription=subscription
    )
    with pytest.raises(BadMessage):
        service._take(service.links[DEN], mesh_pb2.NodeFrame(events=run))
    assert watcher.seqs == []


@pytest.mark.parametrize("epoch", ['e","method":"x', "e\n", "e" * 65])
async def test_an_epoch_is_a_name_and_nothing_else(service, node, epoch):
    link = service.links[DEN]
    for frame in (
        mesh_pb2.NodeFrame(events=mesh_pb2.EventRun(agent=LEAD, epoch=epoch)),
        mesh_pb2.NodeFrame(reset=mesh_pb2.StreamReset(agent=LEAD, epoch=epoch)),
        mesh_pb2.NodeFrame(subscribed=mesh_pb2.Subscribed(subscription=1, epoch=epoch)),
    ):
        with pytest.raises(BadMessage):
            service._take(link, frame)


async def test_a_result_that_is_no_json_is_an_error_of_that_call(service):
    link = service.links[DEN] = NodeLink(DEN)
    asking = asyncio.ensure_future(link.call("agent.show", b"{}", Caller("ann", "viewer", "pide"), 5))
    await asyncio.sleep(0)
    [frame] = link.queue.take()
    link.replied(mesh_pb2.Reply(call=frame.call.call, result_json=b'{}},"method":"mesh.changed"'))
    with pytest.raises(BadMessage):
        await asking


@pytest.mark.parametrize("row", [(9, BREAKOUT), (70_000, b"{}"), (9, b'{"kind":"' + b"x" * 600 + b'"}')])
async def test_rows_that_no_bank_has_are_not_passed_on(service, row):
    rows = mesh_pb2.BankRows(bank=8, rows=[mesh_pb2.BankRow(row=row[0], row_json=row[1])])
    with pytest.raises(BadMessage):
        service._take(NodeLink(DEN), mesh_pb2.NodeFrame(bank_rows=rows))
