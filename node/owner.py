"""What the owner of this machine sees and may ask: the mesh while it can be reached, else this node.

What concerns this node is answered here; the rest is asked of the hypivisor over the Link, or watched through
a `MeshWindow`. Either way this machine's owner is an operator there.
"""

import getpass
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from hyperpi.console_client import Notify
from hyperpi.errors import HyperPiError, NotFound, UnknownMethod
from hyperpi.event import Cursor
from hyperpi.mesh_view import MeshView
from hyperpi.roles import OPERATOR, Caller
from hyperpi.terminal_view import TerminalFeed
from hyperpi.viewer import BankFeed, Feed
from node.agents import Agents
from node.link import Link
from node.mesh_window import MeshWindow
from node.recorded import RecordedBackend

ASK_S = 28.0  # below the 30 s that a viewer waits
# Also of agents here asked of the hypivisor while it can be: it writes them down before they take effect.
AUDITED_THERE = frozenset({"agent.answer", "agent.policy"})
HERE_ALONE = frozenset({"scroll.send"})  # stored on this disk before anybody is asked


class OwnersBackend:
    """A `viewer.Backend` over this node's own and the mesh's."""

    def __init__(self, backend: RecordedBackend, agents: Agents, link: Link, notify: Notify) -> None:
        self.window = MeshWindow(link, notify, backend.view.wake)
        self._backend = backend
        self._agents = agents
        self._link = link

    @property
    def view(self) -> MeshView:
        """See viewer.Backend."""
        return self.window.view or self._backend.view

    def owner(self) -> Caller:
        """The person whose machine this is."""
        return Caller(f"{getpass.getuser()}@{self._agents.node_name}", OPERATOR, "cli")

    async def mesh(self, caller: Caller) -> bytes:
        """See viewer.Backend."""
        if self._link.up:
            return await (await self.window.client()).mesh(caller)
        return await self._backend.mesh(caller)

    async def call(self, method: str, params: Mapping[str, Any], caller: Caller) -> bytes:
        """See viewer.Backend."""
        if method in AUDITED_THERE and self._link.up:
            with suppress(UnknownMethod):  # one of an older version, which knows nothing of approvals
                return await self._link.ask(method, dict(params), caller, ASK_S)
        if method in HERE_ALONE or not self._link.up or self._is_ours(method, params):
            return await self._backend.call(method, params, caller)
        return await self._link.ask(method, dict(params), caller, ASK_S)

    def _is_ours(self, method: str, params: Mapping[str, Any]) -> bool:
        if "agent" in params and method.startswith("agent."):
            try:
                self._agents.resolve(str(params["agent"]))
            except HyperPiError:
                return False
            return True
        return params.get("node") in {self._agents.node, self._agents.node_name}

    async def feed(self, agent: str, cursor: Cursor | None) -> Feed:
        """See viewer.Backend: an agent of this machine, else one of the mesh."""
        try:
            return await self._backend.feed(agent, cursor)
        except NotFound:
            if not self._link.up:
                raise
        return await (await self.window.client()).feed(agent, cursor)

    async def terminal(self, agent: str) -> TerminalFeed:
        """See viewer.Backend: of an agent of this machine, else of one of the mesh."""
        try:
            self._agents.resolve(agent)
        except NotFound:
            if not self._link.up:
                raise
            return await (await self.window.client()).terminal(agent)
        return await self._backend.terminal(agent)

    async def watch_bank(self, node: str, bank: int, wake: Callable[[], None]) -> BankFeed:
        """See viewer.Backend: a bank of this machine, else of another one."""
        if self._is_ours("disk.watch", {"node": node}) or not self._link.up:
            return await self._backend.watch_bank(node, bank, wake)
        return await (await self.window.client()).watch_bank(node, bank, wake)
