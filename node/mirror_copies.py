"""Copies of other machines' disks, as folders of this one. Blocks; one thread.

    mirrors/<hash of a node's id>/0001/     a disk's folder like any other, and mirror.json, its marker

No name that came over the wire is part of a path. A copy that begins anew is another folder; the one before
it stays, also when the new one is whole: a machine that lost its disk begins with an empty one, and that must
not cost the copy of the old.
"""

import hashlib
import logging
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hyperpi import private_file, strict_json
from hyperpi.errors import BadMessage, HyperPiError, NotFound, Overloaded
from node.mirror_flow import Head
from node.mirror_policy import MirrorPolicy
from pxldisk import Copy, Corrupt, Locked, NoSpace, Piece, Place, journal
from pxldisk.copying import size
from pxldisk.shipping import Kind

log = logging.getLogger(__name__)

SHARES = 2  # one machine may have this part of the room: another one finds some, too
KEPT_FORMER = 2  # whole copies of one disk besides its newest
RESERVE_BYTES = 64 << 20  # of the file system, for this machine's own disk
MARK_S = 10.0  # the marker tells of what was heard; after a crash it may be so much older
MARKER = "mirror.json"


class NoRoom(Overloaded):
    """This machine holds as much for others as its owner allows, or its file system is nearly full."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What is known of a copy. Times are Unix seconds by this machine's clock, but for the head's."""

    of: str  # id of the node whose disk it is
    name: str  # of that node
    number: int
    disk: str  # its id
    made_at: float
    whole: bool = False  # it has held everything that there was when it began
    commit: int = 0  # the last one that it holds
    head: Head | None = None  # of the disk, as last told
    heard_at: float = 0.0

    @property
    def disk_id(self) -> uuid.UUID:
        """Of the disk that it is a copy of."""
        return uuid.UUID(self.disk)


