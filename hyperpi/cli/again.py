"""Connecting again after a lost connection: a hypivisor that restarts is the same event as a blip."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from hyperpi.cli.client import CALL_S, Client
from hyperpi.cli.wires import ConnectionLost
from hyperpi.cli.words import Json
from hyperpi.errors import HyperPiError, NodeUnreachable, NotFound, NothingThere, Overloaded, Unauthenticated

FIRST_S, LONGEST_S = 0.2, 5.0  # waits between tries, doubled each time, with jitter
ANSWER_S = 15.0  # how long a request that may be repeated is repeated for; a restart takes five
REVOKED = 4001  # close code of the contract: coming back is no use

T = TypeVar("T")


def waits() -> Iterator[float]:
    """Seconds to wait before each try: capped exponential backoff with jitter."""
    wait_s = FIRST_S
    while True:
        yield wait_s * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, hides nothing
        wait_s = min(LONGEST_S, 2 * wait_s)


def reconnected(
    connect: Callable[[], Client], begin: Callable[[Client], T], authority: str, *, until: float
) -> tuple[Client, T]:
    """A new connection on which `begin` has succeeded, tried until then (monotonic seconds).

    Another authority may know less than the first, so what it has not heard of may still be there. Raises
    the last error when the time is over, and at once what trying again cannot mend.
    """
    for wait_s in waits():
        time.sleep(wait_s)
        client: Client | None = None
        try:
            client = connect()
            return client, begin(client)
        except (ConnectionLost, NothingThere, NodeUnreachable, Overloaded, NotFound) as exc:
            if client is not None:
                client.close()
            if time.monotonic() > until or not _may_pass(exc, client, authority):
                raise
        except BaseException:
            if client is not None:
                client.close()
            raise
    raise AssertionError("waits() never ends")


def _may_pass(exc: HyperPiError, client: Client | None, authority: str) -> bool:
    if isinstance(exc, NotFound):
        return client is not None and client.authority != authority
    return not (isinstance(exc, ConnectionLost) and exc.code == REVOKED)


def refuse_if_revoked(lost: ConnectionLost) -> None:
    """Raise Unauthenticated for a connection that was ended because its credential was."""
    if lost.code == REVOKED:
        raise Unauthenticated(
            "the token was revoked or has ended", hint="make a new one with `hyperpi token create`"
        )


def ask_surely(client: Client, connect: Callable[[], Client], method: str, params: Json) -> Any:
    """Call a method that has an idempotency key; when the connection is lost, again on new ones.

    So a request that was on its way while a hypivisor restarted is neither lost nor done twice.
    """
    try:
        return client.call(method, params, CALL_S)
    except ConnectionLost as lost:
        refuse_if_revoked(lost)
    again, result = reconnected(
        connect,
        lambda other: other.call(method, params, CALL_S),
        client.authority,
        until=time.monotonic() + ANSWER_S,
    )
    again.close()
    return result
