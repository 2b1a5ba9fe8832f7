"""Folders of this machine: listing them for a person, making one, and opening one so that nothing can be
swapped underneath.

Everything here blocks on the disk; callers on an event loop run it in a thread. Paths are resolved first and
the resolved one, which has no links, is then opened without following any: a link that turns up in between
is a race and is refused.
"""

import ctypes
import errno
import functools
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hyperpi.errors import BadRequest, Conflict, NotFound, Overloaded, RefusedByPolicy
from node.policy import is_utf8, root_of
from node.regular_file import open_regular

MAX_FOLDERS = 2_000  # in one answer: 2,000 of 200 bytes are well below a frame of 1 MiB
MAX_SCANNED = 200_000  # entries looked at; a spool of millions must not hold a thread for long
MAX_NAME_BYTES = 255  # NAME_MAX of Linux and macOS
MAX_PATH_BYTES = 4_096

# What makes a folder a project, the strongest sign first.
MARKERS = (
    (".git", "git"),
    (".hg", "hg"),
    ("pyproject.toml", "python"),
    ("setup.py", "python"),
    ("package.json", "node"),
    ("Cargo.toml", "rust"),
    ("go.mod", "go"),
    ("pom.xml", "java"),
    ("build.gradle", "java"),
    ("Gemfile", "ruby"),
    ("composer.json", "php"),
    ("mix.exs", "elixir"),
)


