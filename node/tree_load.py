"""What programs cost with all that they have started, from one look at the system's table of processes.

Only Linux tells it cheaply; elsewhere nothing is told.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node.keeping.processes import BOOT_TAG, DEAD_STATES

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process, or of several."""

    cpu_s: float  # processor time so far, with that of children that have ended and were waited for
    mem_bytes: int  # resident; what several share counts for each


@dataclass(frozen=True, slots=True)
class Row:
    """One process in the table."""

    parent: int
    start: str  # opaque identity, as node.keeping.processes has it
    cost: Cost


def table() -> dict[int, Row]:
    """Every living process by pid; empty where the system does not tell. Blocks some milliseconds."""
    if sys.platform != "linux":
        return {}
    rows = {int(name): _row(name) for name in os.listdir("/proc") if name.isdigit()}
    return {pid: row for pid, row in rows.items() if row is not None}


def _row(pid: str) -> Row | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            line = file.read()
    except OSError:
        return None
    # proc(5). The second field may hold any byte, so count from its end.
    fields = line[line.rfind(b")") + 2 :].split(None, 22)
    if len(fields) < 22 or fields[0].decode() in DEAD_STATES:
        return None
    ticks = int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])
    start = f"{BOOT_TAG}-{fields[19].decode()}"
    return Row(int(fields[1]), start, Cost(ticks / TICKS, int(fields[21]) * PAGE_BYTES))


def costs(rows: Mapping[int, Row], roots: Iterable[tuple[int, str | None]], spare: int) -> dict[int, Cost]:
    """The cost of each root that lives (by its pid), with its descendants; `spare` is left out with its own.

    A node that an agent's tether has started descends from that agent, and is not its doing.
    """
    children: dict[int, list[int]] = {}
    for pid, row in rows.items():
        children.setdefault(row.parent, []).append(pid)
    found = {}
    for pid, start in roots:
        if pid not in rows or start not in (None, rows[pid].start):
            continue
        members, ahead = [], [pid]
        while ahead:
            members.append(member := ahead.pop())
            ahead += (child for child in children.get(member, ()) if child not in (spare, member))
        cpu_s = sum(rows[member].cost.cpu_s for member in members)
        found[pid] = Cost(cpu_s, sum(rows[member].cost.mem_bytes for member in members))
    return found
