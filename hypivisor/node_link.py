"""One node's live stream, as the rest of the hypivisor uses it: calls, subscriptions, frames that go out.

It knows nothing of gRPC: `link_service` writes what is queued here, and hands over what the node answers.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from hyperpi import strict_json
from hyperpi.address import NodeId
from hyperpi.errors import BadMessage, NodeUnreachable
from hyperpi.event import Cursor, Reset
from hyperpi.frames import FrameQueue
from hyperpi.roles import Caller
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import mesh_pb2

SUBSCRIBE_S = 10.0


class Watcher(Protocol):
    """A front end's stream of one agent's events."""

    def events(self, run: mesh_pb2.EventRun) -> None:
        """Live events, or a replay meant for it alone."""

    def reset(self, reset: Reset) -> None:
        """The epoch is over."""

    def node_gone(self) -> None:
        """The agent's node cannot be reached any more."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A watcher that the node was asked to serve."""

    stream: str
    watcher: Watcher
    opened: asyncio.Future[mesh_pb2.Subscribed]
    begin: Callable[[], None]


class NodeLink:
    """One node's live stream."""

    def __init__(self, node: NodeId) -> None:
        self.node = node
        self.queue: FrameQueue[mesh_pb2.HypivisorFrame] = FrameQueue()
        self.farewell: str | None = None
        self.restored = False  # its disk came from a copy lately
        self.over = asyncio.Event()
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._subscriptions: dict[int, Subscription] = {}

    def send(self, **frame: Any) -> None:
        """Queue one frame."""
        self.queue.put(mesh_pb2.HypivisorFrame(**frame))

    def work(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something for this node as long as its stream lasts."""
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def call(self, method: str, params: bytes, caller: Caller, timeout_s: float) -> bytes:
        """Ask the node; the encoded result. Raises its error; NodeUnreachable on silence or a lost link."""
        call = mesh_pb2.Call(
            call=next(self._numbers),
            method=method,
            params_json=params,
            caller=convert.caller_to_wire(caller),
            timeout_ms=int(timeout_s * 1000),
        )
        self.send(call=call)
        return await self._reply(call.call, timeout_s)

    async def watch_bank(self, bank: int, whole: bool) -> None:
        """Have the node tell of a bank's rows. Raises its error, or NodeUnreachable."""
        wanted = mesh_pb2.WatchBank(call=next(self._numbers), bank=bank, whole=whole)
        self.send(watch_bank=wanted)
        await self._reply(wanted.call, SUBSCRIBE_S)

    async def _reply(self, number: int, timeout_s: float) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._calls[number] = answer
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise NodeUnreachable(f"the node did not answer within {timeout_s:g} s") from None
        finally:
            self._calls.pop(number, None)

    async def subscribe(
        self, stream: str, cursor: Cursor | None, watcher: Watcher, begin: Callable[[], None]
    ) -> mesh_pb2.Subscribed:
        """Have the node send a stream's events. Raises its error, or NodeUnreachable.

        `begin` is called at the answer's own place in the stream: a replay comes after it, then live events.
        """
        number = next(self._numbers)
        opened: asyncio.Future[mesh_pb2.Subscribed] = asyncio.get_running_loop().create_future()
        self._subscriptions[number] = Subscription(stream, watcher, opened, begin)
        epoch, seq = (cursor.epoch, cursor.seq) if cursor else ("", 0)
        self.send(subscribe=mesh_pb2.Subscribe(subscription=number, agent=stream, epoch=epoch, seq=seq))
        try:
            async with asyncio.timeout(SUBSCRIBE_S):
                return await opened
        except TimeoutError:
            raise NodeUnreachable("the node did not answer") from None

    def unsubscribe(self, watcher: Watcher) -> None:
        """Forget a watcher; harmless when repeated."""
        for number, subscription in list(self._subscriptions.items()):
            if subscription.watcher is watcher:
                del self._subscriptions[number]

    def is_subscribing(self, stream: str) -> bool:
        """Whether the node was asked for a stream and has not answered yet."""
        return any(s.stream == stream and not s.opened.done() for s in self._subscriptions.values())

    # --- frames from the node --------------------------------------------------------------------------

    def replied(self, reply: mesh_pb2.Reply) -> None:
        """An answer to a call of ours; a late one is dropped."""
        answer = self._calls.get(reply.call)
        if answer is None or answer.done():
            return
        if reply.HasField("error"):
            answer.set_exception(convert.error_from_wire(reply.error))
        else:
            try:
                answer.set_result(strict_json.sound(reply.result_json))
            except BadMessage as exc:
                answer.set_exception(exc)

    def subscribed(self, answer: mesh_pb2.Subscribed) -> None:
        """The node has begun (or refused) a subscription."""
        subscription = self._subscriptions.get(answer.subscription)
        if subscription is None or subscription.opened.done():
            return
        if answer.HasField("error"):
            subscription.opened.set_exception(convert.error_from_wire(answer.error))
        else:
            subscription.begin()
            subscription.opened.set_result(answer)

    def replayed(self, run: mesh_pb2.EventRun) -> None:
        """Events for one watcher that began behind the others."""
        if (subscription := self._subscriptions.get(run.subscription)) is not None:
            subscription.watcher.events(run)

    def close(self) -> None:
        """The stream has ended: whoever waits for the node is told, and nothing is done for it any more."""
        self.over.set()
        self.queue.wake.set()
        for task in self._working:
            task.cancel()
        gone = NodeUnreachable("the node's link has ended", hint="it is dialling again")
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(gone)
        for subscription in self._subscriptions.values():
            if not subscription.opened.done():
                subscription.opened.set_exception(gone)
