"""Failed attempts to get in: how many are too many, per address and altogether, also over restarts.

Whoever comes over the local control socket is not asked here, so that guessing from the network can never
lock the owner out of the machine. Sessions that exist are not affected either: only new credentials are.
"""

import ipaddress
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from hyperpi.database import StoreUnwritable
from hyperpi.errors import Overloaded
from hypivisor.store import Store

WINDOW_S = 900.0
PER_ADDRESS = 10  # a person who mistypes stays below it
OVERALL = 200  # guesses per window whatever the number of addresses; nobody mistypes that often


class TooManyAttempts(Overloaded):
    """Too many failures from this address, or altogether. `data["retry_after_s"]` says how long to wait."""


class AttemptLimiter:
    """Counts failures of one kind (`scope`) in a sliding window. For one thread."""

    def __init__(
        self,
        scope: str,
        store: Store,
        clock: Callable[[], float],
        *,
        per_address: int = PER_ADDRESS,
        overall: int = OVERALL,
        window_s: float = WINDOW_S,
    ) -> None:
        self._scope = scope
        self._store = store
        self._clock = clock
        self._per_address = per_address
        self._overall = overall
        self._window_s = window_s
        # Never longer than `overall`: at that number nothing is tried any more, so nothing can fail.
        self._failures: deque[tuple[str, float]] = deque(store.failures(scope, clock() - window_s))

    def check(self, address: str) -> None:
        """Raise TooManyAttempts when this address, or everybody, has to wait. Before any comparison."""
        now = self._clock()
        while self._failures and not now - self._window_s < self._failures[0][1] <= now:
            self._failures.popleft()  # too old, or of a clock that has been set back since
        key = address_key(address)
        own = [at for who, at in self._failures if who == key]
        waits: list[float] = []
        if len(own) >= self._per_address:
            waits.append(own[-self._per_address] + self._window_s - now)
        if len(self._failures) >= self._overall:
            waits.append(self._failures[-self._overall][1] + self._window_s - now)
        if waits:
            raise TooManyAttempts(
                "too many failed attempts",
                hint=f"wait {max(waits):.0f} s, or use the command on the hypivisor's own machine",
                data={"retry_after_s": round(max(waits), 1)},
            )

    def failed(self, address: str) -> None:
        """Count a failure, durably unless the disk is full: then as long as this process lives."""
        now = self._clock()
        key = address_key(address)
        self._failures.append((key, now))
        with suppress(StoreUnwritable):
            self._store.add_failure(self._scope, key, now, forget_before=now - self._window_s)


def address_key(address: str) -> str:
    """What one attacker has one of: an IPv4 address, or an IPv6 /64 (a host has 2**64 of those)."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        if not ip.is_loopback:
            return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
