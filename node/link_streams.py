"""The streams that somebody in the mesh follows: what the Link sends of agents' events and terminals.

Events are not queued: for each stream there is a cursor into its ring, so a slow link costs no memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hyperpi.address import agent_of, is_terminal
from hyperpi.errors import CursorCompacted, HyperPiError
from hyperpi.event import Reset
from hyperpi.frames import BATCH_BYTES
from hyperpi.ring import Ring, chunked
from hyperpi.wire import convert
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.agents import Agents
from node.terminals import Terminals


@dataclass(slots=True)
class _Watch:
    """Events after `seq` of `ring` are still to be sent."""

    ring: Ring
    seq: int


class LinkStreams:
    """One link's watched streams. `send` queues a frame, `wake` has the writer ask for `frames`."""

    def __init__(
        self,
        agents: Agents,
        terminals: Terminals,
        send: Callable[[mesh_pb2.NodeFrame], object],
        wake: Callable[[], None],
    ) -> None:
        self._agents = agents
        self._terminals = terminals
        self._send = send
        self._wake = wake
        self._watches: dict[str, _Watch] = {}

    def subscribe(self, wanted: mesh_pb2.Subscribe) -> None:
        """Begin to send a stream, or to send it to one more."""
        stream = wanted.agent
        watch = self._watches.get(stream)
        try:
            ring = watch.ring if watch is not None else self._ring_of(stream)
        except HyperPiError as exc:
            error = convert.error_to_wire(exc)
            self._opened(mesh_pb2.Subscribed(subscription=wanted.subscription, error=error))
            return
        cursor = convert.cursor_from_wire(wanted.epoch, wanted.seq)
        gap = cursor is not None and not ring.holds(cursor)
        start = ring.head if cursor is None or gap else cursor.seq
        self._opened(
            mesh_pb2.Subscribed(subscription=wanted.subscription, epoch=ring.epoch, seq=start, gap=gap)
        )
        if watch is None:
            self._watches[stream] = _Watch(ring, start)
            ring.listen(self._wake)
            self._count(stream, 1)  # at least, until it is told better
        elif start < watch.seq:
            self._replay(wanted.subscription, stream, ring, start, watch.seq)
        # Else the others are behind the newcomer: it skips what it already has.
        self._wake()

    def unsubscribe(self, stream: str) -> None:
        """Nobody follows it any more; harmless when repeated."""
        if (watch := self._watches.pop(stream, None)) is not None:
            watch.ring.unlisten(self._wake)
            self._count(stream, 0)
            if is_terminal(stream):
                self._terminals.release(agent_of(stream))

    def viewers(self, told: mesh_pb2.Viewers) -> None:
        """How many share what is sent of an agent."""
        if told.agent in self._watches:
            self._count(told.agent, told.viewers)

    def _count(self, stream: str, viewers: int) -> None:
        if not is_terminal(stream):  # whoever looks at a terminal follows the agent as well
            self._agents.watched_afar(agent_of(stream), viewers)

    def reset(self, stream: str, reset: Reset) -> None:
        """Its epoch is over: whoever follows it is told, and asks again."""
        if stream in self._watches:
            self.unsubscribe(stream)
            told = mesh_pb2.StreamReset(agent=stream, epoch=reset.epoch, reason=reset.reason)
            self._send(mesh_pb2.NodeFrame(reset=told))

    def frames(self, room_bytes: int) -> list[mesh_pb2.NodeFrame]:
        """What is to be sent now, beyond the room by one batch at most; streams take turns."""
        found: list[mesh_pb2.NodeFrame] = []
        for stream, watch in list(self._watches.items()):
            if room_bytes < 0:
                self._wake()  # the others come next
                break
            runs = self._events(stream, watch)
            room_bytes -= sum(run.ByteSize() for run in runs)
            found += runs
            if runs and self._watches.get(stream) is watch:
                self._watches[stream] = self._watches.pop(stream)  # behind those that had no room
        return found

    def close(self) -> None:
        """The link has ended: the next one is asked anew."""
        for stream in list(self._watches):
            self.unsubscribe(stream)

    def _ring_of(self, stream: str) -> Ring:
        """A terminal's ring is held until the watch is stopped. Raises NotFound."""
        agent = agent_of(stream)
        self._agents.roster.get(agent)
        return self._terminals.hold(agent) if is_terminal(stream) else self._agents.log_of(agent).ring

    def _events(self, stream: str, watch: _Watch) -> list[mesh_pb2.NodeFrame]:
        """What a watcher lacks, at most a batch; a ring that has moved on ends the watch."""
        if watch.seq >= watch.ring.head:
            return []
        try:
            events = watch.ring.since(watch.seq, BATCH_BYTES)
        except CursorCompacted:
            self.unsubscribe(stream)
            told = mesh_pb2.StreamReset(agent=stream, epoch=watch.ring.epoch, reason="overrun")
            return [mesh_pb2.NodeFrame(reset=told)]
        first = watch.seq + 1
        watch.seq += len(events)
        if watch.seq < watch.ring.head:
            self._wake()
        run = mesh_pb2.EventRun(agent=stream, epoch=watch.ring.epoch, first_seq=first, events_json=events)
        return [mesh_pb2.NodeFrame(events=run)]

    def _replay(self, subscription: int, stream: str, ring: Ring, start: int, end: int) -> None:
        """What one watcher lacks of what was already sent to the others."""
        seq = start
        for events in chunked(ring.since(start, 1 << 40)[: end - start], BATCH_BYTES):
            run = mesh_pb2.EventRun(
                agent=stream,
                epoch=ring.epoch,
                first_seq=seq + 1,
                events_json=events,
                subscription=subscription,
            )
            self._send(mesh_pb2.NodeFrame(events=run))
            seq += len(events)

    def _opened(self, answer: mesh_pb2.Subscribed) -> None:
        self._send(mesh_pb2.NodeFrame(subscribed=answer))
