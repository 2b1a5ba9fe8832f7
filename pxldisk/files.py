"""Writing files so that they survive the plug. Every function may block; OSError passes through."""

import errno
import os
import sys
from pathlib import Path

from . import failpoint

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})

if sys.platform == "darwin":
    import fcntl

    def sync(fd: int) -> None:
        """Return when everything written to `fd` is on the medium, not just in the drive's cache."""
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
                raise
            os.fsync(fd)  # a file system without it, such as a network share
else:

    def sync(fd: int) -> None:
        """Return when the bytes of `fd`, and the size needed to find them, are on the medium."""
        os.fdatasync(fd)


def write_all(fd: int, content: bytes | bytearray | memoryview, offset: int) -> None:
    """Write all of `content` at `offset`, however few bytes the system takes at a time."""
    written = os.pwrite(fd, content, offset)
    while written < len(content):  # a signal or a nearly full file system may cut a write short
        written += os.pwrite(fd, memoryview(content)[written:], offset + written)


def make_folder(folder: Path) -> None:
    """Make a private folder and those above it, each durable in the one above."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def put(path: Path, content: bytes | bytearray, *, point: str) -> None:
    """Make `path` hold `content`: after a crash it holds the old bytes or the new, never a mixture.

    `point` names the failpoints `<point>.written` and `<point>.renamed`.
    """
    temporary = path.with_name(path.name + ".tmp")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, content, 0)
        sync(fd)
    except OSError:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    failpoint.passing(point + ".written")
    os.replace(temporary, path)
    failpoint.passing(point + ".renamed")
    sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files of a process that died while writing them."""
    for path in folder.glob("*.tmp"):
        path.unlink(missing_ok=True)
