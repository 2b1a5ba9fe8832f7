"""Mirrors of real disks over a small mesh in memory: followed, interrupted, refused, given back."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mirror_rig import Json, Machine, Mesh, Stranger, complete, reads_state, until

from hyperpi.errors import BadRequest, Conflict, NodeUnreachable, NotFound
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node import mirror_copies, mirror_streams
from node.mirror_flow import WINDOW_BYTES
from node.mirror_policy import MirrorPolicy
from pxldisk import Disk, reader, verify
from pxldisk.history import past_state

pytestmark = pytest.mark.usefixtures("impatient")


def rows_of(folder: Path) -> dict[int, bytes]:
    """Every row of a disk's first bank, as opening it would show it."""
    picture = reader.look(folder).pictures[8]
    return {row: picture.row(row) for row in range(2, picture.grid.height)}


async def newest_copy(holder: Machine) -> Path:
    return Path((await holder.copies())[-1]["path"])


async def test_a_copy_follows_its_disk_and_says_how_far_it_is(den: Machine, attic: Machine) -> None:
    await den.write(5, keep=2)
    await den.call("disk.mirror", to="attic")
    await until(complete(den, attic), "the first copy")
    await den.write(20)
    await until(complete(den, attic), "what was written since")

    async def acknowledged() -> Json | None:
        mirror = await den.mirror()
        return mirror if mirror["commit"] == den.disk.commits else None

    mirror = await until(acknowledged, "the acknowledgement")
    assert (mirror["state"], mirror["name"]) == ("following", "attic")
    assert mirror["lag"] == {"commits": 0, "bytes": 0, "seconds": 0.0}
    (copy,) = await attic.copies()
    assert (copy["of"], copy["name"], copy["whole"], copy["following"]) == ("n-den", "den", True, True)
    assert copy["lag"] == {"commits": 0, "bytes": 0, "seconds": 0.0} and copy["disk"] == str(den.disk.id)
    assert verify(Path(copy["path"])) == []
    assert rows_of(Path(copy["path"])) == rows_of(den.folder / "disk")


async def test_each_byte_of_the_log_is_sent_once_over_links_that_come_and_go(
    mesh: Mesh, den: Machine, attic: Machine
) -> None:
    await den.call("disk.mirror", to="attic")
    await until(complete(den, attic), "the first copy")
    first = mesh.sent_bytes(den)
    for cut in (den, attic, den):
        cut.cut()
        start = den.disk.log_bytes
        await den.write(10)
        cut.link()
        den.mirrors.node_back("attic")
        await until(complete(den, attic), "the rest")
        sent, new = mesh.sent_bytes(den) - first, den.disk.log_bytes - start
        assert sent == new or (cut is attic and sent <= new + WINDOW_BYTES)  # what it was sent while away
        first = mesh.sent_bytes(den)
    assert len(await attic.copies()) == 1


async def test_frames_that_are_lost_cost_time_and_nothing_else(
    mesh: Mesh, den: Machine, attic: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror_streams, "SILENCE_S", 0.2)
    monkeypatch.setattr(mirror_streams, "PLACE_S", 0.2)
    lost = 0

    def drop(frame: mesh_pb2.Mirror) -> bool:
        nonlocal lost
        lost += 1
        return lost % 3 == 0

    mesh.drop = drop
    await den.write(20, keep=5)
    await den.call("disk.mirror", to="attic")
    await until(lambda: lost > 30, "some losses")
    mesh.drop = lambda _: False
    await until(complete(den, attic), "the copy")
    assert rows_of(await newest_copy(attic)) == rows_of(den.folder / "disk")
    assert verify(await newest_copy(attic)) == []


async def test_a_receiver_that_stores_nothing_is_sent_no_more_than_a_window(
    mesh: Mesh, den: Machine, attic: Machine
) -> None:
    mesh.drop = lambda frame: frame.WhichOneof("body") == "ack"
    await den.write(400, 2000)
    await den.call("disk.mirror", to="attic")
    await until(lambda: mesh.sent_bytes(den) > WINDOW_BYTES - 65_536, "a full window")
    await den.write(100, 2000)
    assert mesh.sent_bytes(den) <= WINDOW_BYTES
    assert (await den.mirror())["lag"]["commits"] > 0


