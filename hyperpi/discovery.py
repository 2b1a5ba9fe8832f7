"""mDNS: what this process says of itself on the network, and whom it hears. Candidates: no identity, no
liveness, no trust (`hyperpi/candidates.py`).

One AsyncZeroconf per process, made anew when the addresses of this machine change. Registering takes more
than a second, so it never stands in the way of a start. A machine without multicast works as well with an
address given by hand, and nothing that comes from the network ends whoever listens.
"""

import asyncio
import logging
import secrets
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import zeroconf as mdns
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from hyperpi.address import clean_name
from hyperpi.candidates import MAX_CANDIDATES, MAX_VALUE, Candidate, Heard, Service, candidate_of
from hyperpi.interfaces import interfaces, own_addresses, until_changed

log = logging.getLogger(__name__)
# It warns, with tracebacks, of what every network does: an interface goes, a packet is malformed.
logging.getLogger("zeroconf").setLevel(logging.ERROR)

RESOLVE_MS = 2_000
RESOLVERS = 16  # questions under way at once: a thousand fakes must not make us flood the network
SWEEP_S = 15.0  # what was cut off stays for the 2 min that its records hold, and this
TELL_S = 0.5  # at most one word of changes within this: what is announced in a loop costs little
AGAIN_S = 10.0  # after a failure that is none of our network's changing
CLOSE_S = 1.0  # a goodbye takes a quarter of it
LABEL_BYTES = 56  # DNS allows 63; the rest is for the `-2` of a name that is taken


class Neighbourhood:
    """This process's part in mDNS: says what `say` was told last, hears who announces `kind`.

    `changed` is called after changes of `heard`, at most every TELL_S.
    """

    def __init__(self, kind: str, changed: Callable[[], None]) -> None:
        self.heard = Heard()
        self._kind = kind
        self._changed = changed
        self._service: Service | None = None
        self._said = asyncio.Event()

    def say(self, service: Service) -> None:
        """From now on announce this instead of what was announced before."""
        if service != self._service:
            self._service = service
            self._said.set()

    async def run(self) -> None:
        """Take part until cancelled, then withdraw; nothing that the network does ends it."""
        quiet = False  # what has been logged once is not logged every few seconds
        while True:
            before = interfaces()
            try:
                async with _zeroconf() as opened:
                    await self._take_part(opened, before)
                quiet = False
                log.info("addresses of this machine have changed, mDNS begins anew")
            # A boundary: what strangers send and a changing network may raise anything.
            except Exception as exc:
                if not quiet:
                    log.warning("mDNS is not possible now reason=%s", _reason(exc))
                quiet = True
                await until_changed(before, AGAIN_S)
            self.heard.clear()
            self._changed()

    async def _take_part(self, opened: AsyncZeroconf, before: list[tuple[int | None, str]]) -> None:
        """Until the addresses of this machine change."""
        async with asyncio.TaskGroup() as tasks:
            listener = _Listener(opened, self._kind, self.heard)
            parts = [
                tasks.create_task(self._announce(opened), name="mdns-announce"),
                tasks.create_task(listener.run(), name="mdns-listen"),
                tasks.create_task(self._tell(listener), name="mdns-tell"),
            ]
            await until_changed(before)
            for part in parts:
                part.cancel()

    async def _announce(self, opened: AsyncZeroconf) -> None:
        """What is announced when this ends is withdrawn as `opened` is closed."""
        while True:
            self._said.clear()
            if (service := self._service) is not None:
                info = _info_of(service)
                await (await opened.async_register_service(info, allow_name_change=True))
                log.info("announced by mDNS name=%s port=%d", service.name, service.port)
            await self._said.wait()
            if service is not None:
                await (await opened.async_unregister_service(info))

    async def _tell(self, listener: "_Listener") -> None:
        while True:
            await listener.touched.wait()
            listener.touched.clear()
            self._changed()
            await asyncio.sleep(TELL_S)


