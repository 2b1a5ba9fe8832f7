"""The model that a pi uses: shown, changed from afar, and said honestly when it cannot be."""

import pytest
from model_server import ModelServer
from rig import PiRig, needs_pi, needs_tmux
from stand_in import Json, StandIn

pytestmark = needs_pi

REASONS = ["off", "minimal", "low", "medium", "high"]


async def test_a_pi_tells_its_model_its_level_and_what_else_it_could_use(rig: PiRig, node: StandIn) -> None:
    async with rig.headless():
        card = (await node.registered())["card"]
        assert (card["model"], card["models"]) == ("fake/fake-1", ["fake/fake-1", "fake/fake-2"])
        assert card["thinking"] in REASONS
        assert card["thinking_levels"] == REASONS


async def test_another_model_is_used_from_the_next_request_on(
    rig: PiRig, node: StandIn, model: ModelServer
) -> None:
    async with rig.headless():
        await node.registered()
        told = (await node.call("configure", {"model": "fake/fake-2"}))["result"]
        assert told == {"model": "fake/fake-2", "thinking": "off"}
        card = await node.until(lambda: _newest(node, "card"))
        assert (card["model"], card["thinking_levels"]) == ("fake/fake-2", ["off"])
        await node.prompt("hello", "p1")
        await node.entry("assistant", "ECHO: hello")
        assert model.requests[-1]["model"] == "fake-2"
        assert (await node.snapshot())["model"] == "fake/fake-2"


async def test_a_level_is_set_alone_or_with_a_model_by_its_id(rig: PiRig, node: StandIn) -> None:
    async with rig.headless():
        await node.registered()
        told = (await node.call("configure", {"thinking": "high"}))["result"]
        assert told == {"model": "fake/fake-1", "thinking": "high"}
        await node.call("configure", {"model": "fake-2"})
        told = (await node.call("configure", {"model": "fake-1", "thinking": "low"}))["result"]
        assert told == {"model": "fake/fake-1", "thinking": "low"}
        assert (await node.snapshot())["thinking"] == "low"


async def test_what_pi_does_not_have_is_refused_with_what_it_has_and_changes_nothing(
    rig: PiRig, node: StandIn
) -> None:
    async with rig.headless():
        await node.registered()
        error = (await node.call("configure", {"model": "acme/fak-2"}))["error"]
        assert error["code"] == -32602
        assert error["data"]["hint"].startswith("did you mean fake/fake-2")
        error = (await node.call("configure", {"model": "fake-2", "thinking": "high"}))["error"]
        assert error["data"]["hint"] == "one of: off"
        assert (await node.call("configure", {}))["error"]["code"] == -32602
        assert (await node.snapshot())["model"] == "fake/fake-1"


async def test_how_full_the_window_is_is_told_after_each_answer(rig: PiRig, node: StandIn) -> None:
    async with rig.headless():
        await node.registered()
        await node.prompt("hello", "p1")
        await node.worked()
        usage = await node.until(lambda: _counted(node))
        assert usage["context"]["window"] == 32_000
        assert usage["context"]["percent"] == pytest.approx(100 * usage["context"]["tokens"] / 32_000)
        assert usage == (await node.snapshot())["usage"]
        assert node.all("usage")[-1]["context"] == usage["context"]


class TestAPersonAtTheTerminal:
    pytestmark = needs_tmux

    async def test_sees_what_was_chosen_from_afar_and_is_seen_choosing(
        self, rig: PiRig, node: StandIn
    ) -> None:
        async with rig.terminal() as terminal:
            await node.registered()
            await node.call("configure", {"model": "fake-2"})
            await terminal.shows("fake-2")
            terminal.press("C-p")  # the next model
            await node.until(lambda: (_newest(node, "card") or {}).get("model") == "fake/fake-1")


def _newest(node: StandIn, member: str) -> Json | None:
    return next((change[member] for change in reversed(node.said("changed")) if member in change), None)


def _counted(node: StandIn) -> Json | None:
    usage = _newest(node, "usage") or {}
    return usage if (usage.get("context") or {}).get("tokens") else None
