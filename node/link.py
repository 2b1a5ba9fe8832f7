"""The node's end of the Link: dials the hypivisor, reports, and sends the events that are asked for.

Redials for ever with capped, jittered backoff; while it is down, nothing here stops. Events are not queued:
the writer holds a cursor into each watched agent's ring, so a slow link costs no memory.
"""

import asyncio
import contextlib
import logging
import platform
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import msgspec

from hyperpi import __version__, channels, strict_json, tls
from hyperpi.address import AgentId, terminal_stream
from hyperpi.clock import OFF_S, apart
from hyperpi.contract import Json
from hyperpi.errors import HyperPiError, NodeUnreachable
from hyperpi.event import Reset
from hyperpi.frames import BATCH_BYTES, FrameQueue
from hyperpi.roles import Caller
from hyperpi.soon import Soon
from hyperpi.wire.hyperpi.v1 import mesh_pb2, mesh_pb2_grpc
from node.agents import Agents, Observer
from node.bank_feeds import BankFeeds
from node.link_banks import LinkBanks
from node.link_calls import LinkCalls
from node.link_streams import LinkStreams
from node.terminals import Terminals

log = logging.getLogger(__name__)

PROTOCOL = 1
FIRST_RETRY_S = 0.2
LAST_RETRY_S = 2.0  # a restarted hypivisor is whole again within 5 s
REFUSED_RETRY_S = 60.0  # nothing but a person changes a refusal, and a join that replaces it wakes us
STATUS_S = 10.0
MISSED_BEATS = 3
COUNT_S = 0.25  # viewers that come and go within it are one report

REFUSALS = frozenset(
    {
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.INVALID_ARGUMENT,
    }
)

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),  # a whole roster is one answer
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class ScrollFrames(Protocol):
    """The scroll desk, as the link sees it."""

    def linked(self) -> None:
        """The hypivisor can be reached: offer what waits."""

    def routed(self, frame: mesh_pb2.ScrollRouted) -> None:
        """Whom a scroll of ours goes to."""

    def delivered(self, frame: mesh_pb2.ScrollDelivery) -> None:
        """A scroll for one of our agents."""

    def receipt(self, frame: mesh_pb2.ScrollReceipt) -> None:
        """A receipt for a scroll of ours, or the acknowledgement of one that we sent."""

    def node_back(self, name: str, restored: bool) -> None:
        """A node that was away can be reached again, maybe with a disk that came from a copy."""


