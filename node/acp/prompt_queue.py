"""Prompts that wait for their turn: ACP takes one at a time, and cannot be steered. Pure."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from hyperpi.contract import Json
from hyperpi.errors import Overloaded

MAX_WAITING = 100
KNOWN_IDS = 2_000  # of prompts taken: the same id twice is one prompt


@dataclass(frozen=True, slots=True)
class Wanted:
    """One prompt. `scroll`: the id of the scroll that it hands over."""

    id: str
    text: str
    source: str
    images: tuple[Json, ...] = field(default=())
    scroll: str | None = None
    mode: str = "prompt"
    at: float = 0.0  # Unix seconds


class PromptQueue:
    """What is to be said to the agent, in order of arrival."""

    def __init__(self) -> None:
        self._waiting: deque[Wanted] = deque()
        self._taken: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, wanted: Wanted) -> bool:
        """Queue a prompt; False when its id was taken before. Raises Overloaded."""
        if wanted.id in self._taken:
            return False
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded(
                f"{MAX_WAITING} prompts wait already", hint="wait for the turn to end, or abort it"
            )
        self._taken[wanted.id] = None
        while len(self._taken) > KNOWN_IDS:
            del self._taken[next(iter(self._taken))]
        self._waiting.append(wanted)
        return True

    def waits(self, prompt_id: str) -> bool:
        """Whether a prompt is still in the queue."""
        return any(wanted.id == prompt_id for wanted in self._waiting)

    def __iter__(self) -> Iterator[Wanted]:
        return iter(self._waiting)

    def take_back(self, prompt_id: str) -> Wanted | None:
        """Remove one that waits; None when there is none of that id."""
        found = next((wanted for wanted in self._waiting if wanted.id == prompt_id), None)
        if found is not None:
            self._waiting.remove(found)
        return found

    def next(self) -> Wanted | None:
        """The oldest one, which leaves the queue."""
        return self._waiting.popleft() if self._waiting else None

    def drop_all(self) -> list[Wanted]:
        """Empty it; what was in it."""
        dropped = list(self._waiting)
        self._waiting.clear()
        return dropped
