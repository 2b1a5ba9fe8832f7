"""Acts of people and programs that the audit trail tells of, and what it keeps of them. One list for whoever
does them: the hypivisor, or a node for the owner of its machine.
"""

from hyperpi.contract import Json

# Recorded before they are done, and refused when that cannot be: who did what to whose agent, or to the mesh.
AUDITED = frozenset(
    {
        "node.approve",
        "node.deny",
        "node.revoke",
        "token.create",
        "token.revoke",
        "login.create",
        "session.revoke",
        "agent.prompt",
        "agent.abort",
        "agent.stop",
        "agent.forget",
        "agent.rename",
        "agent.configure",
        "agent.resume",
        "agent.unqueue",
        "agent.answer",
        "agent.policy",
        "node.spawn",
        "scroll.send",
        "disk.snapshot",
        "disk.mirror",
        "disk.drop",
        "disk.restore",
    }
)

# Recorded once for whoever begins to type in somebody's terminal, not for each key.
AUDITED_ONCE = frozenset({"agent.input"})

RECORDED = (
    *("agent", "node", "path", "new_folder", "kind", "name", "to", "scroll_id", "choice", "id"),
    *("from", "of", "off", "copy", "force"),
    *("approval", "mode", "code"),
    *("model", "thinking"),
    *("role", "ttl_s", "uses"),
)


def what_of(params: Json) -> Json:
    """What of a call is kept: never the text of a prompt or a message."""
    return {key: params[key] for key in RECORDED if key in params}
