"""How a front end's streams come back: how long they wait, and what the end of one means."""

import random
from collections.abc import Iterator

import grpc

from hyperpi.errors import HyperPiError, NodeUnreachable, NotFound

RETRY_S = (0.1, 2.0)  # first and longest wait before a stream is opened again


def error_of(exc: grpc.aio.AioRpcError) -> HyperPiError:
    """The status of a stream as an error of ours."""
    details, _, hint = (exc.details() or str(exc.code())).partition("\n")  # see channels.refusal_text
    if exc.code() == grpc.StatusCode.NOT_FOUND:
        return NotFound(details, hint=hint or None)
    if exc.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return NodeUnreachable(details, hint=hint or None)
    return HyperPiError(details, hint=hint or None)


def backoff() -> Iterator[float]:
    """Jittered waits, capped."""
    ceiling, longest = RETRY_S
    while True:
        yield random.uniform(ceiling / 2, ceiling)  # noqa: S311  jitter
        ceiling = min(ceiling * 2, longest)
