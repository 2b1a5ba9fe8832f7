"""Why an agent has ended, as far as that can be known: facts in, an End out. Pure.

Who holds it (its keeper, the kernel, the agent itself) tells different things, and the first one that says
why is kept (roster.Roster.exited). Nothing is made up: where nobody saw the end, it says so.
"""

from dataclasses import dataclass, replace
from typing import Literal

Why = Literal["quit", "crash", "killed", "closed", "stopped", "reboot", "upgrade", "unknown"]

# By nobody's wish: what was going on is worth being taken up again.
MISHAPS = frozenset({"crash", "killed", "reboot", "unknown"})


@dataclass(frozen=True, slots=True)
class End:
    """How an agent came to its end. `detail` says it in a few words, `output` is the last that it showed."""

    why: Why
    detail: str
    by: str | None = None  # who stopped it
    code: int | None = None
    signal: str | None = None
    output: str = ""


def by_goodbye(reason: str) -> End:
    """It said itself that it ends."""
    return End("upgrade" if reason == "upgrade" else "quit", reason)


def by_order(who: str, seen: End | None) -> End:
    """Somebody asked for its end; `seen` is what was seen of it."""
    said = f"stopped by {who}"
    return End("stopped", said, who) if seen is None else replace(seen, why="stopped", detail=said, by=who)


def without_a_word(terminal_open: bool | None) -> End:
    """A program that we do not hold is gone. Its terminal may tell why; None: not known, or it had none."""
    if terminal_open is None:
        return End("unknown", "ended without a goodbye: its terminal was closed or it was killed")
    if terminal_open:
        return End("killed", "ended without a goodbye: it was killed or crashed; its terminal is still open")
    return End("closed", "its terminal was closed")


def found_dead(pid_start: str | None, boot: str) -> End:
    """It was gone when the node started. Start identities begin with the boot that they belong to."""
    if pid_start is not None and not pid_start.startswith(f"{boot}-"):
        return End("reboot", "the machine was restarted")
    return End("unknown", "it ended while its node was not running")
