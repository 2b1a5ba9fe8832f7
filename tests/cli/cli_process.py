"""The command as users run it: a process of its own, ended or going on."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cli_mesh import PATIENCE_S

COMMAND = [sys.executable, "-m", "hyperpi.cli.main"]


@dataclass(frozen=True)
class Done:
    """What a run of the command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


Run = Callable[..., Done]  # the command in this process: run("ls", "--json", stdin="")


def run_alone(*argv: str, stdin: str = "", **environment: str) -> Done:
    """Run the command as a process of its own."""
    done = subprocess.run(
        [*COMMAND, *argv],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, **environment},
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Running:
    """The command as a process that goes on."""

    def __init__(self, *argv: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **environment},
        )
        self.out = ""
        self.err = ""

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def type(self, line: str) -> None:
        """Enter a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def wait_for(self, text: str, *, times: int = 1) -> None:
        """Return when stdout has said that; fail when it does not."""
        self._read(lambda: self.out.count(text) >= times, text)

    def wait_for_error(self, text: str) -> None:
        """The same of stderr."""
        self._read(lambda: text in self.err, text)

    def end(self, signal_number: int | None = None) -> Done:
        """Send a signal and wait for the end."""
        if signal_number is not None:
            self.process.send_signal(signal_number)
        self._read(lambda: False, None)
        return Done(self.process.wait(PATIENCE_S), self.out, self.err)

    def _read(self, enough: Callable[[], bool], wanted: str | None) -> None:
        """Read until there is enough, or, when nothing is wanted, until the end."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        deadline = time.monotonic() + PATIENCE_S
        open_streams = {self.process.stdout, self.process.stderr}
        while not enough():
            ready, _, _ = select.select(list(open_streams), [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                pytest.fail(f"waited for {wanted!r}; so far: {self.out[-2000:]!r}, {self.err[-2000:]!r}")
            for stream in ready:
                chunk = os.read(stream.fileno(), 65_536).decode()
                if not chunk:
                    open_streams.discard(stream)
                elif stream is self.process.stdout:
                    self.out += chunk
                else:
                    self.err += chunk
            if not open_streams:
                if wanted is None or enough():
                    return
                pytest.fail(f"ended before {wanted!r}: {self.out[-2000:]!r}, {self.err[-2000:]!r}")
