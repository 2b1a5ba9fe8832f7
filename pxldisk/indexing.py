"""Which records a picture holds. Pure.

A record counts only as a whole: its head and every part that it names, each with a good checksum.
"""

from collections.abc import Mapping, Sequence

from . import rows, superblock
from .png import Grid, Picture
from .rows import Row, State
from .values import Damage


class Found:
    """The records of one bank, put together from its decoded rows.

    `records`: head row and rows in part order. `broken`: for head rows of records that cannot be
    read, and for bad rows, why. `reserved`: rows that must not be used before a repair.
    """

    def __init__(
        self, bank: int, grid: Grid, decoded: Sequence[Row | None], bad: Mapping[int, Damage]
    ) -> None:
        self.records: list[tuple[int, tuple[int, ...]]] = []
        self.broken: dict[int, Damage] = dict(bad)
        self.reserved: set[int] = set(bad)
        claimed: set[int] = set()
        for head, row in enumerate(decoded):
            if row is None or row.part:
                continue
            parts, missing = _follow(decoded, head, row)
            if missing is None:
                self.records.append((head, parts))
                claimed.update(parts)
            elif row.state is State.LIVE:
                why = f"part of record {row.seq}, whose head is in row {head}, is missing"
                self.broken[head] = bad.get(missing, Damage(bank, missing, grid.pixels_at(missing), why))
                self.reserved.update(parts)
        # A live part without its head belongs to a damaged record: keep it for a repair.
        self.reserved.update(
            at for at, row in enumerate(decoded) if row and row.state is State.LIVE and at not in claimed
        )


def _follow(decoded: Sequence[Row | None], head: int, row: Row) -> tuple[tuple[int, ...], int | None]:
    """The rows of a record, and the first that is not what its head promises (None: all are)."""
    parts, at, current = [head], row.next_row, row
    for part in range(1, row.parts):
        found = decoded[at] if 0 < at < len(decoded) else None
        if found is None or (found.seq, found.part, found.parts) != (row.seq, part, current.parts):
            return tuple(parts), at
        parts.append(at)
        at, current = found.next_row, found
    return tuple(parts), None


def decode_rows(bank: int, picture: Picture) -> tuple[list[Row | None], list[Damage]]:
    """Every row of a picture (None: free, bad, or the superblock's), and which are bad."""
    decoded: list[Row | None] = []
    damage: list[Damage] = []
    for row in range(picture.grid.height):
        found = None
        if row not in superblock.ROWS:
            try:
                found = rows.decode(picture.row(row))
            except rows.BadRow as bad:
                damage.append(Damage(bank, row, picture.grid.pixels_at(row) + bad.offset, bad.why))
        decoded.append(found)
    return decoded, damage
