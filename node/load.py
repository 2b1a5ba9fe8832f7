"""What this process costs, for the roster: cores used since the last look, and memory now."""

import os
import resource
import sys
import time
from pathlib import Path

STATM = Path("/proc/self/statm")


class LoadMeter:
    """Looks at this process; no library, no thread."""

    def __init__(self) -> None:
        self._looked = time.monotonic()
        self._cpu_s = _cpu_s()

    def read(self) -> dict[str, float]:
        """{cpu: cores since the last read, mem_bytes: resident now (the peak where that is unknown)}."""
        now, cpu_s = time.monotonic(), _cpu_s()
        elapsed = max(now - self._looked, 0.001)
        cores = (cpu_s - self._cpu_s) / elapsed
        self._looked, self._cpu_s = now, cpu_s
        return {"cpu": round(cores, 4), "mem_bytes": _memory_bytes()}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory_bytes() -> int:
    try:
        return int(STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
