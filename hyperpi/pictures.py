"""Pictures of a prompt: which kinds there are, and how large they may be.

A prompt travels as one line of at most 1 MiB to its agent, its pictures in base64 among it.
"""

import base64
import binascii
from collections.abc import Sequence

from hyperpi import contract
from hyperpi.contract import Json
from hyperpi.errors import BadRequest

MAX_PICTURES = 8
MAX_BYTES = 540_000  # of all pictures of one prompt: 720 KB as base64

_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


def kind_of(picture: bytes) -> str | None:
    """Its MIME type by how it begins; None for what is no picture that models take."""
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for begins, mime in _BEGINNINGS.items() if picture.startswith(begins)), None)


def checked(pictures: Sequence[contract.Picture]) -> list[Json]:
    """Pictures as agents get them, `{mime, data}`; the kind is what they are, not what was said.

    Raises BadRequest.
    """
    if len(pictures) > MAX_PICTURES:
        raise BadRequest(f"a prompt has at most {MAX_PICTURES} pictures")
    found: list[Json] = []
    total = 0
    for picture in pictures:
        if picture.data is None:
            raise BadRequest(
                "a picture has its bytes in `data`", hint="an upload is known to its Pi-DE alone"
            )
        try:
            content = base64.b64decode(picture.data, validate=True)
        except (binascii.Error, ValueError):
            raise BadRequest("the data of a picture must be base64") from None
        mime = kind_of(content)
        if mime is None:
            raise BadRequest("a picture is PNG, JPEG, GIF or WebP")
        total += len(content)
        if total > MAX_BYTES:
            raise BadRequest(
                f"the pictures of a prompt have at most {MAX_BYTES:,} bytes", hint="scale them down"
            )
        found.append({"mime": mime, "data": picture.data})
    return found
