"""The files of an open disk: lock, banks, journal. Blocks; used by one thread at a time.

Order is everything here. A commit is in the journal, synced, before any of it is painted into a
picture. A segment is left only when the pictures hold all of it, synced.
"""

import contextlib
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import bank, failpoint, files, journal
from .bank import BankFile
from .errors import DiskFailed, NoSpace
from .journal import Journal
from .lock import Lock
from .plan import Stroke
from .png import SEAL_BYTES, Picture
from .segment import Checkpoint, SegmentHeader


@dataclass(frozen=True, slots=True)
class Start:
    """What a new segment starts from, taken while no commit was in flight.

    `bases`: copies of the pictures. `stamps`, `copies`: the strokes of both superblocks.
    """

    at_us: int
    bases: Mapping[int, Picture]
    stamps: Sequence[Stroke]
    copies: Sequence[Stroke]
    checkpoint: Checkpoint


class Store:
    """What one writer holds open."""

    def __init__(self, folder: Path, lock: Lock, *, disk_id: uuid.UUID, keep_log_bytes: int) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.disk_id = disk_id
        self.banks: dict[int, BankFile] = {}
        self.journal: Journal | None = None
        self.last_segment = 0  # number of the newest segment, whether it can be read or not
        self._lock = lock
        self._strokes: list[Stroke] = []  # not painted yet
        self._keep_log_bytes = keep_log_bytes

    def commit(self, commits: Sequence[tuple[int, bytes]]) -> tuple[int, int]:
        """Make commits durable. Number of the last, and the segment's size. Raises NoSpace, DiskFailed."""
        assert self.journal is not None
        self.journal.append(commits)
        return self.journal.number, self.journal.end

    def paint(self, strokes: Sequence[Stroke]) -> None:
        """Change pictures in place.

        Raises DiskFailed, or NoSpace (a copy-on-write file system is full: the strokes are kept and
        painted first next time; until then no segment ends).
        """
        failpoint.passing("pxldisk.paint.before")
        self._strokes += strokes
        done = 0
        stroke = None
        try:
            for stroke in self._strokes:
                if len(stroke.content) == SEAL_BYTES:  # the rows it vouches for are painted by now
                    failpoint.passing("pxldisk.paint.rows")
                self.banks[stroke.bank].paint(stroke.offset, stroke.content)
                done += 1
        except OSError as error:
            if error.errno in files.NO_SPACE:
                raise NoSpace(self.folder) from error
            assert stroke is not None
            file, why = self.banks[stroke.bank].path, f"write failed: {error.strerror}"
            raise DiskFailed(file, why, offset=stroke.offset) from error
        finally:
            del self._strokes[:done]
        failpoint.passing("pxldisk.paint.done")

    def checkpoint(self, start: Start, base: int) -> int:
        """Flush the pictures and begin a new segment after commit `base`; the segment's size.

        Raises NoSpace (the old segment stays in use) or DiskFailed.
        """
        failpoint.passing("pxldisk.checkpoint.before")
        self._drop_banks_without_a_commit(start)
        self._flush(start.stamps)
        failpoint.passing("pxldisk.checkpoint.stamped")
        self.paint(start.copies)
        self._flush(())
        failpoint.passing("pxldisk.checkpoint.flushed")
        try:
            self._begin_segment(start, base)
        except OSError as error:
            if error.errno in files.NO_SPACE:
                raise NoSpace(self.log) from error
            raise DiskFailed(self.log, f"cannot begin a segment: {error.strerror}") from error
        with contextlib.suppress(OSError):  # old segments that stay cost room, nothing else
            self._prune()
        failpoint.passing("pxldisk.checkpoint.pruned")
        assert self.journal is not None
        return self.journal.end

    def add_bank(self, number: int, picture: Picture) -> None:
        """Make a bank's file. Raises NoSpace, DiskFailed."""
        path = bank.bank_path(self.folder, number)
        if (former := self.banks.pop(number, None)) is not None:
            former.close()  # made by a call whose caller went away before using it
        try:
            self.banks[number] = bank.create(path, picture)
        except OSError as error:
            if error.errno in files.NO_SPACE:
                raise NoSpace(path) from error
            raise DiskFailed(path, f"cannot make it: {error.strerror}") from error

    def close(self) -> None:
        """Close all files and let go of the lock. Nothing is flushed."""
        self.close_files()
        self._lock.release()

    def close_files(self) -> None:
        """Close all files and keep the lock."""
        if self.journal is not None:
            self.journal.close()
        for file in self.banks.values():
            file.close()

    def _flush(self, strokes: Sequence[Stroke]) -> None:
        if strokes:
            self.paint(strokes)
        for file in self.banks.values():
            try:
                file.flush()
            except OSError as error:
                raise DiskFailed(file.path, f"sync failed: {error.strerror}") from error

    def _drop_banks_without_a_commit(self, start: Start) -> None:
        """Delete banks that were made for a commit that was refused: to the new segment they are too old."""
        without = [number for number in self.banks if number not in start.bases]
        try:
            for number in without:
                self.banks[number].path.unlink(missing_ok=True)
            if without:
                files.sync_folder(self.folder)
        except OSError as error:
            raise DiskFailed(self.folder, f"cannot delete a bank: {error.strerror}") from error
        for number in without:
            self.banks.pop(number).close()

    def _begin_segment(self, start: Start, base: int) -> None:
        number = self.last_segment + 1
        for of, bank_number, path in journal.bases(self.log):
            if of == number and bank_number not in start.bases:
                path.unlink()  # nobody's: the segment would be thought to have begun with it
        for bank_number, picture in start.bases.items():
            files.put(journal.base_path(self.log, number, bank_number), picture.image, point="pxldisk.base")
        grid = next(iter(start.bases.values())).grid
        salt = int.from_bytes(os.urandom(4))
        header = SegmentHeader(number, base, start.at_us, grid.width, grid.height, salt, self.disk_id)
        former, self.journal = self.journal, Journal.create(self.log, header, start.checkpoint)
        self.last_segment = number
        if former is not None:
            former.close()

    def _prune(self) -> None:
        """Delete the oldest segments while the log is larger than it may be; never the one in use."""
        numbers = journal.segment_numbers(self.log)
        for number, _, path in journal.bases(self.log):  # of segments that a repair took away
            if number < numbers[-1] and number not in numbers:
                path.unlink()
        sizes = {number: self._segment_bytes(number) for number in numbers}
        for number in numbers[:-1]:
            if sum(sizes.values()) <= self._keep_log_bytes:
                return
            del sizes[number]
            # The segment first: a base without its segment is only a picture nobody asks for.
            journal.segment_path(self.log, number).unlink()
            for path in self.log.glob(f"{number:08d}-*.png"):
                path.unlink()

    def _segment_bytes(self, number: int) -> int:
        return sum(path.stat().st_size for path in self.log.glob(f"{number:08d}[.-]*"))
