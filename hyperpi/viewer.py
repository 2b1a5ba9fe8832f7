"""One viewer: a browser tab or a program on `/ws`, or the command on a control socket.

It holds a cursor into the roster and one into the ring of each agent that it watches, never a queue of
events: a slow viewer costs nobody anything. Pi-DE and the node's local endpoint use it with their own
`Backend`. It knows nothing of sockets: whole messages come in, whole messages go out.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from hyperpi import contract, roles, strict_json
from hyperpi.address import new_id
from hyperpi.errors import BadRequest, CursorCompacted, NodeUnreachable, Overloaded, UnknownMethod
from hyperpi.event import Cursor, Reset, merge
from hyperpi.mesh_view import Change, MeshView, change_params
from hyperpi.ring import Ring
from hyperpi.roles import ADMIN, Caller
from hyperpi.row_changes import RowChanges
from hyperpi.rpc import Connection
from hyperpi.terminal_view import TerminalFeed, TerminalPlace, enter

log = logging.getLogger(__name__)

FRAME_BYTES = 256 << 10  # events in one frame: large enough to batch, small enough to interleave agents
MERGE_ABOVE_BYTES = 1 << 20  # further behind than this, deltas are joined
CLOSE_ABOVE_BYTES = 8 << 20  # further behind than this, a resume is cheaper
STUCK_S = 5.0  # a frame that cannot be sent for so long
MAX_QUEUED_MESSAGES = 2_000  # answers and notices; a viewer that lets them pile up is closed
SNAPSHOT_TRIES = 3
EPOCH_S = 0.5  # for a mirror to hear that its epoch is over: a restarted node links again within this, mostly

SLOW, REVOKED, RESTARTING = 4000, 4001, 4002  # close codes of the contract


class Feed(Protocol):
    """The events of one agent, from wherever they come."""

    agent: str
    ring: Ring
    ended: Reset | None  # set when the epoch is over: this feed says nothing more

    async def snapshot(self) -> tuple[Cursor, bytes]:
        """The encoded snapshot and the cursor that it corresponds to."""

    def release(self) -> None:
        """This viewer no longer needs it."""


class BankFeed(Protocol):
    """The rows of one bank of a PXLDisk as they change, from wherever they come."""

    node: str  # its id
    bank: int
    changes: RowChanges

    def release(self) -> None:
        """This viewer no longer needs it."""


class Backend(Protocol):
    """What a viewer looks at: the mesh through the hypivisor, or one node."""

    @property
    def view(self) -> MeshView:
        """The roster to look at now; another one wakes whoever listens to the former."""

    async def mesh(self, caller: Caller) -> bytes:
        """The encoded result of mesh.get, as `view` is when this returns."""

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller) -> bytes:
        """The encoded result of any method that is not a stream. Raises HyperPiError."""

    async def feed(self, agent: str, cursor: Cursor | None) -> Feed:
        """Start or join the feed of an agent given by id, name or address. Raises NotFound and others."""

    async def terminal(self, agent: str) -> TerminalFeed:
        """Follow the terminal of an agent given by id, name or address. Raises NotFound and others."""

    async def watch_bank(self, node: str, bank: int, wake: Callable[[], None]) -> BankFeed:
        """Follow a bank of a node given by id or name: rows that change after this has returned. `wake` is
        called when there are some. Raises NotFound, NodeUnreachable.
        """


class Outlet(Protocol):
    """Where messages go."""

    async def send(self, message: bytes) -> None:
        """Returns when the transport has taken it; blocks while the peer does not read.

        Raises ConnectionError when the peer has gone.
        """

    async def close(self, code: int, reason: str) -> None:
        """End the connection with a close code of the contract."""


@dataclass(slots=True)
class Attachment:
    """A viewer's place in an agent's stream."""

    feed: Feed
    seq: int


class Viewer:
    """Answers one viewer's requests and pushes what it follows. `run` is its one writer; then `leave`."""

    def __init__(self, backend: Backend, caller: Caller, outlet: Outlet) -> None:
        self.caller = Caller(caller.name, caller.role, caller.source, connection=new_id("v"))
        self.rpc = Connection(self._queue_message, self._handle, strict=True)
        self._backend = backend
        self._outlet = outlet
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(MAX_QUEUED_MESSAGES)
        self._attachments: dict[str, Attachment] = {}
        self._terminals: dict[str, TerminalPlace] = {}
        self._banks: dict[tuple[str, int], BankFeed] = {}
        self._bank_names: dict[tuple[str, int], tuple[str, int]] = {}  # as asked for, and as they are
        self._mesh_rev: int | None = None
        self._mesh_epoch = ""
        self._listening: MeshView | None = None  # the view whose changes wake us
        self._wake = asyncio.Event()
        self._in_order = asyncio.Lock()
        self._closing: tuple[int, str] | None = None

    # --- requests --------------------------------------------------------------------------------------

    def _handle(self, method: str, raw: msgspec.Raw) -> Awaitable[Any]:
        if method not in roles.METHOD_ROLES:
            raise UnknownMethod(f"there is no method {method}", hint="see docs/contract")
        roles.check(self.caller, method)
        params = msgspec.json.decode(raw)
        if not isinstance(params, dict):
            raise BadRequest("params are an object")
        params = roles.narrowed(self.caller, method, params)
        shape = contract.METHOD_PARAMS.get(method)
        if shape is not None:
            contract.params_of(shape, params)
        return self._answer(method, params)

    async def _answer(self, method: str, params: dict[str, Any]) -> Any:
        match method:
            case "mesh.get":
                return await self._mesh_get()
            case "agent.attach":
                return await self._attach(contract.params_of(contract.Attach, params))
            case "agent.detach":
                return await self._detach(params["agent"])
            case "disk.watch":
                return await self._watch(contract.params_of(contract.DiskBank, params))
            case "disk.unwatch":
                return self._unwatch(contract.params_of(contract.DiskBank, params))
            case "agent.prompt" | "agent.input":
                # Two prompts of one viewer must reach the agent in the order in which they were sent.
                async with self._in_order:
                    return msgspec.Raw(await self._backend.call(method, params, self.caller))
            case _:
                return msgspec.Raw(await self._backend.call(method, params, self.caller))

    async def _mesh_get(self) -> msgspec.Raw:
        whole = msgspec.Raw(await self._backend.mesh(self.caller))
        # Without an await since the answer was made: it is of this revision of this view.
        view = self._backend.view
        self._mesh_rev, self._mesh_epoch = view.rev, view.epoch
        if self._listening is not view:
            self._unlisten()
            view.listen(self._wake.set)
            self._listening = view
        return whole

    def _unlisten(self) -> None:
        if self._listening is not None:
            self._listening.unlisten(self._wake.set)
            self._listening = None

    async def _attach(self, wanted: contract.Attach) -> Any:
        place = await self._terminal_place(wanted) if wanted.terminal else None
        try:
            answer = await self._attach_anyhow(wanted)
        except BaseException:
            if place is not None:
                place.feed.release()
            raise
        # No await from here on: what follows must not be written before the answer.
        if place is not None:
            agent = answer["agent"]
            self._drop_terminal(agent)
            self._terminals[agent] = place
            place.feed.ring.listen(self._wake.set)
            answer["terminal"] = place.told
        return answer

    async def _terminal_place(self, wanted: contract.Attach) -> TerminalPlace:
        feed = await self._backend.terminal(wanted.agent)
        try:
            return await enter(feed, wanted.offset)
        except BaseException:
            feed.release()
            raise

    async def _attach_anyhow(self, wanted: contract.Attach) -> dict[str, Any]:
        try:
            return await self._attach_events(wanted)
        except NodeUnreachable:
            if not wanted.terminal:
                raise
            # An agent that does not answer is a reason to look at its terminal, not to be kept from it.
            feed = await self._backend.feed(wanted.agent, None)
            place = {"resume": "gap", "epoch": feed.ring.epoch, "seq": feed.ring.head}
            return self._attached(feed, feed.ring.head, place)

    def _drop_terminal(self, agent: str) -> None:
        place = self._terminals.pop(agent, None)
        if place is not None:
            place.feed.ring.unlisten(self._wake.set)
            place.feed.release()

    async def _attach_events(self, wanted: contract.Attach) -> dict[str, Any]:
        cursor = Cursor(wanted.epoch, wanted.seq) if wanted.epoch and wanted.seq is not None else None
        for _ in range(SNAPSHOT_TRIES):
            feed = await self._backend.feed(wanted.agent, cursor)
            try:
                if cursor is not None and feed.ring.holds(cursor):
                    answer: dict[str, Any] = {"resume": "ok", "epoch": cursor.epoch, "seq": cursor.seq}
                    return self._attached(feed, cursor.seq, answer)
                at, snapshot = await feed.snapshot()
                # The ring may have moved past the snapshot meanwhile.
                if at.epoch == feed.ring.epoch and at.seq >= feed.ring.oldest:
                    resume = "gap" if cursor else "fresh"
                    answer = {"resume": resume, "epoch": at.epoch, "seq": at.seq}
                    return self._attached(feed, at.seq, {**answer, "snapshot": msgspec.Raw(snapshot)})
                if at.epoch != feed.ring.epoch:  # a feed that has not yet heard that its epoch is over
                    await _woken(feed.ring)
            except BaseException:
                feed.release()
                raise
            feed.release()  # another one begins where the stream is now
        raise Overloaded("the agent's stream moves faster than its snapshots", hint="try again")

    def _attached(self, feed: Feed, seq: int, answer: dict[str, Any]) -> dict[str, Any]:
        self._drop(feed.agent)
        self._attachments[feed.agent] = Attachment(feed, seq)
        feed.ring.listen(self._wake.set)
        # The answer is queued before the writer runs again, so events can only come after it.
        self._wake.set()
        return {"agent": feed.agent, **answer}

    async def _detach(self, agent: str) -> dict[str, Any]:
        if agent not in self._attachments:  # then it is a name
            feed = await self._backend.feed(agent, None)
            agent = feed.agent
            feed.release()
        self._drop(agent)
        return {}

    def _drop(self, agent: str) -> None:
        attachment = self._attachments.pop(agent, None)
        if attachment is not None:
            attachment.feed.ring.unlisten(self._wake.set)
            attachment.feed.release()
        self._drop_terminal(agent)

    async def _watch(self, wanted: contract.DiskBank) -> dict[str, Any]:
        feed = await self._backend.watch_bank(wanted.node, wanted.bank, self._wake.set)
        key = (feed.node, feed.bank)
        if key in self._banks:
            feed.release()  # the former holds what it would tell
        else:
            self._banks[key] = feed
        self._bank_names[wanted.node, wanted.bank] = key
        return {"node": feed.node, "bank": feed.bank}

    def _unwatch(self, wanted: contract.DiskBank) -> dict[str, Any]:
        asked = (wanted.node, wanted.bank)
        feed = self._banks.pop(self._bank_names.pop(asked, asked), None)
        if feed is not None:
            feed.release()
        return {}

    # --- what others push ------------------------------------------------------------------------------

    def notice(self, topic: str, method: str, params: bytes) -> None:
        """A notice for whoever follows its topic; others ignore it."""
        kind, _, which = topic.partition(":")
        follows = {
            "agent": which in self._attachments,
            "sender": which == self.caller.sender,
            "all": True,
            "admins": self.caller.role == ADMIN,
        }
        if follows.get(kind, False):
            self._queue_message(b'{"jsonrpc":"2.0","method":"%s","params":%s}' % (method.encode(), params))

    async def leave(self) -> None:
        """The connection has ended: nothing is answered, followed or held any more."""
        try:
            await self.rpc.close()  # first of all: what it cancels cannot attach any more
        finally:
            self._unlisten()
            for agent in (*self._attachments, *self._terminals):
                self._drop(agent)
            while self._banks:
                self._banks.popitem()[1].release()

    def end(self, code: int, reason: str) -> None:
        """Close the connection as soon as the writer gets to it."""
        self._closing = (code, reason)
        self._wake.set()

    def _queue_message(self, message: bytes) -> None:
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.end(SLOW, "too many unread messages; resume")
        self._wake.set()

    # --- the writer ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled or closed. Ends when the connection must be closed, having closed it."""
        try:
            while self._closing is None:
                if not await self._write_some():
                    await self._wake.wait()
            await self._outlet.close(*self._closing)
        except TimeoutError:
            await self._outlet.close(SLOW, "nothing was read for 5 s; resume")
        except CursorCompacted:
            await self._outlet.close(SLOW, "too far behind; resume")

    async def _write_some(self) -> bool:
        """One round over everything that is pending; False when there was nothing."""
        self._wake.clear()
        wrote = False
        while not self._queue.empty() and self._closing is None:
            await self._send(self._queue.get_nowait())
            wrote = True
        # These were answered for: who attaches during the round has its answer in the queue, before events.
        attachments = list(self._attachments.items())
        terminals = list(self._terminals.items())
        wrote |= await self._write_roster()
        for agent, attachment in attachments:
            if self._attachments.get(agent) is attachment:
                wrote |= await self._write_events(agent, attachment)
        for agent, place in terminals:
            if self._terminals.get(agent) is place:
                wrote |= await self._write_terminal(agent, place)
        for feed in list(self._banks.values()):
            wrote |= await self._write_rows(feed)
        return wrote

    async def _write_roster(self) -> bool:
        view = self._backend.view
        if self._mesh_rev is None or (self._mesh_rev == view.rev and self._mesh_epoch == view.epoch):
            return False
        change = view.since(self._mesh_rev)
        if self._mesh_epoch != view.epoch or change.whole:
            # Another epoch or a hole tells the viewer to ask again; until it does there is nothing to say.
            self._mesh_rev, self._mesh_epoch = None, view.epoch
            change = Change(view.epoch, view.rev, view.rev, False, {}, {})
        else:
            self._mesh_rev = change.rev
        await self._send(_notification(b"mesh.changed", change_params(change)))
        return True

    async def _write_events(self, agent: str, attachment: Attachment) -> bool:
        feed = attachment.feed
        if feed.ended is not None:
            reset = {"agent": agent, "epoch": feed.ended.epoch, "reason": feed.ended.reason}
            self._drop(agent)
            await self._send(_notification(b"agent.reset", strict_json.encode(reset)))
            return True
        if attachment.seq >= feed.ring.head:
            return False
        lag = feed.ring.lag_bytes(attachment.seq)
        if lag > CLOSE_ABOVE_BYTES:
            raise CursorCompacted("viewer too far behind")
        if lag > MERGE_ABOVE_BYTES:
            events = feed.ring.since(attachment.seq, lag)
            last, frame = attachment.seq + len(events), b",".join(merge(events))
        else:
            last, frame = feed.ring.joined(attachment.seq, FRAME_BYTES)
        # The cursor moves only when the transport has taken the frame.
        await self._send(
            b'{"jsonrpc":"2.0","method":"agent.events","params":{"agent":"%s","epoch":"%s","events":[%s]}}'
            % (agent.encode(), feed.ring.epoch.encode(), frame)
        )
        attachment.seq = last
        return True

    async def _write_terminal(self, agent: str, place: TerminalPlace) -> bool:
        if place.first is not None:
            await self._send(_notification(b"agent.terminal", place.first))
            place.first = None
            return True
        feed = place.feed
        if feed.ended is not None:
            reset = {"agent": agent, "epoch": feed.ended.epoch, "reason": feed.ended.reason, "terminal": True}
            self._drop_terminal(agent)
            await self._send(_notification(b"agent.reset", strict_json.encode(reset)))
            return True
        place.seq = max(place.seq, feed.ring.oldest)  # a flood is skipped over, and its offsets say so
        events = feed.ring.since(place.seq, FRAME_BYTES)
        for event in events:
            await self._send(_notification(b"agent.terminal", event))
            place.seq += 1
        return bool(events)

    async def _write_rows(self, feed: BankFeed) -> bool:
        rows = feed.changes.take()
        if rows:
            told = b",".join(encoded for _, encoded in rows)
            params = b'{"node":%s,"bank":%d,"rows":[%s]}' % (strict_json.encode(feed.node), feed.bank, told)
            await self._send(_notification(b"disk.changed", params))
        return bool(rows)

    async def _send(self, message: bytes) -> None:
        async with asyncio.timeout(STUCK_S):
            await self._outlet.send(message)


async def _woken(ring: Ring) -> None:
    """Return when a ring has something new to say, or after a while."""
    woken = asyncio.Event()
    ring.listen(woken.set)
    try:
        async with asyncio.timeout(EPOCH_S):
            await woken.wait()
    except TimeoutError:
        pass
    finally:
        ring.unlisten(woken.set)


def _notification(method: bytes, params: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","method":"%s","params":%s}' % (method, params)


async def serve_viewer(viewer: Viewer, read: Callable[[], Awaitable[None]]) -> None:
    """Run a viewer until its reader ends or its writer closes it, then clean up both."""
    reading = asyncio.ensure_future(read())
    writing = asyncio.ensure_future(viewer.run())
    try:
        await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (reading, writing):
            task.cancel()
        results: Sequence[object] = ()
        try:
            results = await asyncio.gather(reading, writing, return_exceptions=True)
        finally:  # whoever is told to end while it ends lets go of everything all the same
            await viewer.leave()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, ConnectionError | OSError):
                log.error("a viewer ended badly", exc_info=result)
