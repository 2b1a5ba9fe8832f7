"""This node's disk, mirrored to other nodes: one stream to each, for as long as its owner wants it.

Nothing here is on the way of a commit. A mirror reads what is in the journal already; when its node is away,
full or slow, the mirror waits, and all that grows is its lag.
"""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hyperpi import private_file, strict_json
from hyperpi.clock import rfc3339
from hyperpi.contract import Json
from hyperpi.database import DiskThread
from hyperpi.errors import BadMessage, Unusable
from node.mirror_flow import Budget, Progress
from node.mirror_streams import Send, Sender, StreamEnded
from pxldisk import Disk, NotInLog, PxlDiskError

log = logging.getLogger(__name__)

GATHER_S = 0.05  # commits of one moment share a piece; a lag that nobody sees
FIRST_RETRY_S = 0.5
LAST_RETRY_S = 60.0  # a full machine is asked once a minute


@dataclass(frozen=True, slots=True)
class Target:
    """A node that this one's disk is mirrored to. `since`: Unix seconds."""

    node: str
    name: str
    since: float


@dataclass(frozen=True, slots=True)
class _File:
    version: int
    targets: tuple[Target, ...]


def load_targets(path: Path) -> tuple[Target, ...]:
    """What the owner has asked for. Raises Unusable."""
    try:
        return strict_json.decode(path.read_bytes(), _File).targets
    except FileNotFoundError:
        return ()
    except BadMessage as exc:
        raise Unusable(f"{path} cannot be read: {exc}", hint="remove it, and mirror again") from None


def save_targets(path: Path, targets: tuple[Target, ...]) -> None:
    """Remember it, durably. Raises OSError."""
    private_file.write_private(path, strict_json.encode(asdict(_File(1, targets))))


