"""mDNS: where parts of the mesh listen on this network. Candidates: no identity, no liveness, no trust.

One AsyncZeroconf per process. Registering takes more than a second, so it never stands in the way of a
start; a machine without multicast works as well with an address given by hand.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import ifaddr
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

log = logging.getLogger(__name__)

HYPIVISOR_TYPE = "_hyperpi._tcp.local."
NODE_TYPE = "_hyperpi-node._tcp.local."
MAX_CANDIDATES = 256
RESOLVE_MS = 2_000
VIRTUAL = ("docker", "br-", "veth", "virbr", "cni", "flannel", "kube")  # reach nobody else's machine


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody says that they listen there."""

    name: str
    addresses: tuple[str, ...]
    port: int
    properties: Mapping[str, str]


def own_addresses() -> list[str]:
    """IPv4 addresses of this machine that another one may reach, best first; else loopback."""
    found = [
        str(ip.ip)
        for adapter in ifaddr.get_adapters()
        if not adapter.name.startswith(VIRTUAL)
        for ip in adapter.ips
        if ip.is_IPv4 and not str(ip.ip).startswith(("127.", "169.254."))
    ]
    return found or ["127.0.0.1"]


async def announce(kind: str, name: str, port: int, properties: Mapping[str, str]) -> None:
    """Announce a service until cancelled. A network without multicast is logged, never raised."""
    try:
        async with _zeroconf() as zeroconf:
            info = AsyncServiceInfo(
                kind,
                f"{name}.{kind}",
                port,
                addresses=[socket.inet_aton(address) for address in own_addresses()],
                properties=dict(properties),
                server=f"{name}.local.",
            )
            await zeroconf.async_register_service(info, allow_name_change=True)
            log.info("announced by mDNS name=%s port=%d", name, port)
            try:
                await asyncio.Event().wait()
            finally:
                await zeroconf.async_unregister_service(info)
    except OSError as exc:
        log.warning("mDNS is not possible here reason=%s", exc)


async def browse(kind: str) -> AsyncIterator[Candidate]:
    """Candidates as they are heard of, while the caller iterates. Raises OSError without multicast."""
    heard: asyncio.Queue[str] = asyncio.Queue(MAX_CANDIDATES)

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is not ServiceStateChange.Removed and not heard.full():
            heard.put_nowait(name)

    async with _zeroconf() as zeroconf:
        browser = AsyncServiceBrowser(zeroconf.zeroconf, kind, handlers=[changed])
        try:
            while True:
                name = await heard.get()
                info = AsyncServiceInfo(kind, name)
                if await info.async_request(zeroconf.zeroconf, RESOLVE_MS) and info.port:
                    yield Candidate(
                        name=name.removesuffix(f".{kind}"),
                        addresses=tuple(info.parsed_addresses(IPVersion.V4Only)),
                        port=info.port,
                        properties={key: value or "" for key, value in info.decoded_properties.items()},
                    )
        finally:
            await browser.async_cancel()


@asynccontextmanager
async def _zeroconf() -> AsyncIterator[AsyncZeroconf]:
    zeroconf = AsyncZeroconf(interfaces=own_addresses(), ip_version=IPVersion.V4Only)
    try:
        yield zeroconf
    finally:
        await zeroconf.async_close()
