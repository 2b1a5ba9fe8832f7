"""`hyperpi attach AGENT --tty`: this terminal becomes the agent's, until Ctrl-] or its end.

Every key goes to the agent as it is; what its terminal shows is written as it comes, from the last that it
has shown. A lost connection is made again and goes on at the byte where it ended.
"""

import base64
import contextlib
import fcntl
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from math import inf

import click

from hyperpi.cli.again import reconnected, refuse_if_revoked
from hyperpi.cli.client import Answer, Client, Notice
from hyperpi.cli.options import connect_again
from hyperpi.cli.output import note
from hyperpi.cli.wires import ConnectionLost
from hyperpi.cli.words import Json, one_line
from hyperpi.errors import HyperPiError, NotForThisRole

DETACH = b"\x1d"  # Ctrl-], as in telnet: no program of today wants it
TYPED_BYTES = 32 << 10  # in one call
DETAIL_S = 1.0  # for how it ended, which its keeper says when all of it has
SILENCE_S = 60.0  # only how often the wait begins anew; the line is watched below us

# What a program may have switched on: its other screen, mouse, paste brackets, a hidden cursor, colours.
RESTORE = (
    b"\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[0m\x1b[>4;0m\x1b[<u"
)


def show_terminal(client: Client, agent: str) -> None:
    """Be an agent's terminal. Raises UsageError where this is none, and what attaching raises."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("--tty needs a terminal on both sides; `hyperpi attach` takes pipes")
    session = _Session(client, agent)
    session.attach(client)
    with _raw(sys.stdin.fileno()), _resizes(session):
        _say(f"this is the terminal of {one_line(agent)}; Ctrl-] leaves it")
        typing = threading.Thread(target=session.type_all, daemon=True, name="typing")
        typing.start()
        over = session.show()
    note(f"hyperpi: {over}")


class _Session:
    """One look at a terminal. `show` belongs to one thread, the keys to another, which only posts."""

    def __init__(self, client: Client, agent: str) -> None:
        self._client = client
        self._authority = client.authority
        self._agent = agent
        self._name = agent
        self._offset: int | None = None  # of the next byte
        self._left = False
        self._may_type = True
        self._sending = threading.Lock()
        self._typed: set[int] = set()  # numbers of the calls that typed

    def attach(self, client: Client) -> None:
        """Follow from where we are; a program that draws its screen draws it anew, in our size."""
        asked: Json = {"agent": self._agent, "terminal": True}
        if self._offset is not None:
            asked["offset"] = self._offset
        result = client.call("agent.attach", asked)
        self._agent = str(result["agent"])
        told = result["terminal"]
        cols, rows = _own_size()
        with contextlib.suppress(NotForThisRole, HyperPiError):
            if (told["cols"], told["rows"]) == (cols, rows):  # else it would not notice
                client.call("agent.resize", {"agent": self._agent, "cols": cols, "rows": max(1, rows - 1)})
            client.call("agent.resize", {"agent": self._agent, "cols": cols, "rows": rows})

    # --- what it shows ---------------------------------------------------------------------------------

    def show(self) -> str:
        """Until it is over; how that came, for a person."""
        while True:
            try:
                for message in self._client.messages(SILENCE_S):
                    if self._left:
                        return f"left {one_line(self._name)}, which goes on"
                    if self._take(message):
                        return self._how_it_ended()
            except ConnectionLost as lost:
                if self._left:
                    return f"left {one_line(self._name)}, which goes on"
                refuse_if_revoked(lost)
                _say(f"{one_line(lost)}; coming back by itself")
                self._come_back()

    def _how_it_ended(self) -> str:
        """It is told that it has ended, and a moment later how."""
        for message in self._client.messages(DETAIL_S):
            if isinstance(message, Notice) and message.method == "agent.events":
                for event in message.params["events"]:
                    if _has_ended(event) and event.get("detail"):
                        return f"it has ended: {one_line(event['detail'])}"
        return "it has ended"

    def _take(self, message: Notice | Answer) -> bool:
        """Whether it was told that the agent has ended. Then it is held for whoever asks how."""
        if isinstance(message, Answer):
            if message.number in self._typed:
                self._typed.discard(message.number)
                self._typing_refused(message.error)
            return False
        params = message.params
        if params.get("agent") != self._agent:
            return False
        match message.method:
            case "agent.terminal":
                self._write(int(params["offset"]), base64.b64decode(params["data"]))
            case "agent.reset":
                self.attach(self._client)
            case "agent.events" if any(map(_has_ended, params["events"])):
                self._client.hold(message)
                return True
        return False

    def _write(self, offset: int, data: bytes) -> None:
        if self._offset is not None and offset > self._offset:
            _say("some of what it showed was skipped")
        self._offset = offset + len(data)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def _come_back(self) -> None:
        self._client.close()
        client, _ = reconnected(connect_again, self.attach, self._authority, until=inf)
        with self._sending:
            self._client = client
            self._typed.clear()
        _say("back")

    # --- what is typed ---------------------------------------------------------------------------------

    def type_all(self) -> None:
        """Every key, until Ctrl-] or the end of what is typed."""
        descriptor = sys.stdin.fileno()
        while not self._left:
            select.select([descriptor], [], [])
            try:
                typed = os.read(descriptor, TYPED_BYTES)
            except OSError:
                typed = b""
            before, detach, _ = typed.partition(DETACH)
            if before:
                self._post("agent.input", data=base64.b64encode(before).decode())
            if detach or not typed:
                self._leave()

    def resized(self) -> None:
        """Our window has another size."""
        cols, rows = _own_size()
        self._post("agent.resize", cols=cols, rows=rows)

    def _leave(self) -> None:
        self._left = True
        self._post("agent.detach")  # its answer wakes the reader

    def _post(self, method: str, **params: object) -> None:
        with self._sending, contextlib.suppress(ConnectionLost):  # the reader notices too, and comes back
            number = self._client.post(method, {"agent": self._agent, **params})
            if method == "agent.input":
                self._typed.add(number)

    def _typing_refused(self, error: HyperPiError | None) -> None:
        if error is not None and self._may_type:
            self._may_type = not isinstance(error, NotForThisRole)
            _say(f"what you type does not arrive: {one_line(error)}")


def _say(text: str) -> None:
    sys.stderr.write(f"\r\n[hyperpi: {text}]\r\n")
    sys.stderr.flush()


def _own_size() -> os.terminal_size:
    """Of this very window: COLUMNS and LINES may be of another one."""
    return os.get_terminal_size(sys.stdout.fileno())


def _has_ended(event: Json) -> bool:
    return event.get("type") == "state" and event.get("state") == "exited"


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Keys come one by one, Ctrl-C among them; afterwards the terminal is as it was."""
    before = termios.tcgetattr(descriptor)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
        sys.stdout.buffer.write(RESTORE + b"\r\n")
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _resizes(session: _Session) -> Iterator[None]:
    """Tell of every other size of our window. From a thread: a handler may come while a lock is held."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)

    def watch() -> None:
        while os.read(woken, 1):
            session.resized()

    threading.Thread(target=watch, daemon=True, name="resizing").start()
    before = signal.signal(signal.SIGWINCH, lambda *_: os.write(wake, b"w") and None)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(wake)
