"""A front end's view of the mesh through the Console service: a `viewer.Backend`.

Keeps one Watch stream and, per watched agent, one Attach stream whose events are mirrored into a ring that
all local viewers share. Both come back by themselves; viewers notice nothing but the pause.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
import msgspec

from hyperpi import strict_json
from hyperpi.address import agent_of, is_terminal, new_id, terminal_stream
from hyperpi.bank_mirror import BankMirror, MirroredBank
from hyperpi.errors import CursorCompacted, NodeUnreachable, NotFound
from hyperpi.event import Cursor, Reset
from hyperpi.mesh_view import MeshView
from hyperpi.redial import backoff, error_of
from hyperpi.ring import Ring
from hyperpi.roles import Caller
from hyperpi.soon import Soon
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import console_pb2, console_pb2_grpc

log = logging.getLogger(__name__)

CALL_S = 30.0  # the longest that a method may take: a spawn on a slow disk
OPEN_S = 10.0
COUNT_S = 0.25  # viewers that come and go within it are told of at once
COUNT_TRIES = 8  # 9 s of pauses; after these the next viewer who comes or goes has it tried again
MIRROR_BYTES = 10 << 20  # above the 8 MiB at which a slow viewer is closed

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # a whole roster may be larger than gRPC's 4 MiB
    # On one machine a dial costs nothing, and grpc's own pause grows to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

Notify = Callable[[str, str, bytes], None]  # topic, method, encoded params


class SnapshotAnswer(msgspec.Struct):
    """What a node answers to agent.snapshot."""

    epoch: str
    seq: int
    snapshot: msgspec.Raw


def local_channel(target: str) -> grpc.aio.Channel:
    """To a hypivisor of this machine, such as `unix:/path`: a socket in a private folder, never a port.

    Raises ValueError for anything else: what is said here is not encrypted, and says who asks.
    """
    if not target.startswith("unix:"):
        raise ValueError(f"{target!r} is not a unix: socket")
    return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)


class ConsoleClient:
    """A `viewer.Backend` over a hypivisor's Console. It owns the channel, which `run` closes in the end."""

    def __init__(self, channel: grpc.aio.Channel, url: str = "") -> None:
        """`url`: where browsers find us, if they do."""
        self.mesh_tag = ""  # once connected
        self._url = url
        self.view = MeshView()
        self.connected, self.disconnected = asyncio.Event(), asyncio.Event()  # one of them is set
        self.disconnected.set()
        self.on_notice: list[Notify] = []
        self._channel = channel
        self._stub = console_pb2_grpc.ConsoleStub(channel)
        self._feeds: dict[str, Mirror] = {}
        self._banks: dict[tuple[str, int], BankMirror] = {}
        self._miscounted: set[Mirror] = set()
        self._count_soon = Soon(COUNT_S, self._begin_count)
        self._counting: asyncio.Task[None] | None = None

    def redial(self, channel: grpc.aio.Channel) -> None:
        """From now on by another channel; what follows an agent or a bank goes on there where it was.

        The old one is closed by its finaliser, with the last stream on it: closing it here would cancel the
        streams, and their readers with them.
        """
        self._channel = channel
        self._stub = console_pb2_grpc.ConsoleStub(channel)

    async def run(self) -> None:
        """Follow the roster until cancelled."""
        waits = backoff()
        try:
            while True:
                try:
                    async for change in self._stub.Watch(console_pb2.WatchRequest(url=self._url)):
                        self._take(change)
                        waits = backoff()
                except grpc.aio.AioRpcError as exc:
                    log.debug("the console stream ended code=%s", exc.code())
                except Exception:  # a boundary: one bad message must not freeze every page for ever
                    log.exception("the console stream could not be read")
                self.connected.clear()
                self.disconnected.set()
                self.view.wake()  # it may not be what viewers should look at any more
                await asyncio.sleep(next(waits))
        finally:
            self._count_soon.close()
            if self._counting is not None:
                self._counting.cancel()
            for feed in list(self._feeds.values()):
                feed.close()
            for bank in list(self._banks.values()):
                bank.close()
            await self._channel.close()

    def _take(self, wire: console_pb2.MeshChange) -> None:
        change = convert.change_from_wire(wire)
        if change.whole:
            self.view.mesh, self.mesh_tag = wire.mesh, wire.mesh_tag
            self.view.limits = msgspec.json.decode(wire.limits_json)
        if change.whole or change.rev != self.view.rev:
            self.view.apply(change)
        for notice in wire.notices:
            for notify in self.on_notice:
                notify(notice.topic, notice.method, notice.params_json)
        self.connected.set()
        self.disconnected.clear()

    async def mesh(self, caller: Caller) -> bytes:
        """See viewer.Backend: from the mirror, which is what `mesh.changed` goes on from."""
        return self.view.whole_json({"name": caller.name, "role": caller.role})

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller) -> bytes:
        """See viewer.Backend."""
        request = console_pb2.ConsoleCall(
            method=method, params_json=strict_json.encode(params), caller=convert.caller_to_wire(caller)
        )
        try:
            reply = await self._stub.Call(request, timeout=CALL_S)
        except grpc.aio.AioRpcError as exc:
            raise error_of(exc) from None
        if reply.HasField("error"):
            raise convert.error_from_wire(reply.error)
        result: bytes = reply.result_json
        return result

    async def feed(self, agent: str, cursor: Cursor | None) -> "Mirror":
        """See viewer.Backend."""
        return await self._mirror(await self._id_of(agent), cursor)

    async def terminal(self, agent: str) -> "Mirror":
        """See viewer.Backend."""
        return await self._mirror(terminal_stream(await self._id_of(agent)), None)

    async def _id_of(self, agent: str) -> str:
        if agent in self.view.agents:
            return agent
        shown = await self.call("agent.show", {"agent": agent}, INTERNAL)
        return str(msgspec.json.decode(shown)["id"])

    async def _mirror(self, stream: str, cursor: Cursor | None) -> "Mirror":
        feed = self._feeds.get(stream)
        if feed is None:
            feed = self._feeds[stream] = Mirror(self, stream)
            feed.begin(cursor)
        feed.retain()
        try:
            await feed.opened()
        except BaseException:
            feed.release()
            raise
        return feed

    def attach(self, stream: str, cursor: Cursor | None, feed: str, viewers: int) -> Any:
        """Open an Attach stream."""
        epoch, seq = (cursor.epoch, cursor.seq) if cursor else ("", 0)
        return self._stub.Attach(
            console_pb2.AttachRequest(agent=stream, epoch=epoch, seq=seq, feed=feed, viewers=viewers)
        )

    def miscounted(self, mirror: "Mirror") -> None:
        """The hypivisor does not know yet how many share a mirror."""
        self._miscounted.add(mirror)
        self._count_soon.ask()

    def _begin_count(self) -> None:
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count(), name="count-viewers")
        else:
            self._count_soon.ask()  # one at a time, or an older number could come last

    async def _count(self) -> None:
        for pause_s in itertools.islice(backoff(), COUNT_TRIES):
            mirrors, self._miscounted = self._miscounted, set()
            counts = [(mirror, count) for mirror in mirrors if (count := mirror.counted()) is not None]
            # One that went away hears it when the streams are opened again: then there is nothing to tell.
            if not counts or await self._tell([count for _, count in counts]):
                for mirror, count in counts:
                    mirror.told(count)
                return
            self._miscounted |= mirrors
            await asyncio.sleep(pause_s)

    async def _tell(self, counts: Sequence[console_pb2.ViewerCount]) -> bool:
        """Whether the hypivisor has taken them."""
        try:
            await self._stub.Count(console_pb2.ViewerCounts(counts=counts), timeout=OPEN_S)
        except grpc.aio.AioRpcError as exc:
            log.debug("viewers were not counted code=%s", exc.code())
            return exc.code() == grpc.StatusCode.UNIMPLEMENTED  # one too old counts us as one, now and later
        except grpc.aio.UsageError:  # on a channel that is closed, until there is another
            return False
        return True

    async def watch_bank(self, node: str, bank: int, wake: Callable[[], None]) -> MirroredBank:
        """See viewer.Backend."""
        key = (node, bank)
        mirror = self._banks.get(key)
        if mirror is None:

            def stream(whole: bool) -> Any:
                return self._stub.WatchBank(console_pb2.WatchBankRequest(node=node, bank=bank, whole=whole))

            def ended(over: BankMirror) -> None:
                if self._banks.get(key) is over:
                    del self._banks[key]

            mirror = self._banks[key] = BankMirror(node, bank, stream, ended)
        return await mirror.join(wake)

    def drop(self, feed: "Mirror") -> None:
        """A mirror that nobody uses any more, or that is over."""
        if self._feeds.get(feed.stream) is feed:
            del self._feeds[feed.stream]


