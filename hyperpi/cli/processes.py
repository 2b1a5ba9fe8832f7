"""What the verbs that run a part have in common: logging, event loop, signals, a detached node."""

import asyncio
import contextlib
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import click

from hyperpi import runfile
from hyperpi.config import Environment, Home, child_environment
from hyperpi.errors import Conflict, HyperPiError
from hyperpi.holder import holder_of
from hyperpi.log_lines import LogLines

log = logging.getLogger(__name__)

NODE_START_S = 15.0
STOP_S = 10.0
OUT_CHARS = 4096  # of node.out: the end, where the last start speaks
LOG_BYTES, LOG_FILES = 2 << 20, 3


def set_up_logging(environment: Environment, file: Path | None = None) -> None:
    """Log to a bounded file, or to stderr for a part in the foreground."""
    handler: logging.Handler = logging.StreamHandler()
    if file is not None:
        handler = logging.handlers.RotatingFileHandler(
            file, maxBytes=LOG_BYTES, backupCount=LOG_FILES, delay=True
        )
    level = logging.getLevelNamesMapping().get(environment.log_level.upper())
    if level is None:
        raise HyperPiError(
            f"HYPERPI_LOG is {environment.log_level!r}", hint="one of debug, info, warning, error"
        )
    handler.setFormatter(LogLines())
    logging.basicConfig(level=level, handlers=[handler])


def run_until_signal(serve: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a part on the fastest loop there is; SIGINT and SIGTERM set the event that it is given."""
    try:
        import uvloop
    except ImportError:
        factory: Any = None
    else:
        factory = uvloop.new_event_loop

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await serve(stop)

    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            runner.run(main())
        except* Exception as group:
            raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def home_option(function: Any) -> Any:
    """--home, remembered where options.environment looks."""

    def remember(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta["hyperpi.home"] = value

    return click.option(
        "--home", metavar="DIR", callback=remember, expose_value=False, help="State folder  [HYPERPI_HOME]"
    )(function)


def node_pid(home: Home) -> int | None:
    """The process that runs this home's node, or None."""
    return holder_of(home.node / "lock")


def start_node(home: Home, *arguments: str) -> subprocess.Popen[bytes]:
    """Start this home's node detached, in a session of its own: it outlives whoever started it."""
    home.make("logs")
    log_path = home.logs / "node.out"
    command = [sys.executable, "-m", "node", "run", "--home", str(home.path), "--log-file", *arguments]
    with log_path.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=child_environment(),
            start_new_session=True,
            cwd="/",
        )


@contextlib.contextmanager
def node_beside(home: Home, *arguments: str) -> Iterator[subprocess.Popen[bytes] | None]:
    """This home's node, started beside what the block does unless it runs; it stays when the block succeeds.

    A process takes longer to start than a machine to be let in. When the block fails, all is as it was. The
    block gets the process that was started, None when one ran.
    """
    if node_pid(home) is not None:
        yield None
        return
    marker = home.node / "stopped"
    was_stopped = marker.exists()
    node = start_node(home, *arguments)
    try:
        with _ended_by_signals():
            yield node
    except BaseException:
        node.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.wait(STOP_S)
        if was_stopped:
            marker.touch()
        raise


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that it can clean up."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for_node(
    home: Home, node: subprocess.Popen[bytes] | None, *, timeout_s: float = NODE_START_S
) -> dict[str, Any]:
    """What the node says of itself once it is linked; `node` if it was started for that.

    Raises Conflict when it does not come up, with its reason.
    """
    path = home.node / "run.json"
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        known = runfile.read_live(path)
        if known is not None and known.get("linked"):
            return known
        if node is not None and node.poll() is not None:
            break
        time.sleep(0.02)
    said = runfile.read_live(path)
    if said is None:
        reason, hint = why_it_ended(home)
        raise Conflict(f"the node did not start: {reason}", hint=hint)
    raise Conflict(
        f"the node runs, but is not linked: {_why_not(said) or 'the hypivisor does not answer'}",
        hint=said.get("refused_hint") or said.get("trouble_hint") or "`hyperpi doctor` tells more",
    )


def why_it_ended(home: Home) -> tuple[str, str]:
    """What a detached node that did not come up had to say, and what to do about it."""
    out = home.logs / "node.out"
    reason, hint = "it gave no reason", f"see {out}"
    with contextlib.suppress(OSError):
        for line in out.read_text("utf-8", "replace")[-OUT_CHARS:].splitlines():
            if line.startswith("hyperpi: "):
                reason, hint = line.removeprefix("hyperpi: "), f"see {out}"
            elif line.startswith("  -> "):
                hint = line.removeprefix("  -> ")
    return reason, hint


def _why_not(said: dict[str, Any]) -> str | None:
    return said.get("refused") or said.get("trouble")


def stop_node(home: Home) -> bool:
    """End this home's node, keeping its agents; False when none ran. Raises Conflict when it does not end."""
    pid = node_pid(home)
    home.make("node")
    (home.node / "stopped").touch()
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return True
    deadline = time.monotonic() + STOP_S
    while node_pid(home) == pid:
        if time.monotonic() > deadline:
            raise Conflict(f"the node (pid {pid}) does not end", hint=f"kill {pid}")
        time.sleep(0.02)
    return True
