"""What a machine of the mesh may do to another one through its mirrors, when it does not mean well."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mirror_rig import Machine, Mesh, Stranger, complete, until

from node import mirror_copies, mirror_restoring, mirror_streams

pytestmark = pytest.mark.usefixtures("impatient")


def broken(*_: Any, **__: Any) -> Any:
    raise MemoryError("as much as a peer asked for")


@pytest.mark.parametrize("digest", [b"", b"x" * 32])
async def test_a_place_that_nobody_can_have_does_not_end_the_node(
    mesh: Mesh, den: Machine, attic: Machine, digest: bytes
) -> None:
    stranger = Stranger(mesh, "odd")
    await den.call("disk.mirror", to="odd")
    (offer, *_) = await until(lambda: stranger.heard("offer"), "an offer")
    place = {"disk": den.disk.id.bytes, "segment": 1, "offset": 1 << 62, "commit": 1, "digest": digest}
    stranger.say(den, stream=offer.stream, place=place)
    await until(lambda: stranger.heard("start") or stranger.heard("end"), "what it makes of that")
    await den.call("disk.mirror", to="attic")
    await until(complete(den, attic), "the copy that another machine makes")


@pytest.mark.parametrize("where", [(mirror_streams, "_open_feed"), (mirror_copies.Copies, "resume")])
async def test_an_error_that_nobody_thought_of_ends_one_stream_and_not_the_node(
    den: Machine, attic: Machine, monkeypatch: pytest.MonkeyPatch, where: tuple[object, str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(*where, broken)
        await den.call("disk.mirror", to="attic")
        await until(lambda: den.mirrors.mirroring.mirrors[attic.id].state == "paused", "the end of it")
    await until(complete(den, attic), "the copy, once nothing is wrong any more")


@pytest.mark.parametrize("end", ["here", "there"])
async def test_an_error_that_nobody_thought_of_ends_a_restoration_and_not_the_node(
    den: Machine, attic: Machine, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    await den.call("disk.mirror", to="attic")
    await until(complete(den, attic), "the copy")
    where = (mirror_restoring, "FetchedCopy") if end == "here" else (mirror_streams, "_next")
    with monkeypatch.context() as patch:
        patch.setattr(*where, broken)
        await den.call("disk.restore", **{"from": "attic"})
        await until(lambda: state(den) == "failed", "the failure")
    await den.call("disk.restore", **{"from": "attic"})
    await until(lambda: state(den) == "ready", "the copy, once nothing is wrong any more")


@contextlib.contextmanager
def busy(machine: Machine) -> Iterator[None]:
    """The thread that does all file work of a machine's mirrors has something else to do."""
    free = threading.Event()
    task = asyncio.ensure_future(machine.mirrors._thread.call(free.wait))
    try:
        yield
    finally:
        free.set()
        assert not task.cancelled()


async def test_of_a_machines_offers_one_is_followed_and_one_waits(mesh: Mesh, attic: Machine) -> None:
    stranger = Stranger(mesh, "odd")
    with busy(attic):
        for stream in range(1, 101):
            stranger.say(attic, stream=stream, offer={"disk": b"x" * 16})
            stranger.say(attic, stream=stream, piece={"kind": 3, "segment": 1, "content": b"x" * 65_536})
        await until(lambda: len(stranger.ends()) >= 100, "the ends of those that do not count")
        assert len(attic.mirrors._streams) == 1
        following = [task for task in asyncio.all_tasks() if task.get_name() == f"copy-{stranger.id}"]
        assert len(following) == 1
    (place,) = await until(lambda: stranger.heard("place"), "an answer to the last")
    assert place.stream == 100


async def test_a_machine_is_given_one_copy_at_a_time(mesh: Mesh, den: Machine, attic: Machine) -> None:
    await den.call("disk.mirror", to="attic")
    await until(complete(den, attic), "the copy")
    stranger = Stranger(mesh, "odd")
    with busy(attic):
        for stream in range(1, 101):
            stranger.say(attic, stream=stream, want={"of": "den"})
        await until(lambda: len(stranger.ends()) >= 98, "the ends of those that do not count")
        giving = [task for task in asyncio.all_tasks() if task.get_name() == f"give-{stranger.id}"]
        assert len(giving) == 1
    offer = await until(lambda: [one for one in stranger.heard("offer") if one.stream == 100], "an answer")
    assert len(offer) == 1


async def test_what_was_offered_is_given_though_the_copy_has_gone_on_meanwhile(
    mesh: Mesh, attic: Machine, tmp_path: Path
) -> None:
    options = {"segment_bytes": 20_000, "keep_log_bytes": 1}
    async with mesh.machine("den", tmp_path / "den", **options) as den:
        await den.call("disk.mirror", to="attic")
        await until(complete(den, attic), "the copy")
        stranger = Stranger(mesh, "odd")
        stranger.say(attic, want={"of": "den"})
        (asked,) = await until(lambda: stranger.heard("offer"), "an offer")
        for _ in range(4):
            await den.write(30, 400)
            await until(complete(den, attic), "the copy, in a newer segment")
        stranger.say(attic, place={})

        def given() -> bool:
            pieces = stranger.heard("piece")
            return bool(pieces) and not pieces[-1].piece.more and pieces[-1].piece.kind != 1

        await until(given, "all of it")
        assert stranger.heard("piece")[-1].piece.commit == asked.offer.head.commit


async def test_a_piece_before_the_start_ends_the_stream(mesh: Mesh, attic: Machine) -> None:
    stranger = Stranger(mesh, "odd")
    stranger.say(attic, offer={"disk": b"x" * 16})
    stranger.say(attic, piece={"kind": 3, "segment": 1, "content": b"x"})
    await until(stranger.ends, "an end")
    assert "before the start" in stranger.ends()[0]


def state(machine: Machine) -> str:
    shape = machine.mirrors.restoring.shape()
    return "" if shape is None else str(shape["state"])
