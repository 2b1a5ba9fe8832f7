"""Kind acp: any agent that speaks the Agent Client Protocol over its standard input and output.

What the keeper holds is our adapter (node/acp), and the agent is the adapter's child. Which commands may be
such an agent is for the machine's node.toml to say; these are known to be one when they are called like this.
"""

import sys
from collections.abc import Sequence
from typing import Final

from node.kinds.kind import Kind, Past, Resumption

# The first words of a command; a caller may add arguments. Whether one is installed here is another matter.
KNOWN: Final = (
    "auggie --acp",
    "claude-agent-acp",
    "claude-code-acp",
    "codex-acp",
    "copilot --acp",
    "cursor-agent acp",
    "gemini --acp",
    "gemini --experimental-acp",
    "goose acp",
    "kimi acp",
    "opencode acp",
    "pi-acp",
    "qwen --acp",
    "vibe-acp",
)

# Neither the folder that the agent starts in nor PYTHON* of its owner decides what code the adapter is.
ADAPTER: Final = (sys.executable, "-E", "-P", "-m", "node.acp")


def adapter_argv(command: Sequence[str], session: str | None = None) -> tuple[str, ...]:
    """The adapter around a command; with a session's id it loads that one instead of beginning another."""
    loading = () if session is None else (f"--session={session}",)
    return (*ADAPTER, *loading, "--", *command)


def resumed(args: Sequence[str], past: Past) -> Resumption | None:
    """The same command, which is told to load the session."""
    return Resumption(tuple(args), session=past.session) if past.session else None


KIND: Final = Kind("acp", command=(), headless=(), adapter=adapter_argv, resumed=resumed)