class Copies:
    """All that is held here."""

    def __init__(self, folder: Path, policy: Callable[[], MirrorPolicy]) -> None:
        self._folder = folder
        self._policy = policy
        self.reserve_bytes = RESERVE_BYTES
        self.markers: dict[tuple[str, int], Marker] = {}  # replaced whole: others may look at any time
        self.bytes: dict[tuple[str, int], int] = {}
        self.open: set[tuple[str, int]] = set()  # those that are being written
        self.given: Counter[tuple[str, int]] = Counter()  # how many are given each of them back now
        for path in sorted(folder.glob(f"*/*/{MARKER}")):
            try:
                marker = _marker(path.read_bytes())
            except (OSError, BadMessage, ValueError) as exc:
                log.warning("a marker cannot be read, its copy is left alone path=%s reason=%s", path, exc)
                continue
            self._show(marker)

    def of(self, node: str) -> list[Marker]:
        """The copies of a node's disks, the one that was heard of last at the end."""
        found = [marker for (of, _), marker in self.markers.items() if of == node]
        return sorted(found, key=_heard)

    def known_as(self, said: str) -> list[Marker]:
        """The copies of disks of every node that has, or had, this id or this name; in the order of `of`."""
        found = [marker for marker in self.markers.values() if said in (marker.of, marker.name)]
        return sorted(found, key=_heard)

    def path(self, marker: Marker) -> Path:
        """The folder of a copy."""
        return self._home(marker.of) / f"{marker.number:04d}"

    def choose(self, found: Sequence[Marker], number: int, not_disk: bytes) -> Marker | None:
        """The copy to give back: by its number, else the newest whole one, rather not of `not_disk`."""
        if number:
            return next((marker for marker in reversed(found) if marker.number == number), None)
        whole = [marker for marker in found if marker.whole]
        others = [marker for marker in whole if marker.disk_id.bytes != not_disk]
        return next(reversed(others or whole), None)

    def drop(self, node: str) -> int:
        """Delete all that is held of a node; how many copies. Raises Overloaded while one is in use."""
        markers = self.of(node)
        if any(self._in_use(marker) for marker in markers):
            raise Overloaded("a copy of that machine's disk is in use now", hint="try again in a minute")
        for marker in markers:
            self._delete(marker)
        return len(markers)

    # --- for one that is being written -----------------------------------------------------------------

    def resume(self, node: str, disk: uuid.UUID) -> "OpenCopy | None":
        """The newest copy of this disk, opened to go on; None when there is none that can."""
        for marker in reversed(self.of(node)):
            if marker.disk_id == disk:
                try:
                    return OpenCopy(self, marker)
                except Corrupt as exc:
                    log.warning("a copy is damaged and begins anew of=%s reason=%s", node, exc)
                    return None
                except Locked:
                    raise Overloaded("the copy is in use on the machine that holds it") from None
        return None

    def begin(self, node: str, name: str, disk: uuid.UUID, now: float) -> "OpenCopy":
        """A new copy, beside those that there are; one that was begun and never whole is dropped."""
        for marker in self.of(node):
            if not marker.whole and not self._in_use(marker):
                self._delete(marker)
        home = self._home(node)
        for made in (self._folder, home):
            made.mkdir(exist_ok=True, mode=0o700)
        for left in home.iterdir():
            if not (left / MARKER).exists():  # one whose marker was never written, or is gone already
                shutil.rmtree(left)
        # Not by the markers: one that cannot be read now still has its number.
        number = max((int(path.name) for path in home.iterdir() if path.name.isdigit()), default=0) + 1
        marker = Marker(node, name, number, str(disk), now)
        opened = OpenCopy(self, marker)
        try:
            opened.mark()
        except BaseException:
            opened.close()
            raise
        return opened

    def make_room(self, node: str, wanted: int) -> None:
        """See that so many bytes more fit, at the cost of this node's older copies. Raises NoRoom.

        The newest whole copy of each disk stays: an empty disk may have followed one that was lost.
        """
        while why := self._lacks(node, wanted):
            older = self._replaced(node)
            if not older:
                raise NoRoom(why)
            log.info("an old copy is dropped for room of=%s number=%d", node, older[0].number)
            self._delete(older[0])
        free = free_bytes(self._folder)
        if free - wanted < self.reserve_bytes:
            raise NoRoom(f"the file system there has only {free:,} bytes left")

    def _lacks(self, node: str, wanted: int) -> str:
        """Why so many bytes more do not fit; empty: they do."""
        allowed = self._policy().max_bytes
        used = sum(self.bytes.values())
        own = sum(size for (of, _), size in self.bytes.items() if of == node)
        if used + wanted > allowed:
            return f"{used:,} of {allowed:,} bytes for copies are used there"
        if own + wanted > allowed // SHARES:
            return f"{own:,} of {allowed // SHARES:,} bytes for one machine's copies are used there"
        return ""

    def became_whole(self, marker: Marker) -> None:
        """Drop what a new copy replaces: older ones of the same disk, but for the newest of those."""
        older = [one for one in self._replaced(marker.of) if one.disk == marker.disk]
        for one in older[:-KEPT_FORMER]:
            self._delete(one)

    def _replaced(self, node: str) -> list[Marker]:
        """The copies of a node's disks that a newer whole one of the same disk has replaced, oldest first."""
        whole = [one for one in self.of(node) if one.whole]
        newest = {one.disk: one.number for one in whole}
        return [one for one in whole if one.number != newest[one.disk] and not self._in_use(one)]

    def _in_use(self, marker: Marker) -> bool:
        key = marker.of, marker.number
        return key in self.open or self.given[key] > 0

    def mark(self, marker: Marker) -> None:
        """Write a copy's marker, durably. Raises OSError."""
        private_file.write_private(self.path(marker) / MARKER, strict_json.encode(asdict(marker)))
        self._show(marker)

    def _show(self, marker: Marker) -> None:
        self.markers = {**self.markers, (marker.of, marker.number): marker}
        self.bytes = {**self.bytes, (marker.of, marker.number): size(self.path(marker))}

    def grown(self, marker: Marker, by: int) -> None:
        """A copy takes so many bytes more."""
        self.bytes[marker.of, marker.number] += by

    def _delete(self, marker: Marker) -> None:
        """The marker first: what has none is no copy any more."""
        folder = self.path(marker)
        (folder / MARKER).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        key = marker.of, marker.number
        self.markers = {k: v for k, v in self.markers.items() if k != key}
        self.bytes = {k: v for k, v in self.bytes.items() if k != key}

    def _home(self, node: str) -> Path:
        return self._folder / hashlib.sha256(node.encode()).hexdigest()[:24]


