"""A long session file page by page: the way back from the last entry, whatever else stands in it."""

import json
import os
from pathlib import Path

from hyperpi import strict_json
from node.kinds.pi_session import read_page


def line(number: int, parent: int | None, **more: object) -> str:
    head = {"type": "message", "id": f"{number:08x}", "parentId": None if parent is None else f"{parent:08x}"}
    at = f"2026-01-05T10:00:{number % 60:02}.000Z"
    message = {"role": "user", "content": f"text {number} ü"}
    return json.dumps({**head, "timestamp": at, "message": message, **more}, ensure_ascii=False)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([json.dumps({"type": "session", "id": "s"}), *lines]) + "\n")
    return path


def numbers(page: tuple[list[dict], bool] | None) -> tuple[list[int], bool]:
    assert page is not None
    return [int(entry["id"], 16) for entry in page[0]], page[1]


def test_pages_follow_each_other_to_the_beginning(tmp_path):
    file = write(tmp_path / "s.jsonl", *(line(n, n - 1 if n else None) for n in range(10)))
    assert numbers(read_page(file, None, 4)) == ([6, 7, 8, 9], True)
    assert numbers(read_page(file, "00000006", 4)) == ([2, 3, 4, 5], True)
    assert numbers(read_page(file, "00000002", 4)) == ([0, 1], False)
    assert numbers(read_page(file, "00000000", 4)) == ([], False)


def test_what_was_left_behind_or_is_book_keeping_is_no_part_of_it(tmp_path):
    lines = [line(0, None), line(1, 0), line(2, 1), line(3, 1), line(4, 3, type="model_change"), line(5, 4)]
    file = write(tmp_path / "s.jsonl", *lines)
    assert numbers(read_page(file, None, 10)) == ([0, 1, 3, 5], False)
    assert numbers(read_page(file, None, 2)) == ([3, 5], True)


def test_a_torn_line_is_passed_over_and_a_file_that_grows_is_read_again(tmp_path):
    file = write(tmp_path / "s.jsonl", line(0, None), line(1, 0), '{"type": "message", "id": "0000')
    assert numbers(read_page(file, None, 10)) == ([0, 1], False)
    with file.open("a") as more:
        more.write(line(2, 1) + "\n")
    assert numbers(read_page(file, None, 10)) == ([0, 1, 2], False)


def test_what_came_after_a_time_is_another_agents(tmp_path):
    file = write(tmp_path / "s.jsonl", *(line(n, n - 1 if n else None) for n in range(6)))
    assert numbers(read_page(file, None, 10, "2026-01-05T10:00:03.500Z")) == ([0, 1, 2, 3], False)


def test_a_file_that_is_not_there_is_no_history_and_a_loop_in_one_ends(tmp_path):
    assert read_page(tmp_path / "none.jsonl", None, 10) is None
    file = write(tmp_path / "s.jsonl", line(0, 1), line(1, 0))
    page = read_page(file, None, 10)
    assert page is not None
    assert len(page[0]) <= 3


def test_half_a_character_costs_a_replacement_and_no_part_of_the_conversation(tmp_path):
    texts = ["half \\ud83e", "\\uDD80 other", "whole \\ud83e\\udd80", "a path C:\\\\ud800"]
    lines, parent = [], "null"
    for number, text in enumerate(texts):
        message = f'{{"role":"user","content":"{text}"}}'
        head = f'"type":"message","id":"m{number}","parentId":{parent},"timestamp":"2026-01-05T10:00:00.000Z"'
        lines.append(f'{{{head},"message":{message}}}\n')
        parent = f'"m{number}"'
    (tmp_path / "s.jsonl").write_text("".join(lines))
    entries, more = read_page(tmp_path / "s.jsonl", None, 10)
    found = [entry["blocks"][0]["text"] for entry in entries]
    assert found == ["half \ufffd", "\ufffd other", "whole \N{CRAB}", "a path C:\\ud800"]
    assert not more
    strict_json.encode(entries)  # as every answer is


def test_an_entry_of_odd_types_is_passed_over_and_the_others_are_read(tmp_path):
    odd = [
        {"role": "toolResult", "content": 7},
        {"role": []},
        {"role": "toolResult", "content": [{"text": 7}]},
    ]
    lines = [line(1, None), *(line(n, n - 1, message=odd[n - 2]) for n in (2, 3, 4)), line(5, 4)]
    assert numbers(read_page(write(tmp_path / "s", *lines), None, 10)) == ([1, 5], False)


def test_lines_that_no_pi_writes_are_passed_over(tmp_path):
    deep = '{"type":"message","id":"00000009","message":' + "[" * 60_000 + "\n"
    deep_and_whole = line(1, 0, more="@").replace('"@"', "[" * 60_000 + "]" * 60_000)
    file = write(tmp_path / "s.jsonl", line(0, None), deep, deep_and_whole, line(2, 0), line(3, 2))
    with file.open("ab") as more:
        more.write(b'{"type":"message","id":"00000004","parentId":"00000003","message":"\xff"}\n')
        more.write(line(5, 4).encode() + b"\n")
    assert numbers(read_page(file, None, 10)) == ([0, 2, 3, 5], False)


def test_a_pipe_and_what_is_no_path_are_no_history(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), Path("/srv/\0")):
        assert read_page(path, None, 10) is None
