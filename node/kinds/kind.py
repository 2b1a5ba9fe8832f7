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
    adapter: Callable[[Sequence[str]], tuple[str, ...]] | None = None  # what is run in its stead, around it
