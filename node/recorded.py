"""What this machine's own people and programs do to its agents, written down before it is done.

They need no hypivisor, so its audit trail hears nothing of them: the node keeps one of its own,
`node/audit.db`, of the same make. An act that would start a program or answer for an agent is refused when it
cannot be written down; a full disk keeps nobody from stopping an agent.
"""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hyperpi.acts import AUDITED, AUDITED_ONCE, Begun, what_of
from hyperpi.audit import Audit, AuditUnwritable
from hyperpi.contract import Json
from hyperpi.database import DiskThread
from hyperpi.errors import HyperPiError
from hyperpi.event import Cursor
from hyperpi.mesh_view import MeshView
from hyperpi.roles import AGENT, Caller
from node.backend import Backend, LocalFeed, LocalTerminal
from node.bank_feeds import BankFeed

log = logging.getLogger(__name__)

MAKE_ROOM = "make room on the disk of HYPERPI_HOME, then try again; nothing has to be restarted"
NOT_WITHOUT = frozenset({"node.spawn", "agent.resume", "agent.answer", "agent.policy"})
KEPT_ELSEWHERE = frozenset({"scroll.send"})  # a scroll is a row of the disk, with its sender


class OwnTrail:
    """The audit trail of one node, for the event loop."""

    def __init__(self, audit: Audit, thread: DiskThread) -> None:
        self._audit = audit
        self._thread = thread

    @classmethod
    def open(cls, path: Path, thread: DiskThread) -> "OwnTrail":
        """Open or make the file. Raises StoreUnusable, OSError."""
        return cls(Audit.open(path, time.time, MAKE_ROOM), thread)

    async def write(self, caller: Caller, what: str, result: str, details: Json) -> None:
        """Durable when this returns. Raises AuditUnwritable."""
        await self._thread.call(self._audit.append, caller.name, caller.source, what, result, details)

    def close(self) -> None:
        """Close the file; further calls fail."""
        self._audit.close()


class RecordedBackend:
    """A `viewer.Backend` of this node for callers of this machine."""

    def __init__(self, backend: Backend, trail: OwnTrail) -> None:
        self._backend = backend
        self._trail = trail
        self._begun = Begun()

    @property
    def view(self) -> MeshView:
        """See viewer.Backend."""
        return self._backend.view

    async def mesh(self, caller: Caller) -> bytes:
        """See viewer.Backend."""
        return await self._backend.mesh(caller)

    async def feed(self, agent: str, cursor: Cursor | None) -> LocalFeed:
        """See viewer.Backend."""
        return await self._backend.feed(agent, cursor)

    async def terminal(self, agent: str) -> LocalTerminal:
        """See viewer.Backend."""
        return await self._backend.terminal(agent)

    async def watch_bank(self, node: str, bank: int, wake: Callable[[], None]) -> BankFeed:
        """See viewer.Backend."""
        return await self._backend.watch_bank(node, bank, wake)

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller) -> bytes:
        """See viewer.Backend. Raises AuditUnwritable for what must not go unrecorded."""
        if caller.role == AGENT or not self._is_told(method, params, caller):
            return await self._backend.call(method, params, caller)
        what = what_of(dict(params))
        await self._record(caller, method, "asked", what, must=method in NOT_WITHOUT)
        if method in AUDITED_ONCE:
            self._begun.began(caller, method, params)
            return await self._backend.call(method, params, caller)
        try:
            result = await self._backend.call(method, params, caller)
        except HyperPiError as exc:
            await self._record(caller, method, "refused", {**what, "reason": str(exc)})
            raise
        await self._record(caller, method, "done", what)
        return result

    def _is_told(self, method: str, params: Mapping[str, Any], caller: Caller) -> bool:
        if method in AUDITED_ONCE:
            return self._begun.is_new(caller, method, params)
        return method in AUDITED - KEPT_ELSEWHERE

    async def _record(
        self, caller: Caller, method: str, result: str, details: Json, *, must: bool = False
    ) -> None:
        try:
            await self._trail.write(caller, method, result, details)
        except AuditUnwritable:
            if must:
                raise
            log.error("an act is missing in this machine's audit trail what=%s result=%s", method, result)
