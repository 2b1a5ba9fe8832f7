"""The two ends of a stream that carries a disk's log from one node to another.

The sender reads the log from files, off the loop, at its own pace; what waits for an acknowledgement is
bounded, so a slow receiver costs the sender nothing but a place in the log. The receiver stores what has
come, in batches, and acknowledges what is on the medium. An end that falls silent is given up.
"""

import asyncio
import contextlib
import time
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from hyperpi.database import DiskThread
from hyperpi.errors import BadMessage, HyperPiError
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node import mirror_wire as wire
from node.mirror_flow import PIECE_BYTES, WINDOW_BYTES, Budget, Head, Progress, Window
from pxldisk import Feed, NotInLog, Piece, Place, PxlDiskError

PLACE_S = 30.0  # the other side looks through a segment before it says how much it has
BEAT_S = 10.0  # a sender with nothing to send says where its disk is
MAX_WAITING_BYTES = (
    2 * WINDOW_BYTES
)  # that came and are not stored; an honest sender has half of it under way
SILENCE_S = 45.0  # four beats; and longer than a busy drive takes to sync

Send = Callable[[mesh_pb2.Mirror], bool]


class StreamEnded(Exception):
    """The stream is over, for this reason. `told`: the other side knows."""

    def __init__(self, reason: str, *, told: bool = False) -> None:
        super().__init__(reason)
        self.told = told


