"""A real pi with a scripted model and pi-socket in it: headless (`pi --mode rpc`) or in a terminal (tmux).

Importable by other tests. The program comes from HYPERPI_PI, else from the cache folder that
scripts/fetch_pi.sh fills; `needs_pi` skips a test where there is none. Tests that take the fixture `rig` run
with each of VERSIONS.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hyperpi import pi_install

PATIENCE_S = 15.0
Json = dict[str, Any]


CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hyperpi-test"
# The newest that Node.js 20 runs, and the newest of all, which brings a Node.js of its own.
VERSIONS = {"0.74.2": "node_modules/.bin/pi", "1.5.2": "pi"}


def _programs() -> dict[str, Path | None]:
    """Where each pi to test with is; None for one that is not here."""
    given = os.environ.get("HYPERPI_PI")
    if given:
        return {"given": Path(given) if Path(given).exists() and shutil.which("node") else None}
    places = {version: CACHE / f"pi-{version}" / program for version, program in VERSIONS.items()}
    return {v: place if place.exists() and shutil.which("node") else None for v, place in places.items()}


def _shared_extension() -> Path:
    """pi-socket in a folder that stays: pi keeps what it compiled by path, and compiling takes a second.

    One for each checkout: two that are tested at the same time must not take each other's away.
    """
    checkout = hashlib.sha256(str(Path(__file__).resolve()).encode()).hexdigest()[:12]
    folder = CACHE / "pi-socket" / checkout
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side, and each process begins with this
        found = pi_install.status(folder)
        return found.folder if found.current else pi_install.install(folder, CACHE / "no-home")


PIS = _programs()
PI = next(iter(PIS.values()))  # for tests to which the version makes no difference


def jiti() -> tuple[str, str]:
    """What pi loads TypeScript with, and where it is to keep what it compiled, by path and content."""
    assert PI is not None
    places = (parent / "node_modules" / "jiti" / "lib" / "jiti.mjs" for parent in PI.resolve().parents)
    return str(next(found for found in places if found.exists())), str(CACHE / "jiti")


needs_pi = [pytest.mark.pi, pytest.mark.skipif(PI is None, reason="no pi: see scripts/fetch_pi.sh")]
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a Unix socket's name; pytest's own may not."""
    with tempfile.TemporaryDirectory(prefix="hp-") as folder:
        yield Path(folder)


