"""`hyperpi attach AGENT` on a terminal: what was said scrolls by, the prompt line stays.

What is settled is written above the prompt line and so becomes the terminal's own scrollback. One thread
follows the agent; everything else belongs to the event loop of the screen.
"""

import asyncio
import os
import sys
import threading
import uuid
from collections import deque
from collections.abc import Iterable

from prompt_toolkit.application import Application
from prompt_toolkit.application.run_in_terminal import run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import BufferControl, Dimension, FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import RenderableType
from rich.text import Text

from hyperpi.cli import asking
from hyperpi.cli.conversation import LIVE_LINES, Conversation, drawn
from hyperpi.cli.follow import Attached, Dropped, Follower, Item, Live, Refused, Reset, Resumed, Said
from hyperpi.cli.output import colours
from hyperpi.cli.words import Json, one_line
from hyperpi.errors import HyperPiError

ESCAPE_S = 0.1  # a lone Esc is told from a key that begins with one after this
MAX_PROMPT_LINES = 8
IN_TURN = frozenset({"working", "waiting", "stuck"})
KEYS = (  # the first that there is room for
    "Enter send · Alt-Enter after this turn · Esc abort · Ctrl-O all of it · Ctrl-D leave",
    "Enter · Alt-Enter later · Esc abort · Ctrl-O all · Ctrl-D leave",
    "Esc abort · Ctrl-D leave",
)


def run_screen(follower: Follower, agent: Json) -> None:
    """Until the person leaves, or the agent cannot be followed any more. Raises why."""
    asyncio.run(_Screen(follower, agent).run())


