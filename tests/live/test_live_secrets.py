"""What is to be seen of our secrets from outside, while a mesh starts, grows, logs in and spawns: nothing.

Outside is where every process of the machine can look (arguments), where every process of the user can
(environments), and what lies on the disk: databases, logs at their most talkative, pictures.
"""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from live import TOKEN, System, http, join, new_system, until
from test_live_gate import login

AGENT = '[kinds]\nidle = ["sh", "-c", "env -0 > seen; exec sleep 600"]\n'


@dataclass
class Onlooker:
    """Looks at every process that has to do with a folder, as often as it can."""

    folders: tuple[bytes, ...]
    arguments: set[bytes] = field(default_factory=set)
    environments: dict[tuple[int, bytes], bytes] = field(
        default_factory=dict
    )  # pid, arguments -> environment
    started_by_us: set[int] = field(default_factory=set)  # with the token, on purpose
    looks: int = 0

    def look(self) -> None:
        """Once over all."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid, parent = int(entry.name), (entry / "stat").read_text().rpartition(")")[2].split()[1]
                environment = (entry / "environ").read_bytes()
                arguments = (entry / "cmdline").read_bytes()
                if any(folder in environment or folder in arguments for folder in self.folders):
                    self.arguments.add(arguments)
                    if int(parent) == os.getpid():
                        self.started_by_us.add(pid)
                    if (int(parent), arguments) not in self.environments:  # else it is its parent, forked
                        self.environments[pid, arguments] = environment
        self.looks += 1

    def __enter__(self) -> "Onlooker":
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look_on)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._done.is_set():
            self.look()


@pytest.fixture
def machines() -> Iterator[tuple[System, System]]:
    """Two homes in which nothing runs yet, and which will log all they do."""
    with new_system() as den, new_system() as attic:
        for system in (den, attic):
            system.more["HYPERPI_LOG"] = "debug"
            (system.home / "node").mkdir(parents=True)
            (system.home / "node" / "node.toml").write_text(AGENT)
        yield den, attic


async def test_no_secret_is_seen_from_outside(machines: tuple[System, System]):
    den, attic = machines
    folders = tuple(os.fsencode(system.folder) for system in machines)
    with Onlooker(folders) as onlooker:
        await asyncio.to_thread(den.start)
        await asyncio.to_thread(join, attic, den)
        join_token = (attic.folder / "token").read_text().strip()
        made = json.loads((await asyncio.to_thread(den.run, "token", "create", "--json")).stdout)["token"]
        link = json.loads((await asyncio.to_thread(den.run, "login", "--json")).stdout)["url"]
        code = link.partition("#login=")[2]
        cookies = []
        for how in ({"code": code}, {"token": TOKEN}, {"token": made}):
            answer = await login(den, **how)
            assert answer.status == 200
            cookies.append(answer.header("set-cookie").partition(";")[0].partition("=")[2])
        for secret in (TOKEN, made):
            assert (await http(f"{den.url}/me", ("Authorization", f"Bearer {secret}"))).status == 200
            assert (await http(f"{den.url}/me", ("Authorization", f"Bearer {secret}x"))).status == 401
        agents = [
            await asyncio.to_thread(spawned, den, node, system.folder / "user" / "work")
            for node, system in (("den", den), ("attic", attic))
        ]
        looks = onlooker.looks
        await asyncio.to_thread(until, lambda: onlooker.looks > looks + 2, "another look")
    nodes = {den.node_pid(), attic.node_pid()}
    for agent, _ in agents:
        assert (await asyncio.to_thread(den.run, "stop", agent)).returncode == 0

    secrets = {
        "HYPI_TOKEN": TOKEN,
        "join token": join_token.partition(".")[2],
        "token": made.partition(".")[2],
        "login code": code,
        **{f"cookie {number}": cookie for number, cookie in enumerate(cookies)},
        **{f"node/token of {s.folder.name}": (s.home / "node/token").read_text().strip() for s in machines},
    }
    assert all(len(secret) >= 20 for secret in secrets.values())

    # Arguments: every process of the machine sees them.
    assert len(onlooker.arguments) > 6, "the processes were not seen"
    for name, secret in secrets.items():
        assert [seen for seen in onlooker.arguments if secret.encode() in seen] == [], name

    # Environments: the token is where we put it, and in nothing that was started from there.
    ours = onlooker.started_by_us
    others = {key: seen for key, seen in onlooker.environments.items() if key[0] not in ours}
    assert {*nodes, *(pid for _, pid in agents)} <= {pid for pid, _ in others}
    for name, secret in secrets.items():
        assert [key for key, seen in others.items() if secret.encode() in seen] == [], name
    for user in machines:
        seen = (user.folder / "user" / "work" / "seen").read_bytes()
        assert b"HYPERPI_HOME=" in seen
        assert b"HYPI" not in seen.replace(b"HYPERPI", b"")

    # Files: all of both homes, and what was printed to logs. The token and the key files are where they live.
    read = 0
    for system in machines:
        for path in system.folder.rglob("*"):
            if not path.is_file() or path in (attic.folder / "token", system.home / "node" / "token"):
                continue
            read += 1
            content = path.read_bytes()
            for name, secret in secrets.items():
                assert secret.encode() not in content, (name, path.relative_to(system.folder))
    logged = (den.folder / "up.out").read_text() + (attic.home / "logs" / "node.log").read_text()
    assert "DEBUG" in logged
    assert "node joined" in logged
    assert read > 20


def spawned(den: System, node: str, work: Path) -> tuple[str, int]:
    """Start an agent on a machine, in a new folder; its id and its process."""
    work.mkdir()
    done = den.run("spawn", str(work), "--node", node, "--kind", "idle", "--json")
    assert done.returncode == 0, done.stderr
    agent = json.loads(done.stdout)["agent"]

    def pid() -> int | None:
        shown = json.loads(den.run("show", agent, "--json").stdout)
        return int(shown["pid"]) if shown["pid"] and (work / "seen").is_file() else None

    found: int = until(pid, "the agent's process")
    den.pids.add(found)
    return agent, found
