"""The latest value of each key, written soon after it has changed: for states that change often.

What must be on disk before somebody is told waits with `kept`; the rest shares a write with what comes within
a moment.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

from hyperpi.errors import Overloaded

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

RETRY_S = 2.0  # until a disk that was full is tried again


class WriteBehind(Generic[K, V]):
    """Calls `save` with changed values, one call at a time, at most every `every_s` unless somebody waits.

    A `save` that raises Overloaded is tried again with the same values, or newer ones, until there is room;
    anything else that it raises ends `run`.
    """

    def __init__(self, what: str, save: Callable[[dict[K, V]], Awaitable[None]], every_s: float) -> None:
        self._what = what
        self._save = save
        self._every_s = every_s
        self._dirty: dict[K, V] = {}
        self._writing: dict[K, V] = {}
        self._changed, self._hurry = asyncio.Event(), asyncio.Event()
        self._flushed = asyncio.Event()

    def keep(self, key: K, value: V) -> None:
        """Write this value soon, in place of an earlier one."""
        self._dirty[key] = value
        self._changed.set()

    async def kept(self, key: K) -> None:
        """Return when the newest value that `keep` was given is on disk; while the disk is full, wait."""
        while key in self._dirty or key in self._writing:
            self._hurry.set()
            await self._flushed.wait()

    async def run(self) -> None:
        """Write until cancelled; the last values are written then."""
        try:
            while True:
                await self._changed.wait()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every_s):
                        await self._hurry.wait()
                self._changed.clear()
                self._hurry.clear()
                try:
                    await self._flush()
                except Overloaded as exc:
                    log.warning("%s could not be written reason=%s", self._what, exc)
                    self._changed.set()
                    await asyncio.sleep(RETRY_S)
        finally:
            try:
                await self._flush()
            except Overloaded as exc:  # we are ending: there is no later
                log.warning("%s were not written in the end reason=%s", self._what, exc)

    async def _flush(self) -> None:
        if not self._dirty:
            return
        self._writing, self._dirty = self._dirty, {}
        try:
            await self._save(self._writing)
        except BaseException:
            self._dirty = {**self._writing, **self._dirty}
            raise
        finally:
            self._writing = {}
            done, self._flushed = self._flushed, asyncio.Event()
            done.set()
