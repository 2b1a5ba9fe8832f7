"""Which terminal a process runs in, and whether that one is still open: how a closed window is told from a
killed program.

Only Linux tells; elsewhere nothing is known.
"""

import os
import sys

PTS_MAJOR = 136


def terminal_of(pid: int) -> str | None:
    """What tells the pseudo-terminal of a process from an earlier or later one of its number; None: it has
    none, or that cannot be known.

    Nor is one told of whoever leads its session: with the end of a window's own program the window goes too.
    """
    if sys.platform != "linux":
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # As the kernel packs it: proc(5), tty_nr. The second field may hold any byte, so count from its end.
    fields = line[line.rfind(b")") + 2 :].split()
    if len(fields) < 5 or int(fields[3]) == pid:
        return None
    device = int(fields[4])
    major, minor = (device >> 8) & 0xFFF, (device & 0xFF) | ((device >> 12) & 0xFFF00)
    return _identity(minor) if major == PTS_MAJOR else None


def is_open(terminal: str) -> bool:
    """Whether that very terminal is still there."""
    number = terminal.partition(" ")[0]
    return _identity(int(number)) == terminal


def _identity(number: int) -> str | None:
    try:
        made = os.stat(f"/dev/pts/{number}").st_ctime_ns
    except OSError:
        return None
    return f"{number} {made}"
