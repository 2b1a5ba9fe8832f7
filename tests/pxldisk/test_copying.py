"""A copy that is built from the pieces of a log is the disk: every row of it, whatever ends its making."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from disk_rig import ROW_PAYLOAD, payloads, small
from test_crash import HERE

from pxldisk import (
    Copy,
    Corrupt,
    Disk,
    Feed,
    Locked,
    NoSpace,
    NotInLog,
    NotNext,
    copying,
    files,
    journal,
    reader,
    segment,
    verify,
)
from pxldisk.memory import Memory
from pxldisk.plan import Image
from pxldisk.shipping import Kind, Piece

PIECE_BYTES = 4096


def rows_of(folder: Path) -> dict[tuple[int, int], bytes]:
    """Every row of records, as opening the disk would show it."""
    memory: Memory = reader.look(folder)
    return {
        (bank, row): picture.row(row)
        for bank, picture in memory.pictures.items()
        for row in range(2, memory.grid.height)
    }


def follow(source: Path, copy: Copy, upto: int | None = None, max_bytes: int = PIECE_BYTES) -> list[Piece]:
    """Give a copy what it lacks; the pieces."""
    with Feed(source, copy.place()) as feed:
        return take_all(feed, copy, upto, max_bytes)


def take_all(feed: Feed, copy: Copy, upto: int | None, max_bytes: int = PIECE_BYTES) -> list[Piece]:
    """Give a copy all that a reader has; the pieces."""
    given = []
    while (piece := feed.next(upto, max_bytes)) is not None:
        copy.take(piece)
        given.append(piece)
    copy.flush()
    return given


async def write(disk: Disk, rounds: int) -> None:
    """Records of one row and of two, some of them consumed again."""
    for number in range(rounds):
        await disk.append("out", f"short {number}".encode(), key=f"s{disk.commits}")
        await disk.append("in", f"long {number} ".encode().ljust(ROW_PAYLOAD + 9, b"."))
        for record in [*disk.scan("in"), *disk.scan("out")][: -1 if number + 1 == rounds else None]:
            await disk.consume(record.ref)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy"


@pytest.mark.parametrize("max_bytes", [1, 61, 300, 4096, 1 << 20])
async def test_a_copy_holds_every_row_whatever_the_size_of_its_pieces(
    folder: Path, target: Path, max_bytes: int
) -> None:
    async with small(folder, max_banks=3, segment_bytes=3000) as disk:
        copy = Copy(target)
        for _ in range(6):
            await write(disk, 3)
            follow(folder, copy, disk.commits, max_bytes)
            assert copy.commit == disk.commits
            assert verify(target) == [] and rows_of(target) == rows_of(folder)
        copy.close()
        async with small(target, max_banks=3) as opened:
            assert opened.id == disk.id and opened.commits == disk.commits
            assert payloads(opened) == payloads(disk) and payloads(opened, "out") == payloads(disk, "out")
            assert opened.ref_of("s0") == disk.ref_of("s0") is not None


async def test_a_bank_that_is_added_is_added_to_the_copy(folder: Path, target: Path) -> None:
    async with small(folder, max_banks=3) as disk:
        copy = Copy(target)
        follow(folder, copy)
        for number in range(12):
            await disk.append("in", f"kept {number}".encode())
        follow(folder, copy)
        assert sorted(path.name for path in target.glob("*.png")) == ["10.png", "8.png", "9.png"]
        assert verify(target) == [] and rows_of(target) == rows_of(folder)
        copy.close()


class Overfull(Exception):
    """What the owner of a copy says."""


async def test_banks_are_made_when_all_of_a_piece_is_sound_and_there_is_room_for_them(
    folder: Path, target: Path
) -> None:
    asked: list[int] = []

    def room(wanted: int) -> None:
        asked.append(wanted)
        if len(asked) == 1:
            raise Overfull

    async with small(folder, max_banks=3) as disk:
        with contextlib.closing(Copy(target, room)) as copy:
            follow(folder, copy)
            before = rows_of(target)
            for number in range(12):
                await disk.append("in", f"kept {number}".encode())
            with Feed(folder, copy.place()) as feed:
                piece = feed.next(disk.commits, 1 << 20)
            assert piece is not None
            flipped = piece.content[:-1] + bytes([piece.content[-1] ^ 1])
            with pytest.raises(Corrupt):
                copy.take(replace(piece, content=flipped))
            assert asked == [] and not (target / "9.png").exists()
            with pytest.raises(Overfull):
                copy.take(piece)
            assert asked == [2 * (target / "8.png").stat().st_size]
            assert rows_of(target) == before and not (target / "9.png").exists()
            copy.take(piece)
            assert rows_of(target) == rows_of(folder) and (target / "10.png").exists()


async def test_a_copy_grows_to_so_many_banks_and_no_further(
    folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "MAX_BANKS", 2)
    async with small(folder, max_banks=3) as disk:
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            for number in range(12):
                await disk.append("in", f"kept {number}".encode())
            with pytest.raises(Corrupt, match="one more than"):
                follow(folder, copy)
            assert not (target / "10.png").exists() and verify(target) == []


async def test_commits_that_may_not_be_durable_yet_are_not_given(folder: Path, target: Path) -> None:
    async with small(folder) as disk:
        copy = Copy(target)
        await write(disk, 2)
        durable = disk.commits
        await write(disk, 1)
        follow(folder, copy, durable)
        assert copy.commit == durable
        follow(folder, copy, disk.commits)
        assert copy.commit == disk.commits
        copy.close()


async def test_a_copy_goes_on_where_it_was_and_is_given_no_byte_twice(folder: Path, target: Path) -> None:
    async with small(folder) as disk:
        await write(disk, 2)
        with contextlib.closing(Copy(target)) as copy:
            first = follow(folder, copy)
        await write(disk, 2)
        with contextlib.closing(Copy(target)) as copy:
            second = follow(folder, copy)
        assert {piece.kind for piece in second} == {Kind.COMMITS}
        assert second[0].offset == first[-1].offset + len(first[-1].content)
        assert rows_of(target) == rows_of(folder)


async def test_a_disk_that_went_on_from_an_older_state_is_told_apart(folder: Path, target: Path) -> None:
    async with small(folder) as disk:
        await write(disk, 1)
    older = folder.with_name("older")
    shutil.copytree(folder, older)
    async with small(folder) as disk:
        await write(disk, 2)
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            place = copy.place()
    async with small(older) as disk:  # the same disk, other commits with the same numbers
        await write(disk, 3)
        assert place is not None and disk.commits >= place.commit and disk.id == place.disk_id
        with pytest.raises(NotInLog):
            Feed(older, place)


async def test_two_lives_that_part_within_one_segment_are_told_apart(folder: Path, target: Path) -> None:
    async with small(folder) as disk:
        await disk.append("in", b"both")
        common = folder.with_name("common")
        shutil.copytree(folder, common)  # as a power cut would leave it
        await disk.append("in", b"one life")
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            place = copy.place()
    assert place is not None
    segment = max((common / "log").glob("*.pxj"))
    content = bytearray(segment.read_bytes())
    content[place.offset - 5 : place.offset] = b"other"
    segment.write_bytes(content)
    with pytest.raises(NotInLog):
        Feed(common, place)


async def test_a_place_that_nobody_can_have_is_refused_without_a_look_at_it(
    folder: Path, target: Path
) -> None:
    async with small(folder) as disk:
        await write(disk, 1)
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            place = copy.place()
        assert place is not None
        for wrong in ({"offset": 1 << 62}, {"offset": 1 << 62, "disk_id": uuid.UUID(int=0)}, {"digest": b""}):
            with pytest.raises(NotInLog):
                Feed(folder, replace(place, **wrong))
        Feed(folder, place).close()


async def test_a_place_that_was_pruned_is_told(folder: Path, target: Path) -> None:
    async with small(folder, keep_log_bytes=1) as disk:
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            await write(disk, 1)
            await disk.checkpoint()
            with pytest.raises(NotInLog):
                Feed(folder, copy.place())


async def test_a_log_that_is_pruned_under_a_reader_is_told(folder: Path, target: Path) -> None:
    async with small(folder, keep_log_bytes=1) as disk:
        with contextlib.closing(Copy(target)) as copy, Feed(folder, None) as feed:
            take_all(feed, copy, disk.commits)
            for _ in range(2):
                await write(disk, 1)
                await disk.checkpoint()
            with pytest.raises(NotInLog):
                take_all(feed, copy, disk.commits)
            assert verify(target) == []


async def test_what_is_behind_is_counted_in_bytes(folder: Path, target: Path) -> None:
    async with small(folder, segment_bytes=3000) as disk:
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            with Feed(folder, copy.place()) as feed:
                assert feed.behind(disk.log_bytes) == 0
                await write(disk, 6)
                told, given = feed.behind(disk.log_bytes), 0
                assert disk.stats().log_bytes < told
                while (piece := feed.next(disk.commits, 100)) is not None:
                    given += len(piece.content) if piece.kind is not Kind.BASE else 0
                assert feed.behind(disk.log_bytes) == 0 and given == told


async def test_a_flipped_byte_anywhere_is_refused_and_changes_nothing(folder: Path, target: Path) -> None:
    async with small(folder) as disk:
        await disk.append("in", b"first")
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            before, place = rows_of(target), copy.place()
            await disk.append("in", b"second")
            with Feed(folder, place) as feed:
                piece = feed.next(disk.commits, PIECE_BYTES)
                assert piece is not None
            for at in range(len(piece.content)):
                flipped = bytearray(piece.content)
                flipped[at] ^= 0x10
                with pytest.raises(Corrupt):
                    copy.take(replace(piece, content=bytes(flipped)))
            assert copy.place() == place and rows_of(target) == before
            copy.take(piece)
            assert rows_of(target) == rows_of(folder)


async def test_damaged_pictures_and_openings_are_refused(folder: Path, target: Path) -> None:
    async with small(folder) as disk:
        await disk.append("in", b"first")
        await disk.checkpoint()
        with Feed(folder, None) as feed:
            base, opening = feed.next(disk.commits, 1 << 20), feed.next(disk.commits, 1 << 20)
        assert base is not None and opening is not None and feed is not None
        with contextlib.closing(Copy(target)) as copy:
            for at in (0, 20, 100, 700, 1500, len(base.content) - 20):
                flipped = bytearray(base.content)
                flipped[at] ^= 0x10
                with pytest.raises(Corrupt):
                    copy.take(replace(base, content=bytes(flipped)))
            with pytest.raises(NotNext):
                copy.take(opening)  # its picture has not come
            copy.take(base)
            for at in (0, 9, 30, 59, 70, len(opening.content) - 1):
                flipped = bytearray(opening.content)
                flipped[at] ^= 0x10
                with pytest.raises((Corrupt, NotNext)):
                    copy.take(replace(opening, content=bytes(flipped)))
            assert copy.place() is None
            copy.take(opening)
            assert copy.commit == disk.commits and verify(target) == []


async def test_a_piece_that_does_not_follow_is_refused(folder: Path, target: Path) -> None:
    async with small(folder) as disk:
        await write(disk, 2)
        with contextlib.closing(Copy(target)) as copy:
            pieces = follow(folder, copy, max_bytes=300)
            commits = [piece for piece in pieces if piece.kind is Kind.COMMITS]
            for piece in (commits[0], commits[-1], pieces[0], replace(commits[-1], segment=7)):
                with pytest.raises(NotNext):
                    copy.take(piece)
            assert rows_of(target) == rows_of(folder)


async def test_a_commit_has_no_more_rows_than_the_disk(folder: Path, target: Path) -> None:
    async with small(folder) as disk:
        await write(disk, 1)
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            place = copy.place()
            assert place is not None
            header = journal.read_header(journal.segment_path(folder / "log", place.segment))
            body = segment.encode_images([Image(8, 3 + at % 7, b"") for at in range(21)])
            number = copy.commit + 1
            content = segment.encode_record(segment.COMMIT, number, 1, body, header.salt, copy.commit)
            piece = Piece(Kind.COMMITS, place.segment, 0, place.offset, number, False, content)
            with pytest.raises(Corrupt, match="21 rows"):
                copy.take(piece)
            with pytest.raises(NotNext, match="at once"):
                copy.take(replace(piece, more=True, content=bytes(20 * 150 + 42)))
            assert copy.place() == place and verify(target) == []


async def test_pictures_of_another_disk_are_refused(folder: Path, target: Path, tmp_path: Path) -> None:
    async with small(folder) as disk, small(tmp_path / "other") as other:
        with Feed(folder, None) as mine, Feed(tmp_path / "other", None) as theirs:
            opening = [mine.next(disk.commits, 1 << 20), mine.next(disk.commits, 1 << 20)][1]
            foreign = theirs.next(other.commits, 1 << 20)
        assert opening is not None and foreign is not None
        with contextlib.closing(Copy(target)) as copy:
            copy.take(foreign)
            with pytest.raises(Corrupt):
                copy.take(opening)
            assert copy.place() is None


async def test_a_full_file_system_refuses_a_piece_and_the_copy_stays_sound(
    folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.write_all

    def full(fd: int, content: bytes, offset: int) -> None:
        real(fd, content[: len(content) // 2], offset)
        raise OSError(errno.ENOSPC, "full")

    async with small(folder, segment_bytes=3000) as disk:
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            for _ in range(8):  # some commits, and some new segments
                await disk.append("out", b"more")
                await disk.consume(next(disk.scan("out")).ref)
                before = copy.place()
                with Feed(folder, before) as feed:
                    piece = feed.next(disk.commits, PIECE_BYTES)
                    assert piece is not None
                    with monkeypatch.context() as patch:
                        patch.setattr(files, "write_all", full)
                        with pytest.raises(NoSpace):
                            copy.take(piece)
                assert copy.place() == before and verify(target) == []
                follow(folder, copy)
                assert rows_of(target) == rows_of(folder)


async def test_a_copy_has_one_writer(folder: Path, target: Path) -> None:
    async with small(folder):
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            with pytest.raises(Locked):
                Copy(target)
            with pytest.raises(Locked):
                await small(target)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("point", [*copying.POINTS, "pxldisk.bank.written", "pxldisk.bank.renamed"])
async def test_a_copy_survives_its_end_at_every_point(
    folder: Path, target: Path, point: str, number: int
) -> None:
    async with small(folder, max_banks=4, segment_bytes=100_000) as disk:
        copy_from(folder, target)
        await write(disk, 2)
        for number_kept in range(12):
            await disk.append("in", f"kept {number_kept}".encode())
        for _ in range(2):
            await disk.checkpoint()  # of two or three pictures
            await write(disk, 1)
        code, held = copy_from(folder, target, f"{point}:{number}")
        assert code == -signal.SIGKILL
        assert verify(target) == [] or all("torn" in problem.what for problem in verify(target))
        with contextlib.closing(Copy(target)) as copy:
            assert copy.commit >= max(held, default=0)
            assert verify(target) == []
        assert copy_from(folder, target)[0] == 0
        assert verify(target) == [] and rows_of(target) == rows_of(folder)


def copy_from(source: Path, target: Path, point: str = "") -> tuple[int, list[int]]:
    """Bring the copy up to the disk in a process of its own; exit code, commits that were flushed."""
    environment = {**os.environ, "HYPERPI_FAILPOINT": point, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / "copy_child.py"), str(source), str(target)]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=60)
    return ended.returncode, [int(line) for line in ended.stdout.split()]


async def test_a_copy_that_was_damaged_is_cut_there_when_it_goes_on_and_not_before(
    folder: Path, target: Path
) -> None:
    async with small(folder) as disk:
        await write(disk, 3)
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            end = copy.place()
        assert end is not None
        segment = max((target / "log").glob("*.pxj"))
        content = bytearray(segment.read_bytes())
        content[len(content) // 2] ^= 1
        segment.write_bytes(content)
        for _ in range(2):  # the source may be gone: what stands behind the damage is not thrown away
            with contextlib.closing(Copy(target)) as copy:
                assert copy.commit < end.commit and copy.place() != end
            assert segment.read_bytes() == content
        with contextlib.closing(Copy(target)) as copy:
            follow(folder, copy)
            assert copy.place() == end
        assert rows_of(target) == rows_of(folder)
