"""Processes that are not our children: who they are, whether they live, and when they end.

A pid alone identifies nothing, since it is reused; a pid together with its start identity does. Knows
nothing of agents.
"""

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from node.keeping.processes import process_at
from node.keeping.tree import Tree

SWEEP_S = 0.05  # between looks at what is left of a tree
POLL_S = 0.2  # only where the system offers no event; a dead agent is still seen within a blink


def process_start(pid: int) -> str | None:
    """What tells this process from an earlier or later one with the same pid; None if there is none.

    Opaque; equal texts mean the same process. A zombie still has its identity.
    """
    found = process_at(pid)
    return found.start if found else None


def is_alive(pid: int, start: str | None = None) -> bool:
    """Whether that very process still runs. Zombies are dead; no `start` means whoever has the pid now."""
    found = process_at(pid)
    return found is not None and found.lives and start in (None, found.start)


class ExitWatch:
    """Tells, within milliseconds, that a process has ended; it need not be our child.

    `watch.start(callback)` calls back once, on the loop; `await watch.ended()` waits. A process that is
    dead already is reported on the loop's next turn. `close` (or leaving the `with`) stops watching, calls
    nobody and frees the file descriptor. Use it on one event loop only.
    """

    def __init__(self, pid: int, start: str | None = None) -> None:
        self.pid = pid
        self.start_identity = start
        self._ended = asyncio.Event()
        self._callback: Callable[[], object] | None = None
        self._fd: int | None = None
        self._kqueue: contextlib.AbstractContextManager[object] | None = None
        self._timer: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def start(self, callback: Callable[[], object] | None = None) -> Self:
        """Begin to watch, on the running loop."""
        assert self._loop is None, "started twice"
        self._callback = callback
        self._loop = loop = asyncio.get_running_loop()
        self._fd = self._open()
        # Only now is the identity looked at: what we hold is that process, or it had ended before.
        if not is_alive(self.pid, self.start_identity):
            self._stop()
            self._timer = loop.call_soon(self._fire)
        elif self._fd is not None:
            loop.add_reader(self._fd, self._fire)
        else:
            self._timer = loop.call_later(POLL_S, self._poll)
        return self

    async def ended(self) -> None:
        """Return once the process has ended. Never returns after `close`."""
        await self._ended.wait()

    def close(self) -> None:
        """Stop watching; harmless when repeated."""
        self._closed = True
        self._stop()

    def __enter__(self) -> Self:
        return self if self._loop is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> int | None:
        """A descriptor that becomes readable at the end of the process, where the system has one."""
        try:
            if sys.platform == "linux":
                return os.pidfd_open(self.pid)
            return self._open_kqueue()
        except (OSError, AttributeError):  # no such process, too old a kernel, or forbidden in a container
            return None

    def _open_kqueue(self) -> int | None:
        if sys.platform == "linux":
            return None
        queue = select.kqueue()
        self._kqueue = contextlib.closing(queue)
        wanted = select.kevent(
            self.pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT
        )
        queue.control([wanted], 0)
        return queue.fileno()

    def _poll(self) -> None:
        assert self._loop is not None
        if is_alive(self.pid, self.start_identity):
            self._timer = self._loop.call_later(POLL_S, self._poll)
        else:
            self._fire()

    def _fire(self) -> None:
        self._stop()
        if self._closed or self._ended.is_set():
            return
        self._ended.set()
        if self._callback is not None:
            self._callback()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fd is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._fd)
        if self._kqueue is not None:
            with self._kqueue:
                self._kqueue = None
        else:
            os.close(self._fd)
        self._fd = None


async def wait_for_end(pid: int, start: str | None, timeout_s: float) -> bool:
    """Whether the process ended within that time."""
    with ExitWatch(pid, start) as watch:
        try:
            async with asyncio.timeout(timeout_s):
                await watch.ended()
        except TimeoutError:
            return False
    return True


async def end_tree(pid: int, start: str, grace_s: float, patience_s: float) -> None:
    """End a process and all that it has started, be it in sessions of its own; this process is spared.

    After the grace everything gets SIGTERM, after the patience SIGKILL. Returns when nothing is left, or at
    the latest after the grace and twice the patience.
    """
    tree = Tree(pid, start)
    await asyncio.to_thread(tree.look, os.getpid())  # now: once parents have ended, nobody knows the family
    await wait_for_end(pid, start, grace_s)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(max(1, round(patience_s / SWEEP_S))):
            await asyncio.to_thread(tree.look, os.getpid())
            if not tree.known:
                return
            tree.send(number)
            await asyncio.sleep(SWEEP_S)
