"""Uploads for prompts: of their owner alone, bounded, and gone in time."""

import pytest

from hyperpi.errors import NotFound, Overloaded
from pide import uploads
from pide.uploads import Uploads


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def asked(*names: str) -> dict[str, object]:
    return {"text": "look", "images": [{"upload": name} for name in names]}


def test_a_prompt_gets_the_picture_in_place_of_its_id() -> None:
    kept = Uploads(Clock())
    name = kept.put("s-1", "image/png", "AAAA")
    assert kept.fill("s-1", asked(name)) == {
        "text": "look",
        "images": [{"mime": "image/png", "data": "AAAA"}],
    }
    inline = {"images": [{"mime": "image/png", "data": "BBBB"}]}
    assert kept.fill("s-1", inline) is inline


def test_it_is_nobody_elses_and_ends_with_the_session_or_the_hour() -> None:
    clock = Clock()
    kept = Uploads(clock)
    name = kept.put("s-1", "image/png", "AAAA")
    with pytest.raises(NotFound):
        kept.fill("s-2", asked(name))
    kept.end("s-1")
    with pytest.raises(NotFound):
        kept.fill("s-1", asked(name))
    name = kept.put("s-1", "image/png", "AAAA")
    clock.now = uploads.KEPT_S
    with pytest.raises(NotFound):
        kept.fill("s-1", asked(name))


def test_memory_is_bounded_for_each_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES_EACH", 8)
    monkeypatch.setattr(uploads, "MAX_BYTES", 12)
    clock = Clock()
    kept = Uploads(clock)
    kept.put("s-1", "image/png", "AAAAAAAA")
    with pytest.raises(Overloaded):
        kept.put("s-1", "image/png", "A")
    kept.put("s-2", "image/png", "AAAA")
    with pytest.raises(Overloaded):
        kept.put("s-3", "image/png", "A")
    clock.now = uploads.KEPT_S
    kept.put("s-1", "image/png", "AAAAAAAA")