class OpenCopy:
    """A copy that is being written."""

    def __init__(self, copies: Copies, marker: Marker) -> None:
        """Raises Locked, Corrupt, NoSpace, OSError."""
        self._copies = copies
        self._copy = Copy(copies.path(marker), self._room)
        self.marker = replace(marker, commit=self._copy.commit)
        self._takes = 0  # bytes, by the piece that is being added
        copies.open.add((marker.of, marker.number))
        self._whole_at = 0  # the commit that makes it whole
        self._marked_at = 0.0

    def place(self) -> Place | None:
        """How far it has come."""
        return self._copy.place()

    def goal(self, commit: int) -> None:
        """It is whole when it holds this commit."""
        self._whole_at = commit

    def take(self, pieces: Sequence[Piece], head: Head, now: float) -> int:
        """Add pieces, durably; the last commit that is held. Raises NoRoom, PxlDiskError, OSError.

        `head`: what came with the last of them.
        """
        try:
            for piece in pieces:
                self._takes = 0
                self._room(
                    len(piece.content) * (2 if piece.kind is Kind.BASE else 1)
                )  # it becomes a bank, too
                self._copy.take(piece)
                self._copies.grown(self.marker, self._takes)
            self._copy.flush()
        except NoSpace:
            raise NoRoom("the file system there is full") from None
        self.marker = replace(self.marker, commit=self._copy.commit, head=head, heard_at=now)
        became_whole = not self.marker.whole and self._is_whole()
        if became_whole:
            self.marker = replace(self.marker, whole=True)
        if became_whole or any(piece.kind is Kind.OPENING for piece in pieces) or self._due(now):
            self.mark()
        if became_whole:
            self._copies.became_whole(self.marker)
        self._copies.markers[self.marker.of, self.marker.number] = self.marker
        return self._copy.commit

    def _room(self, wanted: int) -> None:
        """See that the piece may take so many bytes more. Raises NoRoom."""
        self._copies.make_room(self.marker.of, self._takes + wanted)
        self._takes += wanted

    def _is_whole(self) -> bool:
        return self._copy.disk_id is not None and self._copy.commit >= self._whole_at

    def _due(self, now: float) -> bool:
        return abs(now - self._marked_at) >= MARK_S

    def mark(self) -> None:
        """Write the marker as it is now."""
        try:
            self._copies.mark(self.marker)
        except OSError as exc:
            raise NoRoom(f"its marker cannot be written there: {exc.strerror}") from None
        self._marked_at = self.marker.heard_at

    def close(self) -> None:
        """End writing; what was last heard is written down."""
        try:
            if self.marker.head is not None:
                self.mark()
        except HyperPiError as exc:
            log.warning("a marker was not written of=%s reason=%s", self.marker.of, exc)
        finally:
            self._copies.open.discard((self.marker.of, self.marker.number))
            self._copy.close()


def _heard(marker: Marker) -> tuple[float, int]:
    return marker.heard_at, marker.number


def newest(folder: Path) -> tuple[int, int]:
    """The last commit of a copy that nobody writes just now, and where its log ends. Raises NotFound."""
    numbers = journal.segment_numbers(folder / "log")
    if not numbers:
        raise NotFound("the copy has only been begun")
    segment = journal.read_segment(journal.segment_path(folder / "log", numbers[-1]))
    return segment.last, segment.end


def _marker(raw: bytes) -> Marker:
    marker = strict_json.decode(raw, Marker)
    marker.disk_id  # noqa: B018  raises ValueError for what is no id
    return marker


def free_bytes(folder: Path) -> int:
    """What the file system of a folder that may not be there yet has left."""
    found = os.statvfs(next(_existing(folder)))
    return found.f_bavail * found.f_frsize


def _existing(folder: Path) -> Iterator[Path]:
    return (path for path in (folder, *folder.parents) if path.exists())
