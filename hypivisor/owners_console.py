"""Console for machines: what the owner of a joined machine sees of the mesh, and asks of it.

The same service as front ends use, on the nodes' port. Who asks is told by the certificate: the machine's
owner, who is an operator here and no more, whatever the request says. It ends with the machine's link.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar

import grpc

from hyperpi import channels
from hyperpi.address import AgentId, NodeId
from hyperpi.wire.hyperpi.v1 import console_pb2, console_pb2_grpc, mesh_pb2
from hypivisor.console_service import ConsoleService
from hypivisor.link_service import LinkService
from hypivisor.node_link import NodeLink

T = TypeVar("T")


class OwnersConsole(console_pb2_grpc.ConsoleServicer):
    """Serves nodes that are linked; the others are told to link first."""

    def __init__(self, console: ConsoleService, links: LinkService, mesh_id: str) -> None:
        self._console = console
        self._links = links
        self._mesh_id = mesh_id

    async def Watch(
        self, request: console_pb2.WatchRequest, context: Any
    ) -> AsyncIterator[console_pb2.MeshChange]:
        """The roster, and notices about agents of other machines: the node knows of its own. No front end."""
        link = await self._link(context)
        async for change in _while_linked(link, self._console.Watch(console_pb2.WatchRequest(), context)):
            notices = [notice for notice in change.notices if self._concerns(notice, link.node)]
            del change.notices[:]
            change.notices.extend(notices)
            yield change

    async def Attach(
        self, request: console_pb2.AttachRequest, context: Any
    ) -> AsyncIterator[console_pb2.FeedBatch]:
        """One agent's events: see ConsoleService."""
        link = await self._link(context)
        request.feed = _own(link, request.feed)
        async for batch in _while_linked(link, self._console.Attach(request, context)):
            yield batch

    async def Count(self, request: console_pb2.ViewerCounts, context: Any) -> console_pb2.ViewerCountsTaken:
        """How many viewers of the machine share its own streams: see ConsoleService."""
        link = await self._link(context)
        for told in request.counts:
            told.feed = _own(link, told.feed)
        return await self._console.Count(request, context)

    async def WatchBank(
        self, request: console_pb2.WatchBankRequest, context: Any
    ) -> AsyncIterator[console_pb2.BankBatch]:
        """The rows of one bank that change: see ConsoleService."""
        link = await self._link(context)
        async for batch in _while_linked(link, self._console.WatchBank(request, context)):
            yield batch

    async def Call(self, request: console_pb2.ConsoleCall, context: Any) -> mesh_pb2.Reply:
        """A call of the machine's owner; nothing that is for front ends alone."""
        link = await self._link(context)
        call = mesh_pb2.Call(method=request.method, params_json=request.params_json, caller=request.caller)
        return await self._links.answer_owner(link.node, call)

    async def _link(self, context: Any) -> NodeLink:
        node = NodeId(channels.peer_node_id(context.auth_context(), self._mesh_id))
        link = self._links.links.get(node)
        if link is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this node is not linked")
            raise AssertionError  # abort raises
        return link

    def _concerns(self, notice: mesh_pb2.Notice, node: NodeId) -> bool:
        kind, _, which = notice.topic.partition(":")
        record = self._links.registry.nodes.get(node)
        return kind == "agent" and record is not None and AgentId(which) not in record.agents


def _own(link: NodeLink, feed: str) -> str:
    """The name of a machine's stream, which no other machine's can be."""
    return f"{link.node}/{feed}" if feed else ""


async def _while_linked(link: NodeLink, stream: AsyncIterator[T]) -> AsyncIterator[T]:
    """What a stream gives, until the link has ended."""
    over = asyncio.ensure_future(link.over.wait())
    try:
        async with aclosing(stream):  # type: ignore[type-var]  # our services are generators
            while True:
                step = asyncio.ensure_future(anext(stream))
                try:
                    await asyncio.wait({step, over}, return_when=asyncio.FIRST_COMPLETED)
                    if not step.done():
                        return
                    item = step.result()
                except StopAsyncIteration:
                    return
                finally:
                    if not step.done():
                        step.cancel()
                        await asyncio.gather(step, return_exceptions=True)
                yield item
    finally:
        over.cancel()
