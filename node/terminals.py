"""The terminals of this machine's agents, as viewers see them.

What a terminal shows stands in its recording, which its keeper writes. While somebody follows it, the keeper
says how far the recording goes, and the new bytes become events of a ring of their own: the stream `ID/tty`.
Nobody looks: nothing is read, and nothing is held.
"""

import asyncio
import base64
import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperpi import strict_json
from hyperpi.address import AgentId, new_id
from hyperpi.contract import MAX_TERMINAL_BYTES, Json
from hyperpi.errors import HyperPiError, NotFound
from hyperpi.ring import Ring
from node import cast
from node.agents import Observer
from node.keeping import recording
from node.spawn import TerminalSize

log = logging.getLogger(__name__)

PIECE_BYTES = 64 << 10  # of the recording in one event
SKIP_BYTES = 1 << 20  # a terminal that is further ahead is not shown byte by byte any more
KEEP_BYTES = 128 << 10  # but from here on

Follow = Callable[[str, bool], Awaitable[None]]  # tell a keeper whether somebody looks


@dataclass(slots=True)
class _Terminal:
    size: TerminalSize
    end: int = 0  # of the recording, as its keeper says
    ring: Ring | None = None  # while somebody follows it
    sent: int = 0  # up to this offset the ring has it
    users: int = 0


class Terminals(Observer):
    """All of them; an observer of the agents. `folder` holds a recording per agent, also of ended ones."""

    def __init__(self, folder: Path, follow: Follow, changed: Callable[[AgentId], None]) -> None:
        self._folder = folder
        self._follow = follow
        self._changed = changed
        self._terminals: dict[AgentId, _Terminal] = {}
        self._telling: set[asyncio.Task[None]] = set()

    # --- what keepers say ------------------------------------------------------------------------------

    def held(self, agent: AgentId, size: TerminalSize, end: int) -> None:
        """A keeper holds a terminal for an agent: it was started, or its keeper has dialled again."""
        known = self._terminals.setdefault(agent, _Terminal(size))
        known.size = size
        self.shown(agent, end)
        if known.users:
            self._tell(agent, True)

    def shown(self, agent: AgentId, end: int) -> None:
        """Its recording goes up to here."""
        terminal = self._terminals.get(agent)
        if terminal is None:
            return
        terminal.end = max(end, terminal.end)
        if terminal.ring is not None:
            self._advance(agent, terminal, terminal.ring)

    def agent_gone(self, agent: AgentId) -> None:
        """See node.agents.Observer: what it showed goes with it."""
        if self._terminals.pop(agent, None) is None and not (self._folder / agent).is_dir():
            return
        folder = self._folder / agent
        self._work(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))

    # --- what viewers want -----------------------------------------------------------------------------

    def size(self, agent: AgentId) -> TerminalSize | None:
        """The size of an agent's terminal; None if it has none, or has ended."""
        terminal = self._terminals.get(agent)
        return terminal.size if terminal is not None else None

    def resized(self, agent: AgentId, size: TerminalSize) -> None:
        """Its keeper was told another size: everybody who follows it hears of it."""
        terminal = self._terminals.setdefault(agent, _Terminal(TerminalSize()))
        if terminal.size == size:
            return
        terminal.size = size
        if terminal.ring is not None:
            told = {"agent": agent, "offset": terminal.sent, "data": "", "cols": size.cols, "rows": size.rows}
            terminal.ring.append(strict_json.encode(told))
            terminal.ring.wake()
        self._changed(agent)

    def hold(self, agent: AgentId) -> Ring:
        """Follow an agent's terminal; `release` when done. Raises NotFound when it has none."""
        if not self.exists(agent):
            raise NotFound("this agent has no terminal", hint="attach to it without --tty")
        terminal = self._terminals.setdefault(agent, _Terminal(TerminalSize()))
        terminal.users += 1
        if terminal.ring is None:
            terminal.ring = Ring(new_id("t", 8))
            terminal.end = max(terminal.end, recording.extent(str(self._folder / agent))[1])
            terminal.sent = terminal.end
            self._tell(agent, True)
        return terminal.ring

    def release(self, agent: AgentId) -> None:
        """One follower less."""
        terminal = self._terminals.get(agent)
        if terminal is None:
            return
        terminal.users -= 1
        if terminal.users <= 0:
            terminal.ring = None
            self._tell(agent, False)

    def exists(self, agent: AgentId) -> bool:
        """Whether an agent has a terminal, or had one when it ran."""
        return agent in self._terminals or (self._folder / agent).is_dir()

    async def scrollback(self, agent: AgentId, offset: int | None, before: int | None, limit: int) -> Json:
        """A piece of what was shown: from `offset`, or the last before `before`, or the last of all.

        With the place in the stream that it belongs to: events after (epoch, seq) go on where all of it ends.
        Raises NotFound.
        """
        if not self.exists(agent):
            raise NotFound("this agent has no terminal", hint="attach to it without --tty")
        folder = str(self._folder / agent)
        terminal = self._terminals.get(agent)
        ring = terminal.ring if terminal is not None else None
        epoch, seq, sent = "", 0, None
        if terminal is not None and ring is not None:  # in one moment: they belong together
            epoch, seq, sent = ring.epoch, ring.head, terminal.sent
        start, end = await asyncio.to_thread(recording.extent, folder)
        end = end if sent is None else sent
        limit = max(1, min(limit, MAX_TERMINAL_BYTES))
        top = end if before is None else max(start, min(before, end))
        at = max(start, top - limit) if offset is None else max(offset, start)
        at, data = await asyncio.to_thread(recording.read_on, folder, at, min(limit, max(0, top - at)))
        size = terminal.size if terminal is not None else TerminalSize()
        return {
            "epoch": epoch,
            "seq": seq,
            "offset": at,
            "data": base64.b64encode(data).decode(),
            "start": start,
            "end": end,
            "cols": size.cols,
            "rows": size.rows,
        }

    async def recording(self, agent: AgentId, offset: int) -> Json:
        """Lines of an asciinema recording from an offset on, and where the next ones begin; None: all told.

        Raises NotFound.
        """
        if not self.exists(agent):
            raise NotFound("this agent has no terminal, so there is no recording of it")
        lines, following = await asyncio.to_thread(cast.lines_of, str(self._folder / agent), offset)
        return {"lines": lines, "next": following}

    # --- inside ----------------------------------------------------------------------------------------

    def _advance(self, agent: AgentId, terminal: _Terminal, ring: Ring) -> None:
        """What was recorded becomes events. Read here: it has just been written, so it is in memory."""
        folder = str(self._folder / agent)
        if terminal.end - terminal.sent > SKIP_BYTES:
            terminal.sent = terminal.end - KEEP_BYTES
        while terminal.sent < terminal.end:
            at, piece = recording.read(folder, terminal.sent, min(PIECE_BYTES, terminal.end - terminal.sent))
            if not piece:
                break
            data = base64.b64encode(piece).decode()
            ring.append(strict_json.encode({"agent": agent, "offset": at, "data": data}))
            terminal.sent = at + len(piece)
        ring.wake()

    def _tell(self, agent: AgentId, on: bool) -> None:
        self._work(self._told(agent, on))

    async def _told(self, agent: AgentId, on: bool) -> None:
        try:
            await self._follow(agent, on)
        except HyperPiError as exc:  # it has ended, or tells when it dials again
            log.debug("a keeper was not told who looks agent=%s reason=%s", agent, exc)

    def _work(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)
