"""Rows of scrolls on the disk: which kinds there are, and how a refusal of the disk is told."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from hyperpi import strict_json
from hyperpi.contract import Json
from hyperpi.errors import HyperPiError, Overloaded
from pxldisk import Consume, Disk, DiskFailed, PxlDiskError, Record, RowRef, ZoneFull

log = logging.getLogger(__name__)

INPUT, OUTPUT = "input_scrolls", "output_opcodes"
OUT_KIND, IN_KIND, OPCODE_KIND = "scroll_out", "scroll_in", "opcode"

Work = Coroutine[Any, Any, Any]


class ScrollRows:
    """The disk, as scrolls use it, and the tasks that write to it behind the caller's back."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        # Zones given to one agent, by its name: its scrolls wait there and nowhere else.
        self._own = {zone.owner: name for name, zone in disk.zones.items() if zone.owner is not None}
        self.failed = asyncio.Event()  # the disk takes no more writes; nothing may be acknowledged any more
        self._tasks: asyncio.TaskGroup | None = None

    def use(self, tasks: asyncio.TaskGroup) -> None:
        """Whose tasks the work behind is."""
        self._tasks = tasks

    async def append(self, zone: str, row: Json, *, kind: str, owner: str, key: str) -> RowRef:
        """Store a row; it is on disk when this returns. Raises Overloaded when it was not stored.

        A scroll of an agent that has rows of its own goes there: `owner` is its address.
        """
        agent = owner.partition("@")[0]
        if zone == INPUT and agent in self._own:
            zone, owner = self._own[agent], agent
        try:
            return await self.disk.append(zone, strict_json.encode(row), kind=kind, owner=owner, key=key)
        except ZoneFull as exc:
            raise Overloaded(
                f"no free row in {zone} of this node's PXLDisk: {exc}",
                hint="wait for scrolls to be delivered, or let them expire: `hyperpi scrolls`",
            ) from None
        except DiskFailed as exc:
            self.failed.set()
            raise Overloaded(f"the disk of this node has failed: {exc}") from None
        except PxlDiskError as exc:
            raise Overloaded(f"the scroll was not stored: {exc}") from None

    def scrolls(self) -> list[Record]:
        """All rows of scrolls, those of agents with rows of their own too, oldest first."""
        records = (record for zone in (INPUT, *self._own.values()) for record in self.disk.scan(zone))
        return sorted(records, key=lambda record: record.ref.seq)

    def free(self, *rows: RowRef | None) -> None:
        """Give rows back, behind the caller's back: a row freed late costs a row, nothing else."""
        consumes = [Consume(row) for row in rows if row is not None]
        if consumes:
            self.spawn(self.disk.commit(consumes), "free-rows")

    def spawn(self, work: Work, name: str) -> asyncio.Task[None]:
        """Do something about one scroll. Raises Overloaded before the node has started."""
        if self._tasks is None:
            work.close()
            raise Overloaded("the node is starting", hint="try again in a moment")
        return self._tasks.create_task(_guarded(work, name), name=name)


async def _guarded(work: Work, name: str) -> None:
    """A failure of one scroll is that scroll's: it stays in its row and is tried again."""
    try:
        await work
    except (HyperPiError, PxlDiskError) as exc:
        log.warning("scroll work failed task=%s reason=%s", name, exc)
    except Exception:  # a boundary: whatever an agent or a peer has sent, the node goes on for the others
        log.exception("scroll work failed task=%s", name)


Tell = Callable[[str, str, Json], None]  # topic, method, params: a notice for whoever follows the topic
