"""The ACP agent as a child process, and its pipes as a transport of the `acp` package."""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hyperpi.contract import Json
from hyperpi.errors import Overloaded, Unusable

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 16 << 20  # pictures come whole; a longer line is skipped
WRITE_S = 30.0  # an agent that does not read its input for this long hangs
EOF_S, TERM_S = 2.0, 1.0  # for its end: after its stdin has closed, after SIGTERM
SHOWN_CHARS = 500


class AcpProgram:
    """One running agent. A `acp.connection` transport: one JSON object a line, both ways."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        assert process.stdout
        self.process = process
        self._stdin, self._stdout = process.stdin, process.stdout

    async def send(self, message: Json) -> None:
        """Write a message. Raises Overloaded if the agent does not read, ConnectionError if it has gone."""
        self._stdin.write(msgspec.json.encode(message) + b"\n")
        try:
            async with asyncio.timeout(WRITE_S):
                await self._stdin.drain()
        except TimeoutError:
            raise Overloaded("the agent does not read its input") from None

    async def receive(self) -> Json | None:
        """The next message; None at the end. What is no JSON object is shown and skipped."""
        while True:
            try:
                line = await self._stdout.readline()
            except ValueError:  # the reader's word for a line over its limit
                log.warning("a line of more than %d bytes was skipped", MAX_LINE_BYTES)
                continue
            if not line:
                return None
            message = decoded(line)
            if message is not None:
                return message
            if line.strip():  # some print a banner before they speak the protocol
                print(line[:SHOWN_CHARS].decode("utf-8", "replace").rstrip(), file=sys.stderr)

    async def close(self) -> None:
        """End the input, which is the orderly way to end an agent."""
        self._stdin.close()

    async def end(self) -> int:
        """See that it ends; its return code."""
        self._stdin.close()
        for wait_s, act in ((EOF_S, self.process.terminate), (TERM_S, self.process.kill)):
            try:
                async with asyncio.timeout(wait_s):
                    return await self.process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    act()
        return await self.process.wait()


async def start_program(command: Sequence[str], environment: Mapping[str, str]) -> AcpProgram:
    """Start an agent in the current folder; what it writes to stderr is ours too. Raises Unusable."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
            limit=MAX_LINE_BYTES,
        )
    except OSError as exc:
        raise Unusable(f"cannot start {command[0]}: {exc.strerror}") from None
    return AcpProgram(process)


def decoded(line: bytes) -> Json | None:
    """A JSON object; None for anything else. Halves of characters are replaced."""
    try:
        found: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # JavaScript cuts strings between the halves of a character, and writes each half as an escape.
        try:
            found = _whole(json.loads(line.decode("utf-8", "replace")))
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return value
