"""`hyperpi attach AGENT`: the whole conversation, then live; typed lines are prompts."""

import os
import select
import sys
import threading
import uuid
from collections.abc import Callable, Iterator

import click

from hyperpi.cli.follow import Asked, Attached, Cursor, Dropped, Follower, Item, Live, Reset, Resumed, Said
from hyperpi.cli.options import Verb, agent_argument, connect_again, connected, json_option
from hyperpi.cli.output import colours, note, print_line, styled
from hyperpi.cli.transcript import Style, Transcript, plain
from hyperpi.cli.words import Json, one_line
from hyperpi.config import owners_environment
from hyperpi.errors import HyperPiError

MAX_SEQ = 2**63 - 1  # as the contract has it
MAX_TYPED_BYTES = 512 << 10  # of one line; the contract takes 1 MiB as JSON

_STYLES = {"you": "busy", "agent": "good", "dim": "dim", "error": "bad", "tool": "away"}


def _cursor(_ctx: click.Context, param: click.Parameter, value: str | None) -> Cursor | None:
    """EPOCH:SEQ, split at the last colon."""
    if value is None:
        return None
    epoch, _, seq = value.rpartition(":")
    if not epoch or not seq.isdecimal() or len(seq) > 19 or int(seq) > MAX_SEQ:
        raise click.BadParameter(f"{value!r} is not EPOCH:SEQ, as --json gives them", param=param)
    return Cursor(epoch, int(seq))


@click.command(
    cls=Verb,
    example="""hyperpi attach frontend
               hyperpi attach frontend --tty
               hyperpi attach frontend --no-follow | less
               hyperpi attach frontend@den --json | jq -c 'select(.type == "tool_start")'
               hyperpi attach frontend --json --from e-4k2m9q:1041""",
)
@agent_argument
@json_option
@click.option("--tty", is_flag=True, help="The raw terminal, of an agent that has one; Ctrl-] leaves it.")
@click.option(
    "--from", "cursor", metavar="EPOCH:SEQ", callback=_cursor, help="Go on after this event, without history."
)
@click.option("--no-follow", is_flag=True, help="Print what there is and leave; nothing is read from stdin.")
def attach(agent: str, as_json: bool, tty: bool, cursor: Cursor | None, no_follow: bool) -> None:
    """Show an agent's whole conversation, then what it does. Typed lines are prompts; Ctrl-D leaves.

    On a terminal: Enter sends (and steers an agent that works), Alt-Enter sends for after this turn, Esc
    aborts, Alt-A and Alt-D answer what it asks (what you typed before Alt-D is why), Ctrl-O shows all of a
    long history (q goes back).

    Lines from a pipe are prompts too; when it has ended and the agent has worked them off, so does this.
    The agent never notices who reads. A lost connection is made again and goes on where it ended.
    With --json one event a line, after a line {"type": "snapshot", …}; another such line follows whenever
    events were lost or the conversation itself changed. With --no-follow the first line is all, and after
    --from what has happened since.
    """
    with connected() as client:
        if tty:
            from hyperpi.cli.attach_tty import show_terminal

            if as_json or cursor is not None or no_follow:
                raise click.UsageError("--tty goes with none of --json, --from and --no-follow")
            show_terminal(client, agent)
            return
        if not as_json and not no_follow and _is_a_screen():
            from hyperpi.cli.attach_screen import run_screen

            known: Json = client.call("agent.show", {"agent": agent})
            if known.get("kind") == "terminal" and cursor is None:  # what it shows is all that there is
                from hyperpi.cli.attach_tty import show_terminal

                show_terminal(client, agent)
                return
            follower = Follower(client, connect_again, agent, cursor, whole=False)
            try:
                run_screen(follower, known)
            finally:
                follower.close()
            return
        follower = Follower(client, connect_again, agent, cursor)
        shown = _Lines() if as_json else _Screen(client.call("agent.show", {"agent": agent}))
        try:
            (_print if no_follow else _follow)(follower, shown)
        finally:
            follower.close()


def _is_a_screen() -> bool:
    """Whether a person sits in front of a terminal that can do more than print lines."""
    return sys.stdin.isatty() and sys.stdout.isatty() and owners_environment().get("TERM", "dumb") != "dumb"


def _follow(follower: Follower, shown: "_Lines | _Screen") -> None:
    items = follower.items()
    piped = Piped()
    first = next(items)  # an agent that is not there is told before anything is read from stdin
    piped.see(first)
    shown.show(first)
    typing = threading.Thread(target=_type, args=(follower, shown.own, piped), daemon=True, name="typing")
    typing.start()
    while not (shown.over or piped.worked_off):
        item = next(items)
        piped.see(item)
        shown.show(item)


def _print(follower: Follower, shown: "_Lines | _Screen") -> None:
    items = follower.items()
    item = next(items)
    shown.show(item)
    until: Cursor | None = None
    while not (isinstance(item, Attached) and "snapshot" in item.result):  # that is all there is
        until = until or follower.newest()
        if follower.cursor is not None and follower.cursor.reaches(until):
            return
        item = next(items)
        shown.show(item)


# --- typing -------------------------------------------------------------------------------------------


