"""The agents of one machine: every row of their table of states."""

import json
from pathlib import Path

import pytest

from hyperpi import contract, strict_json
from hyperpi.database import DiskThread
from hyperpi.errors import AmbiguousName, Conflict, NotFound
from node.agent_record import AgentRecord, agent_id, agent_shape
from node.endings import End
from node.roster import KEEP_EXITED, KEEP_EXITED_S, Roster
from node.roster_store import RosterStore

QUIT = End("quit", "quit")
NODE = frozenset({"den", "n-den"})


def register(roster: Roster, instance: str = "i-1", now: float = 100.0, **said: object) -> AgentRecord:
    hello = contract.Register(**{"instance": instance, "kind": "pi", "cwd": "/srv/site", "pid": 7, **said})
    return roster.register(hello, pid=7, pid_start="s7", project="site", now=now)


@pytest.fixture
def roster() -> Roster:
    return Roster()


# --- beginning ------------------------------------------------------------------------------------------


def test_a_registered_agent_is_idle_and_named_after_its_project(roster):
    record = register(roster)

    assert (record.state, record.name, record.pid, record.since) == ("idle", "site", 7, 100.0)
    assert record.id == agent_id("i-1")
    assert roster.by_instance("i-1") is record


def test_a_wished_name_is_cleaned_and_without_any_the_kind_is_the_name(roster):
    assert register(roster, "i-1", name="My Site!").name == "My-Site"
    hello = contract.Register(instance="i-2", kind="pi", cwd="/", pid=7)
    assert roster.register(hello, pid=7, pid_start="s", project=None, now=1.0).name == "pi"


def test_names_are_unique_with_a_number_behind_the_later_ones(roster):
    names = [register(roster, f"i-{n}").name for n in range(3)]
    assert names == ["site", "site-2", "site-3"]


def test_an_ended_agent_gives_its_name_to_the_next_one_that_wants_it(roster):
    ended, other = register(roster, "i-1"), register(roster, "i-2")
    roster.exited(ended.id, QUIT, 101.0)
    fresh = register(roster, "i-3")
    assert [record.name for record in (ended, other, fresh)] == ["site-3", "site-2", "site"]
    assert (roster.displaced(), roster.displaced()) == ([ended.id], [])
    assert roster.resolve("site", NODE) is fresh


def test_numbers_are_not_piled_up_behind_a_name_that_was_given_away(roster):
    _, second = register(roster, "i-1"), register(roster, "i-2")
    roster.exited(second.id, QUIT, 101.0)
    third = register(roster, "i-3")
    assert (third.name, second.name) == ("site-2", "site-3")


@pytest.mark.parametrize("name", ["api-2024", "gpt-4", "feature-12"])
def test_a_number_that_was_wished_for_stays_part_of_a_name_that_was_given_away(roster, name):
    ended, renamed = register(roster, "i-1", name=name), register(roster, "i-2")
    roster.exited(ended.id, QUIT, 101.0)
    roster.rename(renamed.id, f"{name}-5")
    roster.exited(renamed.id, QUIT, 101.0)
    register(roster, "i-3", name=name)
    register(roster, "i-4", name=f"{name}-5")
    assert (ended.name, renamed.name) == (f"{name}-2", f"{name}-5-2")


def test_one_that_goes_on_under_a_numbered_name_does_not_pile_numbers_up(roster):
    _, second = register(roster, "i-1"), register(roster, "i-2")
    roster.exited(second.id, QUIT, 101.0)
    wanted = {"kind": "pi", "cwd": "/", "project": None, "request_id": None, "now": 102.0}
    third = roster.expect(instance="i-3", name=second.name, resumes=second, **wanted)
    assert (third.name, second.name) == ("site-2", "site-3")
    roster.exited(third.id, QUIT, 103.0)
    register(roster, "i-4")
    assert third.name == "site-4"


def test_a_record_of_before_wishes_were_kept_is_numbered_behind_its_whole_name(roster, tmp_path: Path):
    ended = register(roster, "i-1", name="gpt-4")
    roster.exited(ended.id, QUIT, 101.0)
    row = json.loads(strict_json.encode(ended))
    assert row.pop("wished") == "gpt-4"
    again = after_a_restart(Roster([strict_json.decode(json.dumps(row).encode(), AgentRecord)]), tmp_path)
    register(again, "i-2", name="gpt-4")
    assert again.get(ended.id).name == "gpt-4-2"


def test_the_same_instance_is_the_same_agent_even_for_a_node_that_forgot_everything(roster):
    first = register(roster, "i-1")
    assert register(roster, "i-1", now=105.0) is first
    assert len(roster) == 1
    assert register(Roster(), "i-1").id == first.id


def test_a_spawned_agent_is_listed_as_starting_and_becomes_idle_with_its_first_word(roster):
    expected = roster.expect(
        instance="i-1", kind="pi", name="web", cwd="/srv", project=None, request_id="r-1", now=90.0
    )
    assert (expected.state, expected.spawned) == ("starting", True)
    assert roster.by_request("r-1") is expected

    assert register(roster, "i-1", now=91.0, name="other") is expected
    assert (expected.state, expected.name, expected.since) == ("idle", "web", 91.0)


