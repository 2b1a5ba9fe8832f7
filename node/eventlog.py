"""One agent's event log: gives viewers' `seq`, drops what an agent sends twice, begins new epochs.

The agent numbers its events from 1 per instance and resends what was not acknowledged, so a number at or
below `acked` has been seen. A jump means that the agent had to drop events: the log cannot vouch for the
stream any more and begins a new epoch, from which viewers take a fresh snapshot.
"""

from collections.abc import Mapping, Sequence

from hyperpi import strict_json
from hyperpi.address import new_id
from hyperpi.event import Reset, read_head, stamp
from hyperpi.ring import Ring


class EventLog:
    """The ring of one agent, and how far its agent's own numbering has come."""

    def __init__(self) -> None:
        self.ring = Ring(new_id("e", 8))
        self.acked = 0  # the agent's number of the newest event that is in the ring
        self._fresh = True

    def ingest(self, first: int, events: Sequence[bytes], now: str) -> tuple[int, Reset | None]:
        """Append a run numbered from `first` by the agent: how many were new, and a reset if it jumped.

        Raises BadMessage for an event without a type; the ones before it stay.
        """
        reset = None
        if first > self.acked + 1:
            # After a restart of the node any number may come first: only the unacknowledged is resent.
            if not self._fresh:
                reset = self.begin("overrun")
            self.acked = first - 1
        self._fresh = False
        known = self.acked
        try:
            for raw in events[self.acked + 1 - first :]:
                head = read_head(raw)
                self.ring.append(stamp(raw, self.ring.head + 1, now, head))
                self.acked += 1
        finally:
            if self.acked > known:
                self.ring.wake()
        return self.acked - known, reset

    def say(self, event: Mapping[str, object], now: str) -> None:
        """Append an event of the node's own, such as a change of state."""
        raw = strict_json.encode(event)
        self.ring.append(stamp(raw, self.ring.head + 1, now, read_head(raw)))
        self.ring.wake()

    def begin(self, reason: str) -> Reset:
        """Begin a new epoch: the conversation changed, or events were lost."""
        self.ring = Ring(new_id("e", 8))
        return Reset(self.ring.epoch, reason)
