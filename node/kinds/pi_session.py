"""A pi's conversation from its session file, once pi itself can no longer be asked.

The file is JSON lines: a header, then entries that form a tree by parentId; the conversation is the way from
the last entry back to the root. The entries are those that pi-socket makes of it while pi lives
(translate.ts): what is bookkeeping is left out, what is not understood is a note.
"""

import asyncio
import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from hyperpi.contract import Json
from node.agent_record import AgentRecord
from node.regular_file import open_regular

MAX_BLOCK_CHARS = 64 << 10  # the bound that pi-socket keeps too
MAX_ANSWER_BYTES = 700 << 10  # of one page, below the frame limit of 1 MiB

SUMMARIES = {"compaction": "compaction", "branch_summary": "branch"}
HIDDEN = frozenset(
    {
        "model_change",
        "thinking_level_change",
        "label",
        "session_info",
        "custom",
        "usage",
        "context_edit",
    }
)


class SessionFiles:
    """See node.snapshots.History."""

    async def entries(
        self, record: AgentRecord, before: str | None, limit: int
    ) -> tuple[list[Json], bool] | None:
        """Entries oldest first and whether older ones exist; None when nothing was kept."""
        file = record.session.file if record.session else None
        if record.kind != "pi" or not file:
            return None
        # Another agent may have gone on with it: what it has written since is not this one's.
        until = record.ending.at if record.resumed_as is not None and record.ending is not None else None
        return await asyncio.to_thread(read_page, Path(file), before, limit, until)


def read_page(
    path: Path, before: str | None, limit: int, until: str | None = None
) -> tuple[list[Json], bool] | None:
    """The last `limit` entries (before an entry's id) of a session file, within MAX_ANSWER_BYTES. Blocks.

    Of a long file only what is wanted is understood: a page costs what a page holds. `until`: an RFC 3339
    time after which nothing counts.
    """
    try:
        stat = path.stat()
        places = _branch(str(path), stat.st_size, stat.st_mtime_ns, until)
        with open_regular(path) as file:
            return _page(file, places, before, limit)
    except (OSError, ValueError):  # ValueError: no path
        return None


class _Head(msgspec.Struct):
    """What places an entry in the tree."""

    id: str | None = None
    type: str | None = None
    parentId: str | None = None
    timestamp: str | None = None


class _Place(NamedTuple):
    """Where an entry's line stands."""

    id: str
    offset: int
    length: int


@functools.lru_cache(maxsize=4)  # about 200 bytes an entry; whoever reads page by page comes back at once
def _branch(path: str, _size: int, _mtime_ns: int, until: str | None) -> tuple[_Place, ...]:
    """The entries from the root to the last one written. Raises OSError."""
    known: dict[str, tuple[_Place, str | None]] = {}
    last: str | None = None
    offset = 0
    with open_regular(path) as file:
        for line in file:
            at, offset = offset, offset + len(line)
            try:
                head = _HEADS.decode(_mended(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue  # a line cut short by a crash, or nothing that pi has written
            if head.id is None or head.type == "session":
                continue
            if until is not None and (head.timestamp or "") > until:
                break
            known[head.id] = _Place(head.id, at, len(line)), head.parentId
            last = head.id
    branch: list[_Place] = []
    while last is not None and last in known and len(branch) <= len(known):
        place, last = known[last]
        branch.append(place)
    return tuple(branch[::-1])


_HEADS = msgspec.json.Decoder(_Head)
# A backslash that is escaped itself; a whole character in two halves; half of one.
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_REPLACEMENT = rb"\ufffd"


def _mended(line: bytes) -> bytes:
    """Half a character, which JavaScript's strings may hold and nobody else's, becomes a replacement."""
    if b"\\ud" not in line.lower():
        return line
    return _ESCAPES.sub(lambda found: _REPLACEMENT if found["half"] else found[0], line)


def _page(
    file: BinaryIO, places: Sequence[_Place], before: str | None, limit: int
) -> tuple[list[Json], bool]:
    end = next((n for n, place in enumerate(places) if place.id == before), len(places))
    page: list[Json] = []
    size = 0
    for place in reversed(places[:end]):
        file.seek(place.offset)
        try:
            entry = entry_of(json.loads(_mended(file.read(place.length))))
            entry_bytes = len(json.dumps(entry))
        except (TypeError, ValueError, RecursionError):
            continue  # what places it in the tree could be read, and the rest cannot
        if entry is None:
            continue
        size += entry_bytes
        if page and (len(page) >= limit or size > MAX_ANSWER_BYTES):
            return page[::-1], True
        page.append(entry)
    return page[::-1], False


def entry_of(raw: Mapping[str, Any]) -> Json | None:
    """The Entry of the contract for one entry of pi's; None for what is bookkeeping."""
    kind = raw.get("type")
    head = {"id": raw["id"], "at": raw.get("timestamp")}
    if kind == "message" and isinstance(raw.get("message"), dict):
        return _message(head, raw["message"])
    if kind in SUMMARIES:
        told = {"type": "summary", "of": SUMMARIES[kind], "tokens_before": raw.get("tokensBefore")}
        return {**head, "role": "system", "blocks": [{**_text(str(raw.get("summary", ""))), **told}]}
    if kind == "custom_message" and raw.get("display") is not False:
        return {**head, "role": "note", "blocks": _blocks(raw.get("content"))}
    if kind in HIDDEN or kind == "custom_message":
        return None
    return {**head, "role": "note", "blocks": [_text(f"[{kind}]")]}


def _message(head: Json, message: Mapping[str, Any]) -> Json | None:
    role = message.get("role")
    if role == "system" or (role == "custom" and message.get("display") is False):
        return None
    if role in {"user", "assistant"}:
        entry: Json = {**head, "role": role, "blocks": _blocks(message.get("content"))}
        if message.get("stopReason") == "error":
            entry["blocks"].append(_text(f"Error: {message.get('errorMessage') or 'the model failed'}"))
        if message.get("stopReason") == "aborted":
            entry["interrupted"] = True
        return entry
    if role == "toolResult":
        text = "".join(b.get("text", "") for b in message.get("content") or [] if isinstance(b, dict))
        result = {
            "type": "tool_result",
            "call_id": message.get("toolCallId"),
            "text": text[:MAX_BLOCK_CHARS],
            "is_error": bool(message.get("isError")),
        }
        return {**head, "role": "tool", "blocks": [result]}
    if role == "bashExecution":
        shown = f"$ {message.get('command', '')}\n{message.get('output', '')}"
        return {**head, "role": "note", "blocks": [_text(shown)]}
    return {**head, "role": "note", "blocks": [_text(json.dumps(message, ensure_ascii=False))]}


def _blocks(content: object) -> list[Json]:
    if isinstance(content, str):
        return [_text(content)]
    return (
        [_block(block) for block in content or [] if isinstance(block, dict)]
        if isinstance(content, list)
        else []
    )


def _block(block: Mapping[str, Any]) -> Json:
    match block.get("type"):
        case "text":
            return _text(str(block.get("text", "")))
        case "thinking":
            return {"type": "thinking", "text": str(block.get("thinking", ""))[:MAX_BLOCK_CHARS]}
        case "toolCall":
            return {
                "type": "tool_call",
                "call_id": block.get("id"),
                "name": block.get("name"),
                "args": block.get("arguments"),
            }
        case "image":
            return _text("[image]")
        case other:
            return _text(f"[{other}]")


def _text(text: str) -> Json:
    return {"type": "text", "text": text[:MAX_BLOCK_CHARS]}
