"""What this machine allows: `node.toml`, read into a frozen Policy, and the pure checks against it.

The policy belongs to the machine's owner. Nobody who asks for an agent, and no hypivisor, can widen it.
Knows nothing of processes or folders on disk; the caller resolves paths before asking.
"""

import fnmatch
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hyperpi.config import BadConfig
from hyperpi.errors import BadRequest, RefusedByPolicy
from node.acp_policy import DEFAULT_TEXT as ACP_TEXT
from node.acp_policy import AcpPolicy, check_acp, parse_acp
from node.approval_policy import DEFAULT_TEXT as APPROVALS_TEXT
from node.approval_policy import ApprovalPolicy, parse_approvals
from node.disk_policy import DEFAULT_TEXT as DISK_TEXT
from node.disk_policy import DiskPolicy, parse_disk
from node.kinds import KINDS, Kind
from node.mirror_policy import DEFAULT_TEXT as MIRRORS_TEXT
from node.mirror_policy import MirrorPolicy, parse_mirrors
from node.watch_policy import DEFAULT_TEXT as WATCH_TEXT
from node.watch_policy import WatchPolicy, parse_watch

MAX_AGENTS = 64  # enough for any person; a runaway script is stopped before the machine is
MAX_ARGS = 256
MAX_ARGS_BYTES = 64 << 10  # half of what Linux takes for a single argument

# Never handed to an agent, whatever node.toml says: they are ours, and some are secret.
OURS = ("HYPI_TOKEN", "HYPIVISOR", "HYPERPI_*")
OURS_KEPT = frozenset({"HYPERPI_HOME"})  # an agent's own tether must find its node


@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's word on what may be started here."""

    roots: tuple[Path, ...]  # agents start in these folders or below; absolute, as written
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # kind -> command
    withheld: tuple[str, ...] = ()  # patterns of variables kept from agents, besides OURS
    only: tuple[str, ...] | None = None  # patterns of the only variables that agents get; None: all others
    max_agents: int = MAX_AGENTS  # spawned agents alive at a time; those in terminals are not counted
    acp: AcpPolicy = field(default_factory=AcpPolicy)
    approvals: ApprovalPolicy = field(default_factory=ApprovalPolicy)
    watch: WatchPolicy = field(default_factory=WatchPolicy)
    mirrors: MirrorPolicy = field(default_factory=MirrorPolicy)
    disk: DiskPolicy = field(default_factory=DiskPolicy)  # read when the node starts


def default_policy(user_home: Path) -> Policy:
    """What holds as long as there is no node.toml."""
    return Policy(
        roots=(user_home,),
        kinds={name: kind.command for name, kind in KINDS.items() if kind.command is not None},
    )


def default_file() -> str:
    """A node.toml that changes nothing and explains everything, for the first start."""
    return DEFAULT_FILE


DEFAULT_FILE = f"""\
# What may be started on this machine. Only this file decides; saving it takes effect at once, but for [disk].

# Folders in which agents may be started, themselves included. "~" is your home.
# roots = ["~"]

# How many agents may run at a time that were started from afar. Those you start by hand do not count.
# max_agents = {MAX_AGENTS}

# The command of each kind of agent: a program found on PATH, or its absolute path, and its arguments.
# Nothing goes through a shell. acp, pi and terminal can be started unless their list is empty. A terminal
# runs what is asked for, or your shell, unless a command stands here; for acp see below. Others: as listed.
[kinds]
# pi = ["pi"]
# terminal = ["bash"]

# Agents get your environment, never Hyper-Pi's own secrets. Patterns: "AWS_*" means all that begin so.
[environment]
# withhold = ["AWS_*", "GITHUB_TOKEN"]   # these not
# only = ["HOME", "PATH", "LANG", "LC_*", "TERM", "ANTHROPIC_API_KEY"]   # if given: these and no others

{ACP_TEXT}
{APPROVALS_TEXT}
{WATCH_TEXT}
{DISK_TEXT}
{MIRRORS_TEXT}"""


# --- reading ----------------------------------------------------------------------------------------


def load_policy(path: Path, user_home: Path) -> Policy:
    """Read node.toml; none means the defaults. Raises BadConfig with one line that names the key."""
    try:
        return parse_policy(path.read_text("utf-8"), user_home)
    except FileNotFoundError:
        return default_policy(user_home)
    except (OSError, ValueError, _Wrong) as exc:
        line = str(exc).splitlines()[0]
        raise BadConfig(f"{path}: {line}", hint="mend it, or remove it to get the defaults back") from None


def parse_policy(text: str, user_home: Path) -> Policy:
    """The policy that a node.toml's text gives. Raises ValueError with one line."""
    whole = tomllib.loads(text)
    tables = ("kinds", "environment", "acp", "approvals", "watch", "disk", "mirrors")
    _known(whole, "", ("roots", "max_agents", *tables))
    environment = _table(whole, "environment")
    _known(environment, "environment.", ("withhold", "only"))
    default = default_policy(user_home)
    listed = _kinds(_table(whole, "kinds"))
    kinds = {**default.kinds, **listed}
    forbidden = {name for name, command in listed.items() if not command}
    return Policy(
        roots=_roots(whole, user_home) if "roots" in whole else default.roots,
        kinds={name: command for name, command in kinds.items() if name not in forbidden},
        withheld=_texts(environment, "withhold", "environment.") if "withhold" in environment else (),
        only=_texts(environment, "only", "environment.") if "only" in environment else None,
        max_agents=_count(whole, "max_agents", default.max_agents),
        acp=parse_acp(_table(whole, "acp")),
        approvals=parse_approvals(_table(whole, "approvals"), user_home),
        watch=parse_watch(_table(whole, "watch")),
        mirrors=parse_mirrors(_table(whole, "mirrors")),
        disk=parse_disk(_table(whole, "disk")),
    )


