"""One writer for a folder. The kernel drops the lock when its holder ends, however it ends."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from .errors import Locked

_PID_BYTES = 16  # always overwritten whole, so that a full file system has nothing to refuse
_ATTEMPTS = 5
_PAUSE_S = 0.01  # `holder` holds a shared lock for a moment only


class Lock:
    """The writer's lock on a disk, held until `release`."""

    def __init__(self, folder: Path) -> None:
        """Take the lock. Raises Locked with the holder's pid."""
        self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _flock(self._fd):
            pid = _pid_in(self._fd)
            os.close(self._fd)
            raise Locked(folder, pid)
        with contextlib.suppress(OSError):  # a full disk can still be read; its holder stays nameless
            os.pwrite(self._fd, f"{os.getpid()}\n".encode().rjust(_PID_BYTES), 0)

    def release(self) -> None:
        """Let others write. The file stays: deleting it would let two hold 'the' lock."""
        os.close(self._fd)


def holder(folder: Path) -> int | None:
    """The pid of the process that writes this disk now (0: not known); None if no one does."""
    try:
        fd = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _pid_in(fd) or 0
    else:
        return None
    finally:
        os.close(fd)


def _flock(fd: int) -> bool:
    for attempt in range(_ATTEMPTS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if attempt + 1 < _ATTEMPTS:
                time.sleep(_PAUSE_S)
        else:
            return True
    return False


def _pid_in(fd: int) -> int | None:
    text = os.pread(fd, _PID_BYTES, 0).strip()
    return int(text) if text.isdigit() else None