INTERNAL = Caller("pi-de", "viewer", "pide")


class Mirror:
    """One agent's events, or what its terminal shows, mirrored while somebody follows: a `viewer.Feed` and a
    `terminal_view.TerminalFeed`.
    """

    def __init__(self, client: ConsoleClient, stream: str) -> None:
        self.stream = stream
        self.agent: str = agent_of(stream)
        self.ring = Ring("", max_bytes=MIRROR_BYTES)
        self.ended: Reset | None = None
        self._client = client
        self._users = 0
        self._name = ""  # of the present stream, where viewers are counted
        self._told = 0  # how many the hypivisor was told of for it; 0: not open yet
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._snapshot: asyncio.Task[tuple[Cursor, bytes]] | None = None

    def begin(self, cursor: Cursor | None) -> None:
        """Start the stream after the first viewer's cursor."""
        self._task = asyncio.create_task(self._run(cursor), name=f"mirror-{self.stream}")

    async def opened(self) -> None:
        """Return once the ring has a place in the stream. Raises why there is none."""
        try:
            async with asyncio.timeout(OPEN_S):
                await asyncio.shield(self._opened)
        except TimeoutError:
            raise NodeUnreachable("the node did not answer") from None

    def retain(self) -> None:
        """One more viewer."""
        self._users += 1
        self._count()

    def release(self) -> None:
        """See viewer.Feed: the last one closes the stream."""
        self._users -= 1
        if self._users <= 0:
            self.close()
        else:
            self._count()

    def _count(self) -> None:
        if self._told and self._users != self._told:
            self._client.miscounted(self)

    def counted(self) -> console_pb2.ViewerCount | None:
        """What the hypivisor has to be told of its viewers now, if anything."""
        if not self._told or self._users in {0, self._told}:
            return None
        return console_pb2.ViewerCount(feed=self._name, viewers=self._users)

    def told(self, count: console_pb2.ViewerCount) -> None:
        """The hypivisor has heard that; meanwhile it may be another number, or another stream."""
        if self._told and count.feed == self._name:
            self._told = count.viewers
            self._count()

    def close(self) -> None:
        """End the stream."""
        self._client.drop(self)
        self._told = 0
        for task in (self._task, self._snapshot):
            if task is not None:
                task.cancel()

    async def snapshot(self) -> tuple[Cursor, bytes]:
        """See viewer.Feed. Viewers who ask at the same moment share one answer."""
        if self._snapshot is None or self._snapshot.done():
            self._snapshot = asyncio.create_task(self._take_snapshot())
        return await asyncio.shield(self._snapshot)

    async def scrollback(self, offset: int | None) -> bytes:
        """See terminal_view.TerminalFeed."""
        return await self._client.call("agent.scrollback", {"agent": self.agent, "offset": offset}, INTERNAL)

    async def _take_snapshot(self) -> tuple[Cursor, bytes]:
        raw = await self._client.call("agent.snapshot", {"agent": self.agent}, INTERNAL)
        answer = msgspec.json.decode(raw, type=SnapshotAnswer)
        return Cursor(answer.epoch, answer.seq), bytes(answer.snapshot)

    async def _run(self, cursor: Cursor | None) -> None:
        waits = backoff()
        try:
            while self.ended is None:
                try:
                    # Whoever looks at a terminal follows the agent as well, and is counted there.
                    self._name, self._told = "" if is_terminal(self.stream) else new_id("f"), 0
                    viewers = max(1, self._users)
                    async for batch in self._client.attach(self.stream, cursor, self._name, viewers):
                        if self._name and batch.HasField("opened"):
                            self._told = viewers
                            self._count()
                        self._take(batch)
                        waits = backoff()
                        if self.ended is not None:
                            break
                except grpc.aio.AioRpcError as exc:
                    self._stopped(exc)
                except CursorCompacted:
                    self._end(Reset(self.ring.epoch, "overrun"))
                except Exception:  # a boundary: one bad batch must not leave everybody waiting for ever
                    log.exception("an agent could not be followed stream=%s", self.stream)
                    self._end(Reset(self.ring.epoch, "lost"))
                if self.ended is None:
                    cursor = Cursor(self.ring.epoch, self.ring.head)
                    await asyncio.sleep(next(waits))
        finally:
            self._client.drop(self)
            self._told = 0

    def _take(self, batch: console_pb2.FeedBatch) -> None:
        if batch.HasField("opened"):
            if not self._opened.done():
                self.ring.epoch, self.ring.head = batch.opened.epoch, batch.opened.seq
                self._opened.set_result(None)
            elif batch.opened.gap or batch.opened.epoch != self.ring.epoch:
                self._end(Reset(batch.opened.epoch, "lost"))
                return
        for run in batch.runs:
            if run.epoch == self.ring.epoch:
                self.ring.extend(run.first_seq, run.events_json)

    def _stopped(self, exc: grpc.aio.AioRpcError) -> None:
        error = error_of(exc)
        if not self._opened.done():
            # Nobody has been promised anything yet: the viewer hears why, and asks again when it may help.
            self._opened.set_exception(error)
            self._opened.exception()  # looked at, should every viewer have gone meanwhile
            self._end(Reset("", "unavailable"))
        elif exc.code() == grpc.StatusCode.FAILED_PRECONDITION:
            self._end(msgspec.json.decode(exc.details() or "{}", type=Reset))
        elif isinstance(error, NotFound):
            self._end(Reset("", "forgotten"))

    def _end(self, reset: Reset) -> None:
        self.ended = reset
        self._client.drop(self)
        self.ring.wake()
