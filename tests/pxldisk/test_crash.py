"""The process dies at every named point of the write path; what it acknowledged is there afterwards."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from disk_rig import small
from PIL import Image

from pxldisk import Disk, State, failpoint

HERE = Path(__file__).parent
ROUNDS = 12
# Points that a run of ROUNDS passes at least so often.
OFTEN = {
    "journal.before": 30,
    "journal.written": 30,
    "journal.synced": 30,
    "segment.written": 3,
    "segment.renamed": 3,
    "base.written": 4,
    "base.renamed": 4,
    "bank.written": 2,
    "bank.renamed": 2,
    "paint.before": 6,
    "paint.rows": 6,
    "paint.done": 6,
    "snapshot.written": 3,
    "snapshot.renamed": 3,
}


def passages() -> list[tuple[str, int]]:
    """Each point at its first passage, and at a later one."""
    chosen = []
    for point in failpoint.POINTS:
        last = OFTEN.get(point.removeprefix("pxldisk."), 2)
        chosen += [(point, number) for number in sorted({1, last} | ({7, 16} if last == 30 else set()))]
    return chosen


def run_child(folder: Path, point: str, rounds: int = ROUNDS) -> tuple[int, list[str]]:
    environment = {**os.environ, "HYPERPI_FAILPOINT": point, "PYTHONPATH": f"{HERE}:{HERE.parents[1]}"}
    command = [sys.executable, str(HERE / "crash_child.py"), str(folder), str(rounds)]
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=60)
    return ended.returncode, ended.stdout.splitlines()


def check(disk: Disk, acknowledged: list[str]) -> None:
    """Everything acknowledged is there; of what was not, all of a commit or nothing."""
    for number in range(ROUNDS):
        first, second = disk.ref_of(f"{number}a"), disk.ref_of(f"{number}b")
        assert (first is None) == (second is None), f"half of commit {number}"
        if f"both {number}" in acknowledged:
            assert first is not None, f"commit {number} was acknowledged and is lost"
    shown = {record.payload.split()[0]: record for record in disk.scan("in") if record.kind != "pair"}
    last = max((int(line.split()[1]) for line in acknowledged if line.startswith("both")), default=-1)
    for number in range(max(0, last - 1), last + 1):
        assert shown[str(number).encode()].state is State.LIVE
    for record in disk.scan("in"):
        if record.kind == "pair":
            assert f"gone {record.payload.split()[0].decode()}" not in acknowledged


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A disk whose process died behind a sync, and what it had acknowledged."""
    folder = tmp_path_factory.mktemp("killed") / "disk"
    code, acknowledged = run_child(folder, "pxldisk.journal.synced:17")
    assert code == -signal.SIGKILL
    return folder, acknowledged


@pytest.mark.parametrize(
    "point",
    [
        "paint.before",
        "paint.rows",
        "checkpoint.before",
        "checkpoint.stamped",
        "checkpoint.flushed",
        "base.written",
        "base.renamed",
        "segment.written",
        "segment.renamed",
        "checkpoint.pruned",
    ],
)
async def test_a_kill_while_recovering_from_a_kill_loses_nothing(
    quick: Path, killed: tuple[Path, list[str]], point: str
) -> None:
    folder = quick / "disk"
    original, acknowledged = killed
    shutil.copytree(original, folder)
    for expected in ({-signal.SIGKILL}, {-signal.SIGKILL, 0}):  # the first may have got far enough
        code, _ = await asyncio.to_thread(run_child, folder, f"pxldisk.{point}:1", 0)
        assert code in expected
    async with small(folder, max_banks=2) as disk:
        check(disk, acknowledged)
        assert disk.stats().damage == ()


@pytest.mark.parametrize(("point", "passage"), passages())
async def test_what_was_acknowledged_survives_a_kill(quick: Path, point: str, passage: int) -> None:
    folder = quick / "disk"
    code, acknowledged = await asyncio.to_thread(run_child, folder, f"{point}:{passage}")
    assert code == -signal.SIGKILL, f"the run ended with {code}: it does not pass {point} {passage} times"
    async with small(folder, max_banks=2) as disk:
        check(disk, acknowledged)
        assert disk.stats().damage == ()
        before = {zone: [r.ref for r in disk.scan(zone)] for zone in disk.zones}
        if disk.stats().zones["in"].free:
            await disk.append("in", b"life goes on")
            before["in"] = [r.ref for r in disk.scan("in")]
    async with small(folder, max_banks=2) as disk:
        assert {zone: [r.ref for r in disk.scan(zone)] for zone in disk.zones} == before
    assert not list(folder.rglob("*.tmp"))
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
