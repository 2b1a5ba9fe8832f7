"""Past states of a disk, shown again from its log. Blocks; never writes; the disk may be open.

Each segment of the log begins with the pictures as they were then, so a past state is those
pictures plus the commits up to the moment asked for.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from . import bank, journal, rows, superblock
from .errors import Corrupt, NotInLog, PxlDiskError
from .plan import Image
from .png import Picture
from .rows import State
from .segment import Commit, Segment, SegmentHeader
from .values import RowChange

_ATTEMPTS = 5  # a segment that is being written may be read half-way through a write


@dataclass(frozen=True, slots=True)
class Moment:
    """A disk as it was after a commit. `pictures`: PNG files.

    `at`: when that commit was made (seconds since 1970), or the log segment that begins with it.
    """

    commit: int
    at: float
    pictures: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Step:
    """What one commit changed."""

    commit: int
    at: float
    changes: tuple[RowChange, ...]


@dataclass(slots=True)
class Past:
    """Pictures while commits are applied to them."""

    folder: Path
    commit: int
    at_us: int
    pictures: dict[int, Picture]
    next_seq: int

    def apply(self, commit: Commit) -> None:
        """Go one commit on. Raises Corrupt when it tells of a bank that nothing made."""
        for image in commit.images:
            self._picture(image).write(image.row, image.content)
            if image.row not in superblock.ROWS and image.content:
                self.next_seq = max(self.next_seq, rows.seq_of(image.content) + 1)
        self.commit, self.at_us = commit.number, commit.at_us

    def stamp(self) -> None:
        """Let every superblock tell which commit its picture holds, and seal the pictures."""
        for picture in self.pictures.values():
            block = superblock.decode(picture.row(superblock.ROWS[0]))
            block = replace(block, checkpoint=self.commit, next_seq=self.next_seq)
            content = superblock.encode(block, picture.grid.row_bytes)
            for row in superblock.ROWS:
                picture.write(row, content)
            picture.seal()

    def _picture(self, image: Image) -> Picture:
        if image.bank not in self.pictures and image.row == superblock.ROWS[0]:
            # The commit that added the bank: its first image is the bank's superblock.
            self.pictures[image.bank] = bank.blank(superblock.decode(image.content))
        if image.bank not in self.pictures:
            raise Corrupt(bank.bank_path(self.folder, image.bank), None, None, "the log never made this bank")
        return self.pictures[image.bank]


def replay(folder: Path, *, at: float | None = None, commit: int | None = None) -> Moment:
    """The disk as it was at a time (seconds since 1970) or after a commit; by default as it is.

    Raises NotInLog, Corrupt, OSError.
    """
    past = past_state(folder / "log", at=at, commit=commit)
    pictures = {number: bytes(picture.image) for number, picture in past.pictures.items()}
    return Moment(past.commit, past.at_us / 1e6, pictures)


def past_state(log: Path, *, at: float | None = None, commit: int | None = None) -> Past:
    """What `replay` shows, as pictures that can be changed."""
    until_us = None if at is None else int(at * 1e6)

    def included(one: Commit) -> bool:
        return (commit is None or one.number <= commit) and (until_us is None or one.at_us <= until_us)

    def begins_before(header: SegmentHeader) -> bool:
        # Not a segment that begins with this very commit: only the one before tells when that was.
        return (commit is None or header.base < commit) and (until_us is None or header.made_us <= until_us)

    past, segments = _starting_point(log, begins_before, commit)
    for segment in segments:
        for one in segment.commits:
            if not included(one):
                break
            past.apply(one)
    if commit is not None and past.commit != commit:
        raise NotInLog(log.parent, _headers(log)[0].base, f"it ends at commit {past.commit}")
    past.stamp()
    return past


@dataclass(frozen=True, slots=True)
class Part:
    """The commits of a stretch of time, as far as the log is kept: numbers and times (µs) of both ends."""

    commits: int
    first: int
    last: int
    first_us: int
    last_us: int
    banks: tuple[int, ...]  # that the disk has at its end


def part(folder: Path, *, since: float | None = None, until: float | None = None) -> Part:
    """How much was done between two times (seconds since 1970). Raises NotInLog if nothing was, Corrupt."""
    playing = play(folder, since=since, until=until)
    past, first = next(playing, (None, None))
    if past is None or first is None:
        headers = _headers(folder / "log")
        raise NotInLog(folder, headers[0].base if headers else None, "it has no commit of that time")
    count, last = 1, first
    for _, commit in playing:
        count, last = count + 1, commit
    return Part(count, first.number, last.number, first.at_us, last.at_us, tuple(sorted(past.pictures)))


def play(
    folder: Path, *, since: float | None = None, until: float | None = None
) -> Iterator[tuple[Past, Commit]]:
    """Each commit between two times (seconds since 1970), and the disk after it: the same object each time.

    One segment at a time is in memory. The pictures are not sealed. Raises NotInLog, Corrupt.
    """
    log = folder / "log"
    since_us, until_us = (None if moment is None else int(moment * 1e6) for moment in (since, until))
    past: Past | None = None
    for header in _headers_since(log, since_us):
        segment = _read(journal.segment_path(log, header.number))
        if past is None:
            pictures = _bases(log, header.number)
            if not pictures:
                continue  # damaged: what happened then can no longer be shown, what came later can
            past = Past(folder, header.base, header.made_us, pictures, segment.checkpoint.next_seq)
        elif past.commit != header.base:
            raise Corrupt(segment.path, None, None, _gap(segment, past.commit))
        for commit in segment.commits:
            if until_us is not None and commit.at_us > until_us:
                return
            past.apply(commit)
            if since_us is None or commit.at_us >= since_us:
                yield past, commit


def _headers_since(log: Path, since_us: int | None) -> list[SegmentHeader]:
    headers = _headers(log)
    if since_us is None:
        return headers
    first = max((at for at, header in enumerate(headers) if header.made_us <= since_us), default=0)
    return headers[first:]


def steps(folder: Path, *, after: int = 0, limit: int | None = None) -> Iterator[Step]:
    """What each commit with a number above `after` changed, oldest first, as far as the log is kept."""
    log = folder / "log"
    given = 0
    for number in _numbers_after(log, after):
        for commit in _read(journal.segment_path(log, number)).commits:
            if commit.number <= after:
                continue
            if limit is not None and given >= limit:
                return
            given += 1
            changes = tuple(_change(image) for image in commit.images)
            yield Step(commit.number, commit.at_us / 1e6, changes)


def _numbers_after(log: Path, after: int) -> list[int]:
    headers = _headers(log)
    first = max((at for at, header in enumerate(headers) if header.base <= after), default=0)
    return [header.number for header in headers[first:]]


def _change(image: Image) -> RowChange:
    if image.row in superblock.ROWS:
        return RowChange(image.bank, image.row, State.LIVE, "superblock", 0)
    row = rows.decode(image.content) if image.content else None
    if row is None:
        return RowChange(image.bank, image.row, State.FREE, "", 0)
    return RowChange(image.bank, image.row, row.state, row.kind, row.seq)


def _starting_point(
    log: Path, begins_before: Callable[[SegmentHeader], bool], commit: int | None
) -> tuple[Past, list[Segment]]:
    """The nearest sound base pictures, and the segments from there to the last that may matter."""
    headers = _headers(log)
    last = max((at for at, header in enumerate(headers) if begins_before(header)), default=None)
    if last is None and headers and headers[0].base == commit:
        last = 0
    if last is None:
        raise NotInLog(log.parent, headers[0].base if headers else None, _since(headers))
    for first in range(last, -1, -1):
        header = headers[first]
        pictures = _bases(log, header.number)
        if pictures:
            segments = [_read(journal.segment_path(log, one.number)) for one in headers[first : last + 1]]
            _check_unbroken(segments)
            next_seq = segments[0].checkpoint.next_seq
            return Past(log.parent, header.base, header.made_us, pictures, next_seq), segments
    raise Corrupt(
        journal.base_path(log, headers[last].number, 8), None, None, "no sound picture to start from"
    )


def _since(headers: Sequence[SegmentHeader]) -> str | None:
    if not headers:
        return None
    return "made " + datetime.fromtimestamp(headers[0].made_us / 1e6, UTC).isoformat(timespec="seconds")


def _headers(log: Path) -> list[SegmentHeader]:
    return [journal.read_header(journal.segment_path(log, number)) for number in journal.segment_numbers(log)]


def _check_unbroken(segments: Sequence[Segment]) -> None:
    for former, segment in itertools.pairwise(segments):
        if former.last != segment.header.base:
            raise Corrupt(segment.path, None, None, _gap(segment, former.last))


def _gap(segment: Segment, last: int) -> str:
    return f"it begins after commit {segment.header.base}; the one before ends at {last}"


def _bases(log: Path, number: int) -> dict[int, Picture]:
    """The pictures a segment began with; none if a row of any of them is damaged."""
    pictures: dict[int, Picture] = {}
    for bank_number in journal.base_banks(log, number):
        try:
            loaded = bank.load(journal.base_path(log, number, bank_number))
            for row in range(len(superblock.ROWS), loaded.picture.grid.height):
                rows.decode(loaded.picture.row(row))
        except (PxlDiskError, rows.BadRow):
            return {}
        # Flaws of its framing are mended by now; what they cannot tell is which superblock is sound.
        for row in superblock.ROWS:
            loaded.picture.write(row, superblock.encode(loaded.superblock, loaded.picture.grid.row_bytes))
        pictures[bank_number] = loaded.picture
    return pictures


def _read(path: Path) -> Segment:
    for _ in range(_ATTEMPTS - 1):
        try:
            return journal.read_segment(path)
        except Corrupt:
            continue
    return journal.read_segment(path)
