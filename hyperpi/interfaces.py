"""The addresses of this machine, and word of their changing."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import ifaddr

# Where the system does not tell; a look takes 0.1 ms, and 2 ms or more with a hundred interfaces.
LOOK_S = 3.0
DOUBT_S = 60.0  # where it tells: a look all the same
SETTLE_S = 0.5  # an old address goes and the new one comes: one change
RTMGRP_IPV4_IFADDR = 0x10  # linux/rtnetlink.h
VIRTUAL = ("docker", "br-", "veth", "virbr", "cni", "flannel", "kube")  # reach nobody else's machine


def own_addresses() -> list[str]:
    """IPv4 addresses of this machine that another one may reach, best first; else loopback."""
    return [address for _, address in interfaces()] or ["127.0.0.1"]


def interfaces() -> list[tuple[int | None, str]]:
    """Index and address; the index tells an interface from another that got its address."""
    return [
        (adapter.index, str(ip.ip))
        for adapter in ifaddr.get_adapters()
        if not adapter.name.startswith(VIRTUAL)
        for ip in adapter.ips
        if ip.is_IPv4 and not str(ip.ip).startswith(("127.", "169.254."))
    ]


async def until_changed(before: list[tuple[int | None, str]], limit_s: float | None = None) -> None:
    """Return when the interfaces are not those any more, or after `limit_s`."""
    with _subscribed() as news, contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while interfaces() == before:
                await _word(news)


@contextlib.contextmanager
def _subscribed() -> Iterator[socket.socket | None]:
    """A socket that has something to read when an address came or went; None where there is no such thing."""
    if not hasattr(socket, "AF_NETLINK"):
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
            news = stack.enter_context(socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE))
            news.bind((0, RTMGRP_IPV4_IFADDR))
        except OSError:  # a sandbox
            yield None
        else:
            yield news


async def _word(news: socket.socket | None) -> None:
    """Return when it is time for another look."""
    if news is None:
        await asyncio.sleep(LOOK_S)
        return
    with contextlib.suppress(TimeoutError, OSError):  # OSError: more news than the socket could hold
        async with asyncio.timeout(DOUBT_S):
            await asyncio.get_running_loop().sock_recv(news, 4096)
    await asyncio.sleep(SETTLE_S)
    with contextlib.suppress(OSError):
        while news.recv(4096):
            pass
