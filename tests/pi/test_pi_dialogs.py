"""Questions of pi's extensions in a headless pi, answered by whoever looks: through its keeper and back."""

import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from live import Program, System, new_system
from owners_pi import give_pi
from rig import needs_pi, until
from test_pi_approvals import Watched, attached

pytestmark = needs_pi

Json = dict[str, Any]

ASKS = """
import { writeFileSync, renameSync } from "node:fs";
export default function (pi: any) {
  pi.on("session_start", (_event: any, ctx: any) => {
    setTimeout(async () => {
      const told: unknown[] = [];
      const note = (answer: unknown) => {
        told.push(answer ?? null);
        writeFileSync("told.tmp", JSON.stringify(told));
        renameSync("told.tmp", "told");
      };
      note(await ctx.ui.select("Which database?", ["staging", "production"]));
      ctx.ui.notify(`Looking at ${told[0]}.`, "warning");
      note(await ctx.ui.confirm("Really?", "It has users."));
      note(await ctx.ui.input("Its name?", "db-1"));
      note(await ctx.ui.confirm("In time?", "Nobody will say.", { timeout: 400 }));
      note(await ctx.ui.select("And now?", ["one", "two"]));
    }, 100);
  });
}
"""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A system whose owner has a pi with an extension that asks things."""
    with new_system() as found:
        rig = give_pi(found, "http://127.0.0.1:9/v1")
        (rig.agent_dir / "extensions" / "asks.ts").write_text(ASKS)
        (found.folder / "user" / "work").mkdir(parents=True)
        found.start()
        yield found
        for agent in json.loads(
            found.run("ls", "--json").stdout
        ):  # keepers outlive all else, failed tests too
            if agent["state"] != "exited":
                found.run("stop", agent["id"])


@pytest.fixture
async def program(system: System) -> AsyncIterator[Program]:
    async with system.program() as found:
        await found.call("mesh.get")
        yield found


async def test_dialogs_of_a_headless_pi_are_answered_by_people_over_a_killed_node(
    system: System, program: Program
) -> None:
    work = Path(tempfile.mkdtemp(dir=system.folder / "user" / "work"))
    spawned = await program.call(
        "node.spawn", node="den", path=str(work), kind="pi", headless=True, request_id=work.name
    )
    agent = spawned["agent"]
    pi = Watched(program, await attached(program, agent), agent)

    which = await asked(pi, "Which database?")
    shape = await program.knows(agent, state="waiting", pending=1)
    assert shape["detail"] == "waits for an answer: Which database?"
    assert which["action"]["kind"] == "dialog"
    assert [choice["label"] for choice in which["choices"]] == ["staging", "production", "Cancel"]
    decided = await pi.answer(which, "1")
    assert decided["approval"]["state"] == "approved"

    really = await asked(pi, "Really?")
    assert really["action"]["detail"]["message"] == "It has users."
    said = [(event["level"], event["text"]) for event in pi.view.of_type("notice")]
    assert said == [("warning", "Looking at production.")]
    await pi.answer(really, "no")

    name = await asked(pi, "Its name?")
    assert [choice["kind"] for choice in name["choices"]] == ["text", "reject_once"]
    await pi.answer(name, "submit", text="db-9 ü")

    # pi gives this one a time of its own; whether its keeper or the node sees first that it is over, is open.
    def over() -> list[Json]:
        found = [event["approval"] for event in pi.view.of_type("approval")]
        mine = [approval for approval in found if approval["action"]["summary"] == "In time?"]
        return [approval for approval in mine if approval["state"] in {"expired", "withdrawn"}]

    await program.until(over, "the end of its time")

    last = await asked(pi, "And now?")
    assert told(work) == ["production", False, "db-9 ü", False]
    system.kill_node()
    system.start_node()
    async with system.program() as again:
        await again.knows(agent, state="waiting", pending=1)
        listed = (await again.call("approval.list", agent=agent))["approvals"]
        assert [one["id"] for one in listed] == [last["id"]]
        await again.call("agent.answer", agent=agent, approval=last["id"], choice="0")
        await until(lambda: len(told(work)) == 5, "the last answer")
        assert told(work)[-1] == "one"
        await again.call("agent.stop", agent=agent)
        await again.knows(agent, state="exited")


async def asked(pi: Watched, title: str) -> Json:
    """The dialog of that title, also when it was open before anybody looked."""
    snapshot = pi.view.snapshot or {}
    known = [one for one in snapshot.get("pending", ()) if one["action"]["summary"] == title]
    return known[0] if known else await pi.asked(title)


def told(work: Path) -> list[Any]:
    """What the extension was told so far."""
    found: list[Any] = json.loads((work / "told").read_text()) if (work / "told").exists() else []
    return found
