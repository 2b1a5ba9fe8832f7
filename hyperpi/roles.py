"""Who may do what: one table for every JSON-RPC method. Deny by default; a test misses missing rows."""

from dataclasses import dataclass

from hyperpi.errors import NotForThisRole

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
ROLES = (VIEWER, OPERATOR, ADMIN)  # each may do what the ones before it may

METHOD_ROLES: dict[str, str] = {
    "mesh.get": VIEWER,
    "agent.attach": VIEWER,
    "agent.detach": VIEWER,
    "agent.history": VIEWER,
    "agent.snapshot": VIEWER,
    "agent.show": VIEWER,
    "agent.prompt": OPERATOR,
    "agent.abort": OPERATOR,
    "agent.stop": OPERATOR,
    "agent.forget": OPERATOR,
    "agent.rename": OPERATOR,
    "node.folders": OPERATOR,
    "node.spawn": OPERATOR,
    "node.approve": ADMIN,
    "node.deny": ADMIN,
    "node.revoke": ADMIN,
    "node.join_address": ADMIN,
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
    "disk.snapshot": OPERATOR,
    "disk.verify": VIEWER,
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose credential was checked: a person, a program or an agent."""

    name: str
    role: str
    source: str  # pide | cli | api | agent: shown beside what they do
    connection: str = ""  # of this viewer, for notices to it alone


def allows(role: str, needed: str) -> bool:
    """Whether `role` includes `needed`. An unknown role includes nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


def check(caller: Caller, method: str) -> None:
    """Raise NotForThisRole unless the caller may call the method."""
    needed = METHOD_ROLES.get(method)
    if needed is None or not allows(caller.role, needed):
        raise NotForThisRole(
            f"{method} is not for the role {caller.role}",
            hint=f"it needs the role {needed}" if needed else None,
        )
