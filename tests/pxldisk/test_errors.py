"""What errors tell: which file, row and byte, and whether to retry or to repair."""

import asyncio
import inspect
import shlex
import shutil
from pathlib import Path

import pytest
from disk_rig import payloads, small

import pxldisk
from pxldisk import Consume, PxlDiskError, RowRef, errors, files, segment
from pxldisk.command import main


def every_class() -> list[type[PxlDiskError]]:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [kind for kind in found if issubclass(kind, PxlDiskError) and kind is not PxlDiskError]


def test_every_error_can_be_imported_from_the_package_and_has_at_most_one_remedy() -> None:
    kinds = every_class()
    for kind in kinds:
        assert getattr(pxldisk, kind.__name__) is kind
        assert not (kind.retry and kind.repair), f"{kind.__name__} says both"
    assert {kind.__name__ for kind in kinds if kind.retry} == {"ZoneFull", "NoSpace", "Locked"}
    assert {kind.__name__ for kind in kinds if kind.repair} == {"Corrupt", "ForeignPicture"}


async def test_a_full_zone_names_the_row_that_has_waited_longest(folder: Path) -> None:
    async with small(folder, max_banks=2) as disk:
        refs = [await disk.append("in", b"x") for _ in range(10)]
        for ref in refs[:6]:
            await disk.consume(ref)
            await disk.append("in", b"y")
        with pytest.raises(pxldisk.ZoneFull) as full:
            await disk.append("in", b"one too many")
        assert (full.value.file, full.value.row) == (folder / "9.png", refs[6].row)
        assert "retry" in str(full.value) and f"9.png row {refs[6].row}" in str(full.value)


async def test_a_record_that_changed_in_memory_says_which_of_its_rows_and_bytes(folder: Path) -> None:
    async with small(folder) as disk:
        ref = await disk.append("in", b"a" * 150)
        picture = disk._memory.pictures[8]
        picture.image[picture.grid.pixels_at(4) + 60] ^= 1  # in its second row
        with pytest.raises(pxldisk.Corrupt) as corrupt:
            disk.read(ref)
        assert (corrupt.value.file, corrupt.value.row) == (folder / "8.png", 4)
        assert corrupt.value.offset == picture.grid.pixels_at(4)
        picture.image[picture.grid.pixels_at(4) + 60] ^= 1


async def test_a_damaged_row_is_named_with_its_byte_and_the_command_that_repairs(folder: Path) -> None:
    async with small(folder) as disk:
        ref = await disk.append("in", b"one")
        at = disk._memory.grid.pixels_at(ref.row)
    content = bytearray((folder / "8.png").read_bytes())
    content[at + 55] ^= 1
    (folder / "8.png").write_bytes(content)
    shutil.rmtree(folder / "log")
    async with small(folder) as disk:
        with pytest.raises(pxldisk.Corrupt) as corrupt:
            disk.read(ref)
        assert (corrupt.value.file, corrupt.value.row) == (folder / "8.png", ref.row)
        assert corrupt.value.offset == at and f"pxldisk repair {folder}`" in str(corrupt.value)


@pytest.mark.parametrize("named", ["as printed", "by the segment", "by the log"])
async def test_the_command_that_an_error_about_the_log_names_repairs_the_disk(
    tmp_path: Path, named: str
) -> None:
    folder = tmp_path / "a disk"
    async with small(folder) as disk:
        for number in range(4):
            await disk.append("in", f"{number}".encode())
        await disk.verify()  # what is in the picture is not lost with a record of the log
        crashed = shutil.copytree(folder, tmp_path / "the crashed disk")
    log = next((crashed / "log").glob("*.pxj"))
    content = bytearray(log.read_bytes())
    content[content.index(segment.MARK, segment.HEADER_BYTES + 50) + 40] ^= 1
    log.write_bytes(content)
    with pytest.raises(pxldisk.Corrupt) as corrupt:
        await small(crashed)
    _, _, *command = shlex.split(str(corrupt.value).split("`")[1])
    assert command == ["pxldisk", "repair", str(crashed)]
    file = {"as printed": command[2], "by the segment": str(log), "by the log": str(log.parent)}[named]
    assert await asyncio.to_thread(main, ["repair", file]) == 0
    async with small(crashed) as disk:
        assert payloads(disk) == [b"0", b"1", b"2", b"3"]
    assert not (crashed / "log" / "lock").exists()


async def test_a_foreign_picture_is_named_with_the_command_that_repairs(folder: Path) -> None:
    async with small(folder):
        pass
    (folder / "8.png").write_bytes(b"GIF89a")
    with pytest.raises(pxldisk.ForeignPicture) as foreign:
        await small(folder)
    assert foreign.value.file == folder / "8.png" and "pxldisk repair" in str(foreign.value)


async def test_references_that_name_nothing_any_more_say_where_they_pointed(folder: Path) -> None:
    async with small(folder) as disk:
        ref = await disk.append("in", b"one")
        await disk.consume(ref)
        with pytest.raises(pxldisk.StaleRef) as stale:
            await disk.commit([Consume(ref)])
        assert (stale.value.file, stale.value.row, stale.value.seq) == (folder / "8.png", ref.row, ref.seq)
        with pytest.raises(pxldisk.StaleRef):
            disk.read(RowRef(12, 3, 1))


async def test_a_failed_sync_names_the_journal_and_the_byte_that_may_be_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise OSError(5, "Input/output error")

    async with small(folder) as disk:
        await disk.append("in", b"kept")
        end = disk.stats().log_bytes
        with monkeypatch.context() as patch:
            patch.setattr(files, "sync", fail)
            with pytest.raises(pxldisk.DiskFailed) as failed:
                await disk.append("in", b"lost")
    assert (failed.value.file, failed.value.offset) == (folder / "log" / "00000001.pxj", end)
    assert "opened again" in str(failed.value)


async def test_a_record_that_never_fits_is_not_to_be_retried(folder: Path) -> None:
    async with small(folder) as disk:
        with pytest.raises(pxldisk.RowTooLarge) as large:
            await disk.append("in", bytes(70_000))
    assert large.value.size == 70_000 and not (large.value.retry or large.value.repair)
