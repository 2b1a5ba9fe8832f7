"""A replay as an animated picture: what its frames show, how many there are, and what it refuses."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk_rig import small
from PIL import Image, ImageSequence

import pxldisk
from pxldisk import command, film
from pxldisk.rendering import COLOURS
from pxldisk.rows import State

STRIPE, LINE = film._STRIPE, film._LINE
START = 1_767_225_600  # 2026-01-01T00:00:00Z; each commit is a second later


async def write(folder: Path, count: int) -> None:
    times = itertools.count(START)
    async with small(folder, max_banks=2, segment_bytes=2500, clock=lambda: float(next(times))) as disk:
        refs = []
        for number in range(count):
            if not disk.stats().zones["in"].free and len(disk.stats().banks) == 2:
                await disk.consume(refs.pop(0))
            refs.append(await disk.append("in", f"record {number} ".encode() * 5))


@pytest.fixture
def made(folder: Path) -> Path:
    """A disk of two banks with a log of several segments."""
    asyncio.run(write(folder, 30))
    assert len(list((folder / "log").glob("*.pxj"))) > 2
    return folder


def frames_of(file: Path) -> list[Image.Image]:
    with Image.open(file) as opened:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(opened)]


def bank_pixels(frame: Image.Image, place: int) -> bytes:
    """The pixels of the first or the second bank of a frame drawn at scale 1."""
    left = place * (48 + 2 * STRIPE + film._GAP) + STRIPE
    return frame.crop((left, LINE, left + 48, LINE + 10)).tobytes()


def state_colours(frame: Image.Image) -> list[object]:
    return [frame.getpixel((0, LINE + row)) for row in range(10)]


def disk_pixels(png: bytes) -> bytes:
    return b"".join(png[61 + row * 162 :][:144] for row in range(2, 10))


def test_each_frame_of_an_animated_png_has_the_pixels_of_its_commit(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "memory.png"
    done = film.write(made, out, scale=1)
    frames = frames_of(out)
    steps = [step.commit for step in pxldisk.history.steps(made)]
    assert len(frames) == done.frames == done.part.commits == len(steps)
    assert (done.part.first, done.part.last, done.part.banks) == (steps[0], steps[-1], (8, 9))
    for at in (0, 3, len(steps) // 2, len(steps) - 1):
        past = pxldisk.history.replay(made, commit=steps[at])
        for place, number in enumerate(past.pictures):
            assert bank_pixels(frames[at], place)[2 * 144 :] == disk_pixels(past.pictures[number])
    first, last = state_colours(frames[0]), state_colours(frames[-1])
    assert first[2:5] == [COLOURS[State.FREE], COLOURS[State.LIVE], COLOURS[State.FREE]]
    assert COLOURS[State.CONSUMED] not in first and first[3:8] != last[3:8]


def test_a_row_glows_where_it_was_written_and_fades(made: Path, tmp_path: Path) -> None:
    film.write(made, tmp_path / "memory.png", scale=1)
    frames = frames_of(tmp_path / "memory.png")
    right = [frame.getpixel((2 * STRIPE + 48 - 1, LINE + 3)) for frame in frames]
    assert right[0] == film._GLOW[0] and right[1] == film._GLOW[1] and right[4] == film._DARK


def test_a_gif_plays_at_its_speed_and_holds_its_end(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "memory.gif"
    film.write(made, out, fps=20)
    with Image.open(out) as opened:
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(opened)]
        assert opened.info["loop"] == 0
    assert set(durations[:-1]) == {50} and durations[-1] == 2000


def test_a_long_log_gives_every_so_many_commits_one_frame(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film, "MAX_FRAMES", 7)
    told: list[tuple[int, int]] = []
    done = film.write(made, tmp_path / "memory.png", scale=1, tell=lambda *progress: told.append(progress))
    assert done.frames == 7 and told == [(number, 7) for number in range(1, 8)]
    frames = frames_of(tmp_path / "memory.png")
    now = pxldisk.history.replay(made)
    assert bank_pixels(frames[-1], 0)[288:] == disk_pixels(now.pictures[8])
    monkeypatch.setattr(film, "FRAME_BYTES", 5 * 8 * 300 * 42)
    assert film.write(made, tmp_path / "memory.png", scale=1).frames == 5


def test_a_film_of_a_stretch_of_time_has_only_its_commits(made: Path, tmp_path: Path) -> None:
    steps = list(pxldisk.history.steps(made))
    since, until = steps[4].at, steps[9].at
    done = film.write(made, tmp_path / "memory.gif", since=since, until=until)
    assert (done.part.first, done.part.last, done.part.commits) == (steps[4].commit, steps[9].commit, 6)
    with pytest.raises(pxldisk.NotInLog):
        film.write(made, tmp_path / "other.gif", since=steps[-1].at + 1)
    assert not list(tmp_path.glob("other*"))


def test_one_commit_is_a_film_of_one_frame(made: Path, tmp_path: Path) -> None:
    at = next(pxldisk.history.steps(made)).at
    for name in ("memory.gif", "memory.png"):
        assert film.write(made, tmp_path / name, since=at, until=at).frames == 1
        assert len(frames_of(tmp_path / name)) == 1


def test_a_film_begins_later_when_the_log_no_longer_shows_its_beginning(made: Path, tmp_path: Path) -> None:
    picture = made / "log" / "00000001-8.png"
    picture.write_bytes(b"not a picture")
    done = film.write(made, tmp_path / "memory.gif")
    assert done.part.first > 1 and done.part.last == list(pxldisk.history.steps(made))[-1].commit


@pytest.mark.parametrize(("reading", "midway"), [(2, False), (3, False), (3, True)])
def test_a_log_that_is_cut_while_the_film_is_drawn_is_said_so_in_one_line(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reading: int,
    midway: bool,
) -> None:
    play, begun = film.history.play, itertools.count(1)

    def cut_and_play(folder: Path, **times: float | None) -> Iterator[tuple[film.Past, film.Commit]]:
        playing = play(folder, **times)
        if next(begun) == reading:
            if midway:
                yield next(playing)  # the first segment is in memory
            for path in sorted((folder / "log").glob("*.pxj"))[: 1 + midway]:
                path.unlink()
        yield from playing

    monkeypatch.setattr(film.history, "play", cut_and_play)
    assert command.main(["replay", str(made), "--export", str(tmp_path / "memory.gif")]) == 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "draw it again" in said[0]
    assert not list(tmp_path.glob("memory*"))


def test_a_scale_that_takes_too_much_memory_is_refused_in_one_line(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(film, "FRAME_BYTES", 1_000_000)
    out = tmp_path / "memory.png"
    assert command.main(["replay", str(made), "--export", str(out), "--scale", "16"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "try a smaller one" in said and not out.exists()
    assert command.main(["replay", str(made), "--export", str(out), "--scale", "2"]) == 0 and out.exists()


def test_the_command_exports_a_film(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "memory.gif"
    arguments = ["replay", str(made), "--export", str(out), "--from", "2026-01-01T00:00:05", "--json"]
    assert command.main(arguments) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["file"] == str(out) and shown["frames"] == len(frames_of(out)) > 10
    assert shown["from"] >= "2026-01-01T00:00:05"
    assert command.main(["replay", str(made), "--export", str(tmp_path / "no" / "such.gif")]) == 3
    assert "no/such.gif" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--export", "film.mp4"],
        ["--export", "film.gif", "--fps", "0"],
        ["--export", "film.gif", "--scale", "many"],
        ["--export", "film.gif", "--from", "yesterday"],
    ],
)
def test_bad_usage_is_one_line_that_says_what_to_write(
    made: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["replay", str(made), *wrong])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert wrong[-1] in last and any(words in last for words in ("does not end in", "from", "write unix"))
