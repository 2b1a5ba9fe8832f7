"""How the difference of two clocks is told."""

import pytest

from hyperpi.clock import apart


@pytest.mark.parametrize(
    ("ahead_s", "words"),
    [
        (60, "60 s ahead of"),
        (-150, "2 min behind"),
        (7_300, "2 h ahead of"),
        (-86_400, "24 h behind"),
        (864_000, "10 days ahead of"),
    ],
)
def test_a_difference_is_told_in_the_one_unit_that_says_most(ahead_s: float, words: str):
    assert apart(ahead_s) == words
