"""Copies as folders: which one is given back, and that no name is ever a path."""

import contextlib
import uuid
from pathlib import Path

import pytest

from hyperpi.errors import Overloaded
from node.mirror_copies import Copies, Marker, NoRoom
from node.mirror_flow import Head
from node.mirror_policy import MirrorPolicy
from pxldisk import Disk, Feed, Piece, Zone, verify
from pxldisk.copying import size

OLD, NEW, EMPTY = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3)


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path / "mirrors", MirrorPolicy)


def held(
    copies: Copies, of: str, name: str, disk: uuid.UUID, heard_at: float, *, whole: bool = True
) -> Marker:
    """A copy that was heard of then."""
    opened = copies.begin(of, name, disk, heard_at)
    marker = Marker(
        of, name, opened.marker.number, str(disk), heard_at, whole, 5, Head(5, 0, 0.0, 1.0), heard_at
    )
    opened.marker = marker
    opened.close()
    return marker


def test_the_newest_whole_copy_of_another_disk_is_chosen(copies: Copies):
    first = held(copies, "n-1", "den", OLD, 10.0)
    second = held(copies, "n-1", "den", EMPTY, 20.0)
    unfinished = held(copies, "n-1", "den", NEW, 30.0, whole=False)
    found = copies.of("n-1")
    assert found == [first, second, unfinished]
    assert copies.choose(found, 0, EMPTY.bytes) == first
    assert copies.choose(found, 0, b"") == second
    assert copies.choose(found, 0, NEW.bytes) == second
    assert copies.choose(found[:1], 0, OLD.bytes) == first, "better than none"
    assert copies.choose(found, 3, b"") == unfinished, "if somebody wants it"
    assert copies.choose(found, 4, b"") is None
    assert copies.choose([], 0, b"") is None


def test_an_heir_of_the_same_name_finds_the_copies_of_the_machine_before_it(copies: Copies):
    lost = held(copies, "n-1", "den", OLD, 10.0)
    own = held(copies, "n-2", "den", EMPTY, 20.0)
    held(copies, "n-3", "attic", NEW, 30.0)
    assert copies.of("n-2") == [own], "without an admin it has its own alone"
    assert copies.choose(copies.known_as("den"), 0, EMPTY.bytes) == lost
    assert copies.known_as("n-1") == [lost]


@pytest.mark.parametrize("of", ["../../etc", "/etc", "a/b", "", ".", "x" * 5000, "n-\0"])
def test_no_name_is_part_of_a_path(copies: Copies, tmp_path: Path, of: str):
    marker = held(copies, of, of, OLD, 1.0)
    assert copies.path(marker).parent.parent == tmp_path / "mirrors"
    assert len(copies.path(marker).parent.name) == 24
    assert Copies(tmp_path / "mirrors", MirrorPolicy).of(of) == [marker], "and it is found again"
    assert copies.drop(of) == 1
    assert not copies.path(marker).exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"of": "n-1", "disk": "no id"}', b"\xff"])
def test_a_marker_that_cannot_be_read_is_left_alone(copies: Copies, tmp_path: Path, content: bytes):
    marker = held(copies, "n-1", "den", OLD, 1.0)
    path = copies.path(marker) / "mirror.json"
    path.write_bytes(content)
    again = Copies(tmp_path / "mirrors", MirrorPolicy)
    assert again.markers == {}
    (path.parent.parent / "0009").mkdir()  # begun by a process that died
    assert held(again, "n-1", "den", NEW, 2.0).number == 2
    assert path.read_bytes() == content
    assert not (path.parent.parent / "0009").exists()


