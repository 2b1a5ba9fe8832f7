"""A viewer over a small working backend: cursors, not queues, and nothing before its answer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosedError

from hyperpi import viewer as viewer_module
from hyperpi.errors import NotFound
from hyperpi.event import Cursor, Reset, read_head, stamp
from hyperpi.mesh_view import Change, MeshView
from hyperpi.ring import Ring
from hyperpi.roles import OPERATOR, VIEWER, Caller
from hyperpi.row_changes import RowChanges
from hyperpi.viewer import MAX_QUEUED_MESSAGES, REVOKED, SLOW, Viewer, serve_viewer
from node import local_endpoint
from pide import viewers

PATIENCE_S = 10.0
NOW = "2026-01-05T10:00:00.000Z"


class SmallFeed:
    """One viewer's hold on an agent."""

    def __init__(self, agent: "SmallAgent") -> None:
        self.agent = agent.id
        self.ring = agent.ring
        self.ended: Reset | None = None
        self._agent = agent

    async def snapshot(self) -> tuple[Cursor, bytes]:
        await self._agent.before_snapshot()
        ring = self._agent.ring
        return Cursor(ring.epoch, ring.head), json.dumps({"entries": [], "seen": ring.head}).encode()

    def release(self) -> None:
        self._agent.feeds.remove(self)


class SmallAgent:
    """Somebody with a stream."""

    def __init__(self, name: str, **bounds: int) -> None:
        self.id = f"a-{name}"
        self.name = name
        self.ring = Ring("e-1", **bounds)
        self.feeds: list[SmallFeed] = []
        self.prompts: list[str] = []
        self.before_snapshot: Callable[[], Any] = _at_once

    def emit(self, *events: dict[str, Any]) -> None:
        for event in events:
            raw = json.dumps(event).encode()
            self.ring.append(stamp(raw, self.ring.head + 1, NOW, read_head(raw)))
        self.ring.wake()

    def say(self, text: str) -> None:
        self.emit({"type": "text_delta", "message_id": "m1", "block": 0, "delta": text})

    def begin(self, reason: str) -> None:
        """Another conversation."""
        self.ring = Ring("e-2")
        for feed in self.feeds:
            feed.ended = Reset("e-2", reason)
            feed.ring.wake()


async def _at_once() -> None:
    pass


class SmallBank:
    """One viewer's hold on a bank."""

    def __init__(self, node: str, bank: int, wake: Callable[[], None], held: "list[SmallBank]") -> None:
        self.node, self.bank = node, bank
        self.changes = RowChanges(wake)
        self._held = held

    def release(self) -> None:
        self._held.remove(self)


class SmallBackend:
    """A mesh of two agents."""

    def __init__(self) -> None:
        self.view = MeshView("home", "r-1")
        self.agents = {name: SmallAgent(name) for name in ("lead", "site")}
        self.prompt_takes = _at_once
        self.banks: list[SmallBank] = []

    async def mesh(self, caller: Caller) -> bytes:
        return self.view.whole_json({"name": caller.name, "role": caller.role})

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller) -> bytes:
        if method == "agent.prompt":
            if params["text"] == "slow":
                await asyncio.sleep(0.02)
            self.agents[params["agent"]].prompts.append(params["text"])
        return json.dumps({"method": method}).encode()

    async def feed(self, agent: str, cursor: Cursor | None) -> SmallFeed:
        found = next((a for a in self.agents.values() if agent in {a.id, a.name}), None)
        if found is None:
            raise NotFound(f"no agent {agent}")
        feed = SmallFeed(found)
        found.feeds.append(feed)
        return feed

    async def watch_bank(self, node: str, bank: int, wake: Callable[[], None]) -> SmallBank:
        if node not in {"den", "n-den"} or bank not in {8, 9}:
            raise NotFound(f"no bank {bank} of {node}")
        feed = SmallBank("n-den", bank, wake, self.banks)
        self.banks.append(feed)
        return feed

    def write(self, row: int, seq: int) -> None:
        """A row of bank 8 changes."""
        for feed in self.banks:
            if feed.bank == 8:
                feed.changes.offer([(row, json.dumps({"row": row, "seq": seq}).encode())])


