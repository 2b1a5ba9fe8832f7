"""Where a node looks for its hypivisor: what it trusts every time, what it hears of in turns."""

from node.neighbours import STRANGER_S, WELCOME_S, to_dial


def test_an_address_that_has_let_us_in_is_dialled_every_time_whatever_the_network_claims():
    fakes = {f"192.0.2.{number}:31416" for number in range(256)}
    for attempt in range(300):
        dialled = to_dial(("198.51.100.7:31416",), fakes, attempt)
        assert dialled[0] == ("198.51.100.7:31416", WELCOME_S)
        assert len(dialled) == 2
        assert dialled[1][1] == STRANGER_S < WELCOME_S


def test_every_address_that_is_heard_of_gets_its_turn():
    heard = {"a:1", "b:1", "c:1", "known:1"}
    turns = [to_dial(("known:1",), heard, attempt)[1:] for attempt in range(3)]
    assert sorted(address for turn in turns for address, _ in turn) == ["a:1", "b:1", "c:1"]


def test_without_anything_heard_of_the_known_ones_are_dialled_in_their_order():
    assert [address for address, _ in to_dial(("first:1", "second:1"), (), 5)] == ["first:1", "second:1"]
    assert to_dial((), (), 0) == []
