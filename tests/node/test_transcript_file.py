"""Conversations in files: the newest of each entry, in its place, within bounds, whatever a crash leaves."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node import transcript_file
from node.transcript_file import Transcript, page_of, read_transcript

Json = dict[str, Any]


def entry(number: int, text: str = "") -> Json:
    return {"id": f"e{number}", "role": "note", "blocks": [{"type": "text", "text": text or str(number)}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a-1.jsonl"


def texts(entries: dict[str, bytes]) -> list[str]:
    return [msgspec.json.decode(raw)["blocks"][0]["text"] for raw in entries.values()]


def test_a_file_holds_its_header_and_entries_in_order(path: Path):
    transcript = Transcript(path, {"command": ["x"]})
    for number in range(3):
        transcript.put(entry(number))
    transcript.describe(session="s1")
    transcript.put(entry(3))
    header, entries = read_transcript(path)
    assert (header["command"], header["session"]) == (["x"], "s1")
    assert texts(entries) == ["0", "1", "2", "3"]
    assert path.stat().st_mode & 0o077 == 0


def test_an_entry_told_again_takes_its_own_place(path: Path):
    transcript = Transcript(path, {})
    for number in range(3):
        transcript.put(entry(number))
    transcript.put(entry(1, "changed"))
    assert texts(read_transcript(path)[1]) == ["0", "changed", "2"]
    assert [msgspec.json.decode(raw)["id"] for raw in transcript.page(None, 10)[0]] == ["e0", "e1", "e2"]


def test_a_line_cut_short_by_a_crash_is_left_out(path: Path):
    transcript = Transcript(path, {})
    transcript.put(entry(0))
    with path.open("ab") as file:
        file.write(b'{"id": "e1", "role": "as')
    assert texts(read_transcript(path)[1]) == ["0"]


def test_a_line_that_no_adapter_writes_is_left_out_and_a_pipe_is_no_transcript(path: Path):
    Transcript(path, {}).put(entry(0))
    with path.open("ab") as file:
        file.write(b'{"id": "e1", "blocks": ' + b"[" * 60_000 + b"\n")
    assert texts(read_transcript(path)[1]) == ["0"]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        read_transcript(path)


def test_pages_go_backwards_to_the_first_entry():
    entries = {f"e{n}": msgspec.json.encode(entry(n)) for n in range(5)}

    def ids(before: str | None) -> tuple[list[str], bool]:
        page, more = page_of(entries, before, 2)
        return [msgspec.json.decode(raw)["id"] for raw in page], more

    assert ids(None) == (["e3", "e4"], True)
    assert ids("e3") == (["e1", "e2"], True)
    assert ids("e1") == (["e0"], False)
    assert ids("unknown") == ([], False)


def test_a_page_fits_in_a_frame():
    entries = {f"e{n}": msgspec.json.encode(entry(n, "x" * 300_000)) for n in range(5)}
    page, more = page_of(entries, None, 100)
    assert (len(page), more) == (2, True)


def test_the_oldest_entries_of_a_long_conversation_go(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transcript_file, "MAX_BYTES", 10_000)
    transcript = Transcript(path, {})
    for number in range(100):
        transcript.put(entry(number, f"{number} " + "x" * 300))
        assert path.stat().st_size < 25_000
    header, entries = read_transcript(path)
    assert header["cut"]
    assert "e99" in entries
    assert "e0" not in entries
    assert texts(entries) == [f"{n} " + "x" * 300 for n in range(100 - len(entries), 100)]


def test_an_entry_that_changes_for_ever_does_not_fill_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transcript_file, "MAX_BYTES", 10_000)
    transcript = Transcript(path, {})
    for number in range(500):
        transcript.put(entry(1, f"{number} " + "x" * 300))
    assert path.stat().st_size < 25_000
    assert texts(read_transcript(path)[1])[0].startswith("499 ")
