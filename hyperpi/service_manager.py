"""What a service manager wants to hear of a service: sd_notify(3)."""

import contextlib
import socket


def tell_ready(address: str | None) -> None:
    """Say that this process serves. Whoever does not listen does not hear it."""
    if address is None:
        return
    place = "\0" + address[1:] if address.startswith("@") else address  # an abstract one
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, contextlib.suppress(OSError):
        told.setblocking(False)
        told.sendto(b"READY=1", place)
