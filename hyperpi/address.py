"""Names of things in the mesh: ids, `name@node` addresses, and how a name is made unique."""

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import NewType

from hyperpi.errors import BadRequest

AgentId = NewType("AgentId", str)
NodeId = NewType("NodeId", str)

MAX_NAME = 64  # characters; longer ones break tables, not machines
NAMES = "names are made of letters, digits, `.`, `_` and `-`, at most 64, and are unique on a machine"

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # nothing that looks like something else
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


_TERMINAL = "/tty"


def terminal_stream(agent: str) -> str:
    """The stream of what an agent's terminal shows; the agent's id itself is the stream of its events."""
    return agent + _TERMINAL


def agent_of(stream: str) -> AgentId:
    """Whose stream it is."""
    return AgentId(stream.removesuffix(_TERMINAL))


def is_terminal(stream: str) -> bool:
    """Whether it is a terminal's stream."""
    return stream.endswith(_TERMINAL)


def new_id(prefix: str, length: int = 10) -> str:
    """A short random id such as `a-x7k2m9qfws` (50 bits at length 10): unique in a mesh, cheap in frames."""
    return prefix + "-" + "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(frozen=True, slots=True)
class Address:
    """An agent as people write it: `name`, `name@node`, or an id. `*` stands for all."""

    name: str
    node: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.node}" if self.node else self.name


def parse_address(text: str) -> Address:
    """Split `name@node`. Raises BadRequest for an empty part."""
    name, at, node = text.strip().rpartition("@")
    if not at:
        name, node = node, ""
    if not name or (at and not node):
        raise BadRequest(f"{text!r} is not an agent's name", hint="write an id, NAME or NAME@NODE")
    return Address(name, node or None)


def clean_name(wished: str, fallback: str = "agent") -> str:
    """What a person wished for, as a name that needs no quoting in a shell, an address or a URL."""
    kept = _NOT_IN_NAMES.sub("-", wished.strip()).strip("-.")[:MAX_NAME].strip("-.")
    return kept or fallback


def unique_name(wished: str, taken: Collection[str]) -> str:
    """`wished`, or with the first free suffix: a second `den` becomes `den-2`."""
    if wished not in taken:
        return wished
    count = 2
    while f"{wished}-{count}" in taken:
        count += 1
    return f"{wished}-{count}"
