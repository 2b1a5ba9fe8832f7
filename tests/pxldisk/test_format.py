"""docs/pxldisk-format.md, read by a program that knows only that page, and disks kept as test vectors."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from disk_rig import ROW_PAYLOAD, small
from plain_reader import journal_records, pixel_rows, read_disk, record_in, rows_in_commit, superblock_in

from pxldisk import Disk, State
from pxldisk.memory import Memory

VECTORS = Path(__file__).with_name("vectors")
NAMES = sorted(path.parent.name for path in VECTORS.glob("*/holds.json"))
PAGE = Path(__file__).parents[2] / "docs" / "pxldisk-format.md"


async def test_a_reader_that_knows_only_the_page_reads_picture_and_journal(folder: Path) -> None:
    long = bytes(index % 256 for index in range(2 * ROW_PAYLOAD))
    async with small(folder) as disk:
        gone = await disk.append("in", b"gone", kind="scroll", key="k1")
        await disk.append("in", long, owner="me")
        await disk.consume(gone)
    rows = pixel_rows((folder / "8.png").read_bytes())
    for row in rows[:2]:
        block = superblock_in(row)
        assert (block["magic"], block["version"], block["bank"]) == (b"PXLD", 1, 8)
        assert (block["width"], block["height"], block["checkpoint"], block["next_seq"]) == (48, 10, 3, 3)
        assert block["zones"] == {
            "system": (0, 2, None),
            "in": (3, 7, None),
            "out": (8, 9, None),
        }
    found = [record_in(row) for row in rows[2:]]
    assert found[0] is None and found[1] and found[2]
    assert (found[1]["state"], found[1]["kind"], found[1]["key"], found[1]["body"]) == (
        "consumed",
        "scroll",
        "k1",
        b"gone",
    )
    body, at = b"", 4
    while at:
        part = record_in(rows[at])
        assert part and part["seq"] == 2 and part["total"] == len(long) + 2
        body, at = body + part["body"], part["next"]
    assert body == long

    records = list(journal_records((folder / "log" / "00000001.pxj").read_bytes()))
    assert [(kind, number) for kind, number, _ in records] == [(2, 0), (1, 1), (1, 2), (1, 3)]
    picture = dict.fromkeys(range(10), b"")
    for kind, _, record in records:
        if kind == 1:
            picture |= {row: content for bank, row, content in rows_in_commit(record) if bank == 8}
    for row in range(2, 10):
        assert picture[row].ljust(144, b"\x00") == rows[row]


def test_the_page_names_every_structure_this_reader_used() -> None:
    page = PAGE.read_text()
    for layout in (">BBBBBHHHHIQQ16s", ">4sHHHHQQQ16s16sB", ">HHBB", ">8sQQQHHI16s", ">4sBIQQQ", ">HHH"):
        assert f"`{layout}`" in page, f"{layout} is not described"


def holds(name: str) -> dict[str, Any]:
    """What a test vector holds, by the JSON beside it."""
    expected: dict[str, Any] = json.loads((VECTORS / name / "holds.json").read_text("utf-8"))
    return {field: value for field, value in expected.items() if field != "about"}


def shown(disk: Disk, memory: Memory) -> dict[str, Any]:
    """The same, of a disk that the library has open."""
    stats = disk.stats()
    records = []
    for bank in memory.pictures:
        heads = {id(entry): entry for entry in memory._occupants[bank] if entry is not None}
        for entry in heads.values():
            record = disk.read(entry.ref)
            fields = {"seq": record.ref.seq, "state": str(record.state), "kind": record.kind}
            fields |= {"owner": record.owner, "key": record.key, "at_us": round(record.at * 1e6)}
            records.append(
                {"bank": bank, "rows": list(entry.rows), **fields, "payload": record.payload.hex()}
            )
    return {
        "disk": str(memory.superblocks[8].disk_id),
        "width": stats.width,
        "height": stats.height,
        "zones": {name: [zone.first, zone.last, zone.owner] for name, zone in disk.zones.items()},
        "banks": list(stats.banks),
        "commits": stats.commits,
        "next_seq": stats.next_seq,
        "keys": {key: [ref.bank, ref.row, ref.seq] for key, ref in memory.keys.items()},
        "records": sorted(records, key=lambda record: int(record["seq"])),
        "damaged": [[damage.bank, damage.row] for damage in stats.damage],
    }


def test_there_are_vectors_of_every_kind_of_disk() -> None:
    assert {"one-row", "chained", "two-banks", "owned-zones", "damaged", "power-cut"} <= set(NAMES)
    records = [record for name in NAMES for record in holds(name)["records"]]
    assert {record["state"] for record in records} == {State.LIVE, State.CONSUMED}
    assert max(len(record["rows"]) for record in records) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_reads_as_its_json_says_by_the_page_alone(name: str) -> None:
    assert read_disk(VECTORS / name) == holds(name)


@pytest.mark.parametrize("name", NAMES)
async def test_a_vector_opens_as_its_json_says(name: str, quick: Path) -> None:
    folder = quick / name
    shutil.copytree(VECTORS / name, folder)
    for _ in range(2):  # the second time there is nothing to recover
        async with Disk.open(folder) as disk:
            assert shown(disk, disk._memory) == holds(name)
    assert read_disk(folder) == holds(name)
