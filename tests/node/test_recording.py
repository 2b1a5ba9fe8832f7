"""What a terminal has shown, on disk: addressed by offset, bounded, whole after a crash."""

import os
from pathlib import Path

import msgspec
import pytest

from node import cast
from node.keeping import recording
from node.keeping.recording import Recorder


def whole(folder: str) -> bytes:
    start, end = recording.extent(folder)
    at, data = recording.read_on(folder, start, end - start)
    assert at == start
    return data


def test_what_was_written_is_read_by_its_offset(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path / "a"))
    recorder.write(b"hello ")
    recorder.write(b"world")
    assert recording.extent(recorder.folder) == (0, 11) == (0, recorder.end)
    assert recording.read(recorder.folder, 6, 100) == (6, b"world")
    assert recording.read(recorder.folder, 11, 100) == (11, b"")
    assert recording.read(recorder.folder, 3, 4) == (3, b"lo w")


def test_a_keeper_that_follows_another_one_goes_on_at_its_offset(tmp_path: Path) -> None:
    Recorder(str(tmp_path)).write(b"first")
    second = Recorder(str(tmp_path))
    second.write(b"second")
    assert second.end == 11
    assert whole(str(tmp_path)) == b"firstsecond"


def test_the_oldest_goes_and_offsets_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "SEGMENT_BYTES", 100)
    monkeypatch.setattr(recording, "MAX_SEGMENTS", 3)
    recorder = Recorder(str(tmp_path))
    for number in range(50):
        recorder.write(b"%09d\n" % number)
    start, end = recording.extent(recorder.folder)
    assert end == 500
    assert 200 <= end - start <= 300
    assert len(os.listdir(tmp_path)) == 6  # three segments, each with its times
    assert whole(recorder.folder) == b"".join(b"%09d\n" % number for number in range(start // 10, 50))
    assert recording.read(recorder.folder, 0, 10)[0] == start  # what is gone is skipped, and seen to be


def test_what_finds_no_room_is_a_hole_and_the_rest_goes_on_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(str(tmp_path))
    recorder.write(b"before")
    with monkeypatch.context() as full:

        def refuse(fd: int, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        full.setattr(os, "write", refuse)
        recorder.write(b"lost")
        assert recorder.lost
    recorder.write(b"after")
    assert not recorder.lost
    assert recorder.end == 15
    assert recording.read(recorder.folder, 6, 100) == (10, b"after")
    assert recording.read_on(recorder.folder, 0, 100) == (0, b"before")


def test_a_piece_that_was_cut_short_before_a_hole_is_no_part_of_it(tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path))
    recorder.write(b"abc")
    (tmp_path / f"{3:016x}.out").write_bytes(b"def")
    with (tmp_path / f"{0:016x}.out").open("ab") as file:
        file.write(b"torn")
    assert whole(str(tmp_path)) == b"abcdef"


def test_a_recording_is_told_as_asciinema_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cast, "PIECE_BYTES", 3)  # the first piece ends within a character
    recorder = Recorder(str(tmp_path))
    recorder.resized(80, 24)
    recorder.write("gr\u00fc".encode()[:-1])  # a character in two pieces
    recorder.write("\u00fc".encode()[-1:] + b"n\r\n")
    recorder.resized(100, 30)
    recorder.write(b"\x1b[1mbold\x1b[0m")
    lines: list[list[object]] = []
    following: int | None = 0
    header: dict[str, object] = {}
    while following is not None:
        told, following = cast.lines_of(str(tmp_path), following)
        for line in map(msgspec.json.decode, told):
            if isinstance(line, dict):
                header = line
            else:
                lines.append(line)
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)
    assert [line[1:] for line in lines] == [
        ["o", "gr"],
        ["o", "\u00fcn\r\n"],
        ["r", "100x30"],
        ["o", "\x1b[1mbold\x1b[0m"],
    ]
    times = [line[0] for line in lines]
    assert times == sorted(times, key=float)  # type: ignore[arg-type]


def test_no_recording_is_empty(tmp_path: Path) -> None:
    folder = str(tmp_path / "none")
    assert recording.extent(folder) == (0, 0)
    assert recording.read(folder, 0, 10) == (0, b"")
    assert cast.lines_of(folder, 0) == ([], None)
