"""A pi in a person's terminal: nothing changes for them, and everything is seen."""

import asyncio
import contextlib
import os

from rig import PiRig, TerminalPi, needs_pi, needs_tmux, until
from stand_in import URL, StandIn, text_of

pytestmark = [*needs_pi, needs_tmux]


async def test_a_person_sees_the_address_types_and_leaves_and_the_node_knows_all_of_it(
    rig: PiRig, node: StandIn
) -> None:
    async with rig.terminal() as terminal:
        hello = await node.registered()
        await terminal.shows(f"Hyper-Pi: {URL}")
        terminal.type("hello from a person")
        typed = await node.event("user_message")
        assert (typed["text"], typed["source"]) == ("hello from a person", "terminal")
        await node.entry("assistant", "ECHO: hello from a person")
        await terminal.shows("ECHO: hello from a person")

        await node.prompt("hello from afar", "p1")
        await terminal.shows("ECHO: hello from afar")
        assert node.having("user_message", prompt_id="p1")

        terminal.type("!echo shell-$((40+2))")
        entry = await node.entry("note", "shell-42")
        assert text_of(entry).startswith("$ echo shell-$((40+2))")

        # Escape takes queued texts back into the editor: they did not run, and are not said to have.
        await node.prompt("hold: never", "p2")
        await node.streams("three")
        await node.prompt("queued from afar", "p3", "steer")
        await terminal.shows("queued from afar")
        await _escape(terminal, node)
        lost = await node.event("notice", prompt_id="p3")
        assert lost["level"] == "warning"
        assert (await node.prompt("queued from afar", "p3"))["result"] == {"receipt": "unknown"}
        terminal.press("C-c")  # the text out of the editor

        # A reload evaluates the extension anew; the agent and its stream go on.
        numbers = node.numbers[-1]
        terminal.type("/reload")
        again = await node.registered(2)
        assert (again["instance"], again["session"]) == (hello["instance"], hello["session"])
        await node.prompt("after the reload", "p4")
        await node.entry("assistant", "ECHO: after the reload")
        assert node.numbers[-1] > numbers
        assert not [change for change in node.said("changed") if "reset" in change]

        terminal.type("/new")
        again = await node.until(lambda: node.registrations >= 3 and node.said("register")[-1])
        assert again["instance"] == hello["instance"]
        assert again["session"]["id"] != hello["session"]["id"]
        assert (await node.snapshot())["entries"] == []
        assert node.said("bye") == []

        terminal.press("C-d")
        await node.until(lambda: node.said("bye"))
        assert node.said("bye") == [{"reason": "quit"}]
        await node.until(lambda: not node.connected)
        await until(lambda: not _runs(hello["pid"]), "pi has ended")


async def test_a_killed_pi_drops_its_socket_without_a_goodbye(rig: PiRig, node: StandIn) -> None:
    async with rig.terminal() as terminal:
        hello = await node.registered()
        terminal.kill(hello["pid"])
        await node.until(lambda: not node.connected)
        assert node.said("bye") == []


async def test_a_pi_in_a_terminal_ends_in_order_when_it_is_told_to_stop(rig: PiRig, node: StandIn) -> None:
    async with rig.terminal():
        hello = await node.registered()
        await node.prompt("hold: never", "p1")
        await node.event("text_delta")
        await node.call("stop")
        await node.until(lambda: node.said("bye"))
        assert node.said("bye") == [{"reason": "quit"}]
        await until(lambda: not _runs(hello["pid"]), "pi has ended")


async def _escape(terminal: TerminalPi, node: StandIn) -> None:
    """Press Escape until pi has heard it: next to a report of the terminal it is read as part of that."""
    while node.state() != "idle":
        terminal.press("Escape")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await node.until(lambda: node.state() == "idle")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
