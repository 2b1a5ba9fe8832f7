"""`python -m node.acp [--session ID] -- COMMAND…`: run an ACP agent here, as an agent of this machine's node.

A node starts it under a keeper, with HYPERPI_INSTANCE saying who it is. Started by hand it is an agent too.
It ends as its agent ends: with the same exit code, or by the same signal.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import stat
import sys
import uuid
from collections.abc import Sequence

from hyperpi.config import Home, read_environment
from hyperpi.errors import HyperPiError, Unusable
from node.acp.adapter import Adapter, Identity
from node.acp.program import AcpProgram, start_program
from node.agent_record import agent_id
from node.transcript_file import Transcript, transcript_path

INSTANCE = "HYPERPI_INSTANCE"
TETHERED = "HYPERPI_TETHERED"  # tells a pi below us that it is an agent already, through us


def main(argv: Sequence[str]) -> int:
    """Until the agent has ended, or this process's input has."""
    parser = argparse.ArgumentParser(prog="python -m node.acp", description="Run an ACP agent under a node.")
    parser.add_argument("--session", metavar="ID", help="load this session instead of beginning one")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    environment = read_environment()
    # What the agent starts is not this agent, so nothing below may register in its name.
    instance = os.environ.pop(INSTANCE, None) or str(uuid.uuid4())
    identity = Identity(instance, os.getcwd(), tuple(options.command))
    try:
        code = asyncio.run(_serve(identity, environment.home, options.session))
    except HyperPiError as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return _end_as(code)


async def _serve(identity: Identity, home: Home, session: str | None) -> int:
    """The agent's return code; 0 when we were told to end it."""
    path = transcript_path(home.make("node", "transcripts"), agent_id(identity.instance))
    header = {"version": 1, "command": list(identity.command), "cwd": identity.cwd}
    try:
        transcript = Transcript(path, header)
    except OSError as exc:
        raise Unusable(f"cannot write {path}: {exc.strerror}") from None
    program = await start_program(identity.command, {**os.environ, TETHERED: "acp"})
    told = _told_to_end()
    adapter = Adapter(identity, home.path, program, transcript)
    try:
        if await _open(adapter, session, told):
            return await _attend(adapter, program, told)
    finally:
        await program.end()
    return 0


async def _open(adapter: Adapter, session: str | None, told: asyncio.Event) -> bool:
    """Whether there is a session; not when we are told to end first. Raises Unusable."""
    opening = asyncio.ensure_future(adapter.open(session))
    ending = asyncio.ensure_future(told.wait())
    try:
        await asyncio.wait([opening, ending], return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            return False
        opening.result()
        return True
    finally:
        ending.cancel()
        opening.cancel()


async def _attend(adapter: Adapter, program: AcpProgram, told: asyncio.Event) -> int:
    """Serve until the agent ends by itself or is to end; its return code, 0 when it was to."""
    serving = asyncio.ensure_future(adapter.run())
    exiting = asyncio.ensure_future(program.process.wait())
    endings = [asyncio.ensure_future(event.wait()) for event in (told, adapter.stopping)]
    try:
        await asyncio.wait([serving, exiting, *endings], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()  # raises: it never ends by itself
        code = exiting.result() if exiting.done() else 0
        if not exiting.done():
            await adapter.cancel_turn()
        await adapter.finish("the agent was stopped" if code == 0 else "the agent has ended")
        return code
    finally:
        for task in (serving, exiting, *endings):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def _told_to_end() -> asyncio.Event:
    """Set by SIGTERM and SIGINT, and when the input ends: that is how a keeper says it."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        os.set_blocking(0, False)
        loop.add_reader(0, _drain_input, told)
    return told


def _drain_input(told: asyncio.Event) -> None:
    with contextlib.suppress(BlockingIOError):
        if not os.read(0, 4096):
            asyncio.get_running_loop().remove_reader(0)
            told.set()


def _end_as(code: int) -> int:
    """End the way the agent did, so that whoever holds us tells the truth about it."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core that is of use is the agent's
        with contextlib.suppress(OSError):  # SIGKILL has no other way
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
