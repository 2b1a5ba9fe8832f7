"""Who started whom: the ancestors of a process of this machine."""

import subprocess
from pathlib import Path

MAX_DEPTH = 64  # deeper trees are loops of a system that reuses pids while we look


def descends_from(pid: int, ancestor: int) -> bool:
    """Whether a process is another one or was started below it, as far as the system still knows."""
    for _ in range(MAX_DEPTH):
        if pid == ancestor:
            return True
        if pid <= 1:
            return False
        pid = _parent(pid)
    return False


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        return int(stat.rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:
        asked = subprocess.run(
            ["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, timeout=2, check=False
        )
        return int(asked.stdout or b"0")
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return 0
