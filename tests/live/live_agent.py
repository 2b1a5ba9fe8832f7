"""An agent in a process of its own: redials, and writes what it does to a file, a JSON line each.

usage: live_agent.py NAME EFFECTS_FILE

The prompt "chatter N" makes it emit N events a second until the prompt "hush"; "leave" makes it say goodbye;
"run COMMAND" makes it run a shell command, as an agent's tool does. So does a line on its standard input;
"call METHOD PARAMS" there asks its node.
"""

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from live import Agent, Json

from hyperpi.errors import HyperPiError

REDIAL_S = 0.05
TICK_S = 0.02


class Standing(Agent):
    """Stays until its process is ended."""

    def __init__(self, home: Path, name: str, effects: Path) -> None:
        super().__init__(home, name)
        self._file = effects.open("a", buffering=1)
        self._rate = 0
        self._said = 0

    def _note(self, did: str, **what: Any) -> None:
        self._file.write(json.dumps({"did": did, **what}) + "\n")

    async def stay(self) -> None:
        """Register, serve, and dial again whenever the connection has gone."""
        talking = asyncio.create_task(self._talk())
        listening = asyncio.create_task(self._listen())
        while not talking.done():
            with contextlib.suppress(OSError, HyperPiError):
                await self.dial()
                self._note("register", agent=self.id, name=self.name, instance=self.instance)
                assert self._reading is not None
                await self._reading
            await asyncio.sleep(REDIAL_S)
        await asyncio.gather(talking, listening)

    async def _talk(self) -> None:
        """Emit at the rate that was asked for, connected or not: what was not acknowledged is sent again."""
        while True:
            await asyncio.sleep(TICK_S)
            count = round(self._rate * TICK_S)
            if count and self.id:
                parts = [f"{self._said + number} " for number in range(1, count + 1)]
                self._said += count
                with contextlib.suppress(HyperPiError):
                    await self.emit(
                        *({"type": "text_delta", "message_id": "t", "block": 0, "delta": p} for p in parts)
                    )

    async def _take_prompt(self, params: Json) -> Json:
        known = len(self.prompts)
        answer = await super()._take_prompt(params)
        if len(self.prompts) > known:
            self._note("prompt", id=params["id"], text=params["text"])
            word, _, rate = params["text"].partition(" ")
            if word in {"chatter", "hush"}:
                self._rate = int(rate or 0)
            elif word == "leave":
                await self.call("agent.bye", reason="quit")
                os._exit(0)
            elif word == "run":
                self._tool = asyncio.create_task(self._run(rate))
        return answer

    async def _listen(self) -> None:
        lines = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(lines)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        while line := await lines.readline():
            word, _, rest = line.decode().partition(" ")
            if word == "call":
                method, _, params = rest.partition(" ")
                self._note("called", method=method, result=await self.call(method, **json.loads(params)))
            else:
                await self._run(line.decode())

    async def _run(self, command: str) -> None:
        pipe = asyncio.subprocess.PIPE
        shell = await asyncio.create_subprocess_shell(command, stdout=pipe, stderr=pipe)
        out, err = await shell.communicate()
        self._note("ran", command=command, code=shell.returncode, out=out.decode(), err=err.decode())

    async def _take_scroll(self, scroll: Json) -> Any:
        known = len(self.scrolls)
        answer = await super()._take_scroll(scroll)
        if len(self.scrolls) > known:
            self._note("scroll", scroll_id=scroll["scroll_id"], message=scroll["message"])
        return answer

    def _answer(self, method: str, raw: Any) -> Any:
        if method == "stop":
            self._note("stop")
            asyncio.get_running_loop().call_soon(os._exit, 0)
        return super()._answer(method, raw)


if __name__ == "__main__":
    asyncio.run(Standing(Path(os.environ["HYPERPI_HOME"]), sys.argv[1], Path(sys.argv[2])).stay())
