"""How fast a copy may be fed, and how far it is behind. Pure: the clock is passed in.

A mirror is a guest on the link: it has a budget in bytes a second for all copies together, and for each of
them only so much under way that nobody else waits for it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

PIECE_BYTES = 64 << 10  # one write of the link; at 1 MB/s nobody waits longer than 64 ms behind it
WINDOW_BYTES = 4 * PIECE_BYTES  # sent and not acknowledged: enough for 2.5 MB/s at 100 ms there and back
DEFAULT_RATE = 1 << 20  # bytes a second: a video call has room beside it
BURST_S = 0.25  # what was not used before may be made up for
MAX_SEEN = 1_000  # moments at which commits were seen; at one in 50 ms, a minute of a busy disk


class Budget:
    """Bytes that may be sent: at most `rate` a second, and a quarter of a second's worth at once."""

    def __init__(self, rate: Callable[[], int]) -> None:
        self._rate = rate  # asked anew each time: its owner may change it
        self._free_at = float("-inf")  # what was spent is paid off then, by the clock that is passed in

    def spend(self, size: int, now: float) -> float:
        """Book `size` bytes; seconds to wait before they are sent."""
        self._free_at = max(self._free_at, now - BURST_S)
        wait_s = max(0.0, self._free_at - now)
        self._free_at += size / self._rate()
        return wait_s


@dataclass(slots=True)
class Window:
    """Bytes of one stream that are on their way."""

    sent: int = 0
    acked: int = 0

    def has_room(self, size: int) -> bool:
        """Whether so many more may be sent; one piece always may, however large."""
        return self.sent == self.acked or self.sent - self.acked + size <= WINDOW_BYTES

    def ack(self, total: int) -> bool:
        """Take an acknowledgement of the first `total` bytes. False when that cannot be one."""
        if not self.acked <= total <= self.sent:
            return False
        self.acked = total
        return True


@dataclass(frozen=True, slots=True)
class Head:
    """Where a disk is, as its node says. `at`: Unix seconds by that node's clock."""

    commit: int
    behind_bytes: int  # of the log, that the copy was not sent yet
    behind_s: float  # since when the copy lacks something; 0: it lacks nothing
    at: float


@dataclass(frozen=True, slots=True)
class Lag:
    """What a copy lacks. `seconds`: how long the oldest of it has been lacking."""

    commits: int
    bytes: int
    seconds: float


def lag_of(commit: int, head: Head) -> Lag:
    """How far a copy that holds commits up to `commit` is behind the disk, as last told."""
    if commit >= head.commit:
        return Lag(0, 0, 0.0)
    return Lag(head.commit - commit, head.behind_bytes, head.behind_s)


class Progress:
    """How a copy follows its disk, as the disk's node sees it."""

    def __init__(self) -> None:
        self.commit = 0  # acknowledged
        self._seen: deque[tuple[int, float]] = deque()  # commits that are not, and when each was seen first

    def note(self, newest: int, now: float) -> None:
        """The disk has come to a commit."""
        if newest <= (self._seen[-1][0] if self._seen else self.commit):
            return
        if len(self._seen) < MAX_SEEN:
            self._seen.append((newest, now))
        else:
            self._seen[-1] = (newest, self._seen[-1][1])  # so it is rather said to be older than it is

    def ack(self, commit: int) -> None:
        """The copy has come to a commit."""
        self.commit = commit
        while self._seen and self._seen[0][0] <= commit:
            self._seen.popleft()

    def behind_s(self, now: float) -> float:
        """For how long the oldest commit that the copy lacks has been there."""
        return max(0.0, now - self._seen[0][1]) if self._seen else 0.0
