"""Starting agents for real: in the right folder, with the right environment, or with a clear refusal."""

import asyncio
import gc
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from keeper_rig import Rig, rig_in, until

from hyperpi.errors import BadRequest, Conflict, HyperPiError, NotFound, Overloaded, RefusedByPolicy
from node import spawn
from node.process import is_alive, process_start
from node.spawn import count_kept

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_in(tmp_path) as rig:
        yield rig


def processes_below(folder: Path) -> list[int]:
    """Processes whose command line names a folder: keepers of a home, whoever their parent is."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in command and is_alive(int(entry.parent.name)):
            found.append(int(entry.parent.name))
    return found


# --- what an agent gets --------------------------------------------------------------------------------


async def test_an_agent_starts_in_its_folder_with_the_templates_command_and_the_callers_arguments(
    rig: Rig,
) -> None:
    node = await rig.node()
    (rig.work / "ünï app").mkdir()
    one = await rig.start(
        *("sh", "-c", 'pwd; echo "$PWD"; printf "<%s>" "$@"', "name"),
        path="~/projects/ünï app",
        args=("--x=$(id)", "a b", ""),
    )
    where = f"{rig.work}/ünï app"
    assert one.cwd == where
    assert one.argv[-3:] == ("--x=$(id)", "a b", "")
    assert (await node.end_of(one.agent)).output == f"{where}\n{where}\n<--x=$(id)><a b><>"


async def test_an_agent_can_start_in_a_folder_made_for_it(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start("pwd", new_folder="fresh")
    assert (await node.end_of(one.agent)).output == f"{rig.work}/fresh\n"


async def test_an_agent_starts_in_the_folder_that_was_opened_whatever_its_name_means_by_then(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await rig.node()
    (rig.work / "app").mkdir()
    (rig.work / "app/right").touch()
    run_keeper = spawn._run_keeper

    def swapped(*args: object) -> object:
        (rig.work / "app").rename(rig.work / "moved")
        (rig.work / "app").symlink_to("/etc")
        return run_keeper(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(spawn, "_run_keeper", swapped)
    one = await rig.start("ls", path=str(rig.work / "app"))
    assert (await node.end_of(one.agent)).output == "right\n"


async def test_an_agents_environment_is_the_owners_without_our_secrets(rig: Rig) -> None:
    node = await rig.node()
    rig.environment |= {
        "HYPI_TOKEN": "secret-1",
        "HYPIVISOR": "secret-2",
        "HYPERPI_LOG": "secret-3",
        "HYPERPI_INSTANCE": "secret-4",
        "AWS_KEY": "secret-5",
        "OLDPWD": "/elsewhere",
        "PWD": "/elsewhere",
        "KEPT": "as it is",
        "PYTHONPATH": "/poison",
    }
    rig.policy = replace(rig.policy, withheld=("AWS_*",))
    one = await rig.start("env", "-0")
    output = (await node.end_of(one.agent)).output
    got = dict(line.split("=", 1) for line in output.split("\0") if line)
    assert got == {
        "PATH": rig.environment["PATH"],
        "HOME": rig.environment["HOME"],
        "KEPT": "as it is",
        "PYTHONPATH": "/poison",
        "PWD": str(rig.work),
        "HYPERPI_AGENT": one.agent,
        "HYPERPI_HOME": str(rig.home.path),
        "HYPERPI_INSTANCE": one.instance,
    }


async def test_no_secret_is_in_any_environment_command_line_or_file(rig: Rig) -> None:
    secret = "s3cret-of-the-owner"
    rig.environment |= {"HYPI_TOKEN": secret, "HYPIVISOR": secret, "HYPERPI_X": secret}
    api_key = "key-that-the-agent-needs"
    rig.environment |= {"API_KEY": api_key}
    one = await rig.start("sleep", "1000")
    for pid in (one.pid, one.keeper_pid):
        for name in ("environ", "cmdline"):
            assert secret not in Path(f"/proc/{pid}/{name}").read_text()
        assert api_key not in Path(f"/proc/{pid}/cmdline").read_text()
    written = [path for path in rig.home.path.rglob("*") if path.is_file()]
    assert written
    for path in written:
        assert secret not in path.read_text()
        assert api_key not in path.read_text()


async def test_an_agent_holds_no_descriptor_of_the_nodes(rig: Rig, tmp_path: Path) -> None:
    with open(tmp_path / "held", "w") as held:
        os.set_inheritable(held.fileno(), True)  # as a careless library would
        one = await rig.start("sleep", "1000")
        keepers = os.listdir(f"/proc/{one.keeper_pid}/fd")
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for pid in (one.keeper_pid, one.pid)
                 for fd in os.listdir(f"/proc/{pid}/fd")]  # fmt: skip
    assert sorted(os.listdir(f"/proc/{one.pid}/fd")) == ["0", "1", "2"]
    assert not any(str(rig.work) in link or "held" in link for link in links)
    assert len(keepers) <= 10


async def test_files_of_keepers_are_private_and_name_no_values_of_the_environment(rig: Rig) -> None:
    one = await rig.start("cat")
    spec = rig.keepers / f"{one.agent}.json"
    assert stat.S_IMODE(spec.stat().st_mode) == 0o600
    assert stat.S_IMODE(rig.keepers.stat().st_mode) == 0o700
    known = json.loads(spec.read_text())
    assert known["pid"] == one.pid
    assert known["cwd"] == str(rig.work)
    assert set(known["env_names"]) == {
        "PATH",
        "HOME",
        "PWD",
        "HYPERPI_AGENT",
        "HYPERPI_HOME",
        "HYPERPI_INSTANCE",
    }


# --- refusals ------------------------------------------------------------------------------------------


async def refused(rig: Rig, error: type[HyperPiError], *argv: str, **changes: object) -> HyperPiError:
    """A start that must fail, and leave nothing."""
    with pytest.raises(error) as caught:
        await rig.start(*argv, **changes)
    assert not rig.keepers.exists() or list(rig.keepers.iterdir()) == []
    assert processes_below(rig.home.path) == []
    return caught.value


async def test_an_unknown_kind_is_refused(rig: Rig) -> None:
    error = await refused(rig, RefusedByPolicy, kind="bash")
    assert error.hint == "kinds here: cat; its node.toml can add more under [kinds]"


async def test_a_program_that_is_not_installed_is_named(rig: Rig) -> None:
    error = await refused(rig, NotFound, "no-such-program")
    assert "no-such-program" in str(error)
    assert "install" in str(error.hint)


async def test_a_program_is_not_taken_from_the_folder_of_the_agent(rig: Rig) -> None:
    trap = rig.work / "trap"
    trap.write_text("#!/bin/sh\ntouch sprung\n")
    trap.chmod(0o755)
    rig.environment["PATH"] = f".::{rig.environment['PATH']}"
    here = os.getcwd()
    os.chdir(rig.work)
    try:
        await refused(rig, NotFound, "trap")
    finally:
        os.chdir(here)
    assert not (rig.work / "sprung").exists()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("{work}/nothing", NotFound),
        ("{work}/file", BadRequest),
        ("{work}/out", RefusedByPolicy),
        ("{work}/../..", RefusedByPolicy),
        ("/", RefusedByPolicy),
        ("work", BadRequest),
    ],
)
async def test_a_folder_that_is_missing_or_not_allowed_is_refused(
    rig: Rig, path: str, error: type[HyperPiError]
) -> None:
    (rig.work / "file").touch()
    (rig.work / "out").symlink_to("/etc")
    said = await refused(rig, error, kind="cat", path=path.replace("{work}", str(rig.work)))
    assert str(said)


async def test_a_new_folder_is_not_made_for_a_start_that_is_refused(rig: Rig) -> None:
    await refused(rig, NotFound, "no-such-program", new_folder="fresh")
    await refused(rig, BadRequest, kind="cat", new_folder="../fresh")
    rig.policy = replace(rig.policy, max_agents=0)
    await refused(rig, RefusedByPolicy, kind="cat", new_folder="fresh")
    assert list(rig.work.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "error"),
    [("#!/no/such/interpreter\n", NotFound), ("\x7fELF garbage", RefusedByPolicy), ("", RefusedByPolicy)],
)
async def test_a_program_that_the_system_will_not_run_is_refused_with_its_word(
    rig: Rig, content: str, error: type[HyperPiError]
) -> None:
    program = rig.home.make() / "program"
    program.write_text(content)
    program.chmod(0o755)
    said = await refused(rig, error, str(program))
    assert str(said).startswith("cannot start the agent: ")


async def test_the_same_agent_is_not_started_twice(rig: Rig) -> None:
    first = await rig.start("cat", agent="twin")
    with pytest.raises(Conflict):
        await rig.start("cat", agent="twin")
    assert is_alive(first.pid, first.pid_start)
    assert (rig.keepers / "twin.json").exists()


@pytest.mark.parametrize("agent", ["", "../x", "a/b", "a.b", "x" * 65, "a\n", "a\0"])
async def test_an_agents_id_names_nothing_but_its_own_files(rig: Rig, agent: str) -> None:
    said = await refused(rig, BadRequest, kind="cat", agent=agent)
    assert "id" in str(said)


async def test_a_full_disk_is_said_before_anything_starts(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = await refused(rig, Overloaded, "cat")
    assert "No space left" in str(said)


async def test_of_many_starts_at_once_only_as_many_as_allowed_succeed(rig: Rig) -> None:
    rig.policy = replace(rig.policy, max_agents=3)
    rig.spawned.clear()
    results = await asyncio.gather(
        *(rig.start(kind="cat", agent=f"racer-{n}") for n in range(8)), return_exceptions=True
    )
    started = [r for r in results if not isinstance(r, BaseException)]
    assert all(isinstance(r, RefusedByPolicy) for r in results if isinstance(r, BaseException))
    assert 1 <= len(started) <= 3
    assert count_kept(rig.keepers) == len(started)


async def test_an_agent_that_has_ended_makes_room(rig: Rig) -> None:
    rig.policy = replace(rig.policy, max_agents=1)
    first = await rig.start(kind="cat")
    with pytest.raises(RefusedByPolicy):
        await rig.start(kind="cat", agent="second")
    os.kill(first.pid, signal.SIGKILL)
    await until((rig.keepers / f"{first.agent}.exit.json").exists)  # no node has taken the report yet
    assert await rig.start(kind="cat", agent="second")


# --- keepers that fail ---------------------------------------------------------------------------------


def broken_keeper(rig: Rig, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    script = rig.home.make() / "broken.py"
    script.write_text(code)
    monkeypatch.setattr(spawn, "KEEPER", script)


async def test_a_keeper_that_fails_is_said_to_have_failed_and_where_to_look(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_keeper(rig, monkeypatch, "raise SystemError('boom')")
    said = await refused(rig, Overloaded, "cat")
    assert "keepers.log" in str(said.hint)
    assert "boom" in (rig.home.logs / "keepers.log").read_text()


async def test_a_keeper_that_hangs_is_ended(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "START_S", 0.2)
    broken_keeper(rig, monkeypatch, "import time; print('not yet', end='', flush=True); time.sleep(1000)")
    said = await refused(rig, Overloaded, "cat")  # which looks for processes that are left
    assert "did not start" in str(said)


# --- lifetimes -----------------------------------------------------------------------------------------

OTHER_NODE = """
import asyncio, json, os, sys
from pathlib import Path
from hyperpi.config import Home
from node.policy import Policy
from node.spawn import SpawnOrder, start_agent
async def main():
    home, work = Home(Path(sys.argv[1])), Path(sys.argv[2])
    order = SpawnOrder("other", "instance", "sleep", str(work))
    policy = Policy(roots=(work,), kinds={"sleep": ("sleep", "1000")})
    environment = {"PATH": os.environ["PATH"]}
    one = await start_agent(order, policy, home=home, environment=environment, user_home=work)
    print(json.dumps([one.pid, one.keeper_pid]), flush=True)
    if sys.argv[3] == "wait":
        await asyncio.Event().wait()