async def test_banks_that_a_few_bytes_ask_for_are_counted_as_what_they_take(tmp_path: Path):
    allowed = 1 << 20
    copies = Copies(tmp_path / "mirrors", lambda: MirrorPolicy(max_bytes=allowed))
    options = {"width": 256, "height": 64, "zones": {"system": Zone(0, 8), "in": Zone(9, 63)}}
    async with Disk.open(tmp_path / "disk", max_banks=3, **options) as disk:
        opened = copies.begin("n-1", "den", disk.id, 1.0)
        with contextlib.closing(opened), Feed(tmp_path / "disk", None) as feed:
            opened.take(pieces(feed, disk), Head(0, 0, 0.0, 1.0), 1.0)
            for number in range(110):
                await disk.append("in", f"kept {number}".encode())
            (grown,) = pieces(feed, disk)
            path = copies.path(opened.marker)
            allowed = 2 * (size(path) + len(grown.content) + 1)
            with pytest.raises(NoRoom):
                opened.take([grown], Head(0, 0, 0.0, 2.0), 2.0)
            assert not (path / "9.png").exists() and verify(path) == []
            allowed = 1 << 20
            opened.take([grown], Head(0, 0, 0.0, 3.0), 3.0)
            assert (path / "9.png").exists()
            marker = (path / "mirror.json").stat().st_size
            assert copies.bytes["n-1", 1] + marker >= size(path), "what it takes is known at once"


async def copied(copies: Copies, disk: Disk, now: float) -> Marker:
    """A whole copy of den's disk, begun anew."""
    opened = copies.begin("n-1", "den", disk.id, now)
    opened.goal(disk.commits)
    with contextlib.closing(opened), Feed(disk.folder, None) as feed:
        opened.take(pieces(feed, disk), Head(disk.commits, 0, 0.0, now), now)
    return opened.marker


async def test_older_copies_of_a_disk_go_but_never_that_of_another_or_one_that_is_given_back(tmp_path: Path):
    copies = Copies(tmp_path / "mirrors", MirrorPolicy)
    options = {"width": 48, "height": 16, "zones": {"system": Zone(0, 8), "in": Zone(9, 15)}}
    async with Disk.open(tmp_path / "lost", **options) as lost:
        await copied(copies, lost, 1.0)
    async with Disk.open(tmp_path / "disk", **options) as disk:
        for now in range(2, 5):
            await copied(copies, disk, now)
        copies.given["n-1", 2] += 1
        await copied(copies, disk, 5.0)
        await copied(copies, disk, 6.0)
        assert [marker.number for marker in copies.of("n-1")] == [1, 2, 4, 5, 6]
        with pytest.raises(Overloaded):
            copies.drop("n-1")
        assert len(copies.of("n-1")) == 5, "all or none"
        copies.given.clear()
        await copied(copies, disk, 7.0)
        assert [marker.number for marker in copies.of("n-1")] == [1, 5, 6, 7]


async def test_room_is_made_of_copies_that_a_newer_one_of_the_same_disk_has_replaced(tmp_path: Path):
    allowed = 1 << 20
    copies = Copies(tmp_path / "mirrors", lambda: MirrorPolicy(max_bytes=allowed))
    copies.reserve_bytes = 0
    options = {"width": 48, "height": 16, "zones": {"system": Zone(0, 8), "in": Zone(9, 15)}}
    async with Disk.open(tmp_path / "lost", **options) as lost:
        await copied(copies, lost, 1.0)
    async with Disk.open(tmp_path / "disk", **options) as disk:
        for now in (2.0, 3.0, 4.0):
            await copied(copies, disk, now)
    allowed = 2 * sum(copies.bytes.values())
    copies.given["n-1", 2] += 1
    copies.make_room("n-1", 1)
    assert [marker.number for marker in copies.of("n-1")] == [1, 2, 4]
    with pytest.raises(NoRoom):
        copies.make_room("n-1", allowed)
    assert [marker.number for marker in copies.of("n-1")] == [1, 2, 4]
    with pytest.raises(NoRoom):
        copies.make_room("n-2", allowed)
    used = sum(copies.bytes.values())
    copies.make_room("n-2", allowed // 2)
    with pytest.raises(NoRoom, match=r"0 of .* one machine"):
        copies.make_room("n-2", allowed // 2 + 1)
    copies.bytes["n-2", 1] = allowed // 2
    with pytest.raises(NoRoom, match=r"for copies are used"):
        copies.make_room("n-3", allowed // 2 - used + 1)


def pieces(feed: Feed, disk: Disk) -> list[Piece]:
    """What a reader has."""
    found = []
    while (piece := feed.next(disk.commits, 65_536)) is not None:
        found.append(piece)
    return found