class MirrorFrames(Protocol):
    """The mirrors, as the link sees them."""

    def linked(self) -> None:
        """The hypivisor can be reached: offer what there is."""

    def unlinked(self) -> None:
        """It cannot be reached any more: every stream has ended."""

    def frame(self, frame: mesh_pb2.Mirror) -> None:
        """Something about a copy, from the node that it says."""

    def node_back(self, name: str) -> None:
        """A node that was away can be reached again."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to dial and as whom. Asked anew before each attempt: addresses and certificates change."""

    address: str
    identity: tls.Identity
    patience_s: float  # for its welcome


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the hypivisor does not want this node, and what somebody can do about it."""

    reason: str
    hint: str


class Link(Observer):
    """Keeps this node linked to its hypivisor. Also an observer of the agents."""

    def __init__(
        self,
        agents: Agents,
        terminals: Terminals,
        scrolls: ScrollFrames,
        banks: BankFeeds,
        *,
        mirrors: MirrorFrames,
        targets: Callable[[], Awaitable[Sequence[Target]]],
        boot: int,
        restored: bool,
        address: Callable[[], str],
        call: Callable[[str, Json, Caller], Awaitable[bytes]],
        status: Callable[[], tuple[Mapping[str, Any], Mapping[str, Any] | None]],
        welcomed: Callable[[str, str, str, str], None],
        changed: Callable[[], None],
    ) -> None:
        self.agents = agents
        self.down = asyncio.Event()  # set while no hypivisor has welcomed us
        self.down.set()
        self.refused: Refused | None = None
        self.clock_ahead_s = 0.0  # of the hypivisor's, when it welcomed us
        self._scrolls = scrolls
        self._mirrors = mirrors
        self._targets = targets
        self._boot = boot
        self._restored = restored
        self._address = address
        self._status = status
        self._welcomed = welcomed
        self._state_changed = changed
        self._target: Target | None = None  # of the present stream
        self._queue: FrameQueue[mesh_pb2.NodeFrame] | None = None
        self._changed: dict[AgentId, None] = {}
        self._streams = LinkStreams(agents, terminals, self._put, self._wake)
        self._banks = LinkBanks(banks, lambda: agents.node, self._wake)
        self._calls = LinkCalls(call, self._put)
        self._leaving: str | None = None
        self._count_soon = Soon(COUNT_S, self._report_counts)
        self._miscounted: set[AgentId] = set()
        self._retry_now = asyncio.Event()
        self._beat_s = 5.0  # until the welcome says otherwise

    # --- for the rest of the node ----------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether the hypivisor has welcomed us on the present stream."""
        return not self.down.is_set()

    def open_channel(self) -> grpc.aio.Channel | None:
        """Another connection to where the link leads, as the same node; the caller closes it."""
        if self._target is None:
            return None
        return channels.open_channel(
            self._target.address, identity=self._target.identity, options=CHANNEL_OPTIONS
        )

    def send(self, **frame: Any) -> bool:
        """Queue one frame; False when there is no link."""
        return self._put(mesh_pb2.NodeFrame(**frame))

    def _put(self, frame: mesh_pb2.NodeFrame) -> bool:
        if self._queue is None:
            return False
        self._queue.put(frame)
        return True

    def send_mirror(self, frame: mesh_pb2.Mirror) -> bool:
        """Queue a frame about a copy, behind everything else; False when there is no link, or no room."""
        queue = self._queue
        return queue is not None and queue.put_bulk(frame.node, mesh_pb2.NodeFrame(mirror=frame))

    async def ask(self, method: str, params: Json, caller: Caller, timeout_s: float) -> bytes:
        """Call the hypivisor in the name of this machine's owner. Raises its error; NodeUnreachable."""
        if self._queue is None:
            if self.refused is not None:
                raise NodeUnreachable(self.refused.reason, hint=self.refused.hint)
            raise NodeUnreachable("the hypivisor cannot be reached now")
        return await self._calls.ask(method, params, caller, timeout_s)

    def say_goodbye(self, reason: str) -> None:
        """End the present stream politely; `leave` also tells the mesh to expect no return."""
        if self._queue is not None:
            self._leaving = reason
            self._wake()

    def retry_now(self) -> None:
        """An address or a membership was found: do not wait for the backoff."""
        self._retry_now.set()

    # --- observer of agents ----------------------------------------------------------------------------

    def agent_changed(self, agent: AgentId) -> None:
        """See node.agents.Observer. Latest state only: a busy agent is one frame per batch."""
        if self._queue is not None:
            self._changed[agent] = None
            self._wake()

    def watchers_changed(self, agent: AgentId, *, here: bool) -> None:
        """See node.agents.Observer. Those of the mesh are what the hypivisor told us."""
        if here and self._queue is not None:
            self._miscounted.add(agent)
            self._count_soon.ask()

    def _report_counts(self) -> None:
        for agent in self._miscounted:
            self.agent_changed(agent)
        self._miscounted.clear()

    def agent_gone(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        self._miscounted.discard(agent)
        self._changed.pop(agent, None)
        self._streams.unsubscribe(agent)
        self._streams.unsubscribe(terminal_stream(agent))
        self.send(forgotten=mesh_pb2.AgentForgotten(agent=agent))

    def stream_reset(self, agent: AgentId, reset: Reset) -> None:
        """See node.agents.Observer."""
        self._streams.reset(agent, reset)

    # --- dialling --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Stay linked until cancelled; without a membership, wait for one."""
        attempt = 0
        while True:
            started = time.monotonic()
            targets = await self._targets()
            if not targets:  # not joined: nothing to do before somebody says so, and then at once
                await self._retry_now.wait()
                self._retry_now.clear()
                continue
            for target in targets:
                if await self._session(target):
                    break
            self._leaving = None
            # A link that held for a while was a good one: begin again with short waits.
            attempt = 0 if time.monotonic() - started > 10 * FIRST_RETRY_S else attempt + 1
            ceiling = min(LAST_RETRY_S, FIRST_RETRY_S * 2 ** min(attempt, 10))
            if self.refused is not None:
                ceiling = REFUSED_RETRY_S
            self._retry_now.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(ceiling / 2, ceiling)):  # noqa: S311  jitter
                    await self._retry_now.wait()

    async def _session(self, target: Target) -> bool:
        """One stream from dial to end; whether the hypivisor was met: it let us in, or said why not."""
        met = False
        try:
            async with channels.open_channel(
                target.address, identity=target.identity, options=CHANNEL_OPTIONS
            ) as channel:
                stream = mesh_pb2_grpc.MeshStub(channel).Link()
                self._queue = FrameQueue()
                hello = mesh_pb2.NodeFrame(hello=self._hello())
                self._changed.clear()
                async with asyncio.timeout(target.patience_s):
                    await stream.write(mesh_pb2.NodeBatch(frames=[hello]))
                    first = await stream.read()
                if not isinstance(first, mesh_pb2.HypivisorBatch) or not first.frames:  # grpc's EOF
                    return self._refusal(await stream.code(), await stream.details() or "")
                met = True
                self._begin(first.frames[0].welcome, target)
                await self._pump(stream, first)
        except TimeoutError:
            log.debug("no welcome address=%s", target.address)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody wants us to end: grpc says it of a write on a stream whose read we gave up for silence.
            log.debug("link ended in a write address=%s", target.address)
        except asyncio.InvalidStateError:  # grpc's word for a write after an end that nobody has seen yet
            log.debug("link ended in a write address=%s", target.address)
        except grpc.aio.AioRpcError as exc:
            met = self._refusal(exc.code(), exc.details() or "") or met
        except HyperPiError as exc:
            log.warning("link ended address=%s reason=%s", target.address, exc)
        except (
            Exception
        ):  # a boundary: whatever a hypivisor makes of us, this machine's agents need their node
            log.exception("link ended address=%s", target.address)
        finally:
            self._end()
        return met

    def _hello(self) -> mesh_pb2.Hello:
        return mesh_pb2.Hello(
            protocol=PROTOCOL,
            version=__version__,
            boot=self._boot,
            platform=f"{platform.system()} {platform.machine()}",
            agents=[self._report(record.id) for record in self.agents.roster],
            status=self._status_frame(),
            address=self._address(),
            restored=self._restored,
            now_ms=int(time.time() * 1000),
        )

    def _begin(self, welcome: mesh_pb2.Welcome, target: Target) -> None:
        self.down.clear()
        self.refused = None
        self._target = target
        self.clock_ahead_s = time.time() - welcome.now_ms / 1000 if welcome.now_ms else 0.0
        if abs(self.clock_ahead_s) >= OFF_S:
            log.warning(
                "this machine's clock is %s the hypivisor's; what to do: turn on time synchronisation",
                apart(self.clock_ahead_s),
            )
        self._beat_s = welcome.heartbeat_s or 5.0
        log.info("linked address=%s mesh=%s name=%s", target.address, welcome.mesh, welcome.name)
        self._welcomed(welcome.node, welcome.name, welcome.mesh, target.address)
        self._scrolls.linked()
        self._mirrors.linked()

    def _end(self) -> None:
        was_up, self._queue, self._target = self.up, None, None
        self.down.set()
        if was_up:
            self._mirrors.unlinked()
            self._state_changed()
        self._streams.close()
        self._count_soon.close()
        self._miscounted.clear()
        self._banks.close()
        self._calls.lost()

    def _refusal(self, code: Any, details: str) -> bool:
        """Remember why the hypivisor does not want us, for `doctor`; whether that is what the status means.

        A network failure is no refusal.
        """
        if code not in REFUSALS:
            log.debug("link ended code=%s details=%s", code, details)
            return False
        reason, _, hint = details.partition("\n")
        refused = Refused(reason, hint or "`hyperpi doctor` looks for the reason")
        if self.refused != refused:
            self.refused = refused
            self._state_changed()
            log.warning("the hypivisor refused this node reason=%s; what to do: %s", reason, refused.hint)
        return True

    # --- the stream ------------------------------------------------------------------------------------

    async def _pump(self, stream: Any, first: mesh_pb2.HypivisorBatch) -> None:
        queue = self._queue
        assert queue is not None
        reader = asyncio.ensure_future(self._read(stream))
        reader.add_done_callback(lambda _: queue.wake.set())
        status = asyncio.ensure_future(self._report_status())
        try:
            for frame in list(first.frames)[1:]:
                self._take(frame)
            await self._write(stream, queue, reader)
            if reader.done():
                reader.result()
        finally:
            tasks = (reader, status, *self._calls.answering)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(
        self, stream: Any, queue: FrameQueue[mesh_pb2.NodeFrame], reader: asyncio.Future[None]
    ) -> None:
        beat = 0
        while not reader.done() and self._leaving is None:
            queue.wake.clear()
            frames = self._pending(queue)
            if frames:
                await stream.write(mesh_pb2.NodeBatch(frames=frames))
                continue
            try:
                async with asyncio.timeout(self._beat_s):
                    await queue.wake.wait()
            except TimeoutError:
                beat += 1
                queue.put(mesh_pb2.NodeFrame(heartbeat=mesh_pb2.Heartbeat(count=beat)))
        if self._leaving is not None and not reader.done():
            goodbye = mesh_pb2.NodeFrame(goodbye=mesh_pb2.Goodbye(reason=self._leaving))
            await stream.write(mesh_pb2.NodeBatch(frames=[goodbye]))
            await stream.done_writing()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):  # for the goodbye to be read; the stream ends either way
                    await reader

    def _pending(self, queue: FrameQueue[mesh_pb2.NodeFrame]) -> list[mesh_pb2.NodeFrame]:
        frames = [mesh_pb2.NodeFrame(agent=self._report(agent)) for agent in self._changed]
        self._changed.clear()
        frames += queue.take()
        if banks := self._banks.frames():
            frames += banks
            self._wake()  # there may be more
        # A message above 4 MiB would end the stream.
        return frames + self._streams.frames(BATCH_BYTES - sum(frame.ByteSize() for frame in frames))

    async def _read(self, stream: Any) -> None:
        silence_s = self._beat_s * MISSED_BEATS
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    batch = await stream.read()
            except TimeoutError:
                raise NodeUnreachable(f"the hypivisor was silent for {silence_s:g} s") from None
            if not isinstance(batch, mesh_pb2.HypivisorBatch):
                return  # grpc's EOF
            for frame in batch.frames:
                self._take(frame)

    def _take(self, frame: mesh_pb2.HypivisorFrame) -> None:
        match frame.WhichOneof("frame"):
            case "subscribe":
                self._streams.subscribe(frame.subscribe)
            case "unsubscribe":
                self._streams.unsubscribe(frame.unsubscribe.agent)
            case "viewers":
                self._streams.viewers(frame.viewers)
            case "watch_bank":
                self.send(reply=self._banks.watch(frame.watch_bank))
            case "unwatch_bank":
                self._banks.unwatch(frame.unwatch_bank.bank)
            case "call":
                self._calls.asked(frame.call)
            case "reply":
                self._calls.replied(frame.reply)
            case "routed":
                self._scrolls.routed(frame.routed)
            case "delivery":
                self._scrolls.delivered(frame.delivery)
            case "receipt":
                self._scrolls.receipt(frame.receipt)
            case "back":
                self._scrolls.node_back(frame.back.name, frame.back.restored)
                self._mirrors.node_back(frame.back.name)
            case "mirror":
                self._mirrors.frame(frame.mirror)
            case "goodbye":
                log.info("the hypivisor said goodbye reason=%s", frame.goodbye.reason)
            case "heartbeat" | "welcome":
                pass
            case unknown:
                log.debug("a frame was skipped kind=%s", unknown)

    # --- what is reported ------------------------------------------------------------------------------

    def _report(self, agent: AgentId) -> mesh_pb2.AgentReport:
        record = self.agents.roster.get(agent)
        shape: Json = msgspec.to_builtins(self.agents.shape(agent))
        shape["watchers"] = self.agents.watchers.get(agent, 0)  # the hypivisor counts the others
        shape["skills"] = [s.get("name", "") if isinstance(s, dict) else str(s) for s in record.skills]
        return mesh_pb2.AgentReport(agent=agent, agent_json=strict_json.encode(shape))

    def _status_frame(self) -> mesh_pb2.NodeStatus:
        load, disk = self._status()
        return mesh_pb2.NodeStatus(
            load_json=strict_json.encode(load), disk_json=strict_json.encode(disk) if disk else b""
        )

    async def _report_status(self) -> None:
        while True:
            await asyncio.sleep(STATUS_S)
            self.send(status=self._status_frame())

    def _wake(self) -> None:
        if self._queue is not None:
            self._queue.wake.set()
