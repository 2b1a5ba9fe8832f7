"""The whole texts of prompts that an agent has been given and has not begun with, bounded.

Agents tell only the beginnings of what waits in them. Should one end, this is what can be sent to the next.
In memory only: a node that was restarted knows the beginnings, and says that they are no more than that.
"""

from collections import OrderedDict

import msgspec

from hyperpi import contract, strict_json
from hyperpi.address import AgentId

SHOWN_CHARS = 1_000  # of a prompt that waits, in the queue that everybody is told
MAX_TEXTS = 50  # of one agent, as many as pi-socket tells of
MAX_TEXT_BYTES = 1 << 20  # as JSON, of one agent: all of them go into one answer


class WaitingTexts:
    """Texts by agent and id of the prompt; the oldest of an agent give way to new ones."""

    def __init__(self) -> None:
        self._kept: dict[AgentId, OrderedDict[str, tuple[str, int]]] = {}

    def keep(self, agent: AgentId, prompt_id: str, text: str) -> None:
        """Remember a text. One that is too large by itself is not kept."""
        size = len(strict_json.encode(text))
        self.drop(agent, prompt_id)
        if size > MAX_TEXT_BYTES:
            return
        kept = self._kept.setdefault(agent, OrderedDict())
        kept[prompt_id] = (text, size)
        while len(kept) > MAX_TEXTS or sum(each for _, each in kept.values()) > MAX_TEXT_BYTES:
            kept.popitem(last=False)

    def get(self, agent: AgentId, prompt_id: str) -> str | None:
        """The whole text, or None when it is not known."""
        kept = self._kept.get(agent)
        found = kept.get(prompt_id) if kept is not None else None
        return found[0] if found is not None else None

    def drop(self, agent: AgentId, prompt_id: str) -> None:
        """It waits no more."""
        kept = self._kept.get(agent)
        if kept is not None and kept.pop(prompt_id, None) is not None and not kept:
            del self._kept[agent]

    def forget(self, agent: AgentId) -> None:
        """The agent is no more."""
        self._kept.pop(agent, None)


def lost_prompt(
    waited: contract.QueuedPrompt, whole: str | None, *, in_full: bool = False
) -> contract.QueuedPrompt:
    """What waited for an agent that has ended, with the text that it was sent with, if that is known."""
    if whole is None:
        return msgspec.structs.replace(waited, where="lost", kept=False)
    text = whole if in_full else whole[:SHOWN_CHARS]
    return msgspec.structs.replace(waited, where="lost", text=text, cut=len(whole) - len(text), kept=True)
