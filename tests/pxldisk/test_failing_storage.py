"""Full disks and failing ones: nothing is acknowledged that is not stored, and reading goes on."""

import asyncio
import contextlib
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disk_rig import payloads, small
from test_crash import HERE, ROUNDS, check

import pxldisk
from pxldisk import Disk, Zone, bank, files, journal
from pxldisk.bank import BankFile
from pxldisk.png import Picture


class Fault:
    """Makes writes or syncs of the package fail while it is set."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.after_bytes = 0

    def wrap(self, real: Callable[..., None]) -> Callable[..., None]:
        def failing(fd: int, *rest: bytes | int) -> None:
            if self.error is None:
                return real(fd, *rest)
            if rest and self.after_bytes:
                content, offset = rest
                assert isinstance(content, bytes | bytearray)
                real(fd, content[: self.after_bytes], offset)
            raise OSError(self.error, os.strerror(self.error))

        return failing


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Fault:
    fault = Fault()
    monkeypatch.setattr(files, "write_all", fault.wrap(files.write_all))
    return fault


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Fault:
    fault = Fault()
    monkeypatch.setattr(files, "sync", fault.wrap(files.sync))
    return fault


@pytest.mark.parametrize("after_bytes", [0, 1, 40, 150, 290])
async def test_a_full_file_system_refuses_and_recovers_by_itself(
    folder: Path, writes: Fault, after_bytes: int
) -> None:
    async with small(folder) as disk:
        kept = await disk.append("in", b"kept")
        writes.error, writes.after_bytes = errno.ENOSPC, after_bytes
        outcomes = await asyncio.gather(
            disk.append("in", b"refused", key="again"),
            disk.append("in", b"refused too"),
            disk.consume(kept),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [pxldisk.NoSpace] * 3
        assert all(isinstance(outcome, pxldisk.NoSpace) and outcome.retry for outcome in outcomes)
        assert payloads(disk) == [b"kept"] and disk.read(kept).payload == b"kept"
        assert disk.ref_of("again") is None and disk.stats().zones["in"].free == 4
        crashed = folder.with_name("crashed")
        shutil.copytree(folder, crashed)
        writes.error = None
        await disk.append("in", b"room again", key="again")
        await disk.consume(kept)
        assert payloads(disk) == [b"room again"] and disk.stats().failed is None
    async with small(folder) as disk:
        assert payloads(disk) == [b"room again"]
    async with small(crashed) as disk:
        assert payloads(disk) == [b"kept"]


async def test_a_full_copy_on_write_file_system_paints_when_room_returns(folder: Path, writes: Fault) -> None:
    async with small(folder) as disk:
        ref = await disk.append("in", b"durable")
        writes.error = errno.ENOSPC  # before it is painted
        await disk.checkpoint()
        with pytest.raises(pxldisk.NoSpace):
            await disk.append("in", b"refused")
        assert disk.read(ref).payload == b"durable" and disk.stats().failed is None
        writes.error = None
        await disk.append("in", b"room again")
        await disk.checkpoint()
        assert await disk.verify() == [] and len(list((folder / "log").glob("*.pxj"))) == 2
    async with small(folder) as disk:
        assert payloads(disk) == [b"durable", b"room again"]


async def test_a_full_file_system_keeps_the_old_journal_segment(folder: Path, writes: Fault) -> None:
    async with small(folder, segment_bytes=600) as disk:
        ref = await disk.append("in", b"1")
        for number in range(6):
            await disk.consume(ref)
            if number == 2:
                # Records still fit into what was written ahead; a new segment does not.
                real = files.put
                files.put = full  # type: ignore[assignment]
            ref = await disk.append("in", f"{number}".encode())
        files.put = real
        writes.error = errno.ENOSPC
        with pytest.raises(pxldisk.NoSpace):
            await disk.snapshot()
        writes.error = None
        assert payloads(disk) == [b"5"]
        await disk.checkpoint()
    async with small(folder) as disk:
        assert payloads(disk) == [b"5"] and await disk.verify() == []


async def test_a_bank_whose_commit_was_refused_holds_nothing_until_one_is_durable(
    folder: Path, writes: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = bank.create

    def and_then_full(path: Path, picture: Picture) -> BankFile:
        made = make(path, picture)
        writes.error = errno.ENOSPC
        return made

    async with small(folder, max_banks=2) as disk:
        stored = [await disk.append("in", f"{n}".encode()) for n in range(5)]
        with monkeypatch.context() as patch:
            patch.setattr(bank, "create", and_then_full)
            with pytest.raises(pxldisk.NoSpace):
                await disk.append("in", b"refused")
        writes.error = None
        assert disk.stats().banks == (8,)
        await disk.consume(stored[0])
        await disk.checkpoint()  # the new segment must not leave an older bank behind
        crashed = shutil.copytree(folder, folder.with_name("crashed"))
        refs = [await disk.append("in", payload) for payload in (b"row 0 again", b"in the new bank")]
        assert [ref.bank for ref in refs] == [8, 9]
        assert sorted((await disk.replay()).pictures) == [8, 9]
        later = shutil.copytree(folder, folder.with_name("later"))
    for copy, expected in (
        (crashed, [b"1", b"2", b"3", b"4"]),
        (later, [b"1", b"2", b"3", b"4", b"row 0 again", b"in the new bank"]),
    ):
        async with small(copy, max_banks=2) as disk:
            assert payloads(disk) == expected and await disk.verify() == []


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_after_a_failed_sync_nothing_is_acknowledged_any_more(folder: Path, syncs: Fault) -> None:
    disk = await small(folder)
    await disk.append("in", b"kept")
    waiting = asyncio.create_task(disk.wait_free("in", rows=5))
    watch = disk.watch()
    syncs.error = errno.EIO
    with pytest.raises(pxldisk.DiskFailed):
        await disk.append("in", b"lost", key="k")
    syncs.error = None
    for _ in range(2):
        with pytest.raises(pxldisk.DiskFailed):
            await disk.append("in", b"never")
    with pytest.raises(pxldisk.DiskFailed):
        await waiting
    assert payloads(disk) == [b"kept"] and "sync failed" in str(disk.stats().failed)
    await disk.close()
    assert [change async for change in watch] == []
    async with small(folder) as disk:
        assert payloads(disk)[:1] == [b"kept"]
        await disk.append("in", b"after opening again")


async def test_a_failing_write_into_the_picture_is_made_good_by_the_journal(
    folder: Path, writes: Fault
) -> None:
    disk = await small(folder)
    ref = await disk.append("in", b"durable")
    writes.error = errno.EIO  # before the picture is painted
    with pytest.raises(pxldisk.DiskFailed):
        await disk.checkpoint()
    writes.error = None
    with pytest.raises(pxldisk.DiskFailed):
        await disk.append("in", b"never")
    assert disk.read(ref).payload == b"durable"
    await disk.close()
    async with small(folder) as disk:
        assert payloads(disk) == [b"durable"] and await disk.verify() == []


@pytest.mark.parametrize("part", ["commit", "paint"])
async def test_an_error_that_nobody_foresaw_fails_the_disk_and_leaves_nobody_waiting(
    folder: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    async with asyncio.timeout(20):
        disk = await small(folder)
        await disk.append("in", b"kept")
        with monkeypatch.context() as patch:
            patch.setattr(disk._store, part, no_memory)
            if part == "paint":
                await disk.append("in", b"kept too")
                await disk.verify()  # returns when what was to be painted has been tried
            with pytest.raises(pxldisk.DiskFailed, match="MemoryError"):
                await disk.append("in", b"refused")
        with pytest.raises(pxldisk.DiskFailed):
            await disk.append("in", b"never")
        await disk.close()
    async with small(folder) as disk:
        assert payloads(disk) == ([b"kept"] if part == "commit" else [b"kept", b"kept too"])


@pytest.mark.parametrize("call", [3, 9, 15, 30])
async def test_acknowledgements_hold_when_the_kernel_reports_an_error_on_sync(quick: Path, call: int) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    folder = quick / "disk"
    inject = f"inject=fdatasync:error=EIO:when={call}+"
    child = [sys.executable, str(HERE / "crash_child.py"), str(folder), str(ROUNDS)]
    command = [strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", inject, *child]
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parents[1]}"}
    ended = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60
    )
    if "PTRACE" in ended.stderr:
        pytest.skip("tracing is not allowed here")
    assert ended.returncode == 1 and ("DiskFailed" in ended.stderr or "Input/output error" in ended.stderr)
    async with small(folder, max_banks=2) as disk:
        check(disk, ended.stdout.splitlines())


@pytest.fixture
def small_tmpfs() -> Iterator[Path]:
    """A file system of 1 MiB."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder = Path(tempfile.mkdtemp(prefix="pxldisk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"mounting a tmpfs is not allowed: {mounted.stderr.strip()}")
    yield folder
    unmounted = subprocess.run(["umount", str(folder)], capture_output=True, text=True)
    if unmounted.returncode:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()
    assert not unmounted.returncode, f"files were left open: {unmounted.stderr}"


