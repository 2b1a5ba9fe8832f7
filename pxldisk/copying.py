"""A copy of a disk, built from the pieces of its log (shipping.py). Blocks; one thread at a time.

A copy is a disk's folder like any other: verify it, look into it, open it when nobody writes it. Its
pictures are those that its segment began with; opening brings them up to the log, as after a crash.
Nothing is believed: every picture, record and row is checked before it counts, so a copy is sound or
the piece is refused. What a crash leaves behind is cut off when the copy is opened again.
"""

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from . import bank, failpoint, files, journal, rows, segment, superblock, verification
from .errors import Corrupt, DiskFailed, ForeignPicture, NoSpace, NotNext, PxlDiskError
from .lock import Lock
from .png import FIRST_PIXEL, MAX_HEIGHT, MAX_WIDTH, Grid
from .segment import Commit, SegmentHeader
from .shipping import Kind, Piece, Place, start_digest

MAX_BANKS = 256  # of a copy: each costs a whole picture, and 130 bytes of a commit ask for one
MAX_UNIT_BYTES = 64 << 20  # of one commit, which is checked in memory; less for a small disk
MAX_OPENING_BYTES = 16 << 20  # the keys of 50,000 records
_COUNT_BYTES, _ROW_HEAD_BYTES = 4, 6  # of a commit, as in segment.py

# Where a test ends the process.
POINTS = (
    "pxldisk.copy.base.renamed",
    "pxldisk.copy.bank.written",
    "pxldisk.copy.bank.renamed",
    "pxldisk.copy.opening.before",
    "pxldisk.copy.opening.renamed",
    "pxldisk.copy.commits.written",
)


