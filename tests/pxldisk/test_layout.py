"""The pure parts: pictures, rows, zones, superblocks. No files, no event loop."""

import io
import random
import uuid
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pxldisk import Append, bank, png, rows, superblock
from pxldisk.errors import RowTooLarge
from pxldisk.memory import Memory
from pxldisk.png import Grid, Picture
from pxldisk.rows import BadRow, Sheet, State
from pxldisk.superblock import Superblock
from pxldisk.zones import DEFAULT_ZONES, Ring, Zone


def decoded(image: bytes | bytearray) -> tuple[tuple[int, int], bytes]:
    with Image.open(io.BytesIO(bytes(image))) as picture:
        picture.load()
        assert picture.mode == "RGB"
        return picture.size, picture.tobytes()


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (7, 5), (256, 256), (21_844, 2), (2, 65_535)])
def test_pillow_reads_a_blank_picture_of_any_size(size: tuple[int, int]) -> None:
    picture = Picture.blank(Grid(*size))
    assert len(picture.image) == picture.grid.file_bytes
    assert decoded(picture.image) == (size, bytes(3 * size[0] * size[1]))
    assert picture.flaws() == []


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (21_845, 1), (1, 65_536)])
def test_sizes_that_the_layout_cannot_hold_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        Grid(*size)


def test_rows_written_in_place_in_any_order_give_a_picture_that_pillow_checks() -> None:
    chance = random.Random(8)
    grid = Grid(37, 29)
    picture = Picture.blank(grid)
    expected = bytearray(3 * 37 * 29)
    for _ in range(400):
        row, length = chance.randrange(29), chance.randrange(112)
        content = chance.randbytes(length)
        picture.write(row, content)
        expected[row * 111 : (row + 1) * 111] = content.ljust(111, b"\x00")
        picture.seal()
    assert decoded(picture.image) == ((37, 29), bytes(expected))
    # The checksum that was updated row by row is the one computed from all.
    again = Picture(grid, bytearray(picture.image))
    assert again.seal() == picture.seal()
    assert picture.flaws() == []


def test_a_picture_of_the_largest_sums_does_not_overflow_its_checksum() -> None:
    picture = Picture.blank(Grid(700, 300))
    for row in range(300):
        picture.write(row, b"\xff" * 2100)
    for row in range(0, 300, 2):
        picture.write(row, b"")
    picture.seal()
    stream = b"".join(b"\x00" + picture.row(row) for row in range(300))
    assert int.from_bytes(picture.seal()[:4]) == zlib.adler32(stream)
    decoded(picture.image)


def test_a_row_that_is_too_long_changes_nothing() -> None:
    picture = Picture.blank(Grid(4, 4))
    before = bytes(picture.image)
    with pytest.raises(ValueError):
        picture.write(1, bytes(13))
    assert picture.image == before


def test_a_span_holds_whole_rows_with_their_checksums() -> None:
    picture = Picture.blank(Grid(40, 6))
    twin = picture.copy()
    for row in (2, 3):
        picture.write(row, b"abc")
    picture.seal()
    offset, content = picture.span(2, 3)
    twin.image[offset : offset + len(content)] = content
    twin.image[picture.sealed_at : picture.sealed_at + 8] = picture.seal()
    assert twin.image == picture.image


def test_a_record_laid_out_in_rows_reads_back() -> None:
    sheet = Sheet(7, 1_700_000_000_000_001, b"scroll", 5, 2, b"owner" + b"k1" + bytes(range(200)))
    images = rows.encode(sheet, [9, 4, 200], 150)
    assert [row for row, _ in images] == [9, 4, 200]
    found = [rows.decode(content.ljust(150, b"\x00")) for _, content in images]
    assert all(row is not None for row in found)
    head, middle, last = found
    assert head and middle and last
    assert (head.owner, head.key, head.kind, head.seq, head.total) == ("owner", "k1", "scroll", 7, 207)
    assert [row.part for row in (head, middle, last)] == [0, 1, 2]
    assert [row.next_row for row in (head, middle, last)] == [4, 200, 0]
    assert head.body + middle.body + last.body == bytes(range(200))
    assert rows.key_of(images[0][1]) == (7, "k1") and rows.key_of(images[1][1]) is None


