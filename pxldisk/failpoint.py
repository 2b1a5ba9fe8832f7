"""Places where a test can end the process as a power cut would.

`HYPERPI_FAILPOINT=name:n` sends SIGKILL to this process when it passes `name` for the n-th time.
Unset, a passage costs one comparison. The variable is read once, at import.
"""

import os
import signal

_NAME, _, _COUNT = os.environ.get("HYPERPI_FAILPOINT", "").partition(":")
_left = int(_COUNT) if _COUNT.isdigit() else 1

# Every point of the write path, so that a test can visit them all.
POINTS = (
    "pxldisk.bank.written",
    "pxldisk.bank.renamed",
    "pxldisk.base.written",
    "pxldisk.base.renamed",
    "pxldisk.segment.written",
    "pxldisk.segment.renamed",
    "pxldisk.journal.before",
    "pxldisk.journal.written",
    "pxldisk.journal.synced",
    "pxldisk.paint.before",
    "pxldisk.paint.rows",
    "pxldisk.paint.done",
    "pxldisk.checkpoint.before",
    "pxldisk.checkpoint.stamped",
    "pxldisk.checkpoint.flushed",
    "pxldisk.checkpoint.pruned",
    "pxldisk.snapshot.written",
    "pxldisk.snapshot.renamed",
)


def passing(name: str) -> None:
    """Die here if this is the chosen passage."""
    global _left
    if name != _NAME:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
