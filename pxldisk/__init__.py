"""PXLDisk: durable row memory kept in a PNG that any image tool opens. Usable alone.

    async with Disk.open(folder) as disk:
        ref = await disk.append("input_scrolls", b'{"to":"frontend"}', kind="scroll", key="s1")
        print(disk.read(ref).payload)
        await disk.commit([Consume(ref), Append("output_opcodes", b"{}", kind="opcode")])

The format and its promises: docs/pxldisk-format.md.
"""

from .copying import Copy
from .disk import Disk
from .errors import (
    Corrupt,
    DiskClosed,
    DiskFailed,
    ForeignPicture,
    LiveRows,
    Locked,
    NoSpace,
    NotInLog,
    NotNext,
    PxlDiskError,
    RowTooLarge,
    StaleRef,
    UnknownZone,
    Unrepairable,
    WrongShape,
    ZoneFull,
    ZoneOwned,
)
from .history import Moment, Step
from .repairs import Repaired, repair
from .rows import State
from .shipping import Feed, Piece, Place
from .superblock import FIRST_BANK
from .values import (
    Append,
    Consume,
    Damage,
    Record,
    RowChange,
    RowDescription,
    RowRef,
    Stats,
    ZoneStats,
)
from .verification import Problem, verify
from .watch import Watch
from .zones import DEFAULT_ZONES, Zone

__all__ = [
    "Disk",
    "Append",
    "Consume",
    "Record",
    "RowRef",
    "RowChange",
    "RowDescription",
    "Stats",
    "ZoneStats",
    "Damage",
    "State",
    "Watch",
    "Zone",
    "DEFAULT_ZONES",
    "FIRST_BANK",
    "Copy",
    "Feed",
    "Piece",
    "Place",
    "Moment",
    "Step",
    "Problem",
    "verify",
    "Repaired",
    "repair",
    "PxlDiskError",
    "Corrupt",
    "DiskClosed",
    "DiskFailed",
    "ForeignPicture",
    "LiveRows",
    "Locked",
    "NoSpace",
    "NotInLog",
    "NotNext",
    "RowTooLarge",
    "StaleRef",
    "UnknownZone",
    "Unrepairable",
    "WrongShape",
    "ZoneFull",
    "ZoneOwned",
]
