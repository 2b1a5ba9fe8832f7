"""A live system whose node may start ACP agents: scripted ones, and real ones where they are installed."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from live import Following, Json, Program, System
from recording import text_of

import node

HERE = Path(__file__).resolve().parent
DOER = (sys.executable, str(HERE / "sdk_agent.py"))
TURN_S = 60.0  # a real agent reads its whole configuration for its first word, on a busy machine


def _programs() -> Path | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = sorted((cache / "hyperpi-test").glob("acp-*/bin/opencode"))
    return found[-1].parent if found else None


PROGRAMS = _programs()
needs_acp = [
    pytest.mark.acp,
    pytest.mark.skipif(PROGRAMS is None or shutil.which("node") is None, reason="see scripts/fetch_acp.sh"),
]


def prepare(system: System, model_url: str) -> None:
    """Before the node starts: what the agents are told, and which of them may be started."""
    user, project = system.folder / "user", system.folder / "user/project"
    project.mkdir(parents=True)
    (user / "opencode").mkdir()
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Fake",
        "options": {"baseURL": model_url, "apiKey": "not-a-secret"},
        "models": {"fake-1": {"name": "fake-1", "limit": {"context": 32000, "output": 4096}}},
    }
    opencode = {
        "model": "fake/fake-1",
        "small_model": "fake/fake-1",
        "autoupdate": False,
        "share": "disabled",
    }
    opencode |= {"permission": {"bash": "ask"}, "provider": {"fake": provider}}
    (user / "opencode/opencode.json").write_text(json.dumps(opencode))
    pi = {"baseUrl": model_url, "api": "openai-completions", "apiKey": "not-a-secret"}
    pi |= {"compat": {"supportsDeveloperRole": False, "supportsReasoningEffort": False}}
    pi |= {"models": [{"id": "fake-1", "contextWindow": 32000, "maxTokens": 4096}]}
    (user / "pi/extensions").mkdir(parents=True)
    (user / "pi/extensions/pi-socket").symlink_to(Path(node.__file__).with_name("pi_socket"))
    (user / "pi/models.json").write_text(json.dumps({"providers": {"fake": pi}}))
    (user / "pi/settings.json").write_text(json.dumps({"defaultProvider": "fake", "defaultModel": "fake-1"}))
    (system.home / "node").mkdir(parents=True, mode=0o700)
    allowed = json.dumps([shlex.join(DOER)])
    (system.home / "node/node.toml").write_text(f"[acp]\nallow = {allowed}\n")
    system.more |= {
        "PATH": os.pathsep.join([*([str(PROGRAMS)] if PROGRAMS else []), os.environ["PATH"]]),
        "XDG_CONFIG_HOME": str(user),
        "XDG_DATA_HOME": str(user / "data"),
        "XDG_STATE_HOME": str(user / "state"),
        "XDG_CACHE_HOME": str(user / "cache"),
        "PI_CODING_AGENT_DIR": str(user / "pi"),
        "PI_OFFLINE": "1",
        "PI_TELEMETRY": "0",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
    }


class AcpAgent:
    """One agent as a program on /ws drives it."""

    def __init__(self, program: Program, agent: str, told: Following) -> None:
        self.program, self.id, self.told = program, agent, told

    @property
    def entries(self) -> list[Json]:
        """As they stand now: the snapshot's, and those told since."""
        found = {entry["id"]: entry for entry in (self.told.snapshot or {}).get("entries", [])}
        for event in self.told.of_type("message_end"):
            found[event["entry"]["id"]] = event["entry"]
        return list(found.values())

    def said(self, *roles: str) -> list[str]:
        return [text_of(entry).strip() for entry in self.entries if entry["role"] in roles]

    def blocks(self, kind: str) -> list[Json]:
        return [block for entry in self.entries for block in entry["blocks"] if block["type"] == kind]

    async def prompt(self, text: str, **more: object) -> Json:
        return await self.program.call("agent.prompt", agent=self.id, text=text, **more)

    async def until(self, look: Callable[[], object], what: str) -> object:
        return await self.program.until(look, what, TURN_S)

    async def turn(self, text: str) -> None:
        """A prompt, and its turn's end."""
        receipt = await self.prompt(text)
        await self.until(lambda: self._rests_after(receipt["id"]), f"the end of the turn {text!r}")

    def _rests_after(self, prompt_id: str) -> bool:
        asked = [e["seq"] for e in self.told.of_type("user_message") if e.get("prompt_id") == prompt_id]
        return bool(asked) and any(
            event["seq"] > asked[0] and event["state"] == "idle" for event in self.told.of_type("state")
        )

    async def knows(self, **wanted: object) -> Json:
        return await self.program.knows(self.id, TURN_S, **wanted)


async def spawned(system: System, program: Program, *command: str, **more: object) -> AcpAgent:
    """An ACP agent in the project's folder, ready."""
    where = {
        "node": system.said("node")["node"],
        "path": str(system.folder / "user/project"),
        "request_id": os.urandom(8).hex(),
    }
    started = await program.call("node.spawn", **where, kind="acp", args=list(command), **more)
    shape = await program.knows(started["agent"], TURN_S, state="idle")
    system.pids.add(shape["pid"])  # a test that fails leaves no agent behind
    return AcpAgent(program, started["agent"], await program.attach(started["agent"]))
