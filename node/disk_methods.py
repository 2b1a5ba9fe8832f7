"""What this node answers about its PXLDisk: banks, rows, pictures of now and of the past, damage.

Everything here is bounded: an answer is one message on the Link, and a message above 4 MiB would end it.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import blake2b
from typing import Any

import msgspec

from hyperpi import contract
from hyperpi.clock import rfc3339
from hyperpi.contract import Json
from hyperpi.errors import BadRequest, CursorCompacted, HyperPiError, Overloaded, Unusable
from hyperpi.roles import Caller
from node.bank_feeds import no_such_bank
from pxldisk import Disk, NotInLog, Problem, PxlDiskError, RowDescription, Step, verify

MAX_PICTURE_BYTES = 2 << 20  # as base64, in JSON, with room to spare below 4 MiB
MAX_CONTENT_BYTES = 1 << 20  # of rows that are told with their bytes
MAX_HISTORY_ROWS = 20_000  # of all commits that are listed at once
MAX_PROBLEMS = 1_000
MAX_WAITING = 8  # for a look back, which reads some megabytes of log; the next one is told to try again

Handler = Callable[[Json, Caller], Awaitable[Any]]


class DiskMethods:
    """The methods `disk.*` that are no streams."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._looking_back = asyncio.Lock()  # one at a time: it is the agents' machine, not the viewers'
        self._waiting = 0
        self._verifying: asyncio.Task[list[Problem]] | None = None

    def handlers(self) -> dict[str, Handler]:
        """By method."""
        return {
            "disk.list": self._list,
            "disk.rows": self._rows,
            "disk.png": self._png,
            "disk.history": self._history,
            "disk.snapshot": self._snapshot,
            "disk.verify": self._verify,
        }

    def _check_bank(self, bank: int) -> None:
        if bank not in self._disk.banks:
            raise no_such_bank(bank)

    # --- now -------------------------------------------------------------------------------------------

    async def _list(self, _params: Json, _caller: Caller) -> Json:
        disk = self._disk
        stats = disk.stats()
        zones = [
            {"name": name, "first": zone.first, "last": zone.last, **msgspec.to_builtins(stats.zones[name])}
            for name, zone in disk.zones.items()
        ]
        banks = [
            {
                "bank": bank,
                "name": f"{bank}.png",
                "width": stats.width,
                "height": stats.height,
                "zones": zones,
            }
            for bank in stats.banks
        ]
        return {
            "banks": banks,
            "max_banks": stats.max_banks,
            "commit": stats.commits,
            "failed": stats.failed,
        }

    async def _rows(self, params: Json, _caller: Caller) -> Json:
        wanted = contract.params_of(contract.DiskRows, params)
        self._check_bank(wanted.bank)
        height = self._disk.grid.height
        if wanted.only is None:
            first = wanted.first or 0
            last = height - 1 if wanted.last is None else wanted.last
            rows = self._disk.rows(wanted.bank, first, min(last, first + contract.MAX_ROWS - 1))
        else:
            numbers = sorted({row for row in wanted.only if 0 <= row < height})
            rows = [self._disk.rows(wanted.bank, row, row)[0] for row in numbers]
        content = self._contents(rows) if wanted.content else {}
        return {"bank": wanted.bank, "rows": [_told(row, content.get(row.row)) for row in rows]}

    def _contents(self, rows: list[RowDescription]) -> dict[int, bytes]:
        """What the rows hold, without the zeros at their ends."""
        found: dict[int, bytes] = {}
        left = MAX_CONTENT_BYTES
        for row in rows:
            found[row.row] = self._disk.row_bytes(row.bank, row.row).rstrip(b"\x00")
            left -= len(found[row.row])
            if left < 0:
                raise BadRequest(
                    f"these rows hold more than {MAX_CONTENT_BYTES} bytes", hint="ask for fewer, or disk.png"
                )
        return found

    async def _png(self, params: Json, _caller: Caller) -> Json:
        wanted = contract.params_of(contract.DiskPicture, params)
        # A bank is never taken away: one that the disk lacks now it never had.
        self._check_bank(wanted.bank)
        if (size := self._disk.grid.file_bytes) > MAX_PICTURE_BYTES:
            raise Unusable(
                f"{wanted.bank}.png has {size} bytes, more than travels in one message",
                hint="`hyperpi disk replay --out FOLDER` on that machine writes it to a file",
            )
        if wanted.commit is None and wanted.at is None:
            # Nothing is awaited between the two: the picture is that of this very commit.
            commit, at, png = self._disk.commits, None, self._disk.png(wanted.bank)
        else:
            async with self._look_back():
                moment = await self._disk.replay(at=wanted.at, commit=wanted.commit)
            if wanted.bank not in moment.pictures:
                raise no_such_bank(wanted.bank)
            commit, at, png = moment.commit, rfc3339(moment.at), moment.pictures[wanted.bank]
        etag = blake2b(png, digest_size=12).hexdigest()
        told: Json = {"commit": commit, "at": at, "etag": etag}
        return told if etag in wanted.unless else {**told, "png": base64.b64encode(png).decode()}

    # --- the past --------------------------------------------------------------------------------------

    async def _history(self, params: Json, _caller: Caller) -> Json:
        """The newest commits up to one; `oldest` is the first state that can be shown."""
        wanted = contract.params_of(contract.DiskHistory, params)
        self._check_bank(wanted.bank)
        newest = self._disk.commits
        until = newest if wanted.until is None else min(wanted.until, newest)
        async with self._look_back():
            earliest = await self._disk.steps(limit=1)
            oldest = earliest[0].commit - 1 if earliest else newest
            after = max(oldest, until - wanted.limit)
            steps = await self._disk.steps(after=after, limit=until - after) if until > after else []
        commits = list(_listed(steps, wanted.bank))
        return {"bank": wanted.bank, "oldest": oldest, "newest": newest, "commits": commits}

    @asynccontextmanager
    async def _look_back(self) -> AsyncIterator[None]:
        """One reader of the log at a time. Raises Overloaded, and what the disk says, in our words."""
        if self._waiting >= MAX_WAITING:
            raise Overloaded("the log of this disk is being read by many", hint="try again")
        self._waiting += 1
        try:
            async with self._looking_back:
                with disk_errors():
                    yield
        finally:
            self._waiting -= 1

    # --- its files -------------------------------------------------------------------------------------

    async def _snapshot(self, _params: Json, _caller: Caller) -> Json:
        with disk_errors():
            paths = await self._disk.snapshot()
        return {"snapshots": [str(path) for path in paths]}

    async def _verify(self, _params: Json, _caller: Caller) -> Json:
        """Whoever asks while the files are being read shares the answer."""
        if self._verifying is None or self._verifying.done():
            self._verifying = asyncio.create_task(self._problems(), name="verify-disk")
        with disk_errors():
            problems = await asyncio.shield(self._verifying)
        return {
            "problems": [self._problem(problem) for problem in problems[:MAX_PROBLEMS]],
            "count": len(problems),
            "at": rfc3339(),
        }

    async def _problems(self) -> list[Problem]:
        """What is wrong. Looking beside the writer holds nobody up, but may see it at work: what seems wrong
        is looked at once more between two writes, which wait for it.
        """
        if not await asyncio.to_thread(verify, self._disk.folder):
            return []
        return await self._disk.verify()

    def _problem(self, problem: Problem) -> Json:
        file = problem.file
        inside = file.relative_to(self._disk.folder) if file.is_relative_to(self._disk.folder) else file
        return {
            "file": inside.as_posix(),
            "row": problem.row,
            "offset": problem.offset,
            "what": problem.what,
            "remedy": problem.remedy,
        }


