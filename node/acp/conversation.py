"""An ACP session's updates as events and entries of the agent socket. Pure: facts in, events out.

A message is closed, and its entry told, when something else begins: a tool, another message, the turn's end.
Each call of a tool is an entry of its own, told when the call begins and again, under the same ids, when more
is known of it; so is a turn's plan. The clock is passed in, in Unix seconds.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

from hyperpi.clock import rfc3339
from hyperpi.contract import Json
from node.acp.tool_calls import ToolCall, bounded, content_text, cut, image_block, merged, steps

MESSAGE_CHARS = 48 << 10  # a message that grows beyond this goes on as another one
CALLS = 500  # of a session that are remembered
UPDATE_S = 0.1  # between two looks at a running tool's output: each is told as a whole

# What the agent's card shows; no part of the conversation.
CARD_UPDATES = frozenset(
    {
        "available_commands_update",
        "config_option_update",
        "current_mode_update",
        "session_info_update",
        "usage_update",
    }
)

ENDINGS = {
    "max_tokens": "The model reached the longest answer that it may give.",
    "max_turn_requests": "The agent reached the number of requests that a turn may take.",
    "refusal": "The agent refused to go on.",
}


@dataclass(slots=True)
class _Message:
    """One that is being written."""

    message_id: str
    role: str
    at: float
    blocks: list[Json] = field(default_factory=list)
    native: dict[str, str] = field(default_factory=dict)  # kind of block -> the agent's own message id

    @property
    def chars(self) -> int:
        return sum(len(block.get("text", "")) for block in self.blocks)


@dataclass(slots=True)
class _Run:
    """A call of a tool, and what was told of it."""

    call: ToolCall
    began: float
    call_entry: Json | None = None  # once it was told
    result_entry: Json | None = None
    said: str = ""  # its result as it was told last
    said_at: float = 0.0


class Conversation:
    """One session. What the methods return is to be told, in order; entries stand in `message_end`."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: _Message | None = None
        self._runs: dict[str, _Run] = {}
        self._plan: Json | None = None  # the entry of this turn's plan
        self.in_turn = False
        self._answered = False  # the agent said something in this turn

    # --- facts -----------------------------------------------------------------------------------------

    def asked(
        self, text: str, images: list[Json], now: float, *, source: str, prompt_id: str | None = None
    ) -> list[Json]:
        """A prompt was handed to the agent: a turn begins."""
        events = self._close(now)
        self.in_turn, self._answered, self._plan = True, False, None
        message_id = self._next("m")
        said = {"type": "user_message", "message_id": message_id, "text": text, "source": source}
        blocks = [{"type": "text", "text": cut(text)}] if text else []
        pictures = [
            image_block({"mimeType": image.get("mime"), "data": image.get("data")}) for image in images
        ]
        entry = self._entry(message_id, "user", [*blocks, *pictures], now) | {"source": source}
        return [
            *events,
            said if prompt_id is None else said | {"prompt_id": prompt_id},
            {"type": "message_end", "message_id": message_id, "entry": entry},
        ]

    def updated(self, update: Json, now: float) -> list[Json]:
        """The agent says what has changed in its session."""
        kind = update.get("sessionUpdate")
        match kind:
            case "agent_message_chunk":
                return self._chunk(update, "assistant", "text", now)
            case "agent_thought_chunk":
                return self._chunk(update, "assistant", "thinking", now)
            case "user_message_chunk":
                # In a turn it repeats the prompt, which was told when it was handed over.
                return [] if self.in_turn else self._chunk(update, "user", "text", now)
            case "tool_call" | "tool_call_update":
                return self._tool(update, now)
            case "plan":
                return self._planned(steps(update.get("entries")), now)
            case _ if kind in CARD_UPDATES:
                return []
            case _:
                return [{"type": f"acp_{kind}", "update": bounded(update)}]

    def permission_asked(self, tool_call: Json, now: float) -> list[Json]:
        """The agent waits for leave to do what this call would: it is to be seen, however little is known."""
        run = self._runs.get(_call_id(tool_call))
        if run is None:
            # Some describe the permission here, not the call; so only a call not known otherwise is taken.
            self._take(tool_call, now)
            run = self._runs[_call_id(tool_call)]
        return self._begin(run, now)

    def ended(self, reason: str, now: float) -> list[Json]:
        """The turn has ended: with a stop reason of ACP, or `died` when the agent itself has."""
        interrupted = reason in ("cancelled", "died")
        events = self._end_calls(interrupted, now)
        marks = interrupted and self._open is None
        events += self._close(now, interrupted=interrupted)
        if marks:
            message_id = self._next("m")
            entry = self._entry(message_id, "assistant", [], now) | {"interrupted": True}
            events.append({"type": "message_end", "message_id": message_id, "entry": entry})
        if reason in ENDINGS:
            events += self.noted(ENDINGS[reason], now, level="warning")
        elif not interrupted and not self._answered:
            events += self.noted("The agent ended its turn without a word.", now)
        self.in_turn, self._plan = False, None
        return events

    def replayed(self, now: float) -> list[Json]:
        """The agent has told its session's history."""
        return self._end_calls(False, now) + self._close(now)

    def failed(self, why: str, now: float) -> list[Json]:
        """The turn has ended in an error."""
        events = self._end_calls(True, now) + self._close(now, interrupted=True)
        self.in_turn, self._plan = False, None
        return [*events, *self.noted(why, now, level="error")]

    def noted(self, text: str, now: float, *, level: str = "info") -> list[Json]:
        """A remark of ours that belongs to the conversation."""
        message_id = self._next("m")
        entry = self._entry(message_id, "note", [{"type": "text", "text": cut(text), "level": level}], now)
        return [{"type": "message_end", "message_id": message_id, "entry": entry}]

    def due(self, now: float) -> list[Json]:
        """Output of running tools that was held back for a moment."""
        return [event for run in self._runs.values() for event in self._progress(run, now)]

    @property
    def holds_back(self) -> bool:
        """Whether there is such output."""
        return any(
            not run.call.done and run.call_entry and run.said != run.call.result
            for run in self._runs.values()
        )

    # --- what is running -------------------------------------------------------------------------------

    def running(self) -> Json | None:
        """The unfinished message and the tools at work, as the contract's snapshot has it."""
        tools = [
            {"call_id": run.call.call_id, "name": run.call.name, "args": run.call.args, "result": run.said}
            for run in self._runs.values()
            if run.call_entry is not None and not run.call.done
        ]
        if self._open is None and not tools:
            return None
        open_ = self._open
        return {
            "message_id": open_.message_id if open_ else "",
            "role": open_.role if open_ else "assistant",
            "blocks": [dict(block) for block in open_.blocks] if open_ else [],
            "tools": tools,
        }

    # --- messages --------------------------------------------------------------------------------------

    def _chunk(self, update: Json, role: str, kind: str, now: float) -> list[Json]:
        content = update.get("content")
        is_image = isinstance(content, dict) and content.get("type") == "image"
        text = "" if is_image else content_text(content)
        if not text and not is_image:
            return []
        self._answered = True
        native = update.get("messageId")
        events: list[Json] = []
        if self._open is not None and self._is_another(self._open, role, kind, native):
            events += self._close(now)
        if self._open is None:
            self._open = _Message(self._next("m"), role, now)
            events.append({"type": "message_start", "message_id": self._open.message_id, "role": role})
        if isinstance(native, str):
            self._open.native[kind] = native
        blocks = self._open.blocks
        if is_image:
            blocks.append(image_block(content if isinstance(content, dict) else {}))
            return events
        if not blocks or blocks[-1]["type"] != kind:
            blocks.append({"type": kind, "text": ""})
        blocks[-1]["text"] += text
        delta = {"message_id": self._open.message_id, "block": len(blocks) - 1, "delta": text}
        return [*events, {"type": f"{kind}_delta", **delta}]

    @staticmethod
    def _is_another(message: _Message, role: str, kind: str, native: Any) -> bool:
        known = message.native.get(kind)
        renamed = isinstance(native, str) and known is not None and known != native
        return message.role != role or renamed or message.chars > MESSAGE_CHARS

    def _close(self, now: float, *, interrupted: bool = False) -> list[Json]:
        if self._open is None:
            return []
        message, self._open = self._open, None
        blocks = [
            block | {"text": cut(block["text"])} if "text" in block else block for block in message.blocks
        ]
        entry = self._entry(message.message_id, message.role, blocks, message.at)
        if interrupted:
            entry["interrupted"] = True
        return [{"type": "message_end", "message_id": message.message_id, "entry": entry}]

    # --- tools -----------------------------------------------------------------------------------------

    def _tool(self, update: Json, now: float) -> list[Json]:
        before = self._runs.get(_call_id(update))
        known = before.call if before else None
        self._take(update, now)
        run = self._runs[_call_id(update)]
        events: list[Json] = []
        if run.call_entry is None:
            # One that is pending often has no arguments yet.
            if run.call.status != "pending":
                events += self._begin(run, now)
        elif known is not None and (known.name, known.args) != (run.call.name, run.call.args):
            events += self._announce(run, now)
        if run.call_entry is not None:
            events += self._finish(run, now) if run.call.done else self._progress(run, now)
        if run.call.todos is not None and (known is None or known.todos != run.call.todos):
            events += self._planned(run.call.todos, now)
        return events

    def _take(self, update: Json, now: float) -> None:
        call_id = _call_id(update)
        run = self._runs.get(call_id)
        if run is None:
            run = self._runs[call_id] = _Run(ToolCall(call_id), now)
            for oldest in [known for known, old in self._runs.items() if old.call.done][
                : len(self._runs) - CALLS
            ]:
                del self._runs[oldest]
        run.call = merged(run.call, update)

    def _begin(self, run: _Run, now: float) -> list[Json]:
        if run.call_entry is not None:
            return []
        self._answered = True
        return self._close(now) + self._announce(run, now)

    def _announce(self, run: _Run, now: float) -> list[Json]:
        call = run.call
        block = {"type": "tool_call", "call_id": call.call_id, "name": call.name, "args": call.args}
        if run.call_entry is None:
            run.call_entry = self._entry(self._next("m"), "assistant", [block], now)
        else:
            run.call_entry = run.call_entry | {"blocks": [block]}
        message_id = run.call_entry["message_id"]
        start = {"call_id": call.call_id, "message_id": message_id, "name": call.name, "args": call.args}
        return [
            {"type": "tool_start", **start},
            {"type": "message_end", "message_id": message_id, "entry": run.call_entry},
        ]

    def _progress(self, run: _Run, now: float) -> list[Json]:
        if run.call.done or run.call_entry is None or now - run.said_at < UPDATE_S:
            return []
        result = run.call.result
        if result == run.said:
            return []
        run.said, run.said_at = result, now
        return [{"type": "tool_update", "call_id": run.call.call_id, "result": result}]

    def _finish(self, run: _Run, now: float) -> list[Json]:
        call = run.call
        failed = call.status == "failed"
        block = {"type": "tool_result", "call_id": call.call_id, "text": call.result, "is_error": failed}
        blocks = [block, *call.pictures]
        if run.result_entry is None:
            run.result_entry = self._entry(self._next("m"), "tool", blocks, now)
        elif run.result_entry["blocks"] == blocks:
            return []
        else:
            run.result_entry = run.result_entry | {"blocks": blocks}
        run.said = call.result
        end = {
            "call_id": call.call_id,
            "result": call.result,
            "is_error": failed,
            "duration_ms": max(0, round((now - run.began) * 1000)),
        }
        message_id = run.result_entry["message_id"]
        return [
            {"type": "tool_end", **end},
            {"type": "message_end", "message_id": message_id, "entry": run.result_entry},
        ]

    def _end_calls(self, interrupted: bool, now: float) -> list[Json]:
        """No call outlives its turn; one that was cut off has failed."""
        events: list[Json] = []
        for run in self._runs.values():
            if not run.call.done:
                ending = {"status": "failed" if interrupted else "completed"}
                run.call = merged(run.call, ending)
                events += self._begin(run, now) + self._finish(run, now)
        return events

    # --- plans -----------------------------------------------------------------------------------------

    def _planned(self, plan: list[Json] | None, now: float) -> list[Json]:
        if plan is None:
            return []
        self._answered = True
        blocks = [{"type": "plan", "steps": plan}]
        if self._plan is None:
            self._plan = self._entry(self._next("m"), "note", blocks, now)
        elif self._plan["blocks"] == blocks:
            return []
        else:
            self._plan = self._plan | {"blocks": blocks}
        return [{"type": "message_end", "message_id": self._plan["message_id"], "entry": self._plan}]

    # --- ids -------------------------------------------------------------------------------------------

    def _next(self, letter: str) -> str:
        return f"{letter}{next(self._numbers)}"

    def _entry(self, message_id: str, role: str, blocks: list[Json], at: float) -> Json:
        # Another id than the message's: a viewer asks for older entries by the ids of kept ones alone.
        head = {"id": f"e{message_id[1:]}", "message_id": message_id}
        return {**head, "role": role, "at": rfc3339(at), "blocks": blocks}


def _call_id(update: Json) -> str:
    return str(update.get("toolCallId", ""))[:200]
