"""The program that a keeper holds in a terminal of its own."""

import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import termios
from collections.abc import Callable

from node.keeping.child import CHUNK_BYTES, MAX_INPUT_BYTES, Tail, environment_of
from node.keeping.lines import MAX_LINE_BYTES, Json
from node.keeping.program import Program, adopted, started
from node.keeping.recording import Recorder

MAX_SIDE = 10_000  # columns or rows; more is nobody's window


class TerminalChild:
    """The program, and the master side of its terminal: what it shows is recorded, whoever looks.

    `shown()` is called after each piece. `master`: that of a program which runs already.
    """

    def __init__(
        self, spec: Json, selector: selectors.BaseSelector, shown: Callable[[], None], master: int | None
    ) -> None:
        self.selector = selector
        self.shown = shown
        self.tail = Tail()
        self.unwritten = bytearray()
        self.recorder = Recorder(str(spec["terminal_folder"]))
        if master is None:
            cols, rows = spec["cols"], spec["rows"]
            assert isinstance(cols, int)
            assert isinstance(rows, int)
            self.program, self.master = self._run(spec, cols, rows)
        else:
            self.program, self.master = adopted(spec), master
        os.set_blocking(self.master, False)
        selector.register(self.master, selectors.EVENT_READ, self._on_ready)
        self.open = True

    def _run(self, spec: Json, cols: int, rows: int) -> tuple[Program, int]:
        argv = spec["argv"]
        assert isinstance(argv, list)
        master, slave = os.openpty()
        try:
            termios.tcsetwinsize(master, (rows, cols))
            process = subprocess.Popen(
                argv,
                executable=str(spec["program"]),
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=environment_of(spec),
                start_new_session=True,
                # Nothing else makes it the session's controlling terminal. A keeper has no threads.
                preexec_fn=_take_terminal,
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self.recorder.resized(cols, rows)
        return started(process), master

    @property
    def held(self) -> tuple[int, ...]:
        """The descriptors that another keeper needs."""
        return (self.master,)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        rows, cols = termios.tcgetwinsize(self.master)
        return cols, rows

    def resize(self, cols: int, rows: int) -> None:
        """The program is told by SIGWINCH."""
        if self.open and self.size != (cols, rows):
            termios.tcsetwinsize(self.master, (rows, cols))
            self.recorder.resized(cols, rows)

    # what it shows

    def _on_ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send()
        if events & selectors.EVENT_READ:
            self._read()

    def _read(self) -> bool:
        """Take what is there, about a chunk: a terminal hands out 4 KiB at a time. Whether there was any."""
        chunk = bytearray()
        while self.open and len(chunk) < CHUNK_BYTES:
            try:
                piece = os.read(self.master, CHUNK_BYTES)
            except BlockingIOError:
                break
            except OSError:  # nobody has it open any more
                piece = b""
            if not piece:
                self._stop_reading()
                break
            chunk += piece
        if chunk:
            self.recorder.write(bytes(chunk))
            self.tail.add(bytes(chunk))
            self.shown()
        return bool(chunk)

    def _stop_reading(self) -> None:
        if self.open:
            self.selector.unregister(self.master)
            self.open = False

    def drain(self) -> None:
        """After the end: what the program itself wrote is in the terminal, whoever else still holds it."""
        for _ in range(MAX_LINE_BYTES // CHUNK_BYTES):
            if not self.open or not self._read():
                break

    # what is typed

    def write(self, data: bytes) -> bool:
        """Type; False when the program has not read what was typed before."""
        if not self.open or len(self.unwritten) + len(data) > MAX_INPUT_BYTES:
            return False
        self.unwritten += data
        self._send()
        return True

    def _send(self) -> None:
        try:
            while self.unwritten:
                del self.unwritten[: os.write(self.master, self.unwritten[:CHUNK_BYTES])]
        except BlockingIOError:
            pass
        except OSError:  # its end is noticed elsewhere
            self.unwritten.clear()
        if self.open:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.unwritten else 0)
            self.selector.modify(self.master, wanted, self._on_ready)

    # the end

    def end_input(self) -> None:
        """As if somebody had closed the window. The master stays open: the node may hold it too."""
        groups = {self.program.pid}
        with contextlib.suppress(OSError):
            groups.add(os.tcgetpgrp(self.master))
        for group in groups:
            for number in (signal.SIGHUP, signal.SIGCONT):  # one that is suspended would not hear of it
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, number)

    def close_input(self) -> None:
        self.unwritten.clear()


def _take_terminal() -> None:
    """In the child, which leads a session of its own by now: its standard input becomes its terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def size_of(params: Json) -> tuple[int, int] | None:
    """The columns and rows that were asked for, if they make sense."""
    cols, rows = params.get("cols"), params.get("rows")
    if type(cols) is int and type(rows) is int and 1 <= cols <= MAX_SIDE and 1 <= rows <= MAX_SIDE:
        return cols, rows
    return None
