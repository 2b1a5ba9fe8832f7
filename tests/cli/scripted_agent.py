"""An agent without a model: registers with the node of HYPERPI_HOME and repeats what it is told.

usage: scripted_agent.py NAME
"""

import asyncio
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Agent:
    """One life of it, on the node's agent socket."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._calls = 0
        self._events = 1
        self._model = "acme/parrot"
        self._mode = "loud"
        self.entries: list[Json] = [
            _entry("e0", "user", "what do you do?"),
            _entry("e1", "assistant", "repeat"),
        ]

    def register(self, name: str) -> None:
        hello = {"instance": str(uuid.uuid4()), "kind": "script", "name": name, "cwd": os.getcwd()}
        self._call("agent.register", {**hello, "pid": os.getpid(), "card": self._card()})
        self._call("agent.changed", {"state": "idle"})

    def _card(self) -> Json:
        models = ["acme/parrot", "acme/owl"]
        card = {"model": self._model, "tools": [{"name": "repeat"}], "skills": [], "models": models}
        return card | {"mode": self._mode, "modes": ["loud", "quiet"]}

    def answer(self, request: Json) -> None:
        params = request.get("params", {})
        result: Json = {}
        match request["method"]:
            case "snapshot":
                result = {"entries": self.entries, "more": False, "running": None, "state": "idle"}
            case "prompt":
                result = {"receipt": "delivered"}
                self._repeat(params)
            case "deliver":
                said = f"read: {params['scroll']['message']}"
                result = {"opcode_type": "text_display", "content": said}
            case "configure":
                self._model = params.get("model", self._model)
                self._mode = params.get("mode", self._mode)
                result = {"model": self._model, "thinking": params.get("thinking"), "mode": self._mode}
                self._call("agent.changed", {"card": self._card()})
            case "stop":
                asyncio.get_running_loop().call_soon(self._writer.close)
        if "id" in request:
            self._send({"jsonrpc": "2.0", "id": request["id"], "result": result})

    def _repeat(self, prompt: Json) -> None:
        number = len(self.entries)
        asked, said = f"m{number}", f"m{number + 1}"
        kinds = [image["mime"] for image in prompt.get("images", ())]
        text = f"you said: {prompt['text']}" + (f" and showed {', '.join(kinds)}" if kinds else "")
        self.entries.append(_entry(f"e{number}", "user", prompt["text"], asked))
        answer = _entry(f"e{number + 1}", "assistant", text, said)
        self.entries.append(answer)
        self._tell(
            {"type": "user_message", "message_id": asked, "text": prompt["text"], "prompt_id": prompt["id"]},
            {"type": "message_start", "message_id": said, "role": "assistant"},
            *({"type": "text_delta", "message_id": said, "block": 0, "delta": char} for char in text),
            {"type": "message_end", "message_id": said, "entry": answer},
        )

    def _tell(self, *events: Json) -> None:
        self._call("agent.events", {"from": self._events, "events": list(events)})
        self._events += len(events)

    def _call(self, method: str, params: Json) -> None:
        self._calls += 1
        self._send({"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params})

    def _send(self, message: Json) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")


def _entry(entry_id: str, role: str, text: str, message_id: str | None = None) -> Json:
    at = "2026-01-05T10:00:00.000Z"
    blocks = [{"type": "text", "text": text}]
    return {"id": entry_id, "message_id": message_id, "role": role, "at": at, "blocks": blocks}


async def main(name: str) -> None:
    address = Path(os.environ["HYPERPI_HOME"], "node", "agent.addr").read_text().strip()
    reader, writer = await asyncio.open_unix_connection(address, limit=1 << 20)
    agent = Agent(writer)
    agent.register(name)
    while line := await reader.readline():
        message = json.loads(line)
        if "method" in message:
            agent.answer(message)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
