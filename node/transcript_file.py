"""A conversation in a file, for agents whose own sessions cannot be read: a header, then an entry a line.

The newest line of an entry's id is the entry, in the place of its first. The file is bounded: its oldest
entries go. One process writes it; anybody may read it meanwhile, and a line cut short by a crash is left out.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from hyperpi.address import AgentId
from hyperpi.contract import Json
from hyperpi.strict_json import encode
from node.regular_file import open_regular

MAX_BYTES = 8 << 20  # of one conversation, some weeks of one; then the older half goes
PAGE_BYTES = 700 << 10  # below the frame limit of 1 MiB


def transcript_path(folder: Path, agent: AgentId) -> Path:
    """Where an agent's transcript is kept, if there is one. `folder` is `node/transcripts` of the home."""
    return folder / f"{agent}.jsonl"


class _Named(msgspec.Struct):
    id: str


class Transcript:
    """Entries, encoded, by id, in order; and the file that holds them if there is a path."""

    def __init__(self, path: Path, header: Json) -> None:
        """Begin anew. Raises OSError."""
        self._path = path
        self._header = header
        self._entries: dict[str, bytes] = {}
        self._kept = self._written = 0  # bytes: of the entries, of the file
        self._cut = False
        self._rewrite()

    def put(self, entry: Json) -> None:
        """Add an entry, or replace the one with its id in its place. Raises OSError if it is not written."""
        raw = encode(entry)
        self._kept += len(raw) - len(self._entries.get(entry["id"], b""))
        self._entries[entry["id"]] = raw
        if self._kept > MAX_BYTES:
            self._forget_oldest()
            self._rewrite()
        elif self._written > 2 * MAX_BYTES:
            self._rewrite()
        else:
            with self._path.open("ab") as file:
                file.write(raw + b"\n")
            self._written += len(raw) + 1

    def describe(self, **header: Any) -> None:
        """Say more in the header. Raises OSError."""
        self._header = self._header | header
        self._rewrite()

    def page(self, before: str | None, limit: int) -> tuple[list[msgspec.Raw], bool]:
        """See `page_of`."""
        return page_of(self._entries, before, limit)

    def sync(self) -> None:
        """Until this returns a crash of the machine may take the newest entries. Blocks; raises OSError."""
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _forget_oldest(self) -> None:
        for name in list(self._entries):
            if self._kept <= MAX_BYTES // 2:
                break
            self._kept -= len(self._entries.pop(name))
            self._cut = True

    def _rewrite(self) -> None:
        lines = [encode(self._header | {"cut": self._cut}), *self._entries.values(), b""]
        whole = b"\n".join(lines)
        temporary = self._path.with_suffix(".tmp")
        with open(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb"
        ) as file:
            file.write(whole)
        os.replace(temporary, self._path)
        self._written = len(whole)


def read_transcript(path: Path) -> tuple[Json, dict[str, bytes]]:
    """The header, and the entries, encoded, by id and in order. Blocks; raises OSError."""
    header: Json = {}
    entries: dict[str, bytes] = {}
    with open_regular(path) as file:
        for number, line in enumerate(file):
            try:
                if number == 0:
                    header = msgspec.json.decode(line, type=dict[str, Any])
                else:
                    entries[msgspec.json.decode(line, type=_Named).id] = line.rstrip(b"\n")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
    return header, entries


def page_of(entries: dict[str, bytes], before: str | None, limit: int) -> tuple[list[msgspec.Raw], bool]:
    """The last `limit` entries (before that of an id), oldest first, and whether there are older ones."""
    names = list(entries)
    if before is not None:
        names = names[: names.index(before)] if before in entries else []
    page: list[msgspec.Raw] = []
    size = 0
    for name in reversed(names):
        size += len(entries[name])
        if page and (len(page) >= limit or size > PAGE_BYTES):
            break
        page.append(msgspec.Raw(entries[name]))
    return page[::-1], len(page) < len(names)
