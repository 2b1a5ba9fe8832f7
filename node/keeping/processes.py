"""What the system tells of processes.

A pid alone identifies nothing, since it is given out again; together with its start identity it does.
"""

import os
import subprocess
import sys

DEAD_STATES = frozenset("ZXx")  # a zombie has ended: only its parent has not asked yet


def _boot_tag() -> str:
    """Start times count from the machine's boot, so two boots must not be taken for one."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(8)
    except OSError:
        return "boot"


BOOT_TAG = _boot_tag()


class Process:
    """One process as a moment saw it. `start` is opaque; the same pid and start mean the same process."""

    __slots__ = ("group", "parent", "session", "start", "state")

    def __init__(self, state: str, parent: int, group: int, session: int, start: str) -> None:
        self.state, self.parent, self.group, self.session, self.start = state, parent, group, session, start

    @property
    def lives(self) -> bool:
        """Whether it can still do anything."""
        return self.state not in DEAD_STATES


def processes() -> dict[int, Process]:
    """Every living process by pid."""
    if sys.platform == "linux":
        found = {int(name): _in_proc(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    else:
        found = dict(_of_ps("-ax"))
    return {pid: process for pid, process in found.items() if process is not None and process.lives}


def process_at(pid: int) -> Process | None:
    """The process with that pid, be it a zombie; None if there is none."""
    if pid <= 0:
        return None
    return _in_proc(pid) if sys.platform == "linux" else _of_ps("-p", str(pid)).get(pid)


def has_in_environment(pid: int, variable: str) -> bool:
    """Whether a process was started with this NAME=VALUE. Only Linux tells."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return os.fsencode(variable) in file.read().split(b"\0")
    except OSError:  # it has ended, or is somebody else's
        return False


def _in_proc(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The second field is the program's name in parentheses and may hold any byte, so count from its end.
    fields = line[line.rfind(b")") + 2 :].decode("ascii", "replace").split()
    if len(fields) < 20:
        return None
    return Process(fields[0], int(fields[1]), int(fields[2]), int(fields[3]), f"{BOOT_TAG}-{fields[19]}")


def _of_ps(*which: str) -> dict[int, Process]:
    """macOS, whose ps tells no usable session. Fixed locale and zone: `lstart` is the same for all."""
    command = ["/bin/ps", *which, "-o", "pid=,ppid=,pgid=,stat=,lstart="]
    try:
        listed = subprocess.run(
            command, capture_output=True, env={"LC_ALL": "C", "TZ": "UTC"}, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    found = {}
    for line in listed.stdout.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) > 4:
            pid, parent, group = (int(word) for word in words[:3])
            found[pid] = Process(words[3][0], parent, group, 0, "-".join(words[4:]))
    return found
