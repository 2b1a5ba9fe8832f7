"""The process that waits for a keeper's death, so that an agent has a next keeper at once, node or no node.

It is a fork of the keeper that has nothing open but copies of the descriptors by which the program is held. A
keeper whose work is done ends it; when the keeper is killed, it goes on as the keeper.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable

from node.keeping.lines import Json
from node.keeping.processes import process_at

STABLE_S = 60.0  # a keeper that lived this long was a good one
FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 30.0  # before the next one begins, when they do not last
CAUGHT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # by keepers


class Succession(BaseException):
    """Raised in the process that stood by: the keeper has died. It ends whatever that one was doing here.

    `heirs`: how many keepers of the program have died soon, one after the other.
    """

    def __init__(self, heirs: int) -> None:
        super().__init__(heirs)
        self.heirs = heirs


class Standby:
    """At most one process. `let_go()` is called in it, and closes what is open and belongs to an object: that
    would else close some other descriptor of the same number later.
    """

    def __init__(self, let_go: Callable[[], None], heirs: int) -> None:
        self.let_go = let_go
        self.heirs = heirs
        self.born = time.monotonic()
        self.pid = 0
        self.line = -1  # the standby reads its other end, which ends with us

    def begin(self, held: Iterable[int]) -> None:
        """Fork it, with copies of these descriptors. Raises OSError, and in the new process Succession."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)  # or it might act on one as we would
        try:
            theirs, ours = os.pipe()
            try:
                pid = os.fork()
            except OSError:
                os.close(theirs)
                os.close(ours)
                raise
            if pid == 0:
                self._stand_by(theirs, {theirs, *held}, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(theirs)
        self.pid, self.line = pid, ours

    def state(self) -> Json:
        """What a node has to know of it: it will be the next keeper, under the same pid."""
        found = process_at(self.pid)
        return {"standby_pid": self.pid, "standby_start": found.start} if found else {}

    def ended(self) -> bool:
        """Whether there was one that has ended by itself, or was killed."""
        if not self.pid or os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            return False
        self._forget()
        return True

    def dismiss(self) -> None:
        """The program shall end, or has: nobody needs another keeper."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)  # our own child, not collected yet: no other has its pid
            os.waitpid(self.pid, 0)
            self._forget()

    def _forget(self) -> None:
        os.close(self.line)
        self.pid, self.line = 0, -1

    def _stand_by(self, line: int, kept: set[int], mask: Iterable[signal.Signals | int]) -> None:
        """Never returns: waits for the keeper's death. Whatever goes wrong, it is no second keeper."""
        try:
            os.setsid()  # what ends the keeper's group must not end us
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self.let_go()
            _close_all_but(kept)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.read(line, 1)
            os.close(line)
            soon = time.monotonic() - self.born < STABLE_S
            heirs = self.heirs + 1 if soon else 1
            time.sleep(pause_s(heirs))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        raise Succession(heirs)


def pause_s(heirs: int) -> float:
    """The first keeper that dies is replaced at once; one after the other, more and more slowly."""
    return 0.0 if heirs == 1 else min(FIRST_PAUSE_S * 2.0 ** (heirs - 2), MAX_PAUSE_S)


def _close_all_but(kept: set[int]) -> None:
    """Standard error stays: it is the keepers' log."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    for name in os.listdir("/dev/fd"):
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(int(name))
