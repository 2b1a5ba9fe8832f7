"""What a real pi's commands leave running, and who stops it."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import System, is_running, new_system
from model_server import model_server
from owners_pi import give_pi
from rig import needs_pi, until

pytestmark = needs_pi


@pytest.fixture
def system() -> Iterator[System]:
    with model_server() as model, new_system() as found:
        give_pi(found, model.url)
        found.start()
        yield found


async def test_stopping_a_pi_ends_the_server_that_its_command_left_in_the_background(system: System):
    work = Path(tempfile.mkdtemp(dir=system.folder / "user"))
    async with system.program() as program:
        where = {"node": "den", "path": str(work), "kind": "pi", "request_id": work.name}
        agent = (await program.call("node.spawn", **where))["agent"]
        await program.knows(agent, state="idle")
        command = "nohup sleep 1000 > /dev/null 2>&1 & echo $! > server.tmp; mv server.tmp server"
        await program.call("agent.prompt", agent=agent, text=f"run: {command}")
        await until((work / "server").exists, "the server")
        server = int((work / "server").read_text())
        await program.knows(agent, state="idle")
        try:
            assert is_running(server)
            await program.call("agent.stop", agent=agent)
            await program.knows(agent, state="exited")
            await until(lambda: not is_running(server), "the end of the server")
        finally:
            if is_running(server):
                os.kill(server, signal.SIGKILL)
