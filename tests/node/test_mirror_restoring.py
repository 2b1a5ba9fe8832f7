"""A lost disk comes back from a copy: whole, checked, in one step, never over rows that somebody needs."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mirror_rig import ZONES, Json, Machine, Mesh, Stranger, complete, until

from hyperpi.errors import Conflict, NotFound
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node import mirror_restoring, mirror_streams
from node.disk_policy import DiskPolicy
from pxldisk import Copy, Zone, reader, verify

pytestmark = pytest.mark.usefixtures("impatient")


def rows_of(folder: Path) -> dict[int, bytes]:
    picture = reader.look(folder).pictures[8]
    return {row: picture.row(row) for row in range(2, picture.grid.height)}


async def mirrored(mesh: Mesh, folder: Path, attic: Machine) -> dict[int, bytes]:
    """den writes and mirrors to attic, then its disk is lost; the rows that it had."""
    async with mesh.machine("den", folder) as den:
        await den.call("disk.mirror", to="attic")
        await den.write(6, keep=4)
        await until(complete(den, attic), "the copy")
    rows = rows_of(folder / "disk")
    shutil.rmtree(folder / "disk")
    return rows


def settled(den: Machine, *states: str) -> Callable[[], object]:
    async def look() -> Json | None:
        found: Json = (await den.call("disk.mirrors"))["restore"]
        return found if found["state"] in states else None

    return look


async def test_a_lost_disk_comes_back_byte_for_byte_and_goes_on(
    mesh: Mesh, tmp_path: Path, attic: Machine
) -> None:
    folder = tmp_path / "den"
    lost = await mirrored(mesh, folder, attic)
    async with mesh.machine("den", folder) as den:
        begun = await den.call("disk.restore", **{"from": "attic"})
        assert begun["from"] == "attic" and begun["total_bytes"] > 50_000
        await until(settled(den, "ready"), "the copy")
        assert den.restarts == 1
        empty = den.disk.id
    async with mesh.machine("den", folder) as den:
        report = (await den.call("disk.mirrors"))["restore"]
        assert (report["id"], report["state"], report["from"]) == (begun["restore"], "done", "attic")
        assert (report["records"], report["missing_commits"]) == (4, 0)
        assert rows_of(folder / "disk") == lost and verify(folder / "disk") == []
        kept = folder / report["kept"]
        assert reader.look(kept).superblocks[8].disk_id == empty != den.disk.id
        assert not (folder / "restoring").exists()
        await den.write(3)
        await until(complete(den, attic), "the mirror, which goes on where it was")
        held = [(copy["copy"], copy["following"]) for copy in await attic.copies()]
        assert (1, True) in held and (3, True) not in held, "it is the same history"


async def test_live_rows_are_not_given_up_without_force(mesh: Mesh, tmp_path: Path, attic: Machine) -> None:
    folder = tmp_path / "den"
    lost = await mirrored(mesh, folder, attic)
    async with mesh.machine("den", folder) as den:
        await den.write(2, keep=2)
        with pytest.raises(Conflict, match="2 live rows"):
            await den.call("disk.restore", **{"from": "attic"})
        await den.call("disk.restore", **{"from": "attic"}, force=True)
        await until(settled(den, "ready"), "the copy")
    async with mesh.machine("den", folder) as den:
        report = (await den.call("disk.mirrors"))["restore"]
        assert report["state"] == "done" and rows_of(folder / "disk") == lost
        assert len(list(reader.look(folder / report["kept"]).scan("input_scrolls", 0))) == 2


async def test_rows_that_come_while_the_copy_is_fetched_stop_it(
    mesh: Mesh, tmp_path: Path, attic: Machine
) -> None:
    folder = tmp_path / "den"
    await mirrored(mesh, folder, attic)
    async with mesh.machine("den", folder) as den:
        await den.call("disk.restore", **{"from": "attic"})
        await until(settled(den, "ready"), "the copy")
        await den.write(1, keep=1)  # acknowledged: nothing may cost it now
        present = den.disk.id
    async with mesh.machine("den", folder) as den:
        report = (await den.call("disk.mirrors"))["restore"]
        assert report["state"] == "refused" and "1 live rows" in report["reason"]
        assert den.disk.id == present and len(list(den.disk.scan("input_scrolls"))) == 1
        assert not list(folder.glob("disk.former*")) and not (folder / "restoring").exists()


async def test_the_copy_of_the_lost_disk_is_chosen_not_that_of_the_empty_one(
    mesh: Mesh, tmp_path: Path, attic: Machine
) -> None:
    folder = tmp_path / "den"
    lost = await mirrored(mesh, folder, attic)
    async with mesh.machine("den", folder) as den:
        await until(complete(den, attic), "a copy of the empty disk")
        assert [copy["copy"] for copy in await attic.copies()] == [1, 2]
        await den.call("disk.restore", **{"from": "attic"})
        await until(settled(den, "ready"), "the copy")
    async with mesh.machine("den", folder) as den:
        assert (await den.call("disk.mirrors"))["restore"]["copy"] == 1
        assert rows_of(folder / "disk") == lost


async def test_a_copy_can_be_chosen_by_its_number(mesh: Mesh, tmp_path: Path, attic: Machine) -> None:
    folder = tmp_path / "den"
    await mirrored(mesh, folder, attic)
    async with mesh.machine("den", folder) as den:
        await until(complete(den, attic), "a copy of the empty disk")
        empty = rows_of(folder / "disk")
        await den.call("disk.restore", **{"from": "attic"}, copy=2)
        await until(settled(den, "ready"), "the copy")
        with pytest.raises(Conflict, match="under way"):
            await den.call("disk.restore", **{"from": "attic"})
    async with mesh.machine("den", folder) as den:
        assert rows_of(folder / "disk") == empty


async def test_who_holds_no_copy_says_so(mesh: Mesh, tmp_path: Path, attic: Machine) -> None:
    async with mesh.machine("den", tmp_path / "den") as den:
        for wanted in ({}, {"copy": 7}):
            with pytest.raises(NotFound, match="holds no such copy"):
                await den.call("disk.restore", **{"from": "attic"}, **wanted)
        with pytest.raises(NotFound, match="no machine nowhere"):
            await den.call("disk.restore", **{"from": "nowhere"})
        mesh.machines[attic.id].up = False
        with pytest.raises(NotFound, match="is disconnected"):
            await den.call("disk.restore", **{"from": "attic"})


async def test_what_the_copy_lacked_is_told(mesh: Mesh, tmp_path: Path, attic: Machine) -> None:
    folder = tmp_path / "den"
    async with mesh.machine("den", folder) as den:
        await den.call("disk.mirror", to="attic")
        await until(complete(den, attic), "the copy")
        behind: list[mesh_pb2.Mirror] = []
        mesh.drop = lambda frame: frame.WhichOneof("body") == "piece"
        await den.write(5, keep=3)
        await until(
            lambda: mesh.bodies(den, "piece")[-1].piece.commit == den.disk.commits, "pieces, all lost"
        )
        mesh.drop = lambda frame: bool(behind)
        head = mesh.bodies(den, "piece")[-1].piece.head
        beat = mesh_pb2.Mirror(stream=mesh.carried[-1][1].stream)
        beat.head.CopyFrom(head)
        beat.node = attic.id
        mesh.carry(den, beat)
        behind.append(beat)

        async def heard() -> bool:
            return bool((await attic.copies())[0]["lag"]["commits"])

        await until(heard, "word of what it lacks")
        mesh.drop = lambda _: False
        commits = den.disk.commits
    shutil.rmtree(folder / "disk")
    (folder / "mirrors.json").unlink()
    async with mesh.machine("den", folder) as den:
        await den.call("disk.restore", **{"from": "attic"})
        await until(settled(den, "ready"), "the copy")
    async with mesh.machine("den", folder) as den:
        report = (await den.call("disk.mirrors"))["restore"]
        assert report["missing_commits"] == commits and report["heard_at"] is not None


async def test_who_asks_may_go_away_and_the_restoration_goes_on(mesh: Mesh, tmp_path: Path) -> None:
    async with mesh.machine("den", tmp_path / "den") as den:
        stranger = Stranger(mesh, "odd")
        asking = asyncio.create_task(den.call("disk.restore", **{"from": "odd"}))
        (want,) = await until(lambda: stranger.heard("want"), "the question")
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        stranger.say(den, stream=want.stream, offer={"disk": b"x" * 16})
        await until(lambda: stranger.heard("place"), "the restoration")
        stranger.say(den, stream=want.stream, end={"reason": "no more"})
        failed = await until(settled(den, "failed"), "its end")
        assert failed["reason"] == "no more"
        with pytest.raises(Conflict, match="under way"):
            await asyncio.gather(*(den.call("disk.restore", **{"from": "odd"}) for _ in range(2)))


@pytest.mark.parametrize(
    ("limit", "value", "why"),
    [("MARGIN_BYTES", -20_000, "more comes than was offered"), ("RESERVE_BYTES", 1 << 60, "no room")],
)
async def test_a_fetch_takes_no_more_than_was_offered_and_leaves_the_disk_its_room(
    mesh: Mesh,
    tmp_path: Path,
    attic: Machine,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    why: str,
) -> None:
    folder = tmp_path / "den"
    await mirrored(mesh, folder, attic)
    async with mesh.machine("den", folder) as den:
        with monkeypatch.context() as patch:
            patch.setattr(mirror_restoring, limit, value, raising=False)
            await den.call("disk.restore", **{"from": "attic"})
            failed = await until(settled(den, "failed", "ready"), "the end of it")
        assert failed["state"] == "failed" and why in failed["reason"]
        assert den.restarts == 0


@pytest.mark.parametrize("gone", ["attic", "den"])
async def test_a_fetch_that_breaks_off_leaves_the_disk_alone_and_can_be_begun_again(
    mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    monkeypatch.setattr(mirror_streams, "SILENCE_S", 0.3)
    folder = tmp_path / "den"
    async with mesh.machine("attic", tmp_path / "attic") as attic:
        lost = await mirrored(mesh, folder, attic)
        async with mesh.machine("den", folder) as den:
            present = den.disk.id
            (folder / "mirrors.json").unlink()
            await den.call("disk.mirror", to="attic", off=True)
            mesh.drop = lambda frame: frame.WhichOneof("body") == "piece"
            await den.call("disk.restore", **{"from": "attic"})
            if gone == "attic":
                attic.cut()
                report = await until(settled(den, "failed"), "the failure")
                assert report["reason"]
                attic.link()
            mesh.drop = lambda _: False
            if gone == "attic":
                await den.call("disk.restore", **{"from": "attic"})
                await until(settled(den, "ready"), "the copy")
        if gone == "den":
            async with mesh.machine("den", folder) as den:
                assert den.disk.id == present and not (folder / "restoring").exists()
                await den.call("disk.restore", **{"from": "attic"})
                await until(settled(den, "ready"), "the copy")
        async with mesh.machine("den", folder):
            assert rows_of(folder / "disk") == lost


async def test_a_copy_that_is_not_what_was_promised_is_not_put_in_place(
    mesh: Mesh, tmp_path: Path, attic: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "den"
    await mirrored(mesh, folder, attic)
    (copy,) = [Path(copy["path"]) for copy in await attic.copies()]
    segment = max((copy / "log").glob("*.pxj"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    async with mesh.machine("den", folder) as den:
        present = den.disk.id
        with pytest.raises(NotFound, match="damaged"):
            await den.call("disk.restore", **{"from": "attic"})
    async with mesh.machine("den", folder) as den:
        assert den.disk.id == present


@pytest.mark.parametrize(
    "shape", [DiskPolicy(width=128), DiskPolicy(height=128), DiskPolicy(zones={"input_scrolls": Zone(9, 20)})]
)
async def test_a_copy_that_the_node_could_not_start_with_is_refused(
    mesh: Mesh, tmp_path: Path, attic: Machine, shape: DiskPolicy
) -> None:
    folder = tmp_path / "den"
    await mirrored(mesh, folder, attic)
    async with mesh.machine("den", folder) as den:
        den.shape = shape
        await den.call("disk.restore", **{"from": "attic"})
        failed = await until(settled(den, "failed"), "the refusal")
        assert "node.toml" in failed["reason"]
        assert den.restarts == 0
        den.shape = DiskPolicy(width=256, height=64, zones=ZONES)
        await den.call("disk.restore", **{"from": "attic"})
        await until(settled(den, "ready"), "the copy")


async def test_nobody_gets_a_stream_that_it_did_not_ask_for(mesh: Mesh, tmp_path: Path) -> None:
    async with mesh.machine("den", tmp_path / "den") as den:
        stranger = Stranger(mesh, "odd")
        stranger.say(den, start={"anew": True})
        stranger.say(den, piece={"kind": 1, "segment": 1, "bank": 8, "content": b"x"})
        assert await until(stranger.ends, "an end")
        assert not (den.folder / "restoring").exists() and await den.copies() == []


# --- at a start ------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The power goes."""


