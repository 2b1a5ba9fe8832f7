"""Real hosts on one machine: network namespaces on a bridge, each with a home and an environment of its own.

    with Network(folder) as network:
        attic = network.add("attic")
        attic.run("hyperpi", "node", "ls")
        attic.unplug()                       # a clean partition: no FIN, no RST

Names are unique to the run, and what still runs in a namespace is ended with it. The bridge has one of its
own: an interface that came or went on the machine itself would make every browser there drop its connections.
"""

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from model_server import ModelServer
from rig import PI, PiRig

PATIENCE_S = 20.0  # for what takes milliseconds on an idle machine
CLONE_NEWNET = 0x40000000

T = TypeVar("T")


def until(
    condition: Callable[[], T | None], what: str | Callable[[], str], patience_s: float = PATIENCE_S
) -> T:
    """Look until something holds that nothing announces (a roster, a file, a screen); what was found."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"never came: {what if isinstance(what, str) else what()}")
        time.sleep(0.02)
    return found


def why_not() -> str | None:
    """Why there can be no hosts here; None when there can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and iproute2"
    probe = f"hp-{secrets.token_hex(4)}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, timeout=10).returncode != 0:
        return "network namespaces are not allowed here"
    ip("netns", "del", probe)
    return None


def ip(*words: str) -> str:
    """Run `ip`; what it printed."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Done:
    """What a program left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


class HostRig(PiRig):
    """pi's folder, Hyper-Pi's home and a user's home, all of one host."""

    def environment(self, **more: str) -> dict[str, str]:
        """As somebody has it who has installed `hyperpi` and `pi`."""
        programs = [str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        own = {"PATH": ":".join(programs), "XDG_RUNTIME_DIR": str(self.folder / "run"), "LC_ALL": "C.UTF-8"}
        return super().environment(**own, **more)


class Host:
    """One host: its namespace, its cable, and its folders below `folder`."""

    def __init__(
        self, name: str, namespace: str, switch: "Switch", link: str, address: str, folder: Path
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.address = address
        self.folder = folder
        self.user = folder / "user"  # HOME
        self.home = folder / "hp"  # HYPERPI_HOME
        self._switch, self._link = switch, link
        self._stack = ExitStack()

    def start(self) -> None:
        """Plug it in and furnish it."""
        self._stack.callback(shutil.rmtree, self.folder)
        ip("netns", "add", self.namespace)
        self._stack.callback(ip, "netns", "del", self.namespace)
        self._stack.callback(self.end_processes)
        within = ("-n", self.namespace)
        self._switch.ip(
            "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace
        )
        self._switch.ip("link", "set", self._link, "master", "bridge", "up")
        ip(*within, "link", "set", "lo", "up")
        ip(*within, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip(*within, "link", "set", "eth0", "up")
        ip(*within, "route", "add", "224.0.0.0/4", "dev", "eth0")

        self.model = self.inside(ModelServer)  # on this host's own loopback: no partition takes it away
        serving = threading.Thread(target=self.model.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        self._stack.callback(serving.join, PATIENCE_S)
        self._stack.callback(self.model.server_close)
        self._stack.callback(self.model.shutdown)

        self.rig = HostRig(self.folder, self.home, self.model.url)
        (self.rig.agent_dir / "extensions" / "pi-socket").unlink()  # `hyperpi pi install` puts it there
        self.user.mkdir()
        (self.folder / "run").mkdir(mode=0o700)
        (self.folder / "bin").mkdir()
        if PI is not None:
            (self.folder / "bin" / "pi").symlink_to(PI)

    def close(self) -> None:
        """End everything on it and take it away."""
        self._stack.close()

    # --- programs ------------------------------------------------------------------------------------

    def argv(self, *argv: str) -> list[str]:
        """The command that runs a command here."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def run(self, *argv: str, stdin: str = "", timeout_s: float = PATIENCE_S, **environment: str) -> Done:
        """Run a program to its end."""
        done = subprocess.run(
            self.argv(*argv),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.rig.environment(**environment),
            cwd=self.user,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def did(self, *argv: str, **environment: str) -> Done:
        """Run a program that must succeed."""
        done = self.run(*argv, **environment)
        assert done.code == 0, f"{argv}: {done}\n{self.logs()}"
        return done

    def logs(self) -> str:
        """What the parts of Hyper-Pi on this host have logged."""
        logs = [*self.folder.glob("*.log"), *self.home.glob("logs/*")]
        return "\n".join(f"{log.name}: {log.read_text()[-10_000:]}" for log in logs)

    def popen(self, *argv: str, log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program; what it prints goes to `log`. It is ended with the host."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.argv(*argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.rig.environment(**environment),
                cwd=self.user,
            )
        self._stack.callback(process.wait, PATIENCE_S)
        self._stack.callback(process.kill)
        return process

    def pids(self) -> list[int]:
        """Whatever runs here."""
        return [int(pid) for pid in ip("netns", "pids", self.namespace).split()]

    def end_processes(self) -> None:
        """Whoever started it: nothing that runs here outlives the host."""
        until(self._ended, f"the end of what runs on {self.name}")

    def _ended(self) -> bool:
        left = self.pids()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    def inside(self, work: Callable[[], T]) -> T:
        """Do something in this host's network; sockets that it makes stay there."""
        results: list[T] = []

        def enter_and_work() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.namespace}") as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            results.append(work())

        thread = threading.Thread(target=enter_and_work)  # of its own: it never comes back from there
        thread.start()
        thread.join()
        return results[0]

    # --- the cable -----------------------------------------------------------------------------------

    def unplug(self) -> None:
        """Nothing leaves and nothing arrives any more; nobody is told."""
        self._switch.ip("link", "set", self._link, "nomaster")

    def plug(self) -> None:
        """Back on the network."""
        self._switch.ip("link", "set", self._link, "master", "bridge")


class Switch:
    """The bridge between hosts, where no host can be seen from."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def ip(self, *words: str) -> None:
        """Run `ip` there."""
        ip("-n", self._namespace, *words)

    def start(self) -> None:
        """Turn it on."""
        ip("netns", "add", self._namespace)
        # Without a querier on the network, snooping would swallow multicast after some minutes.
        self.ip("link", "add", "bridge", "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
        self.ip("link", "set", "bridge", "up")

    def close(self) -> None:
        """Take it away, with all that is plugged in."""
        ip("netns", "del", self._namespace)


class Network:
    """A bridge and the hosts on it, gone when the block is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tag = f"{os.getpid():x}{secrets.token_hex(2)}"  # names are machine-global
        self._switch = Switch(f"hp-{self._tag}")
        self._stack = ExitStack()
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> "Network":
        self._switch.start()
        self._stack.callback(self._switch.close)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def add(self, name: str) -> Host:
        """One more host on the network."""
        number = len(self.hosts) + 1
        folder = self._folder / name
        folder.mkdir()
        host = Host(
            name,
            f"hp-{self._tag}-{name}",
            self._switch,
            f"port{number}",
            f"10.77.0.{number}",
            folder,
        )
        self._stack.callback(host.close)
        host.start()
        self.hosts[name] = host
        return host
