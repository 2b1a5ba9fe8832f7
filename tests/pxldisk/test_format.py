"""docs/pxldisk-format.md, read by a program that knows only that page: zlib and struct, nothing of ours."""

import struct
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from disk_rig import ROW_PAYLOAD, small

RECORD_FIELDS = ("mark", "state", "version", "owner", "key", "part", "parts", "next", "here", "total", "seq")
RECORD_FIELDS += ("at", "kind")
SUPERBLOCK_FIELDS = ("magic", "version", "width", "height", "bank", "made", "checkpoint", "next_seq")
SUPERBLOCK_FIELDS += ("disk", "own", "zones")
PAGE = Path(__file__).parents[2] / "docs" / "pxldisk-format.md"


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        name, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(name + content)
        yield name, content
        at += 12 + length


def pixel_rows(png: bytes) -> list[bytes]:
    found = list(chunks(png))
    assert [name for name, _ in found] == [b"IHDR"] + [b"IDAT"] * (len(found) - 2) + [b"IEND"]
    width, height, *kind = struct.unpack(">IIBBBBB", found[0][1])
    assert kind == [8, 2, 0, 0, 0]
    stream = zlib.decompress(b"".join(content for name, content in found if name == b"IDAT"))
    stride = 1 + 3 * width
    assert len(stream) == height * stride
    assert set(stream[::stride]) == {0}
    return [stream[row * stride + 1 : (row + 1) * stride] for row in range(height)]


def record_in(row: bytes) -> dict[str, Any] | None:
    if not any(row):
        return None
    names = [
        "mark",
        "state",
        "version",
        "owner",
        "key",
        "part",
        "parts",
        "next",
        "here",
        "total",
        "seq",
        "at",
        "kind",
    ]
    fields = dict(zip(names, struct.unpack_from(">BBBBBHHHHIQQ16s", row), strict=True))
    end = 49 + fields["here"]
    assert struct.unpack_from(">I", row, end)[0] == zlib.crc32(row[:end])
    assert fields["mark"] == 0x50 and fields["version"] == 1
    key_at = 49 + fields["owner"]
    return fields | {
        "state": {0xE0: "live", 0x40: "consumed"}[fields["state"]],
        "owner": row[49:key_at].decode(),
        "key": row[key_at : key_at + fields["key"]].decode(),
        "body": row[key_at + fields["key"] : end],
        "kind": fields["kind"].rstrip(b"\x00").decode(),
    }


def superblock_in(row: bytes) -> dict[str, Any]:
    names = [
        "magic",
        "version",
        "width",
        "height",
        "bank",
        "made",
        "checkpoint",
        "next_seq",
        "disk",
        "own",
        "zones",
    ]
    fields = dict(zip(names, struct.unpack_from(">4sHHHHQQQ16s16sB", row), strict=True))
    zones, at = {}, 69
    for _ in range(fields["zones"]):
        first, last, name, owner = struct.unpack_from(">HHBB", row, at)
        zones[row[at + 6 : at + 6 + name].decode()] = (first, last)
        at += 6 + name + owner
    assert struct.unpack_from(">I", row, at)[0] == zlib.crc32(row[:at])
    return fields | {"zones": zones, "disk": uuid.UUID(bytes=fields["disk"])}


def journal_records(log: bytes) -> Iterator[tuple[int, int, bytes]]:
    magic, number, _, _, _, _, salt, _ = struct.unpack_from(">8sQQQHHI16s", log)
    assert magic == b"PXLOG\r\n\x01" and number >= 1
    assert struct.unpack_from(">I", log, 56)[0] == zlib.crc32(log[:56])
    at = 60
    while log[at : at + 4] == b"PXR1":
        _, kind, length, number, _ = struct.unpack_from(">4sBIQQ", log, at)
        head, body = log[at : at + 25], log[at + 29 : at + 29 + length]
        assert struct.unpack_from(">I", log, at + 25)[0] == zlib.crc32(head + body, salt)
        yield kind, number, body
        at += 29 + length
    assert not any(log[at:])


def rows_in_commit(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    (count,) = struct.unpack_from(">I", body)
    at = 4
    for _ in range(count):
        bank, row, length = struct.unpack_from(">HHH", body, at)
        yield bank, row, body[at + 6 : at + 6 + length]
        at += 6 + length
    assert at == len(body)


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
        assert block["zones"] == {"system": (0, 2), "in": (3, 7), "out": (8, 9)}
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
    for layout in (">BBBBBHHHHIQQ16s", ">4sHHHHQQQ16s16sB", ">HHBB", ">8sQQQHHI16s", ">4sBIQQ", ">HHH"):
        assert f"`{layout}`" in page, f"{layout} is not described"
