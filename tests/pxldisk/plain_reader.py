"""A reader of disks that knows only docs/pxldisk-format.md: zlib and struct, nothing of ours.

`read_disk` gives what the JSON beside the test vectors holds. It stops at the first thing that the
page does not allow; only rows are let be bad, as the page does.
"""

import struct
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUPERBLOCK = ("magic", "version", "width", "height", "bank", "made", "checkpoint", "next_seq", "disk", "own")
RECORD = ("mark", "state", "version", "owner", "key", "part", "parts", "next", "here", "total", "seq")
RECORD += ("at", "kind")


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
    assert [len(content) for _, content in found[1:-1]] == [2, *[3 * width + 6] * height, 9]
    stream = zlib.decompress(b"".join(content for name, content in found if name == b"IDAT"))
    stride = 1 + 3 * width
    assert len(stream) == height * stride
    assert set(stream[::stride]) == {0}
    return [stream[row * stride + 1 : (row + 1) * stride] for row in range(height)]


def superblock_in(row: bytes) -> dict[str, Any]:
    fields = dict(zip((*SUPERBLOCK, "zones"), struct.unpack_from(">4sHHHHQQQ16s16sB", row), strict=True))
    assert (fields["magic"], fields["version"]) == (b"PXLD", 1)
    zones, at = {}, 69
    for _ in range(fields["zones"]):
        first, last, name, owner = struct.unpack_from(">HHBB", row, at)
        owner_at = at + 6 + name
        title, holder = row[at + 6 : owner_at].decode(), row[owner_at : owner_at + owner].decode()
        zones[title] = (first, last, holder or None)
        at = owner_at + owner
    assert struct.unpack_from(">I", row, at)[0] == zlib.crc32(row[:at])
    assert not any(row[at + 4 :])
    return fields | {"zones": zones, "disk": uuid.UUID(bytes=fields["disk"])}


def record_in(row: bytes) -> dict[str, Any] | None:
    """A row's part of a record; None: free. AssertionError: the row is bad."""
    if not any(row):
        return None
    fields = dict(zip(RECORD, struct.unpack_from(">BBBBBHHHHIQQ16s", row), strict=True))
    end = 49 + fields["here"]
    assert end + 4 <= len(row)
    assert struct.unpack_from(">I", row, end)[0] == zlib.crc32(row[:end])
    assert fields["mark"] == 0x50 and fields["version"] == 1
    key_at = 49 + fields["owner"]
    return fields | {
        "state": {0xE0: "live", 0x40: "consumed"}[fields["state"]],
        "owner": row[49:key_at].decode() or None,
        "key": row[key_at : key_at + fields["key"]].decode() or None,
        "body": row[key_at + fields["key"] : end],
        "kind": fields["kind"].rstrip(b"\x00").decode(),
    }


def journal_records(log: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, commit number and body of each record; a torn one ends them."""
    magic, number, _, _, _, _, salt, _ = struct.unpack_from(">8sQQQHHI16s", log)
    assert magic == b"PXLOG\r\n\x01" and number >= 1
    assert struct.unpack_from(">I", log, 56)[0] == zlib.crc32(log[:56])
    at = 60
    while log[at : at + 4] == b"PXR1" and at + 37 <= len(log):
        _, kind, length, number, _, _ = struct.unpack_from(">4sBIQQQ", log, at)
        head, body = log[at : at + 33], log[at + 37 : at + 37 + length]
        if len(body) < length or struct.unpack_from(">I", log, at + 33)[0] != zlib.crc32(head + body, salt):
            return
        yield kind, number, body
        at += 37 + length


def rows_in_commit(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    (count,) = struct.unpack_from(">I", body)
    at = 4
    for _ in range(count):
        bank, row, length = struct.unpack_from(">HHH", body, at)
        yield bank, row, body[at + 6 : at + 6 + length]
        at += 6 + length
    assert at == len(body)


def keys_in_checkpoint(body: bytes) -> tuple[int, dict[str, list[int]]]:
    next_seq, count = struct.unpack_from(">QI", body)
    keys, at = {}, 12
    for _ in range(count):
        length, *ref = struct.unpack_from(">BHHQ", body, at)
        keys[body[at + 13 : at + 13 + length].decode()] = ref
        at += 13 + length
    assert at == len(body)
    return next_seq, keys


def read_disk(folder: Path) -> dict[str, Any]:
    """What a disk holds: its pictures brought up to the newest segment of its journal."""
    pictures = {int(path.stem): path.read_bytes() for path in folder.glob("[0-9].png")}
    pictures |= {int(path.stem): path.read_bytes() for path in folder.glob("[0-9][0-9].png")}
    rows = {bank: pixel_rows(png) for bank, png in sorted(pictures.items())}
    segment = max(folder.joinpath("log").glob("*.pxj")).read_bytes()
    next_seq, commits, keys = 1, 0, {}
    for kind, number, body in journal_records(segment):
        commits = number
        if kind == 2:
            next_seq, keys = keys_in_checkpoint(body)
            continue
        for bank, row, content in rows_in_commit(body):
            rows[bank][row] = content.ljust(len(rows[bank][row]), b"\x00")
            record = record_in(rows[bank][row]) if row > 1 else None
            seq = record["seq"] if record else 0
            keys = {key: ref for key, ref in keys.items() if ref[:2] != [bank, row] or ref[2] <= seq}
            next_seq = max(next_seq, record["seq"] + 1) if record else next_seq
            if record and record["key"] and record["part"] == 0 and record["state"] == "live":
                keys.setdefault(record["key"], [bank, row, record["seq"]])
    blocks = {bank: [superblock_in(row) for row in own[:2]] for bank, own in rows.items()}
    first = blocks[8][0]
    for bank, (block, twin) in blocks.items():
        assert block == twin and block["bank"] == bank
        assert (block["disk"], block["zones"]) == (first["disk"], first["zones"])
    records, damaged = [], []
    for bank, own in rows.items():
        found, bad = records_in(bank, own)
        records += found
        damaged += bad
    return {
        "disk": str(first["disk"]),
        "width": first["width"],
        "height": first["height"],
        "zones": {name: list(zone) for name, zone in first["zones"].items()},
        "banks": list(rows),
        "commits": commits,
        "next_seq": next_seq,
        "keys": keys,
        "records": sorted(records, key=lambda record: int(record["seq"])),
        "damaged": damaged,
    }


def records_in(bank: int, rows: list[bytes]) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """The whole records of a bank, and the rows that read badly."""
    parts: dict[int, dict[str, Any]] = {}
    damaged = []
    for number, row in enumerate(rows[2:], 2):
        try:
            part = record_in(row)
        except (AssertionError, KeyError):
            damaged.append([bank, number])
            continue
        if part is not None:
            parts[number] = part
    records = []
    for head, first in parts.items():
        if first["part"]:
            continue
        chain = [head]
        while parts[chain[-1]]["next"]:
            after = parts.get(parts[chain[-1]]["next"])
            if after is None or (after["seq"], after["part"]) != (first["seq"], len(chain)):
                break
            chain.append(parts[chain[-1]]["next"])
        if len(chain) < first["parts"]:
            continue
        payload = b"".join(parts[row]["body"] for row in chain)
        texts = sum(len((first[name] or "").encode()) for name in ("owner", "key"))
        assert len(payload) + texts == first["total"]
        shown = {name: first[name] for name in ("seq", "state", "kind", "owner", "key")}
        records.append({"bank": bank, "rows": chain, **shown, "at_us": first["at"], "payload": payload.hex()})
    return records, damaged
