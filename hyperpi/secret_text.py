"""Secrets as text, and how two are compared."""

import base64
import hmac

TOKEN_SECRET_BYTES = 20  # 160 bits


def base32(raw: bytes) -> str:
    """Lower-case RFC 4648 base32 without padding."""
    return base64.b32encode(raw).decode().rstrip("=").lower()


def same(one: bytes | str, other: bytes | str) -> bool:
    """Whether two secrets are equal, in time that does not depend on where they differ."""
    left = one.encode() if isinstance(one, str) else one
    right = other.encode() if isinstance(other, str) else other
    return hmac.compare_digest(left, right)