def test_a_start_that_failed_leaves_no_trace(roster):
    record = roster.expect(
        instance="i-1", kind="pi", name="web", cwd="/", project=None, request_id="r-1", now=1.0
    )
    roster.give_up(record.id)
    assert len(roster) == 0 and roster.by_instance("i-1") is None and roster.by_request("r-1") is None


# --- working --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["idle", "working", "waiting"])
def test_an_agent_says_its_own_state(roster, state):
    record = register(roster)
    roster.changed(record.id, contract.AgentChanged(state="working"), 101.0)
    roster.changed(record.id, contract.AgentChanged(state=state, detail="turn 3"), 102.0)

    assert (record.state, record.detail) == (state, "turn 3")


def test_since_is_when_the_state_changed_not_when_its_detail_did(roster):
    record = register(roster)
    assert roster.changed(record.id, contract.AgentChanged(state="working", detail="a"), 101.0)
    assert roster.changed(record.id, contract.AgentChanged(state="working", detail="b"), 102.0)
    assert not roster.changed(record.id, contract.AgentChanged(state="working", detail="b"), 103.0)
    assert (record.since, record.turn_seen, record.stream_seen) == (101.0, 103.0, 103.0)


def test_a_change_without_a_state_changes_what_it_names_and_nothing_else(roster):
    record = register(roster)
    card = contract.Card(model="m/2", tools=[contract.Tool("bash")] if False else [])
    assert not roster.changed(
        record.id,
        contract.AgentChanged(
            card=card, usage=contract.Usage(input_tokens=5), session=contract.Session(id="s")
        ),
        101.0,
    )
    assert (record.model, record.usage.input_tokens, record.session.id) == ("m/2", 5, "s")
    assert record.state == "idle"


# --- silence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["idle", "working", "waiting"])
def test_silence_is_unreachable_and_a_byte_brings_back_what_it_was(roster, before):
    record = register(roster)
    roster.changed(record.id, contract.AgentChanged(state=before), 101.0)

    assert roster.unreachable(record.id, "connected, but not answering", 110.0)
    assert (record.state, record.detail, record.since) == (
        "unreachable",
        "connected, but not answering",
        110.0,
    )
    roster.heard(record.id, 120.0)
    assert (record.state, record.detail) == (before, None)


def test_an_agent_that_dials_again_within_the_grace_was_never_away(roster):
    record = register(roster)
    roster.changed(record.id, contract.AgentChanged(state="working", detail="turn 3"), 101.0)
    register(roster, now=103.0)
    assert (record.state, record.detail, record.since) == ("working", "turn 3", 101.0)


def test_an_unreachable_agent_that_dials_again_is_what_it_was(roster):
    record = register(roster)
    roster.changed(record.id, contract.AgentChanged(state="working"), 101.0)
    roster.unreachable(record.id, "gone quiet", 106.0)
    register(roster, now=120.0)
    assert (record.state, record.detail) == ("working", None)


def test_unreachable_twice_does_not_forget_what_it_was(roster):
    record = register(roster)
    roster.changed(record.id, contract.AgentChanged(state="working"), 101.0)
    assert roster.unreachable(record.id, "one", 106.0)
    assert not roster.unreachable(record.id, "two", 107.0)
    roster.heard(record.id, 108.0)
    assert record.state == "working"


def after_a_restart(roster: Roster, folder: Path) -> Roster:
    thread = DiskThread("disk")
    try:
        for record in roster:
            store = RosterStore.open(folder / "roster.db", thread)
            store._save([(record.id, strict_json.encode(record).decode())], [])
            store.close()
        store = RosterStore.open(folder / "roster.db", thread)
        try:
            return store.load()
        finally:
            store.close()
    finally:
        thread.close()


def test_a_restart_of_the_node_is_no_news_of_an_agent_that_is_what_it_was(roster, tmp_path):
    register(roster)
    again = after_a_restart(after_a_restart(roster, tmp_path), tmp_path)
    (record,) = again
    assert (record.state, record.since) == ("unreachable", 100.0)
    register(again, now=200.0)
    assert (record.state, record.since, record.last_event) == ("idle", 100.0, None)
    again.unreachable(record.id, "gone quiet", 300.0)
    register(again, now=310.0)
    assert (record.state, record.since) == ("idle", 310.0)


def test_an_agent_that_ended_while_its_node_was_away_has_ended_when_that_is_seen(roster, tmp_path):
    register(roster)
    again = after_a_restart(roster, tmp_path)
    (record,) = again
    again.exited(record.id, QUIT, 200.0)
    assert (record.state, record.since) == ("exited", 200.0)


# --- the end --------------------------------------------------------------------------------------------


