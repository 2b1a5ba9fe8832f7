"""Snapshots, restoring, replaying the log, and the command line over all of it."""

import asyncio
import json
import shutil
import struct
from pathlib import Path

import pytest
from disk_rig import ROW_PAYLOAD, payloads, small
from PIL import Image

import pxldisk
from pxldisk import Disk, RowRef, State, Zone, command, history, reader, rendering, repair, verify


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_snapshot_is_a_disk_of_its_own(folder: Path, tmp_path: Path) -> None:
    async with small(folder, clock=Clock()) as disk:
        ref = await disk.append("in", b"then", key="k")
        (path,) = await disk.snapshot()
        await disk.consume(ref)
        await disk.append("in", b"now")
    assert path == folder / "8-1700000000.png" and verify(path) == []
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(path, moved / "8.png")
    async with Disk.open(moved) as disk:
        assert payloads(disk) == [b"then"] and disk.ref_of("k") == ref
        assert (await disk.append("in", b"goes on")).seq == 2


async def test_snapshots_are_kept_by_number_and_age(folder: Path) -> None:
    clock = Clock()
    async with small(folder, clock=clock, keep_snapshots=3, keep_snapshots_s=100) as disk:
        for step in (0, 0, 10, 10):
            clock.now += step
            await disk.snapshot()
        assert moments(folder) == [1, 10, 20]
        clock.now += 95
        await disk.snapshot()
        assert moments(folder) == [20, 115]
        clock.now += 1000
        await disk.snapshot()
        assert moments(folder) == [1115]


async def test_a_clock_that_was_far_ahead_for_a_while_does_not_take_the_snapshots(folder: Path) -> None:
    clock, month = Clock(), 40 * 86_400
    async with small(folder, clock=clock) as disk:
        for _ in range(5):
            clock.now += 60
            await disk.snapshot()
        taken = moments(folder)
        clock.now += month
        await disk.snapshot()
        assert set(taken[2:]) < set(moments(folder))
        clock.now -= month
        for _ in range(3):
            await disk.snapshot()
        assert set(taken[2:]) < set(moments(folder)) and len(moments(folder)) == 7


def moments(folder: Path) -> list[int]:
    return sorted(int(path.stem.split("-")[1]) - 1_700_000_000 for path in folder.glob("8-*.png"))


async def test_restoring_asks_before_it_ends_live_records(folder: Path) -> None:
    async with small(folder) as disk:
        first = await disk.append("in", b"first", key="a")
        (path,) = await disk.snapshot()
        assert await disk.restore(path) == 0
        long = await disk.append("in", b"x" * (ROW_PAYLOAD + 1))
        with pytest.raises(pxldisk.LiveRows) as refused:
            await disk.restore(path)
        assert refused.value.count == 1 and payloads(disk)[1] == disk.read(long).payload
        await disk.consume(long)
        watch = disk.watch()
        assert await disk.restore(path) == 2
        assert {change.state for change in await anext(watch)} == {State.FREE}
        assert payloads(disk) == [b"first"] and disk.stats().zones["in"].free == 4
        await disk.consume(first)
        assert await disk.restore(path) == 1  # consumed: bringing it back loses nothing live
        assert payloads(disk) == [b"first"] and disk.read(first).state is State.LIVE
        later = await disk.append("in", b"later")
        assert later.seq > long.seq
        assert await disk.restore(path, force=True) == 1
    async with small(folder) as disk:
        assert payloads(disk) == [b"first"]
        assert (await disk.append("in", b"new")).seq > later.seq
    assert verify(folder) == []


async def test_a_crash_after_a_restore_that_freed_rows_loses_nothing(folder: Path) -> None:
    disk = await small(folder)
    await disk.append("in", b"in the snapshot", key="k")
    (taken,) = await disk.snapshot()
    await disk.append("in", b"later")
    await disk.restore(taken, force=True)
    crashed = folder.with_name("crashed")
    shutil.copytree(folder, crashed)
    await disk.close()
    async with small(crashed) as disk:
        assert payloads(disk) == [b"in the snapshot"] and disk.stats().zones["in"].free == 4
        assert (await disk.append("in", b"new")).seq == 3, "2 was that of a record the restore took away"


