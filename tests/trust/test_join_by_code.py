"""Joining without a token: six digits that two people compare."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from trust_world import Serve, World

from hyperpi import join_token, tls
from hyperpi.errors import BadRequest, NotFound
from hyperpi.wire.hyperpi.v1 import enrolment_pb2 as pb
from hyperpi.wire.hyperpi.v1 import enrolment_pb2_grpc as rpc
from hypivisor.ca import MeshCa
from hypivisor.enroll_service import enrol_server
from hypivisor.joins import (
    KNOCK_TTL_S,
    MAX_PENDING,
    JoinDenied,
    JoinExpired,
    JoinFull,
    JoinSuperseded,
    PendingJoins,
)
from node import enroll, identity, refusals

HOST = "127.0.0.1"


class Screen:
    """The person at the machine: sees the code, and answers when the test lets it."""

    def __init__(self) -> None:
        self.code: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def confirm(self, code: str) -> bool:
        self.code.set_result(code)
        return await self.answer


@contextlib.asynccontextmanager
async def asking(
    port: int, folder: Path
) -> AsyncIterator[tuple[Screen, "asyncio.Task[identity.Membership]"]]:
    """A machine that asks to join, until the block ends."""
    screen = Screen()
    task = asyncio.create_task(enroll.join_by_code(folder, HOST, port, screen.confirm, "den"))
    try:
        async with asyncio.timeout(10):
            await asyncio.wait({task, screen.code}, return_when=asyncio.FIRST_COMPLETED)
            yield screen, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], changed: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        while not condition():
            changed.clear()
            await changed.wait()


# --- two people say yes ------------------------------------------------------------------------------


@pytest.mark.parametrize("admin_first", [True, False])
async def test_a_machine_joins_once_both_people_said_yes(mesh: World, tmp_path: Path, admin_first: bool):
    changed = asyncio.Event()
    mesh.service.joins.changed = changed.set
    async with asking(mesh.enrol_port, tmp_path / "id") as (screen, task):
        code = await screen.code
        (waiting,) = mesh.service.joins.ls()
        assert (waiting.code, waiting.name, waiting.machine) == (code, "den", HOST)
        assert code.isdigit()
        assert len(code) == 6
        if admin_first:
            assert not mesh.service.joins.approve(code, "anna").confirmed
            screen.answer.set_result(True)
        else:
            screen.answer.set_result(True)
            await until(lambda: mesh.service.joins.ls()[0].confirmed, changed)
            assert mesh.store.nodes() == []
            mesh.service.joins.approve(f"{code[:3]} {code[3:]}", "anna")
        made = await task
    assert identity.load(tmp_path / "id") == made
    node = mesh.store.node(made.node_id)
    assert node is not None
    assert node.name == made.node_name == "den"
    assert mesh.service.joins.ls() == []
    row = mesh.audit.ls(1)[0]
    assert (row.what, row.details["approved_by"]) == ("node.join", "anna")


async def test_an_admin_alone_lets_nobody_in(mesh: World, tmp_path: Path):
    async with asking(mesh.enrol_port, tmp_path / "id") as (screen, task):
        mesh.service.joins.approve(await screen.code, "anna")
        screen.answer.set_result(False)
        with pytest.raises(refusals.JoinDenied, match="differ"):
            await task
    assert mesh.store.nodes() == []
    assert identity.load(tmp_path / "id") is None


async def test_the_person_at_the_machine_alone_gets_nowhere(mesh: World, tmp_path: Path):
    changed = asyncio.Event()
    mesh.service.joins.changed = changed.set
    async with asking(mesh.enrol_port, tmp_path / "id") as (screen, task):
        screen.answer.set_result(True)
        await until(lambda: bool(mesh.service.joins.ls()) and mesh.service.joins.ls()[0].confirmed, changed)
        assert not task.done()
        mesh.service.joins.deny(await screen.code)
        with pytest.raises(refusals.JoinDenied):
            await task
    assert mesh.store.nodes() == []


async def test_a_machine_that_goes_away_is_not_listed_any_more(mesh: World, tmp_path: Path):
    changed = asyncio.Event()
    mesh.service.joins.changed = changed.set
    async with asking(mesh.enrol_port, tmp_path / "id") as (screen, _):
        code = await screen.code
        assert len(mesh.service.joins.ls()) == 1
    await until(lambda: not mesh.service.joins.ls(), changed)
    with pytest.raises(NotFound):
        mesh.service.joins.approve(code, "anna")


async def test_a_second_request_of_the_same_machine_ends_the_first(mesh: World, tmp_path: Path):
    async with asking(mesh.enrol_port, tmp_path / "one") as (first, first_task):
        await first.code
        async with asking(mesh.enrol_port, tmp_path / "two") as (second, _):
            with pytest.raises(refusals.JoinSuperseded):
                await first_task
            assert [pending.code for pending in mesh.service.joins.ls()] == [await second.code]


async def test_nobody_decides_and_the_request_expires(
    mesh: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hypivisor.joins.KNOCK_TTL_S", 0.2)
    async with asking(mesh.enrol_port, tmp_path / "id") as (_, task):
        with pytest.raises(refusals.JoinExpired):
            await task
    assert mesh.service.joins.ls() == []


async def test_a_revoked_machine_asks_with_a_new_key_before_a_code_is_shown(mesh: World, tmp_path: Path):
    old = await enroll.join(tmp_path / "id", HOST, mesh.enrol_port, mesh.join_token(), "den")
    mesh.store.revoke_node(old.node_id, mesh.clock())
    async with asking(mesh.enrol_port, tmp_path / "id") as (screen, task):
        mesh.service.joins.approve(await screen.code, "anna")
        screen.answer.set_result(True)
        made = await task
    assert made.node_id != old.node_id


async def test_asking_again_and_again_is_stopped(mesh: World, tmp_path: Path):
    for _ in range(20):
        mesh.enroller.count_request(HOST)
    with pytest.raises(refusals.TooManyAttempts):
        await enroll.join_by_code(tmp_path / "id", HOST, mesh.enrol_port, Screen().confirm)


# --- a rogue hypivisor -------------------------------------------------------------------------------


class Rogue(rpc.EnrolmentServicer):
    """A hypivisor that does not keep to the order, or lets a machine in that nobody asked."""

    def __init__(self, ca: MeshCa, talk: Callable[["Rogue", grpc.aio.ServicerContext], Awaitable[None]]):
        self.ca = ca
        self._talk = talk

    async def GetMesh(self, request: pb.GetMeshRequest, context: grpc.aio.ServicerContext) -> pb.GetMeshReply:
        return pb.GetMeshReply(ca_pem=self.ca.certificate_pem)

    async def RequestJoin(
        self, request_iterator: AsyncIterator[pb.JoinStep], context: grpc.aio.ServicerContext
    ) -> None:
        await self._talk(self, context)


async def changes_its_nonce(rogue: Rogue, context: grpc.aio.ServicerContext) -> None:
    await context.read()
    commitment = pb.JoinCommitment(commitment=join_token.join_commitment(bytes(32)))
    await context.write(pb.JoinAnswer(commitment=commitment))
    await context.read()  # with the node's key and nonce it could now search for the code it wants
    await context.write(pb.JoinAnswer(reveal=pb.JoinReveal(nonce=b"x" * 32)))
    await context.read()


async def grants_at_once(rogue: Rogue, context: grpc.aio.ServicerContext) -> None:
    await context.read()
    commitment = pb.JoinCommitment(commitment=join_token.join_commitment(bytes(32)))
    await context.write(pb.JoinAnswer(commitment=commitment))
    key = (await context.read()).key
    certificate = rogue.ca.issue_node(tls.read_csr(key.csr_der), "n-adopted", time.time())
    await context.write(pb.JoinAnswer(reveal=pb.JoinReveal(nonce=bytes(32))))
    granted = pb.EnrollReply(node_id="n-adopted", name="den", certificate_pem=certificate, grpc_port=1)
    await context.write(pb.JoinAnswer(granted=granted))
    await context.read()


async def rogue_port(serve: Serve, rogue: Rogue, now: float) -> int:
    server, ports = enrol_server(rogue, rogue.ca.server_identity(now), [f"{HOST}:0"])
    await serve(server)
    return ports[0]


async def test_a_hypivisor_that_changes_its_nonce_is_found_out_before_a_code_is_shown(
    mesh: World, serve: Serve, tmp_path: Path
):
    rogue = Rogue(MeshCa.open(tmp_path / "evil", "evil", mesh.clock()), changes_its_nonce)
    async with asking(await rogue_port(serve, rogue, mesh.clock()), tmp_path / "id") as (screen, task):
        with pytest.raises(refusals.WrongMesh, match="committed"):
            await task
        assert not screen.code.done()


async def test_a_hypivisor_that_grants_at_once_does_not_adopt_a_machine_whose_person_says_no(
    mesh: World, serve: Serve, tmp_path: Path
):
    rogue = Rogue(MeshCa.open(tmp_path / "evil", "evil", mesh.clock()), grants_at_once)
    async with asking(await rogue_port(serve, rogue, mesh.clock()), tmp_path / "id") as (screen, task):
        await screen.code
        assert not task.done()
        screen.answer.set_result(False)
        with pytest.raises(refusals.JoinDenied):
            await task
    assert identity.load(tmp_path / "id") is None


def test_the_code_depends_on_every_part_and_parts_cannot_be_shifted():
    parts = [b"f" * 32, b"key", b"n" * 32, b"s" * 32]
    code = join_token.join_code(*parts)
    for index in range(4):
        changed = [*parts]
        changed[index] += b"x"
        assert join_token.join_code(*changed) != code
    assert join_token.join_code(b"f" * 31, b"fkey", *parts[2:]) != code
    codes = {join_token.join_code(*parts[:3], bytes([n])) for n in range(200)}
    assert len(codes) >= 195  # six digits, evenly: a collision among 200 is rare
    assert all(len(one) == 6 and one.isdigit() for one in codes)


# --- who waits: no port, no time ---------------------------------------------------------------------


class Ticks:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def pending(**options) -> tuple[PendingJoins, Ticks]:
    ticks = Ticks()
    return PendingJoins(b"f" * 32, ticks, **options), ticks


def shown(joins: PendingJoins, machine: str, key: bytes = b"key", nonce: bytes = b"n" * 32):
    join = joins.begin(machine, machine, lambda: None)
    joins.reveal(join, key, nonce)
    return join


def test_a_request_without_a_code_is_not_listed_and_cannot_be_approved_or_confirmed():
    joins, _ = pending()
    join = joins.begin("m", "den", lambda: None)
    assert joins.ls() == []
    with pytest.raises(BadRequest):
        joins.confirm(join)
    for code in ("", "None", "000000"):
        with pytest.raises(NotFound):
            joins.approve(code, "anna")


def test_at_most_sixteen_machines_wait():
    joins, _ = pending()
    for number in range(MAX_PENDING):
        joins.begin(f"m{number}", "x", lambda: None)
    with pytest.raises(JoinFull):
        joins.begin("one more", "x", lambda: None)
    joins.begin("m3", "x", lambda: None)  # the same machine again takes its own place


def test_a_request_expires_five_minutes_after_the_last_knock():
    joins, ticks = pending()
    join = shown(joins, "m")
    ticks.now += KNOCK_TTL_S - 1
    joins.knock(join)
    ticks.now += KNOCK_TTL_S - 1
    assert len(joins.ls()) == 1
    ticks.now += 1
    assert joins.ls() == []
    assert isinstance(join.over, JoinExpired)
    with pytest.raises(NotFound):
        joins.approve(str(join.code), "anna")


def test_two_requests_with_the_same_code_are_both_refused(monkeypatch: pytest.MonkeyPatch):
    woken: list[str] = []
    joins, _ = pending()
    monkeypatch.setattr(join_token, "join_code", lambda *parts: "123456")
    first = joins.begin("one", "x", lambda: woken.append("one"))
    joins.reveal(first, b"key", b"n" * 32)
    joins.approve("123456", "anna")
    second = joins.begin("two", "x", lambda: woken.append("two"))
    with pytest.raises(JoinDenied):
        joins.reveal(second, b"other", b"n" * 32)
    assert isinstance(first.over, JoinDenied)
    assert not first.ready
    assert sorted(woken) == ["one", "one", "two"]
    assert joins.ls() == []


def test_a_key_comes_once_and_with_a_whole_nonce():
    joins, _ = pending()
    join = joins.begin("m", "x", lambda: None)
    with pytest.raises(BadRequest):
        joins.reveal(join, b"key", b"short")
    joins.reveal(join, b"key", b"n" * 32)
    with pytest.raises(BadRequest):
        joins.reveal(join, b"another", b"n" * 32)


def test_what_ended_cannot_become_ready():
    joins, _ = pending()
    join = shown(joins, "m")
    joins.begin("m", "x", lambda: None)
    assert isinstance(join.over, JoinSuperseded)
    joins.confirm(join)
    join.approved_by = "anna"
    assert not join.ready


def test_changes_of_the_list_are_announced():
    changes: list[int] = []
    joins, _ = pending(changed=lambda: changes.append(len(changes)))
    join = shown(joins, "m")
    joins.confirm(join)
    joins.approve(str(join.code), "anna")
    joins.remove(join)
    assert len(changes) == 4