async def test_a_really_full_file_system_refuses_keeps_reading_and_recovers(small_tmpfs: Path) -> None:
    folder = small_tmpfs / "disk"
    async with Disk.open(folder, width=64, height=200, zones={"in": Zone(2, 199)}) as disk:
        stored = [await disk.append("in", f"{n}".encode() * 50) for n in range(3)]
        fill(small_tmpfs / "filler")
        refused = 0
        for number in range(6000):
            try:
                ref = await disk.append("in", b"x" * 130, key=f"k{number}")
            except pxldisk.NoSpace:
                refused += 1
                if refused > 3:
                    break
            else:
                await disk.consume(ref) if not refused else None
        assert refused > 3
        assert [disk.read(ref).payload for ref in stored] == [f"{n}".encode() * 50 for n in range(3)]
        with pytest.raises(pxldisk.NoSpace):
            await disk.snapshot()
    assert not list(folder.rglob("*.tmp"))
    async with Disk.open(folder) as disk:  # still full: it opens and reads
        assert [disk.read(ref).payload for ref in stored] == [f"{n}".encode() * 50 for n in range(3)]
        (small_tmpfs / "filler").unlink()
        ref = await disk.append("in", b"room again")
    async with Disk.open(folder) as disk:
        assert disk.read(ref).payload == b"room again"
        assert await disk.verify() == []


async def test_making_a_disk_on_a_full_file_system_says_so_and_leaves_nothing_half_made(
    small_tmpfs: Path,
) -> None:
    fill(small_tmpfs / "filler")
    with pytest.raises(pxldisk.NoSpace):
        await small(small_tmpfs / "disk")
    (small_tmpfs / "filler").unlink()
    async with small(small_tmpfs / "disk") as disk:
        await disk.append("in", b"works")


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


assert journal.AHEAD_BYTES < 1_000_000, "the disk must fit the small file system"
