"""Which connected agents are silent: each is asked at every beat whether it is there."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from hyperpi.address import AgentId
from hyperpi.errors import HyperPiError, UnknownMethod

log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0  # an agent silent for this long is asked whether it is there
MISSED_BEATS = 3


class Asked(Protocol):
    """As much of an agent's connection as is needed."""

    async def call(self, method: str, params: dict[str, Any], timeout_s: float) -> Any:
        """See hyperpi.rpc.Connection.call."""


class Heartbeats:
    """Counts the beats in which nothing came from an agent."""

    def __init__(self, silent: Callable[[AgentId], None], answered: Callable[[AgentId], None]) -> None:
        """Called at each beat after MISSED_BEATS without a word, and at each answer to a question."""
        self._silent = silent
        self._answered = answered
        self._missed: dict[AgentId, int] = {}
        self._asking: set[AgentId] = set()

    def heard(self, agent: AgentId) -> None:
        """A line came from it."""
        self._missed[agent] = 0

    def forget(self, agent: AgentId) -> None:
        """It has ended."""
        self._missed.pop(agent, None)

    def beat(self, agent: AgentId, connection: Asked, tasks: asyncio.TaskGroup) -> None:
        """Time to ask it, as one of these tasks, unless an earlier question is still open."""
        missed = self._missed.get(agent, 0)
        self._missed[agent] = missed + 1
        if missed >= MISSED_BEATS:
            self._silent(agent)
        if agent not in self._asking:
            self._asking.add(agent)
            task = tasks.create_task(self._ask(agent, connection), name=f"heartbeat {agent}")
            task.add_done_callback(lambda _: self._asking.discard(agent))

    async def _ask(self, agent: AgentId, connection: Asked) -> None:
        try:
            await connection.call("ping", {}, HEARTBEAT_S * MISSED_BEATS)
        except UnknownMethod:
            pass  # an answer too: the line itself is what counts
        except HyperPiError:
            return
        except Exception:  # a boundary: whatever asking one agent comes to, the node goes on for the others
            log.exception("cannot ask whether it is there agent=%s", agent)
            return
        self._answered(agent)
