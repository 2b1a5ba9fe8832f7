"""JSON-RPC 2.0 as every socket of ours speaks it: one message at a time, both sides may call.

`Connection` knows nothing of sockets: bytes come in through `receive`, go out through `send`. It is used for
newline-delimited JSON on Unix sockets (agents, keepers, the command) and for text frames on WebSockets.
"""

import asyncio
import inspect
import itertools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from hyperpi import strict_json
from hyperpi.errors import BadEnvelope, BadMessage, HyperPiError, NodeUnreachable, Overloaded
from hyperpi.status import from_json_rpc, to_json_rpc

log = logging.getLogger(__name__)

MAX_IN_FLIGHT = 128  # requests of one peer that are being worked on; more is a flood, not work
MAX_WAITING = 1_024  # calls of ours that a peer has not answered yet

Params = dict[str, Any]
Result = Any  # what msgspec can encode; msgspec.Raw passes encoded JSON through
Handler = Callable[[str, msgspec.Raw], Awaitable[Result] | Result]


class Envelope(msgspec.Struct):
    """Any JSON-RPC message: a request has a method, an answer a result or an error."""

    id: int | str | float | msgspec.UnsetType | None = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET


_decoder = msgspec.json.Decoder(Envelope)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call of ours that has not been answered yet."""

    answer: asyncio.Future[tuple[msgspec.Raw, Any]]
    at_answer: Callable[[], Any]


class Caller(Protocol):
    """The side of a connection that other parts use to ask a peer something."""

    async def call(self, method: str, params: Params, timeout_s: float) -> Any:
        """The decoded result. Raises the peer's error, or NodeUnreachable when it does not answer."""


class Connection:
    """One peer. The owner feeds `receive`, and calls `close` when the socket has ended.

    Requests are started in the order of their arrival. A handler that returns a value is answered at once,
    before the next message is looked at; one that returns an awaitable runs as a task of this connection.
    """

    def __init__(self, send: Callable[[bytes], None], handler: Handler, *, strict: bool = False) -> None:
        self._send = send
        self._handler = handler
        self._strict = strict
        self._ids = itertools.count(1)
        self._waiting: dict[int, Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # --- asking ----------------------------------------------------------------------------------------

    def notify(self, method: str, params: Params) -> None:
        """Tell the peer something that has no answer."""
        self._send(strict_json.encode({"jsonrpc": "2.0", "method": method, "params": params}))

    async def call(self, method: str, params: Params, timeout_s: float) -> Any:
        """Ask the peer; the decoded result. Raises its error; NodeUnreachable on silence or a lost peer;
        BadMessage when its answer is no JSON that we take.
        """
        raw, _ = await self.call_raw(method, params, timeout_s)
        try:
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise BadMessage(f"the answer to {method} cannot be read: {exc}") from None

    async def call_raw(
        self, method: str, params: Params, timeout_s: float, at_answer: Callable[[], Any] = lambda: None
    ) -> tuple[msgspec.Raw, Any]:
        """The encoded result, and what `at_answer` returned at the answer's own place among the messages.

        The caller resumes later, when further messages may have been handled; `at_answer` has not seen them.
        """
        answer = self.ask(method, params, at_answer)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise NodeUnreachable(f"no answer to {method} within {timeout_s:g} s") from None

    def ask(
        self, method: str, params: Params, at_answer: Callable[[], Any] = lambda: None
    ) -> asyncio.Future[tuple[msgspec.Raw, Any]]:
        """Write a request before this returns; the future is what `call_raw` returns, with no limit of time.

        For callers whose messages must go out in an order of their own. Raises NodeUnreachable, Overloaded.
        """
        if self._closed:
            raise NodeUnreachable("the connection has ended")
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded("too many unanswered calls")
        number = next(self._ids)
        answer: asyncio.Future[tuple[msgspec.Raw, Any]] = asyncio.get_running_loop().create_future()
        encoded = strict_json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        self._waiting[number] = Waiting(answer, at_answer)
        answer.add_done_callback(lambda _: self._waiting.pop(number, None))
        self._send(encoded)
        return answer

    # --- being asked -----------------------------------------------------------------------------------

    def receive(self, raw: bytes | str) -> None:
        """Take one message. Never raises: what is wrong with it is answered to the peer."""
        try:
            message = self._decode(raw)
        except HyperPiError as exc:
            self._answer_error(None, exc)
            return
        if message.method is msgspec.UNSET:
            self._settle(message)
        else:
            self._handle(message.method, message)

    def _decode(self, raw: bytes | str) -> Envelope:
        if self._strict:
            strict_json.loads(raw)
        try:
            if isinstance(raw, bytes):
                raw.decode()  # what is passed on undecoded is not looked at by msgspec: it must be UTF-8
            message = _decoder.decode(raw)
        except msgspec.ValidationError as exc:
            hint = "batches are not taken: one object a message" if raw.lstrip()[:1] in (b"[", "[") else None
            raise BadEnvelope(f"not a JSON-RPC 2.0 message: {exc}", hint=hint) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise BadMessage(str(exc)) from None
        if message.method is msgspec.UNSET and message.result is msgspec.UNSET and not message.error:
            raise BadEnvelope("neither a request nor an answer")
        return message

    def _handle(self, method: str, message: Envelope) -> None:
        if len(self._tasks) >= MAX_IN_FLIGHT:
            self._answer_error(message.id, Overloaded("too many requests at once"))
            return
        try:
            result = self._handler(method, message.params)
        except Exception as exc:  # a boundary: whatever a handler raises becomes an answer, never a lost peer
            self._answer_error(message.id, exc)
            return
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(self._finish(message.id, result))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._answer(message.id, result)

    async def _finish(self, number: Any, result: Awaitable[Result]) -> None:
        try:
            self._answer(number, await result)
        except Exception as exc:  # the same boundary, for handlers that await
            self._answer_error(number, exc)

    def _answer(self, number: Any, result: Result) -> None:
        if number is not msgspec.UNSET and not self._closed:
            self._send(strict_json.encode({"jsonrpc": "2.0", "id": number, "result": result}))

    def _answer_error(self, number: Any, error: Exception) -> None:
        if not isinstance(error, HyperPiError):
            log.error("a request failed", exc_info=error)
        if number is msgspec.UNSET or self._closed:
            return
        self._send(strict_json.encode({"jsonrpc": "2.0", "id": number, "error": to_json_rpc(error)}))

    def _settle(self, message: Envelope) -> None:
        waiting = self._waiting.get(message.id) if isinstance(message.id, int) else None
        if waiting is None or waiting.answer.done():
            return
        if message.error:
            waiting.answer.set_exception(from_json_rpc(message.error))
        else:
            assert isinstance(message.result, msgspec.Raw)
            waiting.answer.set_result((message.result, waiting.at_answer()))

    async def close(self) -> None:
        """The socket has ended: unanswered calls fail, running handlers are cancelled and awaited."""
        self._closed = True
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(NodeUnreachable("the connection has ended"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
