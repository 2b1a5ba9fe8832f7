"""What a program sees of a disk: real files, a real writer thread."""

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import pytest
from disk_rig import ROW_PAYLOAD, payloads, small
from PIL import Image

import pxldisk
from pxldisk import Append, Consume, Disk, State, Zone


async def test_an_appended_record_is_read_back_and_is_there_after_opening_again(folder: Path) -> None:
    async with Disk.open(folder) as disk:
        ref = await disk.append("input_scrolls", b'{"to":"frontend"}', kind="scroll", owner="a1", key="s1")
        record = disk.read(ref)
        assert (record.payload, record.kind, record.owner, record.key, record.state) == (
            b'{"to":"frontend"}',
            "scroll",
            "a1",
            "s1",
            State.LIVE,
        )
        assert (ref.bank, ref.row, ref.seq) == (8, 9, 1)
    async with Disk.open(folder) as disk:
        assert disk.read(ref) == record
        assert list(disk.scan("input_scrolls")) == [record]


async def test_opening_may_be_awaited_or_entered(folder: Path) -> None:
    disk = await small(folder)
    await disk.append("in", b"one")
    await disk.close()
    await disk.close()
    async with small(folder) as disk:
        assert payloads(disk) == [b"one"]
    with pytest.raises(pxldisk.DiskClosed):
        await disk.append("in", b"two")
    for operation in (disk.checkpoint, disk.snapshot, disk.verify, disk.steps):
        with pytest.raises(pxldisk.DiskClosed):
            await operation()
    assert [change async for change in disk.watch()] == []


async def test_any_image_tool_opens_the_picture_while_it_is_written(folder: Path) -> None:
    async with Disk.open(folder) as disk:
        for number in range(30):
            await disk.append("input_scrolls", b"x" * number * 7)
            with Image.open(io.BytesIO(disk.png(8))) as picture:
                picture.load()
                assert (picture.mode, picture.size) == ("RGB", (256, 256))
    with Image.open(folder / "8.png") as picture:
        picture.load()
        start = picture.tobytes()[9 * 768 :]
    assert start[:2] == b"\x50\xe0"


async def test_pixels_are_the_rows(folder: Path) -> None:
    async with Disk.open(folder) as disk:
        pixels = disk.pixels(8)
        ref = await disk.append("input_scrolls", b"hello")
        assert pixels.shape == (256, 256, 3)
        assert pixels[ref.row].tobytes()[49:54] == b"hello"
        assert not pixels[ref.row + 1].any()
        with pytest.raises(ValueError):
            pixels[0, 0, 0] = 1


