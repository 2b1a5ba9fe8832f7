"""A call of a tool as an ACP agent tells it, piece by piece. Pure.

A `tool_call` and any number of `tool_call_update`s describe one call; each holds what has changed. Some
agents send the output of commands beside the protocol, in `_meta.terminal_output`.
"""

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from hyperpi.contract import Json

MAX_TEXT_CHARS = 64 << 10  # of a block, the bound that pi-socket keeps too
MAX_IMAGE_CHARS = 200_000  # base64
CUT = "\n[… cut here: the rest is too long to carry]"

DONE = frozenset({"completed", "failed"})
PLAN_STATES = {"pending": "pending", "in_progress": "in_progress", "completed": "completed"}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call as far as it is known."""

    call_id: str
    called: str = ""  # its first title: often the tool's own name, before its arguments are known
    title: str = ""
    kind: str = ""  # read, edit, delete, move, search, execute, think, fetch, switch_mode, other
    status: str = "pending"  # pending, in_progress, completed, failed
    raw_input: Any = None
    raw_output: Any = None
    content: tuple[Json, ...] = ()
    paths: tuple[str, ...] = ()
    printed: str = ""  # from _meta.terminal_output

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.status in DONE

    @property
    def name(self) -> str:
        """What it is in a word."""
        return self.kind if self.kind not in ("", "other") else self.called or "tool"

    @property
    def args(self) -> Json:
        """What it was asked to do: its own arguments, or, of a change to files, the change."""
        edits = [block for block in self.content if block.get("type") == "diff"]
        if edits:
            paths = dict.fromkeys(str(edit.get("path", "")) for edit in edits)
            return {"path": ", ".join(paths), "edits": [_edit(edit) for edit in edits]}
        if isinstance(self.raw_input, dict) and self.raw_input:
            return bounded(self.raw_input)
        if self.raw_input not in (None, {}):
            return bounded({"input": self.raw_input})
        if self.paths:
            return {"path": ", ".join(self.paths)}
        return {"title": cut(self.title)} if self.title and self.title != self.name else {}

    @property
    def result(self) -> str:
        """What it gave, as text."""
        texts = [text for block in self.content if (text := _text_of(block)) is not None]
        text = "\n".join(texts) or self.printed or _text_of_output(self.raw_output)
        return cut(text)

    @property
    def pictures(self) -> list[Json]:
        """Images among its results, as blocks of the contract."""
        found = [block["content"] for block in self.content if isinstance(block.get("content"), dict)]
        return [image_block(content) for content in found if content.get("type") == "image"]

    @property
    def todos(self) -> list[Json] | None:
        """Its arguments as the steps of a plan, if it is a tool that keeps a list of things to do."""
        todos = self.raw_input.get("todos") if isinstance(self.raw_input, dict) else None
        return steps(todos)


def merged(call: ToolCall, update: Json) -> ToolCall:
    """The call with what an update says of it; what is absent or null has not changed."""
    found: dict[str, Any] = {}
    for key, field in (("title", "title"), ("kind", "kind"), ("status", "status")):
        if isinstance(update.get(key), str):
            found[field] = update[key]
    if not call.called and (title := found.get("title")):
        found["called"] = title
    for key, field in (("rawInput", "raw_input"), ("rawOutput", "raw_output")):
        if update.get(key) is not None:
            found[field] = update[key]
    if isinstance(update.get("content"), list):
        found["content"] = tuple(block for block in update["content"] if isinstance(block, dict))
    if isinstance(update.get("locations"), list):
        paths = (place.get("path") for place in update["locations"] if isinstance(place, dict))
        found["paths"] = tuple(path for path in paths if isinstance(path, str))
    if printed := _printed(update):
        found["printed"] = cut(call.printed + printed)
    return replace(call, **found)


def steps(plan: Any) -> list[Json] | None:
    """The steps of a plan, `{text, status, priority?}`; None when it is no list of such."""
    if not isinstance(plan, list) or not plan:
        return None
    found: list[Json] = []
    for step in plan:
        if not isinstance(step, dict) or not isinstance(step.get("content"), str):
            return None
        shown = {"text": cut(step["content"]), "status": PLAN_STATES.get(str(step.get("status")), "pending")}
        if isinstance(step.get("priority"), str):
            shown["priority"] = step["priority"]
        found.append(shown)
    return found


def image_block(content: Json) -> Json:
    """An ACP image as a block of the contract; words in place of one that is too large to carry."""
    data = content.get("data")
    if not isinstance(data, str) or len(data) > MAX_IMAGE_CHARS:
        return {"type": "text", "text": f"[image {content.get('mimeType')}: too large to carry]"}
    return {"type": "image", "mime": str(content.get("mimeType")), "data": data}


def content_text(content: Any) -> str:
    """A content block of ACP as text."""
    match _kind_of(content):
        case "text":
            return str(content.get("text", ""))
        case "resource_link":
            return str(content.get("uri", ""))
        case "resource":
            resource = content.get("resource")
            return str(resource.get("text") or resource.get("uri", "")) if isinstance(resource, dict) else ""
        case "image" | "":
            return ""
        case other:
            return f"[{other}]"


def cut(text: str) -> str:
    """At most MAX_TEXT_CHARS, with a word about it."""
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - len(CUT)] + CUT


def bounded(args: Json) -> Json:
    """Arguments of a size that can be carried; their beginning as text when they are larger."""
    encoded = msgspec.json.encode(args)
    return args if len(encoded) <= MAX_TEXT_CHARS else {"input": cut(encoded.decode())}


def _kind_of(content: Any) -> str:
    return str(content.get("type")) if isinstance(content, dict) else ""


def _edit(diff: Json) -> Json:
    return {"oldText": cut(str(diff.get("oldText") or "")), "newText": cut(str(diff.get("newText") or ""))}


def _text_of(block: Json) -> str | None:
    """A part of a tool's content as text; None for what is shown otherwise."""
    return content_text(block.get("content")) or None if block.get("type") == "content" else None


def _printed(update: Json) -> str:
    meta = update.get("_meta")
    output = meta.get("terminal_output") if isinstance(meta, dict) else None
    return str(output.get("data", "")) if isinstance(output, dict) else ""


def _text_of_output(output: Any) -> str:
    if output is None:
        return ""
    if isinstance(output, str):
        return output
    if isinstance(output, dict):
        for key in ("output", "error", "stdout", "formatted_output"):
            if isinstance(output.get(key), str):
                return str(output[key])
    return msgspec.json.encode(output).decode()
