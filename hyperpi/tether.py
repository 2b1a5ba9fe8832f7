"""A program's connection to its node: the client of the agent socket (docs/agent-socket.md), for Python.

Dials, registers, redials with jittered backoff, resends what was not acknowledged. What the agent is and says
is its `Subject`'s; when the node is away, the subject goes on telling and hears nothing of it.
"""

import asyncio
import contextlib
import logging
import random
from pathlib import Path
from typing import Any, Protocol

import msgspec

from hyperpi import lines
from hyperpi.contract import Json
from hyperpi.errors import BadRequest, HyperPiError, NodeUnreachable
from hyperpi.unacked import Unacked

log = logging.getLogger(__name__)

FIRST_REDIAL_S, MAX_REDIAL_S = 0.1, 1.0  # how long an agent may be missing after its node's restart
REGISTER_S = 10.0  # a node that is slower than this hangs: dial again
MAX_REFUSALS = 3  # in a row, of events; then they are dropped, and the node asks for a snapshot
BYE_S = 1.0  # for the last lines to be written

Answer = asyncio.Future[tuple[msgspec.Raw, Any]]


class Subject(Protocol):
    """The agent behind a tether. All of these are called on the event loop, and must not block it."""

    def hello(self) -> Json:
        """Params of agent.register."""

    def standing(self) -> Json:
        """Params of agent.changed: what holds now, told after each registration."""

    def serve(self, method: str, params: Json) -> Any:
        """Answer the node: a value, or an awaitable of one. Raises HyperPiError.

        A value that is not awaited for is answered at this place of the stream: all told before it is sent
        first, nothing told after it.
        """


class Tether:
    """One agent's line to the node of a home. `run` keeps it up until cancelled."""

    def __init__(self, home: Path, subject: Subject) -> None:
        self._address = home / "node" / "agent.addr"
        self._subject = subject
        self._unacked = Unacked()
        self._change: Json = {}
        self._lines: lines.Lines | None = None
        self._registered = asyncio.Event()
        self._absent = asyncio.Event()  # the opposite
        self._absent.set()
        self._flushing = False
        self._refusals = 0

    # --- telling ---------------------------------------------------------------------------------------

    def tell(self, *events: Json) -> None:
        """Events of the conversation, in order. They reach the node once, now or after a redial."""
        for event in events:
            self._unacked.offer(event)
        self._flush_soon()

    def change(self, **change: Any) -> None:
        """What is new: state, detail, card, session, usage. Sent after the events told so far."""
        self._change |= change
        self._flush_soon()

    async def call(self, method: str, params: Json, timeout_s: float) -> Any:
        """Ask the node. Raises its error, and NodeUnreachable when there is none or it does not answer."""
        if self._lines is None:
            raise NodeUnreachable("the node is not connected")
        return await self._lines.rpc.call(method, params, timeout_s)

    def say(self, method: str, params: Json) -> None:
        """Tell the node something that needs no answer; a node that is away does not hear it."""
        self._flush()
        if self._lines is not None:
            with contextlib.suppress(HyperPiError):
                self._lines.rpc.ask(method, params).add_done_callback(_noted)

    async def connected(self) -> None:
        """Return once the node knows this agent."""
        await self._registered.wait()

    async def disconnected(self) -> None:
        """Return once the connection to the node has ended."""
        await self._absent.wait()

    # --- the connection --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Dial, and dial again, until cancelled."""
        wait_s = FIRST_REDIAL_S
        while True:
            try:
                peer = await lines.dial(Path(self._address.read_text().strip()), self._serve)
            except OSError:
                pass  # no node now
            else:
                try:
                    if await self._attend(peer):
                        wait_s = FIRST_REDIAL_S
                finally:
                    self._lost()
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter
            wait_s = min(2 * wait_s, MAX_REDIAL_S)

    async def _attend(self, peer: lines.Lines) -> bool:
        """One connection, until it ends; whether the node took us in."""
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(peer.run(), name="tether-lines")
            try:
                welcome = await peer.rpc.call("agent.register", self._subject.hello(), REGISTER_S)
            except HyperPiError as exc:
                log.warning("not registered reason=%s", exc)
                peer.cut()
                return False
            self._welcomed(peer, welcome)
            try:
                await reading
            except asyncio.CancelledError:
                peer.cut()
                raise
        return True

    def _welcomed(self, peer: lines.Lines, welcome: Json) -> None:
        acked = welcome.get("acked")
        self._unacked.resume(acked if isinstance(acked, int) else 0)
        self._lines = peer
        self._change = {**self._subject.standing(), **self._change}
        self._registered.set()
        self._absent.clear()
        self._flush()

    def _lost(self) -> None:
        self._lines = None
        self._registered.clear()
        self._absent.set()

    def _serve(self, method: str, raw: msgspec.Raw) -> Any:
        try:
            params = msgspec.json.decode(raw, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise BadRequest(str(exc)) from None
        self._flush()
        return self._subject.serve(method, params)

    # --- out to the node -------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        """Once this round of the loop is over: what comes in a burst goes out as one message."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._lines is None:
            return
        try:
            while (batch := self._unacked.take()) is not None:
                first, events = batch
                answer = self._lines.rpc.ask("agent.events", {"from": first, "events": events})
                answer.add_done_callback(self._acknowledged)
            if self._change:
                change, self._change = self._change, {}
                self._lines.rpc.ask("agent.changed", change).add_done_callback(_noted)
        except HyperPiError as exc:  # it does not answer any more: what it did not take goes out again later
            log.warning("the node is cut off reason=%s", exc)
            self._lines.cut()

    def _acknowledged(self, answer: Answer) -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if error is None:
            self._refusals = 0
            self._unacked.acknowledge(msgspec.json.decode(answer.result()[0])["acked"])
        elif not isinstance(error, NodeUnreachable) and self._lines is not None:
            log.warning("events were refused reason=%s", error)
            self._refusals += 1
            if self._refusals >= MAX_REFUSALS:
                self._refusals = 0
                self._unacked.clear()
            self._lines.cut()

    async def bye(self, reason: str) -> None:
        """Tell the rest, and a polite end, if there is a node to hear it."""
        self._flush()
        with contextlib.suppress(HyperPiError):
            await self.call("agent.bye", {"reason": reason}, BYE_S)


def _noted(answer: Answer) -> None:
    if not answer.cancelled() and (error := answer.exception()) is not None:
        log.debug("a change was not taken reason=%s", error)
