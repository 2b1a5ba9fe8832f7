"""The command's connection to whoever has the authority: calls, and what comes between them.

In the order of the contract: a hypivisor named by HYPIVISOR, with a token; else the one of this home; else
the node of this home. All speak the methods of `/ws`.
"""

import itertools
import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from hyperpi import runfile
from hyperpi.cli.wires import ConnectionLost, UnixWire, Wire
from hyperpi.cli.words import Json
from hyperpi.config import Home
from hyperpi.errors import (
    BadMessage,
    BadRequest,
    HyperPiError,
    NodeUnreachable,
    NothingThere,
    Unauthenticated,
)
from hyperpi.status import from_json_rpc

CALL_S = 35.0  # beyond the 30 s in which a hypivisor gives up on a node: its reason is better than ours
ALIVE_S = 3.0  # a part answers a question that costs nothing within this, or it hangs
MAX_HELD = 100_000  # notices that came while an answer was awaited; more means that nobody reads them
MAX_SENT_BYTES = 1 << 20  # the contract's limit for one message of a client


class Notice(NamedTuple):
    """Something that the other side says unasked."""

    method: str
    params: Json


class Answer(NamedTuple):
    """The answer to a request that was posted."""

    number: int
    result: Any
    error: HyperPiError | None


class Reach(NamedTuple):
    """Whom to ask."""

    home: Home
    hypivisor: str | None = None  # address of a Pi-DE
    token: str | None = None


class Client:
    """One connection. `authority` says whose: "HYPIVISOR", "hypivisor" or "node".

    `passed_over` says why it is not a better one, for a person.
    """

    def __init__(self, wire: Wire, authority: str) -> None:
        self.authority = authority
        self.passed_over: str | None = None
        self._wire = wire
        self._numbers = itertools.count(1)
        self._held: deque[Notice | Answer] = deque()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._wire.close()

    def post(self, method: str, params: Json) -> int:
        """Send a request; its answer comes among `messages`. Another thread may.

        Raises ConnectionLost, and BadRequest for what cannot be sent.
        """
        number = next(self._numbers)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            message = json.dumps(request, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # a byte of an argument that is no text, which Python keeps as a surrogate
            raise BadRequest("what was given is not UTF-8", hint="write it in UTF-8") from None
        if len(message) > MAX_SENT_BYTES:
            raise BadRequest(f"larger than {MAX_SENT_BYTES} bytes", hint="send less at once")
        self._wire.send(message)
        return number

    def call(self, method: str, params: Json | None = None, timeout_s: float = CALL_S) -> Any:
        """Ask and wait for the result. Raises the other side's error, ConnectionLost, NodeUnreachable."""
        number = self.post(method, params or {})
        deadline = time.monotonic() + timeout_s
        while (message := self._receive(deadline - time.monotonic())) is not None:
            if not isinstance(message, Answer) or message.number != number:
                self.hold(message)
            elif message.error is not None:
                raise message.error
            else:
                return message.result
        raise NodeUnreachable(f"no answer to {method} within {timeout_s:g} s", hint="try again")

    def messages(self, silence_s: float) -> Iterator[Notice | Answer]:
        """Everything that comes, in order; ends after `silence_s` seconds without anything.

        Raises ConnectionLost. What came while `call` waited comes first.
        """
        while True:
            message = self._held.popleft() if self._held else self._receive(silence_s)
            if message is None:
                return
            yield message

    def hold(self, message: Notice | Answer) -> None:
        """Have it come again among `messages`, before what is new."""
        if len(self._held) >= MAX_HELD:
            raise ConnectionLost("too much came in that was not asked for")
        self._held.append(message)

    def _receive(self, timeout_s: float) -> Notice | Answer | None:
        raw = self._wire.receive(max(0.0, timeout_s))
        if raw is None:
            return None
        message = _decode(raw)
        if isinstance(message, Notice) and message.method == "connection.closing":
            reason, code = message.params.get("reason"), message.params.get("code")
            raise ConnectionLost(f"the connection was closed: {reason}", code)
        return message


def _decode(raw: bytes) -> Notice | Answer:
    try:
        message = json.loads(raw)
        if "method" in message:
            return Notice(str(message["method"]), message.get("params") or {})
        error = from_json_rpc(message["error"]) if message.get("error") else None
        if message["id"] is None and error is not None:
            # It could not read a request of ours, cannot tell which, and will give no other answer to it.
            raise error
        return Answer(message["id"], message.get("result"), error)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadMessage("what came is not JSON-RPC", hint="is that a hypivisor or a node?") from None


# --- whose authority ------------------------------------------------------------------------------------


def connect(reach: Reach) -> Client:
    """Connect to the first that is there. Raises NothingThere, and what `remote` raises."""
    if reach.hypivisor:
        return _connect_remote(reach)
    passed_over: HyperPiError | None = None
    for part, folder in (("hypivisor", reach.home.hypivisor), ("node", reach.home.node)):
        try:
            client = connect_local(part, folder)
        except NodeUnreachable as exc:
            passed_over = exc
            continue
        if client is not None:
            client.passed_over = str(passed_over) if passed_over else None
            return client
    raise passed_over or NothingThere(
        "nothing to talk to", hint="start with `hyperpi up`, or `hyperpi node run`"
    )


def connect_local(part: str, folder: Path) -> Client | None:
    """The control socket of a part of this home; None when it does not run.

    Raises NodeUnreachable when it runs and does not answer.
    """
    running = runfile.read_live(folder / "run.json")
    if running is None or not isinstance(running.get("control"), str):
        return None
    try:
        client = Client(UnixWire(Path(running["control"])), part)
    except OSError:
        return None
    try:
        client.call("ping", timeout_s=ALIVE_S)
    except (ConnectionLost, NodeUnreachable, BadMessage):
        client.close()
        raise NodeUnreachable(
            f"the {part} (pid {running['pid']}) runs but does not answer",
            hint="look at its log, or restart it",
        ) from None
    except HyperPiError:
        pass  # "there is no method ping" is as much of an answer as any
    return client


def _connect_remote(reach: Reach) -> Client:
    from hyperpi.cli import remote

    assert reach.hypivisor is not None
    address = remote.parse_remote(reach.hypivisor)
    if not reach.token:
        raise Unauthenticated(
            f"no token for {address.host}",
            hint="set HYPI_TOKEN or give --token-file; `hyperpi token create` makes one there",
        )
    authorities = (
        reach.home.node / "identity" / "ca.pem",
        reach.home.hypivisor / "ca.pem",
    )
    return Client(remote.dial(address, reach.token, authorities), "HYPIVISOR")
