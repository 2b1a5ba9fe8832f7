"""What the hypivisor says of itself by mDNS, and which machines around it could join. Pure."""

from collections.abc import Collection, Iterable

from hyperpi import __version__, contract
from hyperpi.candidates import FINGERPRINT_PREFIX, HYPIVISOR_TYPE, UNJOINED, Candidate, Service


def announcement(mesh: str, fingerprint: str, grpc_port: int, enrol_port: int) -> Service:
    """Where machines enrol and connect; the fingerprint (base32) tells this mesh from others."""
    said = {"v": __version__, "grpc": str(grpc_port), "fp": fingerprint[:FINGERPRINT_PREFIX]}
    return Service(HYPIVISOR_TYPE, mesh, enrol_port, said)


def unjoined(heard: Iterable[Candidate], waiting: Collection[str]) -> list[contract.Nearby]:
    """Machines that say that they run a node and are in no mesh, by name.

    Those whose address is among the `waiting` have asked already and are listed there.
    """
    found = [
        contract.Nearby(
            name=candidate.name,
            addresses=list(candidate.addresses),
            version=candidate.properties.get("v", ""),
        )
        for candidate in heard
        if candidate.properties.get("state") == UNJOINED and not set(waiting) & set(candidate.addresses)
    ]
    return sorted(found, key=lambda nearby: nearby.name)
