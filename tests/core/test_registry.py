"""The registry of a mesh: facts in, shown items out."""

from typing import Any

import msgspec
import pytest

from hyperpi.address import AgentId, NodeId
from hyperpi.errors import AmbiguousName, Conflict, NotForThisRole, NotFound
from hyperpi.mesh_view import MeshView
from hypivisor.registry import DISCONNECTED_S, LOST_S, Registry
from hypivisor.router import route, speaks_for

DEN, ATTIC = NodeId("n-den"), NodeId("n-attic")
ABOUT = {"version": "1", "platform": "Linux", "address": "10.0.0.1"}
NOW, MONOTONIC = 1_000_000.0, 50.0


def agent(name: str, state: str = "idle", skills: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"id": f"a-{name}", "name": name, "state": state, "detail": None, "skills": list(skills)}


@pytest.fixture
def registry() -> Registry:
    made = Registry(MeshView("home", "r-1"))
    for node, name in ((DEN, "den"), (ATTIC, "attic")):
        made.link(node, name, 1, ABOUT, NOW, MONOTONIC)
        made.replace_agents(node, [])
    return made


def shown(registry: Registry, item: str) -> dict[str, Any]:
    raw = registry.view.nodes.get(item) or registry.view.agents[item]
    decoded: dict[str, Any] = msgspec.json.decode(raw)
    return decoded


def test_a_linked_node_is_online_and_counts_its_agents(registry: Registry):
    registry.replace_agents(DEN, [agent("lead"), agent("client")])
    assert (shown(registry, DEN)["state"], shown(registry, DEN)["agents"]) == ("online", 2)
    assert shown(registry, "a-lead")["address"] == "lead@den"


def test_a_dropped_link_greys_its_agents_and_tells_what_they_did(registry: Registry):
    registry.replace_agents(DEN, [agent("lead", "working"), agent("old", "exited")])
    registry.unlink(DEN, "disconnected", NOW + 1)
    lead, old = shown(registry, "a-lead"), shown(registry, "a-old")
    assert (lead["state"], lead["was"]) == ("unreachable", "working")
    assert "working" in lead["detail"]
    registry.link(DEN, "den", 2, {}, NOW + 2, NOW + 2)
    registry.replace_agents(DEN, [agent("lead", "working")])
    assert "was" not in shown(registry, "a-lead")
    registry.unlink(DEN, "disconnected", NOW + 3)
    assert old["state"] == "exited"


def test_a_node_that_comes_back_is_as_it_says(registry: Registry):
    registry.replace_agents(DEN, [agent("lead", "working")])
    registry.unlink(DEN, "disconnected", NOW + 1)
    registry.link(DEN, "den", 1, ABOUT, NOW + 2, MONOTONIC + 2)
    registry.replace_agents(DEN, [agent("lead", "idle")])
    assert shown(registry, "a-lead")["state"] == "idle"


def tick(registry: Registry, after_s: float, wall_jumps_s: float = 0.0) -> None:
    registry.tick(NOW + after_s + wall_jumps_s, MONOTONIC + after_s)


def test_a_disconnected_node_is_lost_after_its_time_and_never_dropped(registry: Registry):
    registry.unlink(DEN, "disconnected", NOW)
    tick(registry, 0)
    tick(registry, LOST_S)
    assert shown(registry, DEN)["state"] == "disconnected"
    tick(registry, LOST_S + 1)
    assert shown(registry, DEN)["state"] == "lost"


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_loses_no_node(registry: Registry, jump_s: float):
    registry.unlink(DEN, "disconnected", NOW)
    tick(registry, 0)
    tick(registry, 1, jump_s)
    assert shown(registry, DEN)["state"] == "disconnected"
    tick(registry, LOST_S + 1, jump_s)
    assert shown(registry, DEN)["state"] == "lost"


def test_a_node_that_came_back_has_its_whole_time_again(registry: Registry):
    registry.unlink(DEN, "disconnected", NOW)
    tick(registry, 0)
    registry.link(DEN, "den", 1, ABOUT, NOW + 100, MONOTONIC + 100)
    registry.unlink(DEN, "disconnected", NOW + 101)
    tick(registry, 101)
    tick(registry, LOST_S + 50)
    assert shown(registry, DEN)["state"] == "disconnected"


