"""Where the hypivisor is that a machine wants to join: as given, or as mDNS tells."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from hyperpi import discovery
from hyperpi.candidates import FINGERPRINT_PREFIX, HYPIVISOR_TYPE, Candidate
from hyperpi.config import ENROL_PORT
from hyperpi.errors import BadRequest, Conflict, NothingThere

FIND_S = 5.0  # mDNS answers within one; a slow access point takes three
OTHERS_S = 1.0  # after the first one: whether there is a choice to make
SHOWN = 5

T = TypeVar("T")


def host_and_port(address: str) -> tuple[str, int]:
    """HOST[:ENROL_PORT], an IPv6 address in brackets or alone. Raises BadRequest."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]") or (host.count(":") > 0 and not host.startswith("[")):
        return address.strip("[]"), ENROL_PORT
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise BadRequest(f"{port!r} is not a port", hint=f"HOST or HOST:PORT; the enrol port is {ENROL_PORT}")
    return host.strip("[]"), int(port)


async def for_token(fingerprint: str, join: Callable[[str, int], Awaitable[T]]) -> T:
    """Join by the first hypivisor on this network that is of the token's mesh (fingerprint in base32).

    Anybody may claim that mesh, so one that turns out wrong or silent gives way to the next. Raises what the
    last one raised, NothingThere when there was none.
    """
    from node.refusals import BadAnswer, WrongMesh

    others: dict[str, None] = {}
    failed: Exception | None = None
    async with aclosing(_hypivisors(FIND_S)) as heard:
        async for candidate in heard:
            if not candidate.is_of_mesh(fingerprint):
                others[candidate.name] = None
                continue
            for address in candidate.addresses:
                try:
                    return await join(address, candidate.port)
                except (NothingThere, WrongMesh, BadAnswer) as exc:
                    failed = exc
    if failed is not None:
        raise failed
    names = ", ".join(list(others)[:SHOWN])
    raise _none_found(f"; found {names}, but the token is for another mesh" if others else "")


async def for_code(join: Callable[[str, int], Awaitable[T]]) -> T:
    """Join the one mesh on this network. Raises Conflict when there are several, NothingThere for none."""
    found: list[Candidate] = []
    deadline = asyncio.get_running_loop().time() + FIND_S
    async with aclosing(_hypivisors(FIND_S)) as heard:
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    candidate = await anext(heard)
                if not found:
                    deadline = min(deadline, asyncio.get_running_loop().time() + OTHERS_S)
                found.append(candidate)
        except (TimeoutError, StopAsyncIteration):
            pass
    if not found:
        raise _none_found("")
    first = found[0]
    if any(other.properties.get("fp") != first.properties.get("fp") for other in found):
        places = [f"{one.name} at {one.addresses[0]}:{one.port}" for one in found]
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        raise Conflict(
            f"several meshes are on this network: {', '.join(places[:SHOWN])}{more}",
            hint=f"say which, for example: hyperpi node join {first.addresses[0]}:{first.port}",
        )
    failed: Exception | None = None
    for address in first.addresses:
        try:
            return await join(address, first.port)
        except NothingThere as exc:
            failed = exc
    assert failed is not None  # a candidate has an address
    raise failed


async def _hypivisors(limit_s: float) -> AsyncGenerator[Candidate]:
    """Those who say that machines may enrol with them."""
    try:
        async with aclosing(discovery.browse(HYPIVISOR_TYPE, limit_s)) as heard:
            async for candidate in heard:
                if candidate.port and len(candidate.properties.get("fp", "")) == FINGERPRINT_PREFIX:
                    yield candidate
    except OSError as exc:
        raise NothingThere(
            f"mDNS is not possible on this network: {exc.strerror or exc}",
            hint="give the hypivisor's address: hyperpi node join HOST",
        ) from None


def _none_found(but: str) -> NothingThere:
    return NothingThere(
        f"no hypivisor was found on this network{but}",
        hint="give its address, as `hyperpi up` printed it: hyperpi node join HOST:PORT",
    )