class Page:
    """The other end: takes messages, or does not."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.frames: list[int] = []
        self.closed: tuple[int, str] | None = None
        self.reads = asyncio.Event()
        self.reads.set()
        self.blocked = asyncio.Event()
        self._numbers = iter(range(1, 1_000_000))
        self.viewer: Viewer

    async def send(self, message: bytes) -> None:
        if not self.reads.is_set():
            self.blocked.set()
            await self.reads.wait()
        self.frames.append(len(message))
        self.got.put_nowait(json.loads(message))

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def ask(self, method: str, **params: Any) -> int:
        number = next(self._numbers)
        self.viewer.rpc.receive(
            json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        )
        return number

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            return await self.got.get()

    async def answer(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer, which must be the next message of all."""
        number = self.ask(method, **params)
        message = await self.next()
        assert message.get("id") == number, message
        return message["result"] if "result" in message else message["error"]

    async def events(self, until: int) -> list[dict[str, Any]]:
        """The events of coming messages, up to a seq."""
        events: list[dict[str, Any]] = []
        while not events or events[-1]["seq"] < until:
            message = await self.next()
            assert message.get("method") == "agent.events", message
            events += message["params"]["events"]
        return events


@pytest.fixture
def backend() -> Iterator[SmallBackend]:
    """At the end nobody holds anything any more."""
    made = SmallBackend()
    yield made
    assert not made.view._listeners
    assert made.banks == []
    for agent in made.agents.values():
        assert agent.feeds == [] and not agent.ring._listeners


@contextlib.asynccontextmanager
async def viewing(backend: SmallBackend, role: str = OPERATOR) -> AsyncIterator[Page]:
    page = Page()
    page.viewer = Viewer(backend, Caller("ann", role, "pide"), page)
    serving = asyncio.create_task(serve_viewer(page.viewer, asyncio.Event().wait))
    try:
        yield page
    finally:
        page.reads.set()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.fixture
async def page(backend: SmallBackend) -> AsyncIterator[Page]:
    async with viewing(backend) as found:
        yield found


@pytest.fixture
def lead(backend: SmallBackend) -> SmallAgent:
    return backend.agents["lead"]


def texts(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events)


def contiguous(events: list[dict[str, Any]], after: int) -> bool:
    for event in events:
        if event.get("first_seq", event["seq"]) != after + 1:
            return False
        after = event["seq"]
    return True


# --- attaching ------------------------------------------------------------------------------------------


async def test_a_fresh_viewer_gets_a_snapshot_and_everything_after_it(page, lead):
    lead.say("before")
    answer = await page.answer("agent.attach", agent="lead")
    assert answer == {
        "agent": "a-lead",
        "resume": "fresh",
        "epoch": "e-1",
        "seq": 1,
        "snapshot": {"entries": [], "seen": 1},
    }
    lead.say("a")
    lead.say("b")
    events = await page.events(3)
    assert texts(events) == "ab" and contiguous(events, 1)


async def test_a_viewer_that_comes_back_gets_what_it_missed_and_no_snapshot(page, lead):
    for text in "abcd":
        lead.say(text)
    answer = await page.answer("agent.attach", agent="a-lead", epoch="e-1", seq=1)
    assert answer == {"agent": "a-lead", "resume": "ok", "epoch": "e-1", "seq": 1}
    assert texts(await page.events(4)) == "bcd"


@pytest.mark.parametrize("cursor", [{"epoch": "e-0", "seq": 3}, {"epoch": "e-1", "seq": 99}])
async def test_a_cursor_that_cannot_be_served_is_a_gap_with_a_snapshot(page, lead, cursor):
    lead.say("a")
    answer = await page.answer("agent.attach", agent="lead", **cursor)
    assert (answer["resume"], answer["seq"], answer["snapshot"]["seen"]) == ("gap", 1, 1)


