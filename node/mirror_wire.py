"""Values of mirrors as frames of the Link, and back. Nothing from the wire is believed beyond its shape."""

import uuid
from dataclasses import dataclass

from hyperpi.errors import BadMessage
from hyperpi.wire.hyperpi.v1 import mesh_pb2
from node.mirror_flow import PIECE_BYTES, Head
from pxldisk import Piece, Place
from pxldisk.shipping import Kind

DIGEST_BYTES = 32  # of SHA-256
MAX_COUNT = 1 << 62  # numbers of commits, segments and bytes; more would not fit a file


@dataclass(frozen=True, slots=True)
class Held:
    """How a held copy stood to its disk when its holder was last told. `heard_at`: Unix seconds."""

    copy: int
    commit: int
    head: Head
    heard_at: float


@dataclass(frozen=True, slots=True)
class Offer:
    """A log that can be had. `size`: bytes to carry when nothing of it is there yet."""

    disk: uuid.UUID
    head: Head
    size: int
    held: Held | None = None  # of a copy that is sent back


def head_to_wire(head: Head) -> mesh_pb2.MirrorHead:
    """A head as a frame's part."""
    return mesh_pb2.MirrorHead(
        commit=head.commit, behind_bytes=head.behind_bytes, behind_s=head.behind_s, at=head.at
    )


def head_from_wire(wire: mesh_pb2.MirrorHead) -> Head:
    """Raises BadMessage."""
    if not (0.0 <= wire.behind_s < 1e10 and 0.0 <= wire.at < 1e11):  # also refuses NaN
        raise BadMessage("a head's times are no times")
    return Head(_count(wire.commit), _count(wire.behind_bytes), wire.behind_s, wire.at)


def offer_to_wire(offer: Offer) -> mesh_pb2.MirrorOffer:
    """An offer as a frame's body."""
    held = offer.held
    return mesh_pb2.MirrorOffer(
        disk=offer.disk.bytes,
        head=head_to_wire(offer.head),
        bytes=offer.size,
        held=None
        if held is None
        else mesh_pb2.MirrorHeld(
            copy=held.copy, commit=held.commit, head=head_to_wire(held.head), heard_at=held.heard_at
        ),
    )


def offer_from_wire(wire: mesh_pb2.MirrorOffer) -> Offer:
    """Raises BadMessage."""
    held = None
    if wire.HasField("held"):
        told = wire.held
        if not 0.0 <= told.heard_at < 1e11:
            raise BadMessage("an offer's time is no time")
        held = Held(told.copy, _count(told.commit), head_from_wire(told.head), told.heard_at)
    return Offer(_disk(wire.disk), head_from_wire(wire.head), _count(wire.bytes), held)


def place_to_wire(place: Place | None) -> mesh_pb2.MirrorPlace:
    """A place as a frame's body; none is an empty one."""
    if place is None:
        return mesh_pb2.MirrorPlace()
    return mesh_pb2.MirrorPlace(
        disk=place.disk_id.bytes,
        segment=place.segment,
        offset=place.offset,
        commit=place.commit,
        digest=place.digest,
    )


def place_from_wire(wire: mesh_pb2.MirrorPlace) -> Place | None:
    """Raises BadMessage."""
    if not wire.disk:
        return None
    if len(wire.digest) != DIGEST_BYTES:
        raise BadMessage(f"a digest of {len(wire.digest)} bytes")
    return Place(
        _disk(wire.disk), _count(wire.segment), _count(wire.offset), _count(wire.commit), bytes(wire.digest)
    )


def piece_to_wire(piece: Piece, head: Head) -> mesh_pb2.MirrorPiece:
    """A piece as a frame's body."""
    return mesh_pb2.MirrorPiece(
        kind=piece.kind,
        segment=piece.segment,
        bank=piece.bank,
        offset=piece.offset,
        commit=piece.commit,
        more=piece.more,
        content=piece.content,
        head=head_to_wire(head),
    )


def piece_from_wire(wire: mesh_pb2.MirrorPiece) -> tuple[Piece, Head]:
    """Raises BadMessage."""
    try:
        kind = Kind(wire.kind)
    except ValueError:
        raise BadMessage(f"a piece of an unknown kind {wire.kind}") from None
    if not 0 < len(wire.content) <= PIECE_BYTES:
        raise BadMessage(f"a piece of {len(wire.content)} bytes")
    if not 0 < wire.segment < 100_000_000 or wire.bank > 65_535:
        raise BadMessage(f"a piece of segment {wire.segment}, bank {wire.bank}")
    offset, commit = _count(wire.offset), _count(wire.commit)
    piece = Piece(kind, wire.segment, wire.bank, offset, commit, wire.more, wire.content)
    return piece, head_from_wire(wire.head)


def _disk(raw: bytes) -> uuid.UUID:
    if len(raw) != 16:
        raise BadMessage("a disk's id has 16 bytes")
    return uuid.UUID(bytes=raw)


def _count(number: int) -> int:
    if number > MAX_COUNT:
        raise BadMessage(f"{number} is too large for a place")
    return number
