"""Small disks for tests: few, narrow rows, so that every byte can be visited."""

from pathlib import Path
from typing import Any

from pxldisk import Disk, Zone
from pxldisk.disk import Opening
from pxldisk.memory import Memory

SHM = Path("/dev/shm")  # where syncing costs nothing
SMALL_ZONES = {"system": Zone(0, 2), "in": Zone(3, 7), "out": Zone(8, 9)}
ROW_PAYLOAD = 48 * 3 - 53  # bytes of payload in one row, without owner and key


def small(folder: Path, **options: Any) -> Opening:
    """A disk of 10 rows, 48 pixels wide, with five rows in zone `in`."""
    return Disk.open(folder, **{"width": 48, "height": 10, "zones": SMALL_ZONES, **options})


def payloads(disk: Disk | Memory, zone: str = "in") -> list[bytes]:
    """What the zone holds, in order."""
    return [record.payload for record in disk.scan(zone)]