class _Wrong(ValueError):
    """One line about one key."""


def _known(table: Mapping[str, object], prefix: str, keys: Sequence[str]) -> None:
    for key in table:
        if key not in keys:
            raise _Wrong(f"unknown key {prefix}{key}; known are {', '.join(keys)}")


def _table(whole: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = whole.get(key, {})
    if not isinstance(found, dict):
        raise _Wrong(f"{key} must be a table: [{key}]")
    return found


def _texts(table: Mapping[str, object], key: str, prefix: str = "") -> tuple[str, ...]:
    found = table[key]
    if not isinstance(found, list) or not all(isinstance(t, str) and t and "\0" not in t for t in found):
        raise _Wrong(f"{prefix}{key} must be a list of texts, none of them empty")
    return tuple(found)


def _count(whole: Mapping[str, object], key: str, default: int) -> int:
    found = whole.get(key, default)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= 10_000:
        raise _Wrong(f"{key} must be a whole number from 0 to 10000")
    return found


def _roots(whole: Mapping[str, object], user_home: Path) -> tuple[Path, ...]:
    found = []
    for text in _texts(whole, "roots"):
        path = user_home / text[1:].lstrip("/") if text == "~" or text.startswith("~/") else Path(text)
        if not path.is_absolute() or ".." in path.parts:
            raise _Wrong(f"roots: {text!r} must be absolute or begin with ~/, without ..")
        found.append(path)
    if not found:
        raise _Wrong("roots is empty; to start nothing here set max_agents = 0")
    return tuple(found)


def _kinds(table: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    found = {}
    for name in table:
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum() or len(name) > 32:
            raise _Wrong(f"kinds.{name}: a kind is named by up to 32 letters, digits, - and _")
        command = _texts(table, name, "kinds.")
        # A relative program would be looked up in whatever folder an agent starts in.
        if command and "/" in command[0] and not command[0].startswith("/"):
            raise _Wrong(f"kinds.{name}: {command[0]!r} must be a name on PATH or an absolute path")
        found[name] = command
    return found


# --- checking ---------------------------------------------------------------------------------------


def check_kind(policy: Policy, kind: str) -> tuple[str, ...]:
    """The command of a kind. Raises RefusedByPolicy for one that this machine does not start."""
    try:
        return policy.kinds[kind]
    except KeyError:
        raise RefusedByPolicy(
            f"this node starts no agents of kind {kind!r}",
            hint=f"kinds here: {', '.join(sorted(policy.kinds))}; its node.toml can add more under [kinds]",
        ) from None


def command_line(policy: Policy, kind: Kind, args: Sequence[str], *, headless: bool) -> tuple[str, ...]:
    """What to run for a kind of agent; empty: the owner's shell. Raises RefusedByPolicy, BadRequest."""
    command = check_kind(policy, kind.name)
    if headless and kind.headless is None:
        raise BadRequest(f"an agent of kind {kind.name} cannot do without a terminal")
    if kind.name == "acp" and not command:  # a command of the owner's own needs no other leave
        return check_acp(policy.acp, check_args(args))
    return (*command, *((kind.headless or ()) if headless else ()), *check_args(args))


def check_args(args: Sequence[str]) -> tuple[str, ...]:
    """Arguments to add to a command. Raises BadRequest when the system could not take them."""
    if len(args) > MAX_ARGS or sum(len(a.encode("utf-8", "replace")) for a in args) > MAX_ARGS_BYTES:
        raise BadRequest(f"at most {MAX_ARGS} arguments of {MAX_ARGS_BYTES} bytes in all")
    for arg in args:
        if "\0" in arg or not is_utf8(arg):
            raise BadRequest("an argument holds a NUL or is not UTF-8")
    return tuple(args)


def check_count(policy: Policy, running: int) -> None:
    """Whether one more agent may be started beside those running. Raises RefusedByPolicy."""
    if running >= policy.max_agents:
        raise RefusedByPolicy(
            f"{running} spawned agents run here, and {policy.max_agents} are allowed",
            hint="stop one, or raise max_agents in the machine's node.toml",
        )


def root_of(roots: Sequence[Path], path: Path) -> Path | None:
    """The root that holds a path (or is it), if any. Both must be resolved: this only compares names."""
    return next((root for root in roots if path == root or root in path.parents), None)


def agent_environment(policy: Policy, owners: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """What an agent gets: the owner's variables as far as the policy lets them, and `ours` on top."""
    kept = {name: value for name, value in owners.items() if _may_have(policy, name)}
    return {**kept, **ours}


def _may_have(policy: Policy, name: str) -> bool:
    if _fits(name, OURS):
        return name in OURS_KEPT
    if _fits(name, policy.withheld):
        return False
    return policy.only is None or _fits(name, policy.only)


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_utf8(text: str) -> bool:
    """Whether a text can go into JSON; names that the system gave us may not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
