"""A conversation for a person in front of a terminal: what is settled, as paragraphs; what goes on, as lines.

Facts in, text out; knows nothing of keys or screens. What is settled is drawn once, Markdown and all, and
never changes; what goes on (words that stream in, tools that run, prompts that wait) is a few lines that do.
Tools are folded to a line. What comes from the agent is stripped of anything that a terminal would act on.
"""

import io
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markdown import Markdown
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from hyperpi.cli import asking
from hyperpi.cli.output import to_json
from hyperpi.cli.transcript import STEPS, clock, is_plan
from hyperpi.cli.words import Json, one_line, printable, rows_of, summed_up

LIVE_LINES = 8  # of what streams in
MAX_LIVE_CHARS = 16 << 10  # kept of it: what is settled comes whole
ARGS_CHARS = 120
FIRST_ENTRIES = 40  # drawn when one attaches; the others are a key away

_STYLES = {"wants": "bold yellow", "good": "green", "bad": "red", "away": "yellow", "dim": "bright_black"}


class Conversation:
    """What has been said, and what is being said, by one agent and to it."""

    def __init__(self, name: str) -> None:
        self.name = one_line(name, 40)
        self.state = ""
        self.detail: str | None = None
        self.usage: Json = {}
        self.older = False  # there is more than was drawn
        self.approvals: OrderedDict[str, Json] = OrderedDict()  # open ones
        self._decisions: dict[str, Json] = {}  # on calls of tools, by call_id
        self.waiting: OrderedDict[str, str] = OrderedDict()  # prompts of ours that it has not got yet
        self.queue: list[Json] = []  # prompts that it has and has not taken up
        self._entries: set[str] = set()
        self._calls: dict[str, Json] = {}
        self._results: set[str] = set()
        self._streams: OrderedDict[str, str] = OrderedDict()  # running messages, the end of each
        self._tools: OrderedDict[str, Json] = OrderedDict()  # running ones
        self._said: set[str] = set()  # messages of people that stand there

    # --- facts -----------------------------------------------------------------------------------------

    def snapshot(self, snapshot: Json) -> Iterator[RenderableType]:
        """How it stands now; gives what was not drawn yet, of a long history its end."""
        self.state = str(snapshot.get("state") or self.state)
        self.usage = snapshot.get("usage") or self.usage
        self._streams.clear()
        self._tools.clear()
        self.queue = rows_of(snapshot, "queue")
        self.approvals = OrderedDict((str(one.get("id")), one) for one in rows_of(snapshot, "pending"))
        self._decisions = {str(one.get("call_id")): one for one in rows_of(snapshot, "decisions")}
        new = [one for one in rows_of(snapshot, "entries") if str(one.get("id")) not in self._entries]
        hidden = 0 if self._entries else max(0, len(new) - FIRST_ENTRIES)
        self.older = self.older or bool(hidden) or bool(snapshot.get("more"))
        for entry in new[:hidden]:
            self._note(entry)
        for entry in new[hidden:]:
            yield from self._entry(entry)
        running = snapshot.get("running")
        if isinstance(running, dict):
            words = "".join(str(one.get("text") or "") for one in rows_of(running, "blocks"))
            self._streams[str(running.get("message_id"))] = words[-MAX_LIVE_CHARS:]
            for tool in rows_of(running, "tools"):
                self._tools[str(tool.get("call_id"))] = tool

    def event(self, event: Json) -> Iterator[RenderableType]:
        """Take an event; gives what has become settled by it."""
        kind = str(event.get("type"))
        take = getattr(self, f"_on_{kind}", None) if kind.isidentifier() else None
        if take is not None:
            yield from take(event)
        elif kind not in {"message_start", "tool_update"}:
            rest = {
                key: value for key, value in event.items() if key not in ("type", "seq", "first_seq", "at")
            }
            yield _dim(f"· {one_line(kind, 40)} {one_line(to_json(rest), 160)}")

    def forget(self, reason: str) -> RenderableType:
        """Another conversation begins."""
        for seen in (self._entries, self._calls, self._results, self._streams, self._tools, self._said):
            seen.clear()
        return Rule(
            Text(f"the conversation changed: {one_line(reason)}", "bright_black"), style="bright_black"
        )

    def sent(self, prompt_id: str, text: str) -> None:
        """A prompt of ours is on its way."""
        self.waiting[prompt_id] = text

    def refused(self, prompt_id: str) -> None:
        """It was not taken."""
        self.waiting.pop(prompt_id, None)

    # --- what goes on ----------------------------------------------------------------------------------

    def live(self) -> list[tuple[str, str]]:
        """Lines below what is settled, each with its style."""
        lines: list[tuple[str, str]] = []
        for words in self._streams.values():
            shown = printable(words).strip("\n").split("\n") if words.strip() else []
            lines += [("", line) for line in shown[-LIVE_LINES:]]
        for tool in self._tools.values():
            lines.append(("ansiyellow", f"▸ {_called(tool)} …"))
        for approval in self.approvals.values():
            lines.append(("ansiyellow bold", f"? {asking.headline(approval)}   Alt-A approve, Alt-D deny"))
        for one in self.queue:
            if one.get("where") == "lost":  # that has been said, and nothing becomes of it
                continue
            when = "steers" if one.get("mode") == "steer" else "waits"
            lines.append(("ansibrightblack", f"→ {one_line(one.get('text'), 100)}  ({when})"))
        for text in self.waiting.values():
            lines.append(("ansibrightblack", f"→ {one_line(text, 100)}"))
        return lines

    # --- events ----------------------------------------------------------------------------------------

    def _on_state(self, event: Json) -> Iterator[RenderableType]:
        has_ended = self.state == "exited"
        self.state, self.detail = str(event.get("state")), event.get("detail")
        if self.state == "exited" and not has_ended:
            yield from self._broken_off(bool(event.get("interrupted")))
        if self.state in {"exited", "stuck", "unreachable"}:
            told = f"{self.name} is {self.state}" + (f": {one_line(self.detail)}" if self.detail else "")
            if event.get("interrupted"):
                told += f" -> `hyperpi resume {self.name}`"
            yield Text(f"· {told}", "red" if self.state != "exited" else "bright_black")

    def _broken_off(self, interrupted: bool) -> Iterator[RenderableType]:
        """The agent has ended: what was being said or done is settled as far as it came."""
        for words in self._streams.values():
            if words.strip():
                yield self._heading(self.name, "bold green", None, None)
                yield Padding(Markdown(printable(words)), (0, 0, 0, 2))
        for tool in self._tools.values():
            yield _folded(tool, None, False, None)
        self._streams.clear()
        self._tools.clear()
        if interrupted:
            yield Text("  (interrupted)", "red")

    def _on_user_message(self, event: Json) -> Iterator[RenderableType]:
        self.waiting.pop(str(event.get("prompt_id")), None)
        self._said.add(str(event.get("message_id")))
        yield self._person(str(event.get("text") or ""), event.get("source"), event.get("at"))

    def _on_text_delta(self, event: Json) -> Iterator[RenderableType]:
        message = str(event.get("message_id"))
        words = self._streams.get(message, "") + str(event.get("delta") or "")
        self._streams[message] = words[-MAX_LIVE_CHARS:]
        yield from ()

    _on_thinking_delta = _on_text_delta

    def _on_message_end(self, event: Json) -> Iterator[RenderableType]:
        self._streams.pop(str(event.get("message_id")), None)
        entry = event.get("entry")
        if isinstance(entry, dict) and (is_plan(entry) or str(entry.get("id")) not in self._entries):
            if str(event.get("message_id")) in self._said:  # a person's words, shown when they came
                self._note(entry)
            else:
                yield from self._entry(entry)

    def _on_tool_start(self, event: Json) -> Iterator[RenderableType]:
        self._tools[str(event.get("call_id"))] = event
        yield from ()

    def _on_tool_end(self, event: Json) -> Iterator[RenderableType]:
        call = str(event.get("call_id"))
        tool = self._tools.pop(call, None) or self._calls.get(call) or event
        if call not in self._results:
            self._results.add(call)
            took = event.get("duration_ms")
            yield self._folded(call, tool, event.get("result"), event, took)

    def _folded(self, call: str, tool: Json, result: Any, how: Json, took_ms: Any) -> RenderableType:
        decision = self._decisions.get(call)
        refused = bool(how.get("is_error")) and decision is not None and decision.get("state") != "approved"
        verdict = asking.outcome(decision, 0) if refused and decision is not None else ""
        return _folded(tool, result, bool(how.get("is_error")), took_ms, verdict)

    def _on_approval(self, event: Json) -> Iterator[RenderableType]:
        approval = event.get("approval")
        if not isinstance(approval, dict):
            return
        known = self.approvals.pop(str(approval.get("id")), None)
        if approval.get("state") == "pending":
            self.approvals[str(approval.get("id"))] = approval
            if known is None:
                yield _asked(approval)
        else:
            detail = (approval.get("action") or {}).get("detail")
            if isinstance(detail, dict) and detail.get("call_id"):
                self._decisions[str(detail["call_id"])] = approval
            style = _STYLES["good"] if approval.get("state") == "approved" else _STYLES["away"]
            yield Text(f"· {asking.headline(approval)}: {asking.outcome(approval, 0)}", style)

    def _on_queue(self, event: Json) -> Iterator[RenderableType]:
        """All that waits for the agent, whoever said it; what we sent and it has is among it."""
        told = {str(one.get("id")) for one in self.queue if one.get("where") == "lost"}
        self.queue = rows_of(event, "prompts")
        for one in self.queue:
            self.waiting.pop(str(one.get("id")), None)
        yield from self._lost(told)

    def _lost(self, told: set[str]) -> Iterator[RenderableType]:
        for one in self.queue:
            if one.get("where") == "lost" and str(one.get("id")) not in told:
                yield Text(f"· not taken, as far as is known: {one_line(one.get('text'), 200)}", "red")

    def _on_usage(self, event: Json) -> Iterator[RenderableType]:
        self.usage = event
        yield from ()

    def _on_notice(self, event: Json) -> Iterator[RenderableType]:
        bad = event.get("level") in ("error", "warning")
        yield Text(f"· {one_line(event.get('text'))}", "red" if bad else "bright_black")

    # --- entries ---------------------------------------------------------------------------------------

    def _note(self, entry: Json) -> None:
        """It stands there, or is not drawn; but tools that it has called may be asked for."""
        self._entries.add(str(entry.get("id")))
        for block in rows_of(entry, "blocks"):
            if block.get("type") == "tool_call":
                self._calls[str(block.get("call_id"))] = block

    def _entry(self, entry: Json) -> Iterator[RenderableType]:
        self._note(entry)
        role = str(entry.get("role"))
        headed = False
        for block in rows_of(entry, "blocks"):
            drawn = self._block(block, role)
            if drawn is None:
                continue
            if role == "assistant" and not headed:
                headed = True
                yield self._heading(self.name, "bold green", None, entry.get("at"))
            if role == "user":
                yield self._person(str(block.get("text") or ""), entry.get("source"), entry.get("at"))
            else:
                yield drawn
        if entry.get("interrupted"):
            yield Text("  (interrupted)", "red")

    def _block(self, block: Json, role: str) -> RenderableType | None:
        text = str(block.get("text") or "")
        match block.get("type"):
            case "text" if role in {"system", "note"}:
                return _dim(f"· {one_line(text, 200)}")
            case "text":
                return Padding(Markdown(printable(text)), (0, 0, 0, 2)) if text.strip() else None
            case "thinking":
                return Padding(Text(printable(text).strip(), "bright_black italic"), (0, 0, 0, 2))
            case "tool_call":
                return None  # drawn with its result
            case "tool_result":
                call = str(block.get("call_id"))
                if call in self._results:
                    return None
                self._results.add(call)
                return self._folded(call, self._calls.get(call, block), text, block, None)
            case "plan":
                return _plan(rows_of(block, "steps"))
            case "summary":
                begins = one_line(text, 300)
                return _dim(f"· {summed_up(block)}\n  {begins}")
            case "image":
                return _dim(f"[image {one_line(block.get('mime') or '')}]")
            case kind:
                rest = {key: value for key, value in block.items() if key != "type"}
                return _dim(f"· {one_line(kind, 40)} {one_line(to_json(rest), 160)}")

    def _person(self, text: str, source: Any, at: Any) -> RenderableType:
        shown = "" if source in (None, "terminal", "cli") else f" ({one_line(source, 20)})"
        words = Padding(Text(printable(text).strip("\n")), (0, 0, 0, 2))
        return Group(self._heading("you" + shown, "bold cyan", None, at), words)

    @staticmethod
    def _heading(who: str, style: str, _source: Any, at: Any) -> RenderableType:
        return Text.assemble("\n", (who, style), (clock(at), "bright_black"))


