"""Pictures of a prompt are what they say, and few and small enough to travel."""

import base64

import pytest

from hyperpi import pictures
from hyperpi.contract import Picture
from hyperpi.errors import BadRequest

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40


def told(content: bytes, **more: str) -> Picture:
    return Picture(data=base64.b64encode(content).decode(), **more)


def test_the_kind_is_what_it_is_and_not_what_was_said() -> None:
    assert pictures.checked([told(PNG, mime="text/html")]) == [
        {"mime": "image/png", "data": base64.b64encode(PNG).decode()}
    ]
    assert pictures.kind_of(b"RIFF0000WEBPVP8 ") == "image/webp"
    assert pictures.kind_of(b"\xff\xd8\xff\xe0") == "image/jpeg"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([told(b"<svg onload=alert(1)>")], "PNG, JPEG"),
        ([Picture(data="not base64!")], "base64"),
        ([Picture(upload="u-1")], "its bytes"),
        ([told(PNG)] * 9, "at most 8"),
        ([told(PNG + bytes(300_000))] * 2, "bytes"),
    ],
)
def test_what_is_none_or_too_large_is_refused(given: list[Picture], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        pictures.checked(given)
