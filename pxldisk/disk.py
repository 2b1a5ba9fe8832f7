"""A disk for asyncio: the handle that programs use.

Reading is done in memory and never waits. Writing plans in memory, waits until the writer's thread
has made the plan durable, and then shows it to readers; see memory.py and writer.py. Every method
belongs to the event loop that opened the disk.
"""

import asyncio
import logging
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from . import bank, history, restoration, segment, snapshot, verification
from .errors import DiskClosed, ForeignPicture, LiveRows, NoSpace, PxlDiskError, WrongShape, ZoneFull
from .history import Moment, Step
from .memory import Memory
from .plan import Applied, Plan
from .png import FIRST_PIXEL, Grid, Picture
from .recovery import Options, open_disk, starting_point
from .store import Store
from .values import Append, Consume, Record, RowDescription, RowRef, Stats
from .verification import Problem
from .watch import Watch
from .writer import Writer
from .zones import Zone

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

log = logging.getLogger(__name__)

# How long a durable row may wait to be painted. Waking the writer's thread for each would cost a
# lone appender more than painting does; and rows that gather meanwhile are painted by one write.
PAINT_AFTER_S = 0.005


class Disk:
    """One open disk, its only writer. Made by `Disk.open`."""

    def __init__(self, options: Options, memory: Memory, store: Store, writer: Writer) -> None:
        self.folder = store.folder
        self._options = options
        self._memory = memory
        self._store = store
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        assert store.journal is not None
        self._commits = store.journal.number
        self._log_bytes = store.journal.end
        self._segment_limit = max(options.segment_bytes, 2 * self._log_bytes)
        self._in_flight: dict[Plan, list[asyncio.Future[None]]] = {}
        self._unpainted: list[tuple[int, int]] = []
        self._gate: asyncio.Event | None = None  # set while new commits are held back
        self._wanting: dict[str, list[asyncio.Future[None]]] = {}
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        self._closing: asyncio.Event | None = None
        writer.use(store, self)

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        width: int | None = None,
        height: int | None = None,
        zones: Mapping[str, Zone | tuple[int, int]] | None = None,
        max_banks: int = 1,
        max_payload: int = 65_536,
        segment_bytes: int = 4_194_304,
        keep_log_bytes: int = 67_108_864,
        keep_keys: int = 20_000,
        keep_snapshots: int = 24,
        keep_snapshots_s: float = 30 * 86_400.0,
        clock: Callable[[], float] = time.time,
    ) -> "Opening":
        """Open the disk in `folder`, or make it: `async with Disk.open(...) as disk` or `await`.

        Size and zones are fixed when a disk is made (256x256 and DEFAULT_ZONES unless given); for
        a disk that exists they are only compared. Sizes in bytes, `keep_snapshots_s` in seconds,
        `clock` in seconds since 1970. Raises Locked, WrongShape, ForeignPicture, Corrupt, NoSpace.
        """
        options = Options(
            width=width,
            height=height,
            zones=zones,
            max_banks=max_banks,
            max_payload=max_payload,
            segment_bytes=segment_bytes,
            keep_log_bytes=keep_log_bytes,
            keep_keys=keep_keys,
            keep_snapshots=keep_snapshots,
            keep_snapshots_s=keep_snapshots_s,
            clock=clock,
        )
        return Opening(Path(folder), options)

    # -- writing -------------------------------------------------------------------------------

    async def append(
        self,
        zone: str,
        payload: bytes,
        *,
        kind: str = "record",
        owner: str | None = None,
        key: str | None = None,
    ) -> RowRef:
        """Store a record; it is on disk when this returns. Raises as `commit` does."""
        (ref,) = await self.commit([Append(zone, payload, kind, owner, key)])
        assert ref is not None
        return ref

    async def consume(self, ref: RowRef) -> None:
        """Give a live record's rows back; that is on disk when this returns. Raises as `commit` does."""
        await self.commit([Consume(ref)])

    async def commit(self, items: Sequence[Append | Consume]) -> list[RowRef | None]:
        """Do all of this or nothing; it is on disk when this returns.

        One reference for each Append (for a key stored before: the first one), None for each
        Consume. Raises ZoneFull and NoSpace (retry later), RowTooLarge, UnknownZone,
        ZoneOwned, StaleRef, Corrupt, ValueError, DiskFailed, DiskClosed. A caller that is
        cancelled does not know whether the commit was stored: use keys.
        """
        plan = await self._plan(tuple(items))
        if plan.images:
            await self._store_plan(plan)
        return plan.refs

    async def wait_free(self, zone: str, *, rows: int = 1, timeout_s: float | None = None) -> None:
        """Return when a record of `rows` rows fits.

        Raises ZoneFull after `timeout_s` seconds, ValueError if the zone never has so many rows.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not self._memory.room(zone, rows) and not self._may_grow():
                    self._check_open()
                    await self._woken(zone)
        except TimeoutError:
            raise self._memory.full(zone, self._now_us()) from None
        self._check_open()

    async def _woken(self, zone: str) -> None:
        """Return when rows of the zone came back."""
        wanting = self._loop.create_future()
        self._wanting.setdefault(zone, []).append(wanting)
        try:
            await wanting
        finally:
            others = self._wanting.get(zone, [])
            if wanting in others:  # it was not woken: its caller gave up
                others.remove(wanting)

    async def checkpoint(self) -> None:
        """Flush the pictures and begin a new journal segment. Raises DiskFailed; on a full disk, logs."""
        async with self._quiet():
            self._check_open()
            await self._start_segment()

    async def snapshot(self) -> tuple[Path, ...]:
        """Store a consistent copy of each bank beside it; the files. Raises NoSpace, DiskFailed."""
        self._check_open()
        options, pictures = self._options, self._stamped_pictures()
        moment = int(options.clock())
        keep, keep_s = options.keep_snapshots, options.keep_snapshots_s
        work = partial(snapshot.write, self.folder, pictures, moment, keep=keep, keep_s=keep_s)
        return await self._writer.call(work)

    async def restore(self, picture: Path, *, force: bool = False) -> int:
        """Give a bank's rows back what a snapshot of it holds, in one commit; how many rows changed.

        Keys of records that this takes away may be used again.
        Raises LiveRows if that would overwrite live records and `force` is not given; WrongShape,
        ForeignPicture or Corrupt if the picture does not fit; and what `commit` raises.
        """
        try:
            loaded = await asyncio.to_thread(bank.load, picture)
        except ForeignPicture as error:
            raise WrongShape(self.folder, f"{picture} is no snapshot: {error.why}") from None
        async with self._quiet():
            self._check_open()
            images, lost = restoration.images(self._memory, loaded, picture)
            if lost and not force:
                raise LiveRows(picture, lost)
            if not images:
                return 0
            block = loaded.superblock
            foreign = block.disk_id != self.id
            plan = self._memory.plan_images(images, self._now_us(), foreign=foreign, next_seq=block.next_seq)
            await self._store_plan(plan)
            if foreign:
                await self._start_segment()  # that no key counts any more, only a checkpoint can tell
            return len(images)

    # -- looking back and checking -----------------------------------------------------------------

    async def replay(self, *, at: float | None = None, commit: int | None = None) -> Moment:
        """The disk as it was at a time (seconds since 1970) or after a commit. Raises NotInLog, Corrupt."""
        self._check_open()
        return await asyncio.to_thread(history.replay, self.folder, at=at, commit=commit)

    async def steps(self, *, after: int = 0, limit: int = 1000) -> list[Step]:
        """What each commit after number `after` changed, oldest first, as far as the log is kept."""
        self._check_open()
        return await asyncio.to_thread(
            lambda: list(history.steps(self.folder, after=after, limit=limit)),
        )

    async def verify(self) -> list[Problem]:
        """All that is wrong with the disk's files; empty if they are sound."""
        self._check_open()
        self._paint()
        return await self._writer.call(partial(verification.verify_files, self.folder))

    # -- reading -------------------------------------------------------------------------------

    def read(self, ref: RowRef) -> Record:
        """A record, live or consumed but not yet overwritten. Raises StaleRef, Corrupt."""
        return self._memory.read(ref)

    def scan(self, zone: str, *, after: int = 0) -> Iterator[Record]:
        """The live records of a zone whose sequence number is above `after`, in that order.

        Records consumed while one iterates are left out, as are damaged ones (see `stats().damage`).
        """
        return self._memory.scan(zone, after)

    def ref_of(self, key: str) -> RowRef | None:
        """The reference of the record stored with this key, for as long as keys are kept."""
        return self._memory.keys.get(key)

    def rows(self, bank: int, first: int = 0, last: int | None = None) -> list[RowDescription]:
        """Rows first..last of a bank (8 for 8.png), without their payloads."""
        end = self._memory.grid.height - 1 if last is None else min(last, self._memory.grid.height - 1)
        return [self._memory.describe(bank, row) for row in range(max(0, first), end + 1)]

    def row_bytes(self, bank: int, row: int) -> bytes:
        """The 3 * width bytes of a row as they are now, padding and all."""
        return self._memory.pictures[bank].row(row)

    def png(self, bank: int) -> bytes:
        """The bank's picture as the bytes of a PNG file, consistent whatever is being written."""
        return bytes(self._memory.stamped(bank, self._commits).image)

    def pixels(self, bank: int) -> "npt.NDArray[np.uint8]":
        """The bank's pixels, (height, width, 3) uint8: a read-only view that follows later commits."""
        import numpy as np

        grid = self._memory.grid
        flat = np.frombuffer(self._memory.pictures[bank].image, np.uint8, offset=FIRST_PIXEL)
        shape, strides = (grid.height, grid.width, 3), (grid.stride, 3, 1)
        return np.lib.stride_tricks.as_strided(flat, shape, strides, writeable=False)

    def watch(self) -> Watch:
        """Changed rows from now on: `async for changes in disk.watch()`. Keeps the latest of each row."""
        watch = Watch()
        if self._closing is None:
            self._watches.add(watch)
        else:
            watch.end()
        return watch

    def stats(self) -> Stats:
        """The disk at this moment."""
        memory, now_us = self._memory, self._now_us()
        failure = self._writer.failure
        return Stats(
            zones={zone: memory.zone_stats(zone, now_us) for zone in memory.zones},
            banks=tuple(memory.pictures),
            max_banks=self._options.max_banks,
            width=memory.grid.width,
            height=memory.grid.height,
            commits=self._commits,
            next_seq=memory.next_seq,
            keys=len(memory.keys),
            in_flight=len(self._in_flight),
            log_bytes=self._log_bytes,
            damage=tuple(damage for bank_damage in memory.damage.values() for damage in bank_damage),
            failed=None if failure is None else str(failure),
        )

    @property
    def banks(self) -> tuple[int, ...]:
        """The numbers of the banks, 8 for 8.png. Counts no row, as `stats` does."""
        return tuple(self._memory.pictures)

    @property
    def grid(self) -> Grid:
        """The size of each bank, in pixels and as a file."""
        return self._memory.grid

    @property
    def zones(self) -> Mapping[str, Zone]:
        """The zones, in row order."""
        return self._memory.zones

    @property
    def id(self) -> uuid.UUID:
        """The same in all banks and in the log; another disk has another."""
        return self._store.disk_id

    @property
    def commits(self) -> int:
        """Number of the last durable commit."""
        return self._commits

    @property
    def log_bytes(self) -> int:
        """Where the journal segment that is being written ends."""
        return self._log_bytes

    # -- closing -------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let commits in flight end, flush, close all files. May be called again."""
        if self._closing is not None:
            await self._closing.wait()
            return
        self._closing = asyncio.Event()
        try:
            await self._flush_for_closing()
        finally:
            self._paint()
            await self._writer.call(self._store.close)
            await self._writer.stop()
            for watch in self._watches:
                watch.end()
            self._wake_wanting(self._wanting)
            self._closing.set()

    async def __aenter__(self) -> "Disk":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _flush_for_closing(self) -> None:
        try:
            async with self._quiet():
                if self._writer.failure is None and self._store.journal and not self._store.journal.empty:
                    await self._start_segment()
        except PxlDiskError as error:
            # Nothing is lost: all that was acknowledged is in the journal, and opening replays it.
            log.warning("not flushed at closing folder=%s reason=%s", self.folder, error)

    # -- the way of a commit -------------------------------------------------------------------

    async def _plan(self, items: tuple[Append | Consume, ...]) -> Plan:
        while True:
            self._check_open()
            if self._gate is not None:
                await self._gate.wait()
            elif self._log_bytes >= self._segment_limit:
                await self.checkpoint()
            elif (other := self._memory.pending(items)) is not None:
                await self._settled(other)
            else:
                try:
                    return self._memory.plan(items, self._now_us())
                except ZoneFull:
                    if not self._may_grow():
                        raise
                await self._grow()

    async def _store_plan(self, plan: Plan) -> None:
        waiter = self._loop.create_future()
        self._in_flight[plan] = [waiter]
        self._writer.commit(plan, segment.encode_images(plan.images))
        await waiter

    async def _settled(self, plan: Plan) -> None:
        """Return when a plan in flight is durable or refused."""
        waiter = self._loop.create_future()
        self._in_flight[plan].append(waiter)
        await asyncio.wait([waiter])
        waiter.exception()  # the plan's own committer raises it

    def durable(self, plans: list[Plan], number: int, log_bytes: int) -> None:
        """The writer's report that plans are on disk."""
        self._commits, self._log_bytes = number, log_bytes
        applied = self._memory.apply(plans)
        if not self._unpainted:
            self._loop.call_later(PAINT_AFTER_S, self._paint)
        self._unpainted += applied.touched
        self._announce(applied)
        for plan in plans:
            for waiter in self._in_flight.pop(plan):
                if not waiter.done():
                    waiter.set_result(None)

    def refused(self, plans: list[Plan], error: PxlDiskError) -> None:
        """The writer's report that plans were not stored."""
        for plan in plans:
            self._memory.abandon(plan)
            for waiter in self._in_flight.pop(plan):
                if not waiter.done():
                    waiter.set_exception(error)
        # Rows came back; and if the disk has failed, nobody should wait for room any more.
        self._wake_wanting(self._wanting)

    def _paint(self) -> None:
        """Have the rows that gathered painted into the files, before whatever the writer does next."""
        if self._unpainted:
            self._writer.paint(self._memory.strokes(self._unpainted))
            self._unpainted.clear()

    def _announce(self, applied: Applied) -> None:
        for watch in self._watches:
            watch.offer(applied.changes)
        self._wake_wanting(applied.freed)

    def _wake_wanting(self, zones: Mapping[str, object] | frozenset[str]) -> None:
        for zone in tuple(zones):
            for wanting in self._wanting.pop(zone, ()):
                if not wanting.done():
                    wanting.set_result(None)

    @asynccontextmanager
    async def _quiet(self) -> AsyncIterator[None]:
        """Hold new commits back, and begin when none is in flight."""
        while self._gate is not None:
            await self._gate.wait()
        gate = self._gate = asyncio.Event()
        try:
            while self._in_flight:
                await self._settled(next(reversed(self._in_flight)))
            yield
        finally:
            self._gate = None
            gate.set()

    async def _start_segment(self) -> None:
        self._paint()
        start = starting_point(self._memory, self._commits, self._now_us())
        work = partial(self._store.checkpoint, start, self._commits)
        try:
            self._log_bytes = await self._writer.call(work)
        except NoSpace:
            # The old segment goes on. Ask again when it has grown some more, not at every commit.
            log.warning("no space for a new journal segment folder=%s", self.folder)
            self._segment_limit = self._log_bytes + self._options.segment_bytes // 4
        else:
            self._segment_limit = max(self._options.segment_bytes, 2 * self._log_bytes)

    async def _grow(self) -> None:
        banks = len(self._memory.pictures)
        async with self._quiet():
            if len(self._memory.pictures) != banks:
                return  # somebody else did while this caller waited
            last = max(self._memory.pictures)
            block = replace(
                self._memory.superblocks[last],
                bank=last + 1,
                bank_id=uuid.uuid4(),
                made_us=self._now_us(),
                checkpoint=self._commits,
                next_seq=self._memory.next_seq,
            )
            picture = bank.blank(block)
            await self._writer.call(partial(self._store.add_bank, block.bank, picture.copy()))
            await self._store_plan(self._memory.plan_bank(block, picture))
            log.info("bank added folder=%s bank=%d", self.folder, block.bank)

    def _stamped_pictures(self) -> dict[int, Picture]:
        return {number: self._memory.stamped(number, self._commits) for number in self._memory.pictures}

    def _may_grow(self) -> bool:
        return len(self._memory.pictures) < self._options.max_banks

    def _now_us(self) -> int:
        return int(self._options.clock() * 1e6)

    def _check_open(self) -> None:
        if self._closing is not None:
            raise DiskClosed(self.folder)
        if self._writer.failure is not None:
            raise self._writer.failure


class Opening:
    """A disk about to be opened: await it for the handle, or enter it to have it closed again."""

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder = folder
        self._options = options
        self._disk: Disk | None = None

    def __await__(self) -> Generator[object, None, Disk]:
        return self._open().__await__()

    async def __aenter__(self) -> Disk:
        self._disk = await self._open()
        return self._disk

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._disk is not None
        await self._disk.close()

    async def _open(self) -> Disk:
        writer = Writer(f"pxldisk {self._folder.name}")
        opened: list[tuple[Memory, Store]] = []
        try:
            await writer.call(lambda: opened.append(open_disk(self._folder, self._options)))
        except BaseException:
            await writer.call(lambda: None)  # if cancelled: the thread may still be opening
            for _, store in opened:
                await writer.call(store.close)
            await writer.stop()
            raise
        memory, store = opened[0]
        return Disk(self._options, memory, store, writer)