def test_consuming_changes_the_state_and_nothing_else() -> None:
    ((_, content),) = rows.encode(Sheet(1, 2, b"k", 0, 0, b"body"), [3], 96)
    gone = rows.consumed(content.ljust(96, b"\x00"))
    before, after = rows.decode(content), rows.decode(gone)
    assert before and after and after.state is State.CONSUMED
    assert (after.seq, after.body, after.kind) == (before.seq, before.body, before.kind)
    assert rows.decode(rows.consumed(gone)) == after


def test_every_flipped_bit_of_a_row_is_noticed() -> None:
    ((_, content),) = rows.encode(Sheet(1, 2, b"k", 1, 1, b"oK" + b"body"), [3], 96)
    for bit in range(8 * len(content)):
        flipped = bytearray(content.ljust(96, b"\x00"))
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadRow):
            rows.decode(bytes(flipped))


def test_a_free_row_is_all_zeros() -> None:
    assert rows.decode(bytes(96)) is None
    with pytest.raises(BadRow) as bad:
        rows.decode(bytes(40) + b"\x01" + bytes(55))
    assert bad.value.offset == 40


def a_superblock(zones: dict[str, Zone]) -> Superblock:
    return Superblock(uuid.UUID(int=1), uuid.UUID(int=2), 9, 256, 256, zones, 5, 6, 7)


def test_a_superblock_reads_back_and_every_flipped_byte_is_noticed() -> None:
    block = a_superblock({"input": Zone(0, 199), "owned": Zone(250, 255, "ä gent")})
    content = superblock.encode(block, 768)
    assert superblock.decode(content.ljust(768, b"\x00")) == block
    for offset in range(len(content)):
        flipped = bytearray(content)
        flipped[offset] ^= 1
        with pytest.raises(ValueError):
            superblock.decode(bytes(flipped))
    for length in range(len(content)):
        with pytest.raises(ValueError):
            superblock.decode(content[:length])


def test_a_superblock_that_does_not_fit_its_row_is_refused() -> None:
    with pytest.raises(RowTooLarge):
        superblock.encode(a_superblock({f"zone {n}": Zone(n, n) for n in range(2, 40)}), 300)


def test_a_blank_bank_carries_its_superblock_twice() -> None:
    picture = bank.blank(a_superblock(dict(DEFAULT_ZONES)))
    assert picture.row(0) == picture.row(1) != picture.row(2)
    decoded(picture.image)


def test_continuation_rows_are_painted_before_their_head_and_the_checksum_last(tmp_path: Path) -> None:
    block = replace(a_superblock({"in": Zone(2, 200)}), bank=8, next_seq=1)
    memory = Memory(tmp_path, block, max_payload=9999, keep_keys=1)
    memory.add_bank(block, bank.blank(block))
    plan = memory.plan([Append("in", bytes(2000)), Append("in", b"short")], 0)
    strokes = memory.strokes(memory.apply([plan]).touched)
    grid = memory.grid
    picture = memory.pictures[8]
    assert [(stroke.offset, len(stroke.content)) for stroke in strokes] == [
        (grid.pixels_at(3), 2 * grid.stride - 14),
        (grid.pixels_at(2), grid.stride - 14),
        (grid.pixels_at(5), grid.stride - 14),
        (picture.sealed_at, 8),
    ]


def test_free_rows_are_used_in_ring_order() -> None:
    ring = Ring(range(10, 15), taken=[11], after=12)
    assert (len(ring), ring.free) == (5, 4)
    assert ring.take(3) == [13, 14, 10]
    ring.give_back([14, 10])
    assert ring.take(3) == [12, 14, 10]
    assert ring.free == 0


def test_the_header_alone_tells_what_is_not_ours() -> None:
    blank = bytes(Picture.blank(Grid(3, 2)).image[:33])
    assert png.size_in_header(blank) == (3, 2)
    for wrong in (b"", blank[:20], b"GIF89a" + blank[6:], blank[:24] + b"\x10" + blank[25:]):
        with pytest.raises(ValueError):
            png.size_in_header(wrong)
