"""Events of an agent's stream as values; on the wire they stay encoded JSON.

An agent numbers what it sends; the node gives viewers' `seq`. `stamp` is the one place where an event is
encoded: everything after it copies bytes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from hyperpi import strict_json

DELTA_TYPES = frozenset({"text_delta", "thinking_delta"})

_OURS = frozenset({"seq", "first_seq"})
_NO_TIME = ("at", msgspec.Raw(b"null"))


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a viewer has: everything up to and including `seq` of the ring `epoch`."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The conversation itself changed: an epoch is over, `epoch` is the new one."""

    epoch: str
    reason: str  # new | resume | tree | fork | compact | overrun | lost


class EventHead(msgspec.Struct, frozen=True):
    """What the node needs to see of an event; the rest passes through untouched."""

    type: str
    at: str | msgspec.UnsetType | None = msgspec.UNSET
    seq: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    first_seq: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_stamped(self) -> bool:
        """Whether it already has what only we may give it."""
        return self.seq is not msgspec.UNSET or self.first_seq is not msgspec.UNSET or self.at is None


def read_head(raw: bytes) -> EventHead:
    """Type and time of an encoded event. Raises BadMessage."""
    return strict_json.decode(raw, EventHead)


def stamp(raw: bytes, seq: int, now: str, head: EventHead) -> bytes:
    """The encoded event with its seq in front, and the time of its arrival if it brought none."""
    if head.is_stamped:  # a key twice would let the agent choose its place
        event: dict[str, msgspec.Raw] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        raw = strict_json.encode({k: v for k, v in event.items() if k not in _OURS and (k, v) != _NO_TIME})
    body = raw.lstrip()[1:]
    if not isinstance(head.at, str):
        return b'{"seq":%d,"at":"%s",%s' % (seq, now.encode(), body)
    return b'{"seq":%d,%s' % (seq, body)


def merge(events: Iterable[bytes]) -> Iterator[bytes]:
    """Encoded events with neighbouring deltas of one block joined, for a viewer that cannot keep up.

    A joined event carries `first_seq`..`seq`, so the ranges that a viewer gets stay contiguous.
    """
    held: dict[str, Any] | None = None
    parts: list[str] = []

    def flush() -> Iterator[bytes]:
        nonlocal held
        if held is not None:
            held["delta"] = "".join(parts)
            yield strict_json.encode(held)
            held = None
            parts.clear()

    for raw in events:
        event: dict[str, Any] = msgspec.json.decode(raw)
        if event.get("type") not in DELTA_TYPES:
            yield from flush()
            yield raw
        elif held is not None and _same_block(held, event):
            parts.append(event["delta"])
            held["seq"] = event["seq"]
        else:
            yield from flush()
            held = {**event, "first_seq": event.get("first_seq", event["seq"])}
            parts.append(event["delta"])
    yield from flush()


def _same_block(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(key) == other.get(key) for key in ("type", "message_id", "block"))
