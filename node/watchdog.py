"""Whether an agent that says it works gets anywhere: what its events tell of its turn. Pure.

Times are seconds of a monotonic clock: a machine that slept has not kept its agents from working.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from node.watch_policy import WatchPolicy

# Of the node's or the agent's own book-keeping: they move no turn.
NO_PROGRESS = (
    b'"type":"state"',
    b'"type":"usage"',
    b'"type":"approval"',
    b'"type":"notice"',
    b'"type":"scroll"',
)
TELLING = (b'"tool_start"', b'"tool_end"', b'"user_message"')


@dataclass(slots=True)
class Turn:
    """What one agent's turn has come to."""

    moved_at: float  # when something of it came last
    call: tuple[str, bytes] | None = None  # the tool that was called last, with its arguments
    times: int = 0  # so often in a row
    running: str | None = None  # the tool whose end has not come

    def take(self, raw: bytes, now: float) -> None:
        """An event of the agent, encoded; cheap for what is only text."""
        if any(mark in raw for mark in NO_PROGRESS):
            return
        self.moved_at = now
        if any(mark in raw for mark in TELLING):
            self._tell(msgspec.json.decode(raw))

    def _tell(self, event: Mapping[str, Any]) -> None:
        match event.get("type"):
            case "tool_start":
                self.running = str(event.get("name"))
                call = (self.running, msgspec.json.encode(event.get("args"), order="deterministic"))
                self.times = self.times + 1 if call == self.call else 1
                self.call = call
            case "tool_end":
                self.running = None
            case "user_message":
                self.call, self.times = None, 0
            case _:
                pass  # one that speaks of them in its text


def stuck(turn: Turn, policy: WatchPolicy, now: float) -> str | None:
    """What an open turn is stuck on, in words that stay the same as long as it is; None: it gets on."""
    if turn.call is not None and turn.times >= policy.same_call_times:
        return f"calls {turn.call[0]} with the same arguments again and again"
    if now - turn.moved_at >= policy.stuck_after_s:
        waits = f"; the tool {turn.running} has not ended" if turn.running else ""
        return f"nothing has come from it for {_words(policy.stuck_after_s)}{waits}"
    return None


def _words(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
