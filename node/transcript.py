"""A conversation put together from an agent's events, for agents that keep none that we could ask for.

Pure. Used for programs without history, and for what an ended agent had said when its session has no file.
What was never finished is `running` while the agent lives, and an interrupted entry once it has ended.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from hyperpi.contract import Json

MAX_ENTRIES = 200
MAX_BYTES = 700 << 10  # of one snapshot, below the frame limit of 1 MiB


class _Transcript:
    """Entries in order, one per message, and what is open."""

    def __init__(self) -> None:
        self.entries: dict[str, Json] = {}
        self.open: dict[str, Json] = {}
        self.tools: dict[str, Json] = {}

    def take(self, event: Json) -> None:
        match event.get("type"):
            case "user_message":
                self._put(event, "user", [{"type": "text", "text": event.get("text", "")}])
            case "message_start":
                self.open[event["message_id"]] = {
                    **_head(event, event.get("role", "assistant")),
                    "blocks": {},
                }
            case "text_delta" | "thinking_delta" as kind:
                self._grow(event, kind.removesuffix("_delta"))
            case "message_end":
                entry = event.get("entry")
                if isinstance(entry, dict):
                    self._finish(str(event.get("message_id") or entry.get("id")), entry)
            case "tool_start":
                self.tools[event["call_id"]] = event
            case "tool_update":
                if event["call_id"] in self.tools:
                    self.tools[event["call_id"]] = {**self.tools[event["call_id"]], "result": event["result"]}
            case "tool_end":
                self.tools.pop(event["call_id"], None)
                result = {
                    "type": "tool_result",
                    "call_id": event["call_id"],
                    "text": str(event.get("result", "")),
                    "is_error": bool(event.get("is_error")),
                }
                self.entries[f"tool {event['call_id']}"] = {
                    **_head({**event, "message_id": f"t-{event['call_id']}"}, "tool"),
                    "blocks": [result],
                }
            case "notice":
                text = [{"type": "text", "text": str(event.get("text", ""))}]
                self._put({**event, "message_id": f"n-{event['seq']}"}, "note", text)
            case _:
                pass  # states, usage and what we do not know are no part of a conversation

    def _put(self, event: Json, role: str, blocks: list[Json]) -> None:
        self.entries[event["message_id"]] = {**_head(event, role), "blocks": blocks}

    def _grow(self, event: Json, kind: str) -> None:
        message = self.open.setdefault(event["message_id"], {**_head(event, "assistant"), "blocks": {}})
        block = message["blocks"].setdefault(event.get("block", 0), {"type": kind, "text": ""})
        block["text"] += event.get("delta", "")

    def _finish(self, message_id: str, entry: Json) -> None:
        self.open.pop(message_id, None)
        for block in entry.get("blocks", ()):
            if block.get("type") == "tool_result":  # the settled form of what tool_end said
                self.entries.pop(f"tool {block.get('call_id')}", None)
        self.entries[message_id] = {**entry, "message_id": message_id}


def transcript(events: Iterable[bytes], *, ended: bool) -> Json:
    """{entries, more, running} of encoded events, oldest first; the newest that fit."""
    found = _Transcript()
    for raw in events:
        event: Any = msgspec.json.decode(raw)
        try:
            found.take(event)
        except (KeyError, TypeError):
            continue  # an event without what its type promises says nothing
    running = None
    unfinished = [{**message, "blocks": list(message["blocks"].values())} for message in found.open.values()]
    entries = list(found.entries.values())
    if ended:
        entries += [{**message, "interrupted": True} for message in unfinished]
    elif unfinished or found.tools:
        running = _running(unfinished, found.tools.values())
    page: list[Json] = []
    size = 0
    for entry in reversed(entries):
        size += len(msgspec.json.encode(entry))
        if len(page) >= MAX_ENTRIES or (page and size > MAX_BYTES):
            break
        page.append(entry)
    return {"entries": page[::-1], "more": False, "running": running}


def beyond(kept: list[Json], told: list[Json]) -> list[Json]:
    """What the stream told after the last entry that was kept: a killed agent wrote no more of it."""
    known = {entry["id"] for entry in kept}
    last = max((place for place, entry in enumerate(told) if entry["id"] in known), default=-1)
    return told[last + 1 :]


def broken_off(entries: list[Json]) -> list[Json]:
    """A conversation that ended in the middle of a turn, with that marked at its last entry."""
    if not entries or entries[-1].get("interrupted"):
        return entries
    return [*entries[:-1], {**entries[-1], "interrupted": True}]


def _running(unfinished: list[Json], tools: Iterable[Json]) -> Json:
    last = unfinished[-1] if unfinished else {"message_id": "", "role": "assistant", "blocks": []}
    shown = {"call_id", "name", "args", "result"}
    return {
        "message_id": last["message_id"],
        "role": last["role"],
        "blocks": last["blocks"],
        "tools": [{"result": "", **{key: tool[key] for key in shown & tool.keys()}} for tool in tools],
    }


def _head(event: Json, role: str) -> Json:
    return {"id": event["message_id"], "message_id": event["message_id"], "role": role, "at": event.get("at")}
