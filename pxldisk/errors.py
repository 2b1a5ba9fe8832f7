"""What can go wrong with a disk, by meaning. Imports nothing.

Each class says what helps: `retry` (the same call may succeed later, unchanged) or `repair`
(`python -m pxldisk repair` is the next step); neither means that the call itself must change.
Each error says where, as far as there is a place: `file` (the disk's folder where no one file is
at fault), `row` and `offset` (bytes from the start of the file).
"""

import shlex
from pathlib import Path
from typing import ClassVar


def _repair(file: Path) -> str:
    """The command that repairs the disk of this file: a bank, a snapshot, or a part of the log."""
    folder = file.parent.parent if file.parent.name == "log" else file.parent
    return f"`python -m pxldisk repair {shlex.quote(str(folder))}`"


class PxlDiskError(Exception):
    """Root of the tree; catch this to catch everything the package raises on purpose."""

    retry: ClassVar[bool] = False
    repair: ClassVar[bool] = False

    def __init__(
        self, words: str, *, file: Path | None = None, row: int | None = None, offset: int | None = None
    ) -> None:
        super().__init__(words)
        self.file = file
        self.row = row
        self.offset = offset


class UnknownZone(PxlDiskError):
    """No zone has this name. Neither retry nor repair: zones are fixed when a disk is made."""

    def __init__(self, zone: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no zone {zone!r}; this disk has {', '.join(known)}")
        self.zone = zone
        self.known = known


class ZoneOwned(PxlDiskError):
    """The zone is given to another owner. Neither retry nor repair: use a zone of your own."""

    def __init__(self, zone: str, owner: str) -> None:
        super().__init__(f"zone {zone!r} is given to {owner!r}")
        self.zone = zone
        self.owner = owner


class ZoneFull(PxlDiskError):
    """No bank has so many free rows in this zone. Retry after `wait_free`.

    `oldest_age_s`: how long the oldest record that nobody has consumed has waited, in seconds;
    `file` and `row`: where its head is (None when damage alone fills the zone).
    """

    retry = True

    def __init__(self, zone: str, oldest_age_s: float, file: Path | None, row: int | None) -> None:
        where = "" if file is None else f" ({file.name} row {row})"
        super().__init__(
            f"zone {zone!r} is full; its oldest record{where} has waited {oldest_age_s:.1f} s;"
            " retry when rows are consumed",
            file=file,
            row=row,
        )
        self.zone = zone
        self.oldest_age_s = oldest_age_s


class RowTooLarge(PxlDiskError):
    """The record can never fit, however long one waits. Neither retry nor repair: store less."""

    def __init__(self, size: int, limit: int, what: str = "payload") -> None:
        super().__init__(f"{what} of {size} bytes; at most {limit} fit")
        self.size = size
        self.limit = limit


class StaleRef(PxlDiskError):
    """The reference names a record that is consumed or whose row was used again. Neither helps."""

    def __init__(self, file: Path, row: int, seq: int, why: str) -> None:
        super().__init__(f"record {seq} in row {row} of {file.name}: {why}", file=file, row=row)
        self.seq = seq


class NoSpace(PxlDiskError):
    """The file system is full. Nothing was stored or acknowledged; retry when space has returned."""

    retry = True

    def __init__(self, file: Path) -> None:
        super().__init__(f"no space left to write {file}; free some and retry", file=file)


class DiskFailed(PxlDiskError):
    """A write or sync failed, so nothing more is acknowledged. Neither helps: open the disk again.

    After a failed fsync the kernel may have dropped the very pages that were not written, so
    trying again could report success for bytes that are gone.
    """

    def __init__(self, file: Path, cause: str, *, offset: int | None = None) -> None:
        at = "" if offset is None else f" at byte {offset}"
        words = f"{file}{at}: {cause}; the disk takes no more writes until it is opened again"
        super().__init__(words, file=file, offset=offset)
        self.cause = cause


class DiskClosed(PxlDiskError):
    """The disk was closed. Neither helps: this handle is done."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} is closed", file=folder)


class Locked(PxlDiskError):
    """Another process writes this disk. Retry when it has ended. `holder`: its pid, where known."""

    retry = True

    def __init__(self, folder: Path, holder: int | None) -> None:
        who = "(unknown)" if holder is None else holder
        super().__init__(f"{folder} is open in process {who}; retry when it has ended", file=folder)
        self.holder = holder


class Corrupt(PxlDiskError):
    """Bytes differ from what was written. Repair; `row` and `offset` (bytes) say where."""

    repair = True

    def __init__(self, file: Path, row: int | None, offset: int | None, why: str) -> None:
        where = "" if row is None else f" row {row}"
        at = "" if offset is None else f" at byte {offset}"
        words = f"{file}{where}{at}: {why}; {_repair(file)} may restore it"
        super().__init__(words, file=file, row=row, offset=offset)
        self.file: Path = file
        self.why = why


class ForeignPicture(PxlDiskError):
    """A file that is no bank of this disk (re-saved by another tool, or another disk's). Repair."""

    repair = True

    def __init__(self, file: Path, why: str, *, row: int | None = None, offset: int | None = None) -> None:
        words = f"{file} is not a bank of this disk: {why}; {_repair(file)} may rebuild it"
        super().__init__(words, file=file, row=row, offset=offset)
        self.file: Path = file
        self.why = why


class WrongShape(PxlDiskError):
    """The disk exists with another size or other zones; they are fixed when it is made."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{folder}: {why}", file=folder)
        self.why = why


class LiveRows(PxlDiskError):
    """Restoring would overwrite rows nobody has consumed. Neither retry nor repair: `force` loses them."""

    def __init__(self, file: Path, count: int) -> None:
        super().__init__(f"{count} live rows would be lost; restore again with force to lose them", file=file)
        self.count = count


class NotInLog(PxlDiskError):
    """The log does not reach back so far. `earliest`: the first commit that can be shown."""

    def __init__(self, folder: Path, earliest: int | None, why: str | None = None) -> None:
        known = "there is no log" if earliest is None else f"the log begins at commit {earliest}"
        super().__init__(f"{folder}: {known}" + (f"; {why}" if why else ""), file=folder)
        self.earliest = earliest


class NotNext(PxlDiskError):
    """A piece of a log does not follow what the copy holds. Neither helps: go on from the copy's place."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"{folder}: {why}", file=folder)


class Unrepairable(PxlDiskError):
    """Neither log nor snapshot holds what is missing. `lost`: what that is."""

    def __init__(self, folder: Path, lost: str) -> None:
        super().__init__(f"{folder}: {lost}", file=folder)
        self.lost = lost
