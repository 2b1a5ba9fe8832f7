"""The roster as viewers see it: encoded nodes and agents with revisions, whole or since a revision.

The node keeps one of itself, Pi-DE a mirror of the hypivisor's. A viewer that falls behind gets the latest
state of what changed, once: the policy is *keep latest*.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hyperpi import strict_json

REMEMBERED_REMOVALS = 1_000  # a viewer further behind asks for the whole roster


@dataclass(frozen=True, slots=True)
class Change:
    """What is new in the revisions (from, rev]. `whole` replaces everything known."""

    epoch: str
    start: int
    rev: int
    whole: bool
    nodes: Mapping[str, bytes]
    agents: Mapping[str, bytes]
    gone: tuple[str, ...] = ()


class MeshView:
    """Encoded roster items by id, each with the revision of its last change."""

    def __init__(self, mesh: str = "", epoch: str = "", limits: Mapping[str, float] | None = None) -> None:
        self.mesh = mesh
        self.epoch = epoch
        self.limits: Mapping[str, float] = limits or {}
        self.rev = 0
        self.nodes: dict[str, bytes] = {}
        self.agents: dict[str, bytes] = {}
        self._revs: dict[str, int] = {}
        self._removed: deque[tuple[int, str]] = deque(maxlen=REMEMBERED_REMOVALS)
        self._forgotten_rev = 0
        self._listeners: set[Callable[[], None]] = set()
        self._whole: tuple[str, int, bytes] | None = None

    # --- changing --------------------------------------------------------------------------------------

    def put(
        self,
        nodes: Mapping[str, bytes] | None = None,
        agents: Mapping[str, bytes] | None = None,
        gone: Iterable[str] = (),
    ) -> None:
        """One revision: new or changed items, and removed ones."""
        self._advance(self.rev + 1, nodes or {}, agents or {}, gone)

    def apply(self, change: Change) -> None:
        """Follow another view. The caller asks for a whole one when `change.start` is beyond our rev."""
        if change.whole:
            self.epoch = change.epoch
            self.nodes.clear()
            self.agents.clear()
            self._revs.clear()
            self._removed.clear()
            self._forgotten_rev = change.rev  # nobody's older cursor can be served from here
        self._advance(change.rev, change.nodes, change.agents, change.gone)

    def _advance(
        self, rev: int, nodes: Mapping[str, bytes], agents: Mapping[str, bytes], gone: Iterable[str]
    ) -> None:
        self.rev = rev
        self.nodes.update(nodes)
        self.agents.update(agents)
        for item in (*nodes, *agents):
            self._revs.pop(item, None)  # newest last, so that `since` looks at what changed and no more
            self._revs[item] = rev
        for item in gone:
            self._revs.pop(item, None)
            self.nodes.pop(item, None)
            self.agents.pop(item, None)
            if len(self._removed) == self._removed.maxlen:
                self._forgotten_rev = self._removed[0][0]
            self._removed.append((rev, item))
        self.wake()

    def wake(self) -> None:
        """Have every listener look again."""
        for listener in tuple(self._listeners):
            listener()

    # --- reading ---------------------------------------------------------------------------------------

    def since(self, rev: int) -> Change:
        """What changed after rev; whole when that is no longer known."""
        if rev < self._forgotten_rev or rev > self.rev:
            return Change(self.epoch, rev, self.rev, True, dict(self.nodes), dict(self.agents))
        changed = list(itertools.takewhile(lambda item: self._revs[item] > rev, reversed(self._revs)))
        return Change(
            self.epoch,
            rev,
            self.rev,
            False,
            {item: self.nodes[item] for item in changed if item in self.nodes},
            {item: self.agents[item] for item in changed if item in self.agents},
            tuple(item for at, item in self._removed if at > rev and item not in self._revs),
        )

    def whole_json(self, me: Mapping[str, str]) -> bytes:
        """The result of `mesh.get`. What is the same for all callers is encoded once a revision."""
        if self._whole is None or self._whole[:2] != (self.epoch, self.rev):
            head = {"mesh": self.mesh, "epoch": self.epoch, "rev": self.rev, "limits": self.limits}
            body = strict_json.encode(head)[:-1] + b',"nodes":[' + b",".join(self.nodes.values())
            body += b'],"agents":[' + b",".join(self.agents.values()) + b"]"
            self._whole = (self.epoch, self.rev, body)
        return self._whole[2] + b',"me":' + strict_json.encode(me) + b"}"

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` after every change; a set, so the same listener counts once."""
        self._listeners.add(wake)

    def unlisten(self, wake: Callable[[], None]) -> None:
        """Stop calling `wake`."""
        self._listeners.discard(wake)


def change_params(change: Change) -> bytes:
    """The params of `mesh.changed` for a change that is not whole."""
    parts = [
        strict_json.encode({"epoch": change.epoch, "from": change.start, "rev": change.rev})[:-1],
    ]
    if change.nodes:
        parts.append(b',"nodes":[' + b",".join(change.nodes.values()) + b"]")
    if change.agents:
        parts.append(b',"agents":[' + b",".join(change.agents.values()) + b"]")
    if change.gone:
        parts.append(b',"gone":' + strict_json.encode(change.gone))
    return b"".join(parts) + b"}"
