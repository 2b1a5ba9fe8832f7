"""Rows of a bank on their way to a watcher: the latest of each, in bounded room."""

from hyperpi.row_changes import ROWS_AT_ONCE, RowChanges


class Woken:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def test_of_many_changes_of_a_row_the_last_is_told_once():
    changes = RowChanges(Woken())
    for number in range(1_000):
        changes.offer([(9, b"%d" % number)])
    assert changes.take() == [(9, b"999")]
    assert changes.take() == []


def test_rows_are_told_in_the_order_of_their_last_change():
    changes = RowChanges(Woken())
    changes.offer([(9, b"a"), (10, b"b"), (11, b"c")])
    changes.offer([(9, b"d")])
    assert [row for row, _ in changes.take()] == [10, 11, 9]


def test_a_take_is_bounded_and_the_rest_waits():
    changes = RowChanges(Woken())
    changes.offer((row, b"x") for row in range(ROWS_AT_ONCE + 5))
    assert len(changes.take()) == ROWS_AT_ONCE
    assert changes
    assert [row for row, _ in changes.take()] == list(range(ROWS_AT_ONCE, ROWS_AT_ONCE + 5))
    assert not changes


def test_a_watcher_is_woken_by_rows_and_not_by_nothing():
    woken = Woken()
    changes = RowChanges(woken)
    changes.offer([])
    assert woken.times == 0
    changes.offer([(9, b"a")])
    assert woken.times == 1
