"""Who started whom: the ancestors of a process of this machine."""

import os
import subprocess
import sys
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

MAX_DEPTH = 256  # deeper trees are somebody's trick, or loops of a system that reuses pids while we look
TRIES = 3  # a parent that ends while we look has its children moved to init, so that we look again

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Relative:
    """A process and when it began, which together name it: pids are given out again.

    `start` is opaque, and the same text as in node.keeping.processes.
    """

    pid: int
    start: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """A process and its ancestors, nearest first.

    `complete`: up to the first process of the system, or to one of another user that is hidden from us.
    """

    family: tuple[Relative, ...]
    complete: bool

    def nearest(self, among: Mapping[Relative, T], spare: Container[Relative] = ()) -> T | None:
        """What is said of the closest relative that something is said of; those of `spare` do not count."""
        return next((among[r] for r in self.family if r in among and r not in spare), None)


def lineage(pid: int) -> Lineage:
    """The ancestors of a process, as far as the system still knows.

    A process whose parent has ended belongs to init from then on: whoever daemonises leaves the family.
    """
    found = Lineage((), False)
    for _ in range(TRIES):
        found = _look(pid)
        if found.complete:
            break
    return found


def descends_from(pid: int, ancestor: int) -> bool:
    """Whether a process is another one or was started below it."""
    return pid == ancestor or any(relative.pid == ancestor for relative in lineage(pid).family)


def _look(pid: int) -> Lineage:
    family: list[Relative] = []
    while pid > 0 and len(family) < MAX_DEPTH:
        seen = _from_proc(pid) if sys.platform == "linux" else _from_ps(pid)
        if seen is None:
            return Lineage(tuple(family), bool(family) and _is_anothers(pid))
        start, parent = seen
        family.append(Relative(pid, start))
        pid = parent
    return Lineage(tuple(family), bool(family) and pid <= 0)


def _is_anothers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _boot_tag() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]
    except OSError:
        return "boot"


BOOT_TAG = _boot_tag()  # start times count from the machine's boot


def _from_proc(pid: int) -> tuple[str, int] | None:
    """Start and parent of a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        fields = stat.rpartition(")")[2].split()  # the program's name may hold any character
        return f"{BOOT_TAG}-{fields[19]}", int(fields[1])
    except (OSError, ValueError, IndexError):
        return None


def _from_ps(pid: int) -> tuple[str, int] | None:
    """The same on macOS. Fixed locale and zone: `lstart` is the same for all."""
    command = ["/bin/ps", "-o", "ppid=,lstart=", "-p", str(pid)]
    same = {"LC_ALL": "C", "TZ": "UTC"}
    try:
        asked = subprocess.run(command, capture_output=True, env=same, timeout=2, check=False)
        parent, *start = asked.stdout.decode("ascii", "replace").split()
        return "-".join(start), int(parent)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
