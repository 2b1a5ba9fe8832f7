"""Where the hypivisor of this node's mesh may be met, and what the network is told of this node."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from hyperpi import discovery
from hyperpi.candidates import HYPIVISOR_TYPE
from hyperpi.errors import HyperPiError
from node import enroll
from node.identity import Membership
from node.link import Target
from node.neighbours import announcement, hypivisor_addresses, to_dial


class Whereabouts:
    """The membership, and every address that is known of its hypivisor."""

    def __init__(
        self, membership: Membership | None, name: Callable[[], str], appeared: Callable[[], None]
    ) -> None:
        """`name`: ours, now. `appeared`: a hypivisor of our mesh has just been heard of."""
        self.membership = membership
        self._name = name
        self._appeared = appeared
        self._neighbourhood = discovery.Neighbourhood(HYPIVISOR_TYPE, self._heard)
        self._announced: set[str] = set()  # addresses of our hypivisor as mDNS tells them
        self._welcomed_by: tuple[str, ...] = ()  # where it let us in last
        self._attempts = 0

    async def run(self) -> None:
        """Listen and announce, until cancelled."""
        await self._neighbourhood.run()

    async def targets(self) -> Sequence[Target]:
        """Where to dial: as last known, then as mDNS says. Trust comes from the mesh's CA alone."""
        member = self.membership
        if member is None:
            return ()
        self._attempts += 1
        trusted = dict.fromkeys((*self._welcomed_by, *member.hypivisors))
        targets: dict[str, Target] = {}
        for known, patience_s in to_dial(tuple(trusted), self._announced, self._attempts):
            host, _, port = known.rpartition(":")
            with suppress(HyperPiError):  # a name that does not resolve now: the next attempt asks again
                for address in await enroll.resolve(host.strip("[]"), int(port)):
                    targets.setdefault(address, Target(address, member.identity, patience_s))
        return tuple(targets.values())

    def welcomed(self, address: str) -> None:
        """The hypivisor let us in there, and we may have another name."""
        self._welcomed_by = (address,)
        self.announce()

    def moved(self, membership: Membership | None) -> None:
        """Another mesh was joined, or this one was left."""
        self.membership = membership
        self._welcomed_by = ()
        self.announce()
        self._heard()

    def announce(self) -> None:
        """Tell the network who we are now."""
        self._neighbourhood.say(announcement(self._name(), self.membership))

    def _heard(self) -> None:
        before, self._announced = (
            self._announced,
            hypivisor_addresses(self.membership, self._neighbourhood.heard),
        )
        if self._announced - before:
            self._appeared()
