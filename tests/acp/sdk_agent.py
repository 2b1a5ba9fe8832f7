"""A real ACP agent without a model: the agent's side of the `acp` package, which does what a prompt says.

usage: sdk_agent.py [--login | --mute | --noisy | --old | --modes]

    plan: A, B     a plan of these steps, of which the first is being done, then done
    ask: WHAT      asks for leave to do WHAT, and says what became of it
    mend: A -> B   a change of a file, as a tool
    draw: …        a picture
    hold: …        three words, then nothing until it is cancelled
    die: CODE      ends with that exit code in the middle of a word
    fail: WHY      answers the prompt with an error
    mode: MODE     goes over to that mode by itself
    (else)         repeats it

--login: wants a login; --mute: never answers; --noisy: prints other lines too; --old: speaks version 0;
--modes: can look, build or rest, and never begins to rest when told to.
"""

import asyncio
import os
import sys
from typing import Any

import acp
from acp import schema
from acp.helpers import image_block, plan_entry, start_tool_call, update_tool_call

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
OPTIONS = [
    schema.PermissionOption(option_id="yes", name="Do it", kind="allow_once"),
    schema.PermissionOption(option_id="no", name="Leave it", kind="reject_once"),
]


class Doer:
    """One agent, one session."""

    def __init__(self) -> None:
        self.client: Any = None
        self.cancelled = asyncio.Event()

    def on_connect(self, conn: Any) -> None:
        self.client = conn

    async def initialize(self, protocol_version: int, **_: Any) -> schema.InitializeResponse:
        if "--mute" in sys.argv:
            await asyncio.Event().wait()
        if "--noisy" in sys.argv:
            print("a banner that is no protocol", flush=True)
        login = schema.AuthMethodAgent(id="login", name="Log in", description="run `doer login` first")
        return schema.InitializeResponse(
            protocol_version=0 if "--old" in sys.argv else protocol_version,
            agent_info=schema.Implementation(name="doer", version="1"),
            auth_methods=[login],
        )

    async def new_session(self, cwd: str, **_: Any) -> schema.NewSessionResponse:
        if "--login" in sys.argv:
            raise acp.RequestError.auth_required()
        modes = None
        if "--modes" in sys.argv:
            known = [schema.SessionMode(id=mode, name=mode.title()) for mode in ("look", "build", "rest")]
            modes = schema.SessionModeState(available_modes=known, current_mode_id="look")
        return schema.NewSessionResponse(session_id=f"doer-{os.path.basename(cwd)}", modes=modes)

    async def set_session_mode(self, mode_id: str, **_: Any) -> schema.SetSessionModeResponse:
        if mode_id == "rest":
            raise acp.RequestError.internal_error({"details": "there is too much to do"})
        return schema.SetSessionModeResponse()

    async def cancel(self, session_id: str, **_: Any) -> None:
        self.cancelled.set()

    async def prompt(self, session_id: str, prompt: list[Any], **_: Any) -> schema.PromptResponse:
        self.cancelled.clear()
        text = "".join(getattr(block, "text", "") for block in prompt)
        verb, _colon, rest = text.partition(": ")
        do = getattr(self, f"_{verb}", None)
        reason = await do(session_id, rest) if do else await self._say(session_id, f"You said: {text}")
        return schema.PromptResponse(stop_reason=reason or "end_turn")

    async def _tell(self, session: str, update: Any) -> None:
        await self.client.session_update(session_id=session, update=update)

    async def _say(self, session: str, text: str) -> None:
        for word in text.split(" "):
            await self._tell(session, acp.update_agent_message_text(f"{word} "))

    async def _plan(self, session: str, rest: str) -> None:
        steps = rest.split(", ")
        for now in ("in_progress", "completed"):
            states = [now, *["pending"] * (len(steps) - 1)]
            plan = [plan_entry(step, status=state) for step, state in zip(steps, states, strict=True)]  # type: ignore[arg-type]
            await self._tell(session, acp.update_plan(plan))

    async def _ask(self, session: str, rest: str) -> None:
        call = start_tool_call("c1", rest, kind="execute", status="pending", raw_input={"command": rest})
        await self._tell(session, call)
        asked = schema.ToolCallUpdate(
            tool_call_id="c1", title=rest, kind="execute", raw_input={"command": rest}
        )
        answer = await self.client.request_permission(options=OPTIONS, session_id=session, tool_call=asked)
        allowed = getattr(answer.outcome, "option_id", None) == "yes"
        await self._tell(session, update_tool_call("c1", status="completed" if allowed else "failed"))
        await self._say(
            session, f"answer: {answer.outcome.outcome} {getattr(answer.outcome, 'option_id', '')}"
        )

    async def _mend(self, session: str, rest: str) -> None:
        old, _, new = rest.partition(" -> ")
        call = start_tool_call("c2", "Mending roof.txt", kind="edit", status="in_progress")
        await self._tell(session, call)
        change = [acp.tool_diff_content("roof.txt", new, old)]
        await self._tell(session, update_tool_call("c2", status="completed", content=change))

    async def _draw(self, session: str, _rest: str) -> None:
        await self._tell(session, acp.update_agent_message(image_block(PIXEL, "image/png")))

    async def _hold(self, session: str, _rest: str) -> str:
        await self._say(session, "one two three")
        await self.cancelled.wait()
        return "cancelled"

    async def _die(self, session: str, code: str) -> None:
        await self._say(session, "half a")
        print("out of coffee", file=sys.stderr, flush=True)
        os._exit(int(code))

    async def _mode(self, session: str, mode: str) -> None:
        update = schema.CurrentModeUpdate(session_update="current_mode_update", current_mode_id=mode)
        await self._tell(session, update)

    async def _fail(self, _session: str, why: str) -> None:
        raise acp.RequestError.internal_error({"details": why})


if __name__ == "__main__":
    asyncio.run(acp.run_agent(Doer()))  # type: ignore[arg-type]