@dataclass(frozen=True, slots=True)
class Folder:
    """One line of a listing."""

    name: str
    path: str
    project: str | None  # kind of project, e.g. "git"
    agents: int  # that work in it or below


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder as the browse dialog shows it."""

    path: str
    parent: str | None  # None: there is nothing above that may be shown
    folders: tuple[Folder, ...]  # by name
    allowed: bool  # whether an agent may be started here
    more: bool  # whether there are more folders than are listed

    def to_json(self) -> dict[str, object]:
        """The result of node.folders."""
        folders = [
            {"name": f.name, "path": f.path, "agents": f.agents}
            | ({"project": f.project} if f.project else {})
            for f in self.folders
        ]
        shown: dict[str, object] = {
            "path": self.path,
            "parent": self.parent,
            "folders": folders,
            "allowed": self.allowed,
        }
        return shown | ({"more": True} if self.more else {})


@dataclass(frozen=True, slots=True)
class Project:
    """What agents are grouped by: the nearest repository, else the nearest folder with a manifest."""

    name: str
    root: str
    kind: str


# --- listing ----------------------------------------------------------------------------------------


def list_folders(
    roots: Sequence[Path],
    path: str | None,
    *,
    user_home: Path,
    hidden: bool = False,
    agent_folders: Iterable[str] = (),
) -> Listing:
    """The folders in `path`; without a path, those in the user's home, or what is nearest to it.

    Below the roots everything is listed; above them only the way to them, with allowed false. A link is
    listed if it ends at a folder below a root. Names that are not UTF-8 are left out, as nobody could ask
    for them. Raises NotFound, BadRequest (not a folder), RefusedByPolicy (outside, or not readable).
    """
    real_roots = resolved_roots(roots)
    home = Path(os.path.realpath(user_home))
    wanted = _resolve(path, user_home) if path is not None else _first_shown(real_roots, home)
    allowed = root_of(real_roots, wanted) is not None
    more = False
    if allowed:
        names, more = _names_below(real_roots, wanted, hidden)
    elif not (names := _names_towards(real_roots, wanted)):
        raise _outside(wanted)
    agents = _agents_below(str(wanted), agent_folders)
    return Listing(
        path=str(wanted),
        parent=None if wanted in (_top(real_roots, home), wanted.parent) else str(wanted.parent),
        folders=tuple(
            Folder(n, os.path.join(wanted, n), project_kind(wanted / n) if allowed else None, agents[n])
            for n in names
        ),
        allowed=allowed,
        more=more,
    )


def resolved_roots(roots: Sequence[Path]) -> tuple[Path, ...]:
    """The roots that exist, without links."""
    return tuple(Path(os.path.realpath(root)) for root in roots if os.path.isdir(root))


def _first_shown(real_roots: Sequence[Path], home: Path) -> Path:
    """The home, unless it has nothing to do with the roots."""
    if root_of(real_roots, home) is not None or _names_towards(real_roots, home):
        return home
    return _top(real_roots, home)


def _top(real_roots: Sequence[Path], home: Path) -> Path:
    """The folder that nobody needs to go above. Raises NotFound if none of the roots exists."""
    if not real_roots:
        raise NotFound("none of the allowed folders exists", hint="see roots in the machine's node.toml")
    if all(root_of((home,), root) for root in real_roots):
        return home
    return Path(os.path.commonpath(real_roots))


def _names_below(real_roots: Sequence[Path], folder: Path, hidden: bool) -> tuple[list[str], bool]:
    found: list[str] = []
    more = False
    with opened(real_roots, folder) as (fd, _), os.scandir(fd) as entries:
        for number, entry in enumerate(entries):
            if number >= MAX_SCANNED:
                more = True
                break
            if (hidden or not entry.name.startswith(".")) and _is_shown(real_roots, folder, entry):
                found.append(entry.name)
    found.sort(key=lambda name: (name.casefold(), name))
    return found[:MAX_FOLDERS], more or len(found) > MAX_FOLDERS


def _is_shown(real_roots: Sequence[Path], folder: Path, entry: os.DirEntry[str]) -> bool:
    if not is_utf8(entry.name):
        return False
    try:
        if not entry.is_symlink():
            return entry.is_dir(follow_symlinks=False)
        target = Path(os.path.realpath(folder / entry.name, strict=True))
        return target.is_dir() and root_of(real_roots, target) is not None
    except OSError:  # gone, a loop, or not ours to look at
        return False


def _names_towards(real_roots: Sequence[Path], folder: Path) -> list[str]:
    """The next step from a folder above the roots to each of them."""
    depth = len(folder.parts)
    return sorted({root.parts[depth] for root in real_roots if folder in root.parents})


def _agents_below(folder: str, agent_folders: Iterable[str]) -> Counter[str]:
    prefix = folder.rstrip("/") + "/"
    return Counter(cwd[len(prefix) :].split("/", 1)[0] for cwd in agent_folders if cwd.startswith(prefix))


# --- opening ----------------------------------------------------------------------------------------


@contextmanager
def opened(
    roots: Sequence[Path], path: str | Path, user_home: Path | None = None
) -> Iterator[tuple[int, str]]:
    """(descriptor, resolved path) of a folder at or below a root, for as long as the context lasts.

    Raises NotFound, BadRequest (not a folder), RefusedByPolicy (outside the roots, or not readable),
    Conflict (it was swapped meanwhile).
    """
    folder = _resolve(path, user_home)
    root = root_of(resolved_roots(roots), folder)
    if root is None:
        raise _outside(folder)
    try:
        fd = open_beneath(root, folder)
    except OSError as exc:
        raise _said(exc, folder) from None
    try:
        yield fd, str(folder)
    finally:
        os.close(fd)


def _outside(folder: Path) -> RefusedByPolicy:
    return RefusedByPolicy(
        f"{folder} is outside of the folders that this node allows",
        hint="choose one below them, or add it to roots in the machine's node.toml",
    )


def open_beneath(root: Path, folder: Path) -> int:
    """Open a folder at or below a root without following a single link between the two.

    Raises OSError: ELOOP or ENOTDIR where a link is met, EXDEV when `folder` does not lie below `root`.
    """
    if (folder != root and root not in folder.parents) or ".." in folder.parts:
        raise OSError(errno.EXDEV, "not below the root", str(folder))
    start = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = _openat2(start, str(folder.relative_to(root)))
        return found if found is not None else _walk(start, folder.relative_to(root).parts)
    finally:
        os.close(start)


def _walk(start: int, parts: Sequence[str]) -> int:
    """Step by step, each step without links: slower than openat2 and as safe, since no part is `..`."""
    here = os.dup(start)
    for part in parts:
        try:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


SYS_OPENAT2 = 437  # the same on every Linux architecture but alpha
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08  # linux/openat2.h


class _OpenHow(ctypes.Structure):
    """struct open_how of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _openat2(start: int, relative: str) -> int | None:
    """One system call for the whole way. None where the kernel lacks it or a sandbox forbids it."""
    if not sys.platform.startswith("linux"):
        return None
    how = _OpenHow(
        os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC,
        0,
        RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    )
    fd = _libc().syscall(
        ctypes.c_long(SYS_OPENAT2),
        ctypes.c_int(start),
        ctypes.c_char_p(os.fsencode(relative)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if fd >= 0:
        return int(fd)
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG, errno.EAGAIN):
        return None
    raise OSError(number, os.strerror(number), relative)


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _resolve(path: str | Path, user_home: Path | None) -> Path:
    """The folder that a path means, without links. Raises BadRequest, NotFound, RefusedByPolicy."""
    text = str(path)
    if user_home is not None and (text == "~" or text.startswith("~/")):
        text = str(user_home) + text[1:]
    if "\0" in text or not is_utf8(text) or len(text.encode()) > MAX_PATH_BYTES:
        raise BadRequest("that path cannot exist: it holds a NUL, is not UTF-8 or is too long")
    if not text.startswith("/"):
        raise BadRequest(f"{text!r} is not an absolute path", hint="give the whole path, or begin with ~/")
    try:
        found = Path(os.path.realpath(text, strict=True))
        if not stat.S_ISDIR(found.stat().st_mode):
            raise BadRequest(f"{text} is not a folder")
    except OSError as exc:
        raise _said(exc, Path(text)) from None
    if not is_utf8(str(found)):
        raise BadRequest(f"{text} leads to a name that is not UTF-8")
    return found


def _said(exc: OSError, folder: Path) -> Exception:
    """What an error of the system means to the person who asked for that folder."""
    if exc.errno == errno.ENOENT:
        return NotFound(f"there is no folder {folder}", hint="check the path, or make the folder first")
    if exc.errno in (errno.EACCES, errno.EPERM):
        return RefusedByPolicy(
            f"the node's user has no permission for {folder}", hint="change its permissions"
        )
    if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT):
        return Overloaded(f"{folder}: {exc.strerror}", hint="free some space or files, then try again")
    if exc.errno == errno.EROFS:
        return RefusedByPolicy(f"{folder} is on a read-only disk")
    if exc.errno == errno.ENAMETOOLONG:
        return BadRequest("that path is too long")
    if exc.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
        return Conflict(f"{folder} is not a folder, or changed meanwhile", hint="try again")
    return Overloaded(f"{folder}: {exc.strerror}")


