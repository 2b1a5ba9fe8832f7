"""One agent's stream for a program or a person: whole history, then live, over lost connections.

Holds the cursor (epoch, seq), so that a new connection goes on where the last one ended. Knows nothing of how
it is shown.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

from hyperpi.cli.again import reconnected, refuse_if_revoked
from hyperpi.cli.client import Answer, Client, Notice
from hyperpi.cli.wires import ConnectionLost
from hyperpi.cli.words import Json, rows_of
from hyperpi.errors import CursorCompacted, HyperPiError, NodeUnreachable, NotFound, Overloaded

PAGE = 200  # entries of one answer of agent.history
MAX_ENTRIES = 50_000  # a history longer than this is not read on a terminal
SILENCE_S = 60.0  # only how often the wait begins anew; the line is watched below us


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything up to and including `seq` of `epoch` is known."""

    epoch: str
    seq: int

    def reaches(self, other: "Cursor") -> bool:
        """Whether all that the other one knows is known here too."""
        return self.epoch == other.epoch and self.seq >= other.seq


@dataclass(frozen=True, slots=True)
class Attached:
    """The result of agent.attach, its snapshot with the whole history. `again`: not the first one."""

    result: Json
    again: bool


@dataclass(frozen=True, slots=True)
class Live:
    """One event."""

    event: Json


@dataclass(frozen=True, slots=True)
class Reset:
    """The conversation itself changed; a new snapshot follows."""

    params: Json


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection was lost; it is being made again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """It was made again. `whole`: nothing was missed."""

    whole: bool


@dataclass(frozen=True, slots=True)
class Said:
    """What became of a prompt of ours: a receipt, or an error."""

    id: str
    receipt: str | None
    error: HyperPiError | None


