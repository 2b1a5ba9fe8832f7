"""The program that a keeper holds, and its pipes."""

import json
import os
import selectors
import subprocess
from collections.abc import Callable

from node.keeping.lines import MAX_LINE_BYTES, Json
from node.keeping.program import adopted, started

CHUNK_BYTES = 64 << 10  # a pipe's size
TAIL_BYTES = 64 << 10  # of output kept for the report
MAX_DIALOG_BYTES = 256 << 10  # longer lines of pi's protocol are no questions to a person
MAX_INPUT_BYTES = 1 << 20  # to the child; more means that it does not read

NOTICE = "notify"
# Requests of pi's that only its own screen could fulfil. Any other one is a notice, or a dialog.
OF_THE_SCREEN = frozenset({"setStatus", "setWidget", "setTitle", "set_editor_text"})


class Tail:
    """The last TAIL_BYTES of what was added."""

    def __init__(self) -> None:
        self.kept = bytearray()

    def add(self, chunk: bytes) -> None:
        self.kept += chunk
        if len(self.kept) > 2 * TAIL_BYTES:  # not each time: moving 64 KiB for every line adds up
            del self.kept[:-TAIL_BYTES]

    def text(self) -> str:
        return self.kept[-TAIL_BYTES:].decode("utf-8", "replace")


class PiOutput:
    """pi's protocol, one JSON object a line: finds what extensions ask or say, and passes on other text."""

    def __init__(self) -> None:
        self.rest = b""
        self.skipping = False  # within a line too long to be of interest

    def feed(self, chunk: bytes) -> tuple[list[Json], bytes]:
        """(dialogs that are opened and notices, text for a person)"""
        *lines, rest = (self.rest + chunk).split(b"\n")
        if self.skipping and lines:
            del lines[0]
            self.skipping = False
        if len(rest) > MAX_DIALOG_BYTES:
            self.skipping = True
        self.rest = b"" if self.skipping else rest
        requests = [request for line in lines if (request := self.request(line))]
        return requests, b"".join(line + b"\n" for line in lines if not line.startswith(b"{"))

    def request(self, line: bytes) -> Json | None:
        """What an extension asks, and waits for, or says."""
        if b"extension_ui_request" not in line:
            return None
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(request, dict) or request.get("type") != "extension_ui_request":
            return None
        if request.get("method") in OF_THE_SCREEN or "id" not in request:
            return None
        return request


def environment_of(spec: Json) -> dict[str, str]:
    """The child's environment: Python may have added variables of its own to the one that we were given."""
    names = spec["env_names"]
    assert isinstance(names, list)
    return {name: os.environ[name] for name in names if name in os.environ}


Pipes = tuple[int | None, int, int]  # our ends of stdin, unless it is closed, stdout and stderr


class Child:
    """The program and its pipes. Its output is always drained, whoever listens. `pipes`: those of a program
    which runs already.
    """

    def __init__(
        self,
        spec: Json,
        selector: selectors.BaseSelector,
        on_request: Callable[[Json], None],
        pipes: Pipes | None,
    ) -> None:
        self.selector = selector
        self.on_request = on_request
        self.pi = PiOutput() if spec["stdout"] == "pi-rpc" else None
        self.tail = Tail()
        self.unwritten = bytearray()
        self.stdin_ends = False  # once all is written
        if pipes is None:
            process = _run(spec)
            self.program = started(process)
            pipes = _pipes_of(process)
        else:
            self.program = adopted(spec)
        self.stdin, self.stdout, self.stderr = pipes
        self.outputs = [self.stdout, self.stderr]
        for fd in self.held:
            os.set_blocking(fd, False)
        for fd in self.outputs:
            selector.register(fd, selectors.EVENT_READ, lambda _, fd=fd: self.read(fd))

    @property
    def pipes(self) -> Pipes:
        """What another keeper needs."""
        return self.stdin, self.stdout, self.stderr

    @property
    def held(self) -> tuple[int, ...]:
        """The descriptors among them."""
        return tuple(fd for fd in self.pipes if fd is not None)

    def read(self, fd: int) -> bool:
        """Take one chunk; whether there may be more."""
        try:
            chunk = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            self.selector.unregister(fd)
            self.outputs.remove(fd)
            return False
        if self.pi is not None and fd == self.stdout:
            requests, chunk = self.pi.feed(chunk)
            for request in requests:
                self.on_request(request)
        self.tail.add(chunk)
        return True

    def drain(self) -> None:
        """After the end: what the child itself wrote is in the pipes, whoever else still holds them."""
        for fd in list(self.outputs):
            for _ in range(MAX_LINE_BYTES // CHUNK_BYTES):  # no pipe is larger than 1 MiB
                if not self.read(fd):
                    break

    def write(self, data: bytes) -> bool:
        """Hand bytes to the child's stdin; False when it is closed, or the child does not read."""
        if self.stdin is None or self.stdin_ends or len(self.unwritten) + len(data) > MAX_INPUT_BYTES:
            return False
        idle = not self.unwritten
        self.unwritten += data
        if idle:
            self.selector.register(self.stdin, selectors.EVENT_WRITE, self.on_writable)
        return True

    def on_writable(self, _events: int) -> None:
        if self.stdin is None:
            return
        try:
            del self.unwritten[: os.write(self.stdin, self.unwritten[:CHUNK_BYTES])]
        except BlockingIOError:
            return
        except OSError:  # the child has closed its stdin
            self.close_input()
            return
        if not self.unwritten:
            self.selector.unregister(self.stdin)
            if self.stdin_ends:
                self.close_input()

    def end_input(self) -> None:
        """The orderly way to end a headless agent: it reads what was written, then the end."""
        if self.stdin is None:
            return
        self.stdin_ends = True
        if not self.unwritten:
            self.close_input()

    def close_input(self) -> None:
        if self.stdin is None:
            return
        if self.unwritten:
            self.selector.unregister(self.stdin)
        self.unwritten.clear()
        os.close(self.stdin)
        self.stdin = None


def _run(spec: Json) -> subprocess.Popen[bytes]:
    argv = spec["argv"]
    assert isinstance(argv, list)
    return subprocess.Popen(
        argv,
        executable=str(spec["program"]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=environment_of(spec),
        start_new_session=True,
    )


def _pipes_of(process: subprocess.Popen[bytes]) -> Pipes:
    """As plain descriptors, like those of a program that another keeper has started."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    files = (process.stdin, process.stdout, process.stderr)
    stdin, stdout, stderr = (os.dup(file.fileno()) for file in files)
    for file in files:
        file.close()
    return stdin, stdout, stderr
