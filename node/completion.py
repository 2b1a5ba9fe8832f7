"""How a word of a prompt could go on: a slash command of the agent, or a file below its folder after an @.

`files` blocks on the disk; callers on an event loop run it in a thread. It looks at names only, follows no
link and never leaves the agent's folder, so that it tells nothing that a listing of that folder would not.
"""

import os
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hyperpi.contract import Json
from node.folders import open_beneath

MAX_ITEMS = 50
MAX_SCANNED = 20_000  # names looked at for one answer
MAX_SCAN_S = 0.3  # somebody is typing
MAX_DEPTH = 8
MAX_FOUND = 2_000

# What nobody means when they name a file of their project.
SKIPPED = frozenset(
    {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".mypy_cache", "target"}
    | {".ruff_cache", ".pytest_cache", ".cache", ".gradle", ".next", ".terraform"}
)

COMMAND = re.compile(r"/(\S*)\Z")
FILE = re.compile(r'(?:^|(?<=\s))@(?:"([^"\n]*)|([^\s"]*))\Z')


@dataclass(frozen=True, slots=True)
class Asked:
    """The word that is being written, and what is searched for."""

    kind: Literal["command", "file"]
    word: str
    query: str


def asked_for(before: str) -> Asked | None:
    """What the end of a text asks to be completed. None: nothing."""
    if (found := COMMAND.match(before)) is not None:
        return Asked("command", before, found[1])
    if (found := FILE.search(before)) is not None:
        quoted, plain = found.groups()
        return Asked("file", found[0], quoted if quoted is not None else plain)
    return None


def commands(query: str, known: Iterable[Mapping[str, Any]]) -> list[Json]:
    """Those that begin like the query, then those that hold it."""
    wanted = query.lower()
    found = []
    for one in known:
        name = str(one.get("name", ""))
        lower = name.lower()
        if not name or wanted not in lower:
            continue
        begins = lower.startswith(wanted) or lower.removeprefix("skill:").startswith(wanted)
        item = {"text": f"/{name} ", "kind": str(one.get("kind", "command"))}
        found.append((not begins, name, {**item, "description": str(one.get("description", ""))[:200]}))
    return [item for _, _, item in sorted(found, key=lambda each: each[:2])]


def files(cwd: str, query: str) -> list[Json]:
    """Files and folders below `cwd` whose path fits, the nearest fit first; none where none can be read."""
    folder, _, name = query.rpartition("/")
    if folder.startswith("/") or ".." in folder.split("/"):
        return []
    found: list[tuple[int, int, str, bool]] = []
    with suppress(OSError):
        root = Path(os.path.realpath(cwd, strict=True))
        for path, is_folder in _below(root, folder, with_hidden=name.startswith(".")):
            rank = _rank(path[len(folder) + 1 if folder else 0 :], name)
            if rank is not None:
                found.append((rank, path.count("/"), path, is_folder))
    return [_item(path, is_folder) for _, _, path, is_folder in sorted(found)[:MAX_FOUND]]


def _rank(path: str, wanted: str) -> int | None:
    """0: its name begins like what is wanted, 1: its name holds it, 2: its path does. None: no fit."""
    lower, name = path.lower(), path.rpartition("/")[2].lower()
    wanted = wanted.lower()
    if name.startswith(wanted):
        return 0
    if wanted in name:
        return 1
    return 2 if wanted in lower else None


def _below(root: Path, folder: str, *, with_hidden: bool) -> Iterable[tuple[str, bool]]:
    """(path, whether it is a folder) of what lies in a folder of the root and below, level by level."""
    queue = deque([(folder, 0)])
    until = time.monotonic() + MAX_SCAN_S
    left = MAX_SCANNED
    while queue:
        here, depth = queue.popleft()
        try:
            fd = open_beneath(root, root / here)
        except OSError:
            continue
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0 or time.monotonic() > until:
                        return
                    if entry.name in SKIPPED or (entry.name.startswith(".") and not with_hidden):
                        continue
                    if not entry.name.isprintable() or '"' in entry.name:
                        continue  # cannot be written into a prompt
                    path = f"{here}/{entry.name}" if here else entry.name
                    is_folder = entry.is_dir(follow_symlinks=False)
                    yield path, is_folder
                    if is_folder and depth < MAX_DEPTH:
                        queue.append((path, depth + 1))
        finally:
            os.close(fd)


def _item(path: str, is_folder: bool) -> Json:
    """A folder is left open, to go on into it."""
    shown = path + "/" if is_folder else path
    quoted = any(char.isspace() for char in shown)
    text = f'@"{shown}' if quoted else f"@{shown}"
    if not is_folder:
        text += '" ' if quoted else " "
    return {"text": text, "kind": "folder" if is_folder else "file", "description": ""}