@dataclass(frozen=True, slots=True)
class Asked:
    """The agent's state, as answered to `ask_state`."""

    state: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Something else that was asked for did not happen."""

    error: HyperPiError


Item = Attached | Live | Reset | Dropped | Resumed | Said | Asked | Refused


class _Gap(Exception):
    """The next event does not follow what we have, or the conversation changed."""


class Follower:
    """Follows one agent. `items` belongs to one thread; `say` may be called by another."""

    def __init__(
        self,
        client: Client,
        connect: Callable[[], Client],
        agent: str,
        cursor: Cursor | None,
        *,
        whole: bool = True,
    ) -> None:
        """`whole`: read all of the history, not just its newest part."""
        self.agent = agent
        self.cursor = cursor
        self._client = client
        self._connect = connect
        self._authority = client.authority
        self._reads_all = whole
        self._acts: set[int] = set()  # numbers of requests of which only an error is told
        self._asked: dict[int, str] = {}  # number of a request -> id of the prompt
        self._unanswered: dict[str, Json] = {}
        self._states: set[int] = set()  # numbers of requests for the state
        self._speaking = threading.Lock()

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def say(self, prompt_id: str, text: str, mode: str = "prompt") -> None:
        """Send a prompt. While the connection is lost it waits; its id keeps it from being taken twice."""
        prompt = {"agent": self.agent, "text": text, "mode": mode, "id": prompt_id}
        with self._speaking:
            self._unanswered[prompt_id] = prompt
            self._post(prompt)

    def act(self, method: str, params: Json) -> None:
        """Ask for something at this moment: what is lost with the connection is not asked for again."""
        with self._speaking, contextlib.suppress(ConnectionLost):
            self._acts.add(self._client.post(method, {"agent": self.agent, **params}))

    def ask_state(self) -> None:
        """Have `items` tell the agent's state: for a thread that does not read them."""
        with self._speaking:
            self._post_state()

    def items(self) -> Iterator[Item]:
        """What happens, from the attachment on; ends only by an error that coming back cannot mend."""
        yield Attached(self._attach(self._client), again=False)
        attached = True
        while True:
            try:
                if not attached:
                    result, attached = self._attach(self._client), True
                    if result["resume"] != "ok":
                        yield Attached(result, again=True)
                yield from self._read()
            except _Gap:
                attached = False
            except (ConnectionLost, NodeUnreachable, Overloaded) as lost:
                # The two latter: an agent that begins another conversation may be away for a moment.
                yield from self._resume(lost)
                attached = True

    def _resume(self, lost: HyperPiError) -> Iterator[Item]:
        if isinstance(lost, ConnectionLost):
            refuse_if_revoked(lost)
        yield Dropped(str(lost))
        result = self._come_back()
        if result["resume"] != "ok":
            yield Attached(result, again=True)
        yield Resumed(result["resume"] == "ok")

    def newest(self) -> Cursor:
        """Where the agent's stream is now, asked by the way. Raises HyperPiError."""
        with self._connect() as other:
            found: Json = other.call("agent.attach", {"agent": self.agent})
            return Cursor(str(found["epoch"]), int(found["seq"]))

    # --- attaching -------------------------------------------------------------------------------------

    def _attach(self, client: Client) -> Json:
        asked: Json = {"agent": self.agent}
        if self.cursor is not None:
            asked |= {"epoch": self.cursor.epoch, "seq": self.cursor.seq}
        result: Json = client.call("agent.attach", asked)
        self.agent = str(result.get("agent") or self.agent)  # from now on by its id
        self.cursor = Cursor(str(result["epoch"]), int(result["seq"]))
        snapshot = result.get("snapshot")
        if isinstance(snapshot, dict) and self._reads_all:
            result = {**result, "snapshot": {**snapshot, **self._whole(client, snapshot)}}
        return result

    def _whole(self, client: Client, snapshot: Json) -> Json:
        """All entries, the older pages fetched; `more` stays true where they cannot be read now."""
        pages = [rows_of(snapshot, "entries")]
        more, count = bool(snapshot.get("more")), len(pages[0])
        while more and pages[-1] and count < MAX_ENTRIES:
            asked = {"agent": self.agent, "before": pages[-1][0].get("id"), "limit": PAGE}
            try:
                answer: Any = client.call("agent.history", asked)
            except (CursorCompacted, NodeUnreachable, NotFound):
                break
            pages.append(rows_of(answer, "entries"))
            more, count = bool(answer.get("more")), count + len(pages[-1])
        return {"entries": [entry for page in reversed(pages) for entry in page], "more": more}

    def _come_back(self) -> Json:
        self._client.close()
        client, result = reconnected(self._connect, self._attach, self._authority, until=inf)
        with self._speaking:
            self._client = client
            self._asked.clear()
            self._acts.clear()
            if self._states:
                self._states.clear()
                self._post_state()
            for prompt in self._unanswered.values():
                self._post(prompt)
        return result

    def _post(self, prompt: Json) -> None:
        with contextlib.suppress(ConnectionLost):  # the reader notices too, comes back and posts it again
            self._asked[self._client.post("agent.prompt", prompt)] = str(prompt["id"])

    def _post_state(self) -> None:
        with contextlib.suppress(ConnectionLost):
            number = self._client.post("agent.show", {"agent": self.agent})
            self._states.add(number)

    # --- reading ---------------------------------------------------------------------------------------

    def _read(self) -> Iterator[Item]:
        for message in self._client.messages(SILENCE_S):
            if isinstance(message, Answer):
                yield from self._answered(message)
            elif message.params.get("agent") == self.agent:
                yield from self._noticed(message)

    def _answered(self, answer: Answer) -> Iterator[Item]:
        with self._speaking:
            prompt_id = self._asked.pop(answer.number, None)
            if prompt_id is not None:
                self._unanswered.pop(prompt_id, None)
            is_act = answer.number in self._acts
            self._acts.discard(answer.number)
            is_state = answer.number in self._states
            self._states.discard(answer.number)
        if is_act and answer.error is not None:
            yield Refused(answer.error)
        if is_state and isinstance(answer.result, dict):
            yield Asked(str(answer.result.get("state")))
        if prompt_id is not None:
            receipt = answer.result.get("receipt") if isinstance(answer.result, dict) else None
            yield Said(prompt_id, receipt, answer.error)

    def _noticed(self, notice: Notice) -> Iterator[Item]:
        assert self.cursor is not None
        if notice.method == "agent.events" and notice.params.get("epoch") == self.cursor.epoch:
            for event in rows_of(notice.params, "events"):
                yield from self._taken(event)
        elif notice.method == "agent.reset":
            self.cursor = None
            yield Reset(notice.params)
            raise _Gap
        elif notice.method == "prompt.changed":
            yield Said(str(notice.params.get("id")), notice.params.get("receipt"), None)

    def _taken(self, event: Json) -> Iterator[Item]:
        assert self.cursor is not None
        last = int(event["seq"])
        if last <= self.cursor.seq:
            return  # applied already: replays overlap
        if int(event.get("first_seq", last)) > self.cursor.seq + 1:
            raise _Gap
        self.cursor = Cursor(self.cursor.epoch, last)
        yield Live(event)