class Copy:
    """A copy and its only writer. What `take` was given is durable after `flush`."""

    def __init__(self, folder: Path, room: Callable[[int], None] = lambda _: None) -> None:
        """Open the copy in a folder, or begin one. Raises Locked, Corrupt, NoSpace, OSError.

        `room` is asked before files are made that take more bytes than the piece that asks for them; what it
        raises refuses the piece.
        """
        self.folder = folder
        self._room = room
        self.commit = 0  # the last one that is held
        self._log = folder / "log"
        self._spool = folder / "log" / "incoming.tmp"
        self._header: SegmentHeader | None = None
        self._fd = -1
        self._end = 0
        self._uncut = False  # sound commits of an earlier start follow behind `_end`
        self._banks: list[int] = []
        self._spooled: tuple[Kind, int, int, int, int] | None = None  # of a unit that is not whole yet
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = Lock(folder)
        try:
            self._log.mkdir(exist_ok=True, mode=0o700)
            files.remove_leftovers(folder)
            files.remove_leftovers(self._log)
            if numbers := journal.segment_numbers(self._log):
                self._go_on(numbers[-1])
        except OSError as error:
            self.close()
            raise self._said(error) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all files and let go of the lock; what was not flushed may be lost."""
        if self._fd != -1:
            os.close(self._fd)
            self._fd = -1
        self._lock.release()

    def place(self) -> Place | None:
        """How far it has come; None while it holds no disk yet."""
        if self._header is None:
            return None
        digest = start_digest(self._fd, self._end)
        return Place(self._header.disk_id, self._header.number, self._end, self.commit, digest)

    @property
    def disk_id(self) -> uuid.UUID | None:
        """Of the disk that it is a copy of; None while it holds none yet."""
        return None if self._header is None else self._header.disk_id

    def take(self, piece: Piece) -> None:
        """Add a piece. Raises NotNext, Corrupt (damaged on its way or before), NoSpace, DiskFailed, and
        what `room` raises.
        """
        try:
            self._take(piece)
        except OSError as error:
            raise self._said(error) from error
        except ForeignPicture as error:
            raise Corrupt(error.file, None, None, error.why) from None

    def flush(self) -> None:
        """Return when all that was taken is on the medium. Raises DiskFailed."""
        if self._fd != -1:
            try:
                files.sync(self._fd)
            except OSError as error:
                raise DiskFailed(self.folder, f"sync failed: {error.strerror}") from error

    # -- opening -----------------------------------------------------------------------------------

    def _go_on(self, number: int) -> None:
        """Take up the newest segment of an earlier start, up to the first record that is not sound.

        A torn end is cut off. Sound commits behind a damaged one are not until a piece comes that goes on
        before them: nobody else may have them any more.
        """
        path = journal.segment_path(self._log, number)
        found, _ = segment.salvage(journal.read_content(path)[0], path)
        if found.end == segment.HEADER_BYTES:
            raise Corrupt(path, None, found.end, "the segment's first record is damaged")
        missing = set(journal.base_banks(self._log, number)) - set(bank.bank_numbers(self.folder))
        if missing:
            raise Corrupt(bank.bank_path(self.folder, min(missing)), None, None, "the file is missing")
        self._use(found.header, found.end, found.last)
        self._uncut = found.torn
        if not self._uncut:
            self._cut()

    def _cut(self) -> None:
        os.ftruncate(self._fd, self._end)
        self._prune()
        self._uncut = False

    def _use(self, header: SegmentHeader, end: int, commit: int) -> None:
        fd = os.open(journal.segment_path(self._log, header.number), os.O_RDWR | os.O_CLOEXEC)
        if self._fd != -1:
            os.close(self._fd)
        self._header, self._fd, self._end, self.commit = header, fd, end, commit
        self._uncut = False
        self._banks = bank.bank_numbers(self.folder)

    # -- taking ------------------------------------------------------------------------------------

    def _take(self, piece: Piece) -> None:
        unit = (piece.kind, piece.segment, piece.bank)
        if self._spooled is None:
            start = piece.offset
            self._check_next(piece)
        else:
            *former, start, end = self._spooled
            if (*former, end) != (*unit, piece.offset):
                raise NotNext(self.folder, "a part of something else comes before the rest has come")
        in_parts = piece.more or self._spooled is not None
        if in_parts and piece.offset + len(piece.content) - start > self._unit_limit(piece.kind):
            raise NotNext(self.folder, "more bytes in one unit than a disk of this size writes at once")
        if in_parts or piece.kind is Kind.BASE:
            self._keep(piece, start)
        if piece.more:
            self._spooled = (*unit, start, piece.offset + len(piece.content))
            return
        self._spooled = None
        if piece.kind is Kind.BASE:
            self._take_base(piece)
        else:
            content = self._spool.read_bytes() if in_parts else piece.content
            take = self._take_opening if piece.kind is Kind.OPENING else self._take_commits
            take(piece, content)

    def _unit_limit(self, kind: Kind) -> int:
        """Bytes of one unit: what is not a picture is checked in memory."""
        if kind is Kind.BASE:
            return Grid(MAX_WIDTH, MAX_HEIGHT).file_bytes
        if kind is Kind.OPENING or self._header is None:
            return MAX_OPENING_BYTES
        row_bytes = 3 * self._header.width + _ROW_HEAD_BYTES
        return min(MAX_UNIT_BYTES, segment.RECORD_HEAD_BYTES + _COUNT_BYTES + self._most_rows() * row_bytes)

    def _most_rows(self) -> int:
        """Of one commit: each row of the disk once, and those of a bank that it adds."""
        assert self._header is not None
        return (len(self._banks) + 1) * self._header.height

    def _check_next(self, piece: Piece) -> None:
        if piece.kind is Kind.COMMITS:
            here = (self._header.number, self._end) if self._header is not None else None
            if here != (piece.segment, piece.offset):
                raise NotNext(self.folder, f"bytes at {piece.segment}:{piece.offset} do not follow {here}")
        elif piece.offset != 0 or (self._header is not None and piece.segment <= self._header.number):
            raise NotNext(self.folder, f"segment {piece.segment} does not begin here")

    def _keep(self, piece: Piece, start: int) -> None:
        """Put a part into the spool, a file of its own until the unit is whole."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if piece.offset == start else 0)
        fd = os.open(self._spool, flags, 0o600)
        try:
            files.write_all(fd, piece.content, piece.offset - start)
            if not piece.more:
                files.sync(fd)
        finally:
            os.close(fd)

    def _take_base(self, piece: Piece) -> None:
        problems = verification.verify_file(self._spool)
        if problems:
            raise Corrupt(self._spool, problems[0].row, problems[0].offset, problems[0].what)
        block = _superblock(self._spool)
        if block.bank != piece.bank:
            raise Corrupt(self._spool, 0, None, f"it is bank {block.bank}, not {piece.bank}")
        os.replace(self._spool, journal.base_path(self._log, piece.segment, piece.bank))
        failpoint.passing("pxldisk.copy.base.renamed")

    def _take_opening(self, piece: Piece, content: bytes) -> None:
        """Begin a segment, whose bases have come.

        The banks first: pictures that are newer than the log before it are brought to the same state by it.
        """
        path = journal.segment_path(self._log, piece.segment)
        parsed = segment.parse(content, path)
        header = parsed.header
        if header.number != piece.segment or parsed.commits or parsed.end != len(content):
            raise Corrupt(path, None, 0, "this is no beginning of that segment")
        if self._header is not None and (header.disk_id, header.base) != (self._header.disk_id, self.commit):
            raise NotNext(self.folder, f"segment {header.number} goes on from commit {header.base}")
        for number, base in self._bases(header).items():
            files.put(bank.bank_path(self.folder, number), base.read_bytes(), point="pxldisk.copy.bank")
        failpoint.passing("pxldisk.copy.opening.before")
        files.put(path, content, point="pxldisk.copy.opening")
        self._use(header, parsed.end, header.base)
        self._prune()

    def _bases(self, header: SegmentHeader) -> dict[int, Path]:
        numbers = journal.base_banks(self._log, header.number)
        unbroken = numbers == list(range(superblock.FIRST_BANK, superblock.FIRST_BANK + len(numbers)))
        if not numbers or not unbroken or len(numbers) < len(self._banks):
            raise NotNext(self.folder, f"segment {header.number} comes without its pictures")
        paths = {number: journal.base_path(self._log, header.number, number) for number in numbers}
        for path in paths.values():
            block = _superblock(path)
            if (block.disk_id, block.width, block.height) != (header.disk_id, header.width, header.height):
                raise Corrupt(path, 0, None, "it is of another disk than its segment")
            if block.checkpoint < header.base:
                raise Corrupt(path, 0, None, f"it holds commits up to {block.checkpoint}, not {header.base}")
        return paths

    def _take_commits(self, piece: Piece, content: bytes) -> None:
        header = self._header
        assert header is not None  # `_check_next` asked for it
        path = journal.segment_path(self._log, header.number)
        self._check_counts(content, path)
        commits = segment.parse_commits(content, header, self.commit, path)
        added: list[superblock.Superblock] = []
        for commit in commits:
            self._check_rows(commit, header, path, added)
        if added:
            self._room(len(added) * Grid(header.width, header.height).file_bytes)
        if self._uncut:
            self._cut()
        try:
            for block in added:
                bank.create(bank.bank_path(self.folder, block.bank), bank.blank(block)).close()
            files.write_all(self._fd, content, self._end)
        except OSError:
            os.ftruncate(self._fd, self._end)
            for block in added:
                bank.bank_path(self.folder, block.bank).unlink(missing_ok=True)
            raise
        failpoint.passing("pxldisk.copy.commits.written")
        self._banks += [block.bank for block in added]
        self._end += len(content)
        self.commit = commits[-1].number

    def _check_counts(self, content: bytes, path: Path) -> None:
        """A row of no content is 6 bytes in a commit, and far more in memory: count before they are read."""
        at, most = 0, self._most_rows()
        while (found := segment.record_size(content, at)) is not None:
            start = at + segment.RECORD_HEAD_BYTES
            if (count := int.from_bytes(content[start : start + _COUNT_BYTES])) > most:
                raise Corrupt(path, None, None, f"commit {found[0]}: {count} rows, of {most} that there are")
            at += found[1]

    def _check_rows(
        self, commit: Commit, header: SegmentHeader, path: Path, added: list[superblock.Superblock]
    ) -> None:
        """See that every row can be read later; put the banks that this commit adds behind `added`."""
        grid = Grid(header.width, header.height)
        for image in commit.images:
            try:
                if len(image.content) > grid.row_bytes or image.row >= grid.height:
                    raise ValueError(f"row {image.row} does not fit the picture")
                if image.row in superblock.ROWS:
                    self._check_bank(superblock.decode(image.content), header, added)
                elif image.content:
                    rows.decode(image.content)
                if image.bank not in self._banks and not any(image.bank == block.bank for block in added):
                    raise ValueError(f"there is no bank {image.bank}")
            except ValueError as why:  # a BadRow is one
                raise Corrupt(path, image.row, None, f"commit {commit.number}: {why}") from None

    def _check_bank(
        self, block: superblock.Superblock, header: SegmentHeader, added: list[superblock.Superblock]
    ) -> None:
        known = self._banks[-1] + len(added)
        if block.bank <= known:
            return
        mine = (header.disk_id, header.width, header.height, known + 1)
        if (block.disk_id, block.width, block.height, block.bank) != mine:
            raise ValueError(f"bank {block.bank} is not the next one of this disk")
        if known + 1 - superblock.FIRST_BANK >= MAX_BANKS:
            raise ValueError(f"bank {block.bank} is one more than the {MAX_BANKS} of a copy")
        added.append(block)

    def _prune(self) -> None:
        """Keep the newest segment alone: its pictures and it are the whole disk."""
        assert self._header is not None
        for number in journal.segment_numbers(self._log):
            if number < self._header.number:
                journal.segment_path(self._log, number).unlink()
        for path in self._log.glob("*-*.png"):
            if path.name < f"{self._header.number:08d}":
                path.unlink()

    def _said(self, error: OSError) -> PxlDiskError | OSError:
        if error.errno in files.NO_SPACE:
            self._spooled = None  # whoever sends begins the unit again
            return NoSpace(self.folder)
        return DiskFailed(self.folder, f"write failed: {error.strerror}")


def _superblock(path: Path) -> superblock.Superblock:
    """Of a picture that was verified; the rest of it is not read."""
    with path.open("rb") as file:
        start = file.read(FIRST_PIXEL + 3 * MAX_WIDTH)
    try:
        return superblock.decode(start[FIRST_PIXEL:])
    except ValueError as why:
        raise Corrupt(path, 0, FIRST_PIXEL, str(why)) from None


def size(folder: Path) -> int:
    """Bytes of all files of a copy."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
