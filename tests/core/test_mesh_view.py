"""The roster as viewers follow it: whole, since a revision, and through more removals than are remembered."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hyperpi.mesh_view import REMEMBERED_REMOVALS, Change, MeshView, change_params


def view() -> MeshView:
    made = MeshView("home", "r-1", {"heartbeat_s": 5.0})
    made.put({"n-1": b'{"id":"n-1"}'}, {"a-1": b'{"id":"a-1"}', "a-2": b'{"id":"a-2"}'})
    return made


def test_the_whole_roster_says_who_asks_and_where_changes_go_on():
    whole = msgspec.json.decode(view().whole_json({"name": "owner", "role": "admin"}))
    assert whole == {
        "mesh": "home",
        "epoch": "r-1",
        "rev": 1,
        "limits": {"heartbeat_s": 5.0},
        "nodes": [{"id": "n-1"}],
        "agents": [{"id": "a-1"}, {"id": "a-2"}],
        "me": {"name": "owner", "role": "admin"},
    }


def test_a_change_holds_the_latest_of_what_changed_and_nothing_else():
    roster = view()
    roster.put({}, {"a-1": b'{"id":"a-1","state":"working"}'})
    roster.put({}, {"a-1": b'{"id":"a-1","state":"idle"}'})
    change = roster.since(1)
    assert (change.start, change.rev, change.whole) == (1, 3, False)
    assert dict(change.agents) == {"a-1": b'{"id":"a-1","state":"idle"}'}
    assert dict(change.nodes) == {}


def test_what_was_removed_is_told_and_what_came_back_is_not_gone():
    roster = view()
    roster.put(gone=["a-1", "a-2"])
    roster.put({}, {"a-2": b'{"id":"a-2"}'})
    change = roster.since(1)
    assert change.gone == ("a-1",)
    assert list(change.agents) == ["a-2"]


def test_a_reader_beyond_the_remembered_removals_gets_everything():
    roster = view()
    for number in range(REMEMBERED_REMOVALS + 1):
        roster.put(gone=[f"a-gone-{number}"])
    assert roster.since(1).whole
    assert not roster.since(roster.rev - 1).whole


def test_a_mirror_that_follows_changes_is_the_same_as_its_original():
    original, mirror = view(), MeshView("home")
    mirror.apply(Change("r-1", 0, 1, True, dict(original.nodes), dict(original.agents)))
    original.put({"n-2": b'{"id":"n-2"}'}, gone=["a-1"])
    mirror.apply(original.since(1))
    assert (mirror.nodes, mirror.agents, mirror.rev, mirror.epoch) == (
        original.nodes,
        original.agents,
        original.rev,
        "r-1",
    )


def test_a_whole_change_leaves_no_ghosts():
    mirror = view()
    mirror.apply(Change("r-2", 0, 9, True, {"n-9": b"{}"}, {}))
    assert (list(mirror.nodes), list(mirror.agents), mirror.rev) == (["n-9"], [], 9)
    assert mirror.since(3).whole


def test_listeners_hear_of_every_change_until_they_stop():
    roster, heard = view(), []
    listener = heard.append

    def wake() -> None:
        listener(1)

    roster.listen(wake)
    roster.put({}, {"a-3": b"{}"})
    roster.unlisten(wake)
    roster.put({}, {"a-4": b"{}"})
    assert heard == [1]


def test_a_change_is_spliced_from_encoded_items():
    change = Change("r-1", 4, 6, False, {}, {"a-1": b'{"id":"a-1"}'}, ("a-2",))
    assert msgspec.json.decode(change_params(change)) == {
        "epoch": "r-1",
        "from": 4,
        "rev": 6,
        "agents": [{"id": "a-1"}],
        "gone": ["a-2"],
    }


def test_the_whole_of_another_epoch_is_not_the_old_one_although_it_has_the_same_revision():
    mirror, me = MeshView(), {"name": "owner", "role": "admin"}
    mirror.apply(Change("r-1", 0, 3, True, {"n-1": b'{"id":"n-1"}'}, {}))
    mirror.whole_json(me)
    mirror.apply(Change("r-2", 0, 3, True, {"n-2": b'{"id":"n-2"}'}, {}))
    whole = msgspec.json.decode(mirror.whole_json(me))
    assert (whole["epoch"], whole["nodes"]) == ("r-2", [{"id": "n-2"}])


names = st.sampled_from([f"a-{n}" for n in range(6)])


@given(st.lists(st.tuples(names, st.one_of(st.none(), st.integers(0, 9)), st.booleans()), max_size=40))
def test_a_mirror_that_follows_at_any_pace_ends_with_the_same_roster(steps):
    original, mirror = MeshView("home", "r-1"), MeshView("home", "r-1")
    for name, value, follows in steps:
        if value is None:
            original.put(gone=[name])
        else:
            original.put(agents={name: b"%d" % value})
        if follows:
            change = original.since(mirror.rev)
            assert change.start == mirror.rev
            mirror.apply(change)
            assert mirror.agents == original.agents
    mirror.apply(original.since(mirror.rev))
    assert (mirror.agents, mirror.rev) == (original.agents, original.rev)
