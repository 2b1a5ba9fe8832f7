"""Calls over the node's Link, in both directions: what this node asks, and what it is asked."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from hyperpi import strict_json
from hyperpi.contract import Json
from hyperpi.errors import HyperPiError, NodeUnreachable
from hyperpi.roles import Caller
from hyperpi.wire import convert
from hyperpi.wire.calls import Calls
from hyperpi.wire.hyperpi.v1 import mesh_pb2

log = logging.getLogger(__name__)


class LinkCalls:
    """The calls of the present stream. `answering` are the hypivisor's that are being worked on."""

    def __init__(
        self,
        answer: Callable[[str, Json, Caller], Awaitable[bytes]],
        put: Callable[[mesh_pb2.NodeFrame], object],
    ) -> None:
        self.answering: set[asyncio.Task[None]] = set()
        self._answer = answer
        self._put = put
        self._asked = Calls("the hypivisor")

    async def ask(self, method: str, params: Json, caller: Caller, timeout_s: float) -> bytes:
        """Call the hypivisor; the encoded result. Raises its error; NodeUnreachable."""

        def send(number: int) -> None:
            call = mesh_pb2.Call(
                call=number,
                method=method,
                params_json=strict_json.encode(params),
                caller=convert.caller_to_wire(caller),
            )
            self._put(mesh_pb2.NodeFrame(call=call))

        return await self._asked.ask(send, timeout_s)

    def replied(self, reply: mesh_pb2.Reply) -> None:
        """The hypivisor's answer to a call of ours."""
        self._asked.replied(reply)

    def asked(self, call: mesh_pb2.Call) -> None:
        """A call of the hypivisor's: work on it beside the stream, and answer."""
        task = asyncio.ensure_future(self._work(call))
        self.answering.add(task)
        task.add_done_callback(self.answering.discard)

    def lost(self) -> None:
        """The stream has ended."""
        self._asked.lost(NodeUnreachable("the link has ended"))

    async def _work(self, call: mesh_pb2.Call) -> None:
        try:
            params = msgspec.json.decode(call.params_json)
            async with asyncio.timeout(call.timeout_ms / 1000 or None):
                result = await self._answer(call.method, params, convert.caller_from_wire(call.caller))
            reply = mesh_pb2.Reply(call=call.call, result_json=result)
        except TimeoutError:
            return  # nobody waits for it any more
        except Exception as exc:  # a boundary: an error of ours is an answer, and must not end the link
            if not isinstance(exc, HyperPiError):
                log.exception("a call failed method=%s", call.method)
            reply = mesh_pb2.Reply(call=call.call, error=convert.error_to_wire(exc))
        self._put(mesh_pb2.NodeFrame(reply=reply))
