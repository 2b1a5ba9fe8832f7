"""A lost disk, rebuilt from a copy that another node holds.

The copy is fetched beside the disk while the node goes on, and checked. Then the node starts again: at a
start, before anything uses the disk, the copy takes its place. So nothing is stored on a disk that is about
to be put aside, and a crash in the middle is finished by the next start. What was there is kept.

    node/restoring/disk/         what has come
    node/restoring/ready.json    it is whole and sound: the next start puts it in place
    node/restored.json           how that went, and since when the disk is another
    node/disk.former-<unix s>/   what was there
"""

import asyncio
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hyperpi import private_file, strict_json
from hyperpi.address import new_id
from hyperpi.clock import rfc3339
from hyperpi.contract import Json
from hyperpi.database import DiskThread
from hyperpi.errors import BadMessage, Conflict, HyperPiError, NotFound, Overloaded, Unusable
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.disk_policy import DiskPolicy
from node.mirror_copies import RESERVE_BYTES, free_bytes, newest
from node.mirror_flow import Head, lag_of
from node.mirror_streams import Receiver, Send, StreamEnded
from node.mirror_wire import Offer
from pxldisk import Copy, NoSpace, Piece, Place, PxlDiskError, reader, verify
from pxldisk.shipping import Kind
from pxldisk.zones import zone_table

log = logging.getLogger(__name__)

OFFER_S = 10.0  # the other side looks through its copy first; below the 15 s that a hypivisor waits for us
DOUBTFUL_S = 30 * 86_400.0  # as long as a scroll may live
MARGIN_BYTES = 8 << 20  # beyond what was offered: the copy may have been fed meanwhile
READY = "ready.json"
RESTORED = "restored.json"


@dataclass(frozen=True, slots=True)
class Report:
    """What a restoration brings, or brought. Times are Unix seconds.

    `missing_commits`, `missing_s`: what the copy lacked of the lost disk when its holder last heard of it, at
    `heard_at`; what was stored later is missing too.
    """

    id: str
    source: str  # name of the node that held the copy
    copy: int
    disk: str
    commit: int
    records: int  # live ones
    next_seq: int  # records with a lower number came with the copy
    missing_commits: int | None
    missing_s: float | None
    heard_at: float | None
    force: bool
    kept: str  # where what was there is put
    at: float
    state: str = "ready"  # then done, or refused
    reason: str | None = None

    def doubtful_below(self, now: float) -> int:
        """Records below this number came with a copy, and may have been dealt with since; 0: none.

        A clock that was set back says nothing about the age of the restoration: then they stay doubtful.
        """
        return self.next_seq if now - self.at <= DOUBTFUL_S else 0


@dataclass(slots=True)
class Fetch:
    """A restoration that runs in this process. States: fetching, checking, ready, failed."""

    id: str
    source: str
    state: str = "fetching"
    reason: str | None = None
    total_bytes: int = 0
    receiver: Receiver | None = None
    bytes: int = 0


