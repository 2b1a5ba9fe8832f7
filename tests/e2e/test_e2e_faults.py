"""What may break between machines, and what agents and people then notice: the agents nothing."""

import os
import signal

import pytest
from hosts import Host, until
from household import Clock, Household, Json, node_pid
from pide_page import Pide
from playwright.sync_api import expect
from rig import needs_pi, needs_tmux

pytestmark = [pytest.mark.netns, *needs_pi, needs_tmux]

UNANSWERED = '.banner[data-tone="warn"]'  # another banner tells of agents that were interrupted
AWAY_S = 40.0  # three heartbeats of 5 s and a keepalive: within this an unplugged machine is told as away


def scrolls_of(host: Host) -> dict[str, Json]:
    """Scrolls by id, as the owner of a machine sees them."""
    return {scroll["scroll_id"]: scroll for scroll in host.did("hyperpi", "scrolls", "--json").json}


def test_a_scroll_waits_for_an_unplugged_machine_and_arrives_once(home: Household) -> None:
    with (
        home.pi_in_terminal(home.attic, "src/island") as island,
        home.pi_in_terminal(home.cellar, "src/shore") as shore,
    ):
        here, there = home.agent("shore@cellar"), home.agent("island@attic")
        clock = Clock()
        home.attic.unplug()
        try:
            # While nobody has noticed yet, and again when everybody has.
            early = home.den.did("hyperpi", "send", "island@attic", "sent early", "--json").json
            island.type("slow: 60")
            until(lambda: home.nodes()["attic"]["state"] == "disconnected", "attic as disconnected", AWAY_S)
            clock.say("until an unplugged machine is told as disconnected")
            listed = home.den.did("hyperpi", "node", "ls", "--json").json
            assert next(node for node in listed if node["name"] == "attic")["state"] == "disconnected"
            late = home.den.did("hyperpi", "send", "island@attic", "sent late", "--json").json
            assert {scrolls_of(home.den)[s["scroll_id"]]["state"] for s in (early, late)} <= {
                "accepted",
                "relayed",
            }
            assert next(a for a in home.agents() if a["id"] == there["id"])["state"] != "exited"

            # On the island life goes on, also for its owner.
            island.sees("w58 w59")
            island.type("still here")
            island.sees("ECHO: still here")
            alone = home.attic.did("hyperpi", "ls", "--json").json
            assert [a["id"] for a in alone if a["state"] == "idle"] == [there["id"]]
        finally:
            home.attic.plug()
        clock = Clock()
        home.online("attic")
        clock.say("until it is online again after the plug")
        ids = (early["scroll_id"], late["scroll_id"])
        until(
            lambda: {scrolls_of(home.den)[s]["state"] for s in ids} == {"answered"},
            lambda: f"both answered: {scrolls_of(home.den)}",
        )
        clock.say("until both scrolls are answered")
        island.sees("sent late")
        entered = [str(request["messages"]) for request in home.attic.model.requests][-1]
        for scroll_id in ids:
            assert entered.count(f"[Scroll {scroll_id} ") == 1
        assert entered.index("sent early") < entered.index("sent late")

        shore.type("and here")
        shore.sees("ECHO: and here")
        assert home.agent("shore@cellar")["pid"] == here["pid"]
        assert home.agent("island@attic")["pid"] == there["pid"]
        for terminal in (island, shore):
            assert "rror" not in terminal.screen()


@pytest.mark.browser
def test_a_killed_hypivisor_costs_neither_a_word_nor_an_agent(home: Household, pide: Pide) -> None:
    with home.pi_in_terminal(home.attic, "src/river") as terminal:
        agent = home.agent("river@attic")
        before = roster(home)
        pide.tab.open(agent["id"])
        pide.tab.prompt("slow: 160")  # eight seconds
        expect(pide.tab.page.locator(".entry.running")).to_contain_text("w9")
        assert home.hypivisor is not None
        home.hypivisor.kill()
        home.hypivisor.wait(10)
        expect(pide.tab.page.locator(UNANSWERED)).to_contain_text("The hypivisor does not answer")
        pide.tab.shot("8-hypivisor-away")
        assert home.attic.did("hyperpi", "show", "river", "--json").json["state"] == "working"

        clock = Clock()
        home.up()
        clock.say("from the start of `up` to its greeting")
        home.online("den", "attic", "cellar")
        until(lambda: roster(home) == before, lambda: f"the whole roster: {roster(home)} {before}")
        clock.say("until the roster is whole")
        expect(pide.tab.page.locator(UNANSWERED)).to_have_count(0)
        clock.say("until the page is back")
        pide.tab.shot("9-hypivisor-back")
        expect(pide.tab.said_by("assistant").last).to_contain_text("w159")
        assert pide.tab.texts("assistant")[-1].split() == [f"w{i}" for i in range(160)]
        assert pide.tab.texts("user") == ["slow: 160"]
        terminal.sees("w159")
        assert home.agent("river@attic")["pid"] == agent["pid"]


