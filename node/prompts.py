"""Prompts on their way into an agent: once in effect by their id, with an honest receipt.

stored: on this disk until the agent can be asked; queued: the agent has it, and takes it at a turn boundary;
delivered: it is part of the conversation; unknown: the agent was lost before it said; cancelled: somebody has
taken it back before the agent had begun with it. docs/states.md has the table. The agent keeps ids too, so
that one sent again after a lost answer does not run twice.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from hyperpi import contract, pictures
from hyperpi.address import AgentId, new_id
from hyperpi.clock import rfc3339
from hyperpi.contract import Json
from hyperpi.errors import (
    BadRequest,
    Conflict,
    HyperPiError,
    NodeUnreachable,
    NotFound,
    Overloaded,
    UnknownMethod,
)
from hyperpi.roles import Caller
from node.agent_record import resume_of
from node.agents import Agents, Observer
from node.waiting_texts import SHOWN_CHARS, WaitingTexts

log = logging.getLogger(__name__)

ASK_S = 10.0
STORE_S = 10.0  # for a prompt to be on disk; longer and the disk is full
REMEMBERED = 10_000  # ids; at one prompt a second, almost three hours
REMEMBERED_S = 3_600.0  # the contract's promise, and what agents keep to
FORGOTTEN_AT_ONCE = 8  # old ids, for each new one
MAX_HELD = 100  # prompts that wait for one agent
MAX_HELD_BYTES = 16 << 20  # of text and pictures, for one agent

PromptKey = tuple[AgentId, str]
Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


@dataclass(slots=True)
class Sent:
    """A prompt and how far it has come."""

    agent: AgentId
    id: str
    params: Json  # for the agent; empty once it has them, for pictures are large
    at: float  # Unix seconds
    number: int  # later ones have higher ones, whatever the clock does
    receipt: str = "stored"
    asked: bool = False  # it may be in the agent already, though nobody has said so
    acknowledged: bool = False  # somebody was told that it is stored
    refused: HyperPiError | None = None  # why the agent would not take it; then it is forgotten

    @property
    def key(self) -> PromptKey:
        """What it is remembered by."""
        return self.agent, self.id

    @property
    def text(self) -> str:
        """The whole of it, as long as it may have to be sent."""
        return str(self.params.get("text", ""))

    @property
    def size(self) -> int:
        """Bytes of text and pictures, about."""
        images = self.params.get("images", ())
        return len(self.text) + sum(len(str(image)) for image in images)

    @property
    def is_old(self) -> bool:
        """Whether its agent may have forgotten its id, so that sending it again could run it twice."""
        return time.time() - self.at >= REMEMBERED_S


class PromptMemory(Protocol):
    """What outlives the node."""

    def load(self) -> list[Sent]:
        """What is remembered, in the order in which it came."""

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
        self._known: OrderedDict[PromptKey, Sent] = OrderedDict()
        self._lines: dict[AgentId, list[Sent]] = {}  # what is still to be sent, in its order
        self._texts = WaitingTexts()  # of what agents have, and of what they had not taken
        self._turns: dict[AgentId, asyncio.Lock] = {}  # one prompt of an agent at a time
        self._spawn: Spawn = asyncio.ensure_future  # until `use`
        for sent in memory.load():
            self._recall(sent)
        agents.stored, agents.settled, agents.whole = self.stored, self._is_settled, self._whole
        self._last = max((sent.number for sent in self._known.values()), default=0)

    def use(self, spawn: Spawn) -> None:
        """How to start work that outlives whoever asked for it."""
        self._spawn = spawn

    def _recall(self, sent: Sent) -> None:
        self._known[sent.key] = sent
        if sent.agent not in self._agents.roster or (sent.receipt != "stored" and sent.is_old):
            self._forget(sent)
        elif self._agents.roster.get(sent.agent).live:
            sent.acknowledged = sent.receipt == "stored"
            if sent.params:
                self._lines.setdefault(sent.agent, []).append(sent)
        elif sent.receipt in {"stored", "queued"}:  # it ended while no node ran
            sent.receipt, sent.params = "unknown", {}
            self._leave_line(sent)

    # --- taking ----------------------------------------------------------------------------------------

    async def take(self, agent: AgentId, wanted: contract.Prompt, caller: Caller) -> Json:
        """Pass a prompt on, or hold it for an agent that is starting or away. Raises Conflict, Overloaded."""
        prompt_id = wanted.id or new_id("p")
        sent = self._known.get((agent, prompt_id))
        if sent is None:
            sent = self._accepted(agent, prompt_id, wanted, caller)
        if sent.receipt == "stored":
            # Whoever asks may go at any moment; then it is handed over all the same, rather than some day.
            await asyncio.shield(self._spawn(self._pass_on(agent, frozenset({"stored"}))))
        if sent.refused is not None:
            raise sent.refused
        return await self._answer(sent)

    def _accepted(self, agent: AgentId, prompt_id: str, wanted: contract.Prompt, caller: Caller) -> Sent:
        record = self._agents.roster.get(agent)
        if not record.live:
            goes_on = resume_of(record) is not None
            raise Conflict(
                f"{record.name} has ended: {record.detail or 'it was stopped'}",
                hint=f"`hyperpi resume {record.name}` goes on with it" if goes_on else "start another agent",
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
            params["images"] = pictures.checked(wanted.images)
        sent = Sent(agent, prompt_id, params, time.time(), self._last + 1)
        held = [waiting for waiting in self._lines.get(agent, ()) if waiting.receipt == "stored"]
        if len(held) >= MAX_HELD or sum(one.size for one in held) + sent.size > MAX_HELD_BYTES:
            raise Overloaded(f"{len(held)} prompts wait for {record.name} already")
        self._forget_old_ones()
        if len(self._known) >= REMEMBERED:
            raise Overloaded("too many prompts within the hour")
        self._last = sent.number
        self._known[sent.key] = sent
        self._lines.setdefault(agent, []).append(sent)
        self._memory.keep(sent.key, sent)
        return sent

    async def _answer(self, sent: Sent) -> Json:
        """The receipt; `stored` is said of what is on disk only. Raises Overloaded when there is no room."""
        if sent.receipt == "stored":
            try:
                async with asyncio.timeout(STORE_S):
                    await self._memory.kept(sent.key)
            except TimeoutError:
                if sent.receipt == "stored" and not sent.acknowledged:
                    self._forget(sent)
                    raise Overloaded(
                        "the prompt cannot be stored until its agent is there", hint="is the disk full?"
                    ) from None
            if sent.receipt == "stored":
                self._acknowledge(sent)
        return {"id": sent.id, "receipt": sent.receipt}

    def _acknowledge(self, sent: Sent) -> None:
        if not sent.acknowledged:
            sent.acknowledged = True
            self._agents.tell_queue(sent.agent)

    # --- taking back -----------------------------------------------------------------------------------

    def stored(self, agent: AgentId) -> list[contract.QueuedPrompt]:
        """What is kept here until the agent can take it."""
        return [
            contract.QueuedPrompt(
                id=sent.id,
                text=sent.text[:SHOWN_CHARS],
                cut=max(0, len(sent.text) - SHOWN_CHARS),
                mode=str(sent.params.get("mode", "prompt")),
                source=str(sent.params.get("source", "api")),
                images=len(sent.params.get("images", ())),
                at=rfc3339(sent.at),
                where="node",
            )
            for sent in self._lines.get(agent, ())
            if sent.receipt == "stored" and sent.acknowledged
        ]

    def _is_settled(self, agent: AgentId, prompt_id: str) -> bool:
        sent = self._known.get((agent, prompt_id))
        return sent is not None and sent.receipt in {"delivered", "cancelled"}

    def _whole(self, agent: AgentId, prompt_id: str) -> str | None:
        sent = self._known.get((agent, prompt_id))
        return sent.text if sent is not None and sent.params else self._texts.get(agent, prompt_id)

    async def cancel(self, agent: AgentId, prompt_id: str) -> Json:
        """Take a prompt back that waits; its text, to be edited. Raises NotFound, Conflict and others."""
        sent = self._known.get((agent, prompt_id))
        if sent is None:
            raise NotFound("no such prompt waits", hint="`hyperpi queue AGENT` lists those that do")
        async with self._turns.setdefault(agent, asyncio.Lock()):  # not while it is on its way
            if sent.receipt == "delivered":
                raise Conflict("it is in the conversation already", hint="abort the turn, if it runs")
            if sent.receipt == "stored" and not sent.asked:
                params = sent.params
                images = len(params.get("images", ()))
                taken: Json = {"text": params.get("text", ""), "mode": params.get("mode"), "images": images}
            else:
                taken = await self._taken_back(sent)
            self._move(sent, "cancelled")
        return {"id": prompt_id, **taken}

    async def _taken_back(self, sent: Sent) -> Json:
        connection = self._agents.connection(sent.agent)
        try:
            answer = await connection.call("unqueue", {"id": sent.id}, ASK_S)
        except UnknownMethod:
            raise Conflict(
                "its agent has it, and gives nothing back", hint="abort the turn that it begins"
            ) from None
        said = answer if isinstance(answer, dict) else {}
        return {name: said.get(name) for name in ("text", "mode", "images")}

    # --- passing on ------------------------------------------------------------------------------------

    async def _pass_on(self, agent: AgentId, receipts: frozenset[str]) -> None:
        """Ask the agent to take what has one of these receipts, in its order. Never raises an Exception."""
        async with self._turns.setdefault(agent, asyncio.Lock()):
            for sent in list(self._lines.get(agent, ())):
                if not self._agents.is_connected(agent):
                    return
                if sent.receipt == "unknown" and sent.is_old:
                    self._leave_line(sent)
                elif sent.receipt in receipts:
                    await self._ask(sent)

    async def _ask(self, sent: Sent) -> None:
        sent.asked = True
        self._memory.keep(sent.key, sent)
        if sent.acknowledged:  # it may have waited for days: after a crash now, it must not be sent again
            with suppress(TimeoutError):
                async with asyncio.timeout(STORE_S):
                    await self._memory.kept(sent.key)
            if not self._agents.is_connected(sent.agent):
                sent.asked = False
                self._memory.keep(sent.key, sent)
                return
        heard = self._agents.roster.get(sent.agent).stream_seen
        try:
            answer = await self._agents.connection(sent.agent).call("prompt", sent.params, ASK_S)
        except NodeUnreachable:
            self._move(sent, "unknown")
            self._agents.left_open(sent.agent, heard)
        except HyperPiError as exc:
            self._refuse(sent, exc)
        except Exception:  # a boundary: whatever an agent answers, the node goes on for the others
            log.exception("a prompt was answered with nonsense agent=%s", sent.agent)
            self._move(sent, "unknown")
        else:
            receipt = answer.get("receipt") if isinstance(answer, dict) else None
            self._move(sent, "delivered" if receipt == "delivered" else "queued")

    def _refuse(self, sent: Sent, error: HyperPiError) -> None:
        name = self._agents.roster.get(sent.agent).name
        takes_none = isinstance(error, UnknownMethod)
        sent.refused = Conflict(f"{name} takes no prompts") if takes_none else error
        self._move(sent, "unknown")
        self._forget(sent)

    def _move(self, sent: Sent, receipt: str) -> None:
        if sent.receipt in {receipt, "delivered"} or (sent.receipt == "cancelled" and receipt != "delivered"):
            return
        sent.receipt = receipt
        if receipt == "unknown":
            lost = [one for one in self._lines.get(sent.agent, ()) if one.receipt == "unknown"]
            for one in lost[:-MAX_HELD]:
                self._leave_line(one)
        else:
            self._leave_line(sent)
        self._memory.keep(sent.key, sent)
        params = {"agent": sent.agent, "id": sent.id, "receipt": receipt}
        self._notify(f"agent:{sent.agent}", "prompt.changed", params)

    def _leave_line(self, sent: Sent) -> None:
        """It will not be sent again."""
        line = self._lines.get(sent.agent, [])
        if sent in line:
            line.remove(sent)
        if not line:
            self._lines.pop(sent.agent, None)
        if sent.receipt in {"delivered", "cancelled"}:
            self._texts.drop(sent.agent, sent.id)
        elif sent.params:
            self._texts.keep(sent.agent, sent.id, sent.text)
        sent.params = {}
        if sent.acknowledged and sent.agent in self._agents.roster:
            sent.acknowledged = False
            self._agents.tell_queue(sent.agent)
        self._memory.keep(sent.key, sent)

    # --- forgetting ------------------------------------------------------------------------------------

    def _forget_old_ones(self) -> None:
        for _ in range(min(FORGOTTEN_AT_ONCE, len(self._known))):
            oldest = next(iter(self._known.values()))
            if oldest.receipt == "stored":  # it was promised, however long its agent stays away
                self._known.move_to_end(oldest.key)
            elif oldest.is_old:
                self._forget(oldest)
            else:
                return

    def _forget(self, sent: Sent) -> None:
        if self._known.pop(sent.key, None) is not None:
            sent.params = {}
            self._leave_line(sent)
            self._memory.keep(sent.key, None)

    # --- observer of agents ----------------------------------------------------------------------------

    def prompt_entered(self, agent: AgentId, prompt_id: str) -> None:
        """See node.agents.Observer."""
        self._texts.drop(agent, prompt_id)
        sent = self._known.get((agent, prompt_id))
        if sent is not None:
            self._move(sent, "delivered")

    def agent_connected(self, agent: AgentId) -> None:
        """See node.agents.Observer: what waited for it, or was lost on the way, is sent in its order."""
        if agent in self._lines:
            self._spawn(self._pass_on(agent, frozenset({"stored", "unknown"})))

    def agent_changed(self, agent: AgentId) -> None:
        """See node.agents.Observer: what an ended agent had not taken will never be."""
        if not self._agents.roster.get(agent).live:
            for sent in [sent for sent in self._known.values() if sent.agent == agent]:
                if sent.receipt in {"stored", "queued"}:
                    self._move(sent, "unknown")
                if sent.params:
                    self._leave_line(sent)

    def agent_gone(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        self._turns.pop(agent, None)
        for sent in [sent for sent in self._known.values() if sent.agent == agent]:
            self._forget(sent)
        self._texts.forget(agent)
