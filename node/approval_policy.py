"""When agents of this machine have to ask before they call a tool: the table [approvals] of node.toml. Pure.

The owner's word is the floor: whoever is allowed to steer an agent may make it ask more, and less only where
node.toml says so. What counts as risky is decided in the agent (pi_socket/risk.ts): a call that need not be
asked costs nothing there, and it is decided also while no node runs.
"""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, get_args

from hyperpi import contract
from hyperpi.errors import RefusedByPolicy

Mode = Literal["auto", "ask-risky", "ask-all"]
MODES: tuple[Mode, ...] = get_args(Mode)  # each asks whatever the ones before it ask
DEFAULT_TIMEOUT_S = 600.0  # a person who is needed has seen it by then, or is away; the agent can go on
MOST_TIMEOUT_S = 86_400.0
MAX_RULES = 64


@dataclass(frozen=True, slots=True)
class AskRule:
    """What holds for agents in the folder, of the kind, with a name like that; null: for any."""

    mode: Mode | None = None
    ask: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    folder: Path | None = None
    kind: str | None = None
    name: str | None = None

    def fits(self, kind: str, name: str, cwd: PurePath) -> bool:
        """Whether an agent is one of those. `cwd` is resolved."""
        return (
            (self.folder is None or cwd == self.folder or self.folder in cwd.parents)
            and self.kind in (None, kind)
            and (self.name is None or fnmatch.fnmatchcase(name, self.name))
        )


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """The owner's word on asking."""

    mode: Mode = "auto"
    ask: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    timeout_s: float = DEFAULT_TIMEOUT_S
    weaken: bool = False  # whether an operator may have an agent ask less than this says
    rules: tuple[AskRule, ...] = ()

    def resolved(self, kind: str, name: str, cwd: PurePath, wish: str | None) -> contract.AskPolicy:
        """What holds for one agent: the first rule that fits, and an operator's wish as far as it counts."""
        rule = next((rule for rule in self.rules if rule.fits(kind, name, cwd)), AskRule())
        mode = rule.mode or self.mode
        return contract.AskPolicy(
            mode=self._wished(mode, wish),
            ask=[*self.ask, *rule.ask],
            allow=[*self.allow, *rule.allow],
            timeout_s=self.timeout_s,
        )

    def _wished(self, floor: Mode, wish: str | None) -> Mode:
        found = next((mode for mode in MODES if mode == wish), floor)
        return found if self.weaken or MODES.index(found) > MODES.index(floor) else floor

    def check_wish(self, kind: str, name: str, cwd: PurePath, wish: Mode) -> None:
        """Whether an operator may wish that for an agent. Raises RefusedByPolicy."""
        floor = self.resolved(kind, name, cwd, None).mode
        if not self.weaken and MODES.index(wish) < MODES.index(floor):
            raise RefusedByPolicy(
                f"this machine's owner wants {floor} for {name}, and {wish} asks less",
                hint="its node.toml decides: [approvals] mode, or weaken = true",
            )

    def check_rename(self, kind: str, name: str, cwd: PurePath, new_name: str) -> None:
        """Whether an agent may be given a name that other rules are for. Raises RefusedByPolicy."""
        now, then = (self.resolved(kind, one, cwd, None) for one in (name, new_name))
        asks_less = (
            MODES.index(then.mode) < MODES.index(now.mode)
            or not set(now.ask) <= set(then.ask)
            or not set(then.allow) <= set(now.allow)
        )
        if asks_less and not self.weaken:
            raise RefusedByPolicy(
                f"as {new_name} the agent would ask less than its machine's owner wants of {name}",
                hint="its node.toml decides: [[approvals.rules]] with a name",
            )

    @property
    def strictest(self) -> Mode:
        """What an agent keeps to until it has been told what holds for it."""
        modes = [self.mode, *(rule.mode for rule in self.rules if rule.mode is not None)]
        named = bool(self.ask) or any(rule.ask for rule in self.rules)
        return max([*modes, "ask-risky" if named else "auto"], key=MODES.index)


