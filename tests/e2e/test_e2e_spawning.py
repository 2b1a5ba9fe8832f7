"""Agents are started on another machine, from Pi-DE and from the command, in folders made for them."""

import re

import pytest
from hosts import until
from household import Clock, Household
from pide_page import Pide
from playwright.sync_api import expect
from rig import needs_pi

pytestmark = [pytest.mark.netns, *needs_pi]


def test_the_command_starts_an_agent_on_another_machine_in_a_new_folder(home: Household) -> None:
    (home.attic.user / "work").mkdir()
    clock = Clock()
    where = ("~/work", "--node", "attic", "--new-folder", "blog", "--prompt", "hello from afar")
    started = home.den.did("hyperpi", "spawn", *where, "--json").json
    clock.say("hyperpi spawn, the whole command")
    assert started["address"] == "blog@attic"
    agent = home.agent("blog@attic")
    clock.say("until it has answered its first prompt and is idle")
    assert agent["id"] == started["agent"]
    assert agent["cwd"] == str(home.attic.user / "work/blog")
    assert (home.attic.user / "work/blog").is_dir()
    until(lambda: "hello from afar" in str(home.attic.model.requests), "the prompt at the model")

    # A prompt from a pipe: the command ends when the answer is there.
    asked = home.den.run("hyperpi", "attach", "blog@attic", stdin="hello by a pipe\n")
    assert asked.code == 0
    assert "ECHO: hello by a pipe" in asked.out

    # Its own machine tells the same of it.
    shown = home.attic.did("hyperpi", "show", "blog", "--json").json
    assert (shown["id"], shown["model"]) == (agent["id"], "fake/fake-1")

    home.den.did("hyperpi", "stop", "blog@attic")
    ended = home.agent("blog@attic", lambda agent: agent["state"] == "exited")
    assert "stopped by" in ended["detail"]


@pytest.mark.browser
def test_pi_de_starts_an_agent_on_another_machine_in_a_new_folder(home: Household, pide: Pide) -> None:
    (home.cellar.user / "shelf/preserves").mkdir(parents=True)
    page = pide.tab.page
    page.get_by_label("Start an agent on cellar").click()
    dialog = page.get_by_role("dialog")
    dialog.locator(".folder-name", has_text="shelf").click()
    dialog.locator(".folder-name", has_text="preserves").click()
    dialog.get_by_role("button", name="New folder").click()
    dialog.get_by_label("New folder in it").fill("jam")
    dialog.get_by_label("First prompt").fill("what is on the shelf?")
    expect(dialog.locator("footer .path")).to_have_text(str(home.cellar.user / "shelf/preserves/jam"))
    pide.tab.shot("5-spawn-dialog")
    clock = Clock()
    dialog.get_by_role("button", name="Start here").click()
    expect(page.locator(".stage-head h1")).to_have_text("jam@cellar")
    clock.say("from the click to the agent's page")
    expect(pide.tab.said_by("assistant").last).to_contain_text("ECHO: what is on the shelf?")
    clock.say("until its first prompt is answered")
    agent = home.agent("jam@cellar")
    # The page was open before pi had told of them.
    expect(page.locator(".inspector .tools li")).to_have_count(agent["tools"])
    pide.tab.shot("6-spawned")
    assert agent["cwd"] == str(home.cellar.user / "shelf/preserves/jam")

    pide.tab.prompt("and below it?")
    expect(pide.tab.said_by("assistant").last).to_contain_text("ECHO: and below it?")

    page.get_by_label("More about jam").click()
    page.get_by_role("button", name="Stop agent…").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Stop")).click()
    ended = home.agent("jam@cellar", lambda agent: agent["state"] == "exited")
    assert "stopped by" in ended["detail"]
    expect(page.locator(".state-pill")).to_contain_text("ended")
    pide.tab.shot("7-stopped")


def test_a_folder_outside_of_what_the_machine_allows_is_refused(home: Household) -> None:
    done = home.den.run("hyperpi", "spawn", "/etc", "--node", "attic")
    assert done.code == 1
    assert done.err.startswith("hyperpi: ")
    assert len(done.err.splitlines()) <= 2
