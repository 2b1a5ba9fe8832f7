"""Prompts on their way into an agent: once in effect by their id, with an honest receipt.

stored: on this disk until the agent can be asked; queued: the agent has it, and takes it at a turn boundary;
delivered: it is part of the conversation; unknown: the agent was lost before it said. docs/states.md has the
table. The agent keeps ids too, so that one sent again after a lost answer does not run twice.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, Protocol

from hyperpi import contract
from hyperpi.address import AgentId, new_id
from hyperpi.contract import Json
from hyperpi.errors import BadRequest, Conflict, HyperPiError, NodeUnreachable, Overloaded, UnknownMethod
from hyperpi.roles import Caller
from node.agents import Agents, Observer

log = logging.getLogger(__name__)

ASK_S = 10.0
REMEMBERED = 10_000  # ids; at one prompt a second, almost three hours
REMEMBERED_S = 3_600.0  # the contract's promise
MAX_HELD = 100  # prompts of one agent that cannot be asked now
STORE_S = 10.0  # for a prompt to be on disk; longer and the disk is full
WAITING = frozenset({"stored", "unknown"})  # sent, or sent again, when the agent dials

PromptKey = tuple[AgentId, str]


@dataclass(slots=True)
class Sent:
    """A prompt and how far it has come."""

    agent: AgentId
    params: Json  # for the agent; empty once it has them, for pictures are large
    at: float  # Unix seconds
    receipt: str = "stored"
    refused: HyperPiError | None = None  # why the agent would not take it; then it is forgotten

    @property
    def waits(self) -> bool:
        """Whether it is to be sent, maybe once more."""
        return self.receipt in WAITING


class PromptMemory(Protocol):
    """What outlives the node."""

    def load(self) -> dict[PromptKey, Sent]:
        """What is remembered, oldest first."""

    def keep(self, key: PromptKey, sent: Sent | None) -> None:
        """Remember the present state of a prompt soon; None: forget it."""

    async def kept(self, key: PromptKey) -> None:
        """Return when the state that `keep` was told of is on disk."""


class Prompts(Observer):
    """Takes prompts for agents. Also an observer of the agents."""

    def __init__(
        self, agents: Agents, notify: Callable[[str, str, Json], None], memory: PromptMemory
    ) -> None:
        self._agents = agents
        self._notify = notify
        self._memory = memory
        self._sent: OrderedDict[PromptKey, Sent] = OrderedDict()
        for key, sent in memory.load().items():
            self._sent[key] = sent
            if sent.agent not in agents.roster or (sent.receipt != "stored" and _is_old(sent)):
                self._forget(key)
            elif not agents.roster.get(sent.agent).live and sent.receipt in {"stored", "queued"}:
                sent.receipt = "unknown"
                memory.keep(key, sent)
        self._turns: dict[AgentId, asyncio.Lock] = {}  # one prompt of an agent at a time, in their order
        self._resend: Callable[[Any], object] = lambda work: work.close()

    def use(self, spawn: Callable[[Any], object]) -> None:
        """How to start work that nobody waits for."""
        self._resend = spawn

    async def take(self, agent: AgentId, wanted: contract.Prompt, caller: Caller) -> Json:
        """Pass a prompt on, or hold it for an agent that is starting or away. Raises Conflict, Overloaded."""
        record = self._agents.roster.get(agent)
        prompt_id = wanted.id or new_id("p")
        known = self._sent.get((agent, prompt_id))
        if known is not None:
            if known.receipt == "stored":  # whoever sent it first may have gone before it was passed on
                await self._pass_on(agent, {"stored"})
            return await self._answer(prompt_id, known)
        if not record.live:
            raise Conflict(
                f"{record.name} has ended: {record.detail or 'it was stopped'}", hint="start another agent"
            )
        if not wanted.text.strip() and not wanted.images:
            raise BadRequest("the prompt is empty")
        params: Json = {
            "text": wanted.text,
            "mode": wanted.mode,
            "id": prompt_id,
            "source": caller.source,
            "by": caller.name,
        }
        if wanted.images:
            params["images"] = wanted.images
        sent = Sent(agent, params, time.time())
        if not self._agents.is_connected(agent):
            held = sum(1 for s in self._sent.values() if s.agent == agent and s.receipt == "stored")
            if held >= MAX_HELD:
                raise Overloaded(f"{held} prompts wait for {record.name} already")
        self._remember(prompt_id, sent)
        await self._pass_on(agent, {"stored"})
        if sent.refused is not None:
            raise sent.refused
        return await self._answer(prompt_id, sent)

    async def _answer(self, prompt_id: str, sent: Sent) -> Json:
        """The receipt; `stored` is said of what is on disk only. Raises Overloaded when there is no room."""
        key = (sent.agent, prompt_id)
        if sent.receipt == "stored":
            try:
                async with asyncio.timeout(STORE_S):
                    await self._memory.kept(key)
            except TimeoutError:
                if sent.receipt == "stored" and self._sent.get(key) is sent:
                    self._forget(key)
                    raise Overloaded(
                        "the prompt cannot be stored until its agent is there", hint="is the disk full?"
                    ) from None
        return {"id": prompt_id, "receipt": sent.receipt}

    async def _pass_on(self, agent: AgentId, receipts: Set[str]) -> None:
        """Ask the agent to take what has one of these receipts, in the order in which it came here."""
        async with self._turns.setdefault(agent, asyncio.Lock()):
            for (whose, prompt_id), sent in list(self._sent.items()):
                wanted = sent.receipt in receipts and (sent.receipt == "stored" or not _is_old(sent))
                if whose == agent and wanted and self._agents.is_connected(agent):
                    await self._ask(prompt_id, sent)

    async def _ask(self, prompt_id: str, sent: Sent) -> None:
        try:
            answer = await self._agents.connection(sent.agent).call("prompt", sent.params, ASK_S)
        except NodeUnreachable:
            self._move(prompt_id, sent, "unknown")
            return
        except HyperPiError as exc:
            takes_none = isinstance(exc, UnknownMethod)
            name = self._agents.roster.get(sent.agent).name
            sent.refused = Conflict(f"{name} takes no prompts") if takes_none else exc
            self._move(prompt_id, sent, "unknown")
            self._forget((sent.agent, prompt_id))
            return
        receipt = answer.get("receipt") if isinstance(answer, dict) else None
        self._move(prompt_id, sent, receipt if receipt in {"queued", "delivered"} else "queued")

    def _move(self, prompt_id: str, sent: Sent, receipt: str) -> None:
        if sent.receipt in {receipt, "delivered"}:
            return
        sent.receipt = receipt
        if not sent.waits:
            sent.params = {}
        self._memory.keep((sent.agent, prompt_id), sent)
        params = {"agent": sent.agent, "id": prompt_id, "receipt": receipt}
        self._notify(f"agent:{sent.agent}", "prompt.changed", params)

    def _remember(self, prompt_id: str, sent: Sent) -> None:
        while len(self._sent) >= REMEMBERED:
            if not _is_old(next(iter(self._sent.values()))):
                raise Overloaded("too many prompts within the hour")
            self._forget(next(iter(self._sent)))
        self._sent[sent.agent, prompt_id] = sent
        self._memory.keep((sent.agent, prompt_id), sent)

    def _forget(self, key: PromptKey) -> None:
        if self._sent.pop(key, None) is not None:
            self._memory.keep(key, None)

    # --- observer of agents ----------------------------------------------------------------------------

    def prompt_entered(self, agent: AgentId, prompt_id: str) -> None:
        """See node.agents.Observer."""
        sent = self._sent.get((agent, prompt_id))
        if sent is not None:
            self._move(prompt_id, sent, "delivered")

    def agent_connected(self, agent: AgentId) -> None:
        """See node.agents.Observer: what waited for it, or was lost on the way, is sent in its order."""
        if any(key[0] == agent and sent.receipt in WAITING for key, sent in self._sent.items()):
            self._resend(self._pass_on(agent, WAITING))

    def agent_changed(self, agent: AgentId) -> None:
        """See node.agents.Observer: what an ended agent had not taken will never be."""
        if not self._agents.roster.get(agent).live:
            for key, sent in self._sent.items():
                if key[0] == agent and sent.receipt in {"stored", "queued"}:
                    self._move(key[1], sent, "unknown")

    def agent_gone(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        self._turns.pop(agent, None)
        for key in [key for key in self._sent if key[0] == agent]:
            self._forget(key)


def _is_old(sent: Sent) -> bool:
    """Whether its agent may have forgotten its id, so that sending it again could run it twice."""
    return time.time() - sent.at >= REMEMBERED_S
