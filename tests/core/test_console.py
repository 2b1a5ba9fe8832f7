"""A front end's view of the mesh over a real Console socket: what it mirrors, and how it comes back."""

import asyncio
import contextlib
import gc
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from hyperpi.address import AgentId, NodeId
from hyperpi.bank_mirror import MirroredBank
from hyperpi.console_client import ConsoleClient, Mirror, local_channel
from hyperpi.errors import AmbiguousName, HyperPiError, NodeUnreachable, NotFound
from hyperpi.event import Cursor
from hyperpi.frames import FrameQueue
from hyperpi.mesh_view import MeshView
from hyperpi.roles import Caller
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import console_pb2, console_pb2_grpc, mesh_pb2
from hypivisor.console_service import ConsoleService
from hypivisor.link_service import LinkService
from hypivisor.node_link import NodeLink
from hypivisor.notices import Notices
from hypivisor.registry import Registry

PATIENCE_S = 10.0
DEN, LEAD = NodeId("n-den"), AgentId("a-lead")
ANN = Caller("ann", "operator", "pide")


def agent(name: str = "lead", **more: object) -> dict[str, Any]:
    return {"id": f"a-{name}", "name": name, "state": "idle", "detail": None, **more}


class SmallNode:
    """A node that has a stream, and serves what it is asked for at once."""

    def __init__(self, service: LinkService) -> None:
        self._service = service
        self.epoch, self.head, self.oldest = "e-1", 0, 0
        self._link: NodeLink | None = None
        self._reading: asyncio.Task[None] | None = None
        self._sent: int | None = None
        self.rows = {8: {9: 0}}  # how often each row of each bank was written
        self.watched: set[int] = set()

    def join(self) -> None:
        self._sent = None
        self.watched.clear()
        self._link = self._service.links[DEN] = NodeLink(DEN)
        self._service.registry.link(DEN, "den", 1, {}, 0.0, 0.0)
        self._service.registry.replace_agents(DEN, [agent()])
        self._reading = asyncio.create_task(self._read(self._link.queue))

    async def drop(self) -> None:
        assert self._link is not None and self._reading is not None
        self._reading.cancel()
        self._service._closed(self._link)

    def emit(self, count: int = 1) -> None:
        self.head += count
        self._send_new()

    def reset(self, epoch: str, reason: str) -> None:
        self.epoch, self.head, self.oldest, self._sent = epoch, 0, 0, None
        self._say(reset=mesh_pb2.StreamReset(agent=LEAD, epoch=epoch, reason=reason))

    async def _read(self, queue: FrameQueue[mesh_pb2.HypivisorFrame]) -> None:
        while True:
            queue.wake.clear()
            for frame in queue.take():
                if frame.WhichOneof("frame") == "subscribe":
                    self._subscribe(frame.subscribe)
                elif frame.WhichOneof("frame") == "unsubscribe":
                    self._sent = None
                elif frame.WhichOneof("frame") == "watch_bank":
                    self._watch(frame.watch_bank)
                elif frame.WhichOneof("frame") == "unwatch_bank":
                    self.watched.discard(frame.unwatch_bank.bank)
            await queue.wake.wait()

    def write(self, row: int, bank: int = 8) -> None:
        self.rows[bank][row] = self.rows[bank].get(row, 0) + 1
        if bank in self.watched:
            self._tell(bank, [row])

    def _watch(self, wanted: mesh_pb2.WatchBank) -> None:
        if wanted.bank not in self.rows:
            error = convert.error_to_wire(NotFound("no such bank"))
            self._say(reply=mesh_pb2.Reply(call=wanted.call, error=error))
            return
        self.watched.add(wanted.bank)
        self._say(reply=mesh_pb2.Reply(call=wanted.call, result_json=b"{}"))
        if wanted.whole:
            self._tell(wanted.bank, list(self.rows[wanted.bank]))

    def _tell(self, bank: int, rows: list[int]) -> None:
        told = convert.rows_to_wire((row, b"%d" % self.rows[bank][row]) for row in rows)
        self._say(bank_rows=mesh_pb2.BankRows(bank=bank, rows=told))

    def _subscribe(self, wanted: mesh_pb2.Subscribe) -> None:
        held = wanted.epoch == self.epoch and self.oldest <= wanted.seq <= self.head
        start = wanted.seq if held else self.head
        opened = mesh_pb2.Subscribed(
            subscription=wanted.subscription, epoch=self.epoch, seq=start, gap=bool(wanted.epoch) and not held
        )
        self._say(subscribed=opened)
        if self._sent is None:
            self._sent = start
            self._send_new()
        elif start < self._sent:
            self._run(start, self._sent, wanted.subscription)

    def _send_new(self) -> None:
        if self._sent is not None and self._sent < self.head:
            self._run(self._sent, self.head, 0)
            self._sent = self.head

    def _run(self, after: int, until: int, subscription: int) -> None:
        events = [b'{"seq":%d}' % seq for seq in range(after + 1, until + 1)]
        run = mesh_pb2.EventRun(
            agent=LEAD,
            epoch=self.epoch,
            first_seq=after + 1,
            events_json=events,
            subscription=subscription,
        )
        self._say(events=run)

    def _say(self, **frame: Any) -> None:
        if self._link is not None and self._service.links.get(DEN) is self._link:
            self._service._take(self._link, mesh_pb2.NodeFrame(**frame))


