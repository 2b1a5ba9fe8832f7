"""Slash commands, templates and skills of a pi: which there are, and that they do what they say from afar."""

from model_server import ModelServer
from rig import PiRig, needs_pi
from stand_in import Json, StandIn, text_of

pytestmark = needs_pi

EXTENSION = """
export default function (pi: any) {
  pi.registerCommand("label-me", {
    description: "names the session",
    handler: async (name: string) => { pi.setSessionName(name); },
  });
}
"""


def _furnish(rig: PiRig) -> None:
    (rig.agent_dir / "extensions" / "labels.ts").write_text(EXTENSION)
    (rig.agent_dir / "prompts").mkdir()
    (rig.agent_dir / "prompts" / "greet.md").write_text("---\ndescription: greets\n---\nSay hello to $1.")
    skill = rig.agent_dir / "skills" / "knots"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: knots\ndescription: ties knots\n---\nTie a bowline.")


async def _commands(node: StandIn) -> dict[str, Json]:
    answer = await node.call("commands")
    return {one["name"]: one for one in answer["result"]["commands"]}


async def test_templates_and_skills_are_listed_and_expanded(
    rig: PiRig, node: StandIn, model: ModelServer
) -> None:
    _furnish(rig)
    async with rig.headless():
        await node.registered()
        known = await _commands(node)
        assert known["greet"] == {"name": "greet", "description": "greets", "kind": "prompt"}
        assert known["skill:knots"]["kind"] == "skill"
        await node.prompt("/greet Ada", "p1")
        entry = await node.entry("user", "Say hello to Ada.")
        assert text_of(entry) == "Say hello to Ada."
        await node.worked()
        await node.prompt("/skill:knots quickly", "p2")
        entry = await node.entry("user", "Tie a bowline.")
        assert text_of(entry).endswith("quickly")
        await node.worked(2)
        echoes = node.all("user_message")
        assert [echo["prompt_id"] for echo in echoes] == ["p1", "p2"]


async def test_a_command_of_an_extension_runs_where_pi_can_be_told_to(rig: PiRig, node: StandIn) -> None:
    _furnish(rig)
    async with rig.headless():
        await node.registered()
        if "label-me" not in await _commands(node):  # 0.74 runs none for another extension, and offers none
            await node.prompt("/label-me here", "p1")
            assert text_of(await node.entry("user", "/label-me")) == "/label-me here"
            return
        assert (await node.prompt("/label-me harbour", "p1"))["result"] == {"receipt": "delivered"}
        await node.until(
            lambda: [c for c in node.said("changed") if (c.get("session") or {}).get("name") == "harbour"]
        )
        assert node.all("user_message") == []
