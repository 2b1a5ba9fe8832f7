"""What the benchmark says about where and how it measures."""

from pathlib import Path

import pytest

from bench import pxldisk as benchmark


def test_a_scratch_folder_in_memory_is_told_from_one_on_a_drive(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/vda / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n/dev/vdb {tmp_path}/drive ext4 rw 0 0\n"
    )
    assert benchmark.in_memory(tmp_path / "bench", mounts)
    assert not benchmark.in_memory(tmp_path / "drive" / "bench", mounts)
    assert not benchmark.in_memory(Path("/elsewhere"), mounts)


async def test_the_cost_of_growth_is_measured_on_whole_appends(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    figure = await benchmark.appends_as_disks_grow(quick)
    assert figure.what.startswith("Disk.append") and figure.value > 0
    assert sorted(path.name for path in quick.iterdir()) == ["256-0", "4096-0"]
