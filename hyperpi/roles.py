"""Who may do what: one table for JSON-RPC methods, one for Pi-DE's routes. Deny by default; a test misses
missing rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hyperpi.errors import NotForThisRole

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
ROLES = (VIEWER, OPERATOR, ADMIN)  # each may do what the ones before it may

# What an agent's own tools may ask on a control socket: what the agent may ask on its socket, no more. It is
# not a rung of the ladder above: an agent sees no other's conversation.
AGENT = "agent"
UNSEEN = "unseen"  # somebody at a control socket who could be anybody, and may do nothing
AGENT_METHODS = frozenset({"mesh.get", "scroll.send", "scroll.list", "scroll.get"})

METHOD_ROLES: dict[str, str] = {
    "mesh.get": VIEWER,
    "agent.attach": VIEWER,
    "agent.detach": VIEWER,
    "agent.history": VIEWER,
    "agent.snapshot": VIEWER,
    "agent.show": VIEWER,
    "agent.scrollback": VIEWER,
    "agent.recording": VIEWER,
    "agent.prompt": OPERATOR,
    "agent.input": OPERATOR,
    "agent.resize": OPERATOR,
    "agent.abort": OPERATOR,
    "agent.stop": OPERATOR,
    "agent.forget": OPERATOR,
    "agent.rename": OPERATOR,
    "agent.configure": OPERATOR,
    "agent.resume": OPERATOR,
    "agent.unqueue": OPERATOR,
    "agent.complete": OPERATOR,  # it lists files
    "agent.answer": OPERATOR,
    "agent.policy": OPERATOR,
    "approval.list": VIEWER,
    "node.folders": OPERATOR,
    "node.kinds": OPERATOR,
    "node.spawn": OPERATOR,
    "node.approve": ADMIN,
    "node.deny": ADMIN,
    "node.revoke": ADMIN,
    "node.join_address": ADMIN,
    "node.nearby": ADMIN,
    "token.create": ADMIN,
    "token.ls": ADMIN,
    "token.revoke": ADMIN,
    "login.create": ADMIN,
    "session.ls": ADMIN,
    "session.revoke": ADMIN,
    "audit.list": ADMIN,
    "audit.verify": ADMIN,
    "scroll.send": OPERATOR,
    "scroll.list": VIEWER,
    "scroll.get": VIEWER,
    "disk.list": VIEWER,
    "disk.rows": VIEWER,
    "disk.png": VIEWER,
    "disk.watch": VIEWER,
    "disk.unwatch": VIEWER,
    "disk.history": VIEWER,
    "disk.snapshot": OPERATOR,
    "disk.verify": VIEWER,
    "disk.mirrors": VIEWER,
    "disk.mirror": OPERATOR,
    "disk.drop": OPERATOR,
    "disk.restore": OPERATOR,
}

PUBLIC = "public"  # of a route: no credential is asked for, since it gives away nothing or is how one gets in

# Pi-DE's routes as they are declared there; HEAD needs what GET does. What is not here is refused.
ROUTE_ROLES: dict[str, str] = {
    "GET /": PUBLIC,
    "GET /static": PUBLIC,
    "GET /healthz": PUBLIC,
    "POST /login": PUBLIC,
    "POST /logout": PUBLIC,  # ends the session whose cookie it brings, and no other
    "GET /me": VIEWER,
    "GET /metrics": VIEWER,
    "POST /uploads": OPERATOR,
    "GET /nodes/{node}/{bank:int}.png": VIEWER,
    "WEBSOCKET /ws": VIEWER,
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose credential was checked: a person, a program or an agent."""

    name: str  # of an agent its address
    role: str
    source: str  # pide | cli | api | agent: shown beside what they do
    connection: str = ""  # of this viewer: tells two of one name apart

    @property
    def sender(self) -> str:
        """In whose name their scrolls go out."""
        return self.name if self.role == AGENT else f"user:{self.name}"


def allows(role: str, needed: str) -> bool:
    """Whether `role` includes `needed`. An unknown role includes nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def check(caller: Caller, method: str) -> None:
    """Raise NotForThisRole unless the caller may call the method."""
    needed = METHOD_ROLES.get(method)
    if caller.role == AGENT:
        if needed is None or method not in AGENT_METHODS:
            raise NotForThisRole(
                f"{method} is not for an agent, and this was asked by {caller.name} or what it has started",
                hint="a person can do it, or give it a token: HYPIVISOR and HYPI_TOKEN",
            )
    elif caller.role == UNSEEN:
        raise NotForThisRole(
            "this process cannot be told from an agent's: its ancestors cannot be seen",
            hint="ask from a terminal of this machine, or with a token: HYPIVISOR and HYPI_TOKEN",
        )
    elif needed is None or not allows(caller.role, needed):
        raise NotForThisRole(
            f"{method} is not for the role {caller.role}",
            hint=f"it needs the role {needed}" if needed else None,
        )


def narrowed(caller: Caller, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The same request, cut down to what concerns an agent where an agent asks."""
    if caller.role == AGENT and method == "scroll.list":
        return {**params, "agent": caller.name}
    return params


def may_read(caller: Caller, scroll: Mapping[str, Any]) -> bool:
    """Whether a listed scroll is the caller's to read: an agent's only if it sent or was sent it."""
    if caller.role != AGENT:
        return True
    return caller.name in {scroll["from"], scroll["to"], *(receipt["to"] for receipt in scroll["receipts"])}
