"""What a node says of itself by mDNS, and what of what it hears concerns it. Pure."""

from collections.abc import Collection, Iterable, Sequence

from hyperpi import __version__, secret_text, tls
from hyperpi.candidates import FINGERPRINT_PREFIX, JOINED, NODE_TYPE, UNJOINED, Candidate, Service
from node.identity import Membership

WELCOME_S = 10.0
STRANGER_S = 3.0  # of an address that anybody on the network may have claimed


def announcement(name: str, member: Membership | None) -> Service:
    """Who we are and of which mesh: what others need to find us, and nothing that opens anything.

    Nodes do not listen to the network, so there is no port.
    """
    said = {"v": __version__, "state": UNJOINED}
    if member is not None:
        said |= {
            "state": JOINED,
            "mesh": member.mesh_name,
            "fp": _fingerprint(member)[:FINGERPRINT_PREFIX],
            "id": member.node_id,
        }
    return Service(NODE_TYPE, name, 0, said)


def hypivisor_addresses(member: Membership | None, heard: Iterable[Candidate]) -> set[str]:
    """HOST:PORT where the hypivisor of our mesh may be; another mesh's is none of our business."""
    if member is None:
        return set()
    fingerprint = _fingerprint(member)
    return {
        f"{address}:{candidate.grpc_port}"
        for candidate in heard
        if candidate.grpc_port is not None and candidate.is_of_mesh(fingerprint)
        for address in candidate.addresses
    }


def to_dial(trusted: Sequence[str], heard: Collection[str], attempt: int) -> list[tuple[str, float]]:
    """Addresses for one attempt to link, with the seconds that each may take to welcome us.

    What has let us in before comes every time. Of what the network only claims, and anybody can claim, one
    takes its turn: many of them, or one that never answers, cannot keep us from the others.
    """
    strangers = sorted(set(heard) - set(trusted))
    turn = [strangers[attempt % len(strangers)]] if strangers else []
    return [(address, WELCOME_S if address in trusted else STRANGER_S) for address in (*trusted, *turn)]


def _fingerprint(member: Membership) -> str:
    return secret_text.base32(tls.fingerprint(member.identity.ca_pem))
