"""Kind terminal: any program, in a terminal. What it shows is all that is known of it."""

from collections.abc import Sequence
from typing import Final

from node.kinds.kind import Held, Kind


def held(_argv: Sequence[str]) -> Held:
    """In a terminal, whatever it is."""
    return Held(terminal=True)


KIND: Final = Kind("terminal", command=(), registers=False, held=held)