class Piped:
    """Whether prompts from a pipe are worked off: it has ended, each was taken, and the agent is idle since.

    A pipe that held no prompt is none: who reads with stdin closed goes on reading. `said` and `ended` are
    called by the thread that types, `see` by the one that reads.
    """

    def __init__(self) -> None:
        self.worked_off = False
        self._waiting: set[str] = set()
        self._said = False
        self._ended = False
        self._state = ""

    def said(self, prompt_id: str) -> None:
        """A prompt is about to be sent."""
        self._said = True
        self._waiting.add(prompt_id)

    def ended(self) -> bool:
        """Nothing more will come. True when something had."""
        self._ended = True
        return self._said

    def see(self, item: Item) -> None:
        """What happens with the agent."""
        match item:
            case Live({"type": "user_message", "prompt_id": str(prompt_id)}) if prompt_id in self._waiting:
                self._waiting.discard(prompt_id)
                self._state = "working"  # it is about to say so itself, if it has not already
            case Live({"type": "state", "state": str(state)}):
                self._state = state
            case Said(prompt_id, _, error) if error is not None:
                self._waiting.discard(prompt_id)
            case Attached({"snapshot": {"state": str(state)}}, again):
                self._state = state
                if again:  # what was taken meanwhile is not told again
                    self._waiting.clear()
            case Asked(state) if not self._state:
                self._state = state
            case _:
                pass
        self.worked_off = self._ended and self._said and not self._waiting and self._state == "idle"


def _type(follower: Follower, own: set[str], piped: Piped) -> None:
    try:
        for line in typed_lines(sys.stdin.fileno()):
            if line.strip():
                prompt_id = f"p-{uuid.uuid4()}"
                own.add(prompt_id)
                piped.said(prompt_id)
                follower.say(prompt_id, line)
        if not sys.stdin.isatty() and piped.ended():
            follower.ask_state()  # the reader may be waiting for an agent that is idle already
    except (HyperPiError, OSError, ValueError) as exc:  # nothing to read from, or a line too long
        note(f"hyperpi: typing has ended: {one_line(exc)}")


def typed_lines(descriptor: int) -> Iterator[str]:
    """Lines from a file descriptor as they are entered; ends at its end.

    Not through sys.stdin: its lock, held by a thread that waits, would hang the interpreter's end.
    """
    unread = b""
    while True:
        select.select([descriptor], [], [])
        chunk = os.read(descriptor, 65_536)
        unread += chunk
        *lines, unread = unread.split(b"\n")
        if not chunk:
            lines, unread = [unread], b""
        for line in lines:
            yield line.decode("utf-8", "replace")
        if not chunk:
            return
        if len(unread) > MAX_TYPED_BYTES:
            raise ValueError(f"a line is longer than {MAX_TYPED_BYTES} bytes")


# --- showing ------------------------------------------------------------------------------------------


class _Lines:
    """One JSON document a line; remarks go to stderr."""

    def __init__(self) -> None:
        self.over = False
        self.own: set[str] = set()

    def show(self, item: Item) -> None:
        """Print an item."""
        match item:
            case Attached(result, _):
                print_line({"type": "snapshot", **result})
                self.over = _ended((result.get("snapshot") or {}).get("state"))
            case Live(event):
                print_line(event)
                self.over = event.get("type") == "state" and _ended(event.get("state"))
            case Reset(params):
                print_line({"type": "reset", **params})
            case _:
                _remark(item, self.own, note)


class _Screen:
    """Text for a person."""

    def __init__(self, agent: Json) -> None:
        self.over = False
        self.own: set[str] = set()
        self._name = str(agent.get("name"))
        self._detail = agent.get("detail")
        style: Style = _styled if colours(sys.stdout) else plain
        self._transcript = Transcript(self._write, self._name, style)

    def show(self, item: Item) -> None:
        """Print an item."""
        match item:
            case Attached(result, again):
                self._attached(result, again)
            case Live(event):
                self._live(event)
            case Reset(params):
                self._transcript.forget()
                self._transcript.remark(f"the conversation changed ({params.get('reason')})")
            case _:
                _remark(item, self.own, self._note)
        sys.stdout.flush()

    def _attached(self, result: Json, again: bool) -> None:
        snapshot = result.get("snapshot")
        if not isinstance(snapshot, dict):
            return
        if again and result.get("resume") == "gap":
            self._transcript.remark("some of what happened meanwhile was not kept; this is how it stands")
        self._transcript.snapshot(snapshot)
        why = f": {self._detail}" if self._detail and _ended(snapshot.get("state")) else ""
        self._transcript.remark(f"{self._name} is {snapshot.get('state')}{why}")
        self.over = _ended(snapshot.get("state"))

    def _live(self, event: Json) -> None:
        if event.get("type") == "user_message" and event.get("prompt_id") in self.own and sys.stdin.isatty():
            self._transcript.remark(f"{self._name} has it")  # the words stand there, as they were typed
        else:
            self._transcript.event(event)
        self.over = event.get("type") == "state" and _ended(event.get("state"))

    def _note(self, text: str) -> None:
        self._transcript.break_line()
        sys.stdout.flush()
        note(text)

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)


def _remark(item: Item, own: set[str], say: Callable[[str], None]) -> None:
    match item:
        case Dropped(reason):
            say(f"hyperpi: {one_line(reason)}; coming back by itself")
        case Resumed(whole):
            say("hyperpi: back" + ("" if whole else ", with a gap"))
        case Said(_, _, error) if error is not None:
            say(f"hyperpi: the prompt was not taken: {one_line(error)}")
        case Said(prompt_id, "stored" | "unknown" as receipt, _) if prompt_id in own:
            say(f"hyperpi: your prompt: {receipt}")
        case _:
            pass


def _ended(state: object) -> bool:
    return state == "exited"


def _styled(text: str, kind: str) -> str:
    return styled(text, _STYLES.get(kind, ""))
