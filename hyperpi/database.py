"""SQLite files that must not lose anything: how they are opened, written and kept off the event loop."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from hyperpi.errors import Overloaded, Unusable

P = ParamSpec("P")
R = TypeVar("R")

BUSY_TIMEOUT_S = 5.0  # somebody runs sqlite3 on our file; longer and the mesh would wait for them
MAX_WAITING = 1000  # calls: at 100 a second for a disk that syncs, ten seconds of work


class StoreUnusable(Unusable):
    """The file cannot be used: newer than this program, damaged, or of another mesh. Not retryable."""


class StoreUnwritable(Overloaded):
    """The disk refused a write; nothing was recorded. Retry once there is room again."""


class DiskThread:
    """One thread for calls that block on a file, served in order of arrival.

    A caller that is cancelled takes back a call that has not begun; one that has begun ends by itself.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._waiting = 0

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in the thread. Raises what it raises, and Overloaded when too many wait."""
        if self._waiting >= MAX_WAITING:
            raise Overloaded("the disk cannot keep up", hint="try again in a moment")
        self._waiting += 1
        try:
            call = partial(function, *args, **kwargs)
            return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish what was begun, then end the thread."""
        self._pool.shutdown(wait=True)


def open_database(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    """Open or make a private SQLite file (0600; WAL, synchronous=FULL) and bring its schema up to date.

    Migration i leads from `user_version` i to i + 1, each in one transaction. Raises StoreUnusable for a
    file that is damaged or newer than this program; OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    os.chmod(path, 0o600)  # the journal files beside it get the same mode from SQLite
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "fullfsync = ON", "foreign_keys = ON"):
            db.execute(f"PRAGMA {pragma}")
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(migrations):
            raise StoreUnusable(
                f"{path} was written by a newer Hyper-Pi (schema {version})", hint="upgrade this one"
            )
        for number, script in enumerate(migrations[version:], start=version + 1):
            db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT")
    except sqlite3.DatabaseError as exc:
        db.close()
        raise StoreUnusable(f"{path}: {exc}", hint="restore it from a backup") from exc
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All of the body's writes or none. Raises StoreUnwritable, StoreUnusable, and what the body raises."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    except sqlite3.OperationalError as exc:
        hint = "make room on the disk of HYPERPI_HOME there; nothing has to be restarted"
        raise StoreUnwritable(f"the store cannot be written: {exc}", hint=hint) from exc
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as exc:
        raise StoreUnusable(f"the store is damaged: {exc}", hint="restore it from a backup") from exc
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
