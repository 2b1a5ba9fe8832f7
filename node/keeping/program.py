"""The process that a keeper holds."""

import subprocess

from node.keeping.lines import Json
from node.keeping.processes import process_at


class Program:
    """Our own child, or one that another keeper has started: that it ends can be known then, but not how."""

    def __init__(self, process: subprocess.Popen[bytes] | None, pid: int, start: str) -> None:
        self.process = process
        self.pid, self.start = pid, start

    @property
    def code(self) -> int | None:
        """Its exit code, or a signal as a negative number; None while it runs or if it cannot be known."""
        return self.process.returncode if self.process is not None else None

    def ended(self) -> bool:
        if self.process is not None:
            return self.process.poll() is not None
        found = process_at(self.pid)
        return found is None or not found.lives or found.start != self.start


def started(process: subprocess.Popen[bytes]) -> Program:
    """One that was started just now."""
    found = process_at(process.pid)
    return Program(process, process.pid, found.start if found else "")


def adopted(spec: Json) -> Program:
    """The one that SPEC names, started by a keeper before."""
    pid, start = spec["pid"], spec["pid_start"]
    assert isinstance(pid, int)
    return Program(None, pid, str(start))
