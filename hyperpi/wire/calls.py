"""Calls over a Link that wait for the other end to answer. Both ends make some.

It knows nothing of the stream: who asks puts the number into a frame, who reads hands over the Reply.
"""

import asyncio
import itertools
from collections.abc import Callable

from hyperpi.errors import NodeUnreachable
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import mesh_pb2


class Calls:
    """The calls of one end; numbers are never used twice."""

    def __init__(self, whom: str) -> None:
        self._whom = whom  # who is asked, for the person who reads of its silence
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def ask(self, send: Callable[[int], None], timeout_s: float) -> bytes:
        """Have a frame sent under a new number; the encoded result that answers it.

        Raises the other end's error; NodeUnreachable on silence or a lost link.
        """
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            send(number)
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise NodeUnreachable(f"{self._whom} did not answer within {timeout_s:g} s") from None
        finally:
            self._waiting.pop(number, None)

    def replied(self, reply: mesh_pb2.Reply) -> None:
        """An answer has come; a late one is dropped."""
        answer = self._waiting.get(reply.call)
        if answer is None or answer.done():
            return
        if reply.HasField("error"):
            answer.set_exception(convert.error_from_wire(reply.error))
        else:
            answer.set_result(reply.result_json)

    def lost(self, gone: NodeUnreachable) -> None:
        """The stream has ended: whoever waits is told so."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(gone)
