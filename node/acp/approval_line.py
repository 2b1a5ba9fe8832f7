"""Permissions that wait for a person: asked of the node, which owns the answer; again after each redial.

An id stays with its request, so a restart of the node neither loses it nor asks a person twice.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from hyperpi.address import new_id
from hyperpi.contract import Json
from hyperpi.errors import Conflict, HyperPiError, NodeUnreachable, Overloaded, UnknownMethod
from hyperpi.tether import Tether
from node.acp import permissions

log = logging.getLogger(__name__)

ASK_S = 10.0
AGAIN_S = 2.0  # before a node that could not take something is asked again

Decided = asyncio.Future[Json]


@dataclass(slots=True)
class _Open:
    asked: Json  # params of approval.ask
    decided: Decided
    due: asyncio.Event = field(default_factory=asyncio.Event)  # decided, or to be asked of another node


class ApprovalLine:
    """The requests of one agent that are not decided yet."""

    def __init__(self, tether: Tether, cwd: str, explain: Callable[[Json, Json], None]) -> None:
        """`explain`: told of a request and its approval when a person denied it with words of their own."""
        self._tether = tether
        self._cwd = cwd
        self._explain = explain
        self._open: dict[str, _Open] = {}

    async def ask(self, request: Json) -> Json:
        """The answer to a `session/request_permission`, once there is one. What cannot be asked is no."""
        approval_id = new_id("ap", 8)
        asked = permissions.approval_of(request, approval_id, self._cwd)
        if not asked["choices"]:
            return permissions.rejected(request)
        waiting = self._open[approval_id] = _Open(asked, asyncio.get_running_loop().create_future())
        try:
            approval = await self._until_decided(waiting)
        finally:
            del self._open[approval_id]
        if approval.get("state") == "denied" and approval.get("note"):
            self._explain(request, approval)
        return permissions.outcome_of(request, approval)

    async def _until_decided(self, waiting: _Open) -> Json:
        while not waiting.decided.done():
            await self._tether.connected()
            try:
                approval: Json = await self._tether.call("approval.ask", waiting.asked, ASK_S)
            except (NodeUnreachable, Overloaded):
                await asyncio.wait([waiting.decided], timeout=AGAIN_S)
                continue
            except HyperPiError as exc:
                log.warning("a permission cannot be asked for reason=%s", exc)
                text = f"A permission was refused, since it cannot be asked for: {exc}"
                self._tether.tell({"type": "notice", "level": "warning", "text": text})
                return {"state": "expired"}
            if approval.get("state") != "pending":
                return approval
            await self._decided_or_lost(waiting)
        return waiting.decided.result()

    async def _decided_or_lost(self, waiting: _Open) -> None:
        """Until it is decided, or the node is another one, which is to be asked too."""
        waiting.due.clear()
        waiting.decided.add_done_callback(lambda _: waiting.due.set())
        await waiting.due.wait()

    async def run(self) -> None:
        """Have open requests asked again on each new connection, until cancelled."""
        while True:
            await self._tether.connected()
            await self._tether.disconnected()
            for waiting in self._open.values():
                waiting.due.set()

    def decided(self, approval: Json) -> None:
        """The node says what became of one."""
        waiting = self._open.get(str(approval.get("id")))
        if waiting is not None and not waiting.decided.done():
            waiting.decided.set_result(approval)

    def withdraw_all(self, reason: str) -> None:
        """Nobody needs to answer any more."""
        for approval_id, waiting in self._open.items():
            if not waiting.decided.done():
                waiting.decided.set_result({"id": approval_id, "state": "withdrawn"})
                self._tether.say("approval.withdraw", {"id": approval_id, "reason": reason})

    async def insist(self, method: str, params: Json) -> None:
        """Tell the node something that it must know, as soon as there is one that takes it."""
        while True:
            await self._tether.connected()
            try:
                await self._tether.call(method, params, ASK_S)
            except (NodeUnreachable, Overloaded):
                await asyncio.sleep(AGAIN_S)
            except (Conflict, UnknownMethod, HyperPiError) as exc:
                log.warning("the node refused what it was told method=%s reason=%s", method, exc)
                return
            else:
                return
