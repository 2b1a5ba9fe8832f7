"""run.json: what a running part tells the command about itself. Written whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace the file in one step; readable by its owner alone."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=1)
    os.replace(temporary, path)


def read(path: Path) -> dict[str, Any] | None:
    """The content, or None when there is none that can be read."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_live(path: Path) -> dict[str, Any] | None:
    """Like `read`, but only while the process that wrote it runs."""
    content = read(path)
    if content is None or not isinstance(content.get("pid"), int):
        return None
    try:
        os.kill(content["pid"], 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # somebody else's process: then it is at least running
    return content
