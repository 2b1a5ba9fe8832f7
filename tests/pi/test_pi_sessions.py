"""Other sessions of the same pi, and pis that are no agents."""

import shutil
import uuid
from pathlib import Path

from rig import PiRig, needs_pi
from stand_in import StandIn, text_of

pytestmark = needs_pi

GOES_TO = """
export default function (pi: any) {
  pi.registerCommand("goto", { handler: async (id: string, ctx: any) => { await ctx.navigateTree(id); } });
}
"""


async def test_new_fork_and_tree_are_told_as_resets_of_the_same_instance(rig: PiRig, node: StandIn) -> None:
    (rig.agent_dir / "extensions" / "goes-to.ts").write_text(GOES_TO)
    async with rig.headless() as pi:
        hello = await node.registered()
        await node.prompt("one", "p1")
        first = await node.entry("assistant", "ECHO: one")
        await node.prompt("two", "p2")
        await node.entry("assistant", "ECHO: two")
        await node.until(lambda: node.state() == "idle")

        # /tree: the same session, another branch of it.
        await pi.command("prompt", message=f"/goto {first['id']}")
        await node.until(lambda: [c for c in node.said("changed") if c.get("reset") == "tree"])
        assert [text_of(e) for e in (await node.snapshot())["entries"]] == ["one", "ECHO: one"]
        await node.prompt("three", "p3")
        await node.entry("assistant", "ECHO: three")
        await node.until(lambda: node.state() == "idle")
        entries = (await node.snapshot())["entries"]
        assert [text_of(e) for e in entries] == ["one", "ECHO: one", "three", "ECHO: three"]

        # /fork: another session that begins with a part of this one.
        await pi.command("fork", entryId=entries[2]["id"])
        forked = await node.registered(2)
        assert forked["session"]["id"] != hello["session"]["id"]
        assert [text_of(e) for e in (await node.snapshot())["entries"]] == ["one", "ECHO: one"]

        # /new: another session; pi itself, and so the agent, goes on.
        before = len(node.events)
        await pi.command("new_session")
        again = await node.registered(3)
        assert again["instance"] == forked["instance"] == hello["instance"]
        assert again["session"]["id"] not in {hello["session"]["id"], forked["session"]["id"]}
        assert (await node.snapshot())["entries"] == []
        await node.prompt("fresh", "p4")
        await node.entry("assistant", "ECHO: fresh")
        assert [text_of(e) for e in (await node.snapshot())["entries"]] == ["fresh", "ECHO: fresh"]
        assert not [e for e in node.events[before:] if "three" in str(e)]
        assert node.said("bye") == []
        usage = [change["usage"] for change in node.said("changed") if "usage" in change][-1]
        assert usage["input_tokens"] == 11


async def test_an_extension_that_is_loaded_twice_is_one_agent(rig: PiRig, node: StandIn) -> None:
    twin = rig.folder / "twin"
    shutil.copytree(rig.agent_dir / "extensions" / "pi-socket", twin)
    async with rig.headless("-e", str(twin / "index.ts")) as pi:
        await node.registered()
        await pi.command("new_session")  # emits session_start twice
        await node.prompt("hello", "p1")
        await node.entry("assistant", "ECHO: hello")
        await node.until(lambda: node.state() == "idle")
        assert len(node.all("user_message")) == 1
        assert len({hello["instance"] for hello in node.said("register")}) == 1
        assert [text_of(e) for e in (await node.snapshot())["entries"]] == ["hello", "ECHO: hello"]


async def test_a_print_mode_pi_registers_nothing(rig: PiRig, node: StandIn) -> None:
    assert "ECHO: hello" in await rig.once("-p", "hello")
    assert node.log == []
    assert not node.connected


async def test_a_spawned_pi_is_the_instance_that_was_expected_and_its_children_are_not(
    rig: PiRig, node: StandIn
) -> None:
    instance = str(uuid.uuid4())
    async with rig.headless(HYPERPI_INSTANCE=instance):
        assert (await node.registered())["instance"] == instance
        await node.prompt('run: echo "[$HYPERPI_INSTANCE]"', "p1")
        await node.entry("assistant", "The command printed: []")


async def test_a_headless_pi_stops_when_its_node_says_so(rig: PiRig, node: StandIn) -> None:
    async with rig.headless() as pi:
        await node.registered()
        await node.prompt("hold: never", "p1")
        await node.event("text_delta")
        assert (await node.call("stop"))["result"] == {}
        await node.until(lambda: node.said("bye"))
        assert node.said("bye") == [{"reason": "quit"}]
        await pi.process.wait()


async def test_errors_of_the_extension_go_to_a_file_and_not_to_the_terminal(
    rig: PiRig, node: StandIn, home: Path
) -> None:
    async with rig.headless() as pi:
        await node.registered()
        node.send({"jsonrpc": "2.0", "id": 1, "method": "snapshot"})
        assert node._writer is not None
        node._writer.write(b"nonsense\n")
        await node.registered(2)
        assert "receive: SyntaxError" in (home / "logs" / "pi-socket.log").read_text()
        assert not [said for said in pi.said if said.get("type") == "extension_error"]
