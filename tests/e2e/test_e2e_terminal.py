"""Somebody types `pi` on one machine; everybody sees it in Pi-DE on another, talks to it, and sees it end."""

import re
from collections.abc import Callable

import pytest
from household import Clock, HostTerminal, Household, Json
from pide_page import Pide
from playwright.sync_api import expect
from rig import needs_pi, needs_tmux

pytestmark = [pytest.mark.netns, pytest.mark.browser, *needs_pi, needs_tmux]


def test_a_pi_in_a_terminal_is_listed_talked_to_from_both_sides_and_read_in_whole(
    home: Household, pide: Pide
) -> None:
    tab = pide.tab
    tab.shot("1-before")
    clock = Clock()
    with home.pi_in_terminal(home.attic, "src/garden") as terminal:
        agent = home.agent("garden@attic")
        clock.say("from `pi` to its being listed")
        assert agent["cwd"] == str(home.attic.user / "src/garden")
        assert (agent["project"], agent["model"], agent["kind"]) == ("garden", "fake/fake-1", "pi")
        assert agent["tools"] > 0
        expect(tab.row(agent["id"])).to_contain_text("garden")
        clock.say("from there to its row in the page")
        terminal.sees("Hyper-Pi: ws://127.0.0.1:31418/agents/garden")
        tab.open(agent["id"])

        terminal.type("hello from the keyboard")
        expect(tab.said_by("user").last).to_contain_text("hello from the keyboard")
        expect(tab.said_by("user").last).to_contain_text("in its terminal")
        expect(tab.said_by("assistant").last).to_contain_text("ECHO: hello from the keyboard")

        clock = Clock()
        tab.prompt("hello from the browser")
        expect(tab.said_by("assistant").last).to_contain_text("ECHO: hello from the browser")
        clock.say("from Enter in the page to the answer in the page")
        terminal.sees("ECHO: hello from the browser")

        # It is read while it is written.
        tab.prompt("slow: 40")
        growing = tab.page.locator(".entry.running")
        expect(growing).to_contain_text("w3")
        assert "w39" not in growing.inner_text()
        tab.shot("2-streaming")
        expect(tab.said_by("assistant").last).to_have_text(re.compile(r"w38\s+w39"))
        assert tab.texts("assistant")[-1].split() == [f"w{i}" for i in range(40)]

        tab.prompt("run: echo $((6*7))")
        expect(tab.said_by("assistant").last).to_contain_text("The command printed: 42")
        home.agent("garden@attic")
        tab.page.click("#tab-agent")
        tab.shot("3-conversation")

        with pide.another() as later:
            later.open(agent["id"])
            expect(later.said_by("assistant").last).to_contain_text("The command printed: 42")
            assert later.texts("user") == tab.texts("user")
            assert later.texts("assistant") == tab.texts("assistant")
            assert later.texts("user") == [
                "hello from the keyboard",
                "hello from the browser",
                "slow: 40",
                "run: echo $((6*7))",
            ]

        terminal.press("C-d")
        ended = home.agent("garden@attic", lambda agent: agent["state"] == "exited")
        assert "quit" in ended["detail"]
    expect(tab.page.locator(".state-pill")).to_contain_text("ended")
    readable(pide, agent, "The command printed: 42")
    tab.shot("4-ended")


def close_the_terminal(terminal: HostTerminal, _agent: Json) -> None:
    terminal.close()


def kill_pi(terminal: HostTerminal, agent: Json) -> None:
    terminal.kill(agent["pid"])


@pytest.mark.parametrize("end", [close_the_terminal, kill_pi])
def test_a_pi_that_says_no_goodbye_is_told_as_ended_and_stays_readable(
    home: Household, pide: Pide, end: Callable[[HostTerminal, Json], None]
) -> None:
    name = end.__name__.replace("_", "-")
    with home.pi_in_terminal(home.cellar, f"src/{name}") as terminal:
        agent = home.agent(f"{name}@cellar")
        terminal.type("remember this")
        terminal.sees("ECHO: remember this")
        home.agent(f"{name}@cellar")
        clock = Clock()
        end(terminal, agent)
        ended = home.agent(f"{name}@cellar", lambda agent: agent["state"] == "exited")
        clock.say(f"{name}: until it is told")
        print(f"    {ended['detail']}")
        assert ended["id"] == agent["id"]
    readable(pide, agent, "ECHO: remember this")


def readable(pide: Pide, agent: Json, text: str) -> None:
    """The conversation of an ended agent, in a page that never saw it alive."""
    with pide.another() as later:
        later.open(agent["id"])
        expect(later.said_by("assistant").last).to_contain_text(text)
        expect(later.page.locator("#composer")).to_be_disabled()