class Stream(ABC):
    """One end: `frame` takes what comes, in order; `ended` and `news` tell whoever works on it."""

    def __init__(self, peer: str, number: int, send: Send) -> None:
        self.peer = peer  # node id
        self.number = number
        self.news = asyncio.Event()
        self.heard_at = time.monotonic()
        self._send = send
        self._ended: StreamEnded | None = None
        self._done = False

    def frame(self, frame: mesh_pb2.Mirror) -> None:
        """Take a frame of this stream."""
        self.heard_at = time.monotonic()
        body = frame.WhichOneof("body")
        if body == "end" and frame.end.done:
            self._done = True
        elif body == "end":
            self._ended = StreamEnded(frame.end.reason[:200] or "the other side has ended it", told=True)
        else:
            try:
                self.take(body or "", frame)
            except BadMessage as exc:
                self._ended = StreamEnded(f"what came cannot be read: {exc}")
        self.news.set()

    @abstractmethod
    def take(self, body: str, frame: mesh_pb2.Mirror) -> None:
        """Take a frame that is no end. Raises BadMessage. For each kind of end its own."""

    def end(self, reason: str) -> None:
        """Give it up: whoever works on it is told."""
        self._ended = self._ended or StreamEnded(reason)
        self.news.set()

    def send(self, **body: Any) -> None:
        """Send a frame. Raises StreamEnded when there is no link, or it does not keep up."""
        if not self._send(mesh_pb2.Mirror(node=self.peer, stream=self.number, **body)):
            raise StreamEnded("the link has ended or does not keep up")

    def say_end(self, exc: BaseException) -> None:
        """Tell the other side that it is over, as far as it can be told and does not know."""
        if not (isinstance(exc, StreamEnded) and exc.told):
            reason = (
                str(exc) if isinstance(exc, StreamEnded | HyperPiError | PxlDiskError) else "it broke off"
            )
            end = mesh_pb2.MirrorEnd(reason=reason)
            self._send(mesh_pb2.Mirror(node=self.peer, stream=self.number, end=end))

    def check(self) -> None:
        """Raises StreamEnded when it is over."""
        if self._ended is not None:
            raise self._ended

    async def until(self, look: Callable[[], bool], within_s: float, what: str) -> None:
        """Return when `look` is true. Raises StreamEnded, also after `within_s` seconds."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    self.news.clear()
                    self.check()
                    if look():
                        return
                    await self.news.wait()
        except TimeoutError:
            raise StreamEnded(f"no {what} within {within_s:g} s") from None


class Closable(Protocol):
    """Something that holds files open."""

    def close(self) -> None:
        """Close them."""


C = TypeVar("C", bound=Closable | None)


async def opened(thread: DiskThread, open_it: Callable[[], C]) -> C:
    """Open something in the thread. If the caller is cancelled meanwhile, it is closed again."""
    opening = asyncio.ensure_future(thread.call(open_it))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        (found,) = await asyncio.gather(opening, return_exceptions=True)
        if found is not None and not isinstance(found, BaseException):
            await closed(thread, found)
        raise


async def closed(thread: DiskThread, what: Closable) -> None:
    """Close something in the thread, even if the caller is cancelled meanwhile: it may hold a lock."""
    await asyncio.shield(asyncio.ensure_future(thread.call(what.close)))


# --- sending -------------------------------------------------------------------------------------------


class Source(Protocol):
    """A disk whose log is sent."""

    @property
    def id(self) -> uuid.UUID:
        """Of the disk."""

    @property
    def folder(self) -> Path:
        """Its folder."""

    @property
    def commits(self) -> int:
        """Number of the last commit that may be sent."""

    @property
    def log_bytes(self) -> int:
        """Where the newest segment ends."""


class Sender(Stream):
    """Sends the log of a disk to another node that makes a copy of it.

    Without `progress` it is a disk that nobody writes: the stream is over when all of it has arrived. With it
    whoever has it sets `news` when there are new commits.
    """

    def __init__(
        self,
        peer: str,
        number: int,
        send: Send,
        *,
        thread: DiskThread,
        budget: Budget,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(peer, number, send)
        self.window = Window()
        self.started = False
        self.anew = False
        self.goal = 0  # the last commit that there was when it began
        self.behind = 0  # bytes of the log, not sent yet
        self._thread = thread
        self._budget = budget
        self._follows = progress is not None
        self._progress = progress or Progress()
        self._place: tuple[Place | None] | None = None

    def take(self, body: str, frame: mesh_pb2.Mirror) -> None:
        """See Stream."""
        if body == "place":
            self._place = (wire.place_from_wire(frame.place),)
        elif body == "ack":
            if not self.window.ack(frame.ack.bytes):
                raise BadMessage("an acknowledgement of what was not sent")
            self._progress.ack(frame.ack.commit)

    async def run(self, source: Source, held: wire.Held | None = None, feed: Feed | None = None) -> None:
        """Send until there is no more. Raises StreamEnded, PxlDiskError, OSError; tells the other side.

        `feed`: a reader that begins anew, opened together with what is offered; closed in the end.
        """
        try:
            self.behind = await self._thread.call(_size_anew, source.folder, source.log_bytes)
            offer = wire.Offer(source.id, self._head(source), self.behind, held)
            self.send(offer=wire.offer_to_wire(offer))
            await self.until(lambda: self._place is not None, PLACE_S, "answer")
            assert self._place is not None
            place = self._place[0]
            if feed is None:
                feed = await opened(self._thread, lambda: _open_feed(source.folder, place))
            self.anew, self.goal = feed.anew, source.commits
            self._progress.ack(0 if self.anew or place is None else place.commit)
            self.send(start=mesh_pb2.MirrorStart(anew=self.anew))
            self.started = True
            await self._pump(source, feed)
        except BaseException as exc:
            self.say_end(exc)
            raise
        finally:
            if feed is not None:
                await closed(self._thread, feed)

    async def _pump(self, source: Source, feed: Feed) -> None:
        while True:
            self.check()
            newest = source.commits
            piece, self.behind = await self._thread.call(_next, feed, newest, source.log_bytes)
            if piece is not None:
                await self._send_piece(piece, self._head(source))
            elif self._follows:
                await self._wait_for_more(source, newest)
            else:
                await self.until(lambda: self.window.acked == self.window.sent, SILENCE_S, "acknowledgement")
                self.send(end=mesh_pb2.MirrorEnd(done=True))
                return

    async def _send_piece(self, piece: Piece, head: Head) -> None:
        size = len(piece.content)
        await self.until(lambda: self.window.has_room(size), SILENCE_S, "acknowledgement")
        await asyncio.sleep(self._budget.spend(size, time.monotonic()))
        self.send(piece=wire.piece_to_wire(piece, head))
        self.window.sent += size

    async def _wait_for_more(self, source: Source, newest: int) -> None:
        """Return when there are commits beyond `newest`, or it is time to say that there are none."""
        try:
            async with asyncio.timeout(BEAT_S):
                while source.commits <= newest:
                    self.news.clear()
                    self.check()
                    await self.news.wait()
        except TimeoutError:
            if time.monotonic() - self.heard_at > SILENCE_S:
                raise StreamEnded(f"no word within {SILENCE_S:g} s") from None
            self.send(head=wire.head_to_wire(self._head(source)))

    def _head(self, source: Source) -> Head:
        now = time.monotonic()
        self._progress.note(source.commits, now)
        return Head(source.commits, self.behind, self._progress.behind_s(now), time.time())


def _open_feed(folder: Path, place: Place | None) -> Feed:
    """A reader that goes on from the place, or begins anew when this log does not hold it."""
    if place is not None:
        with contextlib.suppress(NotInLog):
            return Feed(folder, place)
    return Feed(folder, None)


def _next(feed: Feed, newest: int, log_bytes: int) -> tuple[Piece | None, int]:
    piece = feed.next(newest, PIECE_BYTES)
    return piece, feed.behind(log_bytes)


def _size_anew(folder: Path, log_bytes: int) -> int:
    """Bytes to carry when nothing of the disk is there yet: its newest segment and the pictures of it."""
    newest = max(path.stem for path in (folder / "log").glob("*.pxj"))
    return log_bytes + sum(path.stat().st_size for path in (folder / "log").glob(f"{newest}-*.png"))


# --- receiving -----------------------------------------------------------------------------------------


class Sink(Protocol):
    """A copy that is being made. Blocks."""

    def place(self) -> Place | None:
        """How far it has come."""

    def take(self, pieces: Sequence[Piece], head: Head, now: float) -> int:
        """Add pieces (maybe none) durably; the last commit that is held. `head` came with the last."""

    def close(self) -> None:
        """End writing."""


class Receiver(Stream):
    """Makes a copy of a disk whose log another node sends."""

    def __init__(self, peer: str, number: int, send: Send, *, thread: DiskThread) -> None:
        super().__init__(peer, number, send)
        self.offer: wire.Offer | None = None
        self.taken_bytes = 0
        self._thread = thread
        self._anew: bool | None = None
        self._waiting: deque[tuple[Piece | None, Head]] = deque()
        self._waiting_bytes = 0

    def take(self, body: str, frame: mesh_pb2.Mirror) -> None:
        """See Stream."""
        if body == "offer" and self.offer is None:
            self.offer = wire.offer_from_wire(frame.offer)
        elif body == "start":
            self._anew = frame.start.anew
        elif body == "piece":
            if self._anew is None:
                raise BadMessage("a piece before the start")
            piece, head = wire.piece_from_wire(frame.piece)
            self._waiting.append((piece, head))
            self._waiting_bytes += len(piece.content)
            if self._waiting_bytes > MAX_WAITING_BYTES:
                raise BadMessage("more than may be under way")
        elif body == "head" and not self._waiting:
            self._waiting.append((None, wire.head_from_wire(frame.head)))

    async def offered(self, within_s: float) -> wire.Offer:
        """What the other side has. Raises StreamEnded."""
        await self.until(lambda: self.offer is not None, within_s, "answer")
        assert self.offer is not None
        return self.offer

    async def run(
        self, resume: Callable[[], Sink | None], begin: Callable[[], Sink], allowed: Callable[[], None]
    ) -> None:
        """Take what comes until all has come. Raises StreamEnded and what the sink raises; tells the sender.

        `resume` opens the copy that there is, `begin` another one; `allowed` raises when this must not go on.
        """
        sink: Sink | None = None
        try:
            sink = await opened(self._thread, resume)
            place = await self._thread.call(sink.place) if sink is not None else None
            self.send(place=wire.place_to_wire(place))
            await self.until(lambda: self._anew is not None, SILENCE_S, "start")
            if self._anew:
                if sink is not None:
                    former, sink = sink, None
                    await closed(self._thread, former)
                sink = await opened(self._thread, begin)
            elif sink is None:
                raise StreamEnded("it goes on with a copy that is not here")
            await self._take_pieces(sink, allowed)
        except BaseException as exc:
            self.say_end(exc)
            raise
        finally:
            if sink is not None:
                await closed(self._thread, sink)

    async def _take_pieces(self, sink: Sink, allowed: Callable[[], None]) -> None:
        while True:
            await self.until(lambda: bool(self._waiting) or self._done, SILENCE_S, "word")
            allowed()
            if not self._waiting:
                return
            batch = [*self._waiting]
            pieces = [piece for piece, _ in batch if piece is not None]
            commit = await self._thread.call(sink.take, pieces, batch[-1][1], time.time())
            for _ in batch:
                self._waiting.popleft()
            size = sum(len(piece.content) for piece in pieces)
            self._waiting_bytes -= size
            self.taken_bytes += size
            self.send(ack=mesh_pb2.MirrorAck(bytes=self.taken_bytes, commit=commit))
