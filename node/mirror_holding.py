"""Copies of other nodes' disks: taken in when they are offered, given back when their owner wants them.

A copy belongs to the node that the frames come from, by its certificate. This machine's own policy decides
whether it is taken, and how much of it.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from hyperpi.clock import rfc3339
from hyperpi.contract import Json
from hyperpi.database import DiskThread
from hyperpi.errors import Conflict, HyperPiError, RefusedByPolicy
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.mirror_copies import Copies, Marker, OpenCopy, newest
from node.mirror_flow import Budget, lag_of
from node.mirror_policy import MirrorPolicy
from node.mirror_streams import Receiver, Send, Sender, Stream, StreamEnded, opened
from node.mirror_wire import Held
from pxldisk import Feed, PxlDiskError

log = logging.getLogger(__name__)

MAX_STREAMS = 32  # at a time, either way; half a megabyte of pieces may wait in each


@dataclass(frozen=True, slots=True)
class HeldDisk:
    """A copy as a disk whose log is sent: a `mirror_streams.Source`."""

    id: uuid.UUID
    folder: Path
    commits: int
    log_bytes: int


class Opening:
    """A copy to give back and a reader of it, both at once: it may be fed meanwhile and lose its old log."""

    def __init__(self, disk: uuid.UUID, folder: Path) -> None:
        """Raises NotFound, PxlDiskError, OSError. Blocks."""
        self.disk = HeldDisk(disk, folder, *newest(folder))
        self.feed = Feed(folder, None)

    def close(self) -> None:
        """Close the reader."""
        self.feed.close()


class Holding:
    """What this node does for the disks of others."""

    def __init__(
        self,
        copies: Copies,
        *,
        policy: Callable[[], MirrorPolicy],
        send: Send,
        opened: Callable[[Stream], None],
        closed: Callable[[Stream], None],
        thread: DiskThread,
        budget: Budget,
    ) -> None:
        self.copies = copies
        self._policy = policy
        self._send = send
        self._opened, self._closed = opened, closed
        self._thread = thread
        self._budget = budget
        self._tasks: asyncio.TaskGroup | None = None
        self._following: dict[str, Receiver] = {}  # by node id
        self._next: dict[str, mesh_pb2.Mirror] = {}  # by node id: its newest offer, while an older one ends
        self._giving: dict[str, Sender] = {}  # by node id
        self._next_want: dict[str, mesh_pb2.Mirror] = {}  # by node id, while an older one ends

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.Event().wait()
            finally:
                self._tasks = None  # while what runs is being ended, nothing begins

    # --- taking ----------------------------------------------------------------------------------------

    def offered(self, frame: mesh_pb2.Mirror) -> None:
        """A node offers its disk. A newer offer of it ends the older stream, and is taken up behind it; of
        those that come meanwhile only the last counts.
        """
        former = self._following.get(frame.node)
        if former is not None:  # it has the copy open
            former.end("another stream of the same disk has begun")
            if (forgotten := self._next.get(frame.node)) is not None:
                self._refuse(forgotten, "another stream of the same disk has begun")
            self._next[frame.node] = frame
        elif self._tasks is None or len(self._following) >= MAX_STREAMS:
            self._refuse(frame, "it holds as many copies at a time as it can")
        else:
            receiver = Receiver(frame.node, frame.stream, self._send, thread=self._thread)
            self._opened(receiver)
            receiver.frame(frame)
            self._following[frame.node] = receiver
            self._tasks.create_task(self._follow(receiver, frame.name), name=f"copy-{frame.node}")

    def _refuse(self, frame: mesh_pb2.Mirror, why: str) -> None:
        end = mesh_pb2.MirrorEnd(reason=why)
        self._send(mesh_pb2.Mirror(node=frame.node, stream=frame.stream, end=end))

    async def _follow(self, receiver: Receiver, name: str) -> None:
        of = receiver.peer
        try:
            self._check_policy()
            offer = await receiver.offered(0.0)

            def resume() -> OpenCopy | None:
                found = self.copies.resume(of, offer.disk)
                if found is not None:
                    found.goal(offer.head.commit)
                return found

            def begin() -> OpenCopy:
                made = self.copies.begin(of, name, offer.disk, time.time())
                made.goal(offer.head.commit)
                return made

            await receiver.run(resume, begin, self._check_policy)
        except (StreamEnded, HyperPiError, PxlDiskError, OSError) as exc:
            receiver.say_end(exc)
            log.info("a copy is not followed now of=%s reason=%s", of, exc)
        except Exception as exc:  # a boundary: whatever a peer sends, its stream ends and never this node
            receiver.say_end(exc)
            log.exception("following a copy failed of=%s", of)
        finally:
            self._closed(receiver)
            del self._following[of]
            if (following := self._next.pop(of, None)) is not None:
                self.offered(following)

    def _check_policy(self) -> None:
        if not self._policy().accept:
            raise RefusedByPolicy("its owner does not hold copies for others")

    # --- giving back -----------------------------------------------------------------------------------

    def wanted(self, frame: mesh_pb2.Mirror) -> None:
        """A node wants the copy of its disk; the hypivisor has seen to it that it may have it.

        It is given one at a time: a newer question ends the older stream, as with offers.
        """
        former = self._giving.get(frame.node)
        if former is not None:
            former.end("another copy was asked for")
            if (forgotten := self._next_want.get(frame.node)) is not None:
                self._refuse(forgotten, "another copy was asked for")
            self._next_want[frame.node] = frame
        elif self._tasks is None or len(self._giving) >= MAX_STREAMS:
            self._refuse(frame, "it is busy; try again in a minute")
        else:
            sender = Sender(frame.node, frame.stream, self._send, thread=self._thread, budget=self._budget)
            self._opened(sender)
            self._giving[frame.node] = sender
            self._tasks.create_task(self._give(sender, frame), name=f"give-{frame.node}")

    async def _give(self, sender: Sender, frame: mesh_pb2.Mirror) -> None:
        of, copies = frame.want.of or frame.node, self.copies
        try:
            # A name only where an admin has given it: two machines may have had the same one after another.
            found = copies.known_as(of) if frame.want.of else copies.of(of)
            marker = copies.choose(found, frame.want.copy, frame.want.not_disk)
            if marker is None:
                raise StreamEnded("it holds no such copy")
            log.info("a copy is given back of=%s to=%s number=%d", of, frame.node, marker.number)
            copies.given[marker.of, marker.number] += 1
            try:
                await self._give_copy(sender, marker)
            finally:
                copies.given[marker.of, marker.number] -= 1
        except (StreamEnded, HyperPiError, PxlDiskError, OSError) as exc:
            sender.say_end(exc)
            log.warning("a copy was not given back of=%s to=%s reason=%s", of, frame.node, exc)
        except Exception as exc:  # a boundary: whatever a peer sends, its stream ends and never this node
            sender.say_end(exc)
            log.exception("giving a copy back failed of=%s to=%s", of, frame.node)
        finally:
            del self._giving[frame.node]
            self._closed(sender)
            if (following := self._next_want.pop(frame.node, None)) is not None:
                self.wanted(following)

    async def _give_copy(self, sender: Sender, marker: Marker) -> None:
        opening = await opened(self._thread, lambda: Opening(marker.disk_id, self.copies.path(marker)))
        held = opening.disk
        told = None
        if marker.head is not None:
            told = Held(marker.number, held.commits, marker.head, marker.heard_at)
        await sender.run(held, told, opening.feed)

    async def drop(self, node: str) -> int:
        """Delete what is held of a node; how many copies. Raises Conflict while one is written."""
        if node in self._following:
            raise Conflict(
                "that machine mirrors to this one now",
                hint="there: `hyperpi disk mirror --off`; or here, in node.toml: [mirrors] accept = false",
            )
        return await self._thread.call(self.copies.drop, node)

    # --- showing ---------------------------------------------------------------------------------------

    def shapes(self) -> list[Json]:
        """Every copy, as `disk.mirrors` tells of it."""
        markers = sorted(self.copies.markers.values(), key=lambda marker: (marker.name, marker.number))
        return [self._shape(marker) for marker in markers]

    def _shape(self, marker: Marker) -> Json:
        head = marker.head
        return {
            "of": marker.of,
            "name": marker.name,
            "copy": marker.number,
            "disk": marker.disk,
            "whole": marker.whole,
            "following": (marker.of, marker.number) in self.copies.open,
            "commit": marker.commit,
            "bytes": self.copies.bytes.get((marker.of, marker.number), 0),
            "made_at": rfc3339(marker.made_at),
            "heard_at": rfc3339(marker.heard_at) if head is not None else None,
            "source_at": rfc3339(head.at) if head is not None else None,
            "lag": asdict(lag_of(marker.commit, head)) if head is not None else None,
            "path": str(self.copies.path(marker)),
        }