async def test_who_attaches_as_an_epoch_ends_gets_the_next_one(page, lead):
    async def before_snapshot() -> None:  # the agent has begun anew, and the feed has not heard of it
        lead.before_snapshot = _at_once
        old, lead.ring = lead.ring, Ring("e-2")
        asyncio.get_running_loop().call_soon(old.wake)

    lead.say("before")
    lead.before_snapshot = before_snapshot
    answer = await page.answer("agent.attach", agent="lead")
    assert (answer["resume"], answer["epoch"], answer["seq"]) == ("fresh", "e-2", 0)
    lead.say("after")
    assert texts(await page.events(1)) == "after"


async def test_a_cursor_older_than_the_ring_is_a_gap(backend):
    lead = backend.agents["lead"] = SmallAgent("lead", max_events=3)
    for text in "abcdef":
        lead.say(text)
    async with viewing(backend) as page:
        assert (await page.answer("agent.attach", agent="lead", epoch="e-1", seq=2))["resume"] == "gap"


@pytest.mark.parametrize("seq", [-1, 2**63, 1.5, "3"])
async def test_a_cursor_that_is_no_place_is_a_bad_request(page, seq):
    assert (await page.answer("agent.attach", agent="lead", epoch="e-1", seq=seq))["code"] == -32602


async def test_an_unknown_agent_is_an_error_and_nothing_is_held(page):
    assert (await page.answer("agent.attach", agent="nobody"))["code"] == -32004


async def test_attaching_again_goes_on_from_the_new_cursor(page, lead):
    await page.answer("agent.attach", agent="lead")
    lead.say("a")
    await page.events(1)
    assert (await page.answer("agent.attach", agent="lead", epoch="e-1", seq=0))["resume"] == "ok"
    assert texts(await page.events(1)) == "a"
    assert len(lead.feeds) == 1
    lead.say("b")
    assert texts(await page.events(2)) == "b"


async def test_what_happens_while_a_snapshot_is_made_is_in_it_or_comes_after(page, lead):
    made = asyncio.Event()
    lead.before_snapshot = made.wait
    number = page.ask("agent.attach", agent="lead")
    await asyncio.sleep(0)
    lead.say("a")
    made.set()
    lead.say("b")
    answer = await page.next()
    assert answer["id"] == number
    lead.say("c")
    assert contiguous(await page.events(3), answer["result"]["seq"])


async def test_the_answer_to_an_attach_comes_before_its_events_although_the_page_was_slow(
    page, lead, backend
):
    """The writer was in the middle of a round when the agent was attached."""
    await page.answer("mesh.get")
    page.reads.clear()
    backend.view.put({"n-1": b'{"id":"n-1"}'})
    async with asyncio.timeout(PATIENCE_S):
        await page.blocked.wait()
    number = page.ask("agent.attach", agent="lead")
    await asyncio.sleep(0.01)
    lead.say("a")
    page.reads.set()

    assert (await page.next())["method"] == "mesh.changed"
    assert (await page.next())["id"] == number
    assert texts(await page.events(1)) == "a"


async def test_after_detaching_nothing_comes_by_name_or_by_id(page, lead):
    for call_it in ("lead", "a-lead"):
        await page.answer("agent.attach", agent="lead")
        assert await page.answer("agent.detach", agent=call_it) == {}
        lead.say("unheard")
        assert lead.feeds == []
    assert await page.answer("agent.history", agent="lead", before="e1") == {"method": "agent.history"}


async def test_another_conversation_is_told_once_and_ends_the_stream(page, lead):
    await page.answer("agent.attach", agent="lead")
    lead.begin("new")
    assert (await page.next()) == {
        "jsonrpc": "2.0",
        "method": "agent.reset",
        "params": {"agent": "a-lead", "epoch": "e-2", "reason": "new"},
    }
    assert lead.feeds == []
    lead.say("a")
    answer = await page.answer("agent.attach", agent="lead", epoch="e-1", seq=0)
    assert (answer["resume"], answer["epoch"]) == ("gap", "e-2")


