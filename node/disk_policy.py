"""What this machine's owner says about its PXLDisk: the table [disk] of node.toml. Pure.

Size and zones are fixed when the disk is made; the number of banks may change at any start.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from pxldisk import DEFAULT_ZONES, Zone
from pxldisk.zones import MAX_NAME_BYTES, RESERVED_ROWS

# One bank has 191 rows for scrolls, and a scroll of 63 KiB takes 88 of them. A bank is made when the others
# are full, costs 200 KB, and makes opening some 12 ms slower.
MAX_BANKS = 8
MOST_BANKS = 256
AGENT_PREFIX = "@"  # of the zone that is given to one agent
SIZES = {"width": (256, 32, 21_844), "rows": (256, 16, 65_535)}  # default, least, most
SHARED = ("input_scrolls", "output_opcodes")


@dataclass(frozen=True, slots=True)
class DiskPolicy:
    """How the disk is made and how far it may grow. None: as it is, or as it is made by default."""

    max_banks: int = MAX_BANKS
    width: int | None = None  # pixels; a row holds three bytes for each
    height: int | None = None  # rows in each bank
    zones: Mapping[str, Zone] | None = None


DEFAULT_TEXT = f"""\
# The PXLDisk that scrolls wait in. A new bank (8.png, 9.png, ...) is made when the rows of a zone are full.
# All but max_banks is fixed when the disk is made. Read when the node starts.
[disk]
# max_banks = {MAX_BANKS}
# width = 256                    # pixels: a row holds three bytes for each
# rows = 256                     # in each bank
# input_scrolls = [100, 199]     # first and last row; rows before the first zone are the system's
# output_opcodes = [200, 255]

# Rows for the scrolls of one agent alone, by its name.
[disk.agents]
# junior = [9, 99]
"""


def parse_disk(table: Mapping[str, object]) -> DiskPolicy:
    """The table's meaning. Raises ValueError with one line that names the key."""
    known = ("max_banks", *SIZES, *SHARED, "agents")
    for key in table:
        if key not in known:
            raise ValueError(f"unknown key disk.{key}; known are {', '.join(known)}")
    width, height = (_size(table, key) for key in SIZES)
    zones = _zones(table, height or SIZES["rows"][0])
    if zones is None and height is not None:
        raise ValueError("disk.rows needs disk.input_scrolls and disk.output_opcodes beside it")
    return DiskPolicy(_number(table, "max_banks", MAX_BANKS, 1, MOST_BANKS), width, height, zones)


def agent_zone(name: str) -> str:
    """What the zone that is given to an agent is called."""
    return AGENT_PREFIX + name


def _zones(table: Mapping[str, object], height: int) -> dict[str, Zone] | None:
    agents = table.get("agents", {})
    if not isinstance(agents, dict):
        raise ValueError("disk.agents must be a table: [disk.agents]")
    asked = {f"disk.{name}": (name, None, table[name]) for name in SHARED if name in table}
    asked |= {f"disk.agents.{name}": (agent_zone(name), name, rows) for name, rows in agents.items()}
    if not asked:
        return None
    for name in SHARED:  # zones that are not named stay where they are
        default = DEFAULT_ZONES[name]
        asked.setdefault(f"disk.{name}", (name, None, [default.first, default.last]))
    placed = []
    for key, (name, owner, rows) in asked.items():
        if not 0 < len(name.removeprefix(AGENT_PREFIX).encode()) < MAX_NAME_BYTES:
            most = MAX_NAME_BYTES - 1
            raise ValueError(f"{key}: the name of an agent with rows of its own has 1 to {most} bytes")
        placed.append((_range(key, rows, height), key, name, owner))
    placed.sort()
    for ((_, last), former, *_), ((first, _), key, *_) in itertools.pairwise(placed):
        if first <= last:
            raise ValueError(f"{key} begins in row {first}, which is in {former}: give them other rows")
    zones = {name: Zone(first, last, owner) for (first, last), _, name, owner in placed}
    start = placed[0][0][0]
    return {"system": Zone(0, start - 1), **zones} if start > RESERVED_ROWS else zones


def _range(key: str, rows: object, height: int) -> tuple[int, int]:
    whole = isinstance(rows, list) and len(rows) == 2 and all(type(row) is int for row in rows)
    if not whole:
        raise ValueError(f"{key} must be a first and a last row: [9, 99]")
    assert isinstance(rows, list)
    first, last = rows
    if not RESERVED_ROWS <= first <= last < height:
        raise ValueError(f"{key}: rows {first} to {last} are not within {RESERVED_ROWS} to {height - 1}")
    return first, last


def _size(table: Mapping[str, object], key: str) -> int | None:
    default, least, most = SIZES[key]
    return _number(table, key, default, least, most) if key in table else None


def _number(table: Mapping[str, object], key: str, default: int, least: int, most: int) -> int:
    found = table.get(key, default)
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise ValueError(f"disk.{key} must be a whole number from {least} to {most}")
    return found
