"""An agent's conversation as text: entries of its history, then events as they come.

Facts in, text out: `write` gets what belongs on the screen. What comes from the agent is stripped of anything
that a terminal would act on. Nothing is shown twice: a message that was streamed is not printed again at its
end, nor a tool call that its message has announced.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from hyperpi.cli.output import to_json
from hyperpi.cli.words import Json, one_line, printable, rows_of, summed_up

INDENT = "  "
RESULT_LINES = 12  # of a tool's result; all of it with --json
ARGS_CHARS = 160

Style = Callable[[str, str], str]  # text, kind: you | agent | dim | error | tool

# How far a step of a plan has come -> its mark, and how to show it.
STEPS = {"pending": ("○", ""), "in_progress": ("◐", "tool"), "completed": ("✓", "dim")}

_QUIET = frozenset({"usage", "tool_update", "message_start", "queue"})  # shown by what follows them


def plain(text: str, _kind: str) -> str:
    """Text without colours."""
    return text


class Transcript:
    """What has been shown of one conversation, and how to show what comes next."""

    def __init__(
        self,
        write: Callable[[str], None],
        name: str,
        style: Style = plain,
        result_lines: int | None = RESULT_LINES,
    ) -> None:
        """`result_lines`: of each tool's result; None for all."""
        self._result_lines = result_lines
        self._write = write
        self._name = one_line(name, 40)
        self._style = style
        self._entries: set[str] = set()
        self._calls: set[str] = set()
        self._results: set[str] = set()
        self._messages: set[str] = set()
        self._streaming: tuple[str, object, str] | None = None  # message, block, kind
        self._column = 0  # 0: a line begins here

    # --- history ---------------------------------------------------------------------------------------

    def snapshot(self, snapshot: Json) -> None:
        """Show entries that were not shown yet, and what is running."""
        if snapshot.get("more"):
            self.remark("there is more before this that cannot be read now")
        for entry in rows_of(snapshot, "entries"):
            if str(entry.get("id")) not in self._entries:
                self._entry(entry)
        running = snapshot.get("running")
        if isinstance(running, dict):
            self._running(running)

    def forget(self) -> None:
        """Another conversation begins."""
        self._end_stream()
        for seen in (self._entries, self._calls, self._results, self._messages):
            seen.clear()

    def remark(self, text: str, kind: str = "dim") -> None:
        """A line of ours."""
        self._end_stream()
        self._line(self._style(f"· {one_line(text)}", kind))

    def break_line(self) -> None:
        """Begin a new line, since somebody else writes to the same screen."""
        self._end_stream()

    def _entry(self, entry: Json) -> None:
        self._entries.add(str(entry.get("id")))
        self._messages.add(str(entry.get("message_id")))
        blocks = [block for block in rows_of(entry, "blocks") if not self._shown(block)]
        role = "plan" if is_plan(entry) else str(entry.get("role"))
        if blocks and role != "tool":
            self._heading(role, entry.get("source"), entry.get("at"))
        for block in blocks:
            self._block(block)
        if entry.get("interrupted"):
            self._line(INDENT + self._style("(interrupted)", "error"))

    def _running(self, running: Json) -> None:
        message = str(running.get("message_id"))
        for number, block in enumerate(rows_of(running, "blocks")):
            kind = str(block.get("type"))
            if kind in ("text", "thinking"):
                self._stream(message, number, kind, str(block.get("text") or ""), None)
            elif not self._shown(block):
                self._end_stream()
                self._block(block)
        for tool in rows_of(running, "tools"):
            self._tool_start(tool)

    def _shown(self, block: Json) -> bool:
        call = str(block.get("call_id"))
        kind = block.get("type")
        return (kind == "tool_call" and call in self._calls) or (
            kind == "tool_result" and call in self._results
        )

    def _block(self, block: Json) -> None:
        match block.get("type"):
            case "text":
                self._text(str(block.get("text") or ""))
            case "thinking":
                self._text(str(block.get("text") or ""), "dim")
            case "tool_call":
                self._call(block)
            case "tool_result":
                self._result(block.get("call_id"), block.get("text"), bool(block.get("is_error")))
            case "plan":
                self._plan(block)
            case "summary":
                self._line(self._style(f"· {summed_up(block)}", "dim"))
                self._lines_of(block.get("text"), "dim")
            case "image":
                self._line(f"{INDENT}[image {one_line(block.get('mime') or '')}]")
            case _:
                self._unknown(block)

    # --- live ------------------------------------------------------------------------------------------

    def event(self, event: Json) -> None:
        """Show one event."""
        kind = str(event.get("type"))
        show = getattr(self, f"_on_{kind}", None) if kind.isidentifier() else None
        if show is not None:
            show(event)
        elif kind not in _QUIET:
            self._end_stream()
            self._unknown({key: value for key, value in event.items() if key not in ("seq", "at")})

    def _on_state(self, event: Json) -> None:
        if event.get("interrupted"):  # what was being said stands there, and will not go on
            self._end_stream()
            self._line(INDENT + self._style("(interrupted)", "error"))
        if event.get("state") != "working":  # what it does says so already
            detail = f": {event['detail']}" if event.get("detail") else ""
            self.remark(f"{event.get('state')}{detail}")

    def _on_user_message(self, event: Json) -> None:
        self._end_stream()
        self._messages.add(str(event.get("message_id")))
        self._heading("user", event.get("source"), event.get("at"))
        self._text(str(event.get("text") or ""))

    def _on_text_delta(self, event: Json) -> None:
        message = str(event.get("message_id"))
        self._stream(message, event.get("block"), "text", str(event.get("delta") or ""), event.get("at"))

    def _on_thinking_delta(self, event: Json) -> None:
        message = str(event.get("message_id"))
        self._stream(message, event.get("block"), "thinking", str(event.get("delta") or ""), event.get("at"))

    def _on_message_end(self, event: Json) -> None:
        entry = event.get("entry")
        if not isinstance(entry, dict):
            return
        streamed = str(event.get("message_id")) in self._messages and not is_plan(entry)
        self._end_stream()
        if streamed:  # its text stands there already; what else it holds does not
            rest = [b for b in rows_of(entry, "blocks") if b.get("type") not in ("text", "thinking", "image")]
            entry = {**entry, "blocks": rest}
            for block in rest:
                if not self._shown(block):
                    self._block(block)
            self._entries.add(str(entry.get("id")))
            if entry.get("interrupted"):
                self._line(INDENT + self._style("(interrupted)", "error"))
        else:
            self._entry(entry)

    def _on_tool_start(self, event: Json) -> None:
        self._tool_start(event)

    def _on_tool_end(self, event: Json) -> None:
        self._end_stream()
        if str(event.get("call_id")) not in self._results:
            self._result(event.get("call_id"), event.get("result"), bool(event.get("is_error")))

    def _on_approval(self, event: Json) -> None:
        approval = event.get("approval") or {}
        action = approval.get("action") or {}
        self.remark(
            f"approval {approval.get('id')} ({approval.get('state')}): {action.get('summary')}", "tool"
        )

    def _on_notice(self, event: Json) -> None:
        kind = "error" if event.get("level") in ("error", "warning") else "dim"
        self.remark(str(event.get("text")), kind)

    def _tool_start(self, tool: Json) -> None:
        self._end_stream()
        if str(tool.get("call_id")) not in self._calls:
            self._call(tool)

    # --- writing ---------------------------------------------------------------------------------------

    def _stream(self, message: str, block: object, kind: str, delta: str, at: Any) -> None:
        if self._streaming != (message, block, kind):
            new_message = self._streaming is None or self._streaming[0] != message
            self._end_stream()
            if new_message and message not in self._messages:
                self._heading("assistant", None, at)
            self._messages.add(message)
            self._streaming = (message, block, kind)
        style = "dim" if kind == "thinking" else ""
        for number, line in enumerate(printable(delta).split("\n")):
            if number:
                self._put("\n")
            if line:
                self._put((INDENT if self._column == 0 else "") + self._style(line, style))

    def _end_stream(self) -> None:
        self._streaming = None
        if self._column:
            self._put("\n")

    def _heading(self, role: str, source: Any, at: Any) -> None:
        who, kind = {"user": ("you", "you"), "assistant": (self._name, "agent")}.get(role, (role, "dim"))
        said = f" ({one_line(source, 20)})" if source else ""
        self._line("\n" + self._style(one_line(who) + said, kind) + self._style(clock(at), "dim"))

    def _text(self, text: str, kind: str = "") -> None:
        for line in printable(text).rstrip("\n").split("\n"):
            self._line(INDENT + self._style(line, kind) if line else "")

    def _call(self, call: Json) -> None:
        self._calls.add(str(call.get("call_id")))
        args = call.get("args")
        shown = one_line(args if isinstance(args, str) else to_json(args), ARGS_CHARS) if args else ""
        self._line(INDENT + self._style(f"▸ {one_line(call.get('name'), 60)}", "tool") + f" {shown}")

    def _result(self, call_id: Any, result: Any, is_error: bool) -> None:
        self._results.add(str(call_id))
        self._lines_of(result, "error" if is_error else "dim")

    def _lines_of(self, found: Any, kind: str) -> None:
        """The beginning of a long text, and how much more there is."""
        text = found if isinstance(found, str) else "" if found is None else to_json(found)
        lines = printable(text).rstrip("\n").split("\n")
        for line in lines[: self._result_lines]:
            if line:
                self._line(2 * INDENT + self._style(line, kind))
        if self._result_lines is not None and len(lines) > self._result_lines:
            self._line(2 * INDENT + self._style(f"… {len(lines) - self._result_lines} more lines", kind))

    def _plan(self, plan: Json) -> None:
        for step in rows_of(plan, "steps"):
            mark, kind = STEPS.get(str(step.get("status")), STEPS["pending"])
            self._line(INDENT + self._style(f"{mark} {one_line(step.get('text'))}", kind))

    def _unknown(self, thing: Json) -> None:
        rest = {key: value for key, value in thing.items() if key != "type"}
        self._line(self._style(f"· {one_line(thing.get('type'), 40)} {one_line(to_json(rest), 160)}", "dim"))

    def _line(self, text: str) -> None:
        if self._column:
            self._put("\n")
        self._put(text + "\n")

    def _put(self, text: str) -> None:
        self._column = 0 if text.endswith("\n") else self._column + len(text)
        self._write(text)


def is_plan(entry: Json) -> bool:
    """A plan is told again as a whole whenever a step of it has come further."""
    return any(block.get("type") == "plan" for block in rows_of(entry, "blocks"))


def clock(at: Any) -> str:
    """Local hours and minutes of an RFC 3339 time, with a space before; empty when there is none."""
    try:
        return f" {datetime.fromisoformat(str(at)).astimezone():%H:%M}"
    except ValueError:
        return ""