@pytest.fixture
async def fetched(mesh: Mesh, tmp_path: Path) -> tuple[Path, dict[int, bytes]]:
    """A node's folder with an empty disk and a copy that is ready, and the rows of that."""
    folder = tmp_path / "den"
    async with mesh.machine("attic", tmp_path / "attic") as attic:
        lost = await mirrored(mesh, folder, attic)
        async with mesh.machine("den", folder) as den:
            await den.call("disk.restore", **{"from": "attic"})
            await until(settled(den, "ready"), "the copy")
    return folder, lost


@pytest.mark.parametrize("step", range(1, 7))
async def test_a_start_that_dies_anywhere_is_finished_by_the_next(
    fetched: tuple[Path, dict[int, bytes]], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    folder, lost = fetched
    before = rows_of(folder / "disk")
    done = 0

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def counted(*given: object, **named: object) -> object:
            nonlocal done
            done += 1
            if done == step:
                raise Crash
            return real(*given, **named)

        return counted

    with monkeypatch.context() as patch:
        patch.setattr(mirror_restoring.os, "rename", dying(os.rename))
        patch.setattr(mirror_restoring.shutil, "rmtree", dying(shutil.rmtree))
        files = mirror_restoring.private_file
        patch.setattr(files, "sync_folder", dying(files.sync_folder))
        patch.setattr(files, "write_private", dying(files.write_private))
        with pytest.raises(Crash):
            mirror_restoring.finish(folder)
    found = [rows_of(path) for path in (folder / "disk", folder / "restoring" / "disk") if path.exists()]
    assert lost in found, "the copy is there, at one place or the other"
    report = mirror_restoring.finish(folder)
    assert report is not None and report.state == "done"
    assert rows_of(folder / "disk") == lost and rows_of(folder / report.kept) == before
    assert not (folder / "restoring").exists()
    assert mirror_restoring.finish(folder) == report


async def test_a_disk_that_cannot_be_read_is_put_aside_with_force_alone(
    fetched: tuple[Path, dict[int, bytes]],
) -> None:
    folder, _ = fetched
    (folder / "disk" / "8.png").write_bytes(b"no picture")
    report = mirror_restoring.finish(folder)
    assert report is not None and report.state == "refused"
    assert report.reason is not None and "cannot be read" in report.reason


async def test_a_disk_that_is_gone_altogether_is_no_obstacle(fetched: tuple[Path, dict[int, bytes]]) -> None:
    folder, lost = fetched
    shutil.rmtree(folder / "disk")
    report = mirror_restoring.finish(folder)
    assert report is not None and report.state == "done" and rows_of(folder / "disk") == lost


@pytest.mark.parametrize(
    ("age_s", "below"), [(-3600.0, 42), (0.0, 42), (30 * 86_400.0, 42), (30 * 86_400.0 + 1, 0)]
)
def test_records_of_a_copy_are_doubtful_for_a_month_and_when_the_clock_was_set_back(
    age_s: float, below: int
) -> None:
    at = 2e9
    report = mirror_restoring.Report("r", "attic", 1, "", 5, 3, 42, 0, 0.0, at, False, "", at, "done")
    assert report.doubtful_below(at + age_s) == below


async def test_what_was_half_fetched_is_cleared_at_a_start(tmp_path: Path) -> None:
    Copy(tmp_path / "restoring" / "disk").close()
    assert mirror_restoring.finish(tmp_path) is None
    assert not (tmp_path / "restoring").exists()