class SmallMethods:
    """Answers what tests ask."""

    def __init__(self, service: LinkService) -> None:
        self._service = service

    async def call_from_front_end(self, method: str, params_json: bytes, caller: Caller) -> bytes:
        params = json.loads(params_json)
        if method == "agent.show":
            return json.dumps({"id": self._service.registry.find(params["agent"]).agent}).encode()
        if method == "bug":
            raise KeyError("the secret is 42")
        return json.dumps({"method": method, "params": params, "by": caller.name}).encode()


class NoPages:
    mesh_tag = "tag"

    def front_end(self, url: str) -> contextlib.AbstractContextManager[None]:
        raise AssertionError("nobody looks here")


class NoMemory:
    def roster_changed(self, node: NodeId) -> None:
        pass


class Mesh:
    """A hypivisor's Console on a socket, which may go and come back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epoch = 0
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self.epoch += 1
        self.notices = Notices()
        registry = Registry(MeshView("home", f"r-{self.epoch}"))
        self.service = LinkService(
            registry,
            NoMemory(),  # type: ignore[arg-type]  # nothing is remembered here
            mesh_id="m-1",
            mesh_name="home",
            home=lambda: DEN,
            notice=lambda _: None,
        )
        self.console = ConsoleService(self.service, SmallMethods(self.service), NoPages(), self.notices)
        self._server = grpc.aio.server()
        console_pb2_grpc.add_ConsoleServicer_to_server(self.console, self._server)
        self._server.add_insecure_port(f"unix:{self.path}")
        await self._server.start()

    async def stop(self) -> None:
        assert self._server is not None
        await self._server.stop(0)


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    with tempfile.TemporaryDirectory(prefix="hpc-") as folder:
        made = Mesh(Path(folder) / "console")
        await made.start()
        yield made
        await made.stop()


@pytest.fixture
def node(mesh: Mesh) -> SmallNode:
    return SmallNode(mesh.service)


@contextlib.asynccontextmanager
async def connected(mesh: Mesh) -> AsyncIterator[ConsoleClient]:
    client = ConsoleClient(local_channel(f"unix:{mesh.path}"))
    running = asyncio.create_task(client.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await client.connected.wait()
        yield client
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def client(mesh: Mesh, node: SmallNode) -> AsyncIterator[ConsoleClient]:
    """A front end of a mesh with one node and one agent."""
    node.join()
    async with connected(mesh) as found:
        yield found


async def until(condition: Any, *wakes: Any) -> None:
    """Wait for something that a ring or a roster tells of."""
    changed = asyncio.Event()
    for wake in wakes:
        wake.listen(changed.set)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await changed.wait()
                changed.clear()
    finally:
        for wake in wakes:
            wake.unlisten(changed.set)


async def mirrored(feed: Mirror, after: int, head: int) -> None:
    """The mirror has everything after a seq, once, up to the head."""
    await until(lambda: feed.ring.head >= head or feed.ended, feed.ring)
    assert feed.ended is None
    events = [json.loads(raw)["seq"] for raw in feed.ring.since(after, 1 << 30)]
    assert events == list(range(after + 1, head + 1))


# --- the roster -----------------------------------------------------------------------------------------


async def test_the_roster_is_mirrored_whole_and_then_by_its_changes(mesh, client):
    view = client.view
    assert (view.mesh, view.epoch, set(view.nodes), set(view.agents)) == ("home", "r-1", {DEN}, {LEAD})
    mesh.service.registry.report(DEN, [agent("site")])
    await until(lambda: "a-site" in view.agents, view)
    mesh.service.registry.report(DEN, [], [LEAD])
    await until(lambda: LEAD not in view.agents, view)
    assert view.rev == mesh.service.registry.view.rev


async def test_a_roster_of_many_thousand_agents_arrives(mesh, node):
    node.join()
    tools = "x" * 600
    mesh.service.registry.report(DEN, [agent(f"s{n}", cwd=tools) for n in range(8_000)])
    async with connected(mesh) as client:
        assert len(client.view.agents) == 8_001


async def test_a_restarted_hypivisor_is_found_again_with_its_own_roster(mesh, client):
    before = client.view.epoch
    await mesh.stop()
    await mesh.start()
    SmallNode(mesh.service).join()
    await until(lambda: client.view.epoch != before and client.view.agents, client.view)
    assert client.view.epoch == "r-2" and set(client.view.agents) == {LEAD}


async def test_notices_pass_through(mesh, client):
    heard: asyncio.Queue[tuple[str, str, bytes]] = asyncio.Queue()
    client.on_notice.append(lambda *said: heard.put_nowait(said))
    mesh.notices.put(mesh_pb2.Notice(topic="user:ann", method="scroll.changed", params_json=b'{"a":1}'))
    async with asyncio.timeout(PATIENCE_S):
        assert await heard.get() == ("user:ann", "scroll.changed", b'{"a":1}')


# --- calls ----------------------------------------------------------------------------------------------


async def test_a_call_carries_who_asks_and_errors_keep_their_data(mesh, client):
    answer = json.loads(await client.call("agent.prompt", {"text": "é"}, ANN))
    assert answer == {"method": "agent.prompt", "params": {"text": "é"}, "by": "ann"}
    with pytest.raises(NotFound, match="no agent nobody"):
        await client.call("agent.show", {"agent": "nobody"}, ANN)

    mesh.service.registry.link(NodeId("n-2"), "attic", 1, {}, 0.0, 0.0)
    mesh.service.registry.replace_agents(NodeId("n-2"), [{**agent(), "id": "a-other"}])
    with pytest.raises(AmbiguousName) as caught:
        await client.call("agent.show", {"agent": "lead"}, ANN)
    assert caught.value.data == {"candidates": ["lead@attic", "lead@den"]}


async def test_a_bug_shows_no_detail_and_a_lost_hypivisor_is_unreachable(mesh, client, caplog):
    with pytest.raises(HyperPiError) as caught:
        await client.call("bug", {}, ANN)
    assert "42" not in str(caught.value) and "42" in caplog.text
    await mesh.stop()
    with pytest.raises(NodeUnreachable):
        await client.call("agent.show", {"agent": "lead"}, ANN)
    await mesh.start()


# --- streams --------------------------------------------------------------------------------------------


async def test_everybody_who_follows_an_agent_shares_one_stream(mesh, client, node):
    one, two = await client.feed("lead", None), await client.feed(LEAD, None)
    assert one is two and mesh.service.registry.watchers == {LEAD: 1}
    node.emit(3)
    await mirrored(one, 0, 3)

    one.release()
    node.emit()
    await mirrored(two, 0, 4)
    two.release()
    await until(lambda: not mesh.service.registry.watchers, mesh.service.registry.view)


async def test_viewers_are_counted_not_front_ends_and_a_storm_of_them_is_told_in_a_breath(mesh, client):
    service, told = mesh.service, []
    counted = service.count
    service.count = lambda stream: (counted(stream), told.append(service.registry.watchers.get(LEAD, 0)))
    feeds = [await client.feed(LEAD, None) for _ in range(300)]
    await until(lambda: service.registry.watchers == {LEAD: 300}, service.registry.view)
    assert len(told) < 30
    async with connected(mesh) as other:
        feeds.append(await other.feed(LEAD, None))
        await until(lambda: service.registry.watchers == {LEAD: 301}, service.registry.view)
        for feed in feeds[:298]:
            feed.release()
        await until(lambda: service.registry.watchers == {LEAD: 3}, service.registry.view)
    await until(lambda: service.registry.watchers == {LEAD: 2}, service.registry.view)
    assert len(told) < 60


async def test_viewers_are_counted_again_when_a_stream_is_opened_again(mesh, client, node):
    feeds = [await client.feed(LEAD, None) for _ in range(3)]
    await until(lambda: mesh.service.registry.watchers == {LEAD: 3}, mesh.service.registry.view)
    await node.drop()
    await until(lambda: not mesh.service.registry.watchers, mesh.service.registry.view)
    node.join()
    await until(lambda: mesh.service.registry.watchers == {LEAD: 3}, mesh.service.registry.view)
    assert not any(feed.ended for feed in feeds)


async def test_a_front_end_that_counts_nobody_is_one(mesh, client):
    stub = console_pb2_grpc.ConsoleStub(client._channel)
    stream = stub.Attach(console_pb2.AttachRequest(agent=LEAD))
    await stream.read()
    assert mesh.service.registry.watchers == {LEAD: 1}
    stream.cancel()


async def test_no_front_end_can_count_so_many_viewers_that_the_link_of_a_node_fails(
    mesh, client, node, caplog
):
    many = 2**32 - 1  # what the wire takes
    stub = console_pb2_grpc.ConsoleStub(client._channel)
    streams = [
        stub.Attach(console_pb2.AttachRequest(agent=LEAD, feed=feed, viewers=many)) for feed in ("f-1", "f-2")
    ]
    for stream in streams:
        assert (await stream.read()).HasField("opened")
    assert mesh.service.registry.watchers == {LEAD: 20_000}
    counts = [console_pb2.ViewerCount(feed=feed, viewers=many) for feed in ("f-1", "f-2")]
    await stub.Count(console_pb2.ViewerCounts(counts=counts), timeout=PATIENCE_S)
    assert mesh.service.registry.watchers == {LEAD: 20_000}
    for stream in streams:
        stream.cancel()
    await until(lambda: not mesh.service.registry.watchers, mesh.service.registry.view)
    assert not caplog.records


async def test_viewers_that_could_not_be_told_of_are_told_of_again(mesh, client, monkeypatch, node):
    async def refuse_thrice(console: ConsoleService, request: Any, context: Any) -> Any:
        if len(refused) < 3:
            refused.append(True)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "")
        return await count(console, request, context)

    refused: list[bool] = []
    count = ConsoleService.Count
    monkeypatch.setattr(ConsoleService, "Count", refuse_thrice)
    await mesh.stop()
    await mesh.start()
    node._service = mesh.service
    node.join()
    for _ in range(3):
        await client.feed(LEAD, None)
    await until(lambda: mesh.service.registry.watchers == {LEAD: 3}, mesh.service.registry.view)
    assert len(refused) == 3


async def test_who_leaves_while_viewers_are_told_of_is_told_of_after_it(mesh, client, monkeypatch, node):
    async def slow(console: ConsoleService, request: Any, context: Any) -> Any:
        taken = await count(console, request, context)
        asked.set()
        await answer.wait()
        return taken

    asked, answer = asyncio.Event(), asyncio.Event()
    count = ConsoleService.Count
    monkeypatch.setattr(ConsoleService, "Count", slow)
    await mesh.stop()
    await mesh.start()
    node._service = mesh.service
    node.join()
    feeds = [await client.feed(LEAD, None) for _ in range(2)]
    async with asyncio.timeout(PATIENCE_S):
        await asked.wait()
    assert mesh.service.registry.watchers == {LEAD: 2}
    feeds.pop().release()
    answer.set()
    await until(lambda: mesh.service.registry.watchers == {LEAD: 1}, mesh.service.registry.view)


async def test_viewers_are_told_of_by_the_channel_that_replaces_a_closed_one(mesh, client, monkeypatch):
    class Closed:
        def Count(self, *_given: Any, **_more: Any) -> None:
            tried.set()
            raise grpc.aio.UsageError("Channel is closed.")

    unretrieved: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unretrieved.append(context))
    tried = asyncio.Event()
    await client.feed(LEAD, None)
    client._stub = Closed()
    await client.feed(LEAD, None)
    async with asyncio.timeout(PATIENCE_S):
        await tried.wait()
    client.redial(local_channel(f"unix:{mesh.path}"))
    await until(lambda: mesh.service.registry.watchers == {LEAD: 2}, mesh.service.registry.view)
    gc.collect()
    assert not unretrieved


async def test_viewers_who_leave_after_the_end_of_their_front_end_are_told_to_nobody(mesh, node, monkeypatch):
    node.join()
    asked: list[Mirror] = []
    async with connected(mesh) as client:
        feeds = [await client.feed(LEAD, None) for _ in range(3)]
    monkeypatch.setattr(client, "miscounted", asked.append)
    for feed in feeds:
        feed.release()
    assert not asked


async def test_an_older_hypivisor_is_asked_no_less_for_not_counting(mesh, client, monkeypatch, node):
    async def too_old(_self: Any, _request: Any, context: Any) -> None:
        refused.set()
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "")

    refused = asyncio.Event()
    monkeypatch.setattr(ConsoleService, "Count", too_old)
    await mesh.stop()
    await mesh.start()
    node._service = mesh.service
    node.join()
    one, two = await client.feed(LEAD, None), await client.feed(LEAD, None)
    async with asyncio.timeout(PATIENCE_S):
        await refused.wait()
    node.emit(2)
    await mirrored(one, 0, 2)
    assert mesh.service.registry.watchers == {LEAD: 1}
    two.release()


async def test_who_follows_an_agent_of_an_absent_machine_is_told_what_to_do(client, node):
    await node.drop()
    with pytest.raises(NodeUnreachable, match=r"^den is disconnected$") as caught:
        await client.feed(LEAD, None)
    assert caught.value.hint is not None and "node run" in caught.value.hint


async def test_a_stream_begins_after_the_cursor_that_a_viewer_brings(client, node):
    node.emit(5)
    feed = await client.feed(LEAD, Cursor("e-1", 2))
    assert feed.ring.holds(Cursor("e-1", 2))
    await mirrored(feed, 2, 5)
    feed.release()


async def test_a_cursor_that_the_node_cannot_serve_is_not_held(client, node):
    node.emit(5)
    feed = await client.feed(LEAD, Cursor("e-0", 2))
    assert (feed.ring.epoch, feed.ring.head) == ("e-1", 5)
    feed.release()


async def test_a_node_that_drops_and_comes_back_leaves_no_hole_and_repeats_nothing(client, node):
    feed = await client.feed(LEAD, None)
    head = 0
    for _ in range(3):
        node.emit(4)
        await mirrored(feed, 0, head + 4)
        await node.drop()
        node.emit(3)
        node.join()
        head += 7
        await mirrored(feed, 0, head)
    feed.release()


async def test_a_restarted_hypivisor_leaves_no_hole_and_repeats_nothing(mesh, client, node):
    feed = await client.feed(LEAD, None)
    node.emit(4)
    await mirrored(feed, 0, 4)
    await mesh.stop()
    await mesh.start()
    again = SmallNode(mesh.service)
    again.head = 9
    again.join()
    await mirrored(feed, 0, 9)
    again.emit()
    await mirrored(feed, 0, 10)
    feed.release()


async def test_a_ring_that_was_lost_is_told_as_such(client, node):
    feed = await client.feed(LEAD, None)
    node.emit(4)
    await mirrored(feed, 0, 4)
    await node.drop()
    node.epoch, node.head = "e-2", 2
    node.join()
    await until(lambda: feed.ended is not None, feed.ring)
    assert (feed.ended.reason, feed.ended.epoch) == ("lost", "e-2")
    feed.release()
    fresh = await client.feed(LEAD, Cursor("e-1", 4))
    assert fresh is not feed and fresh.ring.epoch == "e-2"
    fresh.release()


async def test_another_conversation_is_told_with_its_reason(client, node):
    feed = await client.feed(LEAD, None)
    node.reset("e-2", "new")
    await until(lambda: feed.ended is not None, feed.ring)
    assert (feed.ended.reason, feed.ended.epoch) == ("new", "e-2")
    feed.release()
    again = await client.feed(LEAD, None)
    node.emit()
    await mirrored(again, 0, 1)
    again.release()


async def test_a_stream_that_cannot_begin_says_why_and_leaves_nothing(mesh, client, node):
    await node.drop()
    with pytest.raises(NodeUnreachable):
        await client.feed(LEAD, None)
    with pytest.raises(NotFound):
        await client.feed("nobody", None)
    assert client._feeds == {}
    node.join()
    feed = await client.feed(LEAD, None)
    feed.release()


async def test_a_viewer_that_comes_as_the_last_one_leaves_gets_every_event(client, node):
    for _ in range(20):
        feed = await client.feed(LEAD, None)
        head = node.head
        feed.release()
        again = await client.feed(LEAD, Cursor("e-1", head))
        node.emit()
        await mirrored(again, head, head + 1)
        again.release()


# --- banks ----------------------------------------------------------------------------------------------


class Looking:
    """Somebody who watches bank 8 of the den."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.rows: dict[int, int] = {}
        self.feed: MirroredBank

    async def watch(self, client: ConsoleClient) -> "Looking":
        self.feed = await client.watch_bank("den", 8, self.woken.set)
        return self

    async def sees(self, rows: dict[int, int]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self.woken.clear()
                self.rows |= {row: int(told) for row, told in self.feed.changes.take()}
                if self.rows == rows:
                    return
                await self.woken.wait()


async def no_demand(node: SmallNode) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while node.watched:
            await asyncio.sleep(0)


async def test_a_node_tells_of_its_rows_only_while_somebody_watches(client, node):
    node.write(9)
    assert node.watched == set()
    one, two = await Looking().watch(client), await Looking().watch(client)
    assert one.feed.node == DEN
    node.write(10)
    for looking in (one, two):
        await looking.sees({10: 1})
    one.feed.release()
    node.write(10)
    await two.sees({10: 2})
    assert not one.feed.changes
    two.feed.release()
    await no_demand(node)
    again = await Looking().watch(client)
    node.write(9)
    await again.sees({9: 2})
    again.feed.release()


async def test_rows_that_changed_while_the_node_was_away_are_told_when_it_is_back(client, node):
    looking = await Looking().watch(client)
    node.write(9)
    await looking.sees({9: 1})
    await node.drop()
    node.write(9)
    node.write(11)
    node.join()
    await looking.sees({9: 2, 11: 1})
    node.write(11)
    await looking.sees({9: 2, 11: 2})
    looking.feed.release()


async def test_rows_that_changed_while_the_hypivisor_was_away_are_told_when_it_is_back(mesh, client, node):
    looking = await Looking().watch(client)
    await mesh.stop()
    await mesh.start()
    again = SmallNode(mesh.service)
    again.rows = {8: {9: 5}}
    again.join()
    await looking.sees({9: 5})
    looking.feed.release()


async def test_a_front_end_that_goes_away_watches_no_longer(mesh, node):
    node.join()
    async with connected(mesh) as client:
        looking = await Looking().watch(client)
        node.write(9)
        await looking.sees({9: 1})
    await no_demand(node)


async def test_a_bank_that_cannot_be_watched_says_why_and_leaves_nothing(mesh, client, node):
    with pytest.raises(NotFound):
        await client.watch_bank("den", 12, lambda: None)
    with pytest.raises(NotFound):
        await client.watch_bank("attic", 8, lambda: None)
    assert client._banks == {}
    assert node.watched == set()
    assert not mesh.service.banks._demand.watched()


async def test_who_watches_as_the_last_one_leaves_is_told(client, node):
    for number in range(1, 20):
        leaving = await Looking().watch(client)
        leaving.feed.release()
        staying = await Looking().watch(client)
        node.write(9)
        await staying.sees({9: number})
        staying.feed.release()
