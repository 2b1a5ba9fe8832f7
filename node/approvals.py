"""What agents may do only if a person lets them: who asked what, and how it was decided.

Pure: facts in (asked, answered, withdrawn, the time), decisions out; the clock is passed in. An id belongs to
one action for ever, by its hash; the first answer wins; silence denies. docs/states.md has the table.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from hyperpi import contract
from hyperpi.address import AgentId
from hyperpi.clock import rfc3339
from hyperpi.errors import BadRequest, Conflict, NotFound, Overloaded
from hyperpi.process_tree import Relative

MAX_PENDING = 32  # of one agent; one that asks more at once is not waiting for anybody
REMEMBERED_S = 7 * 86_400.0  # decided ones: whoever asked may have been suspended for a while
REMEMBERED = 2_000
DECISIONS = 200  # in one snapshot: more than the calls of its newest entries
NOTE_CHARS = 500  # of a note there

State = Literal["pending", "approved", "denied", "expired", "withdrawn"]
DENYING = frozenset({"reject_once", "reject_always"})


@dataclass(slots=True)
class Asked:
    """One approval and how far it has come. Times are Unix seconds: they outlive the node."""

    id: str
    agent: AgentId
    action: contract.Action
    choices: list[contract.Choice]
    asked_at: float
    expires_at: float
    asker: Relative | None = None  # the process that asked; nobody else may take its words back
    dialog: str | None = None  # the id of pi's dialog, when its keeper asks
    in_turn: bool = False  # the agent was working when it asked
    state: State = "pending"
    choice: str | None = None
    by: str | None = None
    via: str | None = None
    at: float | None = None
    note: str | None = None
    text: str | None = None

    @property
    def chosen(self) -> contract.Choice | None:
        """The choice that was taken."""
        return next((choice for choice in self.choices if choice.id == self.choice), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer: which choice, whose, from where."""

    choice: str
    by: str
    via: str
    note: str | None = None
    text: str | None = None