async def test_two_agents_are_followed_apart(page, backend):
    for name in ("lead", "site"):
        await page.answer("agent.attach", agent=name)
    backend.agents["lead"].say("a")
    backend.agents["site"].say("b")
    got = [(await page.next())["params"] for _ in range(2)]
    assert {params["agent"]: texts(params["events"]) for params in got} == {"a-lead": "a", "a-site": "b"}


@pytest.mark.parametrize("late", range(8))
async def test_an_agent_is_let_go_however_late_its_snapshot_comes(backend, lead, late):
    """The page leaves while the snapshot is on its way."""

    async def snapshot_comes() -> None:
        for _ in range(late):
            await asyncio.sleep(0)

    lead.before_snapshot = snapshot_comes
    gone = asyncio.Event()
    page = Page()
    page.viewer = Viewer(backend, Caller("ann", VIEWER, "pide"), page)

    async def read() -> None:
        page.ask("agent.attach", agent="lead")
        gone.set()

    async with asyncio.timeout(PATIENCE_S):
        await serve_viewer(page.viewer, read)
    assert gone.is_set() and lead.feeds == [] and not lead.ring._listeners


# --- being slow -----------------------------------------------------------------------------------------


async def test_a_slow_page_gets_joined_deltas_without_a_hole(page, lead):
    await page.answer("agent.attach", agent="lead")
    page.reads.clear()
    lead.say("first")
    async with asyncio.timeout(PATIENCE_S):
        await page.blocked.wait()
    said = ["first"]
    for number in range(9_000):
        said.append(f"{number:050d}")
        lead.say(said[-1])
    lead.emit({"type": "state", "state": "idle"})
    page.reads.set()

    events = await page.events(9_002)
    assert contiguous(events, 0)
    assert texts([event for event in events if event["type"] == "text_delta"]) == "".join(said)
    assert events[-1]["type"] == "state" and len(events) < 20


async def test_a_page_too_far_behind_is_closed_to_resume(backend):
    lead = backend.agents["lead"] = SmallAgent("lead", max_bytes=32 << 20)
    async with viewing(backend) as page:
        await page.answer("agent.attach", agent="lead")
        page.reads.clear()
        lead.say("first")
        async with asyncio.timeout(PATIENCE_S):
            await page.blocked.wait()
        for _ in range(20):
            lead.say("x" * 500_000)
        page.reads.set()
        await _closed(page)
    assert page.closed == (SLOW, "too far behind; resume")


async def test_a_page_that_the_ring_has_left_behind_is_closed_to_resume(backend):
    lead = backend.agents["lead"] = SmallAgent("lead", max_events=10)
    async with viewing(backend) as page:
        await page.answer("agent.attach", agent="lead")
        page.reads.clear()
        lead.say("first")
        async with asyncio.timeout(PATIENCE_S):
            await page.blocked.wait()
        for _ in range(20):
            lead.say("x")
        page.reads.set()
        await _closed(page)
    assert page.closed is not None and page.closed[0] == SLOW


async def test_a_page_that_reads_nothing_is_closed_after_its_time(backend, monkeypatch):
    monkeypatch.setattr(viewer_module, "STUCK_S", 0.05)
    async with viewing(backend) as page:
        page.reads.clear()
        page.ask("mesh.get")
        await _closed(page)
    assert page.closed is not None and page.closed[0] == SLOW


async def test_unread_answers_have_a_bound(backend):
    async with viewing(backend) as page:
        page.reads.clear()
        page.ask("mesh.get")
        async with asyncio.timeout(PATIENCE_S):
            await page.blocked.wait()
        for _ in range(MAX_QUEUED_MESSAGES + 1):
            page.viewer.rpc.receive("{}")
        page.reads.set()
        await _closed(page)
    assert page.closed is not None and page.closed[0] == SLOW
    assert len(page.frames) < 10