def test_a_node_that_left_is_not_called_lost(registry: Registry):
    registry.unlink(DEN, "left", NOW)
    tick(registry, 0)
    tick(registry, 10 * LOST_S)
    assert shown(registry, DEN)["state"] == "left"


def test_only_a_silent_online_node_is_to_be_cut(registry: Registry):
    registry.heard(ATTIC, NOW + DISCONNECTED_S, MONOTONIC + DISCONNECTED_S)
    assert registry.silent(MONOTONIC + DISCONNECTED_S) == []
    assert registry.silent(MONOTONIC + DISCONNECTED_S + 1) == [DEN]
    registry.unlink(DEN, "disconnected", NOW)
    assert registry.silent(MONOTONIC + DISCONNECTED_S + 1) == []


def test_an_older_start_of_a_node_is_refused(registry: Registry):
    registry.link(DEN, "den", 7, ABOUT, NOW, MONOTONIC)
    with pytest.raises(Conflict):
        registry.link(DEN, "den", 6, ABOUT, NOW, MONOTONIC)


def test_what_the_store_remembers_is_listed_as_disconnected():
    fresh = Registry(MeshView("home", "r-2"))
    fresh.remember(DEN, "den", {"state": "online", "agents": [agent("lead", "working")]}, NOW)
    assert shown(fresh, DEN)["state"] == "disconnected"
    assert shown(fresh, "a-lead")["state"] == "unreachable"


def test_what_is_remembered_of_a_node_is_what_it_takes_to_list_it_again(registry: Registry):
    registry.replace_agents(DEN, [agent("lead")])
    again = Registry(MeshView("home", "r-2"))
    again.remember(DEN, "den", msgspec.json.decode(msgspec.json.encode(registry.remembered(DEN))), NOW)
    assert again.find("lead").agent == "a-lead"


def test_an_agent_is_found_by_id_name_and_address(registry: Registry):
    registry.replace_agents(DEN, [agent("lead")])
    assert {registry.find(text).agent for text in ("a-lead", "lead", "lead@den", "lead@n-den")} == {"a-lead"}


def test_a_name_on_two_nodes_is_ambiguous_and_says_which(registry: Registry):
    registry.replace_agents(DEN, [agent("lead")])
    registry.replace_agents(ATTIC, [{**agent("lead"), "id": "a-other"}])
    with pytest.raises(AmbiguousName) as caught:
        registry.find("lead")
    assert caught.value.data == {"candidates": ["lead@attic", "lead@den"]}
    assert registry.find("lead@attic").agent == "a-other"


def test_a_running_agent_wins_over_an_ended_one_of_its_name(registry: Registry):
    registry.replace_agents(DEN, [agent("lead", "exited")])
    registry.replace_agents(ATTIC, [{**agent("lead"), "id": "a-other"}])
    assert registry.find("lead").agent == "a-other"


@pytest.mark.parametrize("text", ["nobody", "lead@cellar", "a-gone"])
def test_an_unknown_name_is_not_found(registry: Registry, text: str):
    with pytest.raises(NotFound):
        registry.find(text)


def test_an_agent_that_its_node_forgot_is_gone_from_the_view(registry: Registry):
    registry.replace_agents(DEN, [agent("lead"), agent("client")])
    rev = registry.view.rev
    registry.report(DEN, [], [AgentId("a-lead")])
    assert registry.view.since(rev).gone == ("a-lead",)
    with pytest.raises(NotFound):
        registry.find("lead")


def test_a_roster_that_lacks_an_agent_drops_it(registry: Registry):
    registry.replace_agents(DEN, [agent("lead"), agent("client")])
    assert registry.replace_agents(DEN, [agent("client")]) == ["a-lead"]
    assert "a-lead" not in registry.view.agents


def test_watchers_are_shown_and_vanish(registry: Registry):
    registry.replace_agents(DEN, [agent("lead")])
    registry.watched(AgentId("a-lead"), 2)
    assert shown(registry, "a-lead")["watchers"] == 2
    registry.watched(AgentId("a-lead"), 0)
    assert shown(registry, "a-lead")["watchers"] == 0


