"""JSON, a line each: on the agent socket, in pi's protocol, in a keeper's files."""

import json
import os

Json = dict[str, object]

MAX_LINE_BYTES = 1 << 20  # of the agent socket, as the contract has it


def line_of(message: Json) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def save(path: str, value: Json) -> None:
    """Old or new, never a mixture, and on the disk when this returns. Raises OSError."""
    temporary = f"{path}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(line_of(value))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
