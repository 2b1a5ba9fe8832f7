"""Acts of people and programs that the audit trail tells of, and what it keeps of them. One list for whoever
does them: the hypivisor, or a node for the owner of its machine.
"""

from collections.abc import Mapping
from typing import Any

from hyperpi.contract import Json
from hyperpi.roles import Caller

MAX_BEGUN = 1_000

# Recorded before they are done, and refused when that cannot be: who did what to whose agent, or to the mesh.
AUDITED = frozenset(
    {
        "node.approve",
        "node.deny",
        "node.revoke",
        "token.create",
        "token.revoke",
        "login.create",
        "session.revoke",
        "agent.prompt",
        "agent.abort",
        "agent.stop",
        "agent.forget",
        "agent.rename",
        "agent.configure",
        "agent.resume",
        "agent.unqueue",
        "agent.answer",
        "agent.policy",
        "node.spawn",
        "scroll.send",
        "disk.snapshot",
        "disk.mirror",
        "disk.drop",
        "disk.restore",
    }
)

# Recorded once for whoever begins to type in somebody's terminal, not for each key.
AUDITED_ONCE = frozenset({"agent.input"})

RECORDED = (
    *("agent", "node", "path", "new_folder", "kind", "name", "to", "scroll_id", "choice", "id"),
    *("from", "of", "off", "copy", "force"),
    *("approval", "mode", "code"),
    *("model", "thinking"),
    *("role", "ttl_s", "uses"),
)


def what_of(params: Json) -> Json:
    """What of a call is kept: never the text of a prompt or a message."""
    return {key: params[key] for key in RECORDED if key in params}


class Begun:
    """Who has begun what goes on in many calls, such as typing: only its beginning is an act."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], None] = {}

    def is_new(self, caller: Caller, method: str, params: Mapping[str, Any]) -> bool:
        """Whether `began` has not been said of this."""
        return self._key(caller, method, params) not in self._known

    def began(self, caller: Caller, method: str, params: Mapping[str, Any]) -> None:
        """It is written down."""
        self._known[self._key(caller, method, params)] = None
        while len(self._known) > MAX_BEGUN:  # the oldest is an act once more if it goes on
            del self._known[next(iter(self._known))]

    @staticmethod
    def _key(caller: Caller, method: str, params: Mapping[str, Any]) -> tuple[str, str, str]:
        return caller.connection or caller.name, method, str(params.get("agent"))
