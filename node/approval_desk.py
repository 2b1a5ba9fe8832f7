"""Approvals between agents and people: asked over the agent socket or by a keeper, answered by viewers.

The edge of `approvals`: it writes them down, tells viewers in the agent's ring and whoever asked, keeps the
time, and says which policy holds for which agent. An answer is on disk before it takes effect.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from hyperpi import contract
from hyperpi.address import AgentId
from hyperpi.contract import Json
from hyperpi.errors import BadRequest, HyperPiError, NotForThisRole, Overloaded
from hyperpi.process_tree import Relative
from hyperpi.roles import Caller
from node.agent_record import AgentRecord
from node.agents import Agents, Observer
from node.approval_policy import ApprovalPolicy
from node.approvals import Approvals, Asked, Verdict, approval_shape
from node.dialogs import as_approval, as_response
from node.process import is_alive, process_start

log = logging.getLogger(__name__)

STORE_S = 10.0  # for an answer to be on disk; longer and the disk is full
SUMMARY_CHARS = 300  # of what an agent's line in the roster says

DialogAnswered = Callable[[AgentId, str, Json], Awaitable[None]]


class ApprovalMemory(Protocol):
    """What outlives the node."""

    def load(self) -> list[Asked]:
        """What is remembered, oldest first."""

    def keep(self, asked: Asked) -> None:
        """Remember it as it is now, soon."""

    def forget(self, approval: str) -> None:
        """Remember it no more."""

    async def kept(self, approval: str) -> None:
        """Return when what `keep` was told of is on disk."""


class ApprovalDesk(Observer):
    """Takes questions of agents and answers of people. Also an observer of the agents."""

    def __init__(
        self,
        agents: Agents,
        memory: ApprovalMemory,
        policy: Callable[[], ApprovalPolicy],
        notify: Callable[[str, str, Json], None],
    ) -> None:
        self._agents = agents
        self._memory = memory
        self._policy = policy
        self._notify = notify
        self._approvals = Approvals(memory.load())
        self._told: dict[AgentId, contract.AskPolicy] = {}
        self._changed = asyncio.Event()  # when the next one expires may have changed
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialog_answered: DialogAnswered | None = None
        agents.pending = self.pending
        agents.decisions = self.decisions
        for record in agents.roster:
            agents.roster.asks(record.id, self._asks(record.id), time.time())

    def use(self, dialog_answered: DialogAnswered) -> None:
        """How to tell a keeper what became of its dialog."""
        self._dialog_answered = dialog_answered

    # --- reading ---------------------------------------------------------------------------------------

    def pending(self, agent: AgentId) -> list[contract.Approval]:
        """What an agent waits for, oldest first."""
        return [approval_shape(asked) for asked in self._approvals.pending(agent)]

    def decisions(self, agent: AgentId) -> list[contract.Decision]:
        """What became of the newest approvals of calls in its conversation, oldest first."""
        return self._approvals.decisions(self._agents.roster.lineage(agent))

    def list(self, wanted: contract.ApprovalList) -> list[Json]:
        """The newest ones that are wanted, oldest first."""
        agent = self._agents.resolve(wanted.agent).id if wanted.agent is not None else None
        found = [
            asked
            for asked in self._approvals
            if agent in (None, asked.agent)
            and wanted.state in (None, asked.state)
            and asked.agent in self._agents.roster  # else it has not dialled this node yet
        ]
        return [self._listed(asked) for asked in found[-wanted.limit :]]

    def _listed(self, asked: Asked) -> Json:
        listed: Json = msgspec.to_builtins(approval_shape(asked))
        return {**listed, "address": self._agents.shape(asked.agent).address}

    # --- what agents say -------------------------------------------------------------------------------

    def ask(self, agent: AgentId, wanted: contract.ApprovalAsk, peer_pid: int) -> contract.Approval:
        """An agent asks for leave, or what became of it. Raises Conflict, BadRequest, Overloaded."""
        if (known := self._approvals.find(wanted.id)) is not None:
            self._check_asker(known, peer_pid)
        start = process_start(peer_pid)
        asker = Relative(peer_pid, start) if start is not None else None
        return approval_shape(self._ask(agent, wanted, asker=asker))

    def ask_dialog(self, agent: AgentId, request: Json) -> Json:
        """A keeper tells of a dialog of its pi: how long people have, or their answer. Raises as `ask`."""
        if not isinstance(request.get("id"), str):
            raise BadRequest("a dialog has an id")
        asked = self._ask(agent, as_approval(agent, request), dialog=request["id"])
        if asked.state == "pending":
            return {"timeout_s": max(0.0, asked.expires_at - time.time())}
        return {"response": as_response(approval_shape(asked))}

    def _ask(
        self,
        agent: AgentId,
        wanted: contract.ApprovalAsk,
        *,
        asker: Relative | None = None,
        dialog: str | None = None,
    ) -> Asked:
        timeout_s = wanted.timeout_s or self._policy().timeout_s
        asked, new = self._approvals.ask(
            agent,
            wanted,
            timeout_s,
            time.time(),
            asker=asker,
            dialog=dialog,
            in_turn=self._agents.roster.get(agent).own == "working",
        )
        self._memory.keep(asked)
        if new:
            log.info("approval asked approval=%s agent=%s kind=%s", asked.id, agent, asked.action.kind)
            self._tell_viewers(asked)
        return asked

    async def answer_at_agent(
        self, agent: AgentId, said: contract.ApprovalAnswer, peer_pid: int
    ) -> contract.Approval:
        """The person at the agent's terminal has answered, or its time is over; what holds.

        Raises NotFound, BadRequest, NotForThisRole when another process than the one that asked says so.
        """
        asked = self._approvals.of(agent, said.id)
        self._check_asker(asked, peer_pid)
        if said.choice is None:
            if self._approvals.expire(asked, time.time()):
                self._decided(asked)
            return approval_shape(asked)
        verdict = Verdict(said.choice, "terminal", "terminal", said.note)
        if asked.state == "pending":
            await self._answer(asked, verdict)
        elif said.effective and asked.choice != said.choice:
            log.warning("decided at the terminal meanwhile approval=%s was=%s", asked.id, asked.state)
            self._approvals.settle(asked, verdict, time.time())
            self._decided(asked)
        return approval_shape(asked)

    def withdraw(self, agent: AgentId, said: contract.ApprovalWithdraw, peer_pid: int) -> None:
        """It needs no answer any more. Raises NotFound, NotForThisRole."""
        asked = self._approvals.of(agent, said.id)
        self._check_asker(asked, peer_pid)
        self._withdraw(asked, said.reason)

    def withdraw_dialog(self, agent: AgentId, dialog: str, reason: str) -> None:
        """Its keeper has answered a dialog itself, or pi has."""
        for asked in self._approvals.pending(agent):
            if asked.dialog == dialog:
                self._withdraw(asked, reason)

    @staticmethod
    def _check_asker(asked: Asked, peer_pid: int) -> None:
        """What an agent has started may dial as that agent; its approvals are not for it to answer."""
        asker = asked.asker
        if asker is not None and asker.pid != peer_pid and is_alive(asker.pid, asker.start):
            raise NotForThisRole("another process has asked this, and lives")

    # --- what people say -------------------------------------------------------------------------------

    async def answer(self, agent: AgentId, wanted: contract.Answer, caller: Caller) -> contract.Approval:
        """A viewer has answered. Raises NotFound, Conflict when it is decided, BadRequest, Overloaded."""
        asked = self._approvals.of(agent, wanted.approval)
        verdict = Verdict(wanted.choice, caller.name, caller.source, wanted.note, wanted.text)
        await self._answer(asked, verdict)
        return approval_shape(asked)

    async def _answer(self, asked: Asked, verdict: Verdict) -> None:
        """First on disk, then in effect: after a crash the same must hold that somebody was told of."""
        self._approvals.answer(asked, verdict, time.time())
        self._memory.keep(asked)
        try:
            async with asyncio.timeout(STORE_S):
                await self._memory.kept(asked.id)
        except TimeoutError:
            self._approvals.reopen(asked)
            self._memory.keep(asked)
            self._changed.set()
            raise Overloaded("the answer cannot be written down", hint="is the disk full?") from None
        self._decided(asked)

    # --- what follows ----------------------------------------------------------------------------------

    def _withdraw(self, asked: Asked, reason: str) -> None:
        if self._approvals.withdraw(asked, reason, time.time()):
            self._decided(asked)

    def _decided(self, asked: Asked) -> None:
        log.info(
            "approval decided approval=%s agent=%s state=%s via=%s",
            *(asked.id, asked.agent, asked.state, asked.via),
        )
        self._memory.keep(asked)
        self._tell_asker(asked)
        self._tell_viewers(asked)
        if asked.via in (None, "terminal"):  # what viewers answer stands in the trail already
            self._notify(f"agent:{asked.agent}", "approval.settled", _trace(asked))

    def _tell_asker(self, asked: Asked) -> None:
        """Whoever is away asks again once it is back."""
        if asked.dialog is not None:
            if self._dialog_answered is not None:
                work = self._tell_keeper(self._dialog_answered, asked, asked.dialog)
                task = asyncio.ensure_future(work)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            return
        with suppress(HyperPiError):
            params: Json = msgspec.to_builtins(approval_shape(asked))
            self._agents.connection(asked.agent).notify("approval.decided", params)

    @staticmethod
    async def _tell_keeper(tell: DialogAnswered, asked: Asked, dialog: str) -> None:
        try:
            await tell(asked.agent, dialog, as_response(approval_shape(asked)))
        except HyperPiError as exc:
            log.info("a keeper was not told of an answer approval=%s reason=%s", asked.id, exc)

    def _tell_viewers(self, asked: Asked) -> None:
        self._changed.set()
        if asked.agent not in self._agents.roster:
            return
        self._agents.say(asked.agent, {"type": "approval", "approval": approval_shape(asked)})
        self._agents.asks(asked.agent, self._asks(asked.agent))

    def _asks(self, agent: AgentId) -> str | None:
        """What the agent's line in the roster says that it waits for."""
        waiting = self._approvals.pending(agent)
        if not waiting:
            return None
        more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
        what = "an answer" if waiting[0].action.kind == "dialog" else "approval"
        return f"waits for {what}: {waiting[0].action.summary[:SUMMARY_CHARS]}{more}"

    async def run(self) -> None:
        """Deny what nobody has answered in time, and forget what was decided long ago; until cancelled."""
        try:
            while True:
                now = time.time()
                for asked in self._approvals.due(now):
                    self._approvals.expire(asked, now)
                    self._decided(asked)
                for asked in self._approvals.outdated(now):
                    self._forget(asked)
                self._changed.clear()
                due = self._approvals.next_expiry
                with suppress(TimeoutError):
                    # The clock of the wall may be set: never longer than a minute without a look.
                    async with asyncio.timeout(60.0 if due is None else min(60.0, max(0.0, due - now))):
                        await self._changed.wait()
        finally:
            for task in self._tasks:
                task.cancel()

    def _forget(self, asked: Asked) -> None:
        self._approvals.forget(asked)
        self._memory.forget(asked.id)

    # --- policy ----------------------------------------------------------------------------------------

    def policy_of(self, record: AgentRecord) -> contract.AskPolicy:
        """What holds for an agent, and is told to it; it is told again when that changes."""
        told_now = self._resolved(record)
        self._told[record.id] = told_now
        return told_now

    def _resolved(self, record: AgentRecord) -> contract.AskPolicy:
        return self._policy().resolved(record.kind, record.name, Path(record.cwd), record.ask_mode)

    def shown_policy(self, record: AgentRecord) -> Json:
        """The mode that holds, and whose word it is."""
        mode = self._resolved(record).mode
        return {"mode": mode, "from": "operator" if mode == record.ask_mode else "node.toml"}

    def set_mode(self, record: AgentRecord, mode: Any) -> None:
        """An operator's wish for an agent; None: none. Raises RefusedByPolicy."""
        if mode is not None:
            self._policy().check_wish(record.kind, record.name, Path(record.cwd), mode)
        record.ask_mode = mode
        self.tell_policies()

    def check_rename(self, record: AgentRecord, name: str) -> None:
        """A name that has it ask less is not for an operator to give. Raises RefusedByPolicy."""
        self._policy().check_rename(record.kind, record.name, Path(record.cwd), name)

    def tell_policies(self) -> None:
        """Policies may have changed: tell the agents whose has."""
        for record in self._agents.roster:
            if not record.live or self._told.get(record.id) == (now := self._resolved(record)):
                continue
            with suppress(HyperPiError):
                connection = self._agents.connection(record.id)
                connection.notify("policy", {"approvals": msgspec.to_builtins(now)})
                self._told[record.id] = now

    def before_told(self) -> Json:
        """What an agent keeps to that does not know yet what holds for it."""
        policy = self._policy()
        return {"strictest": policy.strictest, "timeout_s": policy.timeout_s}

    # --- observer of agents ----------------------------------------------------------------------------

    def agent_connected(self, agent: AgentId) -> None:
        """See node.agents.Observer: it may be new to the roster, and have asked an earlier node."""
        if (what := self._asks(agent)) is not None:
            self._agents.asks(agent, what)

    def agent_changed(self, agent: AgentId) -> None:
        """See node.agents.Observer: an agent that has ended waits for nothing, nor does a turn that has."""
        record = self._agents.roster.get(agent)
        for asked in self._approvals.pending(agent):
            if not record.live:
                self._withdraw(asked, "the agent has ended")
            elif asked.dialog is not None and asked.in_turn and record.own == "idle":
                self._withdraw(asked, "the turn is over")

    def agent_gone(self, agent: AgentId) -> None:
        """See node.agents.Observer."""
        self._told.pop(agent, None)
        for asked in [asked for asked in self._approvals if asked.agent == agent]:
            self._forget(asked)


def _trace(asked: Asked) -> Json:
    """What the audit trail has of one that was not decided by a viewer."""
    return {
        "agent": asked.agent,
        "approval": asked.id,
        "state": asked.state,
        "by": asked.by,
        "note": asked.note,
        "action": f"{asked.action.kind}: {asked.action.summary[:SUMMARY_CHARS]}",
        "hash": asked.action.hash,
    }