async def until(condition: Callable[[], Any], what: str = "condition") -> Any:
    """Look until a condition holds that nothing announces (a screen, a file, a process)."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := condition()):
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"never held: {what}") from None


class PiRig:
    """Everything that pis of one test share: pi's own folder, Hyper-Pi's home, a project, the model."""

    def __init__(self, folder: Path, home: Path, model_url: str, program: Path | None = PI) -> None:
        self.folder, self.home, self.program = folder, home, program
        self.agent_dir = folder / "pi"
        self.project = folder / "project"
        self.project.mkdir(parents=True)
        self.agent_dir.mkdir()
        (self.agent_dir / "extensions").mkdir()
        (self.agent_dir / "extensions" / "pi-socket").symlink_to(_shared_extension())
        provider = {
            "baseUrl": model_url,
            "api": "openai-completions",
            "apiKey": "not-a-secret",
            "compat": {"supportsDeveloperRole": False, "supportsReasoningEffort": False},
            "models": [
                {
                    "id": "fake-1",
                    "contextWindow": 32_000,
                    "maxTokens": 4_096,
                    "reasoning": True,
                    "input": ["text", "image"],
                },
                {"id": "fake-2", "contextWindow": 64_000, "maxTokens": 4_096},
            ],
        }
        (self.agent_dir / "models.json").write_text(json.dumps({"providers": {"fake": provider}}))
        settings = {
            "defaultProvider": "fake",
            "defaultModel": "fake-1",
            "enableInstallTelemetry": False,
            "retry": {"enabled": True, "maxRetries": 1, "baseDelayMs": 100},
        }
        (self.agent_dir / "settings.json").write_text(json.dumps(settings))

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of the person who runs the tests, except where programs are."""
        (self.folder / "user").mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "user"),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PI_CODING_AGENT_DIR": str(self.agent_dir),
            "PI_OFFLINE": "1",
            "PI_TELEMETRY": "0",
            "HYPERPI_HOME": str(self.home),
            **more,
        }

    @contextlib.asynccontextmanager
    async def headless(self, *args: str, **more: str) -> AsyncIterator["HeadlessPi"]:
        """`pi --mode rpc` in the project, ended when the block is left."""
        pi = await HeadlessPi.start(self, *args, **more)
        try:
            yield pi
        finally:
            await pi.end()

    @contextlib.asynccontextmanager
    async def terminal(self, *args: str, **more: str) -> AsyncIterator["TerminalPi"]:
        """pi in a terminal of its own tmux server, killed when the block is left."""
        pi = TerminalPi(self)
        pi.start(*args, **more)
        try:
            yield pi
        finally:
            pi.end()

    async def once(self, *args: str, **more: str) -> str:
        """Run pi to its end (`-p TEXT`); what it printed."""
        process = await asyncio.create_subprocess_exec(
            str(self.program),
            *args,
            cwd=self.project,
            env=self.environment(**more),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(PATIENCE_S):
            out, _ = await process.communicate()
        assert process.returncode == 0, out
        return out.decode()


class HeadlessPi:
    """A pi held by its pipes; `said` is what it wrote, as JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[Json] = []
        self._happened = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, rig: PiRig, *args: str, **more: str) -> "HeadlessPi":
        process = await asyncio.create_subprocess_exec(
            str(rig.program),
            "--mode",
            "rpc",
            *args,
            cwd=rig.project,
            env=rig.environment(**more),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=8 << 20,
        )
        return cls(process)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        # Its last line may be cut short: pi does not wait for its pipes when it ends.
        while (line := await self.process.stdout.readline()).endswith(b"\n"):
            async with self._happened:
                self.said.append(json.loads(line))
                self._happened.notify_all()

    async def command(self, kind: str, **members: Any) -> Json:
        """Send a command and return its answer."""
        assert self.process.stdin is not None
        number = uuid.uuid4().hex
        self.process.stdin.write(json.dumps({"id": number, "type": kind, **members}).encode() + b"\n")
        return await self.hears(lambda said: said.get("type") == "response" and said.get("id") == number)

    async def hears(self, wanted: Callable[[Json], bool]) -> Json:
        """The first line that is wanted, among those that came and will come."""
        async with asyncio.timeout(PATIENCE_S), self._happened:
            await self._happened.wait_for(lambda: any(map(wanted, self.said)))
        return next(filter(wanted, self.said))

    async def hears_count(self, kind: str, count: int) -> None:
        """Wait until so many lines of a type have come."""
        async with asyncio.timeout(PATIENCE_S), self._happened:
            await self._happened.wait_for(lambda: sum(s.get("type") == kind for s in self.said) >= count)

    async def end(self) -> int:
        """Orderly by closing its input, else by force; its exit code."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE_S):
                code = await self.process.wait()
        except TimeoutError:
            self.process.kill()
            code = await self.process.wait()
        await self._reading
        return code


class TerminalPi:
    """A pi that a person could be typing into."""

    def __init__(self, rig: PiRig) -> None:
        self._rig = rig
        self._server = f"hyperpi-test-{uuid.uuid4().hex[:12]}"

    def start(self, *args: str, **more: str) -> None:
        environment = [f"{key}={value}" for key, value in self._rig.environment(**more).items()]
        self._tmux(
            *("-f", "/dev/null", "new-session", "-d", "-x", "140", "-y", "40", "-c", str(self._rig.project)),
            *("env", "-i", *environment, str(self._rig.program), *args),
        )

    def _tmux(self, *args: str) -> str:
        command = ["tmux", "-L", self._server, *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout

    def screen(self) -> str:
        """What is to be seen, with what has scrolled away."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-200")

    async def shows(self, text: str) -> None:
        await until(lambda: text in self.screen(), f"{text!r} on the screen")

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def kill(self, pid: int) -> None:
        """End pi itself as the kernel would when memory is short."""
        os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")
