"""A mirror's budget, its window, and how far a copy is said to be behind."""

import random

import pytest

from node.mirror_flow import BURST_S, MAX_SEEN, WINDOW_BYTES, Budget, Head, Lag, Progress, Window, lag_of


@pytest.mark.parametrize("seed", range(20))
def test_no_stretch_of_time_gets_more_bytes_than_its_budget(seed: int) -> None:
    dice = random.Random(seed)
    rate, largest = dice.choice([16_000, 1 << 20]), 65_536
    budget = Budget(lambda: rate)
    now, sent = 100.0, []
    for _ in range(400):
        size = dice.randint(1, largest)
        now += budget.spend(size, now)
        sent.append((now, size))
        now += dice.choice([0.0, 0.0, dice.random() * 0.1, dice.random() * 3])
    for first in range(0, 400, 7):
        total = 0
        for moment, size in sent[first:]:
            total += size
            assert total <= rate * (moment - sent[first][0] + BURST_S) + largest


def test_a_budget_is_used_up_when_there_is_always_more_to_send() -> None:
    budget, now, total = Budget(lambda: 1000), 0.0, 0
    while now < 60:
        now += budget.spend(100, now)
        total += 100
    assert total >= 60_000


def test_a_changed_rate_holds_from_the_next_piece_on() -> None:
    rate = 1000
    budget = Budget(lambda: rate)
    budget.spend(250, 0.0)  # what a quarter of a second may have at once
    assert budget.spend(1000, 0.0) == 0.0
    assert budget.spend(1, 0.0) == pytest.approx(1.0)
    rate = 10
    assert budget.spend(1, 10.0) == 0.0
    assert budget.spend(100, 10.0) == 0.0
    assert budget.spend(1, 10.0) == pytest.approx(9.85)


def test_a_window_bounds_what_is_under_way_but_never_stops_a_single_piece() -> None:
    window = Window()
    assert window.has_room(WINDOW_BYTES + 1)
    window.sent = WINDOW_BYTES
    assert not window.has_room(1)
    assert window.ack(1) and window.has_room(1) and not window.has_room(2)
    assert not window.ack(0), "it goes forward only"
    assert not window.ack(WINDOW_BYTES + 1), "nobody has that"
    assert window.acked == 1


def test_a_copy_is_behind_since_the_oldest_commit_that_it_lacks_was_seen() -> None:
    progress = Progress()
    assert progress.behind_s(5.0) == 0.0
    progress.note(3, 10.0)
    progress.note(7, 11.0)
    progress.note(7, 12.0)
    assert progress.behind_s(13.0) == 3.0
    progress.ack(3)
    assert progress.behind_s(13.0) == 2.0
    progress.ack(7)
    assert progress.behind_s(99.0) == 0.0
    progress.note(7, 100.0)
    assert progress.behind_s(101.0) == 0.0


def test_under_steady_writing_a_copy_that_keeps_up_is_said_to() -> None:
    progress = Progress()
    for tick in range(10_000):
        progress.note(tick + 5, tick * 0.05)
        progress.ack(tick)
        assert progress.behind_s(tick * 0.05) <= 0.25


def test_what_is_remembered_of_a_copy_that_is_away_is_bounded_and_errs_to_the_older_side() -> None:
    progress = Progress()
    for commit in range(1, 5 * MAX_SEEN):
        progress.note(commit, float(commit))
    assert len(progress._seen) == MAX_SEEN
    assert progress.behind_s(5.0 * MAX_SEEN) == 5.0 * MAX_SEEN - 1
    progress.ack(MAX_SEEN)
    assert progress.behind_s(5.0 * MAX_SEEN) >= 4.0 * MAX_SEEN


def test_the_lag_of_a_copy_is_what_it_lacked_when_last_told() -> None:
    head = Head(commit=12, behind_bytes=900, behind_s=1.5, at=7.0)
    assert lag_of(9, head) == Lag(3, 900, 1.5)
    assert lag_of(12, head) == Lag(0, 0, 0.0)
