"""Starting an agent: the policy decides, the folder is opened, a keeper is set going in it.

The keeper is a process of its own session that outlives this one. It is not started by asyncio, whose
transports kill their process when the loop closes (Python 3.12 and later); so who watches keepers
(node/keepers.py) also collects them when they end.
"""

import asyncio
import contextlib
import errno
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperpi.config import Home
from hyperpi.errors import BadRequest, Conflict, HyperPiError, NotFound, Overloaded, RefusedByPolicy
from node.folders import create_folder, opened
from node.keeping.lines import Json, save
from node.keeping.tree import MARK
from node.kinds import kind_named
from node.policy import Policy, agent_environment, check_count, command_line, is_utf8

KEEPER = Path(__file__).with_name("keeper.py")
START_S = 20.0  # a keeper needs 50 ms; a machine that is this much slower cannot use another agent
TERMINAL_VARIABLES = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}  # what its viewers can show
AGENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # it names files


@dataclass(frozen=True, slots=True)
class SpawnOrder:
    """One agent to start. `agent` and `instance` are made by the node, the rest is what was asked for."""

    agent: str
    instance: str  # UUID; the agent's own tether registers with it
    kind: str
    path: str  # absolute, or beginning with ~/
    new_folder: str | None = None  # made in `path`; the agent starts in it
    args: tuple[str, ...] = ()
    headless: bool = False  # without a terminal, where its kind can
    session: str | None = None  # the one that its kind's adapter loads


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """Columns and rows."""

    cols: int = 120
    rows: int = 40


@dataclass(frozen=True, slots=True)
class Spawned:
    """An agent whose program runs, and the keeper that holds it."""

    agent: str
    instance: str
    kind: str
    cwd: str  # resolved
    argv: tuple[str, ...]
    pid: int
    pid_start: str
    keeper_pid: int
    keeper_start: str
    terminal_folder: str | None = None  # of its recording, if it has a terminal


async def start_agent(
    order: SpawnOrder, policy: Policy, *, home: Home, environment: Mapping[str, str], user_home: Path
) -> Spawned:
    """Start an agent as ordered, and return once its program runs.

    `environment` is the owner's; the agent gets of it what the policy allows. Raises BadRequest, NotFound
    (folder or program), RefusedByPolicy, Conflict (name taken, folder swapped), Overloaded. If the caller is
    cancelled, the start is not: the agent then makes itself known like any other.
    """
    return await asyncio.to_thread(_start, order, policy, home, environment, user_home)


def _start(
    order: SpawnOrder, policy: Policy, home: Home, environment: Mapping[str, str], user_home: Path
) -> Spawned:
    if not AGENT_ID.fullmatch(order.agent):
        raise BadRequest("an agent's id is up to 64 letters, digits, - and _")
    kind = kind_named(order.kind)
    argv = command_line(policy, kind, order.args, headless=order.headless)
    ours = {"HYPERPI_HOME": str(home.path), "HYPERPI_INSTANCE": order.instance, MARK: order.agent}
    child_environment = agent_environment(policy, environment, ours)
    argv = argv or (child_environment.get("SHELL", "/bin/sh"),)
    program = find_program(argv[0], child_environment.get("PATH", os.defpath))
    if kind.adapter is not None:
        argv = kind.adapter((program, *argv[1:]), order.session)
        program = argv[0]
    held = kind.held(argv)
    terminal_folder = str(home.make("node", "terminals") / order.agent) if held.terminal else None
    if terminal_folder is not None:
        child_environment |= TERMINAL_VARIABLES
        for name in ("COLUMNS", "LINES"):  # of whatever terminal the node was started in
            child_environment.pop(name, None)
    keepers = home.make("node", "keepers")
    with _reserved(keepers, order.agent, policy) as spec_path:
        path = order.path
        if order.new_folder is not None:
            path = create_folder(policy.roots, path, order.new_folder, user_home=user_home)
        with opened(policy.roots, path, user_home) as (folder, cwd):
            child_environment |= {"PWD": cwd}
            child_environment.pop("OLDPWD", None)
            spec: Json = {
                "version": 1,
                "agent": order.agent,
                "instance": order.instance,
                "kind": order.kind,
                "program": program,
                "argv": argv,
                "env_names": sorted(filter(is_utf8, child_environment)),  # the values never touch the disk
                "cwd": cwd,
                "cwd_fd": folder,
                "stdout": held.stdout,
                "address_file": str(home.node / "agent.addr"),
                "created_at": time.time(),
            }
            if terminal_folder is not None:
                size = TerminalSize()
                spec |= {"terminal_folder": terminal_folder, "cols": size.cols, "rows": size.rows}
            _write(spec_path, spec)
            known = _run_keeper(spec_path, folder, child_environment, home)
    return Spawned(
        order.agent,
        order.instance,
        order.kind,
        cwd,
        argv,
        pid=known["pid"],
        pid_start=known["pid_start"],
        keeper_pid=known["keeper_pid"],
        keeper_start=known["keeper_start"],
        terminal_folder=terminal_folder,
    )