async def test_a_page_whose_session_has_ended_gets_nothing_more_of_what_waits(backend, lead):
    async with viewing(backend) as page:
        await page.answer("agent.attach", agent="lead")
        page.reads.clear()
        page.ask("mesh.get")
        async with asyncio.timeout(PATIENCE_S):
            await page.blocked.wait()
        for _ in range(100):
            page.ask("mesh.get")
        await asyncio.sleep(0.01)
        page.viewer.end(REVOKED, "logged out")
        page.reads.set()
        await _closed(page)
    assert page.closed == (REVOKED, "logged out")
    assert len(page.frames) < 10


async def test_one_slow_page_costs_another_nothing(backend, lead):
    async with viewing(backend) as slow, viewing(backend) as quick:
        for page in (slow, quick):
            await page.answer("agent.attach", agent="lead")
        slow.reads.clear()
        for text in "abc":
            lead.say(text)
        assert texts(await quick.events(3)) == "abc"
        slow.reads.set()
        assert texts(await slow.events(3)) == "abc"


async def _closed(page: Page) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while page.closed is None:
            await asyncio.sleep(0.001)


# --- the roster -----------------------------------------------------------------------------------------


async def test_changes_come_only_to_who_asked_for_the_mesh(page, backend):
    backend.view.put({"n-1": b'{"id":"n-1"}'})
    answer = await page.answer("mesh.get")
    assert (answer["rev"], answer["me"]) == (1, {"name": "ann", "role": "operator"})
    backend.view.put(agents={"a-1": b'{"id":"a-1"}'})
    assert (await page.next())["params"] == {"epoch": "r-1", "from": 1, "rev": 2, "agents": [{"id": "a-1"}]}


async def test_changes_meanwhile_are_told_as_one_with_the_latest_state(page, backend):
    await page.answer("mesh.get")
    for number in range(50):
        backend.view.put(agents={"a-1": b'{"id":"a-1","n":%d}' % number})
    assert (await page.next())["params"] == {
        "epoch": "r-1",
        "from": 0,
        "rev": 50,
        "agents": [{"id": "a-1", "n": 49}],
    }


async def test_another_epoch_is_told_so_that_the_page_asks_again(page, backend):
    await page.answer("mesh.get")
    backend.view.apply(Change("r-2", 0, 7, True, {"n-1": b'{"id":"n-1"}'}, {}))
    assert (await page.next())["params"]["epoch"] == "r-2"
    backend.view.put({"n-2": b'{"id":"n-2"}'})
    assert (await page.answer("mesh.get"))["rev"] == 8
    backend.view.put({"n-3": b'{"id":"n-3"}'})
    assert (await page.next())["params"] == {"epoch": "r-2", "from": 8, "rev": 9, "nodes": [{"id": "n-3"}]}


# --- asking and being told ------------------------------------------------------------------------------


async def test_two_prompts_of_one_page_reach_the_agent_in_their_order(page, lead):
    for text in ("slow", "quick", "quicker"):
        page.ask("agent.prompt", agent="lead", text=text)
    for _ in range(3):
        await page.next()
    assert lead.prompts == ["slow", "quick", "quicker"]


async def test_a_role_is_checked_before_anything_else(backend, lead):
    async with viewing(backend, VIEWER) as page:
        assert (await page.answer("agent.prompt", agent="lead", text="hi"))["code"] == -32001
        assert (await page.answer("no.such.method"))["code"] == -32601
    assert lead.prompts == []


@pytest.mark.parametrize(
    "raw",
    ['{"id":1,"method":"agent.attach","params":[]}', '{"id":1,"method":"agent.attach","params":{}}'],
)
async def test_params_of_another_shape_are_a_bad_request(page, raw):
    page.viewer.rpc.receive(raw)
    assert (await page.next())["error"]["code"] == -32602


