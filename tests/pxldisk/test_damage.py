"""Files that are not what was written: every byte cut, every byte flipped, files of other tools."""

import asyncio
import dataclasses
import io
import os
import shutil
import tracemalloc
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from disk_rig import ROW_PAYLOAD, payloads, small
from PIL import Image

import pxldisk
from pxldisk import (
    Append,
    Consume,
    Disk,
    RowRef,
    State,
    bank,
    journal,
    plan,
    png,
    repair,
    rows,
    segment,
    superblock,
    verify,
)
from pxldisk.memory import Memory
from pxldisk.recovery import Options, open_disk


async def make(folder: Path, **options: object) -> dict[RowRef, bytes]:
    """A disk at rest with live records of one and of two rows, consumed ones, and free rows."""
    async with small(folder, **options) as disk:
        gone = await disk.append("in", b"gone", key="gone")
        refs = [
            await disk.append("in", b"one row", kind="scroll", owner="someone", key="first"),
            await disk.append("in", bytes(range(256))[: ROW_PAYLOAD + 20], key="second"),
            await disk.append("out", b"answer"),
        ]
        await disk.consume(gone)
        return {ref: disk.read(ref).payload for ref in refs}


@contextmanager
def opened(folder: Path) -> Iterator[Memory]:
    """What opening a disk does, without its thread: for tests that open one a thousand times."""
    memory, store = open_disk(folder, Options())
    try:
        yield memory
    finally:
        store.close()


def read_all(disk: Disk | Memory, expected: dict[RowRef, bytes]) -> list[RowRef]:
    """Compare what can be read with what was written; the references that cannot be read."""
    unreadable = []
    for ref, payload in expected.items():
        try:
            assert disk.read(ref).payload == payload
        except pxldisk.Corrupt:
            unreadable.append(ref)
    return unreadable


def replace_bank(folder: Path, content: bytes) -> None:
    (folder / "8.png").write_bytes(content)


class Copies:
    """Gives each case its own copy of one disk."""

    def __init__(self, root: Path) -> None:
        self.original = root / "original"
        self.folder = root / "case"

    def fresh(self) -> Path:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.original, self.folder)
        return self.folder


@pytest.fixture
def copies(quick: Path, monkeypatch: pytest.MonkeyPatch) -> Copies:
    monkeypatch.setattr(journal, "AHEAD_BYTES", 512)  # less to copy for each case
    return Copies(quick)


async def test_every_flipped_byte_of_a_picture_is_found_and_costs_at_most_its_own_record(
    copies: Copies,
) -> None:
    expected = await make(copies.original)
    sound = (copies.original / "8.png").read_bytes()
    grid = png.Grid(48, 10)
    rows_of = {ref: {ref.row} for ref in expected}
    rows_of[next(ref for ref in expected if ref.row == 5)].add(6)
    assert verify(copies.original) == []
    for offset in range(len(sound)):
        folder = copies.fresh()
        flipped = bytearray(sound)
        flipped[offset] ^= 0x10
        replace_bank(folder, flipped)
        row = (offset - grid.chunk_at(0)) // grid.stride
        problems = verify(folder / "8.png")
        assert problems, f"byte {offset} flipped and not found"
        if 0 <= row < grid.height:
            assert row in {problem.row for problem in problems}
        with opened(folder) as memory:
            for ref in read_all(memory, expected):
                assert row in rows_of[ref], f"byte {offset} of row {row} cost record {ref}"
            # A damaged row is kept for a repair: nothing is written over it.
            while memory.room("in"):
                (ref,) = memory.plan([Append("in", b"more")], 0).refs
                assert ref is not None and (ref.row != row or not memory.damage[8])


async def test_every_flipped_byte_of_a_picture_is_repaired_from_the_log(copies: Copies) -> None:
    expected = await make(copies.original)
    sound = (copies.original / "8.png").read_bytes()
    for offset in range(0, len(sound), 3):
        folder = copies.fresh()
        flipped = bytearray(sound)
        flipped[offset] ^= 0x01
        replace_bank(folder, flipped)
        done = repair(folder)
        assert done.actions and not done.lost
        assert verify(folder) == [], f"byte {offset}"
        with opened(folder) as memory:
            assert read_all(memory, expected) == []


