"""The table [acp] of node.toml: which commands may be started here as ACP agents. Pure."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hyperpi.errors import BadRequest, RefusedByPolicy
from node.kinds.acp import KNOWN

DEFAULT_TEXT = f"""\
# Agents that speak the Agent Client Protocol: `hyperpi spawn PATH --kind acp -- COMMAND`. A command is
# allowed when it begins, word by word, with one of these, or one of the {len(KNOWN)} well-known ones.
[acp]
# allow = ["npx -y @agentclientprotocol/claude-agent-acp", "/opt/agents/mine --acp"]
# known = true                  # {", ".join(KNOWN[:3])}, …
"""


@dataclass(frozen=True, slots=True)
class AcpPolicy:
    """What a command must begin with, in words."""

    allowed: tuple[tuple[str, ...], ...] = tuple(tuple(shlex.split(text)) for text in KNOWN)


def parse_acp(table: Mapping[str, object]) -> AcpPolicy:
    """The policy that a table gives. Raises ValueError with one line."""
    for key in table:
        if key not in ("allow", "known"):
            raise ValueError(f"unknown key acp.{key}; known are allow, known")
    known = table.get("known", True)
    if not isinstance(known, bool):
        raise ValueError("acp.known must be true or false")
    given = table.get("allow", [])
    if not isinstance(given, list) or not all(isinstance(text, str) for text in given):
        raise ValueError('acp.allow must be a list of commands: ["opencode acp"]')
    return AcpPolicy(tuple(_words(text) for text in given) + (AcpPolicy().allowed if known else ()))


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as exc:
        raise ValueError(f"acp.allow: {text!r}: {exc}") from None
    if not words or "\0" in text:
        raise ValueError("acp.allow holds an empty command")
    # A relative program would be looked up in whatever folder an agent starts in.
    if "/" in words[0] and not words[0].startswith("/"):
        raise ValueError(f"acp.allow: {words[0]!r} must be a name on PATH or an absolute path")
    return words


def check_acp(policy: AcpPolicy, command: Sequence[str]) -> tuple[str, ...]:
    """A command that may be started. Raises BadRequest when there is none, RefusedByPolicy with a remedy."""
    if not command:
        raise BadRequest(
            "which ACP agent?", hint="give its command: hyperpi spawn PATH --kind acp -- opencode acp"
        )
    if any(tuple(command[: len(words)]) == words for words in policy.allowed):
        return tuple(command)
    line = shlex.join(command).replace("\\", "\\\\").replace('"', '\\"')
    raise RefusedByPolicy(
        f"this node starts no ACP agent {shlex.join(command)}",
        hint=f'its owner can allow it, in its node.toml under [acp]: allow = ["{line}"]',
    )