async def start_heir(agent: str, master: int, home: Home) -> tuple[int, str]:
    """Give an agent whose keeper was killed a new one, which gets a copy of its terminal's master.

    Returns the new keeper's pid and start, which stand in its file by then. Raises Overloaded.
    """
    spec_path = home.node / "keepers" / f"{agent}.json"
    said = await asyncio.to_thread(_run_keeper, spec_path, master, {}, home, (str(master),))
    return said["keeper_pid"], said["keeper_start"]


def find_program(name: str, path: str) -> str:
    """The absolute path of a program. Relative entries of PATH do not count. Raises NotFound."""
    safe = os.pathsep.join(p for p in path.split(os.pathsep) if os.path.isabs(p))
    found = shutil.which(name, path=safe)
    if found is None:
        raise NotFound(
            f"this node finds no program {name!r}",
            hint=f"install {name} there, or give its absolute path in the machine's node.toml",
        )
    return found


@contextlib.contextmanager
def _reserved(keepers: Path, agent: str, policy: Policy) -> Iterator[Path]:
    """The spec file's path, taken before the agents are counted: two starts at once cannot both be the last.

    The file goes again when the start fails.
    """
    path = keepers / f"{agent}.json"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise Conflict(f"an agent {agent} has been started before") from None
    except OSError as exc:
        raise _no_room(exc) from None
    try:
        check_count(policy, count_kept(keepers) - 1)
        yield path
    except BaseException:
        for left in (path, path.with_suffix(".json.tmp")):
            left.unlink(missing_ok=True)
        raise


def count_kept(keepers: Path) -> int:
    """Spawned agents that have not ended, by the files of their keepers."""
    names = {entry.name for entry in os.scandir(keepers) if entry.name.endswith(".json")}
    ended = {name for name in names if name.endswith(".exit.json")}
    return sum(1 for name in names - ended if name.removesuffix(".json") + ".exit.json" not in ended)


def _write(path: Path, spec: Json) -> None:
    """On the disk before the keeper starts, so that a node that dies now is followed by one that knows."""
    try:
        save(str(path), spec)
    except OSError as exc:
        raise _no_room(exc) from None


def _no_room(exc: OSError) -> Overloaded:
    return Overloaded(
        f"cannot write the keeper's file: {exc.strerror}", hint="free some space, then try again"
    )


class _Detached(subprocess.Popen[bytes]):
    """A process that is meant to outlive us; whoever watches it collects it by its pid."""

    def __del__(self) -> None:
        """Nothing: Popen's own would complain that the process still runs."""


def _run_keeper(
    spec_path: Path, fd: int, environment: Mapping[str, str], home: Home, args: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    """Start a keeper and wait for its word on the child. Raises what `_refused` gives, or Overloaded."""
    log_path = home.make("logs") / "keepers.log"
    try:
        log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _no_room(exc) from None
    try:
        # The environment is the child's: nothing of ours is in it, and the keeper itself needs none (-I).
        keeper = _Detached(
            [sys.executable, "-I", "-S", str(KEEPER), str(spec_path), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_fd,
            env=environment,
            pass_fds=(fd,),
            start_new_session=True,
        )
    except OSError as exc:
        raise Overloaded(f"cannot start a keeper: {exc.strerror}", hint="stop some agents") from None
    finally:
        os.close(log_fd)
    assert keeper.stdout
    with keeper.stdout as answers:
        line = _first_line(answers.fileno(), START_S)
    if not line:
        _end(keeper)
        raise Overloaded("the keeper did not start its agent", hint=f"see {log_path} on that machine")
    said: Mapping[str, Any] = json.loads(line)
    if "error" in said:
        _end(keeper)
        raise _refused(said)
    return said


def _first_line(fd: int, timeout_s: float) -> bytes:
    """A line from a pipe; empty if none came in time or the writer has gone."""
    deadline = time.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        poll = select.poll()  # not select(), which cannot take descriptors above 1,023
        poll.register(fd, select.POLLIN)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return b""
        if not (chunk := os.read(fd, 4096)):
            return b""
        line += chunk
    return line


def _end(keeper: subprocess.Popen[bytes]) -> None:
    """It has no child to lose: it failed, or hangs."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(keeper.pid, signal.SIGKILL)
    keeper.wait()


def _refused(said: Mapping[str, Any]) -> HyperPiError:
    """Why the system would not run the program."""
    number, why = said.get("errno"), str(said["error"])
    if number in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return Overloaded(f"cannot start the agent: {why}", hint="stop some agents")
    if number == errno.ENOENT:
        return NotFound(f"cannot start the agent: {why}", hint="is the program's interpreter installed?")
    return RefusedByPolicy(f"cannot start the agent: {why}", hint="can the node's user run it by hand?")