@pytest.mark.parametrize("size", [0, 1, ROW_PAYLOAD - 1, ROW_PAYLOAD, ROW_PAYLOAD + 1, 5 * ROW_PAYLOAD])
async def test_a_payload_of_any_size_that_fits_the_zone_comes_back(folder: Path, size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    async with small(folder) as disk:
        ref = await disk.append("in", payload)
        assert disk.read(ref).payload == payload
    async with small(folder) as disk:
        assert disk.read(ref).payload == payload
        await disk.consume(ref)
        assert disk.read(ref).payload == payload
        assert disk.stats().zones["in"].free == 5


async def test_what_can_never_fit_is_refused_at_once(folder: Path) -> None:
    async with small(folder) as disk:
        with pytest.raises(pxldisk.RowTooLarge) as refused:
            await disk.append("in", b"x" * (5 * ROW_PAYLOAD + 1))
        assert refused.value.limit == 5 * ROW_PAYLOAD
        with pytest.raises(pxldisk.RowTooLarge):
            await disk.append("in", b"", owner="o" * 100, key="k" * 100)
        with pytest.raises(pxldisk.UnknownZone):
            await disk.append("nowhere", b"")
        for wrong in ({"kind": ""}, {"kind": "seventeen letters"}, {"kind": "é"}, {"owner": ""}, {"key": ""}):
            with pytest.raises(ValueError):
                await disk.append("in", b"", **wrong)
        for wrong_type in ("text", 5):
            with pytest.raises(TypeError):
                await disk.append("in", wrong_type)  # type: ignore[arg-type]
        assert disk.stats().zones["in"].free == 5
        assert (await disk.append("in", bytearray(b"bytes alike"))).row == 3


async def test_consumed_rows_keep_their_bytes_until_they_are_used_again_in_ring_order(folder: Path) -> None:
    async with small(folder) as disk:
        refs = [await disk.append("in", f"{n}".encode()) for n in range(5)]
        assert [ref.row for ref in refs] == [3, 4, 5, 6, 7]
        await disk.consume(refs[1])
        await disk.consume(refs[0])
        assert disk.read(refs[0]).state is State.CONSUMED
        assert disk.read(refs[0]).payload == b"0"
        assert (await disk.append("in", b"again")).row == 3
        with pytest.raises(pxldisk.StaleRef):
            disk.read(refs[0])
        assert disk.read(refs[1]).state is State.CONSUMED
    async with small(folder) as disk:
        assert disk.read(refs[1]).payload == b"1"
        assert (await disk.append("in", b"next")).row == 4


async def test_a_live_row_is_never_overwritten(folder: Path) -> None:
    async with small(folder) as disk:
        for number in range(5):
            await disk.append("in", f"{number}".encode())
        with pytest.raises(pxldisk.ZoneFull) as full:
            await disk.append("in", b"too much")
        assert full.value.zone == "in" and full.value.oldest_age_s >= 0 and full.value.retry
        assert payloads(disk) == [b"0", b"1", b"2", b"3", b"4"]
        assert (await disk.append("out", b"other zones have room")).row == 8


async def test_a_full_zone_says_how_long_its_oldest_row_has_waited(folder: Path) -> None:
    now = 1_700_000_000.0
    async with small(folder, clock=lambda: now) as disk:
        await disk.append("in", b"x" * 5 * ROW_PAYLOAD)
        now += 90
        with pytest.raises(pxldisk.ZoneFull) as full:
            await disk.append("in", b"")
        assert full.value.oldest_age_s == 90
        now -= 7200
        assert disk.stats().zones["in"].oldest_age_s == 0


async def test_waiting_for_room_ends_when_a_row_is_consumed(folder: Path) -> None:
    async with small(folder) as disk:
        refs = [await disk.append("in", b"") for _ in range(5)]
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(disk.wait_free("in", timeout_s=30))
            await asyncio.sleep(0)
            assert not waiting.done()
            await disk.consume(refs[2])
        await disk.append("in", b"fits")


async def test_waiting_for_room_has_an_end(folder: Path) -> None:
    async with small(folder) as disk:
        await disk.wait_free("in", timeout_s=0)
        ref = await disk.append("in", b"x" * 5 * ROW_PAYLOAD)
        with pytest.raises(pxldisk.ZoneFull):
            await disk.wait_free("in", timeout_s=0.01)
        waiting = asyncio.create_task(disk.wait_free("in"))
        await asyncio.sleep(0)
        await disk.close()
        with pytest.raises(pxldisk.DiskClosed):
            await waiting
    assert ref.seq == 1


async def test_who_gave_up_waiting_for_room_is_forgotten(folder: Path) -> None:
    async with small(folder) as disk:
        await disk.append("in", b"x" * 5 * ROW_PAYLOAD)
        for _ in range(20):
            with pytest.raises(pxldisk.ZoneFull):
                await disk.wait_free("in", timeout_s=0)
        assert not any(disk._wanting.values())


async def test_waiting_for_more_rows_than_the_zone_has_is_refused_at_once(folder: Path) -> None:
    async with small(folder) as disk, asyncio.timeout(20):
        with pytest.raises(ValueError, match="6 rows: zone 'in' has 5"):
            await disk.wait_free("in", rows=6)


async def test_a_commit_is_all_or_nothing(folder: Path) -> None:
    async with small(folder, clock=lambda: 1.7e9) as disk:
        first = await disk.append("in", b"first")
        refs = await disk.commit(
            [Consume(first), Append("out", b"answer", kind="opcode"), Append("in", b"2")]
        )
        assert refs[0] is None and refs[1] is not None and disk.read(refs[1]).kind == "opcode"
        before = disk.stats().zones
        with pytest.raises(pxldisk.ZoneFull):
            await disk.commit([Consume(refs[1]), Append("in", b"3"), Append("out", b"x" * 2 * ROW_PAYLOAD)])
        assert disk.stats().zones == before
        await disk.commit([Consume(refs[1]), Append("in", b"3")])
        assert payloads(disk) == [b"2", b"3"]


async def test_a_record_is_consumed_once(folder: Path) -> None:
    async with small(folder) as disk:
        ref = await disk.append("in", b"once")
        outcomes = await asyncio.gather(disk.consume(ref), disk.consume(ref), return_exceptions=True)
        assert outcomes[0] is None and isinstance(outcomes[1], pxldisk.StaleRef)
        with pytest.raises(pxldisk.StaleRef):
            await disk.commit([Consume(ref)])


async def test_a_key_stores_once_even_after_its_row_was_used_again(folder: Path) -> None:
    async with small(folder) as disk:
        first, again = await asyncio.gather(*(disk.append("in", b"v", key="same") for _ in range(2)))
        assert first == again and payloads(disk) == [b"v"]
        refs = await disk.commit([Append("in", b"1", key="k"), Append("in", b"2", key="k")])
        assert refs[0] == refs[1]
        await disk.consume(first)
        for _ in range(9):
            await disk.consume(await disk.append("in", b"filler"))
        assert await disk.append("in", b"other", key="same") == first
        assert disk.ref_of("same") == first and disk.ref_of("unknown") is None
    for _ in range(2):
        async with small(folder) as disk:
            assert await disk.append("in", b"other", key="same") == first


async def test_only_the_newest_keys_are_kept(folder: Path) -> None:
    async with small(folder, keep_keys=3) as disk:
        for number in range(5):
            await disk.consume(await disk.append("in", b"", key=f"k{number}"))
        assert [disk.ref_of(f"k{number}") is not None for number in range(5)] == [
            False,
            False,
            True,
            True,
            True,
        ]


async def test_a_zone_given_to_one_owner_takes_nobody_elses_records(folder: Path) -> None:
    zones = {"junior": Zone(2, 4, owner="junior"), "rest": Zone(5, 9)}
    async with small(folder, zones=zones) as disk:
        await disk.append("junior", b"mine", owner="junior")
        for other in (None, "somebody"):
            with pytest.raises(pxldisk.ZoneOwned):
                await disk.append("junior", b"", owner=other)
    async with small(folder, zones=zones) as disk:
        assert disk.zones["junior"] == Zone(2, 4, "junior")


async def test_scanning_goes_on_after_a_sequence_number(folder: Path) -> None:
    async with small(folder) as disk:
        refs = [await disk.append("in", f"{n}".encode()) for n in range(4)]
        assert [record.ref for record in disk.scan("in", after=refs[1].seq)] == refs[2:]
        scanning = disk.scan("in")
        next(scanning)
        await disk.consume(refs[2])
        assert [record.payload for record in scanning] == [b"1", b"3"]
        with pytest.raises(pxldisk.UnknownZone):
            disk.scan("nowhere")


async def test_watchers_see_each_changed_row_and_the_slow_ones_its_latest_state(folder: Path) -> None:
    async with small(folder) as disk:
        prompt, slow = disk.watch(), disk.watch()
        ref = await disk.append("in", b"x" * (ROW_PAYLOAD + 1), kind="scroll")
        changes = await anext(prompt)
        assert {(c.bank, c.row, c.state, c.kind, c.seq) for c in changes} == {
            (8, 3, State.LIVE, "scroll", 1),
            (8, 4, State.LIVE, "scroll", 1),
        }
        for _ in range(20):
            await disk.consume(ref)
            ref = await disk.append("in", b"y")
        latest = await anext(slow)
        assert len(latest) == 5
        assert next(c for c in latest if c.row == ref.row).seq == ref.seq
    assert [c async for c in slow] == []


async def test_every_record_appended_at_once_is_stored_in_order(folder: Path) -> None:
    async with Disk.open(folder) as disk:
        refs = await asyncio.gather(*(disk.append("input_scrolls", f"{n}".encode()) for n in range(150)))
        assert [ref.seq for ref in refs] == list(range(1, 151))
        assert [int(record.payload) for record in disk.scan("input_scrolls")] == list(range(150))
        assert disk.stats().commits == 150


async def test_a_cancelled_caller_leaves_the_disk_in_order(folder: Path) -> None:
    async with small(folder) as disk:
        task = asyncio.create_task(disk.append("in", b"perhaps", key="k"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ref = await disk.append("in", b"perhaps", key="k")
        assert payloads(disk) == [b"perhaps"] and disk.ref_of("k") == ref
        assert disk.stats().in_flight == 0


async def test_rows_describe_what_an_inspector_shows(folder: Path) -> None:
    async with small(folder) as disk:
        ref = await disk.append("in", b"x" * (ROW_PAYLOAD + 5), kind="scroll", owner="me")
        rows = disk.rows(8, 0, 5)
        assert [row.row for row in rows] == [0, 1, 2, 3, 4, 5]
        assert (rows[0].kind, rows[2].state, rows[2].zone) == ("superblock", State.FREE, "system")
        assert (rows[3].part, rows[3].parts, rows[4].part, rows[4].size) == (0, 2, 1, 7)
        assert (rows[3].owner, rows[3].seq, rows[5].state) == ("me", ref.seq, State.FREE)
        assert len(disk.rows(8)) == 10


async def test_a_second_writer_is_told_who_holds_the_disk(folder: Path) -> None:
    async with small(folder):
        with pytest.raises(pxldisk.Locked) as locked:
            await small(folder)
        program = (
            "import asyncio, sys, pxldisk\n"
            "async def main():\n"
            "    try: await pxldisk.Disk.open(sys.argv[1])\n"
            "    except pxldisk.Locked as error: print(error.holder)\n"
            "asyncio.run(main())\n"
        )
        run = [sys.executable, "-c", program, str(folder)]
        found = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True, check=True)
        assert int(found.stdout) == locked.value.holder
    async with small(folder):
        pass


async def test_size_and_zones_are_fixed_when_a_disk_is_made(folder: Path) -> None:
    async with small(folder):
        pass
    for other in ({"width": 49}, {"height": 11}, {"zones": {"in": Zone(2, 9)}}):
        with pytest.raises(pxldisk.WrongShape):
            await small(folder, **other)
    async with Disk.open(folder) as disk:
        assert (disk.stats().width, disk.stats().height) == (48, 10)


@pytest.mark.parametrize(
    "zones",
    [{}, {"a": (0, 1)}, {"a": (2, 10)}, {"a": (5, 4)}, {"a": (2, 5), "b": (5, 6)}, {"n" * 33: (2, 3)}],
)
async def test_zones_that_cannot_be_are_refused(folder: Path, zones: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(ValueError):
        await small(folder, zones=zones)


async def test_several_banks_are_used_one_after_the_other(folder: Path) -> None:
    async with small(folder, max_banks=3) as disk:
        refs = await asyncio.gather(*(disk.append("in", f"{n}".encode()) for n in range(15)))
        assert [ref.bank for ref in refs] == [8] * 5 + [9] * 5 + [10] * 5
        with pytest.raises(pxldisk.ZoneFull):
            await disk.append("in", b"")
        await disk.consume(refs[7])
        assert await disk.append("in", b"back") == pxldisk.RowRef(9, refs[7].row, 16)
        assert [path.name for path in await disk.snapshot()] == sorted(
            (path.name for path in folder.glob("*-*.png")), key=lambda name: int(name.split("-")[0])
        )
    async with small(folder, max_banks=3) as disk:
        assert disk.stats().banks == (8, 9, 10)
        assert [int(p) for p in payloads(disk)[:-1]] == [n for n in range(15) if n != 7]


async def test_the_write_path_imports_neither_numpy_nor_pillow() -> None:
    program = "import sys, pxldisk; print([m for m in ('numpy', 'PIL') if m in sys.modules])"
    run = [sys.executable, "-c", program]
    found = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
