"""Record what real pis tell their extensions: tests/pi/corpus/VERSION-SCENARIO.jsonl.

    PYTHONPATH=tests/pi python tests/pi/record_corpus.py [SCENARIO …]

Each scenario drives a headless pi of each version with the scripted model. The recordings are replayed by
test_pi_corpus.py; make them anew when pi has a new version, and read what has changed.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from model_server import ModelServer, model_server
from rig import PIS, HeadlessPi, PiRig, short_folder

CORPUS = Path(__file__).with_name("corpus")
RECORDER = Path(__file__).with_name("recorder.ts")
PATIENCE_S = 30.0


class Scene:
    """A pi that is recorded, and what can be done to it."""

    def __init__(self, pi: HeadlessPi, model: ModelServer, recording: Path) -> None:
        self.pi, self.model, self.recording = pi, model, recording

    async def ask(self, text: str) -> None:
        """A prompt, until pi has done with it."""
        ends = self.count("agent_end")
        await self.pi.command("prompt", message=text)
        await self.until(lambda: self.count("agent_end") > ends)
        await self.rest()

    async def rest(self) -> None:
        """Return when pi is idle, and says so."""
        async with asyncio.timeout(PATIENCE_S):
            while (await self.pi.command("get_state"))["data"]["isStreaming"]:
                await asyncio.sleep(0.05)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.02)

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.recording.read_text().splitlines()]

    def count(self, kind: str) -> int:
        return sum(line["event"]["type"] == kind for line in self.lines())

    def said(self, text: str) -> bool:
        return text in self.recording.read_text()


async def turns(scene: Scene) -> None:
    await scene.ask("hello there")
    await scene.ask("think: so it is")
    await scene.ask("pair: crab ")


async def tools(scene: Scene) -> None:
    await scene.ask("run: for i in 1 2 3; do echo line $i; sleep 0.2; done")
    await scene.ask("run: echo no >&2; exit 3")
    await scene.ask('tool: read {"path": "missing.txt"}')


async def steer(scene: Scene) -> None:
    await scene.pi.command("prompt", message="hold: a")
    await scene.until(lambda: scene.said("three"))
    await scene.pi.command("follow_up", message="later")
    await scene.pi.command("steer", message="now please")
    scene.model.release("a")
    await scene.until(lambda: scene.said("ECHO: later") or scene.said(" later"))
    await scene.rest()


async def abort(scene: Scene) -> None:
    await scene.pi.command("prompt", message="hold: never")
    await scene.until(lambda: scene.said("three"))
    await scene.pi.command("abort")
    await scene.rest()
    await scene.pi.command("prompt", message="run: sleep 30")
    await scene.until(lambda: scene.count("tool_execution_start") == 1)
    await scene.pi.command("abort")
    await scene.rest()
    await scene.ask("and on")


async def fails(scene: Scene) -> None:
    await scene.ask("error: 400")
    await scene.ask("and on")


async def new(scene: Scene) -> None:
    await scene.ask("in the first")
    await scene.pi.command("new_session")
    await scene.ask("in the second")


async def tree(scene: Scene) -> None:
    await scene.ask("one")
    await scene.ask("two")
    first = next(e for line in scene.lines() for e in line.get("entries", ()) if "ECHO: one" in json.dumps(e))
    await scene.pi.command("prompt", message=f"/goto {first['id']}")
    await scene.until(lambda: scene.count("session_tree") == 1)
    await scene.ask("three")


async def reload(scene: Scene) -> None:
    await scene.ask("before")
    await scene.pi.command("prompt", message="/again")
    await scene.until(lambda: scene.count("session_start") == 2)
    await scene.ask("after")


async def compaction(scene: Scene) -> None:
    for number in range(3):
        await scene.ask(f"number {number} " + "and so on " * 12)
    answer = await scene.pi.command("compact")
    assert answer["success"], answer
    await scene.until(lambda: scene.count("session_compact") == 1)
    await scene.ask("after")


async def bash(scene: Scene) -> None:
    await scene.ask("hello")
    await scene.pi.command("bash", command="echo typed")
    await scene.ask("and on")


async def kill(scene: Scene) -> None:
    await scene.ask("hello")
    await scene.pi.command("prompt", message="hold: for ever")
    await scene.until(lambda: scene.said("three"))
    scene.pi.process.kill()


SCENARIOS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    each.__name__: each
    for each in (turns, tools, steer, abort, fails, new, tree, reload, compaction, bash, kill)
}


async def record(version: str, name: str) -> Path:
    """One scenario with one pi; the recording."""
    recording = CORPUS / f"{version}-{name}.jsonl"
    with tempfile.TemporaryDirectory() as folder, short_folder() as home, model_server() as model:
        rig = PiRig(Path(folder) / "rig", home, model.url, PIS[version])
        (rig.agent_dir / "extensions" / "pi-socket").unlink()
        shutil.copy(RECORDER, rig.agent_dir / "extensions" / "recorder.ts")
        settings = json.loads((rig.agent_dir / "settings.json").read_text())
        settings |= {"compaction": {"enabled": True, "keepRecentTokens": 20, "reserveTokens": 1000}}
        settings["retry"] = {"enabled": False}
        (rig.agent_dir / "settings.json").write_text(json.dumps(settings))
        draft = rig.folder / "recording.jsonl"
        draft.touch()
        hides = [
            [str(rig.project), "/srv/project"],
            [str(rig.folder), "/srv"],
            [_slug(rig.project), "--project"],
        ]
        async with rig.headless(PI_RECORDING=str(draft), PI_RECORDING_HIDES=json.dumps(hides)) as pi:
            scene = Scene(pi, model, draft)
            await scene.until(lambda: scene.count("session_start") >= 1)
            await SCENARIOS[name](scene)
        CORPUS.mkdir(exist_ok=True)
        shutil.move(draft, recording)
    return recording


def _slug(project: Path) -> str:
    """A folder as pi names the folder of its sessions."""
    return "--" + str(project).strip("/").replace("/", "-")


async def main() -> None:
    for version in PIS:
        for name in sys.argv[1:] or SCENARIOS:
            made = await record(version, name)
            print(f"{made.name}: {len(made.read_text().splitlines())} lines, {made.stat().st_size} bytes")


if __name__ == "__main__":
    asyncio.run(main())