def test_an_exited_agent_stays_with_the_reason(roster):
    record = register(roster)
    assert roster.exited(record.id, End("killed", "killed by SIGKILL"), 130.0)
    assert (record.state, record.detail, record.since, record.live) == (
        "exited",
        "killed by SIGKILL",
        130.0,
        False,
    )


def test_a_reason_may_come_later_once_and_then_stays(roster):
    record = register(roster)
    assert roster.exited(record.id, None, 130.0)
    assert not roster.exited(record.id, None, 131.0)
    assert roster.exited(record.id, End("crash", "exit code 3"), 132.0)
    assert not roster.exited(record.id, End("quit", "another story"), 133.0)
    assert (record.detail, record.since) == ("exit code 3", 130.0)


def test_nothing_but_its_own_return_wakes_the_dead(roster):
    record = register(roster)
    roster.exited(record.id, QUIT, 130.0)

    assert not roster.unreachable(record.id, "silent", 131.0)
    assert not roster.changed(record.id, contract.AgentChanged(state="working"), 132.0)
    roster.heard(record.id, 133.0)
    assert record.state == "exited"

    register(roster, now=140.0)
    assert (record.state, record.detail) == ("idle", None)


def test_a_goodbye_is_remembered_until_it_dials_again(roster):
    record = register(roster)
    roster.bye(record.id, "quit")
    assert record.said_bye == "quit" and record.state == "idle"
    register(roster, now=101.0)
    assert record.said_bye is None


def test_forgetting_is_for_those_that_have_ended(roster):
    record = register(roster)
    for live in ("idle", "working", "unreachable"):
        if live == "working":
            roster.changed(record.id, contract.AgentChanged(state="working"), 101.0)
        if live == "unreachable":
            roster.unreachable(record.id, "away", 102.0)
        with pytest.raises(Conflict, match=f"site is {live}"):
            roster.forget(record.id)

    roster.exited(record.id, QUIT, 110.0)
    assert roster.forget(record.id) is record
    with pytest.raises(NotFound):
        roster.get(record.id)
    assert register(roster).name == "site"


def test_the_oldest_ended_agents_are_outdated_by_number(roster):
    records = [register(roster, f"i-{n}", now=float(n)) for n in range(KEEP_EXITED + 3)]
    for n, record in enumerate(records):
        roster.exited(record.id, QUIT, 1_000.0 + n)
    assert roster.outdated(2_000.0) == records[:3]


def test_an_ended_agent_is_outdated_after_thirty_days_and_a_live_one_never(roster):
    old, live = register(roster, "i-1"), register(roster, "i-2")
    roster.exited(old.id, QUIT, 0.0)
    assert roster.outdated(KEEP_EXITED_S) == []
    assert roster.outdated(KEEP_EXITED_S + 1) == [old]
    assert live.live


# --- names ----------------------------------------------------------------------------------------------


def test_an_agent_is_found_by_id_name_and_address(roster):
    record = register(roster)
    for text in (record.id, "site", "site@den", "site@n-den"):
        assert roster.resolve(text, NODE) is record


@pytest.mark.parametrize("text", ["nobody", "site@attic", "a-zzzzzzzz"])
def test_who_is_not_here_is_not_found(roster, text):
    register(roster)
    with pytest.raises(NotFound):
        roster.resolve(text, NODE)


def test_a_live_agent_wins_over_ended_ones_of_the_same_name():
    records = [AgentRecord(agent_id(f"i{n}"), f"i{n}", "site", "pi", "/", None, 1.0) for n in range(3)]
    records[0].state = records[1].state = "exited"
    assert Roster(records).resolve("site", NODE) is records[2]


def test_a_name_that_fits_several_is_ambiguous_with_candidates():
    records = [AgentRecord(agent_id(f"i{n}"), f"i{n}", "site", "pi", "/", None, 1.0) for n in range(2)]
    with pytest.raises(AmbiguousName) as caught:
        Roster(records).resolve("site", NODE)
    assert caught.value.data["candidates"] == [records[0].id, records[1].id]


def test_a_name_in_use_is_not_given_again(roster):
    one, two = register(roster, "i-1"), register(roster, "i-2")
    with pytest.raises(Conflict, match="site is taken"):
        roster.rename(two.id, "site")
    roster.rename(one.id, "front end")
    assert one.name == "front-end"
    assert roster.rename(two.id, "site").name == "site"
    assert roster.rename(two.id, "site").name == "site"


def test_the_shape_of_an_agent_has_times_of_the_contract_and_counts():
    roster = Roster()
    card = contract.Card(model="m/1", tools=[contract.Tool(name="bash"), contract.Tool(name="read")])
    record = register(roster, now=1_767_607_200.5, card=card)
    shape = agent_shape(record, node="n-1", node_name="den", watchers=2)

    assert (shape.address, shape.tools, shape.watchers, shape.model) == ("site@den", 2, 2, "m/1")
    assert shape.since == "2026-01-05T10:00:00.500Z"
    assert shape.evidence.process == shape.since and shape.evidence.turn is None
