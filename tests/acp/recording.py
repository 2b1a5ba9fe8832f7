"""Recorded traffic between a client and a real ACP agent: `{from: client|agent, message}`, a line each.

recordings/ holds OpenCode 1.18.33 and pi-acp 0.0.34 with pi 1.5.2, each against the scripted model of
tests/pi/model_server.py: turns with tools, a plan, changes to files, thinking, a cancelled turn, a permission
given and refused, and the same sessions loaded again.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.acp.conversation import Conversation

Json = dict[str, Any]

FOLDER = Path(__file__).with_name("recordings")
TURNS = ("opencode-turns", "opencode-reject", "pi-acp-turns")
LOADS = ("opencode-load", "pi-acp-load")
BEGAN = 1_770_000_000.0  # a time like any other
STEP_S = 0.05


@dataclass(slots=True)
class Played:
    """What came of a recording."""

    events: list[Json] = field(default_factory=list)
    permissions: list[Json] = field(default_factory=list)
    runnings: list[Json | None] = field(default_factory=list)  # after each message of the agent

    def of_type(self, *types: str) -> list[Json]:
        return [event for event in self.events if event["type"] in types]

    @property
    def entries(self) -> list[Json]:
        """As they stand in the end, in order."""
        found: dict[str, Json] = {}
        for event in self.of_type("message_end"):
            found[event["entry"]["id"]] = event["entry"]
        return list(found.values())

    def texts(self, *roles: str) -> list[str]:
        return [text_of(entry) for entry in self.entries if entry["role"] in roles]


def text_of(entry: Json) -> str:
    return "".join(block["text"] for block in entry["blocks"] if block["type"] == "text")


def lines_of(name: str) -> list[Json]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


def play(name: str) -> Played:
    """Everything that a conversation makes of a recording, as the adapter would drive it."""
    conversation, played, now = Conversation(), Played(), BEGAN
    loading: int | None = None
    prompts: set[int] = set()
    for line in lines_of(name):
        now += STEP_S
        message = line["message"]
        method, params = message.get("method"), message.get("params", {})
        events: list[Json] = []
        if line["from"] == "client":
            if method == "session/prompt":
                prompts.add(message["id"])
                text = "".join(block["text"] for block in params["prompt"])
                events = conversation.asked(text, [], now, source="cli", prompt_id=f"p{message['id']}")
            elif method == "session/load":
                loading = message["id"]
        elif method == "session/update":
            events = conversation.updated(params["update"], now)
        elif method == "session/request_permission":
            played.permissions.append(params)
            events = conversation.permission_asked(params["toolCall"], now)
        elif message.get("id") == loading:
            events, loading = conversation.replayed(now), None
        elif message.get("id") in prompts:
            events = conversation.ended(message["result"]["stopReason"], now)
        played.events += events
        if line["from"] == "agent":
            played.runnings.append(conversation.running())
    return played
