"""The agents of examples/ in a live system: what the documentation promises of them."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import PATIENCE_S, Program, Refused, System, new_system

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
COMMANDS = {
    "python": [sys.executable, str(EXAMPLES / "echo_agent.py")],
    "node": [shutil.which("node") or "", str(EXAMPLES / "echo_agent.mjs")],
}


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A system of its own: its node is killed."""
    with new_system() as found:
        found.start()
        yield found


@pytest.fixture(params=COMMANDS)
def echo(system: System, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    command = COMMANDS[request.param]
    if not command[0]:
        pytest.skip("no Node.js")
    process = subprocess.Popen(command, env=system.environment, cwd=system.folder / "user")
    system.pids.add(process.pid)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)


async def echo_of(program: Program, process: subprocess.Popen[bytes], **wanted: object) -> str:
    """The id of the agent that this process is."""
    if not program.mesh:
        await program.call("mesh.get")

    def look() -> str | None:
        shapes = [shape for shape in program.agents.values() if shape["pid"] == process.pid]
        fits = [s for s in shapes if all(s[key] == value for key, value in wanted.items())]
        return fits[0]["id"] if fits else None

    return str(await program.until(look, "the example's registration", PATIENCE_S))


async def test_an_example_repeats_what_it_is_told_and_survives_its_node(
    system: System, echo: subprocess.Popen[bytes]
):
    async with system.program() as program:
        agent = await echo_of(program, echo, state="idle")
        with pytest.raises(Refused, match="echo takes no pictures"):
            await program.call("agent.prompt", agent=agent, text="see", images=[{"data": PIXEL}])
        assert (await program.call("agent.prompt", agent=agent, text="hello"))["receipt"] == "delivered"
        told = await program.attach(agent)
        assert told.snapshot is not None
        assert [entry["blocks"][0]["text"] for entry in told.snapshot["entries"]] == [
            "hello",
            "You said: hello",
        ]

        sent = await program.call("scroll.send", to=agent, message="schema changed")
        answers = await program.until(
            lambda: program.params_of("scroll.changed", scroll_id=sent["scroll_id"], state="answered"), "it"
        )
        assert answers[0]["opcode"]["content"] == "understood"

    system.kill_node()
    system.start_node()
    async with system.program() as program:
        assert await echo_of(program, echo, state="idle") == agent
        told = await program.attach(agent)
        assert (await program.call("agent.prompt", agent=agent, text="again"))["receipt"] == "delivered"
        await program.until(lambda: len(told.of_type("message_end")) == 2, "the events of the second prompt")
        assert told.snapshot is not None
        assert len(told.snapshot["entries"]) == 2
        said = [event["entry"]["blocks"][0]["text"] for event in told.of_type("message_end")]
        assert said == ["again", "You said: again"]
