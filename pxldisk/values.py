"""What callers give to a disk and get from it. Frozen; nothing here knows about files."""

from dataclasses import dataclass

from .rows import State


@dataclass(frozen=True, slots=True, order=True)
class RowRef:
    """Names one record for ever: `seq` is never used again, the row may be."""

    bank: int  # 8 for 8.png
    row: int  # of the record's head
    seq: int


@dataclass(frozen=True, slots=True)
class Append:
    """Store a record. A `key` that was stored before stores nothing and gives the first reference."""

    zone: str
    payload: bytes
    kind: str = "record"  # 1 to 16 ASCII characters
    owner: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Consume:
    """Give a live record's rows back."""

    ref: RowRef


@dataclass(frozen=True, slots=True)
class Record:
    """A stored record. `at`: when it was stored, seconds since 1970."""

    ref: RowRef
    zone: str
    kind: str
    state: State
    owner: str | None
    key: str | None
    payload: bytes
    at: float


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row that is not what it was."""

    bank: int
    row: int
    state: State
    kind: str
    seq: int


@dataclass(frozen=True, slots=True)
class RowDescription:
    """One row as an inspector shows it, without its payload. `size`: payload bytes in this row."""

    bank: int
    row: int
    zone: str | None
    state: State
    kind: str = ""
    seq: int = 0
    part: int = 0
    parts: int = 0
    size: int = 0
    at: float = 0.0
    owner: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """A row whose bytes are not what was written. `offset`: in the file."""

    bank: int
    row: int
    offset: int
    why: str


@dataclass(frozen=True, slots=True)
class ZoneStats:
    """Rows of one zone over all banks."""

    free: int
    live: int
    consumed: int
    damaged: int
    records: int  # live ones; a long record takes several rows
    oldest_age_s: float  # of the oldest live record, 0 when there is none


@dataclass(frozen=True, slots=True)
class Stats:
    """A disk at one moment."""

    zones: dict[str, ZoneStats]
    banks: tuple[int, ...]
    max_banks: int
    width: int
    height: int
    commits: int  # number of the last durable commit
    next_seq: int
    keys: int
    in_flight: int  # commits not yet durable
    log_bytes: int  # in the journal segment that is being written
    damage: tuple[Damage, ...]
    failed: str | None  # why no more writes are taken
