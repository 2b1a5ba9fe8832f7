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
from hyperpi.errors import NodeUnreachable
from hyperpi.event import Cursor, Reset
from hyperpi.frames import FrameQueue
from hyperpi.roles import Caller
from hyperpi.wire import convert
from hyperpi.wire.calls import Calls
from hyperpi.wire.hyperpi.v1 import mesh_pb2

SUBSCRIBE_S = 10.0


class Watcher(Protocol):
    """A front end's stream of one agent's events."""

    viewers: int  # who share it

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
        self._calls = Calls("the node")
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
        """Ask the node; the encoded result. Raises its error; NodeUnreachable on silence or a lost link,
        BadMessage when the answer is not JSON.
        """

        def send(number: int) -> None:
            self.send(
                call=mesh_pb2.Call(
                    call=number,
                    method=method,
                    params_json=params,
                    caller=convert.caller_to_wire(caller),
                    timeout_ms=int(timeout_s * 1000),
                )
            )

        return strict_json.sound(await self._calls.ask(send, timeout_s))

    async def watch_bank(self, bank: int, whole: bool) -> None:
        """Have the node tell of a bank's rows. Raises its error, or NodeUnreachable."""

        def send(number: int) -> None:
            self.send(watch_bank=mesh_pb2.WatchBank(call=number, bank=bank, whole=whole))

        await self._calls.ask(send, SUBSCRIBE_S)

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
        self._calls.replied(reply)

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
        self._calls.lost(gone)
        for subscription in self._subscriptions.values():
            if not subscription.opened.done():
                subscription.opened.set_exception(gone)