def test_those_who_look_on_an_agents_own_machine_count_as_long_as_that_is_there(registry: Registry):
    registry.report(DEN, [{**agent("lead"), "watchers": 3}])
    registry.watched(AgentId("a-lead"), 2)
    assert shown(registry, "a-lead")["watchers"] == 5
    registry.unlink(DEN, "disconnected", 1.0)
    assert shown(registry, "a-lead")["watchers"] == 2


@pytest.fixture
def crowd(registry: Registry) -> Registry:
    registry.replace_agents(DEN, [agent("lead", skills=("postgres",)), agent("old", "exited")])
    registry.replace_agents(ATTIC, [agent("client"), agent("clerk", skills=("postgres", "css"))])
    return registry


@pytest.mark.parametrize(
    ("to", "recipients"),
    [
        ("client", {"client@attic"}),
        ("lead@den", set()),  # the sender itself
        ("*", {"client@attic", "clerk@attic"}),
        ("*@attic", {"client@attic", "clerk@attic"}),
        ("skill:postgres", {"clerk@attic"}),
        ("skill:css", {"clerk@attic"}),
        ("skill:cobol", set()),
    ],
)
def test_a_scroll_goes_to_whom_it_names_but_not_to_its_sender(crowd: Registry, to: str, recipients: set[str]):
    routed = route(crowd, "lead@den", DEN, DEN, to)
    assert {found.address for found in routed.recipients} == recipients
    assert (routed.error is None) == bool(recipients)


def test_a_recipient_whose_node_is_away_is_told_as_such(crowd: Registry):
    crowd.unlink(ATTIC, "disconnected", NOW)
    routed = route(crowd, "lead@den", DEN, DEN, "client")
    assert [found.address for found in routed.away] == ["client@attic"]


def test_an_unknown_recipient_is_an_error_and_nothing_else(crowd: Registry):
    routed = route(crowd, "lead@den", DEN, DEN, "nobody")
    assert isinstance(routed.error, NotFound)
    assert routed.recipients == ()


@pytest.mark.parametrize(
    ("sender", "node", "may"),
    [
        ("lead@den", DEN, True),
        ("lead@den", ATTIC, False),
        ("client@attic", ATTIC, True),
        ("user:owner", DEN, True),  # DEN is the home node
        ("user:owner", ATTIC, False),
        ("user:owner@attic", ATTIC, True),
        ("user:owner@attic", DEN, True),
        ("lead", ATTIC, False),
        ("", ATTIC, False),
    ],
)
def test_a_node_speaks_for_its_own_and_the_home_node_for_people(sender: str, node: NodeId, may: bool):
    assert speaks_for(sender, "den" if node == DEN else "attic", node, DEN) is may


def test_a_sender_that_the_node_may_not_speak_for_reaches_nobody(crowd: Registry):
    routed = route(crowd, "lead@den", ATTIC, DEN, "*")
    assert isinstance(routed.error, NotForThisRole)
    assert routed.recipients == ()


@pytest.mark.parametrize("to", ["*lead", "**", "*lead@den", "*@cellar", "*@", ""])
def test_what_names_nobody_is_an_error_and_not_everybody(crowd: Registry, to: str):
    routed = route(crowd, "client@attic", ATTIC, DEN, to)
    assert routed.error is not None
    assert routed.recipients == ()


def test_a_node_that_left_has_left_over_a_restart_of_the_hypivisor(registry: Registry):
    registry.unlink(DEN, "left", NOW)
    again = Registry(MeshView("home", "r-2"))
    again.remember(DEN, "den", registry.remembered(DEN), NOW + 9)
    assert shown(again, DEN)["state"] == "left"


def test_the_same_load_twice_is_no_news_of_an_agent(registry: Registry):
    registry.replace_agents(DEN, [agent("lead")])
    rev = registry.view.rev
    registry.status(DEN, {"cpu": 0.5, "mem_bytes": 10}, None)
    assert not registry.view.since(rev).agents
    assert shown(registry, DEN)["load"] == {"cpu": 0.5, "mem_bytes": 10}