@pytest.mark.parametrize("consumed", [False, True])
async def test_the_key_of_a_record_that_a_restore_took_away_stores_again(
    folder: Path, consumed: bool
) -> None:
    async with small(folder) as disk:
        kept = await disk.append("in", b"kept", key="kept")
        (snapshot,) = await disk.snapshot()
        first = await disk.append("in", b"once", key="s-1")
        if consumed:
            await disk.consume(first)
        await disk.restore(snapshot, force=True)
        assert disk.ref_of("s-1") is None and disk.ref_of("kept") == kept
        restored = shutil.copytree(folder, folder.with_name("restored"))
        again = await disk.append("in", b"once more", key="s-1")
        assert again.seq > first.seq and disk.read(again).payload == b"once more"
        assert await disk.append("in", b"never", key="s-1") == again
        stored = shutil.copytree(folder, folder.with_name("stored"))
    async with small(restored) as disk:
        assert disk.ref_of("s-1") is None and disk.ref_of("kept") == kept
    async with small(stored) as disk:
        assert disk.ref_of("s-1") == again and payloads(disk) == [b"kept", b"once more"]


async def test_no_key_counts_when_the_rows_of_another_disk_were_restored(
    folder: Path, tmp_path: Path
) -> None:
    async with small(tmp_path / "other") as other:
        for number in range(3):
            await other.consume(await other.append("in", f"{number}".encode()))
        theirs = await other.append("in", b"theirs", key="t")
        (snapshot,) = await other.snapshot()
    async with small(folder) as disk:
        for number in range(4):
            await disk.append("in", b"ours", key=f"{number}")
        await disk.restore(snapshot, force=True)
        crashed = shutil.copytree(folder, folder.with_name("crashed"))
    async with small(crashed) as disk:
        assert disk.ref_of("t") == theirs and [disk.ref_of(f"{n}") for n in range(4)] == [None] * 4
        assert (await disk.append("in", b"ours again", key="3")).seq > max(theirs.seq, 4)
        assert payloads(disk) == [b"theirs", b"ours again"]