def drawn(parts: Sequence[RenderableType], width: int, *, coloured: bool = True) -> str:
    """Paragraphs as text for a terminal of that width."""
    out = io.StringIO()
    console = Console(
        file=out, width=max(20, width), force_terminal=True, color_system="standard", no_color=not coloured
    )
    for part in parts:
        console.print(part, highlight=False)
    return out.getvalue()


def _plan(steps: Sequence[Json]) -> RenderableType:
    """How far each step has come."""
    marked = [(STEPS.get(str(step.get("status")), STEPS["pending"])[0], step) for step in steps]
    return Group(
        _dim("· plan"), *(Text(f"  {mark} {one_line(step.get('text'), 200)}") for mark, step in marked)
    )


def _called(tool: Json) -> str:
    args = tool.get("args")
    if isinstance(args, dict) and len(args) == 1:
        args = next(iter(args.values()))
    shown = one_line(args if isinstance(args, str) else to_json(args), ARGS_CHARS) if args else ""
    return f"{one_line(tool.get('name') or 'tool', 60)} {shown}".rstrip()


def _folded(tool: Json, result: Any, is_error: bool, took_ms: Any, verdict: str = "") -> RenderableType:
    """One line of what was called, and one of what came of it; `verdict`: why it was not let through."""
    text = result if isinstance(result, str) else "" if result is None else to_json(result)
    lines = [line for line in printable(text).strip().split("\n") if line.strip()]
    took = f" {took_ms / 1000:.1f} s" if isinstance(took_ms, int | float) else ""
    more = f" · {len(lines)} lines" if len(lines) > 1 else ""
    style = "red" if is_error else "bright_black"
    if verdict:
        took, style = f" · {verdict}", "yellow"
    head = Text.assemble("  ", ("▸ ", "yellow"), (_called(tool), "yellow"), (took + more, "bright_black"))
    if not lines:
        return head
    return Group(
        head, Padding(Text(lines[0], style, no_wrap=True, overflow="ellipsis"), (0, 0, 0, 4), expand=False)
    )


def _asked(approval: Json) -> RenderableType:
    parts = [Text(text, _STYLES.get(style, "")) for text, style in asking.lines(approval, 0)]
    return Group(Text(""), *parts[:-1])


def _dim(text: str) -> RenderableType:
    return Text(text, "bright_black")
