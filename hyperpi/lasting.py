"""Parts of a process that run as long as it does."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class PartEnded(RuntimeError):
    """A part has ended that nobody told to: without it the process would only seem to work."""


async def lasting(name: str, part: Coroutine[Any, Any, None]) -> None:
    """Run a part until we are cancelled. Raises what it raises, and PartEnded when it just ends.

    A library may raise CancelledError of its own; a TaskGroup takes that for a wish of ours and goes on
    without the part.
    """
    try:
        await part
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise PartEnded(f"{name} was cancelled from within") from None
    raise PartEnded(f"{name} has ended")