@dataclass
class _Listener:
    """Fills `heard` with those who announce one kind of service."""

    opened: AsyncZeroconf
    kind: str
    heard: Heard
    touched: asyncio.Event = field(default_factory=asyncio.Event)
    _unresolved: dict[str, None] = field(default_factory=dict)  # names to ask about, at most MAX_CANDIDATES
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Listen until cancelled."""
        browser = AsyncServiceBrowser(self.opened.zeroconf, self.kind, handlers=[self._told])
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(RESOLVERS):
                    tasks.create_task(self._resolve(), name="mdns-resolve")
                tasks.create_task(self._sweep(), name="mdns-sweep")
        finally:
            await browser.async_cancel()

    def _told(
        self,
        zeroconf: mdns.Zeroconf,
        service_type: str,
        name: str,
        state_change: mdns.ServiceStateChange,
    ) -> None:
        """Called by zeroconf, with names as strangers wrote them."""
        if state_change is mdns.ServiceStateChange.Removed:
            self._unresolved.pop(name, None)
            self._note(self.heard.drop(name))
        elif not self._known_already(name):
            self._ask(name)

    def _ask(self, name: str) -> None:
        if self.heard.has_room_for(name) and len(self._unresolved) < MAX_CANDIDATES:
            self._unresolved[name] = None
            self._wake.set()
        else:
            self.heard.more = True

    def _known_already(self, name: str) -> bool:
        """Most say all in one packet; then nobody need be asked. What can be no name of ours is done with."""
        info = self._info(name)
        if info is None:
            return True
        if not info.load_from_cache(self.opened.zeroconf):
            return False
        self._put(name, info)
        return True

    def _info(self, name: str) -> AsyncServiceInfo | None:
        try:
            return AsyncServiceInfo(self.kind, name)
        except mdns.Error:  # control characters, over-long, or of another kind
            return None

    def _put(self, name: str, info: AsyncServiceInfo) -> None:
        candidate = candidate_of(
            name.removesuffix(f".{self.kind}"),
            info.parsed_addresses(mdns.IPVersion.V4Only),
            info.port,
            info.decoded_properties,
        )
        if candidate is not None:
            self._note(self.heard.put(name, candidate))

    def _note(self, changed: bool) -> None:
        if changed:
            self.touched.set()

    async def _resolve(self) -> None:
        """Ask about one name after another. Who does not answer is not there."""
        while True:
            while not self._unresolved:
                self._wake.clear()
                await self._wake.wait()
            name = next(iter(self._unresolved))
            del self._unresolved[name]
            info = self._info(name)
            if info is not None and await info.async_request(self.opened.zeroconf, RESOLVE_MS):
                self._put(name, info)
            else:
                self._note(self.heard.drop(name))

    async def _sweep(self) -> None:
        """A machine that was cut off says no goodbye: ask whose records have expired."""
        while True:
            await asyncio.sleep(SWEEP_S)
            for name in self.heard.all():
                if not self._known_already(name):
                    self._ask(name)


async def browse(kind: str, limit_s: float) -> AsyncGenerator[Candidate]:
    """Candidates as they are heard of, each again when it changes, for `limit_s`.

    Raises OSError where there is no multicast.
    """
    told: Mapping[str, Candidate] = {}
    deadline = asyncio.get_running_loop().time() + limit_s
    async with _zeroconf() as opened:
        listener = _Listener(opened, kind, Heard())
        listening = asyncio.ensure_future(listener.run())
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    await listener.touched.wait()
                listener.touched.clear()
                before, told = told, listener.heard.all()
                for name, candidate in told.items():
                    if before.get(name) != candidate:
                        yield candidate
        except TimeoutError:
            return
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def _info_of(service: Service) -> AsyncServiceInfo:
    # Dots would make several labels of it, which others than we do not find.
    label = _cut(clean_name(service.name, "hyperpi").replace(".", "-"), LABEL_BYTES)
    return AsyncServiceInfo(
        service.kind,
        f"{label}.{service.kind}",
        service.port,
        addresses=[socket.inet_aton(address) for address in own_addresses()],
        properties={key: _cut(value, MAX_VALUE) for key, value in service.properties.items()},
        # Not our host name: that is for others to announce, and two meshes of one name would share it.
        server=f"hyperpi-{secrets.token_hex(4)}.local.",
    )


def _cut(text: str, size: int) -> str:
    """At most so many bytes of UTF-8."""
    return text.encode()[:size].decode(errors="ignore")


def _reason(exc: BaseException) -> str:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return f"{type(exc).__name__}: {exc}"


@asynccontextmanager
async def _zeroconf() -> AsyncIterator[AsyncZeroconf]:
    """Opened on the interfaces of now; whatever is announced is withdrawn at the end."""
    opened = AsyncZeroconf(interfaces=own_addresses(), ip_version=mdns.IPVersion.V4Only)
    try:
        yield opened
    finally:
        try:
            async with asyncio.timeout(CLOSE_S):
                await opened.async_close()
        except Exception as exc:  # a boundary: its failure must not hide why we close, least of all a cancel
            log.info("mDNS was not closed well reason=%s", _reason(exc))
