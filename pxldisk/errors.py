"""What can go wrong with a disk, by meaning. Imports nothing.

Each class says whether the same call may be tried again unchanged (`retry`) and whether
`python -m pxldisk repair` is the next step (`repair`).
"""

from pathlib import Path
from typing import ClassVar


class PxlDiskError(Exception):
    """Root of the tree; catch this to catch everything the package raises on purpose."""

    retry: ClassVar[bool] = False
    repair: ClassVar[bool] = False


class UnknownZone(PxlDiskError):
    """No zone has this name. Neither retry nor repair: zones are fixed when a disk is made."""

    def __init__(self, zone: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no zone {zone!r}; this disk has {', '.join(known)}")
        self.zone = zone
        self.known = known


class ZoneOwned(PxlDiskError):
    """The zone is given to another owner. Not retryable."""

    def __init__(self, zone: str, owner: str) -> None:
        super().__init__(f"zone {zone!r} is given to {owner!r}")
        self.zone = zone
        self.owner = owner


class ZoneFull(PxlDiskError):
    """Every row of the zone holds something nobody has consumed. Retry after `wait_free`.

    `oldest_age_s`: how long the oldest of them has waited, in seconds.
    """

    retry = True

    def __init__(self, zone: str, oldest_age_s: float) -> None:
        super().__init__(f"zone {zone!r} is full; its oldest row has waited {oldest_age_s:.1f} s")
        self.zone = zone
        self.oldest_age_s = oldest_age_s


class PayloadTooLarge(PxlDiskError):
    """The record can never fit, however long one waits. Not retryable; store less."""

    def __init__(self, size: int, limit: int, what: str = "payload") -> None:
        super().__init__(f"{what} of {size} bytes; at most {limit} fit")
        self.size = size
        self.limit = limit


class StaleRef(PxlDiskError):
    """The reference names a record that is consumed or whose row was used again. Not retryable."""

    def __init__(self, bank: int, row: int, seq: int, why: str) -> None:
        super().__init__(f"record {seq} in row {row} of {bank}.png: {why}")
        self.bank = bank
        self.row = row
        self.seq = seq


class NoSpace(PxlDiskError):
    """The file system is full. Nothing was stored or acknowledged; retry when space has returned."""

    retry = True

    def __init__(self, path: Path) -> None:
        super().__init__(f"no space left to write {path}; free some and try again")
        self.path = path


class DiskFailed(PxlDiskError):
    """A write or sync failed, so nothing more is acknowledged. Not retryable: open the disk again.

    After a failed fsync the kernel may have dropped the very pages that were not written, so
    trying again could report success for bytes that are gone.
    """

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path}: {cause}; the disk takes no more writes until it is opened again")
        self.path = path
        self.cause = cause


class DiskClosed(PxlDiskError):
    """The disk was closed. Not retryable on this handle."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} is closed")
        self.folder = folder


class Locked(PxlDiskError):
    """Another process writes this disk. Retry when it has ended. `holder`: its pid, where known."""

    retry = True

    def __init__(self, folder: Path, holder: int | None) -> None:
        super().__init__(f"{folder} is open in process {'(unknown)' if holder is None else holder}")
        self.folder = folder
        self.holder = holder


class Corrupt(PxlDiskError):
    """Bytes differ from what was written. Repair; `row` and `offset` (bytes) say where."""

    repair = True

    def __init__(self, file: Path, row: int | None, offset: int | None, why: str) -> None:
        where = "" if row is None else f" row {row}"
        at = "" if offset is None else f" at byte {offset}"
        super().__init__(f"{file}:{where}{at}: {why}; `python -m pxldisk repair {file}` may restore it")
        self.file = file
        self.row = row
        self.offset = offset
        self.why = why


class ForeignPicture(PxlDiskError):
    """A file that is no bank of this disk (re-saved by another tool, or another disk's). Repair."""

    repair = True

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"{file} is not a bank of this disk: {why}")
        self.file = file
        self.why = why


class WrongShape(PxlDiskError):
    """The disk exists with another size or other zones; they are fixed when it is made."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{folder}: {why}")
        self.folder = folder
        self.why = why


class LiveRows(PxlDiskError):
    """Restoring would overwrite rows nobody has consumed. Not retryable without `force`."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} live rows would be lost; restore again with force to lose them")
        self.count = count


class NotInLog(PxlDiskError):
    """The log does not reach back so far. `earliest`: the first commit that can be shown."""

    def __init__(self, folder: Path, earliest: int | None) -> None:
        known = "there is no log" if earliest is None else f"the log begins at commit {earliest}"
        super().__init__(f"{folder}: {known}")
        self.folder = folder
        self.earliest = earliest


class Unrepairable(PxlDiskError):
    """Neither log nor snapshot holds what is missing. `lost`: what that is."""

    def __init__(self, folder: Path, lost: str) -> None:
        super().__init__(f"{folder}: {lost}")
        self.folder = folder
        self.lost = lost