async def test_all_mirrors_together_keep_to_the_budget(mesh: Mesh, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    policy = MirrorPolicy(rate=200 << 10)
    async with (
        mesh.machine("den", tmp_path / "den", policy) as den,
        mesh.machine("attic", tmp_path / "attic") as attic,
        mesh.machine("cellar", tmp_path / "cellar") as cellar,
    ):
        await den.write(100, 1500, keep=5)
        began = loop.time()
        for name in ("attic", "cellar"):
            await den.call("disk.mirror", to=name)
        for holder in (attic, cellar):
            await until(complete(den, holder), holder.name)
        took_s = loop.time() - began
        # Counted in bytes: so much could not have been sent in that time at a higher rate.
        assert mesh.sent_bytes(den) > 300 << 10
        assert mesh.sent_bytes(den) <= policy.rate * (took_s + 0.25) + 65_536


async def test_a_mirror_outlives_a_restart_of_either_end(mesh: Mesh, tmp_path: Path) -> None:
    async with mesh.machine("attic", tmp_path / "attic"), mesh.machine("den", tmp_path / "den") as den:
        await den.call("disk.mirror", to="attic")
        await den.write(3, keep=1)
        await until(complete(den, mesh.machines["n-attic"]), "the copy")
    async with mesh.machine("den", tmp_path / "den") as den:
        await den.write(3)
        paused = await until(reads_state(den, "paused"), "a holder that is away")
        assert "n-attic is disconnected" in paused["reason"]
        async with mesh.machine("attic", tmp_path / "attic") as attic:
            assert (await attic.copies())[0]["lag"]["commits"] == 0, "as last heard"
            await until(complete(den, attic), "the copy, gone on with")
            assert len(await attic.copies()) == 1


async def test_a_mirror_that_is_off_stays_off_and_its_copy_stays(mesh: Mesh, tmp_path: Path) -> None:
    async with mesh.machine("attic", tmp_path / "attic") as attic:
        async with mesh.machine("den", tmp_path / "den") as den:
            await den.call("disk.mirror", to="attic")
            await until(complete(den, attic), "the copy")
            await den.call("disk.mirror", to="attic", off=True)
            assert (await den.call("disk.mirrors"))["mirrors"] == []
            with pytest.raises(NotFound):
                await den.call("disk.mirror", to="attic", off=True)
            await until(lambda: not attic.mirrors.holding._following, "the end of the stream")
        async with mesh.machine("den", tmp_path / "den") as den:
            await den.write(3)
            assert (await den.call("disk.mirrors"))["mirrors"] == []
        assert [copy["following"] for copy in await attic.copies()] == [False]


async def test_a_pruned_place_begins_another_copy_and_the_old_one_stays_until_that_is_whole(
    mesh: Mesh, tmp_path: Path
) -> None:
    options = {"segment_bytes": 20_000, "keep_log_bytes": 1}
    async with (
        mesh.machine("attic", tmp_path / "attic") as attic,
        mesh.machine("den", tmp_path / "den", **options) as den,
    ):
        await den.call("disk.mirror", to="attic")
        await den.write(3, keep=1)
        await until(complete(den, attic), "the first copy")
        attic.cut()
        await den.write(100, 400)
        mesh.drop = lambda frame: frame.WhichOneof("body") == "piece" and frame.piece.kind == 3
        attic.link()
        den.mirrors.node_back("attic")
        await until(lambda: _has(attic, 2), "another copy")
        old, new = await attic.copies()
        assert (old["whole"], new["whole"]) == (True, False) and verify(Path(old["path"])) == []
        mesh.drop = lambda _: False
        den.cut()
        den.link()
        await until(complete(den, attic), "the second copy")
        assert [copy["whole"] for copy in await attic.copies()] == [True, True]
        assert rows_of(await newest_copy(attic)) == rows_of(den.folder / "disk")


async def _has(machine: Machine, copies: int) -> bool:
    return len(await machine.copies()) == copies


async def test_another_disk_under_the_same_name_never_touches_the_copy_of_the_first(
    mesh: Mesh, tmp_path: Path
) -> None:
    async with mesh.machine("attic", tmp_path / "attic") as attic:
        async with mesh.machine("den", tmp_path / "den") as den:
            await den.call("disk.mirror", to="attic")
            await den.write(4, keep=3)
            await until(complete(den, attic), "the copy")
            lost = rows_of(tmp_path / "den" / "disk")
        shutil.rmtree(tmp_path / "den" / "disk")
        async with mesh.machine("den", tmp_path / "den") as den:
            await den.write(2)
            await until(complete(den, attic), "the copy of the new disk")
            first, second = await attic.copies()
            assert first["disk"] != second["disk"] == str(den.disk.id)
            assert rows_of(Path(first["path"])) == lost


async def test_a_disk_that_went_on_from_an_older_state_begins_another_copy(
    mesh: Mesh, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    async with mesh.machine("attic", tmp_path / "attic") as attic:
        async with mesh.machine("den", tmp_path / "den") as den:
            await den.write(2, keep=2)
            await den.call("disk.mirror", to="attic")
            await until(complete(den, attic), "the copy")
        shutil.copytree(tmp_path / "den" / "disk", older)
        async with mesh.machine("den", tmp_path / "den") as den:
            await den.write(6, keep=6)
            await until(complete(den, attic), "the copy")
            life = rows_of(tmp_path / "den" / "disk")
        shutil.rmtree(tmp_path / "den" / "disk")
        older.rename(tmp_path / "den" / "disk")
        async with mesh.machine("den", tmp_path / "den") as den:
            await den.write(30, 300, keep=20)
            await until(complete(den, attic), "the copy of the other life")
            first, second = await attic.copies()
            assert first["disk"] == second["disk"]
            assert rows_of(Path(first["path"])) == life
            assert rows_of(Path(second["path"])) == rows_of(tmp_path / "den" / "disk")


async def test_the_copies_of_lost_disks_stay_however_many_follow(mesh: Mesh, tmp_path: Path) -> None:
    async with mesh.machine("attic", tmp_path / "attic") as attic:
        for life in range(5):
            async with mesh.machine("den", tmp_path / "den") as den:
                if life == 0:
                    await den.call("disk.mirror", to="attic")
                await den.write(1)
                await until(complete(den, attic), f"the copy of life {life}")
            shutil.rmtree(tmp_path / "den" / "disk")
        assert [copy["copy"] for copy in await attic.copies()] == [1, 2, 3, 4, 5]


async def test_a_machine_that_holds_no_copies_refuses_and_can_change_its_mind(
    den: Machine, attic: Machine
) -> None:
    attic.policy = replace(attic.policy, accept=False)
    await den.call("disk.mirror", to="attic")
    paused = await until(reads_state(den, "paused"), "a refusal")
    assert "does not hold copies" in paused["reason"]
    attic.policy = replace(attic.policy, accept=True)
    await until(complete(den, attic), "the copy")
    attic.policy = replace(attic.policy, accept=False)
    await den.write(1)
    await until(reads_state(den, "paused"), "an end in the middle")
    assert len(await attic.copies()) == 1


async def test_a_machine_holds_no_more_than_its_owner_allows(den: Machine, attic: Machine) -> None:
    attic.policy = replace(attic.policy, max_bytes=300_000)  # a copy of this small disk takes 130,000
    await den.call("disk.mirror", to="attic")
    await until(complete(den, attic), "the copy")
    before = den.disk.commits
    await den.write(100, 500)
    paused = await until(reads_state(den, "paused"), "a full machine")
    assert "bytes for one machine's copies are used there" in paused["reason"]
    assert den.disk.commits == before + 200, "the source has not noticed"
    copy = await newest_copy(attic)
    assert mirror_copies.size(copy) <= 150_000 and verify(copy) == []
    attic.policy = replace(attic.policy, max_bytes=1 << 30)
    await until(complete(den, attic), "the rest, once there is room")


async def test_a_full_machine_pauses_a_mirror_rather_than_drop_the_copy_of_a_lost_disk(
    mesh: Mesh, tmp_path: Path
) -> None:
    policy = MirrorPolicy(max_bytes=360_000, rate=1 << 30)  # a copy of this small disk takes 100,000
    async with mesh.machine("attic", tmp_path / "attic", policy) as attic:
        async with mesh.machine("den", tmp_path / "den") as den:
            await den.call("disk.mirror", to="attic")
            await den.write(1, keep=1)
            await until(complete(den, attic), "the copy")
            lost = rows_of(tmp_path / "den" / "disk")
        shutil.rmtree(tmp_path / "den" / "disk")
        async with mesh.machine("den", tmp_path / "den") as den:
            paused = await until(reads_state(den, "paused"), "a full machine")
            assert "bytes for one machine's copies are used there" in paused["reason"]
            first = (await attic.copies())[0]
            assert first["whole"] and rows_of(Path(first["path"])) == lost


@pytest.fixture
def small_file_system(tmp_path: Path) -> Iterator[Path]:
    """One of 2 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = Path(tempfile.mkdtemp(prefix="hp-tmpfs-", dir=tmp_path))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=False)
    if mounted.returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_a_full_file_system_pauses_a_mirror_and_the_disk_goes_on(
    mesh: Mesh, tmp_path: Path, small_file_system: Path
) -> None:
    (tmp_path / "attic").mkdir()
    (tmp_path / "attic" / "mirrors").symlink_to(small_file_system)
    async with (
        mesh.machine("attic", tmp_path / "attic") as attic,
        mesh.machine("den", tmp_path / "den") as den,
    ):
        await den.call("disk.mirror", to="attic")
        paused = await until(reads_state(den, "paused"), "the reserve")
        assert "bytes left" in paused["reason"]
        attic.mirrors.holding.copies.reserve_bytes = 0
        await until(complete(den, attic), "the copy")
        filler = small_file_system / "filler"
        with pytest.raises(OSError, match="No space"), filler.open("wb") as file:
            file.write(bytes(4 << 20))
        await den.write(200, 500)
        paused = await until(reads_state(den, "paused"), "the full file system")
        assert "full" in paused["reason"] or "bytes left" in paused["reason"]
        copy = await newest_copy(attic)
        assert verify(copy) == []
        filler.unlink()
        await until(complete(den, attic), "the rest")
        assert rows_of(copy) == rows_of(tmp_path / "den" / "disk")


async def test_what_is_mirrored_and_to_whom_is_checked(den: Machine, attic: Machine) -> None:
    with pytest.raises(NotFound):
        await den.call("disk.mirror", to="nowhere")
    with pytest.raises(BadRequest):
        await den.call("disk.mirror", to="den")
    attic.up = False
    with pytest.raises(NodeUnreachable):
        await attic.call("disk.mirror", to="den")


async def test_a_copy_is_dropped_when_its_holder_wants_to_but_not_while_it_is_fed(
    den: Machine, attic: Machine
) -> None:
    await den.call("disk.mirror", to="attic")
    await until(complete(den, attic), "the copy")
    with pytest.raises(Conflict):
        await attic.call("disk.drop", of="den")
    await den.call("disk.mirror", to="attic", off=True)
    await until(lambda: not attic.mirrors.holding._following, "the end of the stream")
    copy = await newest_copy(attic)
    await attic.call("disk.drop", of="den")
    assert await attic.copies() == [] and not copy.exists()
    with pytest.raises(NotFound):
        await attic.call("disk.drop", of="den")


@pytest.mark.parametrize(
    "body",
    [
        {"offer": {"disk": b"short"}},
        {"offer": {"disk": b"x" * 16, "head": {"at": float("nan")}}},
        {"offer": {"disk": b"x" * 16, "head": {"commit": 2**63 + 5}}},
    ],
)
async def test_nonsense_from_the_wire_ends_the_stream_and_nothing_else(
    mesh: Mesh, attic: Machine, body: dict[str, object]
) -> None:
    stranger = Stranger(mesh, "odd")
    stranger.say(attic, **body)
    assert await until(stranger.ends, "an end")
    assert await attic.copies() == [] and not attic.mirrors._streams


@pytest.mark.parametrize(
    "piece",
    [
        {"kind": 9, "segment": 1, "content": b"x"},
        {"kind": 3, "segment": 1, "content": b"x"},
        {"kind": 1, "segment": 1, "bank": 8, "content": b"x" * 100},
        {"kind": 2, "segment": 1, "content": b"x" * 100},
        {"kind": 1, "segment": 0, "content": b"x"},
        {"kind": 1, "segment": 1, "content": b""},
        {"kind": 1, "segment": 1, "bank": 8, "more": True, "content": b"x" * 65_537},
    ],
)
async def test_pieces_that_are_no_pieces_are_refused(
    mesh: Mesh, attic: Machine, piece: dict[str, object]
) -> None:
    stranger = Stranger(mesh, "odd")
    stranger.say(attic, offer={"disk": b"x" * 16})
    stranger.say(attic, start={"anew": True})
    stranger.say(attic, piece=piece)
    assert await until(stranger.ends, "an end")
    assert [copy["whole"] for copy in await attic.copies()] in ([], [False])


async def test_a_copy_is_found_by_the_proven_sender_and_by_nothing_that_was_said(
    mesh: Mesh, den: Machine, attic: Machine, tmp_path: Path
) -> None:
    evil = mesh_pb2.Mirror(node="../../etc", name="../den", stream=5, offer={"disk": b"x" * 16})
    attic.mirrors.frame(evil)
    start = mesh_pb2.Mirror(node="../../etc", stream=5, start={"anew": True})
    attic.mirrors.frame(start)
    await until(lambda: _has(attic, 1), "a copy that was begun")
    (copy,) = await attic.copies()
    assert Path(copy["path"]).resolve().is_relative_to((tmp_path / "attic" / "mirrors").resolve())


async def test_commits_are_acknowledged_while_a_mirror_hangs(
    mesh: Mesh, den: Machine, attic: Machine
) -> None:
    await den.call("disk.mirror", to="attic")
    await until(complete(den, attic), "the copy")
    released = asyncio.Event()
    stuck = asyncio.get_running_loop().run_in_executor(den.mirrors._thread._pool, _wait_for, released)
    mesh.drop = lambda _: True
    await asyncio.wait_for(den.write(50), 10)
    assert den.disk.commits >= 100
    released.set()
    await stuck


def _wait_for(event: asyncio.Event) -> None:
    import time

    while not event.is_set():
        time.sleep(0.01)


async def test_the_log_of_a_copy_shows_the_past_as_far_as_it_goes(den: Machine, attic: Machine) -> None:
    await den.write(2, keep=1)
    await den.call("disk.mirror", to="attic")
    await den.write(3, keep=1)
    await until(complete(den, attic), "the copy")
    copy = await newest_copy(attic)
    for commit in range(1, den.disk.commits + 1):
        theirs = past_state(copy / "log", commit=commit)
        ours = past_state(den.folder / "disk" / "log", commit=commit)
        assert theirs.pictures[8].image == ours.pictures[8].image


async def test_a_held_copy_opens_as_the_disk_that_it_is(den: Machine, attic: Machine) -> None:
    await den.write(5, keep=3)
    await den.call("disk.mirror", to="attic")
    await until(complete(den, attic), "the copy")
    await den.call("disk.mirror", to="attic", off=True)
    await until(lambda: not attic.mirrors.holding._following, "the end of the stream")
    async with Disk.open(await newest_copy(attic)) as disk:
        assert [record.payload for record in disk.scan("input_scrolls")] == [
            record.payload for record in den.disk.scan("input_scrolls")
        ]
