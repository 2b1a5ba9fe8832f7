"""What strangers say cannot begin a line of the log, nor steer the terminal of whoever reads it."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperpi.cli.processes import set_up_logging
from hyperpi.config import Environment, Home
from hyperpi.log_lines import BESIDE

FORGED = "2026-01-05 10:00:00,000 WARNING hypivisor.trust node joined node=n-evil"
BREAKS = ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\0"]
STEERING = ["\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x9b31m", "\x08" * 8, "\u202e", "\u2066", "\x7f", "\ufeff"]
HOSTILE = [f"den{what}{FORGED}" for what in (*BREAKS, *STEERING)] + ["lone \ud800 surrogate"]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    """The file to which a part logs, as its own command sets that up."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []
    path = tmp_path / "node.log"
    try:
        set_up_logging(Environment(home=Home(tmp_path), log_level="debug"), path)
        yield path
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers, root.level = before, level


def lines(path: Path) -> list[str]:
    """As every program splits them, whatever it takes for the end of a line."""
    return path.read_text("utf-8").splitlines()


@pytest.mark.parametrize("said", HOSTILE, ids=ascii)
def test_one_record_is_one_line_of_printable_text(written: Path, said: str) -> None:
    logging.getLogger("hypivisor.trust").warning("a notice was refused node=%s", said)
    [line] = lines(written)
    assert line.isprintable()
    assert "a notice was refused node=" in line


@pytest.mark.parametrize("said", HOSTILE, ids=ascii)
def test_a_traceback_stands_beside_the_log_and_cannot_pass_for_it(written: Path, said: str) -> None:
    try:
        raise ValueError(said)
    except ValueError:
        logging.getLogger("node.link").exception("a call failed method=%s", said, stack_info=True)
    first, *below = lines(written)
    assert "a call failed" in first
    assert len(below) > 4
    assert all(line.startswith(BESIDE) and line.isprintable() for line in below)


def test_what_is_meant_to_be_read_is_left_as_it_is(written: Path) -> None:
    logging.getLogger("node").info("agent spawned name=%s path=%s", "ünï-日本", "C:\\x y")
    assert lines(written)[0].endswith("INFO node agent spawned name=ünï-日本 path=C:\\x y")
