"""What lets a machine in: a token that names the mesh, or six digits that two people compare."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field

from hyperpi import secret_text
from hyperpi.errors import BadRequest

_JOIN_TOKEN = re.compile(r"hp1-([a-z2-7]{52})-([a-z2-7]{8})\.([a-z2-7]{26,64})")


class BadJoinToken(BadRequest):
    """The text is not a join token. Not retryable."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    """`hp1-<CA fingerprint, base32>-<id>.<secret>`: whom to trust, and the right to join once."""

    ca_fingerprint: bytes
    id: str
    secret: str = field(repr=False)


def format_join_token(token: JoinToken) -> str:
    """The text form of a join token, lower case."""
    return f"hp1-{secret_text.base32(token.ca_fingerprint)}-{token.id}.{token.secret}"


def parse_join_token(text: str) -> JoinToken:
    """Read a join token, upper or lower case, blanks around it allowed. Raises BadJoinToken."""
    match = _JOIN_TOKEN.fullmatch(text.strip().lower())
    if match is None:
        raise BadJoinToken(
            "this is not a join token", hint="make one with `hyperpi token create --role node`"
        )
    try:
        found = base64.b32decode(match[1].upper() + "====")
    except binascii.Error:
        raise BadJoinToken("the join token is damaged", hint="copy it again, whole") from None
    return JoinToken(found, match[2], match[3])


def join_commitment(nonce: bytes) -> bytes:
    """What the hypivisor shows before it sees the node's key, so that it cannot choose the code."""
    return hashlib.sha256(b"hyperpi join commitment v1" + nonce).digest()


def join_code(ca_fingerprint: bytes, node_key: bytes, node_nonce: bytes, server_nonce: bytes) -> str:
    """The six digits that both sides show, from all that an impostor would have to change.

    Every part is hashed with its length first, so that no two sets of parts read the same. The scheme is
    commit, then reveal, as in ZRTP's short authentication string (RFC 6189, 4.4.1.1): an impostor gets one
    guess in a million per attempt that two people look at.
    """
    digest = hashlib.sha256(b"hyperpi join code v1")
    for part in (ca_fingerprint, node_key, node_nonce, server_nonce):
        digest.update(len(part).to_bytes(4) + part)
    return f"{int.from_bytes(digest.digest()[:8]) % 1_000_000:06d}"