# --- making -----------------------------------------------------------------------------------------


def create_folder(roots: Sequence[Path], parent: str, name: str, *, user_home: Path | None = None) -> str:
    """Make a folder in an allowed one; its path. Raises Conflict (taken), BadRequest, as `opened`."""
    check_name(name)
    with opened(roots, parent, user_home) as (fd, path):
        try:
            os.mkdir(name, dir_fd=fd)
        except FileExistsError:
            raise Conflict(f"{name!r} is already there", hint="choose it, or another name") from None
        except OSError as exc:
            raise _said(exc, Path(path)) from None
        return os.path.join(path, name)


def check_name(name: str) -> None:
    """Whether a text can name a folder on every system that we know. Raises BadRequest."""
    if not name or name in (".", "..") or name != name.strip():
        raise BadRequest("a folder needs a name, other than . and .., without spaces around it")
    if any(c in "/\\" or not c.isprintable() for c in name):
        raise BadRequest("a folder's name has no slashes and no control characters")
    if not is_utf8(name) or len(name.encode()) > MAX_NAME_BYTES:
        raise BadRequest(f"a folder's name has at most {MAX_NAME_BYTES} bytes of UTF-8")


# --- projects ---------------------------------------------------------------------------------------


def project_kind(folder: Path) -> str | None:
    """What kind of project begins in this very folder, e.g. "git"; None if none does."""
    return next((kind for marker, kind in MARKERS if os.path.lexists(folder / marker)), None)


def project_of(path: str, user_home: Path | None = None) -> Project | None:
    """The project that a folder belongs to, so that agents can be grouped by it.

    The nearest repository wins over manifests, which a repository often holds many of. The user's home is
    no project of what lies below it: many keep their settings in a repository there.
    """
    kinds = [(folder, project_kind(folder)) for folder in _way_up(Path(path), user_home)]
    for folder, kind in kinds:
        if kind in ("git", "hg"):
            return Project(_repository_name(folder), str(folder), kind)
    return next((Project(folder.name, str(folder), kind) for folder, kind in kinds if kind), None)


def _way_up(folder: Path, user_home: Path | None) -> Iterator[Path]:
    yield folder
    for parent in folder.parents:
        if parent == user_home or parent == parent.parent:
            return
        yield parent


def _repository_name(folder: Path) -> str:
    """The folder's name; for a second work tree of a repository, the name of the first."""
    try:
        with open_regular(folder / ".git") as file:
            line = file.read(MAX_PATH_BYTES).split(b"\n", 1)[0].decode()
    except (OSError, UnicodeDecodeError):
        return folder.name
    target = Path(line.removeprefix("gitdir:").strip())
    if target.parent.name == "worktrees" and target.parent.parent.name == ".git":
        return target.parent.parent.parent.name or folder.name
    return folder.name