class Restoring:
    """At most one restoration at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        send: Send,
        opened: Callable[[Receiver], None],
        closed: Callable[[Receiver], None],
        thread: DiskThread,
        restart: Callable[[], None],
        shape: Callable[[], DiskPolicy],
    ) -> None:
        self._shape = shape
        self._folder = folder  # of the node
        self._send = send
        self._opened, self._closed = opened, closed
        self._thread = thread
        self._restart = restart
        self._tasks: asyncio.TaskGroup | None = None
        self._fetch: Fetch | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            await asyncio.Event().wait()

    async def begin(self, node: str, name: str, *, want: mesh_pb2.MirrorWant, force: bool) -> str:
        """Fetch a copy from a node, then start anew with it. Returns its id once the copy is on its way.

        Raises Conflict while another is under way, NotFound when there is no such copy, Overloaded.
        """
        if self._tasks is None:
            raise Overloaded("the node is starting", hint="try again in a moment")
        if self._fetch is not None and self._fetch.state != "failed":
            raise Conflict(f"a restoration from {self._fetch.source} is under way")
        fetch = self._fetch = Fetch(new_id("restore"), name)
        receiver = Receiver(node, secrets.randbits(63) + 1, self._send, thread=self._thread)
        fetch.receiver = receiver
        self._opened(receiver)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks.create_task(self._run(fetch, receiver, want, force, begun), name="restore")
        # Who asked may go away meanwhile; the restoration goes on, and tells whoever asks for its state.
        await asyncio.shield(begun)
        return fetch.id

    async def _run(
        self,
        fetch: Fetch,
        receiver: Receiver,
        want: mesh_pb2.MirrorWant,
        force: bool,
        begun: "asyncio.Future[None]",
    ) -> None:
        try:
            receiver.send(want=want)
            offer = await receiver.offered(OFFER_S)
            fetch.total_bytes = offer.size
            begun.set_result(None)
            place = self._folder / "restoring"
            await receiver.run(lambda: None, lambda: FetchedCopy(place, offer.size), lambda: None)
            fetch.state = "checking"
            found = await self._thread.call(_check, place / "disk", offer, self._shape())
            report = _report(fetch, offer, found, force, time.time())
            await self._thread.call(_ready, place, report)
            fetch.state = "ready"
            log.info("a copy is whole and sound, the node starts again with it from=%s", fetch.source)
            self._restart()
        except (StreamEnded, HyperPiError, PxlDiskError, OSError) as exc:
            fetch.state, fetch.reason = "failed", str(exc)
            log.warning("the disk was not restored from=%s reason=%s", fetch.source, exc)
            if not begun.done():
                begun.set_exception(NotFound(f"{fetch.source}: {exc}"))
        except Exception:  # a boundary: whatever a peer sends, its stream ends and never this node
            fetch.state, fetch.reason = "failed", "it broke off; the log of this node says where"
            log.exception("restoring failed from=%s", fetch.source)
            if not begun.done():
                begun.set_exception(Overloaded(fetch.reason))
        finally:
            fetch.bytes, fetch.receiver = receiver.taken_bytes, None
            self._closed(receiver)
            if not begun.done():
                begun.set_exception(Overloaded("the node ends"))

    def shape(self) -> Json | None:
        """How the last one goes or went, as `disk.mirrors` tells of it."""
        fetch = self._fetch
        if fetch is None:
            report = last_report(self._folder)
            return None if report is None else _shape(report)
        taken = fetch.receiver.taken_bytes if fetch.receiver is not None else fetch.bytes
        return {
            "id": fetch.id,
            "from": fetch.source,
            "state": fetch.state,
            "reason": fetch.reason,
            "bytes": taken,
            "total_bytes": fetch.total_bytes,
        }


class FetchedCopy:
    """What has come: a `mirror_streams.Sink`."""

    def __init__(self, place: Path, offered: int) -> None:
        """Begin anew; `offered` bytes are to come. Raises PxlDiskError, OSError."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        self._place = place
        self._left = offered + MARGIN_BYTES
        self._copy = Copy(place / "disk", self._room)

    def place(self) -> Place | None:
        """See Sink."""
        return self._copy.place()

    def take(self, pieces: Sequence[Piece], _head: Head, _now: float) -> int:
        """See Sink."""
        try:
            for piece in pieces:
                self._left -= len(piece.content)
                if self._left < 0:
                    raise Unusable("more comes than was offered")
                self._room(
                    len(piece.content) * (2 if piece.kind is Kind.BASE else 1)
                )  # it becomes a bank, too
                self._copy.take(piece)
            self._copy.flush()
        except NoSpace as exc:
            raise Overloaded(f"no room for the copy here: {exc}") from None
        return self._copy.commit

    def _room(self, wanted: int) -> None:
        """See that this machine's own disk keeps its room. Raises Overloaded."""
        free = free_bytes(self._place)
        if free - wanted < RESERVE_BYTES:
            raise Overloaded(f"no room for the copy here: the file system has only {free:,} bytes left")

    def close(self) -> None:
        """See Sink."""
        self._copy.close()


