"""What all of the contract is made of: its structs' base, and limits that every edge keeps."""

from typing import Any, TypeVar

import msgspec

from hyperpi.errors import BadRequest

Json = dict[str, Any]

AGENT_STATES = ("starting", "idle", "working", "waiting", "stuck", "exited", "unreachable")
NODE_STATES = ("online", "disconnected", "lost", "left", "pending")
SCROLL_STATES = (
    "accepted",
    "relayed",
    "stored",
    "delivered",
    "answered",
    "expired",
    "refused",
    "unknown",
)

MAX_SCROLL_BYTES = 64 << 10
MAX_FRAME_BYTES = 1 << 20  # a line on the agent socket, a text frame from a viewer
MAX_SEQ = 2**63 - 1  # places in a stream are 64 bits on the wire between machines
MAX_TERMINAL_BYTES = 256 << 10  # of what a terminal showed, in one answer
MAX_ROWS = 4_096  # of one answer
DEFAULT_TTL_S = 86_400
MAX_TTL_S = 30 * 86_400


class Shape(msgspec.Struct, kw_only=True):
    """A value of the contract."""


S = TypeVar("S", bound=Shape)


def params_of(kind: type[S], params: object) -> S:
    """Check params against their struct. Raises BadRequest with the path of what is wrong."""
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as exc:
        raise BadRequest(str(exc), hint="see docs/contract") from None