async def test_a_picture_cut_at_any_byte_is_refused_and_rebuilt(copies: Copies) -> None:
    expected = await make(copies.original)
    sound = (copies.original / "8.png").read_bytes()
    for length in [*range(len(sound)), len(sound) + 1]:
        folder = copies.fresh() if length % 7 == 0 else copies.folder
        replace_bank(folder, (sound + b"\x00")[:length])
        with pytest.raises((pxldisk.Corrupt, pxldisk.ForeignPicture)) as refused:
            open_disk(folder, Options())
        assert refused.value.repair and verify(folder / "8.png")
        if length % 7:
            continue  # refusing leaves the folder as it was: the next cut may have it
        assert repair(folder).lost == ()
        with opened(folder) as memory:
            assert read_all(memory, expected) == []
        assert verify(folder) == []


async def crashed(folder: Path) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Make a disk as a power cut leaves it: nothing painted. Its blank picture; commit ends and payloads."""
    disk = await small(folder, max_payload=100)
    blank = (folder / "8.png").read_bytes()
    ends = [(disk.stats().log_bytes, b"the checkpoint")]
    for number in range(4):
        await disk.append("in", f"{number}".encode(), key=f"{number}")
        ends.append((disk.stats().log_bytes, f"{number}".encode()))
    copy = folder.with_name("crashed")
    shutil.copytree(folder, copy)
    (copy / "8.png").write_bytes(blank)
    await disk.close()
    shutil.rmtree(folder)
    copy.rename(folder)
    return blank, ends


async def test_a_journal_cut_at_any_byte_gives_the_commits_before_the_cut(copies: Copies) -> None:
    _, ends = await crashed(copies.original)
    name = "log/00000001.pxj"
    whole = (copies.original / name).read_bytes()
    seen = set()
    for length in range(ends[-1][0] + 1):
        folder = copies.fresh()
        (folder / name).write_bytes(whole[:length])
        try:
            memory, store = open_disk(folder, Options())
        except pxldisk.Corrupt:
            assert length < ends[0][0]  # not even the segment's first record is there
            continue
        found = payloads(memory)
        assert found == [payload for end, payload in ends[1:] if end <= length]
        seen.add(len(found))
        store.close()
        if length % 16 == 0:
            assert verify(folder) == []
    assert seen == {0, 1, 2, 3, 4}


async def test_every_flipped_byte_of_a_journal_is_found_or_drops_only_the_tail(copies: Copies) -> None:
    _, ends = await crashed(copies.original)
    name = "log/00000001.pxj"
    whole = (copies.original / name).read_bytes()
    for offset in range(ends[-1][0]):
        folder = copies.fresh()
        flipped = bytearray(whole)
        flipped[offset] ^= 0x04
        (folder / name).write_bytes(flipped)
        assert verify(folder), f"byte {offset} flipped and not found"
        if offset >= ends[-2][0]:
            with opened(folder) as memory:
                assert payloads(memory) == [b"0", b"1", b"2"]
            continue
        with pytest.raises(pxldisk.Corrupt) as refused:
            open_disk(folder, Options())
        assert refused.value.file.name == "00000001.pxj"
        repair(folder)
        with opened(folder) as memory:
            # The commit that was hit is gone and no other is; without a header, nothing can be read.
            hit = next(payload for end, payload in ends if offset < end)
            survivors = [payload for _, payload in ends[1:] if payload != hit]
            assert payloads(memory) == ([] if offset < segment.HEADER_BYTES else survivors)
        assert verify(folder) == []


async def test_a_journal_damaged_behind_a_painted_picture_loses_nothing_when_repaired(folder: Path) -> None:
    disk = await small(folder)
    refs = [await disk.append("in", f"{n}".encode()) for n in range(4)]
    await disk.consume(refs[0])
    assert await disk.verify() == []
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    await disk.close()
    segment = copy / "log" / "00000001.pxj"
    content = bytearray(segment.read_bytes())
    content[content.find(b"PXR1", 200) + 30] ^= 1
    segment.write_bytes(content)
    with pytest.raises(pxldisk.Corrupt):
        await small(copy)
    done = repair(copy)
    assert done.lost == () and "00000001.pxj" in done.actions[0]
    async with small(copy) as disk:
        assert payloads(disk) == [b"1", b"2", b"3"]
        assert disk.read(refs[0]).state is State.CONSUMED
        assert (await disk.append("in", b"new")).seq > 1_000_000


@pytest.mark.parametrize("how", ["resaved", "compressed", "other disk", "text", "empty", "missing", "older"])
async def test_a_picture_that_is_not_ours_is_refused_and_rebuilt_from_the_log(folder: Path, how: str) -> None:
    expected = await make(folder)
    path = folder / "8.png"
    if how in ("resaved", "compressed"):
        with Image.open(path) as picture:
            picture.save(path, compress_level=0 if how == "resaved" else 9)
    elif how == "other disk":
        await make(folder.with_name("other"))
        shutil.copy(folder.with_name("other") / "8.png", path)
    elif how == "older":
        shutil.copy(folder / "log" / "00000001-8.png", path)
    elif how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"hello" if how == "text" else b"")
    with pytest.raises((pxldisk.ForeignPicture, pxldisk.Corrupt)) as refused:
        await small(folder)
    assert refused.value.repair and refused.value.file == path
    assert repair(folder).lost == ()
    async with small(folder) as disk:
        assert read_all(disk, expected) == []
        assert await disk.append("in", b"", key="gone") == RowRef(8, 3, 1)
    if how != "missing":
        assert len(list(folder.glob("8.png.damaged-*"))) == 1


async def test_a_picture_saved_again_by_another_tool_is_read_even_without_a_log(folder: Path) -> None:
    expected = await make(folder)
    with Image.open(folder / "8.png") as picture:
        picture.save(folder / "8.png", optimize=True)
    shutil.rmtree(folder / "log")
    done = repair(folder)
    assert "still tell" in done.actions[0] and done.lost == ()
    async with small(folder) as disk:
        assert read_all(disk, expected) == []
        assert disk.ref_of("first") is not None


async def test_without_log_and_picture_the_newest_snapshot_is_taken(folder: Path) -> None:
    async with small(folder) as disk:
        ref = await disk.append("in", b"in the snapshot")
        await disk.snapshot()
        await disk.append("in", b"later")
    shutil.rmtree(folder / "log")
    (folder / "8.png").write_bytes(b"")
    done = repair(folder)
    assert "later rows are lost" in done.actions[0]
    async with small(folder) as disk:
        assert payloads(disk) == [b"in the snapshot"] and disk.read(ref).payload


async def test_without_anything_left_repair_says_so_and_changes_nothing(folder: Path) -> None:
    await make(folder)
    shutil.rmtree(folder / "log")
    (folder / "8.png").write_bytes(b"not a picture")
    with pytest.raises(pxldisk.Unrepairable):
        repair(folder)
    assert (folder / "8.png").read_bytes() == b"not a picture"


async def test_a_row_nobody_knows_any_more_is_reported_and_made_free(folder: Path) -> None:
    expected = await make(folder)
    shutil.rmtree(folder / "log")
    grid = png.Grid(48, 10)
    content = bytearray((folder / "8.png").read_bytes())
    content[grid.pixels_at(6) + 60] ^= 1  # the second row of a record of two
    replace_bank(folder, content)
    async with small(folder) as disk:
        assert [ref.row for ref in read_all(disk, expected)] == [5]
        assert [(damage.bank, damage.row) for damage in disk.stats().damage] == [(8, 6)]
    shutil.rmtree(folder / "log")
    done = repair(folder)
    assert done.lost == ((8, 5), (8, 6))
    async with small(folder) as disk:
        assert disk.stats().damage == () and payloads(disk) == [b"one row"]
        assert disk.stats().zones["in"].free == 4


async def test_damaged_files_of_the_log_are_set_aside(folder: Path) -> None:
    expected = await make(folder)
    async with small(folder) as disk:
        await disk.append("out", b"more")
    for name in ("00000001.pxj", "00000001-8.png", "00000002-8.png"):
        content = bytearray((folder / "log" / name).read_bytes())
        content[100] ^= 0xFF
        (folder / "log" / name).write_bytes(content)
    assert {problem.file.name for problem in verify(folder)} == {
        "00000001.pxj",
        "00000001-8.png",
        "00000002-8.png",
    }
    repair(folder)
    assert verify(folder) == []
    async with small(folder) as disk:
        assert read_all(disk, expected) == []
        assert payloads(disk, "out") == [b"answer", b"more"]


async def test_a_missing_bank_that_the_log_tells_of_but_never_made_is_not_passed_over(folder: Path) -> None:
    async with small(folder) as disk:
        await disk.append("in", b"in the first bank")
        log = disk._store.journal
        assert log is not None
        row = rows.encode(rows.Sheet(2, 0, b"x", 0, 0, b"in a lost bank"), [3], 144)[0][1]
        body = segment.encode_images([plan.Image(9, 3, row)])
        log.append([(0, body)])
        crashed = shutil.copytree(folder, folder.with_name("crashed"))
    with pytest.raises(pxldisk.Unrepairable, match=r"9\.png: missing"):
        repair(crashed)


def bomb(width: int, height: int) -> bytes:
    """A tiny file whose header promises a huge picture."""
    image = io.BytesIO()
    Image.new("RGB", (1, 1)).save(image, "png")
    content = bytearray(image.getvalue())
    content[16:24] = width.to_bytes(4) + height.to_bytes(4)
    return bytes(content)


@pytest.mark.parametrize("size", [(21_844, 65_535), (2**31 - 1, 2**31 - 1), (0, 0), (48, 10)])
async def test_a_picture_that_promises_to_be_huge_is_refused_by_its_header(
    folder: Path, size: tuple[int, int]
) -> None:
    folder.mkdir()
    (folder / "8.png").write_bytes(bomb(*size))
    with pytest.raises(pxldisk.ForeignPicture):
        await small(folder)
    with pytest.raises(pxldisk.Unrepairable):
        repair(folder)


@pytest.mark.parametrize("size", [(21_844, 65_535), (256, 65_535), (21_844, 256)])
async def test_a_long_file_that_holds_nothing_costs_no_memory(folder: Path, size: tuple[int, int]) -> None:
    width, height = size
    block = superblock.Superblock(uuid.uuid4(), uuid.uuid4(), 8, width, height, {"in": pxldisk.Zone(2, 9)}, 0)
    head = bytearray(bank.blank(dataclasses.replace(block, height=11)).image[: png.Grid(width, 2).trailer_at])
    for row in superblock.ROWS:
        content = superblock.encode(block, 3 * width)
        at = png.Grid(width, height).pixels_at(row)
        head[at : at + len(content)] = content
    folder.mkdir()
    (folder / "8.png").write_bytes(head)
    os.truncate(folder / "8.png", png.Grid(width, height).file_bytes)
    (folder / "log").mkdir()
    (folder / "log" / "00000001.pxj").touch()
    os.truncate(folder / "log" / "00000001.pxj", 300_000_000)
    tracemalloc.start()
    try:
        for look in (lambda: open_disk(folder, Options()), lambda: repair(folder)):
            with pytest.raises((pxldisk.ForeignPicture, pxldisk.Unrepairable)):
                look()
        assert verify(folder)
        assert tracemalloc.get_traced_memory()[1] < 64_000_000
    finally:
        tracemalloc.stop()


async def test_a_long_tail_of_noise_costs_little_memory_and_hides_no_record_from_a_repair(
    folder: Path,
) -> None:
    async with small(folder) as disk:
        await disk.append("in", b"before")
        await disk.append("in", b"behind")
        crashed = shutil.copytree(folder, folder.with_name("crashed"))
    log = next((crashed / "log").glob("*.pxj"))
    content = log.read_bytes().rstrip(b"\x00")
    behind = content.rindex(segment.MARK)
    with log.open("wb") as file:
        file.write(content[:behind])
        for _ in range(1000):
            file.write(b"\x01" * 65_536)
        file.write(content[behind:])
    tracemalloc.start()
    try:
        for look in (lambda: open_disk(crashed, Options()), lambda: journal.read_segment(log)):
            with pytest.raises(pxldisk.Corrupt, match="more than a power cut can tear"):
                look()
        repair(crashed)
        assert tracemalloc.get_traced_memory()[1] < 32_000_000
    finally:
        tracemalloc.stop()
    async with small(crashed) as disk:
        assert payloads(disk) == [b"before", b"behind"] and await disk.verify() == []


async def test_a_long_segment_of_good_records_is_read_whole(folder: Path) -> None:
    async with Disk.open(
        folder, width=2000, height=66, zones={"in": pxldisk.Zone(2, 65)}, segment_bytes=1 << 30
    ) as disk:
        for number in range(200):
            await disk.consume(await disk.append("in", bytes([1 + number]) * 50_000))
        await disk.append("in", b"the last")
        crashed = shutil.copytree(folder, folder.with_name("crashed"))
        assert next((crashed / "log").glob("*.pxj")).stat().st_size > journal.GAP_BYTES
    async with Disk.open(crashed) as disk:
        assert payloads(disk) == [b"the last"] and disk.commits == 401


async def test_pictures_that_people_leave_in_the_folder_are_no_banks(folder: Path) -> None:
    expected = await make(folder)
    Image.new("RGB", (48, 10)).save(folder / "2024.png")
    (folder / "\u00b2.png").write_bytes(b"two")
    assert verify(folder) == []
    async with small(folder) as disk:
        assert disk.stats().banks == (8,) and read_all(disk, expected) == []
    assert repair(folder).actions == ()


async def test_a_picture_named_like_the_next_bank_is_refused_and_set_aside(folder: Path) -> None:
    expected = await make(folder)
    Image.new("RGB", (48, 10)).save(folder / "9.png")
    with pytest.raises(pxldisk.ForeignPicture) as refused:
        await small(folder)
    assert refused.value.file == folder / "9.png"
    assert "nothing else knows such a bank" in repair(folder).actions[0]
    assert not (folder / "9.png").exists() and len(list(folder.glob("9.png.damaged-*"))) == 1
    async with small(folder, max_banks=2) as disk:
        assert read_all(disk, expected) == []


async def test_a_repair_keeps_the_picture_that_its_own_segment_begins_with(folder: Path) -> None:
    """A damaged picture without its segment has the number that the repair would give to its own."""
    expected = await make(folder)
    (folder / "log" / "00000002.pxj").unlink()
    (folder / "log" / "00000002-8.png").write_bytes(b"damaged")
    content = bytearray((folder / "log" / "00000001.pxj").read_bytes())
    content[10] ^= 1
    (folder / "log" / "00000001.pxj").write_bytes(content)
    repair(folder)
    assert verify(folder) == [] and repair(folder).actions == ()
    newest = journal.segment_numbers(folder / "log")[-1]
    assert journal.base_banks(folder / "log", newest) == [8]
    async with small(folder) as disk:
        assert read_all(disk, expected) == []


async def test_files_that_are_each_sound_and_not_one_disk_are_told_and_repaired(folder: Path) -> None:
    expected = await make(folder)
    other = folder.with_name("other")
    async with Disk.open(other, width=48, height=12, zones={"in": pxldisk.Zone(2, 11)}):
        pass
    shutil.copy(other / "8.png", folder / "8.png")
    (problem,) = verify(folder)
    assert problem.remedy == "repair" and "12" in problem.what
    assert repair(folder).lost == () and verify(folder) == []
    async with small(folder) as disk:
        assert read_all(disk, expected) == []


async def test_verify_and_readers_may_look_while_the_disk_is_written(folder: Path) -> None:
    async with Disk.open(folder) as disk:

        async def write() -> None:
            for number in range(300):
                ref = await disk.append("input_scrolls", b"x" * (number % 700))
                if number % 2:
                    await disk.consume(ref)
                if number % 100 == 50:
                    await disk.checkpoint()

        writing = asyncio.create_task(write())
        looks = 0
        while not writing.done() and looks < 20:
            assert await asyncio.to_thread(verify, folder / "8.png") == []
            looks += 1
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert looks


def test_the_index_of_a_picture_survives_any_row_being_anything(quick: Path) -> None:
    """Rows that point at one another in circles, at nothing, at themselves: no hang, no exception."""
    block = superblock.Superblock(uuid.uuid4(), uuid.uuid4(), 8, 48, 10, {"in": pxldisk.Zone(2, 9)}, 0)

    for next_row in (0, 3, 4, 9, 65_000):
        picture = bank.blank(block)
        sheet = rows.Sheet(5, 0, b"k", 0, 0, b"x" * 200)
        for row, content in rows.encode(sheet, [3, 4, next_row], 144):
            picture.write(min(row, 9), content)
        memory = Memory(quick, block, max_payload=100, keep_keys=1)
        memory.add_bank(block, picture)
        list(memory.scan("in", 0))


async def test_a_commit_that_consumes_and_appends_is_replayed_whole(folder: Path) -> None:
    disk = await small(folder)
    blank = (folder / "8.png").read_bytes()
    ref = await disk.append("in", b"question")
    await disk.commit([Consume(ref), Append("out", b"answer")])
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    (copy / "8.png").write_bytes(blank)
    await disk.close()
    async with small(copy) as disk:
        assert payloads(disk) == [] and payloads(disk, "out") == [b"answer"]
        assert disk.read(ref).state is State.CONSUMED
