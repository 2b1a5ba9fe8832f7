"""Text for people."""

import json

import pytest

from hyperpi.cli import output, words


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("1h30m", 5400), ("2d", 172_800), ("1.5h", 5400)],
)
def test_a_duration_is_read(text: str, seconds: float):
    assert words.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "5x", "-5m", "1h 30m", "1h30", "٣h!", "nan", "1e3"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a duration"):
        words.parse_duration(text)


def test_times_are_said_relative_to_now():
    now = 1_800_000_000.0
    at = "2027-01-15T08:00:00.000Z"
    assert words.ago(at, now) == "now"
    assert words.ago(at, now + 59) == "59s ago"
    assert words.ago(at, now + 3_700) == "1h ago"
    assert words.ago(at, now - 120) == "in 2m"
    assert words.ago(None, now) == "-"


def test_a_long_folder_keeps_its_beginning_and_its_end():
    assert words.folder("/home/ann/code/site", "/home/ann") == "~/code/site"
    assert words.folder("/home/anna", "/home/ann") == "/home/anna"
    assert words.folder("/home/ann", "/home/ann") == "~"
    short = words.folder("/srv/" + "deep/" * 30 + "site", "/home/ann", limit=30)
    assert len(short) <= 30
    assert short.startswith("/…/")
    assert short.endswith("/deep/site")


def test_json_never_carries_what_a_terminal_acts_on():
    value = {"x": "\x9b\x7f\u202e\u2028\ud800 ü 日本"}
    text = output.to_json(value)
    assert text.isprintable()
    assert "ü 日本" in text
    assert json.loads(text) == value


def test_a_table_fits_the_terminal_and_its_first_column_gives_last():
    rows = [["frontend@den", "a very long folder indeed, longer than all", "idle"]]
    for width in (80, 60, 40, 30):
        lines = output.table_lines(("AGENT", "FOLDER", "STATE"), rows, width, coloured=False)
        assert max(map(len, lines)) <= width
        assert "frontend@den" in lines[1]
    assert output.table_lines(("A",), [["x" * 300]], None, coloured=False)[1] == "x" * 300


def test_a_table_aligns_what_is_wide():
    rows = [["日本語", "x"], ["abc", "y"]]
    _, first, second = output.table_lines(("NAME", "B"), rows, None, coloured=False)
    assert first == "日本語  x"
    assert second == "abc     y"


def test_a_name_from_right_to_left_moves_no_column_on_a_terminal_and_is_whole_for_programs():
    name = "\u05d3\u05df"
    rows = [[name, "12"], ["den", "34"]]
    seen = output.table_lines(("NAME", "N"), rows, 80, coloured=False)
    assert seen[1] == f"\u2068{name}\u2069    12"
    assert seen[2] == "den   34"
    piped = output.table_lines(("NAME", "N"), rows, None, coloured=False)
    assert piped[1] == f"{name}    12"


def test_what_turns_the_direction_of_text_is_not_printed():
    assert words.one_line("\u202egnp.exe\u2069\u200f") == "gnp.exe"
    assert "\u202e" not in output.to_json({"name": "\u202egnp.exe"})


def test_colours_do_not_count_as_width():
    rows = [[output.Cell("ab", "good"), "x"]]
    coloured = output.table_lines(("NAME", "B"), rows, 80, coloured=True)[1]
    assert coloured == "\x1b[32mab\x1b[0m    x"