DEFAULT_TEXT = f"""\
# When agents ask before they call a tool: "auto" (never), "ask-risky", "ask-all". A person answers in Pi-DE,
# with `hyperpi approve`, or at the agent's terminal; nobody in timeout_s seconds denies. Patterns are a tool,
# or a tool and what it is called with: "write", "bash:git push*", "edit:*.env". `ask` wins over `allow`.
# It keeps accidents away; it is no sandbox. The first rule that fits an agent holds for it.
[approvals]
# mode = "auto"
# ask = ["bash:git push*"]       # asked in every mode
# allow = ["read", "ls"]         # never asked
# timeout_s = {DEFAULT_TIMEOUT_S:g}
# weaken = false                 # true: operators of the mesh may have an agent ask less than this says
# [[approvals.rules]]
# folder = "~/clients/prod"         # and below; also: kind = "pi", name = "front*"
# mode = "ask-all"
"""


def parse_approvals(table: Mapping[str, object], user_home: Path) -> ApprovalPolicy:
    """The table's meaning. Raises ValueError with one line that names the key."""
    _known(table, "approvals.", ("mode", "ask", "allow", "timeout_s", "weaken", "rules"))
    weaken = table.get("weaken", False)
    if not isinstance(weaken, bool):
        raise ValueError("approvals.weaken must be true or false")
    rules = table.get("rules", [])
    if not isinstance(rules, list) or len(rules) > MAX_RULES or not all(isinstance(r, dict) for r in rules):
        raise ValueError(f"approvals.rules must be at most {MAX_RULES} tables: [[approvals.rules]]")
    return ApprovalPolicy(
        mode=_mode(table, "approvals.") or "auto",
        ask=_patterns(table, "approvals.", "ask"),
        allow=_patterns(table, "approvals.", "allow"),
        timeout_s=_timeout(table),
        weaken=weaken,
        rules=tuple(_rule(rule, user_home) for rule in rules),
    )


def _rule(table: Mapping[str, object], user_home: Path) -> AskRule:
    prefix = "approvals.rules."
    _known(table, prefix, ("folder", "kind", "name", "mode", "ask", "allow"))
    folder = _text(table, prefix, "folder")
    path = None
    if folder is not None:
        within_home = folder == "~" or folder.startswith("~/")
        path = user_home / folder[1:].lstrip("/") if within_home else Path(folder)
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{prefix}folder: {folder!r} must be absolute or begin with ~/, without ..")
        path = path.resolve()  # agents tell their folder without links
    return AskRule(
        mode=_mode(table, prefix),
        ask=_patterns(table, prefix, "ask"),
        allow=_patterns(table, prefix, "allow"),
        folder=path,
        kind=_text(table, prefix, "kind"),
        name=_text(table, prefix, "name"),
    )


def _known(table: Mapping[str, object], prefix: str, keys: Sequence[str]) -> None:
    for key in table:
        if key not in keys:
            raise ValueError(f"unknown key {prefix}{key}; known are {', '.join(keys)}")


def _mode(table: Mapping[str, object], prefix: str) -> Mode | None:
    if "mode" not in table:
        return None
    for mode in MODES:
        if table["mode"] == mode:
            return mode
    raise ValueError(f"{prefix}mode must be one of {', '.join(MODES)}")


def _text(table: Mapping[str, object], prefix: str, key: str) -> str | None:
    found = table.get(key)
    if found is not None and (not isinstance(found, str) or not found):
        raise ValueError(f"{prefix}{key} must be a text that is not empty")
    return found


def _patterns(table: Mapping[str, object], prefix: str, key: str) -> tuple[str, ...]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(text, str) and text.strip(":") for text in found):
        raise ValueError(f'{prefix}{key} must be a list of patterns such as "bash:git push*"')
    return tuple(found)


def _timeout(table: Mapping[str, object]) -> float:
    found = table.get("timeout_s", DEFAULT_TIMEOUT_S)
    if not isinstance(found, int | float) or isinstance(found, bool) or not 1 <= found <= MOST_TIMEOUT_S:
        raise ValueError(f"approvals.timeout_s must be seconds from 1 to {MOST_TIMEOUT_S:g}")
    return float(found)
