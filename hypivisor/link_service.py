"""The Link edge: one bidirectional stream per node, its frames turned into facts and back.

Identity comes from the certificate alone. Each stream has one reader and one writer; a slow or broken one
ends by itself and the node dials again.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import grpc
import msgspec

from hyperpi import __version__, channels, strict_json
from hyperpi.address import AgentId, NodeId, agent_of, is_terminal
from hyperpi.clock import OFF_S
from hyperpi.contract import Json
from hyperpi.errors import BadMessage, Conflict, HyperPiError, NodeUnreachable, NotFound, Overloaded
from hyperpi.event import Cursor, Reset
from hyperpi.roles import AGENT, OPERATOR, Caller
from hyperpi.status import status_of
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import mesh_pb2, mesh_pb2_grpc
from hypivisor import relay
from hypivisor.bank_demand import BankDemand
from hypivisor.demand import Demand
from hypivisor.node_link import NodeLink, Watcher
from hypivisor.registry import DISCONNECTED_S, HEARTBEAT_S, Found, Registry
from hypivisor.router import route, speaks_for

log = logging.getLogger(__name__)

PROTOCOL_FLOOR = 1
GOODBYE_S = 1.0  # a courtesy to a node that may not read any more
MAX_VIEWERS = 1_000_000  # of one agent: a frame that cannot say more would end the link of its node
MAX_CONNECTION_CHARS = 64  # of what a machine calls a viewer of its own; ours have 10
REDIAL_S = 5.0  # within this a node has dialled again, after our start or a blip of the network


class Methods(Protocol):
    """What the owner of a joined machine may ask."""

    async def call(self, method: str, params_json: bytes, caller: Caller) -> bytes:
        """The encoded result. Raises HyperPiError."""


class NodeMemory(Protocol):
    """What is kept of nodes across restarts."""

    async def node_seen(self, node: NodeId, boot: int) -> str:
        """Record a node's start; its name. Raises Conflict for a stale boot, NotFound."""

    async def clock_off(self, node: NodeId, name: str, ahead_s: float) -> None:
        """Its clock was that far ahead of ours when it linked."""

    def roster_changed(self, node: NodeId) -> None:
        """Its remembered roster is out of date."""

    async def node_left(self, node: NodeId) -> None:
        """It left the mesh by itself."""

    def approval_settled(self, node: NodeId, details: Json) -> None:
        """One of its agents' approvals was decided there: at a terminal, or by time."""


_EPOCH = re.compile(r"[A-Za-z0-9._-]{0,64}")


def _check_epoch(epoch: str) -> None:
    """Epochs are written into frames as they are. Raises BadMessage."""
    if _EPOCH.fullmatch(epoch) is None:
        raise BadMessage("an epoch is a short name")


