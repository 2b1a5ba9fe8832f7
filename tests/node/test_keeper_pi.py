"""A keeper and the real pi, headless."""

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from keeper_rig import Rig, rig_in, until

from node.process import is_alive

PI = next(Path("~/.cache/hyperpi-test").expanduser().glob("pi-*/node_modules/.bin/pi"), None)

pytestmark = [
    pytest.mark.pi,
    pytest.mark.skipif(PI is None or shutil.which("node") is None, reason="pi is not in the cache folder"),
]

MODELS = {
    "providers": {
        "fake": {
            "baseUrl": "http://127.0.0.1:9/v1",
            "api": "openai-completions",
            "apiKey": "x",
            "models": [{"id": "fake-1", "contextWindow": 32000, "maxTokens": 4096}],
        }
    }
}

ASKS_A_PERSON = """
import * as fs from "node:fs";
export default function (pi: any) {
  pi.on("session_start", (_event: any, ctx: any) => {
    setTimeout(async () => {
      const sure = await ctx.ui.confirm("Really?", "Are you sure?");
      const which = await ctx.ui.select("Which?", ["a", "b"]);
      fs.writeFileSync("asked.tmp", JSON.stringify([sure, which ?? null, process.env.HYPERPI_INSTANCE]));
      fs.renameSync("asked.tmp", "asked");
    }, 100);
  });
}
"""


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig_in(tmp_path) as rig:
        root = tmp_path / "pi-agent"
        (root / "extensions").mkdir(parents=True)
        (root / "models.json").write_text(json.dumps(MODELS))
        (root / "settings.json").write_text('{"defaultProvider": "fake", "defaultModel": "fake-1"}')
        (root / "extensions/asks.ts").write_text(ASKS_A_PERSON)
        rig.environment |= {"PI_CODING_AGENT_DIR": str(root), "PI_OFFLINE": "1", "PI_TELEMETRY": "0"}
        yield rig


async def test_a_headless_pi_is_not_blocked_by_dialogs_and_ends_in_order_with_its_commands(rig: Rig) -> None:
    node = await rig.node()
    one = await rig.start(str(PI), "--mode", "rpc", kind="pi")
    await until((rig.work / "asked").exists)
    assert json.loads((rig.work / "asked").read_text()) == [False, None, one.instance]

    command = {"id": "1", "type": "bash", "command": "echo $$ > pid; sleep 1000"}
    await node.book.send_input(one.agent, json.dumps(command).encode() + b"\n")
    await until(lambda: (rig.work / "pid").exists() and (rig.work / "pid").read_text().endswith("\n"))
    shell = int((rig.work / "pid").read_text())
    assert os.getsid(shell) != os.getsid(one.pid)  # so that ending pi's group would not have ended it

    await node.book.stop(one.agent, grace_s=10)
    ended = await node.end_of(one.agent)
    assert ended.detail == "stopped (exit code 0)"
    assert not is_alive(shell)
