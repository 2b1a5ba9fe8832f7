"""Everything that a child has started, so that all of it can be ended."""

import contextlib
import os

from node.keeping.processes import has_in_environment, process_at, processes

MARK = "HYPERPI_AGENT"  # in the environment of all that belongs to a spawned agent: its id


class Tree:
    """What the child has started, as far as it can be known: its session, its group, its descendants.

    Agents run commands in sessions of their own, so the group alone would leave those behind. A daemon, which
    leads a session of its own and whose parent has ended, has left the family and is not ours to end. A node
    that an agent's tether started may be a descendant of the agent: it is spared, with all that it keeps.
    """

    def __init__(self, pid: int, start: str) -> None:
        self.pid, self.start = pid, start
        self.known = {pid: start}  # members that lived when we last looked: pid -> start identity
        self.has_group = True  # some of them are in the child's own process group

    def look(self, spare: int | None, mark: str | None = None) -> None:
        """Find new members and forget those that have ended. `spare` is the node's pid, if known.

        With `mark`, a NAME=VALUE that only this tree has in its environment, also what commands have left in
        the background: their parents and the leaders of their sessions have ended.
        """
        table = processes()
        self.known = {p: start for p, start in self.known.items() if p in table and table[p].start == start}
        # A pid is given out again only once its group and session are empty.
        ours = self.pid not in table or table[self.pid].start == self.start
        children: dict[int, list[int]] = {}
        for pid, process in table.items():
            children.setdefault(process.parent, []).append(pid)
            left = process.session and process.session not in table and pid != spare
            if (ours and self.pid in (process.group, process.session)) or (
                mark and left and has_in_environment(pid, mark)
            ):
                self.known[pid] = process.start
        ahead = list(self.known)
        while ahead:
            for pid in children.get(ahead.pop(), ()):
                if pid not in self.known and pid != spare:
                    self.known[pid] = table[pid].start
                    ahead.append(pid)
        self.has_group = any(table[pid].group == self.pid for pid in self.known)

    def send(self, number: int) -> None:
        """Signal the group in one stroke, then each member known to live, wherever it is."""
        if self.has_group:  # else its number may be somebody else's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
        for pid, start in self.known.items():
            process = process_at(pid)
            if process and process.start == start:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
