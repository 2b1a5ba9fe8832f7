"""What this machine's owner says about copies of disks: the table [mirrors] of node.toml. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from node.mirror_flow import DEFAULT_RATE

MEBIBYTE = 1 << 20
DEFAULT_MIB = 256


@dataclass(frozen=True, slots=True)
class MirrorPolicy:
    """Whether copies of other machines' disks are held here, how much of them, and how fast ours are sent."""

    accept: bool = True  # machines of one mesh are of one owner's, or of people who trust one another
    max_bytes: int = DEFAULT_MIB * MEBIBYTE  # of all copies together; a copy of a busy disk takes 5 to 10 MiB
    rate: int = DEFAULT_RATE  # bytes a second, of all copies that are sent from here


DEFAULT_TEXT = f"""\
# Copies of PXLDisks: those of other machines of the mesh that are held here, and how fast ours is sent.
[mirrors]
# accept = true
# max_mib = {DEFAULT_MIB}        # of all copies that are held here
# rate_kib = {DEFAULT_RATE // 1024}      # a second, of all that is sent from here
"""


def parse_mirrors(table: Mapping[str, object]) -> MirrorPolicy:
    """The table's meaning. Raises ValueError with one line that names the key."""
    for key in table:
        if key not in ("accept", "max_mib", "rate_kib"):
            raise ValueError(f"unknown key mirrors.{key}; known are accept, max_mib, rate_kib")
    accept = table.get("accept", True)
    if not isinstance(accept, bool):
        raise ValueError("mirrors.accept must be true or false")
    return MirrorPolicy(
        accept,
        _number(table, "max_mib", DEFAULT_MIB) * MEBIBYTE,
        _number(table, "rate_kib", DEFAULT_RATE // 1024) * 1024,
    )


def _number(table: Mapping[str, object], key: str, default: int) -> int:
    found = table.get(key, default)
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= 1 << 20:
        raise ValueError(f"mirrors.{key} must be a whole number from 1 to {1 << 20}")
    return found