async def test_only_a_picture_of_the_same_shape_is_restored(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    async with small(other, zones={"in": Zone(2, 9)}) as disk:
        (shape,) = await disk.snapshot()
    same = tmp_path / "same"
    async with small(same) as disk:
        await disk.append("in", b"from another machine")
        (moved,) = await disk.snapshot()
    async with small(folder, max_banks=2) as disk:
        with pytest.raises(pxldisk.WrongShape):
            await disk.restore(shape)
        broken = bytearray(moved.read_bytes())
        broken[61 + 3 * 162 + 20] ^= 1
        (tmp_path / "broken.png").write_bytes(broken)
        with pytest.raises(pxldisk.Corrupt):
            await disk.restore(tmp_path / "broken.png", force=True)
        assert await disk.restore(moved) == 1
        assert payloads(disk) == [b"from another machine"]
        await asyncio.gather(*(disk.append("in", b"") for _ in range(7)))
        with pytest.raises(pxldisk.ForeignPicture):
            await disk.restore(moved, force=True)


async def test_any_past_state_can_be_shown_across_segments_and_restarts(folder: Path) -> None:
    clock = Clock()
    states: list[tuple[float, int, list[bytes]]] = []
    for start in range(3):
        async with small(folder, clock=clock, segment_bytes=700, max_banks=2) as disk:
            for number in range(8):
                clock.now += 10
                await disk.append("in", f"{start}.{number}".encode())
                if number > 1:
                    (old, *_) = [record.ref for record in disk.scan("in")]
                    await disk.consume(old)
                states.append((clock.now, disk.stats().commits, payloads(disk)))
            if start == 2:
                shown = await disk.replay(commit=states[5][1])
                assert shown.commit == states[5][1]
    assert len(list((folder / "log").glob("*.pxj"))) > 4
    for at, commit, expected in states:
        by_time, by_commit = history.replay(folder, at=at), history.replay(folder, commit=commit)
        assert (by_time.commit, by_time.pictures) == (by_commit.commit, by_commit.pictures)
        assert (by_commit.commit, by_commit.at) == (commit, at)
        assert shown_in(by_time, folder) == expected
    assert history.replay(folder).commit == states[-1][1]
    assert history.replay(folder, at=states[3][0] + 5).commit == states[3][1]
    with pytest.raises(pxldisk.NotInLog):
        history.replay(folder, at=1.0)
    numbers = [step.commit for step in history.steps(folder)]
    assert numbers == list(range(1, states[-1][1] + 1))
    assert [step.commit for step in history.steps(folder, after=20, limit=3)] == [21, 22, 23]


def shown_in(moment: pxldisk.Moment, folder: Path) -> list[bytes]:
    scratch = folder.with_name("shown")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for bank, picture in moment.pictures.items():
        (scratch / f"{bank}.png").write_bytes(picture)
    assert verify(scratch) == []
    return [record.payload for record in reader.look(scratch).scan("in")]


async def test_the_log_is_kept_up_to_its_size_and_what_is_kept_can_be_shown(folder: Path) -> None:
    async with small(folder, segment_bytes=1000, keep_log_bytes=12_000) as disk:
        for number in range(120):
            await disk.consume(await disk.append("in", f"{number}".encode()))
        steps = await disk.steps(limit=1000)
        assert steps[-1].commit == 240 and steps[0].commit > 1
        assert (await disk.replay(commit=steps[0].commit)).commit == steps[0].commit
        with pytest.raises(pxldisk.NotInLog) as refused:
            await disk.replay(commit=1)
        assert refused.value.earliest == steps[0].commit - 1
        assert await disk.verify() == []
    size = sum(path.stat().st_size for path in (folder / "log").iterdir())
    assert size < 12_000 + 300_000  # and the segment in use, with what it has written ahead


async def test_the_log_shows_what_a_damaged_base_picture_no_longer_does(folder: Path) -> None:
    for number in range(3):
        async with small(folder) as disk:
            await disk.append("in", f"{number}".encode())
    for segment in (3, 4):
        (folder / "log" / f"{segment:08d}-8.png").write_bytes(b"")
    assert shown_in(history.replay(folder, commit=3), folder) == [b"0", b"1", b"2"]
    (folder / "log" / "00000002.pxj").unlink()
    with pytest.raises(pxldisk.PxlDiskError):
        history.replay(folder, commit=3)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = command.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
async def made(folder: Path) -> Path:
    """A disk at rest with one live, one consumed and one long record, and a snapshot."""
    async with small(folder, clock=Clock()) as disk:
        await disk.append("in", b'{"n":1}', kind="scroll", owner="me", key="k")
        await disk.consume(await disk.append("in", b"gone"))
        await disk.append("in", b"y" * (ROW_PAYLOAD + 1))
        await disk.snapshot()
        await disk.append("out", b"after the snapshot")
    return folder


def test_the_command_shows_a_disk(made: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, "info", made)
    assert code == 0 and "in: rows 3-7; 2 free (3 live, 1 consumed, 1 empty, 0 damaged)" in out
    shown = json.loads(run(capsys, "info", made / "8.png", "--json")[1])
    assert (shown["width"], shown["banks"], [z["name"] for z in shown["zones"]]) == (
        48,
        [8],
        ["system", "in", "out"],
    )
    rows = [json.loads(line) for line in run(capsys, "rows", made, "--json")[1].splitlines()]
    assert [(row["row"], row["state"], row["parts"]) for row in rows[2:]] == [
        (3, "live", 1),
        (4, "consumed", 1),
        (5, "live", 2),
        (6, "live", 2),
        (8, "live", 1),
    ]
    assert "part 2/2" in run(capsys, "rows", made)[1]
    assert json.loads(run(capsys, "read", made, 3, "--json")[1]) == {
        "bank": 8,
        "row": 3,
        "seq": 1,
        "zone": "in",
        "kind": "scroll",
        "state": "live",
        "owner": "me",
        "key": "k",
        "payload": '{"n":1}',
        "at": "2023-11-14T22:13:20.000Z",
    }
    code, out, err = run(capsys, "read", made, 7)
    assert code == 3 and "row 7 of 8.png is free" in err
    assert run(capsys, "read", made, 99)[0] == 3
    assert run(capsys, "render", made, tmp_path / "drawn.png")[0] == 0
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.width > 54 * 4 and drawn.height > 40
        colours = {colour for _, colour in drawn.getcolors(100_000) or []}
        assert set(rendering.COLOURS.values()) <= colours, "the legend shows every state"
        at = rendering._MARGIN + 1, rendering._MARGIN + rendering._LINE + 3 * 4 + 1
        assert drawn.getpixel(at) == rendering._BORDER, "a zone begins at row 3"
        assert drawn.getpixel((at[0] + 8, at[1])) == rendering.COLOURS[State.LIVE]


def test_the_command_reads_the_second_row_of_a_record_as_that_record(
    made: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert command.main(["read", str(made), "6"]) == 0
    assert capfdbinary.readouterr().out == b"y" * (ROW_PAYLOAD + 1) + b"\n"


def test_the_command_checks_and_repairs(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "verify", made)[:2] == (0, f"{made}: sound\n")
    content = bytearray((made / "8.png").read_bytes())
    content[61 + 3 * 162 + 50] ^= 1
    (made / "8.png").write_bytes(content)
    code, out, _ = run(capsys, "verify", made / "8.png")
    assert code == 1 and "row 3" in out and "repair" in out
    rows = {json.loads(line)["row"] for line in run(capsys, "verify", made, "--json")[1].splitlines()}
    assert rows == {3, None}  # None: the checksum over all rows
    code, _, err = run(capsys, "read", made, 3)
    assert code == 1 and "row 3" in err
    code, out, _ = run(capsys, "repair", made / "8.png")
    assert code == 0 and "row 3: restored from the log" in out
    assert run(capsys, "verify", made)[0] == 0
    assert "nothing to repair" in run(capsys, "repair", made)[1]
    assert run(capsys, "read", made, 3)[0] == 0


def test_the_command_restores_and_replays(
    made: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (snapshot,) = made.glob("8-*.png")
    code, _, err = run(capsys, "restore", made, snapshot)
    assert code == 3 and "1 live rows would be lost" in err
    assert "1 rows restored" in run(capsys, "restore", made, snapshot, "--force")[1]
    code, out, _ = run(capsys, "replay", made)
    assert code == 0 and [line.split()[1] for line in out.splitlines()] == ["1", "2", "3", "4", "5", "6"]
    assert json.loads(run(capsys, "replay", made, "--after", 5, "--json")[1])["commit"] == 6
    code, out, _ = run(capsys, "replay", made, "--commit", 2, "--out", tmp_path / "past")
    assert code == 0 and verify(tmp_path / "past" / "8-commit-2.png") == []
    assert run(capsys, "replay", made, "--at", "2023-11-14T22:13:20Z", "--out", tmp_path / "past")[0] == 0
    assert run(capsys, "replay", made, "--at", "1", "--out", tmp_path)[0] == 3
    code, out, _ = run(capsys, "snapshot", made / "8.png")
    assert code == 0 and Path(out.strip()).exists()


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("info", "snapshot", "rows"):
        code, _, err = run(capsys, verb, tmp_path / "nothing")
        assert code != 0 and err.startswith("pxldisk: ") and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    Image.new("RGB", (3, 3)).save(tmp_path / "8.png")
    code, out, _ = run(capsys, "verify", tmp_path / "8.png")
    assert code == 1 and "8.png" in out
    code, _, err = run(capsys, "info", tmp_path / "8.png")
    assert code == 1 and "not a bank" in err


async def test_verbs_that_write_are_refused_while_the_disk_is_open(folder: Path) -> None:
    async with small(folder) as disk:
        await disk.append("in", b"x")
        assert await asyncio.to_thread(command.main, ["snapshot", str(folder)]) == 3
        assert await asyncio.to_thread(command.main, ["repair", str(folder)]) == 3
        assert await asyncio.to_thread(command.main, ["rows", str(folder)]) == 0
        with pytest.raises(pxldisk.Locked):
            await asyncio.to_thread(repair, folder)
        assert [record.ref for record in reader.look(folder).scan("in")] == [RowRef(8, 3, 1)]


def test_a_picture_number_is_part_of_the_bank(made: Path) -> None:
    shutil.copy(made / "8.png", made / "9.png")
    with pytest.raises(pxldisk.ForeignPicture):
        asyncio.run(open_and_close(made))
    assert struct.unpack_from(">H", (made / "8.png").read_bytes(), 61 + 10) == (8,)


async def open_and_close(folder: Path) -> None:
    async with small(folder):
        pass
