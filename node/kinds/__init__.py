"""What a node must know of each kind of agent that it can start."""

from dataclasses import dataclass
from typing import Literal

from node.kinds import pi

Stdout = Literal["plain", "pi-rpc"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of program: its default command, and how its keeper treats what it prints."""

    name: str
    command: tuple[str, ...] | None = None  # None: node.toml gives it
    stdout: Stdout = "plain"


KINDS = {"pi": Kind("pi", pi.COMMAND, pi.STDOUT)}


def kind_named(name: str) -> Kind:
    """The kind of that name; one that we do not know is a plain program."""
    return KINDS.get(name, Kind(name))
