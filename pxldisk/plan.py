"""One commit on its way: what it will write, what it adds and consumes, what applying it did. Values."""

from dataclasses import dataclass, field

from .png import Picture
from .rows import State
from .superblock import Superblock
from .values import RowChange, RowRef


@dataclass(frozen=True, slots=True)
class Image:
    """What one row is to hold, without its padding."""

    bank: int
    row: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Stroke:
    """Bytes to write in place into a bank's file."""

    bank: int
    offset: int
    content: bytes


@dataclass(slots=True, eq=False)
class Entry:
    """A record of the index. `rows` in part order, the head first."""

    ref: RowRef
    zone: str
    kind: str
    owner: str | None
    key: str | None
    at_us: int
    rows: tuple[int, ...]
    state: State = State.LIVE
    leaving: bool = False  # a planned commit consumes it


@dataclass(slots=True, eq=False)
class Plan:
    """A commit that is laid out but not yet durable. `refs`: one for each item of the commit."""

    at_us: int
    refs: list[RowRef | None] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    added: list[Entry] = field(default_factory=list)
    consumed: list[Entry] = field(default_factory=list)
    reread: frozenset[int] = frozenset()  # banks whose rows are replaced without regard to records
    foreign: bool = False  # those rows are of another disk: no key stored before stands for any of them
    next_seq: int = 0  # later records get no lower number
    bank: tuple[Superblock, Picture] | None = None  # that this commit makes


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying did: for watchers, for the files, and for those who wait for room."""

    changes: tuple[RowChange, ...]
    touched: tuple[tuple[int, int], ...]  # bank and row, in the order in which to paint them
    freed: frozenset[str]  # zones
