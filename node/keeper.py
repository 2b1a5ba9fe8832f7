"""The keeper: holds one spawned agent's terminal or pipes, so that the agent outlives the node.

Runs as `python -I -S keeper.py SPEC`, where SPEC is the file that node/spawn.py wrote, with the child's
environment as its own and the child's folder as an open descriptor. It starts the child, or, as `keeper.py
SPEC FD`, takes over one whose keeper was killed and whose terminal is open as FD. It always drains the child,
dials the node again and again, ends the child's whole tree when told to, and reports the end: to the node,
or, when there is none, in the file `<agent>.exit.json` beside SPEC. What the agent does it does not know.

Only this entry is compiled at each start; the rest is imported, and so cached.
"""

import contextlib
import json
import os
import sys

if __name__ == "__main__":  # -I leaves out the folder that holds `node`; at the end it can hide nothing
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from node.keeping.keeper import Keeper
from node.keeping.lines import Json, line_of
from node.keeping.standby import Succession


def start(spec_path: str, master: int | None = None) -> Keeper | None:
    """Start the child as SPEC says, in the folder that is open already, or take over the one in the terminal
    `master`; None if the system refuses.
    """
    with open(spec_path, encoding="utf-8") as file:
        spec: Json = json.load(file)
    try:
        if master is None:
            folder = spec["cwd_fd"]
            assert isinstance(folder, int)
            os.fchdir(folder)
            os.close(folder)
        keeper = Keeper(spec_path, spec, master)
    except OSError as exc:
        if master is None:
            with contextlib.suppress(OSError):
                os.unlink(spec_path)
        say({"error": exc.strerror or str(exc), "errno": exc.errno})
        return None
    os.chdir("/")  # hold no disk that somebody wants to unmount
    return keeper


def hold(keeper: Keeper) -> Keeper | None:
    """Do its work; once this is the process that stood by for it, and it has died: the next keeper."""
    try:
        keeper.stand_by()
        say(keeper.processes())  # a later keeper says it to nobody
        keeper.run()
    except Succession as succession:
        return keeper.heir(succession.heirs)
    return None


def say(message: Json) -> None:
    """The one line that node/spawn.py waits for; it may have gone meanwhile."""
    with contextlib.suppress(OSError):
        os.write(1, line_of(message))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.close(null)


def main(spec_path: str, master: int | None = None) -> None:
    """Hold one program until it has ended."""
    holding = start(spec_path, master)
    while holding is not None:
        holding = hold(holding)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
