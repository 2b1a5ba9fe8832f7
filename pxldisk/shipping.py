"""A disk's log, cut into pieces that a copy elsewhere takes in order. Blocks; never writes.

The disk may be open. What is carried are the very bytes of the log: the pictures that a segment began
with, its first record, then its commits. A reader keeps no queue: it has a place in files that are there
anyway, so a copy that is slow or away costs nothing. When the log no longer reaches back to a copy's
place, the copy begins anew.
"""

import hashlib
import os
import uuid
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType

from . import journal, segment
from .errors import Corrupt, NotInLog

_WALK_BYTES = 1 << 20  # read at a time to see where records end


@dataclass(frozen=True, slots=True)
class Place:
    """How far a copy has come: it holds the first `offset` bytes of a segment, up to a commit.

    `digest` is the SHA-256 of these bytes. They begin with the segment's random salt, so two histories
    of one disk that parted before this place never agree about it.
    """

    disk_id: uuid.UUID
    segment: int
    offset: int
    commit: int
    digest: bytes


class Kind(IntEnum):
    """What the bytes of a piece are."""

    BASE = 1  # of a bank's picture as the segment began
    OPENING = 2  # of the segment's header and first record; comes after its bases
    COMMITS = 3  # of its commits


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the log. A unit is whole with the piece that has no `more`: one picture, one opening, or
    some commits; `commit` is the last one that a copy has then.
    """

    kind: Kind
    segment: int
    bank: int  # of a base; 0 in others
    offset: int  # in the picture or the segment
    commit: int
    more: bool
    content: bytes


def start_digest(fd: int, size: int) -> bytes:
    """SHA-256 of the first `size` bytes of a file, a block at a time; of all of it if there are fewer."""
    digest = hashlib.sha256()
    at = 0
    while block := os.pread(fd, min(_WALK_BYTES, size - at), at):
        digest.update(block)
        at += len(block)
    return digest.digest()


@dataclass(slots=True)
class _Unit:
    kind: Kind
    bank: int
    fd: int
    at: int
    end: int
    commit: int


class Feed:
    """What a copy lacks of a disk, piece by piece. One thread at a time; close it after use."""

    def __init__(self, folder: Path, place: Place | None) -> None:
        """Go on from a place, or begin with the newest segment.

        Raises NotInLog when the log does not hold that place: it was pruned, or is of another history.
        """
        self._folder = folder
        self._log = folder / "log"
        self._units: list[_Unit] = []
        self._fd = -1
        self.anew = place is None  # what is given is a copy from its beginning on
        try:
            if place is None:
                self._begin(self._numbers()[-1])
            else:
                self._resume(place)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Feed":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        for fd in {self._fd, *(unit.fd for unit in self._units)} - {-1}:
            os.close(fd)
        self._fd, self._units = -1, []

    def next(self, upto: int | None, max_bytes: int) -> Piece | None:
        """The next piece, with at most so many bytes; None when the copy has every commit up to `upto`.

        Commits beyond `upto` may not be durable yet; without it, of a disk that nobody writes, all that
        are there. Raises NotInLog (pruned meanwhile), Corrupt, OSError.
        """
        try:
            if not self._units and not self._find_commits(upto, max_bytes) and not self._find_segment(upto):
                return None
            return self._take(max_bytes)
        except FileNotFoundError:
            raise NotInLog(self._folder, None) from None

    def behind(self, newest_end: int) -> int:
        """Bytes of the log that were not given yet, when the newest segment ends at `newest_end`."""
        left = sum(unit.end - unit.at for unit in self._units)
        later = [number for number in journal.segment_numbers(self._log) if number > self._segment]
        if not later:
            return left + newest_end - self._offset
        paths = [journal.segment_path(self._log, number) for number in (self._segment, *later[:-1])]
        try:
            return left + newest_end - self._offset + sum(path.stat().st_size for path in paths)
        except FileNotFoundError:
            return left + newest_end

    # -- where to read -----------------------------------------------------------------------------

    def _numbers(self) -> list[int]:
        numbers = journal.segment_numbers(self._log)
        if not numbers:
            raise NotInLog(self._folder, None)
        return numbers

    def _open(self, number: int) -> None:
        self._path = journal.segment_path(self._log, number)
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        former, self._fd = self._fd, fd
        if former != -1:
            os.close(former)
        self._segment = number
        self._header = segment.parse_header(os.pread(fd, segment.HEADER_BYTES, 0), self._path)

    def _resume(self, place: Place) -> None:
        earliest = self._numbers()[0]
        try:
            self._open(place.segment)
        except (FileNotFoundError, Corrupt):
            raise NotInLog(self._folder, earliest) from None
        # Who sent the place may be anybody: its offset is compared with the file before a byte is read.
        beyond = place.offset > os.fstat(self._fd).st_size
        if (
            self._header.disk_id != place.disk_id
            or beyond
            or start_digest(self._fd, place.offset) != place.digest
        ):
            raise NotInLog(self._folder, earliest)
        self._offset, self._commit = place.offset, place.commit

    def _begin(self, number: int) -> None:
        """Line up a segment's bases and its opening."""
        self._open(number)
        head = os.pread(self._fd, segment.RECORD_HEAD_BYTES, segment.HEADER_BYTES)
        found = segment.record_size(head)
        if found is None:
            raise Corrupt(self._path, None, segment.HEADER_BYTES, "the segment's first record is damaged")
        base = self._header.base
        for bank in journal.base_banks(self._log, number):
            fd = os.open(journal.base_path(self._log, number, bank), os.O_RDONLY | os.O_CLOEXEC)
            self._units.append(_Unit(Kind.BASE, bank, fd, 0, os.fstat(fd).st_size, base))
        end = segment.HEADER_BYTES + found[1]
        self._units.append(_Unit(Kind.OPENING, 0, self._fd, 0, end, base))
        self._offset, self._commit = end, base

    def _find_commits(self, upto: int | None, max_bytes: int) -> bool:
        """Line up the next commits of this segment: as many as a piece holds, or one that is larger."""
        content = b""
        end, commit = 0, self._commit
        while upto is None or commit < upto:
            if len(content) - end < segment.RECORD_HEAD_BYTES:
                size = max(segment.RECORD_HEAD_BYTES, min(_WALK_BYTES, max_bytes))
                content += os.pread(self._fd, size, self._offset + len(content))
            found = segment.record_size(content, end)
            if found is None or found[0] != commit + 1 or (end and end + found[1] > max_bytes):
                break
            commit, end = found[0], end + found[1]
            if end >= max_bytes:
                break
        if not end:
            return False
        self._units.append(_Unit(Kind.COMMITS, 0, self._fd, self._offset, self._offset + end, commit))
        self._offset, self._commit = self._offset + end, commit
        return True

    def _find_segment(self, upto: int | None) -> bool:
        """Line up the next segment, if this one has ended."""
        later = [number for number in self._numbers() if number > self._segment]
        if not later:
            if upto is not None and self._commit < upto:
                why = f"commit {self._commit + 1} is not where it belongs"
                raise Corrupt(self._path, None, self._offset, why)
            return False
        header = journal.read_header(journal.segment_path(self._log, later[0]))
        if upto is not None and header.base > upto:
            return False  # it begins beyond what is asked for
        if header.base != self._commit or header.disk_id != self._header.disk_id:
            raise NotInLog(self._folder, header.base)
        self._begin(later[0])
        return True

    # -- reading -----------------------------------------------------------------------------------

    def _take(self, max_bytes: int) -> Piece:
        unit = self._units[0]
        content = os.pread(unit.fd, min(max_bytes, unit.end - unit.at), unit.at)
        if not content:
            raise NotInLog(self._folder, None)  # cut by a repair meanwhile
        offset, unit.at = unit.at, unit.at + len(content)
        more = unit.at < unit.end
        if not more:
            self._units.pop(0)
            if unit.kind is Kind.BASE:
                os.close(unit.fd)
        return Piece(unit.kind, self._segment, unit.bank, offset, unit.commit, more, content)
