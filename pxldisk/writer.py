"""The one thread that touches an open disk's files, and group commit.

Work is done in the order it is given, but for this: commits that wait together share one sync,
and strokes given between them are painted after it, since nobody waits for a stroke.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from .errors import DiskFailed, NoSpace, PxlDiskError
from .plan import Plan, Stroke
from .store import Store

T = TypeVar("T")

log = logging.getLogger(__name__)


class Outcome(Protocol):
    """Who is told, on the event loop, how commits ended."""

    def durable(self, plans: list[Plan], number: int, log_bytes: int) -> None:
        """They are on disk, in this order; `number` is the last one's, `log_bytes` the segment's size."""

    def refused(self, plans: list[Plan], error: PxlDiskError) -> None:
        """None of them was stored."""


@dataclass(frozen=True, slots=True)
class _Commit:
    plan: Plan
    body: bytes


@dataclass(frozen=True, slots=True)
class _Paint:
    strokes: Sequence[Stroke]


@dataclass(frozen=True, slots=True)
class _Call:
    work: Callable[[], None]
    done: Callable[[BaseException | None], None]


_Job = _Commit | _Paint | _Call | None  # None: end


class Writer:
    """Runs a store in a thread of its own and reports to the event loop that made it."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._store: Store | None = None
        self._outcome: Outcome | None = None
        self.failure: PxlDiskError | None = None  # why nothing more is written
        # A daemon: a program that forgets to close its disk must still be able to end.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def use(self, store: Store, outcome: Outcome) -> None:
        """Commit to this store from now on."""
        self._store, self._outcome = store, outcome

    def commit(self, plan: Plan, body: bytes) -> None:
        """Make a plan durable; its outcome is reported."""
        self._jobs.put(_Commit(plan, body))

    def paint(self, strokes: Sequence[Stroke]) -> None:
        """Paint soon. A failure shows in the next commit."""
        self._jobs.put(_Paint(strokes))

    async def call(self, work: Callable[[], T]) -> T:
        """Run blocking work after everything given so far, and return what it returns.

        The work runs to its end even if the caller is cancelled.
        """
        result: list[T] = []
        future: asyncio.Future[None] = self._loop.create_future()

        def done(error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self._jobs.put(_Call(lambda: result.append(work()), done))
        await future
        return result[0]

    async def stop(self) -> None:
        """End the thread after everything given so far."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    # -- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        job = self._jobs.get()
        while job is not None:
            if isinstance(job, _Call):
                self._do_call(job)
                job = self._jobs.get()
            else:
                job = self._do_group(job)

    def _do_group(self, job: _Commit | _Paint) -> _Job:
        """Do this job and those that wait behind it, up to a call or the end; the job after them."""
        commits: list[_Commit] = []
        strokes: list[Stroke] = []
        following: _Job = job
        while isinstance(following, _Commit | _Paint):
            if isinstance(following, _Commit):
                commits.append(following)
            else:
                strokes += following.strokes
            try:
                following = self._jobs.get_nowait()
            except queue.Empty:
                break
        if commits:
            self._do_commits(commits)
        if strokes:
            self._do_paint(strokes)
        return self._jobs.get() if isinstance(following, _Commit | _Paint) else following

    def _do_commits(self, commits: Sequence[_Commit]) -> None:
        assert self._store is not None
        assert self._outcome is not None
        plans = [commit.plan for commit in commits]
        try:
            if self.failure is not None:
                raise self.failure
            number, log_bytes = self._store.commit([(c.plan.at_us, c.body) for c in commits])
        except PxlDiskError as error:
            if not error.retry:
                self.failure = error
            self._loop.call_soon_threadsafe(self._outcome.refused, plans, error)
        except Exception as error:  # a dead thread would answer nobody: not those who wait, nor `stop`
            self.failure = self._unexpected(error)
            self._loop.call_soon_threadsafe(self._outcome.refused, plans, self.failure)
        else:
            self._loop.call_soon_threadsafe(self._outcome.durable, plans, number, log_bytes)

    def _do_paint(self, strokes: Sequence[Stroke]) -> None:
        assert self._store is not None
        if self.failure is None:
            try:
                self._store.paint(strokes)
            except NoSpace:
                pass  # the store paints it when there is room; all of it is in the journal
            except PxlDiskError as error:
                self.failure = error  # the next opening paints what is missing
            except Exception as error:  # as above
                self.failure = self._unexpected(error)

    def _unexpected(self, error: Exception) -> DiskFailed:
        """What is told of an error that nobody foresaw: how much was written is not known."""
        assert self._store is not None
        log.error("writing failed folder=%s", self._store.folder, exc_info=error)
        return DiskFailed(self._store.folder, f"writing failed: {error!r}")

    def _do_call(self, call: _Call) -> None:
        error: BaseException | None = None
        try:
            call.work()
        except BaseException as raised:  # it is raised again where the work was asked for
            error = raised
            if isinstance(raised, PxlDiskError) and not raised.retry:
                self.failure = self.failure or raised
        self._loop.call_soon_threadsafe(call.done, error)
