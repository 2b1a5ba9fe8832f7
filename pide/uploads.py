"""Pictures that were uploaded for a prompt: in memory, of whoever uploaded them, for an hour at most."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hyperpi.contract import Json
from hyperpi.errors import NotFound, Overloaded

KEPT_S = 3_600.0
MAX_BYTES_EACH = 8 << 20  # of one session or token
MAX_BYTES = 64 << 20  # of all


@dataclass(frozen=True, slots=True)
class Upload:
    """One picture."""

    owner: str  # the id of the session or token that it came with
    mime: str
    data: str  # base64
    expires: float  # of the clock


class Uploads:
    """By an id that only its owner can use."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, Upload] = OrderedDict()

    def put(self, owner: str, mime: str, data: str) -> str:
        """Keep a picture; its id. Raises Overloaded."""
        self._forget(lambda upload: upload.expires <= self._clock())
        theirs = sum(len(one.data) for one in self._kept.values() if one.owner == owner)
        every = sum(len(one.data) for one in self._kept.values())
        if theirs + len(data) > MAX_BYTES_EACH or every + len(data) > MAX_BYTES:
            raise Overloaded("too many pictures wait for their prompts", hint="send them, or wait an hour")
        name = f"u-{secrets.token_urlsafe(12)}"
        self._kept[name] = Upload(owner, mime, data, self._clock() + KEPT_S)
        return name

    def end(self, owner: str) -> None:
        """Their session or token has ended."""
        self._forget(lambda upload: upload.owner == owner)

    def _forget(self, gone: Callable[[Upload], bool]) -> None:
        for name in [name for name, upload in self._kept.items() if gone(upload)]:
            del self._kept[name]

    def fill(self, owner: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """A prompt with the pictures themselves in place of their ids. Raises NotFound."""
        images = params.get("images")
        if not isinstance(images, list) or not any(
            isinstance(one, dict) and "upload" in one for one in images
        ):
            return params
        return {**params, "images": [self._filled(owner, one) for one in images]}

    def _filled(self, owner: str, image: Json) -> Json:
        if "upload" not in image:
            return image
        upload = self._kept.get(str(image["upload"]))
        if upload is None or upload.owner != owner or upload.expires <= self._clock():
            raise NotFound("no such upload, or its hour is over", hint="upload the picture again")
        return {"mime": upload.mime, "data": upload.data}
