"""A household: three machines that have joined one mesh, and what people do on them."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hosts import PATIENCE_S, Done, Host, Network, until
from rig import PI, TerminalPi

from hyperpi import runfile
from hyperpi.cli.client import connect_local
from hyperpi.errors import HyperPiError

Json = dict[str, Any]


@dataclass
class Household:
    """`den` has the hypivisor and a node; the others have nodes."""

    network: Network
    den: Host
    attic: Host
    cellar: Host
    joined: dict[str, Done] = field(default_factory=dict)  # what `node join` left, by machine
    tokens: dict[str, Json] = field(default_factory=dict)  # what it was given
    hypivisor: subprocess.Popen[bytes] | None = None
    _link: str | None = None

    # --- the mesh --------------------------------------------------------------------------------------

    def up(self) -> None:
        """`hyperpi up` on the den, until it has printed its login link."""
        log = self.den.folder / "up.log"
        self.hypivisor = self.den.popen("hyperpi", "up", "--mesh-name", "home", "--name", "den", log=log)
        until(lambda: "hyperpi pi install" in log.read_text(), "the greeting of `up`")
        printed = re.search(r"open +(http\S+)", log.read_text())
        assert printed is not None, log.read_text()
        self._link = printed[1]

    def link(self) -> str:
        """A login link, which opens Pi-DE once: the one that `up` printed, then others."""
        link, self._link = self._link, None
        return link or self.new_link()

    def new_link(self) -> str:
        """A login link to the newest Pi-DE there is."""
        return str(self.den.did("hyperpi", "login", "--json").json["url"])

    def token(self) -> Json:
        """A token with which one machine may join."""
        made: Json = self.den.did("hyperpi", "token", "create", "--role", "node", "--json").json
        return made

    def join(self, host: Host, *where: str) -> None:
        """Join a machine by a token in a file, as the greeting of `up` says."""
        token = self.tokens[host.name] = self.token()
        file = host.user / "token.txt"
        file.write_text(token["token"])
        command = ("hyperpi", "node", "join", *where, "--token-file", str(file), "--name", host.name)
        self.joined[host.name] = host.did(*command, "--json")

    def call(self, method: str, params: Json | None = None) -> Any:
        """Ask the hypivisor by its control socket, which costs less than a run of the command."""
        client = connect_local("hypivisor", self.den.home / "hypivisor")
        if client is None:
            raise HyperPiError("no hypivisor")
        with client:
            return client.call(method, params, PATIENCE_S)

    def nodes(self) -> dict[str, Json]:
        """Machines by name."""
        return {node["name"]: node for node in self.call("mesh.get")["nodes"]}

    def agents(self) -> list[Json]:
        """Agents as they are listed."""
        found: list[Json] = self.call("mesh.get")["agents"]
        return found

    def agent(
        self, address: str, wanted: Callable[[Json], Any] = lambda agent: agent["state"] == "idle"
    ) -> Json:
        """The agent NAME@NODE, once it is listed and as it should be."""

        def look() -> Json | None:
            found = [a for a in self.agents() if a["address"] == address and wanted(a)]
            return found[0] if found else None

        return until(look, lambda: f"{address} as wanted; agents: {self._said()}")

    def online(self, *names: str) -> None:
        """Return when these machines are."""
        until(
            lambda: all(self.nodes().get(name, {}).get("state") == "online" for name in names),
            f"{names} online",
        )

    def _said(self) -> list[str]:
        return [f"{a['address']} {a['state']} {a['detail']}" for a in self.agents()]

    # --- people ----------------------------------------------------------------------------------------

    @contextmanager
    def pi_in_terminal(self, host: Host, project: str) -> Iterator["HostTerminal"]:
        """Somebody types `pi` in a project folder on a host; ended, if it still runs, with the block."""
        folder = host.user / project
        (folder / ".git").mkdir(parents=True, exist_ok=True)
        terminal = HostTerminal(host, folder)
        terminal.start()
        try:
            yield terminal
        finally:
            terminal.end()


class HostTerminal(TerminalPi):
    """A terminal on a host, with pi in it."""

    def __init__(self, host: Host, project: Path) -> None:
        super().__init__(_Place(host, project))  # type: ignore[arg-type]
        self._host = host

    def _tmux(self, *args: str) -> str:
        command = self._host.argv("tmux", "-L", self._server, *args)
        environment = self._host.rig.environment()
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True, env=environment
        ).stdout

    def sees(self, text: str) -> None:
        """Wait until it is on the screen."""
        until(lambda: text in self.screen(), lambda: f"{text!r} on the screen:\n{self.screen()}")

    def close(self) -> None:
        """Close the window, as its X does: the whole tmux server goes."""
        self._tmux("kill-server")


@dataclass(frozen=True)
class _Place:
    """As much of a rig as a terminal needs."""

    host: Host
    project: Path
    program: Path | None = PI

    def environment(self, **more: str) -> dict[str, str]:
        return self.host.rig.environment(**more)


@contextmanager
def household(folder: Path) -> Iterator[Household]:
    """All three machines, joined and online."""
    with Network(folder) as network:
        home = Household(network, *(network.add(name) for name in ("den", "attic", "cellar")))
        for host in network.hosts.values():
            host.did("hyperpi", "pi", "install")
        home.up()
        home.join(home.attic)
        home.join(home.cellar, f"{home.den.address}:31417")
        home.online("den", "attic", "cellar")
        yield home
        for host in (home.den, home.attic, home.cellar):
            host.did(sys.executable, "-m", "pxldisk", "verify", str(host.home / "node" / "disk"))
            assert "Traceback" not in host.logs(), host.logs()
        home.den.did("hyperpi", "audit", "--verify")


class Clock:
    """How long things took; printed, never asserted: machines differ."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def say(self, what: str) -> None:
        """Print the time since the last word, and begin anew."""
        now = time.monotonic()
        print(f"    {what}: {(now - self._started) * 1000:.0f} ms")
        self._started = now


def node_pid(host: Host) -> int:
    """The node process of a host."""
    known = until(lambda: runfile.read_live(host.home / "node" / "run.json"), f"the node of {host.name}")
    return int(known["pid"])
