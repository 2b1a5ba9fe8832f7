"""Looks after what agents do: what they cost, and whether the ones that work get anywhere."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence

from hyperpi import contract
from hyperpi.address import AgentId
from node.agents import Agents, Observer
from node.tree_load import Cost, costs, table
from node.watch_policy import WatchPolicy
from node.watchdog import Turn, stuck

LOOK_S = 10.0
LOOK_SHARE = 0.002  # of the time, at most, goes into looking: on a machine with many processes less often
NOTICEABLE_CORES = 0.05  # what a person would call another figure:
NOTICEABLE_BYTES = 16 << 20
NOTICEABLE_SHARE = 0.2  # ... and so much of what was told last


class Watching(Observer):
    """An observer of the agents; `run` looks at processes and clocks."""

    def __init__(self, agents: Agents, policy: Callable[[], WatchPolicy]) -> None:
        self._agents = agents
        self._policy = policy
        self._turns: dict[AgentId, Turn] = {}
        self._before: dict[AgentId, tuple[float, float]] = {}  # processor time and when that was

    # --- observer of agents ----------------------------------------------------------------------------

    def agent_changed(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        record = self._agents.roster.get(agent)
        if record.own not in {"working", "stuck"}:
            self._turns.pop(agent, None)
        elif agent not in self._turns:
            self._turns[agent] = Turn(time.monotonic())
        if not record.live:
            self._before.pop(agent, None)

    def agent_gone(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        self._turns.pop(agent, None)
        self._before.pop(agent, None)

    def events_came(self, agent: AgentId, raws: Sequence[bytes]) -> None:
        """See node.agents.Observer."""
        turn = self._turns.get(agent)
        if turn is None:
            return
        now = time.monotonic()
        for raw in raws:
            turn.take(raw, now)
        self._judge(agent, turn, now)

    def _judge(self, agent: AgentId, turn: Turn, now: float) -> None:
        record = self._agents.roster.get(agent)
        if record.asking is not None:  # it waits for a person; its time begins anew when it need not
            turn.moved_at = now
        # Of a program in a terminal only its output is known; the others tell of their turns.
        on = stuck(turn, self._policy(), now) if record.turn_seen is not None else None
        self._agents.stuck(agent, on)

    # --- looking ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            took_s = await self._look()
            await asyncio.sleep(max(LOOK_S, took_s / LOOK_SHARE))

    async def _look(self) -> float:
        began = time.thread_time()
        now = time.monotonic()
        for agent, turn in list(self._turns.items()):
            self._judge(agent, turn, now)
        roots = {
            record.id: (record.pid, record.pid_start)
            for record in self._agents.roster
            if record.live and record.pid is not None
        }
        took_s = time.thread_time() - began
        if not roots:
            return took_s
        found, looked_s = await asyncio.to_thread(_costs, list(roots.values()))
        now = time.monotonic()
        for agent, (pid, _) in roots.items():
            if pid in found and agent in self._agents.roster:
                self._tell(agent, found[pid], now)
        return took_s + looked_s

    def _tell(self, agent: AgentId, cost: Cost, now: float) -> None:
        self._agents.seen_running(agent)
        before = self._before.get(agent)
        self._before[agent] = (cost.cpu_s, now)
        if before is None:
            return  # a share of the processor takes two looks
        cores = max(0.0, cost.cpu_s - before[0]) / max(now - before[1], 0.001)
        load = contract.Load(cpu=round(cores, 3), mem_bytes=cost.mem_bytes)
        if noticeable(self._agents.loads.get(agent), load):
            self._agents.costs(agent, load)


def _costs(roots: Sequence[tuple[int, str | None]]) -> tuple[dict[int, Cost], float]:
    """The costs, and the processor time that it took to find them."""
    began = time.thread_time()
    return costs(table(), roots, os.getpid()), time.thread_time() - began


def noticeable(told: contract.Load | None, now: contract.Load) -> bool:
    """Whether a person would want to hear of it: the roster goes to everybody who looks."""
    if told is None:
        return True
    cpu, mem = abs(now.cpu - told.cpu), abs(now.mem_bytes - told.mem_bytes)
    return (cpu >= NOTICEABLE_CORES and cpu >= NOTICEABLE_SHARE * told.cpu) or (
        mem >= NOTICEABLE_BYTES and mem >= NOTICEABLE_SHARE * told.mem_bytes
    )
