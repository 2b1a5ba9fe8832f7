"""Everything that a node keeps on disk, opened for one run of it and closed again."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hyperpi.config import BadConfig
from hyperpi.database import DiskThread
from hyperpi.errors import Unusable
from node import identity, mirror_restoring
from node.approval_store import ApprovalStore
from node.disk_policy import DiskPolicy
from node.policy import default_file, load_policy
from node.prompt_store import PromptStore
from node.receipts import ReceiptStore
from node.recorded import OwnTrail
from node.roster_store import RosterStore
from pxldisk import Corrupt, Disk, ForeignPicture, PxlDiskError, WrongShape


@dataclass(frozen=True, slots=True)
class Files:
    """What is open. `boot`: this run's number; `restored_below`: see mirror_restoring, 0 for nothing."""

    boot: int
    disk: Disk
    receipts: ReceiptStore
    roster: RosterStore
    prompts: PromptStore
    approvals: ApprovalStore
    trail: OwnTrail
    restored_below: int


@asynccontextmanager
async def open_files(folder: Path, user_home: Path) -> AsyncIterator[Files]:
    """Open a node's folder, made if need be. The caller holds the home's lock. Raises BadConfig, Unusable,
    StoreUnusable, OSError.
    """
    async with AsyncExitStack() as stack:
        if not (folder / "node.toml").exists():
            (folder / "node.toml").write_text(default_file(), "utf-8")
        (folder / "stopped").unlink(missing_ok=True)
        thread = DiskThread("node-store")
        receipts = ReceiptStore.open(folder / "scrolls.db", thread)
        stack.callback(receipts.close)
        roster = RosterStore.open(folder / "roster.db", thread)
        stack.callback(roster.close)
        prompts = PromptStore.open(folder / "prompts.db", thread)
        stack.callback(prompts.close)
        approvals = ApprovalStore.open(folder / "approvals.db", thread)
        stack.callback(approvals.close)
        trail = OwnTrail.open(folder / "audit.db", thread)
        stack.callback(trail.close)
        stack.callback(thread.close)  # first of all: what it was asked to do is finished before files close
        restored = await asyncio.to_thread(mirror_restoring.finish, folder)
        policy = load_policy(folder / "node.toml", user_home)
        disk = await stack.enter_async_context(_disk(folder, policy.disk))
        below = restored.doubtful_below(time.time()) if restored is not None else 0
        boot = identity.next_boot(folder)
        yield Files(boot, disk, receipts, roster, prompts, approvals, trail, below)


@asynccontextmanager
async def _disk(folder: Path, policy: DiskPolicy) -> AsyncIterator[Disk]:
    """The node's disk. Raises BadConfig (it was made with another size or other zones), Unusable."""
    try:
        disk = await Disk.open(
            folder / "disk",
            width=policy.width,
            height=policy.height,
            zones=policy.zones,
            max_banks=policy.max_banks,
        )
    except WrongShape as exc:
        raise BadConfig(
            f"{folder / 'node.toml'}: [disk] is not what the disk was made with: {exc.why}",
            hint=f"take size and zones out of it, or move {folder / 'disk'} away to begin with an empty disk",
        ) from None
    except (Corrupt, ForeignPicture) as exc:
        raise Unusable(f"{exc.file}: {exc.why}", hint="`hyperpi disk repair` mends it") from None
    except PxlDiskError as exc:
        raise Unusable(str(exc), hint="start the node again then" if exc.retry else None) from None
    async with disk:
        yield disk
