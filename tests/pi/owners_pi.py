"""A pi of a live system's owner, with the scripted model: spawned by the node, or typed by the owner."""

import os
from pathlib import Path

from live import System
from rig import PI, PiRig


def give_pi(system: System, model_url: str) -> PiRig:
    """Give the owner a pi, before the system starts."""
    assert PI is not None
    rig = PiRig(system.folder / "rig", system.home, model_url)
    own = {name: value for name, value in rig.environment().items() if name not in {"HOME", "HYPERPI_HOME"}}
    system.more |= own | {"PATH": f"{PI.parent}{os.pathsep}{os.environ['PATH']}"}
    return rig


class OwnersPi:
    """As much of a PiRig as a terminal needs, in the system's own home."""

    def __init__(self, system: System, project: Path) -> None:
        self.program = PI
        self.project = project
        self._environment = system.environment

    def environment(self, **more: str) -> dict[str, str]:
        return {**self._environment, "TERM": "xterm-256color", **more}
