"""Who started whom: the ancestors of a process of this machine."""

import subprocess
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_DEPTH = 64  # deeper trees are loops of a system that reuses pids while we look


@dataclass(frozen=True, slots=True)
class Relative:
    """A process and when it began, which together name it: pids are given out again. `start` is opaque."""

    pid: int
    start: str


def lineage(pid: int) -> tuple[Relative, ...]:
    """A process and its ancestors, nearest first, as far as the system still knows.

    A process whose parent has ended belongs to init from then on: whoever daemonises leaves the family.
    Empty when there is no such process, or none that we may see.
    """
    found: list[Relative] = []
    while pid > 1 and len(found) < MAX_DEPTH:
        seen = _process(pid)
        if seen is None:
            break
        start, parent = seen
        found.append(Relative(pid, start))
        pid = parent
    return tuple(found)


def descends_from(pid: int, ancestor: int) -> bool:
    """Whether a process is another one or was started below it."""
    return pid == ancestor or any(relative.pid == ancestor for relative in lineage(pid))


def nearest(family: Sequence[Relative], pids: Container[int], spare: Container[Relative]) -> int | None:
    """The closest of some processes in a lineage, if any; those of `spare` do not count."""
    return next((r.pid for r in family if r.pid in pids and r not in spare), None)


def _process(pid: int) -> tuple[str, int] | None:
    """Start and parent of a process."""
    return _from_proc(pid) if sys.platform == "linux" else _from_ps(pid)


def _from_proc(pid: int) -> tuple[str, int] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        fields = stat.rpartition(")")[2].split()  # the program's name may hold any character
        return fields[19], int(fields[1])
    except (OSError, ValueError, IndexError):
        return None


def _from_ps(pid: int) -> tuple[str, int] | None:
    command = ["/bin/ps", "-o", "ppid=,lstart=", "-p", str(pid)]
    try:
        asked = subprocess.run(command, capture_output=True, timeout=2, check=False)
        parent, start = asked.stdout.decode("ascii", "replace").strip().split(maxsplit=1)
        return start, int(parent)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
