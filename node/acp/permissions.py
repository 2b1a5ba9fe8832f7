"""A permission that an ACP agent asks for, as an approval of the contract, and the way back. Pure."""

import hashlib

import msgspec

from hyperpi.contract import Json
from node.acp.tool_calls import ToolCall, cut, merged

KINDS = frozenset({"allow_once", "allow_always", "reject_once", "reject_always"})
SUMMARY_CHARS = 300
CANCELLED: Json = {"outcome": {"outcome": "cancelled"}}


def approval_of(request: Json, approval_id: str, cwd: str) -> Json:
    """Params of approval.ask for a `session/request_permission`."""
    found = request.get("toolCall")
    call = merged(ToolCall(""), found if isinstance(found, dict) else {})
    detail = {"tool": call.name, "title": cut(call.title), "args": call.args, "cwd": cwd}
    exact = msgspec.json.encode({"tool_call": found, "cwd": cwd}, order="deterministic")
    return {
        "id": approval_id,
        "action": {
            "kind": "tool",
            "summary": summary_of(call),
            "detail": detail | {"call_id": str((found or {}).get("toolCallId", ""))},
            "hash": hashlib.sha256(exact).hexdigest(),
        },
        "choices": [
            {"id": str(option["optionId"]), "label": str(option.get("name", "")), "kind": option["kind"]}
            for option in options_of(request)
        ],
    }


def summary_of_request(request: Json) -> str:
    """What a `session/request_permission` is about, in one line."""
    found = request.get("toolCall")
    return summary_of(merged(ToolCall(""), found if isinstance(found, dict) else {}))


def options_of(request: Json) -> list[Json]:
    """The ways to answer that the agent offers."""
    offered = request.get("options")
    options = [option for option in offered if isinstance(option, dict)] if isinstance(offered, list) else []
    return [option for option in options if option.get("optionId") and option.get("kind") in KINDS]


def summary_of(call: ToolCall) -> str:
    """What is to be done, in one line."""
    title = " ".join(call.title.split())
    line = title if call.name in title.split() else f"{call.name}: {title}".rstrip(": ")
    return line[:SUMMARY_CHARS]


def outcome_of(request: Json, approval: Json) -> Json:
    """The answer to the agent, once the approval is decided. What nobody allowed is rejected."""
    options = options_of(request)
    state = approval.get("state")
    if state in ("approved", "denied"):
        chosen = next((o for o in options if str(o["optionId"]) == approval.get("choice")), None)
        if chosen is not None:
            return _selected(chosen)
    if state == "withdrawn":
        return CANCELLED
    return rejected(request)


def rejected(request: Json) -> Json:
    """No, in the agent's own words: this once, if it offers that."""
    rejections = [option for option in options_of(request) if option["kind"].startswith("reject")]
    rejections.sort(key=lambda option: option["kind"] != "reject_once")
    return _selected(rejections[0]) if rejections else CANCELLED


def _selected(option: Json) -> Json:
    return {"outcome": {"outcome": "selected", "optionId": option["optionId"]}}
