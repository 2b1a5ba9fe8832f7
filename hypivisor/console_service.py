"""The Console edge: what front ends see of the mesh, and what they ask of it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any, Protocol

import grpc

from hyperpi import strict_json
from hyperpi.channels import refusal_text
from hyperpi.errors import HyperPiError, Overloaded
from hyperpi.event import Reset
from hyperpi.frames import FrameQueue
from hyperpi.mesh_view import Change
from hyperpi.roles import Caller
from hyperpi.status import status_of
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import console_pb2, console_pb2_grpc, mesh_pb2
from hypivisor.bank_demand import Bank
from hypivisor.link_service import LinkService
from hypivisor.notices import Notices

log = logging.getLogger(__name__)

MAX_FEED_BYTES = 16 << 20
BEAT_S = 10.0
MAX_VIEWERS = 10_000  # of one stream: a front end has far fewer, and any joined machine can say more


class Methods(Protocol):
    """Every method of the contract that is not a stream."""

    async def call_from_front_end(self, method: str, params_json: bytes, caller: Caller) -> bytes:
        """The encoded result. Raises HyperPiError."""


class FrontEnds(Protocol):
    """Where login links lead."""

    mesh_tag: str

    def front_end(self, url: str) -> AbstractContextManager[None]:
        """There is a front end at an address, as long as the block lasts."""


class FeedWatcher:
    """One front end's stream of one agent: bounded, ended rather than waited for."""

    def __init__(self, viewers: int) -> None:
        self.counted(viewers)
        self.queue: FrameQueue[mesh_pb2.EventRun] = FrameQueue(MAX_FEED_BYTES)
        self.over: tuple[grpc.StatusCode, str] | None = None

    def counted(self, viewers: int) -> None:
        """So many share the stream, as far as a front end can be believed."""
        self.viewers = min(max(1, viewers), MAX_VIEWERS)

    def events(self, run: mesh_pb2.EventRun) -> None:
        """See link_service.Watcher."""
        self.queue.put(run)

    def reset(self, reset: Reset) -> None:
        """See link_service.Watcher."""
        text = strict_json.encode({"epoch": reset.epoch, "reason": reset.reason}).decode()
        self._end(grpc.StatusCode.FAILED_PRECONDITION, text)

    def node_gone(self) -> None:
        """See link_service.Watcher."""
        self._end(grpc.StatusCode.UNAVAILABLE, "the node's link has ended")

    def _end(self, code: grpc.StatusCode, why: str) -> None:
        self.over = (code, why)
        self.queue.wake.set()


class ConsoleService(console_pb2_grpc.ConsoleServicer):
    """Serves front ends; they may come and go."""

    def __init__(self, links: LinkService, methods: Methods, front_ends: FrontEnds, notices: Notices) -> None:
        self._links = links
        self._methods = methods
        self._front_ends = front_ends
        self._notices = notices
        self._counted: dict[str, tuple[str, FeedWatcher]] = {}  # by a front end's name for it

    async def Watch(
        self, request: console_pb2.WatchRequest, context: Any
    ) -> AsyncIterator[console_pb2.MeshChange]:
        """The roster, whole, then what changes."""
        view = self._links.registry.view
        limits = strict_json.encode(view.limits)
        wake = asyncio.Event()
        with ExitStack() as stack:
            inbox = stack.enter_context(self._notices.inbox(wake.set))
            view.listen(wake.set)
            stack.callback(view.unlisten, wake.set)
            if request.url:
                stack.enter_context(self._front_ends.front_end(request.url))
            whole = Change(view.epoch, 0, view.rev, True, dict(view.nodes), dict(view.agents))
            rev = view.rev
            first = convert.change_to_wire(whole, view.mesh, limits, [])
            first.mesh_tag = self._front_ends.mesh_tag
            yield first
            while True:
                with suppress(TimeoutError):  # an empty change is the heartbeat
                    async with asyncio.timeout(BEAT_S):
                        await wake.wait()
                wake.clear()
                try:
                    notices = inbox.take()
                except Overloaded as exc:
                    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(exc))
                change = view.since(rev)
                rev = change.rev
                yield convert.change_to_wire(change, view.mesh, limits, notices)

    async def Attach(
        self, request: console_pb2.AttachRequest, context: Any
    ) -> AsyncIterator[console_pb2.FeedBatch]:
        """One agent's events after a cursor, or what its terminal shows."""
        stream = request.agent
        watcher = FeedWatcher(request.viewers)
        try:
            opened = await self._links.watch(
                stream, convert.cursor_from_wire(request.epoch, request.seq), watcher
            )
        except HyperPiError as exc:
            await context.abort(grpc.StatusCode[status_of(exc).grpc], refusal_text(exc))
            return
        if request.feed:
            self._counted[request.feed] = (stream, watcher)
        try:
            yield console_pb2.FeedBatch(opened=opened)
            while watcher.over is None:
                watcher.queue.wake.clear()
                if runs := watcher.queue.take():
                    yield console_pb2.FeedBatch(runs=runs)
                else:
                    await watcher.queue.wake.wait()
            await context.abort(*watcher.over)
        except HyperPiError as exc:
            await context.abort(grpc.StatusCode[status_of(exc).grpc], refusal_text(exc))
        finally:
            if self._counted.get(request.feed) == (stream, watcher):
                del self._counted[request.feed]
            self._links.unwatch(stream, watcher)

    async def Count(self, request: console_pb2.ViewerCounts, _context: Any) -> console_pb2.ViewerCountsTaken:
        """How many viewers share streams by now."""
        for told in request.counts:
            if told.feed in self._counted:
                stream, watcher = self._counted[told.feed]
                watcher.counted(told.viewers)
                self._links.count(stream)
        return console_pb2.ViewerCountsTaken()

    async def WatchBank(
        self, request: console_pb2.WatchBankRequest, context: Any
    ) -> AsyncIterator[console_pb2.BankBatch]:
        """The rows of one bank that change: of one that changed again before it was read, the last."""
        try:
            bank = Bank(self._links.registry.node(request.node).id, request.bank)
            watcher = await self._links.banks.watch(bank, whole=request.whole)
        except HyperPiError as exc:
            await context.abort(grpc.StatusCode[status_of(exc).grpc], refusal_text(exc))
            return
        try:
            yield console_pb2.BankBatch(node=bank.node)
            while not watcher.gone:
                watcher.wake.clear()
                if rows := watcher.changes.take():
                    yield console_pb2.BankBatch(rows=convert.rows_to_wire(rows))
                else:
                    await watcher.wake.wait()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the node's link has ended")
        finally:
            self._links.banks.unwatch(bank, watcher)

    async def Call(self, request: console_pb2.ConsoleCall, context: Any) -> mesh_pb2.Reply:
        """Any method; errors travel in the reply, so that their data survives."""
        caller = convert.caller_from_wire(request.caller)
        try:
            result = await self._methods.call_from_front_end(request.method, request.params_json, caller)
        except HyperPiError as exc:
            return mesh_pb2.Reply(error=convert.error_to_wire(exc))
        except Exception as exc:  # a boundary: the front end gets no detail, the log gets all of it
            log.exception("a call failed method=%s", request.method)
            return mesh_pb2.Reply(error=convert.error_to_wire(exc))
        return mesh_pb2.Reply(result_json=result)
