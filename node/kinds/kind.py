"""One kind of agent, as the node sees it that starts one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Stdout = Literal["plain", "pi-rpc"]


@dataclass(frozen=True, slots=True)
class Held:
    """How a keeper holds a program: in a terminal, or by pipes, whose output it may have to understand."""

    terminal: bool
    stdout: Stdout = "plain"


@dataclass(frozen=True, slots=True)
class Past:
    """The conversation that an ended agent leaves behind, as far as it told of it."""

    session: str | None  # its id
    file: str | None  # where it stands


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a new agent is started that goes on with a past one's conversation."""

    args: tuple[str, ...]
    session: str | None = None  # the id that an adapter loads


def unknown(_past: Past) -> bool:
    """Only the program itself could tell, so it is asked."""
    return True


def by_pipes(_argv: Sequence[str]) -> Held:
    """A program without a terminal."""
    return Held(terminal=False)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of program. Its command is what node.toml says, else `command`; None: only node.toml has it."""

    name: str
    command: tuple[str, ...] | None = None  # (): whoever starts it names the program
    headless: tuple[str, ...] | None = None  # arguments that make it do without a terminal
    registers: bool = True  # it speaks the agent socket by itself; else its terminal is all there is
    held: Callable[[Sequence[str]], Held] = by_pipes
    # What is run in its stead, around it; with a session's id it loads that one.
    adapter: Callable[[Sequence[str], str | None], tuple[str, ...]] | None = None
    # How to go on, from the arguments that it was started with; None: this past cannot be gone on with.
    resumed: Callable[[Sequence[str], Past], Resumption | None] | None = None
    left: Callable[[Past], bool] = unknown  # whether that past is still there; may block
