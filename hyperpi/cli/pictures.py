"""Pictures that go with a prompt, from files: what may go is checked before anything is sent."""

import base64
from collections.abc import Sequence
from pathlib import Path

from hyperpi.cli.words import Json, one_line
from hyperpi.errors import BadRequest
from hyperpi.pictures import MAX_BYTES, MAX_PICTURES, kind_of

SMALLER = "make it smaller, for instance 1024 pixels wide as JPEG; Pi-DE does that by itself"


def read_pictures(paths: Sequence[Path]) -> list[Json]:
    """The pictures in these files as `images` of agent.prompt. Raises BadRequest."""
    if len(paths) > MAX_PICTURES:
        raise BadRequest(
            f"{len(paths)} pictures: a prompt takes {MAX_PICTURES}", hint="send the others later"
        )
    found: list[Json] = []
    total = 0
    for path in paths:
        shown = one_line(path)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as exc:
            reason = exc.strerror or "it cannot be read"
            raise BadRequest(f"{shown}: {reason}", hint="check the path and its permissions") from None
        mime = kind_of(content)
        if mime is None:
            raise BadRequest(f"{shown} is no picture: PNG, JPEG, GIF or WebP", hint="convert it first")
        total += len(content)
        if total > MAX_BYTES:
            together = "is too large" if len(paths) == 1 else "and those before it are too large together"
            raise BadRequest(
                f"{shown} {together}: a prompt takes {MAX_BYTES // 1000} kB of pictures", hint=SMALLER
            )
        found.append({"mime": mime, "data": base64.b64encode(content).decode()})
    return found