class _Screen:
    def __init__(self, follower: Follower, agent: Json) -> None:
        self._follower = follower
        self._talk = Conversation(str(agent.get("name")))
        self._model = one_line(agent.get("model") or "")
        self._steers = agent.get("kind") != "acp"  # its protocol has no way to
        self._connected = True
        self._coloured = colours(sys.stdout)
        self._items: deque[Item | BaseException] = deque()
        self._buffer = Buffer(history=InMemoryHistory(), multiline=True)
        live = FormattedTextControl(self._live)
        prompt = BufferControl(self._buffer, input_processors=[BeforeInput("> ", "bold")])
        self._app: Application[None] = Application(
            layout=Layout(
                HSplit(
                    [
                        Window(live, dont_extend_height=True, height=Dimension(max=3 * LIVE_LINES)),
                        Window(
                            prompt,
                            dont_extend_height=True,
                            wrap_lines=True,
                            height=Dimension(min=1, max=MAX_PROMPT_LINES),
                        ),
                        Window(FormattedTextControl(self._bar), height=1, style="reverse"),
                    ]
                )
            ),
            key_bindings=self._keys(),
            full_screen=False,
            erase_when_done=True,
            color_depth=None if self._coloured else ColorDepth.MONOCHROME,
        )
        self._app.ttimeoutlen = ESCAPE_S
        self._app.timeoutlen = ESCAPE_S

    async def run(self) -> None:
        loop = asyncio.get_running_loop()

        def follow() -> None:
            try:
                for item in self._follower.items():
                    self._items.append(item)
                    loop.call_soon_threadsafe(self._drain)
            # A boundary: whatever ends the thread ends the screen, with its reason.
            except BaseException as exc:
                self._items.append(exc)
            loop.call_soon_threadsafe(self._drain)

        following = threading.Thread(target=follow, daemon=True, name="following")

        def begin(_app: Application[None]) -> None:
            if not following.ident:  # once the prompt line stands: what is written then goes above it
                following.start()

        self._app.after_render += begin
        with patch_stdout(raw=True):
            await self._app.run_async()

    # --- what happens ----------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Everything that has come meanwhile, drawn in one go."""
        parts: list[RenderableType] = []
        while self._items:
            item = self._items.popleft()
            if isinstance(item, BaseException):
                self._write(parts)
                if self._app.is_running:
                    self._app.exit(exception=item)
                return
            parts.extend(self._take(item))
        self._write(parts)
        self._app.invalidate()

    def _take(self, item: Item) -> Iterable[RenderableType]:
        match item:
            case Attached({"snapshot": dict(snapshot)} as result, again):
                if again and result.get("resume") == "gap":
                    yield _remark("some of what happened meanwhile was not kept; this is how it stands")
                self._model = one_line(snapshot.get("model") or self._model)
                yield from self._talk.snapshot(snapshot)
                if self._talk.older and not again:
                    yield _remark("there is more before this: Ctrl-O shows all of it")
            case Live(event):
                yield from self._talk.event(event)
            case Reset(params):
                yield self._talk.forget(str(params.get("reason")))
            case Dropped(reason):
                self._connected = False
                yield _remark(f"{one_line(reason)}; coming back by itself")
            case Resumed(whole):
                self._connected = True
                yield _remark("back" if whole else "back, with a gap")
            case Said(prompt_id, _, error) if error is not None:
                self._talk.refused(prompt_id)
                yield _remark(f"the prompt was not taken: {one_line(error)}", "red")
            case Said(prompt_id, "unknown", _):
                self._talk.refused(prompt_id)
                yield _remark("nobody knows whether the agent got your prompt", "yellow")
            case Refused(error):
                yield _remark(f"that was refused: {one_line(error)}", "red")
            case _:
                pass

    def _write(self, parts: list[RenderableType]) -> None:
        if parts:
            width = _columns()
            sys.stdout.write(drawn(parts, width, coloured=self._coloured))
            sys.stdout.flush()

    # --- what is shown below ---------------------------------------------------------------------------

    def _live(self) -> StyleAndTextTuples:
        width = _columns() - 2
        lines: StyleAndTextTuples = []
        for style, text in self._talk.live():
            shown = text if len(text) <= width else "…" + text[-(width - 1) :]
            lines += [("", "  "), (style, shown), ("", "\n")]
        return lines[:-1]

    def _bar(self) -> StyleAndTextTuples:
        usage = self._talk.usage
        tokens = (usage.get("input_tokens") or 0) + (usage.get("output_tokens") or 0)
        parts = [self._talk.name, self._talk.state if self._connected else "reconnecting", self._model]
        if tokens:
            parts.append(f"{tokens:,} tokens")
        if cost := usage.get("cost_usd"):
            parts.append(f"${cost:.2f}")
        status = " " + " · ".join(part for part in parts if part)
        room = _columns() - len(status) - 3
        keys = next((keys for keys in KEYS if len(keys) <= room), "")
        return [("", f"{status}   {keys}")]

    # --- keys ------------------------------------------------------------------------------------------

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        working = Condition(lambda: self._talk.state in IN_TURN)

        @keys.add("enter")
        def _send(_event: KeyPressEvent) -> None:
            self._say("prompt" if not working() else "steer" if self._steers else "follow_up")

        @keys.add("escape", "enter")
        def _send_later(_event: KeyPressEvent) -> None:
            self._say("follow_up" if working() else "prompt")

        @keys.add("c-j")
        def _newline(_event: KeyPressEvent) -> None:
            self._buffer.insert_text("\n")

        @keys.add("escape")
        def _abort(_event: KeyPressEvent) -> None:
            if working():
                self._follower.act("agent.abort", {})
            else:
                self._buffer.reset()

        @keys.add("escape", "a")
        def _approve(_event: KeyPressEvent) -> None:
            self._answer(approve=True)

        @keys.add("escape", "d")
        def _deny(_event: KeyPressEvent) -> None:
            self._answer(approve=False)

        @keys.add("c-o")
        def _all(_event: KeyPressEvent) -> None:
            self._app.create_background_task(self._show_all())

        @keys.add("c-c")
        def _interrupt(event: KeyPressEvent) -> None:
            if self._buffer.text:
                self._buffer.reset()
            else:
                event.app.exit(exception=KeyboardInterrupt())

        @keys.add("c-d")
        def _leave(event: KeyPressEvent) -> None:
            if not self._buffer.text:
                event.app.exit()

        return keys

    def _say(self, mode: str) -> None:
        text = self._buffer.text.strip()
        if not text:
            return
        self._buffer.reset(append_to_history=True)
        prompt_id = f"p-{uuid.uuid4()}"
        self._talk.sent(prompt_id, text)
        try:
            self._follower.say(prompt_id, text, mode)
        except HyperPiError as exc:
            self._talk.refused(prompt_id)
            self._write([_remark(f"the prompt was not sent: {one_line(exc)}", "red")])

    def _answer(self, *, approve: bool) -> None:
        """The oldest question that is open; what stands in the prompt line is why it is denied."""
        if not self._talk.approvals:
            return
        approval = next(iter(self._talk.approvals.values()))
        try:
            choice = asking.chosen(approval, None, None, approve=approve)
        except HyperPiError as exc:
            self._write(
                [_remark(f"{one_line(exc)}; `hyperpi approve {approval.get('id')}` can say more", "yellow")]
            )
            return
        answer: Json = {"approval": approval["id"], "choice": choice}
        if not approve and (why := self._buffer.text.strip()):
            answer["note"] = why
            self._buffer.reset()
        self._follower.act("agent.answer", answer)

    async def _show_all(self) -> None:
        await run_in_terminal(self._page, in_executor=True)

    def _page(self) -> None:
        """The whole conversation, tools unfolded, in the pager; read anew, since we keep no copy of it."""
        from hyperpi.cli.whole import show_whole

        show_whole(self._follower.agent, self._talk.name)


def _columns() -> int:
    """Of this very window: COLUMNS may be of another one."""
    return os.get_terminal_size(sys.stdout.fileno()).columns


def _remark(text: str, style: str = "bright_black") -> RenderableType:
    return Text(f"· {text}", style)
