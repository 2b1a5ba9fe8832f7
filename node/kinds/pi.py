"""Kind pi: the unmodified pi, in a terminal as if somebody had typed it, or headless.

Its global extension registers it with the node by itself, so its conversation and its terminal are two views
of one session. A headless one reads commands from its stdin, which the keeper holds open.
"""

from collections.abc import Sequence
from typing import Final

from node.kinds.kind import Held, Kind

HEADLESS: Final = ("--mode", "rpc")


def held(argv: Sequence[str]) -> Held:
    """In rpc mode what it prints is a protocol, and dialogs are lines of it."""
    if "--mode" in argv[:-1] and argv[argv.index("--mode") + 1] == "rpc":
        return Held(terminal=False, stdout="pi-rpc")
    return Held(terminal=True)


KIND: Final = Kind("pi", command=("pi",), headless=HEADLESS, held=held)
