"""A stranger on the network who speaks mDNS by hand: whole announcements, true, false or malformed.

Names are bytes here, since a stranger need not keep to what a library would let through.
"""

import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hosts import PATIENCE_S, Host

GROUP, PORT = "224.0.0.251", 5353
PTR, TXT, SRV, A = 12, 16, 33, 1
IN, FLUSH = 1, 0x8001

Labels = Sequence[bytes]


def _name(labels: Labels) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _record(name: Labels, kind: int, cls: int, ttl_s: int, rest: bytes) -> bytes:
    return _name(name) + struct.pack("!HHIH", kind, cls, ttl_s, len(rest)) + rest


def announcement(
    service: str,
    instance: Labels,
    address: str,
    *,
    port: int = 31417,
    texts: Sequence[bytes] = (),
    ttl_s: int = 120,
) -> bytes:
    """One packet that says all of a service. A ttl of 0 is a goodbye."""
    kind = [part.encode() for part in service.rstrip(".").split(".")]
    full = [*instance, *kind]
    host = [b"h-" + address.replace(".", "-").encode(), b"local"]
    txt = b"".join(bytes([len(text)]) + text for text in texts) or b"\0"
    answers = [
        _record(kind, PTR, IN, ttl_s, _name(full)),
        _record(full, SRV, FLUSH, ttl_s, struct.pack("!HHH", 0, 0, port) + _name(host)),
        _record(full, TXT, FLUSH, ttl_s, txt),
        _record(host, A, FLUSH, ttl_s, socket.inet_aton(address)),
    ]
    return struct.pack("!HHHHHH", 0, 0x8400, 0, len(answers), 0, 0) + b"".join(answers)


def question(service: str) -> bytes:
    """Who announces this kind?"""
    kind = [part.encode() for part in service.rstrip(".").split(".")]
    return struct.pack("!HHHHHH", 0, 0, 1, 0, 0, 0) + _name(kind) + struct.pack("!HH", PTR, IN)


class Stranger:
    """A socket in the group, on a host."""

    def __init__(self, host: Host) -> None:
        self._socket = host.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        own = socket.inet_aton(host.address)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        self._socket.bind(("", PORT))
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + own)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        self._socket.settimeout(PATIENCE_S)

    def __enter__(self) -> "Stranger":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()

    def say(self, packet: bytes) -> None:
        """To everybody on the network."""
        self._socket.sendto(packet, (GROUP, PORT))

    def hear(self, wanted: Callable[[bytes, str], bool]) -> bytes:
        """Wait for a packet that is wanted, given it and its sender's address. Raises TimeoutError."""
        while True:
            packet, (address, _) = self._socket.recvfrom(9_000)
            if wanted(packet, address):
                return packet

    def heard(self) -> Iterator[tuple[bytes, str]]:
        """What has come and was not looked at yet: packets and their senders."""
        self._socket.settimeout(0)
        try:
            while True:
                packet, (address, _) = self._socket.recvfrom(9_000)
                yield packet, address
        except BlockingIOError:
            return
        finally:
            self._socket.settimeout(PATIENCE_S)


@contextmanager
def stranger(host: Host) -> Iterator[Stranger]:
    """A stranger on a host, gone with the block."""
    with Stranger(host) as found:
        yield found