@pytest.mark.browser
def test_a_prompt_on_its_way_through_a_hypivisor_that_is_killed_runs_once(
    home: Household, pide: Pide
) -> None:
    with home.pi_in_terminal(home.cellar, "src/ferry"):
        agent = home.agent("ferry@cellar")
        tab = pide.tab
        tab.open(agent["id"])
        receipts = tab.page.locator(".receipts")
        asked = ["killed at once", "killed with the prompt under way", "killed when it had entered"]
        for text in asked:
            entered = tab.said_by("user").filter(has_text=text)
            tab.prompt(text)
            if text == asked[1]:
                expect(receipts.or_(entered).first).to_be_visible()
            if text == asked[2]:
                expect(entered).to_be_visible()
            assert home.hypivisor is not None
            home.hypivisor.kill()
            home.hypivisor.wait(10)
            home.up()
            until(
                lambda text=text: tab.texts("assistant")[-1:] == [f"ECHO: {text}"] and receipts.count() == 0,
                lambda: f"its answer: {tab.texts('user')} {receipts.all_inner_texts()}",
            )
        assert tab.texts("user") == asked
        assert tab.texts("assistant") == [f"ECHO: {text}" for text in asked]
        home.online("den", "attic", "cellar")


def roster(home: Household) -> dict[str, tuple[str, bool]]:
    """Who is listed, and whether as living."""
    return {agent["id"]: (agent["address"], agent["state"] != "exited") for agent in home.agents()}


def test_a_killed_node_ends_no_agent_and_knows_them_all_again(home: Household) -> None:
    (home.cellar.user / "held").mkdir()
    with home.pi_in_terminal(home.cellar, "src/brook") as terminal:
        typed = home.agent("brook@cellar")
        home.den.did("hyperpi", "spawn", "~/held", "--node", "cellar")
        spawned = home.agent("held@cellar", lambda agent: agent["state"] == "idle" and agent["tools"])
        terminal.type("slow: 60")
        terminal.sees("w3")
        # Nobody has to do anything: the next pi that misses its node starts it.
        pid = node_pid(home.cellar)
        os.kill(pid, signal.SIGKILL)
        clock = Clock()
        until(lambda: node_pid(home.cellar) != pid, "another node")
        clock.say("until another node runs")
        known_again(home, typed, spawned)
        clock.say("until its agents are known again in the mesh")
        # One that was stopped on purpose stays so until somebody starts it.
        home.cellar.did("hyperpi", "node", "stop")
        until(lambda: home.nodes()["cellar"]["state"] == "disconnected", "cellar as away")
        home.cellar.popen("hyperpi", "node", "run", log=home.cellar.folder / "node.log")
        known_again(home, typed, spawned)
        terminal.sees("w58 w59")
        home.den.did("hyperpi", "prompt", "held@cellar", "still there?")
        until(lambda: "still there?" in str(home.cellar.model.requests), "the prompt at the model")
        home.den.did("hyperpi", "stop", "held@cellar")
        home.agent("held@cellar", lambda agent: agent["state"] == "exited")


def known_again(home: Household, *agents: Json) -> None:
    """Wait until a new node has them all, each with the id and the process that it had."""
    home.online("cellar")
    for agent in agents:
        again = home.agent(agent["address"], lambda found: found["state"] in {"idle", "working"})
        assert (again["id"], again["pid"]) == (agent["id"], agent["pid"])