class Approvals:
    """By id. No method awaits, so each is atomic on the event loop."""

    def __init__(self, known: Iterable[Asked] = ()) -> None:
        self._known: OrderedDict[str, Asked] = OrderedDict((asked.id, asked) for asked in known)
        self._open = {asked.id: asked for asked in self if asked.state == "pending"}

    def __iter__(self) -> Iterator[Asked]:
        return iter(self._known.values())

    def find(self, approval: str) -> Asked | None:
        """One by its id."""
        return self._known.get(approval)

    def of(self, agent: AgentId, approval: str) -> Asked:
        """One of an agent's. Raises NotFound."""
        asked = self.find(approval)
        if asked is None or asked.agent != agent:
            raise NotFound(f"no approval {approval} of that agent", hint="`hyperpi approvals` lists them")
        return asked

    def pending(self, agent: AgentId | None = None) -> list[Asked]:
        """What waits for an answer, oldest first; of one agent or of all."""
        return [asked for asked in self._open.values() if agent in (None, asked.agent)]

    def decisions(self, agents: Collection[AgentId]) -> list[contract.Decision]:
        """What became of these agents' newest approvals of tool calls, oldest first."""
        decided = [asked for asked in self if asked.agent in agents and asked.state != "pending"]
        return [found for asked in decided[-DECISIONS:] if (found := _decision(asked)) is not None]

    @property
    def next_expiry(self) -> float | None:
        """When the next one has waited long enough."""
        return min((asked.expires_at for asked in self.pending()), default=None)

    # --- facts -----------------------------------------------------------------------------------------

    def ask(
        self,
        agent: AgentId,
        wanted: contract.ApprovalAsk,
        timeout_s: float,
        now: float,
        *,
        asker: Relative | None = None,
        dialog: str | None = None,
        in_turn: bool = False,
    ) -> tuple[Asked, bool]:
        """An agent asks, or asks again after it was cut off; whether it is new.

        Raises Conflict when the id stands for another action or another agent's, BadRequest, Overloaded.
        """
        known = self._known.get(wanted.id)
        if known is not None:
            if known.agent != agent or known.action.hash != wanted.action.hash:
                raise Conflict(f"{wanted.id} is the approval of another action", hint="ask with a new id")
            known.asker = asker
            return known, False
        if len({choice.id for choice in wanted.choices}) < len(wanted.choices):
            raise BadRequest("two choices have one id")
        if len(self.pending(agent)) >= MAX_PENDING:
            raise Overloaded(f"{MAX_PENDING} approvals of this agent are waiting already")
        asked = Asked(
            wanted.id,
            agent,
            wanted.action,
            wanted.choices,
            asked_at=now,
            expires_at=now + timeout_s,
            asker=asker,
            dialog=dialog,
            in_turn=in_turn,
        )
        self._known[asked.id] = self._open[asked.id] = asked
        return asked, True

    def answer(self, asked: Asked, verdict: Verdict, now: float) -> None:
        """Somebody has answered: the first one wins. Raises Conflict, BadRequest."""
        if asked.state == "pending" and now >= asked.expires_at:
            self.expire(asked, now)
        if asked.state != "pending":
            raise Conflict(f"too late: {told(asked)}", data={"state": asked.state, "by": asked.by})
        self.settle(asked, verdict, now)

    def settle(self, asked: Asked, verdict: Verdict, now: float) -> None:
        """As `answer`, whatever was decided before: this is what has happened. Raises BadRequest."""
        choice = next((choice for choice in asked.choices if choice.id == verdict.choice), None)
        if choice is None:
            offered = ", ".join(choice.id for choice in asked.choices)
            raise BadRequest(f"{verdict.choice!r} is not offered", hint=f"choose one of {offered}")
        if choice.kind == "text" and verdict.text is None:
            raise BadRequest(f"{verdict.choice!r} needs a text", hint="give it as `text`")
        self._open.pop(asked.id, None)
        asked.state = "denied" if choice.kind in DENYING else "approved"
        asked.choice, asked.by, asked.via = verdict.choice, verdict.by, verdict.via
        asked.note, asked.text, asked.at = verdict.note, verdict.text, now

    def reopen(self, asked: Asked) -> None:
        """An answer could not be written down: it was none."""
        self._open[asked.id] = asked
        asked.state = "pending"
        asked.choice = asked.by = asked.via = asked.note = asked.text = asked.at = None

    def withdraw(self, asked: Asked, reason: str, now: float) -> bool:
        """Nobody needs to answer any more; whether it was still open."""
        if asked.state != "pending":
            return False
        del self._open[asked.id]
        asked.state, asked.note, asked.at = "withdrawn", reason, now
        return True

    def expire(self, asked: Asked, now: float) -> bool:
        """Nobody has answered in time, which denies; whether it was still open."""
        if asked.state != "pending":
            return False
        del self._open[asked.id]
        asked.state, asked.at = "expired", now
        return True

    def due(self, now: float) -> list[Asked]:
        """Those that have waited long enough."""
        return [asked for asked in self.pending() if asked.expires_at <= now]

    def outdated(self, now: float) -> list[Asked]:
        """Decided ones that are too old, or too many; the caller forgets them."""
        decided = [asked for asked in self if asked.state != "pending"]
        too_many = max(0, len(decided) - REMEMBERED)
        return [a for i, a in enumerate(decided) if i < too_many or now - a.asked_at > REMEMBERED_S]

    def forget(self, asked: Asked) -> None:
        """Drop one."""
        self._known.pop(asked.id, None)
        self._open.pop(asked.id, None)


def told(asked: Asked) -> str:
    """How it was decided, in a few words."""
    match asked.state:
        case "pending":
            return "nobody has answered yet"
        case "expired":
            return "nobody answered in time, which denied it"
        case "withdrawn":
            return f"it was withdrawn: {asked.note}"
        case state:
            return f"{state} by {asked.by}"


def _decision(asked: Asked) -> contract.Decision | None:
    detail = asked.action.detail
    call = detail.get("call_id") if isinstance(detail, dict) else None
    if asked.state == "pending" or not isinstance(call, str) or not call:
        return None
    note = asked.note[:NOTE_CHARS] if asked.note is not None else None
    return contract.Decision(call_id=call, state=asked.state, by=asked.by, via=asked.via, note=note)


def approval_shape(asked: Asked) -> contract.Approval:
    """The Approval of the contract."""
    return contract.Approval(
        id=asked.id,
        agent=asked.agent,
        action=asked.action,
        choices=asked.choices,
        asked_at=rfc3339(asked.asked_at),
        expires_at=rfc3339(asked.expires_at),
        state=asked.state,
        choice=asked.choice,
        by=asked.by,
        via=asked.via,
        at=rfc3339(asked.at) if asked.at is not None else None,
        note=asked.note,
        text=asked.text,
    )
