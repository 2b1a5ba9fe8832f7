"""Whose service it is: the person who asks, also through sudo, which hides their environment."""

import os
import pwd
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hyperpi import config

LOGIN_S = 10.0  # for a login shell with all that its owner's profile does
ASKED = ("PATH", "XDG_DATA_HOME", "HYPERPI_HOME")  # of the login shell


@dataclass(frozen=True, slots=True)
class Owner:
    """The user whose node is to run, and what their own shell says."""

    name: str
    uid: int
    folder: Path  # their home
    environment: Mapping[str, str]

    @property
    def default_home(self) -> Path:
        """Where Hyper-Pi keeps its state for them, as `hyperpi.config.default_home` has it for ourselves."""
        if given := self.environment.get("HYPERPI_HOME"):
            return Path(given)
        if sys.platform == "darwin":
            return self.folder / "Library" / "Application Support" / "hyperpi"
        data = self.environment.get("XDG_DATA_HOME")
        return (Path(data) if data else self.folder / ".local" / "share") / "hyperpi"


def whoever_asks() -> Owner:
    """Ourselves, or the person behind sudo."""
    name = config.sudo_user()
    if name is None:
        known = pwd.getpwuid(os.getuid())
        return Owner(known.pw_name, known.pw_uid, Path(known.pw_dir), config.owners_environment())
    known = pwd.getpwnam(name)
    return Owner(name, known.pw_uid, Path(known.pw_dir), _of_login_shell(name))


def _of_login_shell(name: str) -> dict[str, str]:
    """What a user's own shell has; what it prints besides does not matter. Empty when it does not answer."""
    script = "printf '\\036%s'" + "".join(f' "${variable}"' for variable in ASKED)
    try:
        done = subprocess.run(
            ["su", "-", name, "-c", script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LOGIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    values = done.stdout.split("\036")[-len(ASKED) :] if done.returncode == 0 else []
    return {variable: value for variable, value in zip(ASKED, values, strict=False) if value}