@pytest.mark.parametrize(
    "raw", ['{"id":1,"id":2,"method":"mesh.get"}', '{"id":1,"method":"mesh.get","params":{"a":1,"a":2}}']
)
async def test_a_message_that_could_be_read_in_two_ways_is_refused(page, raw):
    page.viewer.rpc.receive(raw)
    assert (await page.next())["error"]["code"] == -32700


async def test_notices_come_to_whom_they_are_meant_for(page, lead):
    await page.answer("agent.attach", agent="lead")
    view = page.viewer
    for topic in ("agent:a-site", "sender:user:bob", "sender:ann", "moon:a-lead"):
        view.notice(topic, "unheard", b"{}")
    for topic in ("agent:a-lead", "sender:user:ann", "all"):
        view.notice(topic, "heard", b"{}")
    assert [(await page.next())["method"] for _ in range(3)] == ["heard"] * 3
    assert page.got.empty()


# --- banks of a PXLDisk ---------------------------------------------------------------------------------


async def test_rows_are_told_from_the_answer_on_until_they_are_not_wanted(page, backend):
    backend.write(9, 1)
    assert await page.answer("disk.watch", node="den", bank=8) == {"node": "n-den", "bank": 8}
    backend.write(9, 2)
    told = await page.next()
    assert told["method"] == "disk.changed"
    assert told["params"] == {"node": "n-den", "bank": 8, "rows": [{"row": 9, "seq": 2}]}
    assert await page.answer("disk.unwatch", node="den", bank=8) == {}
    assert backend.banks == []
    assert await page.answer("disk.unwatch", node="den", bank=8) == {}


async def test_a_bank_is_watched_once_whatever_its_node_is_called(page, backend):
    for node in ("den", "n-den", "den"):
        await page.answer("disk.watch", node=node, bank=8)
    assert len(backend.banks) == 1
    await page.answer("disk.unwatch", node="n-den", bank=8)
    assert backend.banks == []


async def test_a_viewer_that_does_not_read_is_told_later_how_each_row_ended(page, backend):
    await page.answer("disk.watch", node="den", bank=8)
    page.reads.clear()
    backend.write(9, 1)
    await asyncio.wait_for(page.blocked.wait(), PATIENCE_S)
    for seq in range(2, 10_000):
        backend.write(9 + seq % 5, seq)
    page.reads.set()
    assert (await page.next())["params"]["rows"] == [{"row": 9, "seq": 1}]
    assert [row["seq"] for row in (await page.next())["params"]["rows"]] == list(range(9_995, 10_000))
    await page.answer("mesh.get")  # and nothing else was in between


async def test_a_bank_that_is_not_there_is_an_error_and_nothing_is_held(page, backend):
    assert (await page.answer("disk.watch", node="den", bank=12))["code"] == -32004
    assert backend.banks == []


@pytest.mark.parametrize("turns", range(8))
async def test_a_viewer_that_is_told_to_end_while_it_ends_holds_nothing(backend, turns):
    page = Page()
    page.viewer = Viewer(backend, Caller("ann", OPERATOR, "pide"), page)
    gone = asyncio.Event()
    serving = asyncio.create_task(serve_viewer(page.viewer, gone.wait))
    await page.answer("agent.attach", agent="lead")
    await page.answer("disk.watch", node="den", bank=8)
    gone.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert backend.banks == []
    assert backend.agents["lead"].feeds == []


@pytest.mark.parametrize("edge", [viewers, local_endpoint])
async def test_a_page_that_goes_while_it_is_written_to_is_no_error(backend, caplog, edge):
    class Gone:
        async def send(self, *_message: Any, **_options: Any) -> None:
            raise WebSocketDisconnect(1006) if edge is viewers else ConnectionClosedError(None, None)

    viewer = Viewer(backend, Caller("ann", OPERATOR, "pide"), edge._Outlet(Gone()))
    viewer.rpc.receive('{"jsonrpc": "2.0", "id": 1, "method": "mesh.get", "params": {}}')
    async with asyncio.timeout(PATIENCE_S):
        await serve_viewer(viewer, asyncio.Event().wait)
    assert caplog.records == []