@contextmanager
def disk_errors() -> Iterator[None]:
    """Say in our words what the disk says in its own. Raises HyperPiError."""
    try:
        yield
    except NotInLog as exc:
        earliest = exc.earliest
        hint = None if earliest is None else f"the log begins at commit {earliest}"
        raise CursorCompacted("the log of this disk does not reach back so far", hint=hint) from None
    except PxlDiskError as exc:
        if exc.retry:
            raise Overloaded(str(exc), hint="try again") from None
        raise Unusable(str(exc), hint="`hyperpi disk verify` on that machine says more") from None
    except OSError as exc:
        raise HyperPiError(f"the files of this disk cannot be read: {exc.strerror}") from None


def _told(row: RowDescription, content: bytes | None) -> Json:
    told: Json = {**msgspec.to_builtins(row), "at": rfc3339(row.at) if row.at else None}
    return told if content is None else {**told, "content": base64.b64encode(content).decode()}


def _listed(steps: list[Step], bank: int) -> Iterator[Json]:
    """The newest of these commits, as many as fit, oldest first; of their rows those of one bank."""
    fitting = 0
    first = len(steps)
    while first > 0 and fitting + len(steps[first - 1].changes) <= MAX_HISTORY_ROWS:
        first -= 1
        fitting += len(steps[first].changes)
    for step in steps[first:]:
        rows = [
            {"row": change.row, "state": change.state, "kind": change.kind, "seq": change.seq}
            for change in step.changes
            if change.bank == bank
        ]
        yield {"commit": step.commit, "at": rfc3339(step.at), "rows": rows}
