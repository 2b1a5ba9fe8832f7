"""The local disk: through its node while one runs, else through its files."""

import asyncio
import json
from pathlib import Path

import pytest
from cli_mesh import ControlSocket
from cli_process import Run
from PIL import Image

from pxldisk import Disk


@pytest.fixture
def folder(home: Path) -> Path:
    """A disk with two live records and one that is consumed."""
    path = home / "node" / "disk"

    async def fill() -> None:
        async with Disk.open(path) as disk:
            await disk.append("input_scrolls", b'{"message":"one"}', kind="scroll_in", owner="a@den")
            await disk.append("input_scrolls", b'{"message":"two"}', kind="scroll_in")
            await disk.consume(await disk.append("output_opcodes", b"{}", kind="opcode"))

    asyncio.run(fill())
    return path


def test_without_a_disk_every_verb_says_so(home: Path, run: Run):
    for argv in (["info"], ["rows"], ["read", "9"], ["verify"], ["repair"], ["snapshot"], ["replay"]):
        done = run("disk", *argv)
        assert done.code == 1
        assert "there is no disk" in done.err
    assert not (home / "node" / "disk").exists()


def test_files_are_read_while_no_node_runs(folder: Path, run: Run):
    zones = {zone["name"]: zone for zone in run("disk", "info", "--json").json["banks"][0]["zones"]}
    assert (zones["input_scrolls"]["live"], zones["output_opcodes"]["consumed"]) == (2, 1)
    rows = run("disk", "rows", "--from", "9", "--json").json
    assert [(row["row"], row["state"], row["kind"]) for row in rows] == [
        (9, "live", "scroll_in"),
        (10, "live", "scroll_in"),
        (200, "consumed", "opcode"),
    ]
    assert len(run("disk", "rows", "--from", "9", "--to", "20", "--all", "--json").json) == 12
    assert run("disk", "info").out.startswith("8.png  256x256 pixels")
    assert "a@den" in run("disk", "rows").out


def test_a_row_is_read(folder: Path, run: Run):
    assert run("disk", "read", "9").out == '{"message":"one"}\n'
    record = run("disk", "read", "9", "--json").json
    assert (record["owner"], record["payload"]) == ("a@den", '{"message":"one"}')
    assert run("disk", "read", "999").code == 1
    assert run("disk", "read", "9", "--bank", "12").code == 1


def test_a_damaged_row_is_named_and_can_be_mended(folder: Path, run: Run):
    assert run("disk", "verify").out == f"{folder}: sound\n"
    picture = folder / "8.png"
    image = bytearray(picture.read_bytes())
    place = image.index(b'{"message":"two"}')
    image[place + 3] ^= 0x20
    picture.write_bytes(image)
    done = run("disk", "verify", "--json")
    assert done.code == 1
    assert 10 in [problem["row"] for problem in done.json]
    assert "row 10" in run("disk", "verify").err
    assert run("disk", "repair", "--json").json["lost"] == []
    assert run("disk", "verify").code == 0
    assert run("disk", "read", "10").out == '{"message":"two"}\n'
    assert run("disk", "repair").out == f"{folder}: sound, nothing to repair\n"


def test_a_snapshot_can_be_restored_but_not_over_live_rows(folder: Path, run: Run):
    (snapshot,) = run("disk", "snapshot", "--json").json["snapshots"]
    assert Path(snapshot).parent == folder

    async def add() -> None:
        async with Disk.open(folder) as disk:
            await disk.append("input_scrolls", b"later", kind="scroll_in")

    asyncio.run(add())
    refused = run("disk", "restore", snapshot)
    assert refused.code == 1
    assert "live rows would be lost" in refused.err
    assert run("disk", "restore", snapshot, "--force", "--json").json["rows"] >= 1
    assert run("disk", "read", "11").code == 1


def test_the_past_is_listed_and_drawn(folder: Path, run: Run, tmp_path: Path):
    steps = run("disk", "replay", "--json").json
    assert [step["commit"] for step in steps] == sorted(step["commit"] for step in steps)
    assert len(steps) >= 4
    out = tmp_path / "then"
    past = run("disk", "replay", "--commit", str(steps[0]["commit"]), "--out", str(out), "--json").json
    assert past["commit"] == steps[0]["commit"]
    assert [Path(file).parent for file in past["files"]] == [out]
    assert run("disk", "replay", "--at", "1970-01-02T00:00:00Z", "--out", str(out)).code == 1


def test_the_log_becomes_a_film_and_the_rows_a_drawing(folder: Path, run: Run, tmp_path: Path):
    commits = run("disk", "replay", "--json").json
    for name in ("memory.gif", "memory.png"):
        done = run("disk", "replay", "--export", str(tmp_path / name), "--json").json
        assert (done["commits"], done["from"], done["to"]) == (
            len(commits),
            commits[0]["at"],
            commits[-1]["at"],
        )
        with Image.open(tmp_path / name) as film:
            assert getattr(film, "n_frames", 1) == done["frames"]
    assert run("disk", "replay", "--export", "film.mp4").code == 2
    assert run("disk", "replay", "--export", "film.gif", "--fps", "0").code == 2
    late = run("disk", "replay", "--export", str(tmp_path / "none.gif"), "--from", "2199-01-01")
    assert late.code == 1 and "no commit of that time" in late.err
    assert run("disk", "render", str(tmp_path / "rows.png"), "--json").json["files"] == [
        str(tmp_path / "rows.png")
    ]
    assert run("disk", "render", "rows.jpg").code == 2


def test_a_running_node_is_asked_and_keeps_what_is_its_own(folder: Path, home: Path, run: Run):
    with ControlSocket(home, "node") as served:
        assert [row["row"] for row in run("disk", "rows", "--json").json] == [9]
        assert run("disk", "info", "--json").json["banks"][0]["name"] == "8.png"
        assert run("disk", "snapshot").out == "/home/ann/8-1767225600.png\n"
        assert served.asked("disk.rows") == [{"node": "n-den", "bank": 8, "from": 0}]
        for argv in (["repair"], ["restore", str(folder / "8.png")]):
            done = run("disk", *argv)
            assert done.code == 1
            assert "hyperpi node stop" in done.err
        assert run("disk", "verify").code == 0
        assert run("disk", "read", "9").code == 0


def test_another_process_with_the_disk_open_is_named(folder: Path, run: Run):
    async def while_open() -> tuple[int, str]:
        async with Disk.open(folder):
            done = run("disk", "repair")
            return done.code, done.err

    code, err = asyncio.run(while_open())
    assert code == 1
    assert "in use by process" in err


def test_a_foreign_picture_is_told_and_not_read(folder: Path, run: Run):
    (folder / "8.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    for argv in (["info"], ["rows"], ["read", "9"]):
        done = run("disk", *argv)
        assert done.code == 1
        assert "hyperpi disk repair" in done.err
    assert json.loads(run("disk", "verify", "--json").out)
