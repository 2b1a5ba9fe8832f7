"""A viewer's place in what an agent's terminal shows: bytes by offset, first what was, then what comes."""

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from hyperpi import strict_json
from hyperpi.contract import Json
from hyperpi.errors import Overloaded
from hyperpi.event import Cursor, Reset
from hyperpi.ring import Ring

SCROLLBACK_TRIES = 3


class TerminalFeed(Protocol):
    """What one terminal shows, from wherever it comes. An event of its ring: params of a notification."""

    agent: str
    ring: Ring
    ended: Reset | None  # set when this feed says nothing more

    async def scrollback(self, offset: int | None) -> bytes:
        """The encoded answer of agent.scrollback: from the offset on, or the last of it."""

    def release(self) -> None:
        """This viewer no longer needs it."""


class Scrollback(msgspec.Struct):
    """The answer of agent.scrollback."""

    epoch: str
    seq: int
    offset: int
    data: str
    start: int
    end: int
    cols: int
    rows: int


@dataclass(slots=True)
class TerminalPlace:
    """Where a viewer is: `first`, if it has not been sent yet, then the events after seq."""

    feed: TerminalFeed
    seq: int
    first: bytes | None
    told: Json  # of its attach


async def enter(feed: TerminalFeed, offset: int | None) -> TerminalPlace:
    """A place that goes on from an offset, or begins with the last of what was shown. Raises Overloaded,
    NotFound, NodeUnreachable.
    """
    for _ in range(SCROLLBACK_TRIES):
        found = await _scrollback(feed, offset)
        if found.offset + _size(found.data) < found.end:  # too far behind to be told everything
            found = await _scrollback(feed, None)
        if feed.ring.holds(Cursor(found.epoch, found.seq)):
            first: dict[str, Any] = {"agent": feed.agent, "offset": found.offset, "data": found.data}
            size = {"cols": found.cols, "rows": found.rows}
            told = {"offset": found.offset, "start": found.start, "end": found.end, **size}
            return TerminalPlace(feed, found.seq, strict_json.encode(first | size), told)
    raise Overloaded("the terminal shows more than can be told", hint="try again")


async def _scrollback(feed: TerminalFeed, offset: int | None) -> Scrollback:
    return msgspec.json.decode(await feed.scrollback(offset), type=Scrollback)


def _size(data: str) -> int:
    """Bytes in a base64 text."""
    return len(data) // 4 * 3 - data[-2:].count("=")