@dataclass(slots=True)
class Mirror:
    """One target and how it goes. States: waiting, copying (it begins anew), following, paused."""

    target: Target
    state: str = "waiting"
    reason: str | None = None  # why it is paused
    progress: Progress = field(default_factory=Progress)
    sender: Sender | None = None
    sent_bytes: int = 0  # of earlier streams
    retry: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Mirroring:
    """All mirrors of one disk."""

    def __init__(
        self,
        disk: Disk,
        path: Path,
        *,
        send: Send,
        opened: Callable[[Sender], None],
        closed: Callable[[Sender], None],
        thread: DiskThread,
        budget: Budget,
    ) -> None:
        self._disk = disk
        self._path = path
        self._send = send
        self._opened, self._closed = opened, closed
        self._thread = thread
        self._budget = budget
        self._linked = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._mirrors = {target.node: Mirror(target) for target in load_targets(path)}
        self._wanted = asyncio.Event()  # there is a mirror at all

    @property
    def mirrors(self) -> Mapping[str, Mirror]:
        """By node id."""
        return self._mirrors

    # --- what the owner wants --------------------------------------------------------------------------

    async def add(self, node: str, name: str) -> None:
        """Mirror to a node from now on; known already: take its name. Raises Overloaded, OSError."""
        known = self._mirrors.get(node)
        target = Target(node, name, known.target.since if known else time.time())
        await self._save({**{n: m.target for n, m in self._mirrors.items()}, node: target})
        if known is not None:
            known.target = target
            known.retry.set()
        else:
            self._mirrors[node] = Mirror(target)
            self._start(self._mirrors[node])

    async def remove(self, node: str) -> None:
        """Mirror to a node no more. What it holds stays there."""
        await self._save({n: m.target for n, m in self._mirrors.items() if n != node})
        mirror = self._mirrors.pop(node, None)
        if mirror is not None and mirror.task is not None:
            mirror.task.cancel()
            await asyncio.wait([mirror.task])  # then the other side has been told

    async def _save(self, targets: Mapping[str, Target]) -> None:
        await self._thread.call(save_targets, self._path, tuple(targets.values()))

    # --- life ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Mirror until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._tell_of_commits(), name="mirror-news")
            for mirror in self._mirrors.values():
                self._start(mirror)
            await asyncio.Event().wait()

    def linked(self) -> None:
        """The mesh can be reached."""
        self._linked.set()
        self.retry()

    def unlinked(self) -> None:
        """It cannot. The streams are ended by whoever routes their frames."""
        self._linked.clear()

    def retry(self) -> None:
        """Something has changed: what is paused need not wait any longer."""
        for mirror in self._mirrors.values():
            mirror.retry.set()

    def _start(self, mirror: Mirror) -> None:
        if self._tasks is not None:
            self._wanted.set()
            mirror.task = self._tasks.create_task(self._keep(mirror), name=f"mirror-{mirror.target.node}")

    async def _tell_of_commits(self) -> None:
        await self._wanted.wait()
        async for _ in self._disk.watch():
            await asyncio.sleep(GATHER_S)
            now = time.monotonic()
            for mirror in self._mirrors.values():
                mirror.progress.note(self._disk.commits, now)
                if mirror.sender is not None:
                    mirror.sender.news.set()

    async def _keep(self, mirror: Mirror) -> None:
        """One stream after the other."""
        ceiling = FIRST_RETRY_S
        while True:
            if not self._linked.is_set():
                mirror.state, mirror.reason = "waiting", "no hypivisor can be reached"
                await self._linked.wait()
            mirror.retry.clear()
            mirror.state, mirror.reason = "waiting", None
            had = mirror.progress.commit
            try:
                await self._stream(mirror)
            except (StreamEnded, PxlDiskError, OSError) as exc:
                mirror.state, mirror.reason = "paused", _why(exc)
                log.info("a mirror is paused node=%s reason=%s", mirror.target.node, mirror.reason)
            except Exception:  # a boundary: whatever a peer sends, its stream ends and never this node
                mirror.state, mirror.reason = "paused", "it broke off; the log of this node says where"
                log.exception("a mirror failed node=%s", mirror.target.node)
            ceiling = FIRST_RETRY_S if mirror.progress.commit > had else min(LAST_RETRY_S, ceiling * 2)
            try:
                async with asyncio.timeout(random.uniform(ceiling / 2, ceiling)):  # noqa: S311  jitter
                    await mirror.retry.wait()
            except TimeoutError:
                continue
            ceiling = FIRST_RETRY_S

    async def _stream(self, mirror: Mirror) -> None:
        sender = Sender(
            mirror.target.node,
            secrets.randbits(63) + 1,
            self._send,
            thread=self._thread,
            budget=self._budget,
            progress=mirror.progress,
        )
        mirror.sender = sender
        self._opened(sender)
        try:
            await sender.run(self._disk)
        finally:
            mirror.sent_bytes += sender.window.sent
            mirror.sender = None
            self._closed(sender)

    # --- showing ---------------------------------------------------------------------------------------

    def shapes(self) -> list[Json]:
        """Every mirror, as `disk.mirrors` tells of it."""
        return [self._shape(mirror) for mirror in self._mirrors.values()]

    def _shape(self, mirror: Mirror) -> Json:
        newest, sender = self._disk.commits, mirror.sender
        state = mirror.state
        if sender is not None and sender.started:
            state = "copying" if sender.anew and mirror.progress.commit < sender.goal else "following"
        mirror.progress.note(newest, time.monotonic())
        commits = max(0, newest - mirror.progress.commit)
        under_way = sender.window.sent - sender.window.acked if sender is not None else 0
        known = mirror.progress.commit > 0 or sender is not None
        lag = {
            "commits": commits,
            "bytes": (sender.behind + under_way if sender is not None else None) if commits else 0,
            "seconds": round(mirror.progress.behind_s(time.monotonic()), 3) if commits else 0.0,
        }
        return {
            "node": mirror.target.node,
            "name": mirror.target.name,
            "state": state,
            "reason": mirror.reason,
            "since": rfc3339(mirror.target.since),
            "commit": mirror.progress.commit if known else None,
            "lag": lag if known else None,
            "sent_bytes": mirror.sent_bytes + (sender.window.sent if sender is not None else 0),
        }


def _why(exc: BaseException) -> str:
    if isinstance(exc, NotInLog):
        return "the log was pruned before it could be sent; it begins anew"
    return str(exc)
