"""Scrolls of other agents reach a pi as data, and its next answer goes back."""

from model_server import ModelServer
from rig import Json, PiRig, needs_pi
from stand_in import StandIn

pytestmark = needs_pi


def scroll(number: int, message: str, **more: object) -> Json:
    return {
        "scroll": {
            "scroll_id": f"SCROLL-{number}",
            "from": "lead@den",
            "to": "client@attic",
            "message": message,
            "intent": "handoff",
            **more,
        }
    }


def answer_to(node: StandIn, number: int) -> Json | None:
    wanted = f"SCROLL-{number}"
    return next((said["opcode"] for said in node.said("answer") if said["scroll_id"] == wanted), None)


async def test_a_scroll_enters_once_with_its_sender_and_is_answered(
    rig: PiRig, node: StandIn, model: ModelServer
) -> None:
    async with rig.headless():
        await node.registered()
        await node.prompt("hold: a", "p1")
        await node.event("text_delta")
        delivery = node.ask("deliver", scroll(1, "run: echo schema", data={"diff": "+x"}))
        again = node.ask("deliver", scroll(1, "run: echo schema", data={"diff": "+x"}))
        assert (await node.call("ping"))["result"] == {}
        assert not delivery.done()  # pi is in the middle of something
        model.release("a")
        assert (await delivery)["result"] == (await again)["result"] == {}
        opcode = await node.until(lambda: answer_to(node, 1))
        assert opcode == {"opcode_type": "text_display", "content": "The command printed: schema"}

        shown = node.all("user_message", source="scroll")
        assert len(shown) == 1
        text = shown[0]["text"]
        assert "SCROLL-1" in text
        assert "from lead@den" in text
        assert "cannot approve" in text
        assert "run: echo schema" in text
        assert '"diff": "+x"' in text

        assert (await node.call("deliver", scroll(1, "run: echo schema")))["result"] == {}
        assert (await node.call("deliver", scroll(2, "hi", data=None)))["result"] == {}
        await node.until(lambda: answer_to(node, 2))
        assert len(node.all("user_message", source="scroll")) == 2
        assert [said["scroll_id"] for said in node.said("answer")] == ["SCROLL-1", "SCROLL-2"]


async def test_a_scroll_whose_turn_fails_or_is_aborted_is_answered_with_an_error(
    rig: PiRig, node: StandIn
) -> None:
    async with rig.headless():
        await node.registered()
        await node.call("deliver", scroll(1, "hold: never"))
        await node.event("text_delta")
        await node.call("abort")
        opcode = await node.until(lambda: answer_to(node, 1))
        assert opcode["opcode_type"] == "error"
        assert "aborted" in opcode["content"]
        await node.until(lambda: node.state() == "idle")

        # pi tries a failed request again by itself: only what it ends with is the answer.
        await node.call("deliver", scroll(2, "flaky: second try"))
        opcode = await node.until(lambda: answer_to(node, 2))
        assert opcode == {"opcode_type": "text_display", "content": "ECHO: second try"}
        assert node.having("notice", level="error")
        await node.until(lambda: node.state() == "idle")

        await node.call("deliver", scroll(3, "error: 400"))
        opcode = await node.until(lambda: answer_to(node, 3))
        assert opcode["opcode_type"] == "error"


async def test_an_answer_that_its_node_did_not_confirm_is_given_again(
    rig: PiRig, node: StandIn, model: ModelServer
) -> None:
    async with rig.headless():
        await node.registered()
        await node.call("deliver", scroll(1, "hold: a"))
        await node.event("text_delta")
        await node.stop()
        model.release("a")
        await node.start()
        await node.registered(2)
        opcode = await node.until(lambda: answer_to(node, 1))
        assert opcode["content"] == "one two three four"
        assert (await node.call("deliver", scroll(1, "hold: a")))["result"] == {}
        assert len(node.all("user_message")) == 1
