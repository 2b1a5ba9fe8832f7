"""When an agent counts as stuck, as this machine's owner wants it: the table [watch] of node.toml. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

STUCK_AFTER_S = 300.0  # the longest that a model thinks without a word, and most builds take
SAME_CALL_TIMES = 8  # polling for something is done by a loop in one call, not by a model that calls again
LEAST_S, MOST_S = 10.0, 86_400.0
LEAST_TIMES, MOST_TIMES = 2, 1_000


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """What is too long, and too often."""

    stuck_after_s: float = STUCK_AFTER_S  # without anything from an agent with a turn open
    same_call_times: int = SAME_CALL_TIMES  # one tool with the same arguments, in a row


DEFAULT_TEXT = f"""\
# An agent in the middle of a turn is called stuck when nothing has come from it for so long, or when it calls
# a tool with the same arguments so many times in a row. That is only said; nothing is done about it.
[watch]
# stuck_after_s = {STUCK_AFTER_S:g}
# same_call_times = {SAME_CALL_TIMES}
"""


def parse_watch(table: Mapping[str, object]) -> WatchPolicy:
    """The table's meaning. Raises ValueError with one line that names the key."""
    for key in table:
        if key not in ("stuck_after_s", "same_call_times"):
            raise ValueError(f"unknown key watch.{key}; known are stuck_after_s, same_call_times")
    after_s = table.get("stuck_after_s", STUCK_AFTER_S)
    times = table.get("same_call_times", SAME_CALL_TIMES)
    if isinstance(after_s, bool) or not isinstance(after_s, int | float) or not LEAST_S <= after_s <= MOST_S:
        raise ValueError(f"watch.stuck_after_s must be seconds from {LEAST_S:g} to {MOST_S:g}")
    if isinstance(times, bool) or not isinstance(times, int) or not LEAST_TIMES <= times <= MOST_TIMES:
        raise ValueError(f"watch.same_call_times must be a whole number from {LEAST_TIMES} to {MOST_TIMES}")
    return WatchPolicy(float(after_s), times)
