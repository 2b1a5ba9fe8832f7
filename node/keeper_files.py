"""What stands in the keepers folder: who is kept by which process, and how it ended.

`<agent>.json` is written by node/spawn.py and completed by the keeper, `<agent>.exit.json` by the keeper. A
node that starts learns from them what lives and what has ended meanwhile. Blocking.
"""

import logging
import re
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from node.endings import End
from node.endings import Why as EndWhy
from node.spawn import AGENT_ID

log = logging.getLogger(__name__)

Why = Literal["exited", "keeper_lost", "never_started"]

ASKED_TO_END = frozenset({"SIGTERM", "SIGKILL", "SIGINT", "SIGQUIT"})  # by somebody, or for want of memory
# What moves the cursor, sets colours or titles: escape sequences (ECMA-48), and control characters.
NOT_TEXT = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]"
)
# Programs that take such a signal and end by themselves say so by their code, as a shell does.
CODES = {128 + signal.Signals[name]: name for name in (*ASKED_TO_END, "SIGHUP")}
LAST_LINES = 20
LINE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Kept:
    """A spawned agent that has not ended, as far as is known, and the keeper that holds it."""

    agent: str
    instance: str
    kind: str
    cwd: str
    pid: int
    pid_start: str
    keeper_pid: int
    keeper_start: str
    terminal_folder: str | None = None  # of its recording, if it has a terminal
    standby_pid: int = 0  # of the process that will be its keeper when this one dies; 0: nobody stands by
    standby_start: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a spawned agent ended. Also the params of keeper.exited, and what an exit file holds."""

    agent: str
    instance: str
    kind: str
    pid: int | None = None
    code: int | None = None  # exit code, or
    signal: str | None = None  # e.g. "SIGKILL"; neither is known when the keeper was lost
    output: str = ""  # the last of it, at most 64 KiB
    stopped: bool = False  # by order of a node
    shutdown: bool = False  # its keeper was told to end
    at: float | None = None  # Unix seconds; None: found out now
    why: Why = "exited"

    @property
    def detail(self) -> str:
        """The end in a few words, for a person."""
        if self.why == "keeper_lost":
            return "its keeper was killed"
        if self.why == "never_started":
            return "it never started"
        if self.signal is None and self.code is None:
            return "stopped" if self.stopped else "ended; how is not known, since its first keeper was killed"
        how = f"killed by {self.signal}" if self.signal else f"exit code {self.code}"
        return f"stopped ({how})" if self.stopped else how


@dataclass(frozen=True, slots=True)
class Unstarted:
    """A keeper's file without processes: its node died in the middle of a start, or a moment ago."""

    agent: str
    instance: str = ""
    kind: str = ""
    age_s: float = 0.0


def after(kept: Kept, left: Kept) -> Kept | None:
    """Who holds an agent now that the keeper of `kept` has died, as its file has it; None: nobody."""
    if (left.keeper_pid, left.keeper_start) != (kept.keeper_pid, kept.keeper_start):
        return left
    if not left.standby_pid:
        return None
    return replace(
        left, keeper_pid=left.standby_pid, keeper_start=left.standby_start, standby_pid=0, standby_start=""
    )


# --- why -------------------------------------------------------------------------------------------


def end_of(ended: Ended) -> End:
    """What its keeper says."""
    if ended.why == "never_started":
        return End("crash", ended.detail)
    if ended.why == "keeper_lost":
        return End("killed", ended.detail)
    if ended.shutdown:
        detail = f"its keeper was told to end, as when the machine goes down ({_how(ended)})"
        return End("reboot", detail, code=ended.code, signal=ended.signal)
    plain = NOT_TEXT.sub("", ended.output)
    # What draws the frame of a box says nothing.
    lines = [line.strip() for line in plain.splitlines() if any(map(str.isalnum, line))]
    # What one that was ended by somebody else had been saying has nothing to do with it.
    quiet = _why(ended) != "crash" or not lines
    detail = ended.detail if quiet else f"{ended.detail}: {lines[-1][:LINE_CHARS]}"
    output = "\n".join(line[:LINE_CHARS] for line in lines[-LAST_LINES:])
    return End(_why(ended), detail, code=ended.code, signal=ended.signal, output=output)


def _why(ended: Ended) -> EndWhy:
    if ended.stopped:
        return "stopped"
    if ended.signal is None and ended.code is None:
        return "unknown"
    by = ended.signal or CODES.get(ended.code or 0)
    if by == "SIGHUP":
        return "closed"
    if by in ASKED_TO_END:
        return "killed"
    return "quit" if ended.code == 0 else "crash"


def _how(ended: Ended) -> str:
    return replace(ended, stopped=False).detail


# --- files ------------------------------------------------------------------------------------------

T = TypeVar("T")


def leftovers(folder: Path) -> list[Kept | Ended | Unstarted]:
    """What keepers and an earlier node have left in the keepers folder, one for each agent. Blocks."""
    names = {path.name.removesuffix(".json").removesuffix(".exit") for path in folder.glob("*.json")}
    found = (leftover(folder, agent) for agent in sorted(names) if AGENT_ID.fullmatch(agent))
    return [left for left in found if left is not None]


def leftover(folder: Path, agent: str) -> Kept | Ended | Unstarted | None:
    if (ended := read_end(folder, agent)) is not None:
        return ended
    path = folder / f"{agent}.json"
    try:
        age_s = max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return None  # its keeper ended in this very moment, and somebody has taken the report
    kept = read_file(path, Kept)
    return kept or replace(read_file(path, Unstarted) or Unstarted(agent), agent=agent, age_s=age_s)


def read_end(folder: Path, agent: str) -> Ended | None:
    """The report that a keeper has left for a node, if there is one."""
    return read_file(folder / f"{agent}.exit.json", Ended)


def read_file(path: Path, shape: type[T]) -> T | None:
    """None for what is missing or not of this shape: a start that was cut short leaves such files."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=shape)
    except (OSError, msgspec.DecodeError):
        return None


def forget(folder: Path, agent: str) -> None:
    """Remove an agent's files: its end is known. What cannot be removed is offered to the next node.

    The report goes last: without it the agent would look as if its keeper had been lost.
    """
    for name in (f"{agent}.json.tmp", f"{agent}.json", f"{agent}.exit.json.tmp", f"{agent}.exit.json"):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as exc:
            log.warning("a keeper's file stays agent=%s error=%s", agent, exc.strerror)