def _check(folder: Path, offer: Offer, wanted: DiskPolicy) -> tuple[int, int]:
    """See that what came is a sound disk with all that was offered: its live records, and the number after
    their last. Raises Unusable.
    """
    problems = verify(folder)
    if problems:
        raise Unusable(f"what came is not sound: {problems[0].what}")
    if newest(folder)[0] != offer.head.commit:
        raise Unusable("what came is not all of the copy")
    memory = reader.look(folder)
    # Else the node would not start with it.
    size = memory.grid.width, memory.grid.height
    zones = dict(memory.zones) if wanted.zones is None else zone_table(wanted.zones, size[1])
    if (wanted.width or size[0], wanted.height or size[1], zones) != (*size, dict(memory.zones)):
        raise Unusable("the copy has another size or other zones than [disk] in node.toml asks for")
    seqs = [record.ref.seq for zone in memory.zones for record in memory.scan(zone, 0)]
    return len(seqs), max(seqs, default=0) + 1


def _report(fetch: Fetch, offer: Offer, found: tuple[int, int], force: bool, now: float) -> Report:
    held = offer.held
    lag = lag_of(held.commit, held.head) if held is not None else None
    return Report(
        id=fetch.id,
        source=fetch.source,
        copy=held.copy if held is not None else 0,
        disk=str(offer.disk),
        commit=offer.head.commit,
        records=found[0],
        next_seq=found[1],
        missing_commits=lag.commits if lag is not None else None,
        missing_s=lag.seconds if lag is not None else None,
        heard_at=held.heard_at if held is not None else None,
        force=force,
        kept=f"disk.former-{int(now)}",
        at=now,
    )


# --- at a start ----------------------------------------------------------------------------------------


def finish(folder: Path) -> Report | None:
    """Put a fetched copy in place, before anything uses the disk. What is there afterwards is one of the two.

    `folder`: the node's. How the last restoration ended, if there ever was one. Raises OSError, Unusable.
    """
    place, disk = folder / "restoring", folder / "disk"
    ready = _read(place / READY)
    if ready is None:
        if place.exists():
            shutil.rmtree(place)  # it was being fetched when the node ended
        return last_report(folder)
    if (place / "disk").exists() and disk.exists():
        live = _live_rows(disk)
        if live != 0 and not ready.force:
            return _settle(folder, replace(ready, state="refused", kept="", reason=_why_not(live)))
        os.rename(disk, folder / ready.kept)
        private_file.sync_folder(folder)
    if (place / "disk").exists():
        os.rename(place / "disk", disk)
        private_file.sync_folder(folder)
    log.warning("the disk was restored from=%s commit=%d kept=%s", ready.source, ready.commit, ready.kept)
    return _settle(folder, replace(ready, state="done", at=time.time()))


def last_report(folder: Path) -> Report | None:
    """How the last restoration ended. Raises Unusable."""
    return _read(folder / RESTORED)


def refusal(live_rows: int | None) -> Conflict:
    """What is said when a restoration would cost rows that nobody has consumed."""
    return Conflict(
        _why_not(live_rows),
        hint="--force puts the whole disk aside, with them; then they are in no mailbox any more",
    )


def _settle(folder: Path, report: Report) -> Report:
    """Write down how it ended; then nothing is left to finish."""
    # A refusal leaves the disk as it was: since when its records are from a copy is as it was, too.
    former = last_report(folder)
    if report.state == "refused":
        report = replace(report, next_seq=former.next_seq if former is not None else 0)
    private_file.write_private(folder / RESTORED, strict_json.encode(asdict(report)))
    shutil.rmtree(folder / "restoring")
    return report


def _ready(place: Path, report: Report) -> None:
    private_file.sync_folder(place)
    private_file.write_private(place / READY, strict_json.encode(asdict(report)))


def _read(path: Path) -> Report | None:
    try:
        return strict_json.decode(path.read_bytes(), Report)
    except FileNotFoundError:
        return None
    except BadMessage as exc:
        raise Unusable(f"{path} cannot be read: {exc}", hint="remove it") from None


def _live_rows(disk: Path) -> int | None:
    """None: nobody can say."""
    try:
        memory = reader.look(disk)
    except PxlDiskError:
        return None
    return sum(memory.zone_stats(zone, 0).live for zone in memory.zones)


def _why_not(live_rows: int | None) -> str:
    if live_rows is None:
        return "the disk that is there cannot be read, so nobody knows what would be lost"
    return f"{live_rows} live rows of the disk that is there would be lost"


def _shape(report: Report) -> Json:
    times = {"at": rfc3339(report.at), "heard_at": rfc3339(report.heard_at) if report.heard_at else None}
    return {**asdict(report), **times, "from": report.source}
