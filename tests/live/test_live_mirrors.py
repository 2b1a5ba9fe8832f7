"""Mirrors between real nodes over a real hypivisor: followed through every kill, and given back."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import PATIENCE_S, Agent, Json, Refused, System, new_system, until
from machines import Machine, as_machine, copies_of, joined

from hyperpi.errors import HyperPiError
from hyperpi.holder import holder_of
from pxldisk import reader, verify


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with new_system() as found:
        found.start()
        yield found


@pytest.fixture(scope="module")
def den(system: System) -> Machine:
    return as_machine(system, "den")


@pytest.fixture(scope="module")
def second(system: System) -> Iterator[Machine]:
    with joined(system) as machine:
        yield machine


@pytest.fixture
def attic(den: Machine, second: Machine) -> Iterator[Machine]:
    """The other machine, which holds nothing before and after."""
    yield second
    for mirror in den.mirrors()["mirrors"]:
        den.call("disk.mirror", to=mirror["node"], off=True)
    until(lambda: not any(copy["following"] for copy in second.mirrors()["copies"]), "the end of all streams")
    if second.mirrors()["copies"]:
        second.call("disk.drop", of="den")


def disk_of(machine: Machine) -> Path:
    return machine.home / "node" / "disk"


def rows_of(folder: Path) -> list[tuple[int, bytes]]:
    """Every record row of a disk as opening it would show it."""
    memory = reader.look(folder)
    return [
        (row, picture.row(row))
        for picture in memory.pictures.values()
        for row in range(2, memory.grid.height)
    ]


def mirror(machine: Machine, to: str, *flags: str) -> None:
    """As a person does it."""
    done = machine.run("disk", "mirror", to, *flags)
    assert done.returncode == 0, done.stderr


def caught_up(machine: Machine, holder: Machine) -> Json:
    """Return when a holder has all that a disk has; the copy as it is shown."""

    def look() -> Json | None:
        commit = machine.call("disk.list")["commit"]
        own = machine.said("node")["node"]
        found = [copy for copy in holder.mirrors()["copies"] if copy["of"] == own and copy["following"]]
        return found[0] if found and (found[0]["commit"], found[0]["whole"]) == (commit, True) else None

    copy: Json = until(look, f"a whole copy of {machine.name} on {holder.name}")
    return copy


def write(machine: Machine, count: int) -> None:
    """Scrolls to nobody: two commits each. Goes on through anything that happens to the node."""
    while count:
        try:
            with machine.client() as client:
                while count:
                    client.call("scroll.send", {"to": "nobody@den", "message": "x" * 300})
                    count -= 1
        except (AssertionError, HyperPiError, OSError):
            time.sleep(0.02)


def lose_the_disk(system: System) -> None:
    """The node ends, its disk is gone, and it starts with an empty one."""
    os.kill(system.node_pid(), signal.SIGTERM)
    if system.node is not None:
        system.node.wait(PATIENCE_S)
    until(lambda: holder_of(system.home / "node" / "lock") is None, "the end of the node")
    shutil.rmtree(system.home / "node" / "disk")
    system.start_node()


# --- following -------------------------------------------------------------------------------------------


def test_a_copy_follows_over_the_mesh_and_both_sides_show_it(system: System, den: Machine, attic: Machine):
    mirror(den, "attic")
    write(den, 5)
    copy = caught_up(den, attic)
    assert verify(Path(copy["path"])) == []
    shown = den.run("disk", "mirror").stdout
    assert "attic" in shown
    assert "following" in shown
    assert "den" in attic.run("disk", "mirror").stdout
    asked = json.loads(system.run("disk", "mirror", "--node", "attic", "--json").stdout)
    assert [one["of"] for one in asked["copies"]] == [den.said("node")["node"]]


async def test_every_part_may_be_killed_in_the_middle(system: System, den: Machine, attic: Machine):
    mirror(den, "attic")
    caught_up(den, attic)
    port, grpc_port = int(system.url.rpartition(":")[2]), str(system.said("hypivisor")["grpc_port"])
    for kill in ("holder", "source", "hypivisor", "frozen holder"):
        writing = asyncio.create_task(asyncio.to_thread(write, den, 60))
        await asyncio.sleep(0)
        if kill == "holder":
            await asyncio.to_thread(attic.kill_node)
            await asyncio.to_thread(attic.start_node)
        elif kill == "source":
            await asyncio.to_thread(system.kill_node)
            await asyncio.to_thread(system.start_node)
        elif kill == "hypivisor":
            system.end_up(signal.SIGKILL)
            await asyncio.to_thread(system.start, "--grpc-port", grpc_port, port=port)
        else:
            attic.freeze()
            await writing
            attic.thaw()
        await writing
        copy = await asyncio.to_thread(caught_up, den, attic)
        assert verify(Path(copy["path"])) == [], kill
        assert rows_of(Path(copy["path"])) == rows_of(disk_of(den)), kill
    assert len(copies_of(attic)) == 1, "it was one history all the time"


def test_the_log_of_a_mesh_says_who_asked_for_a_mirror(system: System, den: Machine, attic: Machine):
    assert system.run("disk", "mirror", "attic", "--node", "den").returncode == 0
    caught_up(den, attic)
    rows = json.loads(system.run("audit", "--json").stdout)
    assert any("disk.mirror" in json.dumps(row) and "attic" in json.dumps(row) for row in rows)


async def test_a_viewer_may_look_and_do_nothing(system: System, den: Machine, attic: Machine):
    made = json.loads(system.run("token", "create", "--role", "viewer", "--uses", "0", "--json").stdout)
    node = den.said("node")["node"]
    async with system.program(token=made["token"]) as viewer:
        assert (await viewer.call("disk.mirrors", node=node))["accept"] is True
        for method, params in (
            ("disk.mirror", {"to": "attic"}),
            ("disk.drop", {"of": "attic"}),
            ("disk.restore", {"from": "attic"}),
        ):
            with pytest.raises(Refused) as refusal:
                await viewer.call(method, node=node, **params)
            assert refusal.value.code == -32001


# --- giving back -----------------------------------------------------------------------------------------


def test_a_lost_disk_comes_back_with_one_command(system: System, den: Machine, attic: Machine):
    mirror(den, "attic")
    write(den, 20)
    caught_up(den, attic)
    lost = rows_of(disk_of(den))
    lose_the_disk(system)
    assert rows_of(disk_of(den)) != lost
    done = den.run("disk", "restore", "--from", "attic", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["state"], report["from"], report["missing_commits"]) == ("done", "attic", 0)
    assert (disk_of(den).parent / report["kept"] / "8.png").exists()
    assert rows_of(disk_of(den)) == lost
    assert verify(disk_of(den)) == []
    write(den, 3)
    caught_up(den, attic)


def test_a_machine_that_is_lost_with_its_disk_is_followed_by_another(
    system: System, den: Machine, attic: Machine
):
    mirror(den, "attic")
    write(den, 5)
    caught_up(den, attic)
    lost = rows_of(disk_of(den))
    with joined(system, "heir") as heir:
        refused = heir.run("disk", "restore", "--from", "attic", "--of", "den")
        assert refused.returncode == 1
        assert "admin" in refused.stderr
        done = system.run(*["disk", "restore", "--from", "attic", "--of", "den", "--node", "heir", "--json"])
        assert done.returncode == 0, done.stderr
        assert rows_of(disk_of(heir)) == lost
        heir.stop_node()


def test_a_refusal_says_what_to_do(system: System, den: Machine, attic: Machine):
    done = den.run("disk", "restore", "--from", "attic")
    assert done.returncode == 1
    assert "holds no such copy" in done.stderr
    assert "Traceback" not in done.stderr
    assert den.run("disk", "restore").returncode == 2
    assert den.run("disk", "mirror", "--off").returncode == 2
    attic.stop_node()
    done = attic.run("disk", "restore", "--from", "den")
    assert done.returncode == 3
    assert "hyperpi node run" in done.stderr
    attic.start_node()


async def test_what_came_back_is_handed_over_only_if_it_never_was(
    system: System, den: Machine, attic: Machine
):
    """Two scrolls of attic wait for agents on den when the copy stops. Then one is answered, and a third
    comes. The copy has the first, which must not be handed over again; it lacks the third, which attic has.
    """
    handed: list[str] = []

    async def take(scroll: Json) -> Any:
        handed.append(scroll["message"])
        return {"opcode_type": "text_display", "content": "done"}

    def send(message: str, to: str) -> str:
        with attic.client() as client:
            return str(client.call("scroll.send", {"to": to, "message": message})["scroll_id"])

    def state(scroll_id: str) -> str:
        with attic.client() as client:
            return str(client.call("scroll.get", {"scroll_id": scroll_id})["state"])

    def becomes(scroll_id: str, wanted: str) -> None:
        until(lambda: state(scroll_id) == wanted, f"{scroll_id} {wanted}")

    agents = [Agent(system.home, name, deliver=take) for name in ("quick", "slow", "late")]
    quick = agents[0]
    for agent in agents:
        await agent.dial()
    async with system.program() as program:
        for agent in agents:
            await program.knows(agent.id, state="idle")
    for agent in agents:
        await agent.cut()  # with no word: their process lives
    sent = [await asyncio.to_thread(send, name, f"{name}@den") for name in ("quick", "slow")]
    for scroll_id in sent:
        await asyncio.to_thread(becomes, scroll_id, "stored")
    await asyncio.to_thread(mirror, den, "attic")
    await asyncio.to_thread(caught_up, den, attic)
    await asyncio.to_thread(mirror, den, "attic", "--off")
    await quick.dial()
    await asyncio.to_thread(becomes, sent[0], "answered")
    assert handed == ["quick"]
    await quick.cut()
    sent.append(await asyncio.to_thread(send, "late", "late@den"))
    await asyncio.to_thread(becomes, sent[2], "stored")

    await asyncio.to_thread(lose_the_disk, system)
    done = await asyncio.to_thread(den.run, "disk", "restore", "--from", "attic", "--force", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["records"] == 2
    for agent in agents:
        await agent.dial()
    for scroll_id in sent[1:]:
        await asyncio.to_thread(becomes, scroll_id, "answered")
    await asyncio.to_thread(until, lambda: not _live(den), "free rows")
    assert sorted(handed) == ["late", "quick", "slow"]
    for agent in agents:
        await agent.close()


def _live(machine: Machine) -> int:
    zones = machine.call("disk.list")["banks"][0]["zones"]
    return sum(zone["live"] for zone in zones)
