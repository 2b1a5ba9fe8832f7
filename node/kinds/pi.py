"""Kind pi: the unmodified pi, in a terminal as if somebody had typed it, or headless.

Its global extension registers it with the node by itself, so its conversation and its terminal are two views
of one session. A headless one reads commands from its stdin, which the keeper holds open.
"""

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from node.kinds.kind import Held, Kind, Past, Resumption
from node.regular_file import open_regular

MAX_HEADER_BYTES: Final = 64 << 10
HEADLESS: Final = ("--mode", "rpc")

# What of its command line belongs to pi and not to one conversation: a first prompt must not be run again.
KEPT_WITH_VALUE: Final = frozenset(
    {
        "--append-system-prompt",
        "--extension",
        "--model",
        "--models",
        "--prompt-template",
        "--provider",
        "--session-dir",
        "--skill",
        "--system-prompt",
        "--theme",
        "--thinking",
        "--tools",
        "-e",
        "-t",
    }
)
KEPT: Final = frozenset(
    {
        "--no-builtin-tools",
        "--no-context-files",
        "--no-extensions",
        "--no-prompt-templates",
        "--no-skills",
        "--no-themes",
        "--no-tools",
        "--offline",
    }
)


def held(argv: Sequence[str]) -> Held:
    """In rpc mode what it prints is a protocol, and dialogs are lines of it."""
    if "--mode" in argv[:-1] and argv[argv.index("--mode") + 1] == "rpc":
        return Held(terminal=False, stdout="pi-rpc")
    return Held(terminal=True)


def resumed(args: Sequence[str], past: Past) -> Resumption | None:
    """A pi that opens the session file of the past one. Without a file there is nothing to go on with."""
    if not past.file or not PurePath(past.file).is_absolute():
        return None
    kept: list[str] = []
    words = iter(args)
    for word in words:
        if word in KEPT_WITH_VALUE:
            kept += [word, next(words, "")]
        elif word in KEPT:
            kept.append(word)
    return Resumption((*kept, "--session", past.file))


def left(past: Past) -> bool:
    """Whether a session stands in that file: pi writes into whatever it is given. Blocks."""
    try:
        with open_regular(past.file or "") as file:
            header: object = json.loads(file.readline(MAX_HEADER_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and header.get("type") == "session"


KIND: Final = Kind("pi", command=("pi",), headless=HEADLESS, held=held, resumed=resumed, left=left)