class LinkService(mesh_pb2_grpc.MeshServicer):
    """All nodes' streams, and the demand for their agents' events."""

    def __init__(
        self,
        registry: Registry,
        memory: NodeMemory,
        *,
        mesh_id: str,
        mesh_name: str,
        home: Callable[[], NodeId | None],
        notice: Callable[[mesh_pb2.Notice], None],
    ) -> None:
        self.registry = registry
        self.links: dict[NodeId, NodeLink] = {}
        self.grants = relay.Grants(time.monotonic)
        self.demand: Demand[str, Watcher] = Demand()
        self.banks = BankDemand(self.link, self.link_soon)
        self.methods: Methods | None = None  # set once, before the server starts
        self._memory = memory
        self._mesh_id, self._mesh_name = mesh_id, mesh_name
        self._home = home
        self._notice = notice
        self._started = time.monotonic()
        self._dropped: dict[NodeId, float] = {}  # when nodes that are away were last linked, monotonic
        self._linked = asyncio.Event()  # set, and replaced, when a node links

    def link(self, node: NodeId) -> NodeLink:
        """The node's stream. Raises NodeUnreachable when it has none."""
        link = self.links.get(node)
        if link is None:
            record = self.registry.nodes.get(node)
            name = record.name if record else node
            beside = "start it again: `hyperpi node run`, on this machine"
            away = "it comes back by itself when its machine is up and on the network"
            raise NodeUnreachable(
                f"{name} is {record.state if record else 'unknown'}",
                hint=beside if node == self._home() else away,
            )
        return link

    async def link_soon(self, node: NodeId) -> NodeLink:
        """The node's stream, waited for while it may be dialling again. Raises NodeUnreachable.

        Or a prompt that was sent again at once after our restart would be refused, though it may have run.
        """
        until = self._dropped.get(node, self._started) + REDIAL_S
        record = self.registry.nodes.get(node)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                while node not in self.links and record is not None and record.state == "disconnected":
                    await self._linked.wait()
        return self.link(node)

    async def find_soon(self, agent: str) -> Found:
        """An agent by name or id, waited for while nodes dial again: what we remember of them may be older
        than it. Raises NotFound, AmbiguousName.
        """
        until = self._started + REDIAL_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                while any(record.state == "disconnected" for record in self.registry.nodes.values()):
                    with contextlib.suppress(NotFound):
                        return self.registry.find(agent)
                    await self._linked.wait()
        return self.registry.find(agent)

    async def watch(self, stream: str, cursor: Cursor | None, watcher: Watcher) -> mesh_pb2.Subscribed:
        """Begin to follow an agent's events, or its terminal. Raises NotFound, NodeUnreachable."""
        link = self.link(self.registry.find(agent_of(stream)).node.id)

        def begin() -> None:
            self.demand.add(stream, watcher)
            self.count(stream)

        try:
            return await link.subscribe(stream, cursor, watcher, begin)
        except BaseException:
            self.unwatch(stream, watcher)
            raise

    def unwatch(self, stream: str, watcher: Watcher) -> None:
        """Stop following; when it was the last, the node stops sending."""
        left = self.demand.remove(stream, watcher)
        self.count(stream)
        for link in self.links.values():
            link.unsubscribe(watcher)
        if left:
            return
        # Forgotten, or its node is away: then nothing is sent anyway.
        with contextlib.suppress(HyperPiError):
            self._unsubscribe(self.link(self.registry.find(agent_of(stream)).node.id), stream)

    def count(self, stream: str) -> None:
        """Other front ends follow a stream, or other numbers of their viewers do."""
        if is_terminal(stream):  # whoever looks at a terminal follows the agent as well
            return
        agent = agent_of(stream)
        told = sum(watcher.viewers for watcher in self.demand.of(stream))  # front ends are few
        viewers = min(told, MAX_VIEWERS)
        self.registry.watched(agent, viewers)
        node = self.registry.node_of(agent)
        if viewers and node is not None and (link := self.links.get(node)) is not None:
            link.send(viewers=mesh_pb2.Viewers(agent=agent, viewers=viewers))

    def _unsubscribe(self, link: NodeLink, stream: str) -> None:
        """Nobody watches any more; but somebody who has just asked would be left without events."""
        if not link.is_subscribing(stream):
            link.send(unsubscribe=mesh_pb2.Unsubscribe(agent=stream))

    def cut(self, node: NodeId, reason: str) -> None:
        """End a node's link at this moment; saying why to a node that still reads is a courtesy."""
        if (link := self.links.get(node)) is not None:
            link.farewell = reason
            self._closed(link)

    # --- the stream ------------------------------------------------------------------------------------

    async def Link(self, request_iterator: AsyncIterator[mesh_pb2.NodeBatch], context: Any) -> None:
        """Serve one node until its stream ends."""
        node = NodeId(channels.peer_node_id(context.auth_context(), self._mesh_id))
        batches = aiter(request_iterator)
        try:
            first = await asyncio.wait_for(anext(batches), HEARTBEAT_S)
            link, frames = await self._open(node, first)
        except (StopAsyncIteration, TimeoutError, msgspec.DecodeError):
            return
        except HyperPiError as exc:
            await context.abort(grpc.StatusCode[status_of(exc).grpc], channels.refusal_text(exc))
            return
        reader = asyncio.ensure_future(self._read(link, frames, batches))
        writer = asyncio.ensure_future(self._write(link, reader, context))
        over = asyncio.ensure_future(link.over.wait())
        try:
            await asyncio.wait({writer, over}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({writer}, timeout=GOODBYE_S)
        finally:
            # Before any await: grpc cancels this call when the machine goes, maybe at this very moment.
            self._closed(link)
            for task in (reader, writer, over):
                task.cancel()
            if link.farewell == "leave":
                await asyncio.shield(self._memory.node_left(node))
            for ended in await asyncio.gather(reader, writer, return_exceptions=True):
                if isinstance(ended, Overloaded | TimeoutError):
                    log.warning("a node does not read node=%s", node)
                elif isinstance(ended, BadMessage):
                    log.warning("a node sends what cannot be passed on node=%s reason=%s", node, ended)
                elif isinstance(ended, Exception) and not isinstance(ended, grpc.RpcError):
                    log.error("a node's stream ended badly node=%s", node, exc_info=ended)

    async def _open(self, node: NodeId, first: mesh_pb2.NodeBatch) -> tuple[NodeLink, list[Any]]:
        frames = list(first.frames)
        if not frames or frames[0].WhichOneof("frame") != "hello":
            raise Conflict("the first frame of a link is Hello")
        hello = frames[0].hello
        if hello.protocol < PROTOCOL_FLOOR:
            raise Conflict(
                f"this node speaks protocol {hello.protocol}, {PROTOCOL_FLOOR} is needed",
                hint="upgrade hyper-pi on that machine",
            )
        name = await self._memory.node_seen(node, hello.boot)
        agents = [msgspec.json.decode(a.agent_json) for a in hello.agents]  # before anything is registered
        about: dict[str, Any] = {
            "version": hello.version,
            "platform": hello.platform,
            "address": hello.address,
        }
        ahead_s = hello.now_ms / 1000 - time.time() if hello.now_ms else 0.0
        if abs(ahead_s) >= OFF_S:
            about["clock_s"] = round(ahead_s, 1)
            await self._memory.clock_off(node, name, ahead_s)
        self.registry.link(node, name, hello.boot, about, time.time(), time.monotonic())
        if (older := self.links.pop(node, None)) is not None:
            older.farewell = "superseded"
            older.queue.wake.set()
            older.close()
            self._tell_gone(node)  # the new stream has not been asked for anything yet
        link = self.links[node] = NodeLink(node)
        link.restored = hello.restored
        self._dropped.pop(node, None)
        self._linked.set()
        self._linked = asyncio.Event()
        self.registry.replace_agents(node, agents)
        self._status(node, hello.status)
        self._memory.roster_changed(node)
        link.send(
            welcome=mesh_pb2.Welcome(
                node=node,
                name=name,
                mesh=self._mesh_name,
                heartbeat_s=HEARTBEAT_S,
                version=__version__,
                now_ms=int(time.time() * 1000),
            )
        )
        log.info("node linked node=%s name=%s boot=%d", node, name, hello.boot)
        for other in self.links.values():
            if other is not link:
                other.send(back=mesh_pb2.NodeBack(name=name, restored=hello.restored))
                if other.restored:  # it may have come back while this one was away
                    back = mesh_pb2.NodeBack(name=self.registry.nodes[other.node].name, restored=True)
                    link.send(back=back)
        return link, frames[1:]

    async def _read(
        self, link: NodeLink, first: list[mesh_pb2.NodeFrame], batches: AsyncIterator[mesh_pb2.NodeBatch]
    ) -> None:
        for frame in first:
            self._take(link, frame)
        async for batch in batches:
            if link.over.is_set():
                return  # it was cut, and may be unknown by now
            self.registry.heard(link.node, time.time(), time.monotonic())
            for frame in batch.frames:
                self._take(link, frame)

    async def _write(self, link: NodeLink, reader: asyncio.Future[None], context: Any) -> None:
        reader.add_done_callback(lambda _: link.queue.wake.set())
        beat = 0
        while not reader.done() and link.farewell is None:
            link.queue.wake.clear()
            if frames := link.queue.take():
                async with asyncio.timeout(DISCONNECTED_S):
                    await context.write(mesh_pb2.HypivisorBatch(frames=frames))
                continue
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await link.queue.wake.wait()
            except TimeoutError:
                beat += 1
                link.send(heartbeat=mesh_pb2.Heartbeat(count=beat))
        if not reader.done() and link.farewell is not None:
            goodbye = mesh_pb2.HypivisorFrame(goodbye=mesh_pb2.Goodbye(reason=link.farewell))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await context.write(mesh_pb2.HypivisorBatch(frames=[goodbye]))

    def _closed(self, link: NodeLink) -> None:
        link.close()
        if self.links.get(link.node) is not link:
            return  # superseded: the newer stream speaks for the node
        del self.links[link.node]
        self._tell_gone(link.node)
        self._dropped[link.node] = time.monotonic()
        if link.node not in self.registry.nodes:
            return  # revoked meanwhile
        self.registry.unlink(link.node, "left" if link.farewell == "leave" else "disconnected", time.time())
        log.info("node unlinked node=%s reason=%s", link.node, link.farewell or "dropped")

    def _tell_gone(self, node: NodeId) -> None:
        """Whoever watches something of a node must ask for it again: its stream has ended."""
        self.banks.node_gone(node)
        record = self.registry.nodes.get(node)
        for stream in self.demand.watched():
            if record is not None and agent_of(stream) in record.agents:
                for watcher in self.demand.of(stream):
                    watcher.node_gone()

    # --- frames ----------------------------------------------------------------------------------------

    def _take(self, link: NodeLink, frame: mesh_pb2.NodeFrame) -> None:
        match frame.WhichOneof("frame"):
            case "events":
                if self._has(link, frame.events.agent):
                    self._events(link, frame.events)
            case "agent":
                self.registry.report(link.node, [msgspec.json.decode(frame.agent.agent_json)])
                self._memory.roster_changed(link.node)
            case "forgotten":
                self.registry.report(link.node, [], [AgentId(frame.forgotten.agent)])
                self._memory.roster_changed(link.node)
            case "status":
                self._status(link.node, frame.status)
            case "subscribed":
                _check_epoch(frame.subscribed.epoch)
                link.subscribed(frame.subscribed)
            case "reset":
                _check_epoch(frame.reset.epoch)
                if self._has(link, frame.reset.agent):
                    for watcher in self.demand.of(frame.reset.agent):
                        watcher.reset(Reset(frame.reset.epoch, frame.reset.reason))
            case "bank_rows":
                self.banks.rows(link.node, frame.bank_rows)
            case "reply":
                link.replied(frame.reply)
            case "call":
                link.work(self._answer(link, frame.call))
            case "notice":
                self._noticed(link, frame.notice)
            case "scroll":
                self._offered(link, frame.scroll)
            case "receipt":
                self._receipt(link, frame.receipt)
            case "mirror":
                relay.pass_on(self.registry, self.grants, self.links, link, frame.mirror)
            case "goodbye":
                link.farewell = frame.goodbye.reason or "stop"
                link.queue.wake.set()
            case "heartbeat" | "hello":
                pass
            case unknown:
                log.debug("a frame was skipped node=%s kind=%s", link.node, unknown)

    def _has(self, link: NodeLink, stream: str) -> bool:
        """Whether an agent or its stream is this node's: nobody speaks for another's."""
        return agent_of(stream) in self.registry.nodes[link.node].agents

    def _noticed(self, link: NodeLink, notice: mesh_pb2.Notice) -> None:
        """Pass on what a node may tell viewers: of prompts to its agents, of scrolls to their senders."""
        kind, _, which = notice.topic.partition(":")
        name = self.registry.nodes[link.node].name
        allowed = {
            "prompt.changed": kind == "agent" and self._has(link, which),
            "approval.settled": kind == "agent" and self._has(link, which),
            "scroll.changed": kind == "sender" and speaks_for(which, name, link.node, self._home()),
        }
        try:
            msgspec.json.decode(notice.params_json)
        except msgspec.DecodeError:
            allowed = {}
        if allowed.get(notice.method, False):
            if notice.method == "approval.settled":
                self._memory.approval_settled(link.node, msgspec.json.decode(notice.params_json))
            self._notice(notice)
        else:
            log.warning("a notice was refused node=%s method=%s", link.node, notice.method)

    def _events(self, link: NodeLink, run: mesh_pb2.EventRun) -> None:
        _check_epoch(run.epoch)
        for event in run.events_json:
            strict_json.sound(event)
        if run.subscription:
            link.replayed(run)
            return
        watchers = self.demand.of(run.agent)
        for watcher in watchers:
            watcher.events(run)
        if not watchers:  # the last one left while these were on their way
            self._unsubscribe(link, run.agent)

    def _status(self, node: NodeId, status: mesh_pb2.NodeStatus) -> None:
        load = msgspec.json.decode(status.load_json) if status.load_json else None
        disk = msgspec.json.decode(status.disk_json) if status.disk_json else None
        self.registry.status(node, load, disk)

    async def _answer(self, link: NodeLink, call: mesh_pb2.Call) -> None:
        reply = await self.answer_owner(link.node, call)
        reply.call = call.call
        link.send(reply=reply)

    async def answer_owner(self, node: NodeId, call: mesh_pb2.Call) -> mesh_pb2.Reply:
        """A call of a machine's owner, who is an operator of the mesh and no more, or of an agent there."""
        record = self.registry.nodes.get(node)
        if record is None:
            return mesh_pb2.Reply(error=convert.error_to_wire(channels.NodeRevoked()))
        node_name = record.name
        name = call.caller.name.removesuffix(f"@{node_name}") or "owner"
        role, source = (AGENT, "agent") if call.caller.role == AGENT else (OPERATOR, "cli")
        # What the machine calls its viewer's connection only tells its viewers apart, and only for us.
        connection = f"{node}/{call.caller.connection[:MAX_CONNECTION_CHARS]}"
        caller = Caller(f"{name}@{node_name}", role, source, connection)
        try:
            assert self.methods is not None
            return mesh_pb2.Reply(result_json=await self.methods.call(call.method, call.params_json, caller))
        except Exception as exc:  # a boundary: an error of ours is an answer, and must not end the link
            if not isinstance(exc, HyperPiError):
                log.exception("a call failed method=%s", call.method)
            return mesh_pb2.Reply(error=convert.error_to_wire(exc))

    # --- scrolls ---------------------------------------------------------------------------------------

    def _offered(self, link: NodeLink, offer: mesh_pb2.ScrollOffer) -> None:
        to = offer.to or msgspec.json.decode(offer.scroll_json)["to"]
        routed = route(self.registry, offer.sender, link.node, self._home(), to)
        link.send(
            routed=mesh_pb2.ScrollRouted(
                scroll=offer.scroll,
                sender=offer.sender,
                recipients=[found.address for found in routed.recipients],
                away=[found.address for found in routed.away],
                error=convert.error_to_wire(routed.error) if routed.error else None,
            )
        )
        for found in routed.recipients:
            if (there := self.links.get(found.node.id)) is not None:
                there.send(
                    delivery=mesh_pb2.ScrollDelivery(
                        scroll=offer.scroll,
                        sender=offer.sender,
                        sender_node=link.node,
                        agent=found.agent,
                        to=found.address,
                        scroll_json=offer.scroll_json,
                    )
                )

    def _receipt(self, link: NodeLink, receipt: mesh_pb2.ScrollReceipt) -> None:
        """Pass a receipt to the node that it is for; if that is away, its sender repeats it later."""
        name = self.registry.nodes[link.node].name
        # A receipt comes from the recipient's node, its acknowledgement from the sender's.
        if not speaks_for(receipt.sender if receipt.ack else receipt.to, name, link.node, self._home()):
            log.warning("a receipt was refused node=%s scroll=%s", link.node, receipt.scroll)
            return
        if (there := self.links.get(NodeId(receipt.node))) is not None:
            receipt.from_node = link.node
            there.send(receipt=receipt)
