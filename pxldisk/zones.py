"""Named ranges of rows, and the order in which their free rows are used. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

RESERVED_ROWS: Final = 2  # row 0 is the superblock, row 1 its copy
MAX_NAME_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Zone:
    """Rows first..last, both included. With an `owner`, only that owner's records go there."""

    first: int
    last: int
    owner: str | None = None

    @property
    def rows(self) -> range:
        """The rows that hold records: never the superblock or its copy."""
        return range(max(self.first, RESERVED_ROWS), self.last + 1)


DEFAULT_ZONES: Final[Mapping[str, Zone]] = {
    "system": Zone(0, 8),
    "input_scrolls": Zone(9, 199),
    "output_opcodes": Zone(200, 255),
}


def zone_table(zones: Mapping[str, Zone | tuple[int, int]], height: int) -> dict[str, Zone]:
    """Check and normalise zones, in row order. Raises ValueError with the zone at fault."""
    table = {name: zone if isinstance(zone, Zone) else Zone(*zone) for name, zone in zones.items()}
    end = -1
    for name, zone in (ordered := dict(sorted(table.items(), key=lambda item: item[1].first))).items():
        if not 0 < len(name.encode()) <= MAX_NAME_BYTES:
            raise ValueError(f"zone name {name!r}: 1 to {MAX_NAME_BYTES} bytes")
        if zone.owner is not None and not 0 < len(zone.owner.encode()) <= 255:
            raise ValueError(f"zone {name!r}: an owner has 1 to 255 bytes")
        if not 0 <= zone.first <= zone.last < height:
            raise ValueError(f"zone {name!r}: rows {zone.first}-{zone.last} of a picture {height} high")
        if zone.first <= end:
            raise ValueError(f"zone {name!r} overlaps the zone before it")
        if not zone.rows:
            raise ValueError(f"zone {name!r} has no row besides the superblock's")
        end = zone.last
    if not ordered:
        raise ValueError("a disk needs at least one zone")
    return ordered


class Ring:
    """The free rows of one zone of one bank. Takes them in ring order, so the oldest is reused last."""

    __slots__ = ("_cursor", "_first", "_free", "free")

    def __init__(self, rows: range, taken: Iterable[int] = (), after: int | None = None) -> None:
        """`taken`: rows that are not free. `after`: the row used last, where the ring goes on."""
        self._first = rows.start
        self._free = bytearray(b"\x01") * len(rows)
        for row in taken:
            self._free[row - self._first] = 0
        self._cursor = 0 if after is None else after - self._first + 1
        self.free = self._free.count(1)

    def __len__(self) -> int:
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """The next `count` free rows. The caller has checked `free`."""
        return [self._take_one() for _ in range(count)]

    def give_back(self, rows: Iterable[int]) -> None:
        """Rows that may be used again."""
        for row in rows:
            assert not self._free[row - self._first], f"row {row} is free already"
            self._free[row - self._first] = 1
            self.free += 1

    def _take_one(self) -> int:
        place = self._free.find(1, self._cursor)
        if place < 0:
            place = self._free.find(1)
        assert place >= 0, "no free row"
        self._free[place] = 0
        self.free -= 1
        self._cursor = place + 1
        return place + self._first
