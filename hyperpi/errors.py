"""The error tree of Hyper-Pi.

Raised by meaning, with the values that explain it; `hyperpi.status` maps each class to a gRPC status, a
JSON-RPC code and an HTTP status, and only edges import that table. This module imports nothing.
"""


class HyperPiError(Exception):
    """Something that a caller may be told. `hint` says what to do next, for a person."""

    def __init__(
        self, message: str, *, hint: str | None = None, data: dict[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.hint = hint
        self.data = data or {}


class BadRequest(HyperPiError):
    """The request does not have the shape that the contract gives. Not retryable."""


class BadEnvelope(BadRequest):
    """JSON, but no JSON-RPC 2.0 request: a batch, a number, a binary frame. Not retryable."""


class UnknownMethod(HyperPiError):
    """No such method. Not retryable."""


class Unauthenticated(HyperPiError):
    """No credential, or one that we do not accept."""


class NotForThisRole(HyperPiError):
    """The caller is known, but its role may not do this."""


class NotFound(HyperPiError):
    """No such agent, node, scroll, bank or folder."""


class AmbiguousName(HyperPiError):
    """A name fits several agents; `data["candidates"]` lists them as name@node."""


class Conflict(HyperPiError):
    """Superseded or already taken: another holder, an older boot, a name in use. Not retryable as it is."""


class CursorCompacted(HyperPiError):
    """The log no longer holds that position: take a snapshot, then replay."""


class NodeUnreachable(HyperPiError):
    """The node is known but cannot be asked now. Retry with backoff."""


class RefusedByPolicy(HyperPiError):
    """The node's own policy says no (root, template, limit)."""


class Expired(HyperPiError):
    """A deadline passed before this could be done."""


class Overloaded(HyperPiError):
    """Full or too slow right now: nothing was acknowledged. Retry with backoff."""


class Unusable(HyperPiError):
    """Something of ours here cannot be used: a file, a key, a setting, a disk. A person must decide."""


class NothingThere(HyperPiError):
    """There is no hypivisor and no node to talk to."""


class BadMessage(HyperPiError):
    """A peer sent something that does not decode: `field` and why."""
