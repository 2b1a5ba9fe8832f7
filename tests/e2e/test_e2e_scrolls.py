"""Scrolls between real pis on two machines: every receipt, both pictures, and a machine that is away."""

import json
import struct
import sys

import pytest
from hosts import Host, until
from household import Clock, Household, Json
from PIL import Image
from rig import needs_pi, needs_tmux

from hyperpi.cli.client import Notice, connect_local

pytestmark = [pytest.mark.netns, *needs_pi, needs_tmux]

STEPS = ["accepted", "relayed", "stored", "delivered", "answered"]


def test_a_scroll_is_answered_on_another_machine_and_stands_in_both_pictures(home: Household) -> None:
    with home.pi_in_terminal(home.attic, "src/client") as terminal:
        home.agent("client@attic")
        clock = Clock()
        sending = ("hyperpi", "send", "client@attic", "the schema has changed", "--intent", "handoff")
        sent = home.den.did(*sending, "--wait", "--json").json
        clock.say("hyperpi send --wait, the whole command")
        assert sent["state"] == "answered"
        assert sent["opcode"]["from"] == "client@attic"
        assert sent["opcode"]["content"].startswith("ECHO:")
        terminal.sees("the schema has changed")
        for host in (home.den, home.attic):
            scroll = pictured(host, sent["scroll_id"])
            assert (scroll["message"], scroll["intent"]) == ("the schema has changed", "handoff")


def test_the_receipts_of_a_scroll_come_in_order(home: Household) -> None:
    with home.pi_in_terminal(home.cellar, "src/server"):
        home.agent("server@cellar")
        assert (
            follow(home, {"to": "server@cellar", "message": "hello", "scroll_id": "SCROLL-in-order"}) == STEPS
        )


def test_an_agent_hands_over_to_an_agent_on_another_machine_by_its_own_command(home: Household) -> None:
    with (
        home.pi_in_terminal(home.attic, "src/web"),
        home.pi_in_terminal(home.cellar, "src/schema") as server,
    ):
        home.agent("web@attic")
        home.agent("schema@cellar")
        server.type("run: hyperpi send web@attic 'the schema has changed' --wait")
        server.sees("The command printed: ECHO:")
        listed = home.cellar.did("hyperpi", "scrolls", "--json").json
        sent = [(scroll["from"], scroll["state"]) for scroll in listed if scroll["to"] == "web@attic"]
        assert sent == [("schema@cellar", "answered")]


def test_an_agents_command_cannot_stop_another_agent_on_any_machine(home: Household) -> None:
    with home.pi_in_terminal(home.attic, "src/victim"):
        victim = home.agent("victim@attic")
        for host in (home.den, home.cellar):  # over the hypivisor's control socket, and over a node's
            with home.pi_in_terminal(host, "src/culprit") as culprit:
                home.agent(f"culprit@{host.name}")
                culprit.type("run: hyperpi stop victim@attic || echo it ended with $?")
                culprit.sees("is not for an agent")
                culprit.sees("it ended with 1")
        assert home.agent("victim@attic")["pid"] == victim["pid"]


def follow(home: Household, scroll: Json) -> list[str]:
    """Send a scroll; the states it was in, as its sender was told."""
    client = connect_local("hypivisor", home.den.home / "hypivisor")
    assert client is not None
    clock = Clock()
    with client:
        states = [client.call("scroll.send", scroll)["state"]]
        clock.say(states[0])
        for message in client.messages(20):
            if isinstance(message, Notice) and message.params.get("scroll_id") == scroll["scroll_id"]:
                states.append(message.params["state"])
                clock.say(states[-1])
                if states[-1] == STEPS[-1]:
                    break
    return states


def pictured(host: Host, scroll_id: str) -> Json:
    """The scroll as the pixels of a machine's picture hold it, read as any image tool reads it."""
    picture = host.home / "node" / "disk" / "8.png"

    def listed() -> Json | None:
        done = host.did(sys.executable, "-m", "pxldisk", "rows", str(picture), "--json")
        rows = [json.loads(line) for line in done.out.splitlines()]
        return next((row for row in rows if scroll_id in str(row["key"]) and "scroll" in row["kind"]), None)

    row = until(listed, f"a row with {scroll_id} in {picture}")
    with Image.open(picture) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        pixels = image.crop((0, row["row"], image.width, row["row"] + 1)).tobytes()
    # docs/pxldisk-format.md, "Record rows"
    header = struct.Struct(">BBBBBHHHHIQQ16s")
    mark, _, _, owner, key, part, parts, _, here, total, *_ = header.unpack_from(pixels)
    assert (mark, part, parts, here) == (0x50, 0, 1, total)
    body = pixels[header.size : header.size + here]
    scroll: Json = json.loads(body[owner + key :])["scroll"]
    return scroll
