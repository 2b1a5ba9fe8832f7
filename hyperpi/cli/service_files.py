"""The files that make the node a service of this machine: systemd units and a launchd property list. Pure.

What matters in both: only the node's own process is ended with the service. Its agents and their keepers live
in the same control group, and go on.
"""

import plistlib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperpi.errors import Unusable

LABEL = "hyperpi.node"
UNIT = "hyperpi-node.service"
UNSAYABLE = {"Cc", "Cs"}  # control characters, bytes that are no text


@dataclass(frozen=True, slots=True)
class Service:
    """What is to be run, and as whom. `user`: None in that user's own service manager.

    Raises Unusable when some of it cannot be a word of such a file.
    """

    command: tuple[str, ...]  # the `hyperpi` command; its first word is an absolute path
    environment: Mapping[str, str]
    user: str | None = None

    def __post_init__(self) -> None:
        # Some come from the shell of a user who is not root. A line break in one would be a setting of its
        # own in a unit that root starts; a property list cannot say most of the others.
        words = [("the command", word) for word in self.command]
        words += [*self.environment.items(), ("the user's name", self.user or "")]
        for name, word in words:
            if any(unicodedata.category(char) in UNSAYABLE for char in word):
                raise Unusable(
                    f"{name} has a control character: it cannot be written into a service's file",
                    hint="mend it where it is set",
                )


def systemd_unit(service: Service) -> str:
    """The unit of a node."""
    run = " ".join(map(_argument, (*service.command, "node", "run")))
    stop = " ".join(map(_argument, (*service.command, "node", "stop")))
    lines = [
        "[Unit]",
        "Description=Hyper-Pi node",
        "After=network.target",
        "# Whatever it fails on, it is tried again for as long as it takes.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "# Started once it serves, not as soon as there is a process.",
        "Type=notify",
        "# A disk that is restored or repaired first takes as long as it takes: ended on the way, it would",
        "# begin anew for ever.",
        "TimeoutStartSec=infinity",
        *([f"User={service.user}"] if service.user else []),
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in service.environment.items()),
        "# A node that runs already makes room; its agents do not notice.",
        f"ExecStartPre=-{stop}",
        f"ExecStart={run}",
        "# Only the node itself is ended: its agents and their keepers live in the same control group, and",
        "# go on, also when one of them has used up the memory.",
        "KillMode=process",
        "OOMPolicy=continue",
        "Restart=on-failure",
        "RestartSec=2",
        "TimeoutStopSec=15",
        "",
        "[Install]",
        f"WantedBy={'multi-user' if service.user else 'default'}.target",
        "",
    ]
    return "\n".join(lines)


def _argument(word: str) -> str:
    """A word of a command line, where systemd.service(5) puts variables in."""
    return _quoted(word.replace("$", "$$"))


def _quoted(word: str) -> str:
    """A word as systemd.syntax(7) reads it: `%` stands for something."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if escaped and not set(escaped) & set(" \t\"'\\;") else f'"{escaped}"'


def launchd_plist(service: Service) -> bytes:
    """The property list of a node. launchd has no step before the start, so a shell makes room first."""
    stop = " ".join(map(_shell_word, (*service.command, "node", "stop")))
    run = " ".join(map(_shell_word, (*service.command, "node", "run")))
    keys: dict[str, object] = {
        "Label": LABEL,
        "ProgramArguments": ["/bin/sh", "-c", f"{stop}; exec {run}"],
        "EnvironmentVariables": dict(service.environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "AbandonProcessGroup": True,  # agents and their keepers are not ended with the node
        "ProcessType": "Interactive",
    }
    if service.user:
        keys["UserName"] = service.user
    return plistlib.dumps(keys, sort_keys=False)


def _shell_word(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a service's file belongs, and the commands that follow its writing, or go before its removal."""

    path: Path
    content: bytes
    start: tuple[tuple[str, ...], ...]
    end: tuple[tuple[str, ...], ...]
    after_removal: tuple[tuple[str, ...], ...] = ()


def systemd_plan(service: Service, units: Path) -> Plan:
    """With systemd; `units` is the folder of a user's, or the system's, own units."""
    manager: Sequence[str] = ("systemctl",) if service.user else ("systemctl", "--user")
    reload = (*manager, "daemon-reload")
    start = (reload, (*manager, "enable", UNIT), (*manager, "restart", UNIT))
    end = ((*manager, "disable", "--now", UNIT),)
    return Plan(units / UNIT, systemd_unit(service).encode(), start, end, (reload,))


def launchd_plan(service: Service, folder: Path, uid: int) -> Plan:
    """With launchd; `folder` is LaunchAgents or LaunchDaemons."""
    domain = "system" if service.user else f"gui/{uid}"
    path = folder / f"{LABEL}.plist"
    end = (("launchctl", "bootout", f"{domain}/{LABEL}"),)
    return Plan(path, launchd_plist(service), (("launchctl", "bootstrap", domain, str(path)),), end)