asyncio.run(main())
import gc; gc.collect()
"""


@pytest.mark.parametrize("end", ["returns", "hangup", "killed"])
async def test_keeper_and_agent_outlive_the_process_that_started_them(rig: Rig, end: str) -> None:
    """However it ends: asyncio's own subprocesses would be killed with their loop."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", OTHER_NODE, str(rig.home.path), str(rig.work), end.replace(
            "hangup", "wait").replace("killed", "wait")],
        cwd=Path(spawn.__file__).parent.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as other:  # fmt: skip
        assert other.stdout
        assert other.stderr
        pids = json.loads(await asyncio.to_thread(other.stdout.readline))
        try:
            if end != "returns":
                os.killpg(other.pid, signal.SIGHUP if end == "hangup" else signal.SIGKILL)
            assert await asyncio.to_thread(other.stderr.read) == b""
            other.wait()
            assert all(is_alive(pid) for pid in pids)
        finally:
            for pid in pids:
                os.killpg(pid, signal.SIGKILL)
    await until(lambda: not any(is_alive(pid) for pid in pids))


async def test_no_keeper_stays_a_zombie_and_none_is_complained_of(rig: Rig) -> None:
    node = await rig.node()
    agents = [await rig.start("true") for _ in range(10)]
    gc.collect()  # a forgotten Popen would warn here, and warnings are errors
    for one in agents:
        await node.end_of(one.agent)
    await until(lambda: all(process_start(one.keeper_pid) is None for one in agents))
    assert not any(process_start(one.pid) for one in agents)


async def test_a_start_goes_on_when_the_one_who_asked_does_not_wait(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await rig.node()
    started = threading.Event()
    run_keeper = spawn._run_keeper

    def slow(*args: object) -> object:
        started.set()
        return run_keeper(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(spawn, "_run_keeper", slow)
    asking = asyncio.create_task(rig.start("cat", agent="unasked"))
    await asyncio.to_thread(started.wait)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await node.connected("unasked")
    await node.book.stop("unasked", grace_s=10)
    assert (await node.end_of("unasked")).code == 0
