"""What a terminal has shown, on disk: raw bytes addressed by offset, and when each piece of them came.

A folder per agent, written by its keeper alone and read by the node. A segment is `BASE.out`, BASE being the
offset of its first byte, with `BASE.times` beside it. Segments need not touch: what could not be written, on
a full disk, is a hole, and whoever reads goes on behind it. The oldest segments go first.
"""

import contextlib
import os
import struct
import time
from collections.abc import Iterator

SEGMENT_BYTES = 2 << 20
MAX_SEGMENTS = 8
_TIME = struct.Struct("<QQHH")  # offset, Unix time in microseconds, and the terminal's size if it changed


class Recorder:
    """Appends to the recording in a folder, going on where an earlier keeper stopped. Never raises: a program
    runs on, whether or not there is room for what it shows.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.end = 0  # offset of the next byte
        self.lost = False  # the last piece found no room
        self._out = self._times = -1
        self._base = 0
        with contextlib.suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self.end = extent(folder)[1]

    def write(self, chunk: bytes) -> None:
        """Add what the terminal shows."""
        self._stamp(0, 0)
        try:
            if self._out < 0 or self.end - self._base >= SEGMENT_BYTES:
                self._begin()
            _write(self._out, chunk)
            self.lost = False
        except OSError:
            self._close()  # a part of it may stand there: the next segment begins behind the hole
            self.lost = True
            self._make_room()
        self.end += len(chunk)

    def resized(self, cols: int, rows: int) -> None:
        """From here on it has this size."""
        self._stamp(cols, rows)

    def _stamp(self, cols: int, rows: int) -> None:
        try:
            if self._times < 0:
                self._begin()
            _write(self._times, _TIME.pack(self.end, time.time_ns() // 1_000, cols, rows))
        except OSError:
            self.lost = True

    def _begin(self) -> None:
        self._close()
        self._base = self.end
        stem = os.path.join(self.folder, f"{self.end:016x}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._out = os.open(f"{stem}.out", flags, 0o600)
        self._times = os.open(f"{stem}.times", flags, 0o600)
        bases = segments(self.folder)
        for base in bases[:-MAX_SEGMENTS]:
            self._drop(base)

    def _make_room(self) -> None:
        """The disk is full: the oldest part of what was shown makes room, if there is an older one."""
        bases = segments(self.folder)
        if len(bases) > 1:
            self._drop(bases[0])

    def _drop(self, base: int) -> None:
        for kind in ("times", "out"):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.folder, f"{base:016x}.{kind}"))

    def _close(self) -> None:
        for fd in (self._out, self._times):
            if fd >= 0:
                os.close(fd)
        self._out = self._times = -1


def segments(folder: str) -> list[int]:
    """The offsets at which segments begin, in order."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = []
    for name in names:
        if name.endswith(".out"):
            with contextlib.suppress(ValueError):
                found.append(int(name[:-4], 16))
    return sorted(found)


def extent(folder: str) -> tuple[int, int]:
    """Where the recording begins and ends; (0, 0) for none."""
    bases = segments(folder)
    if not bases:
        return 0, 0
    return bases[0], bases[-1] + _size(folder, bases[-1])


def read(folder: str, offset: int, limit: int) -> tuple[int, bytes]:
    """At most `limit` bytes from `offset`, or from where it goes on behind that, and their offset."""
    bases = segments(folder)
    for number, base in enumerate(bases):
        if number + 1 < len(bases) and offset >= bases[number + 1]:
            continue
        at = max(offset, base)
        try:
            fd = os.open(os.path.join(folder, f"{base:016x}.out"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # it has just been dropped
            continue
        try:
            chunk = os.pread(fd, limit, at - base)
        finally:
            os.close(fd)
        if number + 1 < len(bases):  # what stands in a hole was cut short, and is no part of it
            chunk = chunk[: max(0, bases[number + 1] - at)]
        if chunk:
            return at, chunk
    return max(offset, extent(folder)[1]), b""


def read_on(folder: str, offset: int, limit: int) -> tuple[int, bytes]:
    """As `read`, over the borders of segments that touch."""
    at, data = read(folder, offset, limit)
    pieces, end = [data], at + len(data)
    while data and end - at < limit:
        found, data = read(folder, end, limit - (end - at))
        if found != end:  # what lies behind a hole is another piece
            break
        pieces.append(data)
        end += len(data)
    return at, b"".join(pieces)


def timeline(folder: str, offset: int) -> Iterator[tuple[int, int, int, int]]:
    """(offset, Unix time in microseconds, columns, rows) of each piece from `offset` on. Size (0, 0) is
    output, another says that from there on the terminal has that size.
    """
    bases = segments(folder)
    for number, base in enumerate(bases):
        if number + 1 < len(bases) and offset >= bases[number + 1]:
            continue
        try:
            with open(os.path.join(folder, f"{base:016x}.times"), "rb") as file:
                whole = file.read()
        except OSError:
            continue
        for piece in _TIME.iter_unpack(whole[: len(whole) // _TIME.size * _TIME.size]):
            if piece[0] >= offset or piece[2]:
                yield piece


def _size(folder: str, base: int) -> int:
    try:
        return os.stat(os.path.join(folder, f"{base:016x}.out")).st_size
    except OSError:
        return 0


def _write(fd: int, data: bytes) -> None:
    """All of it. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
