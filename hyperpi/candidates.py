"""What we say of ourselves by mDNS, and what strangers say, made harmless and bounded: never facts.

Anybody on the network may say anything, a thousand times: names are cleaned here, before anybody sees them,
what is not understood is dropped, and a full list takes no more. Whoever uses a candidate proves by other
means who it is. Decides; does no I/O.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hyperpi.address import clean_name

HYPIVISOR_TYPE = "_hyperpi._tcp.local."
NODE_TYPE = "_hyperpi-node._tcp.local."

MAX_CANDIDATES = 256
MAX_ADDRESSES = 8  # of one candidate; a machine with more is found by the first ones
MAX_VALUE = 64  # characters of a property; our own are shorter
FINGERPRINT_PREFIX = 16  # characters of the mesh's fingerprint: tells meshes apart, proves nothing

# All that we say: version, state of a node, name and fingerprint of a mesh, id of a node, port for nodes.
PROPERTIES = frozenset({"v", "state", "mesh", "fp", "id", "grpc"})
JOINED, UNJOINED = "joined", "unjoined"


@dataclass(frozen=True, slots=True)
class Service:
    """What this process says of itself. A port of 0: it does not listen to the network."""

    kind: str
    name: str
    port: int
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody says that they are there. A port of 0: they do not listen to the network."""

    name: str
    addresses: tuple[str, ...]
    port: int
    properties: Mapping[str, str]

    def is_of_mesh(self, fingerprint: str) -> bool:
        """Whether it claims to be of the mesh with this fingerprint (base32)."""
        return self.properties.get("fp") == fingerprint[:FINGERPRINT_PREFIX]

    @property
    def grpc_port(self) -> int | None:
        """Where it says that nodes connect; None where it says nothing that can be a port."""
        said = self.properties.get("grpc", "")
        port = int(said) if said.isascii() and said.isdigit() and len(said) <= 5 else 0
        return port if 0 < port < 65_536 else None


def candidate_of(
    name: str, addresses: list[str], port: int | None, properties: Mapping[str, str | None]
) -> Candidate | None:
    """What a stranger said, cleaned and cut; None when it leads nowhere."""
    if not addresses:
        return None
    known = {
        key: value for key, value in properties.items() if key in PROPERTIES and value and value.isprintable()
    }
    return Candidate(
        name=clean_name(name, "nameless"),
        addresses=tuple(addresses[:MAX_ADDRESSES]),
        port=port or 0,
        properties={key: value[:MAX_VALUE] for key, value in known.items()},
    )


class Heard:
    """The candidates that are there now, by the name under which they are announced.

    Full, it keeps those that it has and takes no others: a flood hides late comers until it ends, and can
    push out nobody.
    """

    def __init__(self) -> None:
        self._known: dict[str, Candidate] = {}
        self.more = False  # there were others that found no room

    def __iter__(self) -> Iterator[Candidate]:
        return iter(list(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> dict[str, Candidate]:
        """By the name under which they are announced, as told by them."""
        return dict(self._known)

    def put(self, announced: str, candidate: Candidate) -> bool:
        """Take up or replace; False when nothing changed."""
        if announced not in self._known and len(self._known) >= MAX_CANDIDATES:
            self.more = True
            return False
        if self._known.get(announced) == candidate:
            return False
        self._known[announced] = candidate
        return True

    def drop(self, announced: str) -> bool:
        """It has gone; False when it was not known."""
        if self._known.pop(announced, None) is None:
            return False
        self.more = False  # whoever still has no room says so again
        return True

    def has_room_for(self, announced: str) -> bool:
        """Whether it is worth asking who that is."""
        return announced in self._known or len(self._known) < MAX_CANDIDATES

    def clear(self) -> None:
        """Another network: nobody is known there."""
        self._known.clear()
        self.more = False
