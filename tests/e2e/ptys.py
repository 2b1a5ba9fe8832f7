"""A program in a terminal of its own, for the questions that are asked of people only."""

import contextlib
import os
import pty
import re
import select
import subprocess
import time

import pytest
from hosts import PATIENCE_S, Host


class Pty:
    """A program on a host that believes that somebody sits before it."""

    def __init__(self, host: Host, *argv: str) -> None:
        self.said = ""
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            host.argv(*argv),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=host.rig.environment(),
            cwd=host.user,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> "Pty":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)
        os.close(self._master)

    def type(self, line: str) -> None:
        """Enter a line."""
        os.write(self._master, line.encode() + b"\n")

    def shows(self, pattern: str) -> re.Match[str]:
        """Wait until the screen has shown this."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := re.search(pattern, self.said)) is None:
            if not self._read(deadline):
                pytest.fail(f"never showed {pattern!r}: {self.said!r}")
        return found

    def ended(self) -> int:
        """Wait for its end; its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        return self._process.wait(PATIENCE_S)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        chunk = b""
        if ready:
            with contextlib.suppress(OSError):  # EIO: nobody holds the other side any more
                chunk = os.read(self._master, 65_536)
        self.said += chunk.decode(errors="replace").replace("\r\n", "\n")
        return bool(chunk)
